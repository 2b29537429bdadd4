"""A metric of one's own, by its import path: in a run, in its analysis, after scoring again."""

import importlib
import json
import shutil
import sys

import numpy as np
import pytest
import yaml
from colors import SCENES, color_experiment, write_colors
from user_modules import importable

from wsol_bench.cli import main
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import metrics
from wsol_bench.report.analysis import analyze
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.results import summarize_run

MODULE = '''
from wsol_bench import metric

@metric("share_above", per="map", better="lower", range=(0, 1))
def share_above(view, *, level: float = 0.5):
    """Share of a map's pixels that are above a level of its maximum."""
    return float((view.values > level * view.values.max()).mean())

@metric("central", per="map", better="higher", range=(0, 1), hits=True)
def central(view):
    """Return whether the pixel in the middle is above 15% of the maximum."""
    return float(view.values[112, 112] > 0.15 * view.values.max())

@metric("own_probability", per="image", better="higher", range=(0, 1))
def own_probability(images):
    """Softmax probability of the image's class."""
    return images.images["label_score"].to_numpy(float)
'''
LEVEL = "share_above+level=0.25"
PER_MAP = ["far_metrics:share_above", "far_metrics:central"]
# By hand: cells of the object have the value 1, the others 0.
SHARES = [
    sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (height * width)
    for (height, width), _, boxes in SCENES
]
CENTRAL = [
    any(x0 <= width / 2 < x1 and y0 <= height / 2 < y1 for x0, y0, x1, y1 in boxes)
    for (height, width), _, boxes in SCENES
]


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The folder that the module lies in, and nothing of it left behind."""
    folder = tmp_path_factory.mktemp("far")
    (folder / "far_metrics.py").write_text(MODULE)
    with importable(folder):
        yield folder


@pytest.fixture
def gone(module, monkeypatch):
    """As on a machine that does not have the module."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(module)])
    monkeypatch.delitem(sys.modules, "far_metrics", raising=False)
    for name in ("share_above", "central", "own_probability"):
        monkeypatch.delitem(metrics._plugins, name, raising=False)
    importlib.invalidate_caches()


def cli(capsys, *arguments):
    """What a command printed, as JSON."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exit:
        patch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments), "--json"])
        patch.setattr(sys, "path", [*sys.path])
        main()
        sys.exit(0)
    out, err = capsys.readouterr()
    assert not exit.value.code, err
    return json.loads(out)


def of(lines, **which):
    return [one for one in lines if all(one[key] == value for key, value in which.items())]


@pytest.fixture(scope="module")
def experiment(module, tmp_path_factory):
    root = write_colors(tmp_path_factory.mktemp("colors"))
    named = [
        *PER_MAP,
        {"name": "far_metrics:share_above", "level": 0.25},
        "far_metrics:own_probability",
        "mean_iou",
    ]
    methods = ["cam", "grad_cam", "center_gaussian"]
    return color_experiment(root, workers=0, methods=methods, metrics=named)


@pytest.fixture(scope="module")
def folder(experiment, tmp_path_factory):
    import wsol_bench

    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("run") / "run").folder


def test_stands_in_the_json_of_a_run(experiment, tmp_path, capsys):
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    lines = cli(capsys, "run", tmp_path / "experiment.yaml", "--out", tmp_path / "run")
    [cam] = of(lines, method="cam")
    assert cam["share_above"] == pytest.approx(np.mean(SHARES))
    assert cam["central"] == np.mean(CENTRAL) == 0.75
    assert 0 < cam["own_probability"] < 1
    assert cam["mean_iou"] == 1
    [bell] = of(lines, method="center_gaussian")
    assert bell["central"] == 1
    assert bell[LEVEL] > bell["share_above"] > 0
    # What is not named is not there, but for what the protocol itself is about.
    assert "pointing_game" not in cam
    assert "top1_loc_error" in cam


def test_is_a_column_of_the_rows(folder):
    rows = folder.read("rows")
    assert {"share_above", "central", LEVEL} <= set(rows.columns)
    assert "own_probability" not in rows
    images = folder.read("images").set_index("image_id")["label"]
    own = rows[rows["class"] == rows["image_id"].map(images)]
    mine = own[own["method"] == "cam"].sort_values("image_id")
    assert mine["share_above"].tolist() == pytest.approx(SHARES)
    assert rows.drop(own.index)["share_above"].isna().all()


def test_has_an_interval_and_a_paired_test(folder, capsys, tmp_path):
    shutil.copytree(folder.path, tmp_path / "run")
    tables = cli(capsys, "analyze", tmp_path / "run")
    for number, values in (("share_above", SHARES), ("central", CENTRAL)):
        [line] = of(tables["intervals"], method="cam", number=number)
        assert line["value"] == pytest.approx(np.mean(values))
        assert line["low"] <= line["value"] <= line["high"]
        assert line["n"] == len(SCENES)
        [same] = of(tables["comparisons"], method="grad_cam", number=number)
        assert (same["difference"], same["p"]) == (0, None)  # no p of so few images
    [bell] = of(tables["comparisons"], method="center_gaussian", number="central")
    assert bell["test"] == "McNemar, exact"
    assert (bell["n10"], bell["n01"], bell["difference"]) == (1, 0, 0.25)
    [bell] = of(tables["comparisons"], method="center_gaussian", number="share_above")
    assert bell["test"] == "sign flips"
    assert of(tables["intervals"], method="cam", number=LEVEL)
    assert of(tables["intervals"], method="cam", number="own_probability")


def test_is_there_after_scoring_again(folder, tmp_path, capsys):
    arguments = ("rescore", folder.path, "--protocol", "zhou-2016", "--out", tmp_path / "again")
    lines = cli(capsys, *arguments)
    [bell] = of(lines, method="center_gaussian")
    assert bell["protocol"] == "zhou-2016"
    assert bell["central"] == 1
    [cam] = of(lines, method="cam")
    # Bilinear there: the object's edges are ramps.
    assert 0 < cam["share_above"] < cam[LEVEL]
    # Scored back, every number is that of the run.
    protocol = tmp_path / "protocol.yaml"
    back = folder.identity.protocol.model_dump(mode="json", exclude_none=True)
    protocol.write_text(yaml.safe_dump({**back, "name": "back"}))
    lines = cli(
        capsys, "rescore", tmp_path / "again", "--protocol", protocol, "--out", tmp_path / "back"
    )
    summary = summarize_run(folder).to_dict("records")
    for ours, theirs in zip(lines, summary, strict=True):
        for name in ("share_above", LEVEL, "central", "own_probability", "mean_iou"):
            assert ours[name] == theirs[name], name


def test_can_be_added_to_stored_maps(folder, tmp_path, capsys):
    named = "metrics=[far_metrics:central]"
    arguments = ("rescore", folder.path, "--set", named, "--out", tmp_path / "again")
    [cam] = of(cli(capsys, *arguments), method="cam")
    assert cam["central"] == 0.75
    assert "share_above" not in cam


class TestWithoutItsModule:
    @pytest.fixture
    def of_maps(self, folder, tmp_path):
        """The same run with metrics per map alone."""
        from wsol_bench.runs.rescore import rescore

        named = f"metrics=[{', '.join(PER_MAP)}, mean_iou]"
        return rescore(folder, overrides=[named], out=tmp_path / "run").folder

    def test_a_run_is_analyzed_by_its_stored_columns(self, of_maps, request):
        before, summary = analyze([of_maps]), summarize_run(of_maps)
        request.getfixturevalue("gone")
        with pytest.raises(ConfigError, match="cannot import 'far_metrics'"):
            metrics.get("far_metrics:share_above")
        again = RunFolder(of_maps.path)
        after = analyze([again])
        assert before.keys() == after.keys()
        for name, table in before.items():
            assert after[name].equals(table), name
        assert summarize_run(again).equals(summary)
        assert set(PER_MAP) < {f"far_metrics:{name}" for name in after["intervals"]["number"]}

    def test_it_is_not_scored_again_but_for_other_metrics(self, of_maps, request, tmp_path):
        from wsol_bench.runs.rescore import rescore

        request.getfixturevalue("gone")
        again = RunFolder(of_maps.path)
        with pytest.raises(ConfigError, match="cannot import 'far_metrics'"):
            rescore(again, "zhou-2016", out=tmp_path / "zhou")
        scored = rescore(again, "zhou-2016", overrides=["metrics=[mean_iou]"], out=tmp_path / "z")
        assert "share_above" not in scored.summary

    def test_a_metric_per_image_is_an_error_that_names_it(self, folder, gone):
        with pytest.raises(ConfigError, match="cannot import 'far_metrics'"):
            RunFolder(folder.path)
