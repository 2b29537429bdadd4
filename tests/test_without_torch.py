"""What needs no network imports no torch, which takes longer than all the rest."""

import json
import subprocess
import sys

import pytest
from annotations_only import without_model, write_annotations_only

# A command line in a process of its own: its exit code, torch and its kin, and its CPU seconds
# but for the interpreter's own start.
CHILD = """
import json, os, sys, time
before = time.process_time()
sys.argv = ["wsol-bench", *sys.argv[1:]]
from wsol_bench.cli import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
heavy = [name for name in ("torch", "torchvision", "timm", "ray") if name in sys.modules]
found = {"code": code, "heavy": heavy, "seconds": time.process_time() - before}
print("\\n" + json.dumps(found), file=sys.stderr)
"""


def command(*arguments):
    """What the process says of itself, and its output."""
    made = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return json.loads(made.stderr.splitlines()[-1]), made.stdout


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    root = write_annotations_only(folder / "root")
    methods = ("center_gaussian", "full_image", {"name": "random_map", "seeds": 2})
    path = folder / "config.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(without_model(root, *methods, protocol="choe-2020-v2")))
    return path


@pytest.fixture(scope="module")
def folder(config):
    """A run of sources alone."""
    out = config.parent / "run"
    found, _ = command("run", config, "--out", out)
    assert found["code"] == 0
    # The weights of its upsampling are torch's: see scoring.upsampling.
    return out


@pytest.mark.parametrize(
    "kind", ["methods", "metrics", "datasets", "protocols"]
)
def test_lists_need_none(kind):
    found, out = command("list", kind)
    assert (found["code"], found["heavy"]) == (0, [])
    assert len(out.splitlines()) > 3
    print(kind, found["seconds"])


def test_a_run_of_sources_alone_needs_none(config, tmp_path):
    found, _ = command("run", config, "--out", tmp_path / "run")
    print(found)
    assert (found["code"], found["heavy"]) == (0, [])


def test_the_doctor_needs_none_without_a_model(config):
    found, out = command("doctor", config)
    print(found, out)
    assert (found["code"], found["heavy"]) == (0, [])


def test_an_analysis_needs_none(folder):
    found, out = command("analyze", folder)
    print(found, out)
    assert (found["code"], found["heavy"]) == (0, [])
