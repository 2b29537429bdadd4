"""Completion in a shell: names of the package's own, quickly and without anything heavy."""

import json
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
        ("wsol-bench explain a.jpg --model resnet1", ["resnet101", "resnet152", "resnet18"]),
        ("wsol-bench explain a.jpg --methods score", ["score_cam", "score_cam_authors"]),
        (
            "wsol-bench explain a.jpg --methods cam,grad",
            ["cam,grad_cam", "cam,grad_cam_pp", "cam,grad_cam_pp_authors"],
        ),
    ],
)
def test_names_are_completed(line, offered):
    assert completed(line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wsol-bench analyze RUN --against ", ["cam", "grad_cam", "center_box"]),
        ("wsol-bench analyze RUN --against c", ["cam", "center_box"]),
        ("wsol-bench figures RUN --methods ", ["cam", "grad_cam", "center_box"]),
        ("wsol-bench figures RUN --methods cam,", ["cam,grad_cam", "cam,center_box"]),
        ("wsol-bench figures RUN --methods cam,g", ["cam,grad_cam"]),
        ("wsol-bench figures RUN --models ", ["net"]),
        ("wsol-bench figures RUN/no --models ", [""]),
    ],
)
def test_names_of_runs_are_completed(tmp_path, line, offered):
    of_run = {"models": {"net": {}}, "methods": {"cam": {}, "grad_cam": {}}}
    manifest = {"identity": {**of_run, "sources": {"center_box": {}}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert completed(line.replace("RUN", str(tmp_path))) == offered


def test_experiment_keys_are_those_of_the_schema():
    from wsol_bench.cli.completion import experiment_keys, protocol_names
    from wsol_bench.protocols.load import protocol_names as all_protocols
    from wsol_bench.runs.experiment_config import ExperimentConfig

    assert experiment_keys("") == [f"{name}=" for name in ExperimentConfig.model_fields]
    assert protocol_names("") == list(all_protocols())
