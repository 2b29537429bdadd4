"""Stale selections, names that are taken, values that are not what a metric says, missing code."""

import numpy as np
import pytest

import wsol_bench
from wsol_bench.datasets import dataset, datasets
from wsol_bench.errors import ConfigError, PluginError
from wsol_bench.metrics.base import metric, metrics

BASE = {
    "name": "guards",
    "dataset": "shapes",
    "methods": [{"name": "random_map", "size": 224, "label": "m"}],
    "protocol": {"name": "choe-2020-v1", "box": {"threshold": {"step": 0.1}}},
    "limit": 8,
}


def selecting(run, **changes):
    threshold = {"step": 0.1, "select_on": str(run)}
    return {
        **BASE,
        "protocol": {"name": "choe-2020-v1", "box": {"threshold": threshold}},
        **changes,
    }


@pytest.fixture
def own_metrics(monkeypatch):
    """Metrics of a test, and nothing of them left behind."""
    monkeypatch.setattr(metrics, "_plugins", {**metrics._plugins})
    monkeypatch.setattr(metrics.catalog, "registered", {*metrics.catalog.registered})


def test_a_selection_does_not_outlive_its_run(tmp_path):
    wsol_bench.run(BASE, out=tmp_path / "other")
    first = wsol_bench.run(selecting(tmp_path / "other"), out=tmp_path / "run")
    assert "selected_box_acc" in first.summary
    again = wsol_bench.run(BASE, out=tmp_path / "run", force=True)
    assert "selected_box_acc" not in again.summary
    assert not (tmp_path / "run/selection.parquet").exists()


def test_another_method_under_the_same_label_selects_nothing(tmp_path):
    wsol_bench.run(BASE, out=tmp_path / "other")
    others = [{"name": "random_map", "size": 224, "seed": 2, "label": "m"}]
    with pytest.raises(ConfigError, match="another method 'm' than this run"):
        wsol_bench.run(selecting(tmp_path / "other", methods=others), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n_images", "is also the name of another column"),
        ("max_box_acc_iou50", "is also the name of another column"),
        ("status", "stored in the column 'status'"),
        ("peak_x", "stored in the column 'peak_x'"),
    ],
)
def test_a_metric_does_not_take_the_name_of_something_else(name, message, own_metrics, tmp_path):
    metric(name, per="map", better="higher", range=(0, 1))(lambda view: 0.5)
    with pytest.raises(ConfigError, match=message):
        wsol_bench.run({**BASE, "metrics": [name]}, out=tmp_path / "run")


def test_a_metric_does_not_take_the_column_of_a_breakdown(own_metrics, tmp_path):
    metric("size", per="map", better="higher", range=(0, 1))(lambda view: 0.5)
    with pytest.raises(ConfigError, match="'size' is also the name of another column"):
        wsol_bench.run(
            {**BASE, "protocol": "gradcam-2017", "metrics": ["size"]}, out=tmp_path / "run"
        )


def test_two_metrics_have_columns_of_their_own(own_metrics, tmp_path):
    metric("first", per="map", better="higher", range=(0, 1), column="one")(lambda view: 0.5)
    metric("second", per="map", better="higher", range=(0, 1), column="one")(lambda view: 0.25)
    with pytest.raises(ConfigError, match="second is stored in the column 'one'"):
        wsol_bench.run({**BASE, "metrics": ["first", "second"]}, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("function", "hits", "message"),
    [
        (lambda images: np.full(len(images), 0.3), True, "hits=True, found 0.3"),
        (lambda images: np.zeros((len(images), 2)), False, r"expected one value an image"),
        (lambda images: [2.0] * len(images), False, "the value 2, outside of its range"),
    ],
)
def test_values_that_are_not_what_a_metric_says(function, hits, message, own_metrics, tmp_path):
    metric("wrong", per="image", better="higher", range=(0, 1), hits=hits)(function)
    with pytest.raises(PluginError, match=message):
        wsol_bench.run({**BASE, "metrics": ["wrong"]}, out=tmp_path / "run")


def test_the_best_of_means_is_the_highest(own_metrics):
    with pytest.raises(ConfigError, match="statistic='best' takes the highest of several"):
        metric("low", per="image", better="lower", range=(0, 1), statistic="best")(len)


def test_a_metric_of_maps_has_a_worst_value(own_metrics):
    with pytest.raises(ConfigError, match="must be finite"):
        metric("endless", per="map", better="lower", range=(0, np.inf))(len)


def test_a_method_without_a_number_stands_beside_selected_thresholds(tmp_path):
    """Boxes of half of the images have no number of all of them under a sweep of guesses."""
    first = wsol_bench.run({**BASE, "protocol": "gradcam-2017"}, out=tmp_path / "first")
    ids = first.images["image_id"]
    other = min({f"n{90_000_000 + k}" for k in range(16)} - set(first.images["label"]))
    lines = ["ImageId,PredictionString", *(f"{one},{other} 1 1 9 9" for one in ids)]
    (tmp_path / "guesses.csv").write_text("\n".join(lines) + "\n")
    experiment = {
        **BASE,
        "methods": [
            *BASE["methods"],
            {"name": "boxes_from", "path": str(tmp_path / "guesses.csv")},
        ],
        "protocol": {
            "name": "choe-2020-v1", "box": {"threshold": {"step": 0.1, "select_on": 0.5}}
        },
    }  # fmt: skip
    summary = wsol_bench.run(experiment, out=tmp_path / "run").summary
    assert summary["n_held_out"].nunique() == 1
    assert summary["n_scored"].tolist()[1] == 0


def test_shards_are_merged_where_a_metric_is_not_at_hand(own_metrics, tmp_path, monkeypatch):
    from wsol_bench.runs.folder import RunFolder
    from wsol_bench.runs.merge import merge

    metric("of_this_test", per="map", better="higher", range=(0, 1))(lambda view: 0.5)
    experiment = {**BASE, "metrics": ["of_this_test"], "part_size": 4}
    shards = [
        wsol_bench.run(experiment, out=tmp_path / str(part), shard=f"{part}/2") for part in (1, 2)
    ]
    others = {name: plugin for name, plugin in metrics._plugins.items() if name != "of_this_test"}
    monkeypatch.setattr(metrics, "_plugins", others)
    monkeypatch.setattr(metrics.catalog, "registered", set(others))
    folders = [RunFolder(shard.folder.path) for shard in shards]
    merged = merge(folders, tmp_path / "whole")
    assert merged.summary["of_this_test"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            lambda: 1 / 0,
            r"data set 'mine': .*test_guards\.py:\d+: ZeroDivisionError: ",
        ),
        (
            lambda: None,
            "'mine': expected that its loader returns a Dataset, found NoneType",
        ),
    ],
)
def test_a_loader_that_fails_is_one_error_that_names_it(loader, message, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_plugins", {**datasets._plugins})
    monkeypatch.setattr(datasets.catalog, "registered", {*datasets.catalog.registered})
    dataset("mine")(loader)
    with pytest.raises(PluginError, match=message):
        wsol_bench.run({**BASE, "dataset": "mine"}, out=tmp_path / "run")
