"""A mistake in a command line is told at once, before anything that takes seconds is imported."""

import json
import os
import subprocess
import sys

import pytest

from wsol_bench.runs.run_folders import FORMAT

# The program, and at its end a line with the heavy modules that were imported.
PROGRAM = """
import atexit, sys
sys.argv = ["wsol-bench", *sys.argv[1:]]
heavy = {"torch", "pandas", "pyarrow", "numba", "matplotlib"}
atexit.register(lambda: print("heavy:", *sorted(heavy & set(sys.modules))))
from wsol_bench.cli import main
main()
"""
EXPERIMENT = (
    "{name: right, dataset: shapes, models: [shapes_net], methods: [cam], protocol: gradcam-2017}"
)
NO_RUN = "runn is no run folder: it does not exist; did you mean run?"


@pytest.fixture
def place(tmp_path):
    """A folder with an experiment, and with a run of another one as far as its manifest tells."""
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    (tmp_path / "run").mkdir()
    identity = {"config": {"name": "other", "limit": 3}, "shard": None}
    manifest = {"format": FORMAT, "identity": identity}
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/note.txt").touch()
    (tmp_path / "photos").mkdir()
    for name in ("a.JPEG", "b.JPEG", "c.png", "d.txt", "e.txt", "f.txt"):
        (tmp_path / "photos" / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run my.yaml --device gpu", "--device: expected cpu, cuda (a GPU), cuda:1"),
        ("run my.yaml --set device=gpu", "device: expected cpu, cuda (a GPU), cuda:1"),
        ("demo --device cuda:one", "mps, found 'cuda:one'"),
        ("run my.yaml --shard 3/2", "--shard: expected i/n with i from 1 to n"),
        ("run my.yaml --force", "expected --out FOLDER, found none"),
        ("run my.yaml --out run", "config.name: other -> right"),
        ("demo --out run", "run holds another run"),
        ("run my.yaml --out notes", "notes is not empty and holds no run"),
        ("run my.yaml --out my.yaml", "my.yaml is a file; choose a folder"),
        ("rescore runn", NO_RUN),
        ("merge runn --out all", NO_RUN),
        ("analyze run runn", NO_RUN),
        ("compare run runn", NO_RUN),
        ("report runn", NO_RUN),
        ("report run run", "--out: expected the HTML file of a report of 2 runs"),
        ("view runn", NO_RUN),
        ("figures runn", NO_RUN),
        ("figures run run", "--out: expected the folder for figures of 2 runs"),
        ("table runn", NO_RUN),
        ("export runn --format kaggle", NO_RUN),
        ("leaderboard runn", "found no such folder; did you mean run?"),
        ("explain none.jpg", "none.jpg: the file does not exist"),
        ("explain notes", "notes: expected an image file, found a folder without images"),
        ("explain photos", "found a folder; name its files: photos/*.JPEG"),
        ("explain https://a.b/c.jpg", "found a web address; download the image first"),
        ("explain my.yaml --weights no.pth", "No such file or directory; correct --weights FILE"),
        ("explain my.yaml --model resnet5", "unknown model 'resnet5'; did you mean 'resnet50'?"),
        ("explain my.yaml --methods gard_cam", "did you mean 'grad_cam'?"),
        ("explain my.yaml --protocol choe", "unknown protocol 'choe'"),
        ("score my.yaml", "the data set imagenet needs its root folder"),
        ("score my.yaml --root none", "--root: no such file or folder"),
        ("score-maps notes", "the data set imagenet needs its root folder"),
        ("score-maps none --root .", "none: expected a folder with a map of each image"),
    ],
)
def test_a_mistake_is_told_before_anything_heavy_is_imported(place, line, message):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *line.split()],
        cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "heavy:\n"), done.stderr
    *steps, error = done.stderr.partition("Error: ")[::2]
    assert message in error
    assert "\n" not in steps[0].strip()
    assert not (place / "all").exists()
