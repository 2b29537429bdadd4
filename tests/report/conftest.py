"""Runs on colored rectangles that the tests of reports share: each is made once."""

import pytest
from analyzed_runs import GRID, scenes
from colors import WNIDS, WORDS, color_experiment, write_colors, write_masks

import wsol_bench
from wsol_bench.report.analysis import analyze
from wsol_bench.report.run_comparison import compare
from wsol_bench.runs.rescore import rescore

ROTATED = (*WNIDS[1:], WNIDS[0])


@pytest.fixture(scope="package")
def experiment(tmp_path_factory):
    """An experiment of three methods on ten images."""
    return color_experiment(
        write_colors(tmp_path_factory.mktemp("colors"), scenes=scenes()),
        methods=["cam", "grad_cam", "center_gaussian"],
        faithfulness=4,
        workers=0,
        part_size=4,
    )


@pytest.fixture(scope="package")
def run(experiment, tmp_path_factory):
    """The finished experiment."""
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="package")
def mistaken(experiment, tmp_path_factory):
    """A run whose network takes each color for the next one, so that no prediction is right."""
    classes = tmp_path_factory.mktemp("classes") / "classes.txt"
    classes.write_text(
        "".join(f"{wnid} {word}\n" for wnid, word in zip(ROTATED, WORDS, strict=True))
    )
    [model] = experiment["models"]
    models = [{**model, "classes": str(classes)}]
    return wsol_bench.run({**experiment, "models": models, "methods": ["cam"], "limit": 4})


@pytest.fixture(scope="package")
def tables(run):
    """The analysis of the run."""
    return analyze([run.folder])


@pytest.fixture(scope="package")
def swept(run):
    """The run rescored over a sweep of thresholds, one of which is selected on held-out images."""
    grid = {**GRID, "select_on": 0.4}
    return rescore(run.folder, {"name": "choe-2020-v2", "box": {"threshold": grid}})


@pytest.fixture(scope="package")
def sharp(run):
    """The run rescored at a high threshold of smooth maps, whose boxes are small."""
    return rescore(run.folder, {"name": "gradcam-2017", "box": {"threshold": 0.8}})


@pytest.fixture(scope="package")
def sharpened(run, sharp):
    """The run compared with itself at a high threshold."""
    return compare(run.folder, sharp.folder)


@pytest.fixture(scope="package")
def masked(experiment, tmp_path_factory):
    """A run on masks."""
    dataset = write_masks(tmp_path_factory.mktemp("masks"), scenes=scenes(6))
    changes = {"map": {"upsample": "nearest"}, "pixels": {"step": 0.1}}
    protocol = {"name": "choe-2020-pxap", **changes}
    return wsol_bench.run({**experiment, "dataset": dataset, "protocol": protocol})
