"""What needs no network imports no torch, which takes longer than all the rest."""

import json
import subprocess
import sys

import pytest
from annotations_only import image_id, without_model, write_annotations_only

# A command line in a process of its own: its exit code, and the heavy packages that it imported.
CHILD = """
import json, sys
sys.argv = ["wsol-bench", *sys.argv[1:]]
from wsol_bench.cli import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
heavy = [name for name in ("torch", "torchvision", "timm", "ray") if name in sys.modules]
print("\\n" + json.dumps({"code": code, "heavy": heavy}), file=sys.stderr)
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
    """Maps of the input's size, of which no pixel is interpolated, and boxes of a file."""
    folder = tmp_path_factory.mktemp("alone")
    root = write_annotations_only(folder / "root")
    (folder / "boxes.csv").write_text(f"image_id,x0,y0,x1,y1\n{image_id(1)},20,10,180,90\n")
    boxes = {"name": "boxes_from", "path": str(folder / "boxes.csv")}
    methods = ("center_gaussian", "full_image", boxes)
    experiment = without_model(root, *methods, protocol="choe-2020-v2")
    path = folder / "config.yaml"
    path.write_text(json.dumps(experiment))  # which is YAML
    return path


@pytest.fixture(scope="module")
def run(config):
    """What the process of a run of sources alone says, and the run's folder."""
    out = config.parent / "run"
    said, _ = command("run", config, "--out", out)
    return said, out


@pytest.mark.parametrize("kind", ["methods", "metrics", "datasets", "protocols"])
def test_lists_need_none(kind):
    said, out = command("list", kind)
    assert said == {"code": 0, "heavy": []}
    assert len(out.splitlines()) >= 5


def test_a_run_of_sources_alone_needs_none(run):
    assert run[0] == {"code": 0, "heavy": []}


@pytest.mark.parametrize("command_of_run", [["analyze"], ["merge", "--out", "OUT"]])
def test_what_reads_a_run_needs_none(run, command_of_run, tmp_path):
    name, *options = [str(tmp_path / "out") if one == "OUT" else one for one in command_of_run]
    said, _ = command(name, run[1], *options)
    assert said == {"code": 0, "heavy": []}


def test_the_doctor_needs_none_without_a_model(config):
    said, out = command("doctor", config)
    assert said == {"code": 0, "heavy": []}
    assert "Method center_gaussian: maps of 7 of 7 images" in out


def test_a_wrong_name_is_told_without_it(config):
    said, _ = command("run", config, "--set", "methods=[grad_camm]")
    assert said == {"code": 1, "heavy": []}


def test_a_map_method_needs_it():
    """The other tests would pass if nothing could be seen here."""
    code = "import sys, wsol_bench.methods.base; print('torch' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "True\n"
