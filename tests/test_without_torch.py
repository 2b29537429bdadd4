"""What needs no network imports no torch, which takes longer than all the rest."""

import json
import subprocess
import sys

import pytest
from annotations_only import image_id, without_model, write_annotations_only

pytestmark = pytest.mark.slow

# Command lines in one process, one after the other: of each its exit code, its output, and the
# heavy packages that are imported when it ends. At last the map methods, which do need torch.
CHILD = """
import contextlib, io, json, sys
from wsol_bench.cli import main

def heavy():
    return [name for name in ("torch", "torchvision", "timm", "ray") if name in sys.modules]

results = {}
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv = ["wsol-bench", *arguments]
    output, code = io.StringIO(), 0
    with contextlib.redirect_stdout(output):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    results[name] = {"code": code, "output": output.getvalue(), "heavy": heavy()}
import wsol_bench.methods.grad_cam
results["the map methods"] = {"heavy": heavy()}
print(json.dumps(results))
"""
LISTS = ("methods", "metrics", "datasets", "protocols")
READERS = ("analyze", "report", "table", "leaderboard", "rescore", "merge")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What became of each command line, by its name.

    The run has maps and boxes of a file.
    """
    folder = tmp_path_factory.mktemp("alone")
    root = write_annotations_only(folder / "root")
    (folder / "boxes.csv").write_text(f"image_id,x0,y0,x1,y1\n{image_id(1)},20,10,180,90\n")
    boxes = {"name": "boxes_from", "path": str(folder / "boxes.csv")}
    methods = ("center_gaussian", "full_image", boxes)
    experiment = without_model(root, *methods, protocol="choe-2020-v2")
    config, run = str(folder / "config.yaml"), str(folder / "run")
    (folder / "config.yaml").write_text(json.dumps(experiment))  # which is YAML
    lines = {
        **{f"list {kind}": ["list", kind] for kind in LISTS},
        "doctor": ["doctor", config],
        "a wrong name": ["run", config, "--set", "methods=[grad_camm]"],
        "run": ["run", config, "--out", run],
        "analyze": ["analyze", run],
        "report": ["report", run],
        "table": ["table", run, "--intervals"],
        "leaderboard": ["leaderboard", run, "--page", str(folder / "board.html")],
        "rescore": ["rescore", run, "--protocol", "gradcam-2017"],
        "merge": ["merge", "--out", str(folder / "merged"), run],
    }
    process = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(lines)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("kind", LISTS)
def test_lists_need_none(results, kind):
    result = results[f"list {kind}"]
    assert (result["code"], result["heavy"]) == (0, [])
    assert len(result["output"].splitlines()) >= 5


def test_a_run_without_a_network_needs_none(results):
    assert (results["run"]["code"], results["run"]["heavy"]) == (0, [])


@pytest.mark.parametrize("command", READERS)
def test_what_reads_a_run_needs_none(results, command):
    assert (results[command]["code"], results[command]["heavy"]) == (0, [])


def test_the_doctor_needs_none_without_a_model(results):
    assert (results["doctor"]["code"], results["doctor"]["heavy"]) == (0, [])
    assert "Method center_gaussian: maps of 7 of 7 images" in results["doctor"]["output"]


def test_a_wrong_name_is_told_without_it(results):
    assert (results["a wrong name"]["code"], results["a wrong name"]["heavy"]) == (1, [])


def test_a_map_method_needs_it(results):
    """The other tests would pass if nothing could be seen here."""
    assert "torch" in results["the map methods"]["heavy"]
