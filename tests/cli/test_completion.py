"""Completion in a shell: names of the package's own, quickly and without anything heavy."""

import os
import subprocess
import sys

import pytest

# What a completing shell does, and at its end a line with the heavy modules that were imported
# (but pydantic, which typer imports itself).
PROGRAM = """
import atexit, sys
sys.argv = ["wsol-bench"]
heavy = {"torch", "pandas", "numpy", "numba", "yaml"}
atexit.register(lambda: print("heavy:", *sorted(heavy & set(sys.modules))))
from wsol_bench.cli import main
main()
"""


def completed(line):
    """The words that are offered for the last word of a command line."""
    words = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_WSOL_BENCH_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
        env={**os.environ, **words},
    )  # fmt: skip
    *offered, heavy = done.stdout.splitlines()
    assert heavy == "heavy:"
    return offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wsol-bench doc", ["doctor"]),
        ("wsol-bench list me", ["methods", "metrics"]),
        ("wsol-bench list methods score", ["score_cam", "score_cam_authors"]),
        ("wsol-bench list datasets v", ["voc"]),
        ("wsol-bench check mean", ["mean_iou"]),
        ("wsol-bench score x.txt --dataset tin", ["tiny_imagenet"]),
        ("wsol-bench rescore run --protocol choe-2020-v", ["choe-2020-v1", "choe-2020-v2"]),
        ("wsol-bench score-maps maps --protocol zh", ["zhou-2016"]),
        ("wsol-bench run my.yaml --set met", ["methods=", "metrics="]),
    ],
)
def test_names_are_completed(line, offered):
    assert completed(line) == offered


def test_experiment_keys_are_those_of_the_schema():
    from wsol_bench.cli.completion import experiment_keys, protocol_names
    from wsol_bench.protocols.load import protocol_names as all_protocols
    from wsol_bench.runs.experiment_config import ExperimentConfig

    assert experiment_keys("") == [f"{name}=" for name in ExperimentConfig.model_fields]
    assert protocol_names("") == list(all_protocols())
