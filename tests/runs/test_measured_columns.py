"""Columns that a method fills itself: what it measures of each of its maps, beside their scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import wsol_bench
from wsol_bench import Plan, cam_method, metric
from wsol_bench.contracts.metric import check_metric
from wsol_bench.errors import ConfigError, ModelError
from wsol_bench.methods.base import cam_methods
from wsol_bench.metrics.base import metrics
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.shapes_net import WEIGHTS, shapes_net
from wsol_bench.runs.findings import FindingKind
from wsol_bench.runs.rescore import rescore

BASE: dict[str, Any] = {
    "name": "measured",
    "dataset": "shapes",
    "models": ["shapes_net"],
    "protocol": "gradcam-2017",
    "limit": 6,
    "batch_size": 4,
    "workers": 0,
}


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch):
    """Methods and metrics of a test, and nothing of them left behind."""
    for registry in (cam_methods, metrics):
        for name in registry.catalog.built_in:
            registry.get(name)
        monkeypatch.setattr(registry, "_plugins", {**registry._plugins})
        monkeypatch.setattr(registry.catalog, "registered", {*registry.catalog.registered})


def measuring(name: str = "mine", column: str = "class_index", meaning: str = "the class"):
    """A method that measures the class and the brightness of each of its maps' images."""

    @cam_method(name, plan=Plan(), columns={column: meaning, f"{name}_mean": "mean pixel"})
    def method(record):
        maps = record.activations.mean(1, keepdim=True).repeat(1, record.classes.shape[1], 1, 1)
        bright = record.probe.images.mean((1, 2, 3))[:, None].expand_as(record.classes)
        return maps, {column: record.classes.float(), f"{name}_mean": bright}

    return method


def run(folder: Path, *methods: Any, **changes: Any) -> Any:
    return wsol_bench.run({**BASE, "methods": [*methods], **changes}, out=folder / "run")


def test_values_stand_in_the_rows_of_their_maps(tmp_path: Path) -> None:
    """A class is known by its index, an image by its mean pixel."""
    measuring()
    results = run(tmp_path, "mine", "cam")
    rows = results.rows
    others, mine = rows[rows["method"] == "cam"], rows[rows["method"] == "mine"]
    assert others[["class_index", "mine_mean"]].isna().all(axis=None)
    classes = results.folder.read("classes")["wnid"].tolist()
    assert mine["class_index"].tolist() == [classes.index(wnid) for wnid in mine["class"]]
    of_images = mine.groupby("image_id")["mine_mean"]
    assert (of_images.nunique() == 1).all()
    assert mine["mine_mean"].nunique() == 6


def test_the_summary_has_the_mean_of_the_labels_maps(tmp_path: Path) -> None:
    measuring()
    results = run(tmp_path, "mine", "cam")
    mine, others = results.summary.to_dict(orient="records")
    classes = results.folder.read("classes")["wnid"].tolist()
    labels = [classes.index(label) for label in results.images["label"]]
    assert mine["class_index"] == pytest.approx(np.mean(labels))
    assert np.isnan(others["class_index"])


def test_scoring_again_keeps_the_values(tmp_path: Path) -> None:
    measuring()
    results = run(tmp_path, "mine", faithfulness=2)
    again = rescore(results.folder, "gradcam-2017", out=tmp_path / "again")
    for column in ("class_index", "mine_mean", "insertion"):
        np.testing.assert_array_equal(again.rows[column], results.rows[column])
    assert again.summary["class_index"].tolist() == results.summary["class_index"].tolist()
    # Faithfulness belongs to maps that are upsampled as they were, the method's values do not.
    again = rescore(results.folder, "choe-2020-v1", out=tmp_path / "other")
    assert again.rows["insertion"].isna().all()
    np.testing.assert_array_equal(again.rows["class_index"], results.rows["class_index"])


def test_a_metric_reads_the_columns_of_a_method(tmp_path: Path) -> None:
    measuring()

    @metric("least_class", per="image", better="lower", range=(0, 99), needs=("class_index",))
    def least_class(images):
        """The class's index."""
        return images.of_label("class_index")

    assert [verdict for verdict in check_metric(least_class) if verdict.ok is False] == []
    results = run(tmp_path, "mine", metrics=["least_class"])
    assert results.summary["least_class"].tolist() == results.summary["class_index"].tolist()
    with pytest.raises(ConfigError, match="or list a method that measures it"):
        run(tmp_path / "without", "cam", metrics=["least_class"])


def test_values_that_are_not_finite_are_a_finding(tmp_path: Path) -> None:
    @cam_method("endless", plan=Plan(), columns={"v": "a value"})
    def endless(record):
        value = torch.full(record.classes.shape, 1.0)
        value[0] = torch.inf
        return record.activations.mean(1, keepdim=True).expand(-1, value.shape[1], -1, -1), {
            "v": value
        }

    [finding] = run(tmp_path, "endless", "cam").findings
    assert finding.kind is FindingKind.UNSOUND_COLUMN
    assert finding.sentence == (
        "endless: what it measures as 'v' is not a finite number for every image"
    )


@pytest.mark.parametrize("columns", [["v"], "v", {"v": 3}, {3: "x"}, {"": "x"}, {"v": ""}])
def test_columns_are_names_with_what_they_mean(columns: Any) -> None:
    with pytest.raises(ConfigError, match="'odd': columns: expected a dictionary of names, each"):
        cam_method.__wrapped__("odd", plan=Plan(), columns=columns)


@pytest.mark.parametrize(
    "name", ["iou", "peak_x", "n_images", "top1_loc_error", "pointing_game", "findings", "run"]
)
def test_a_name_that_the_results_have_is_an_error(name: str, tmp_path: Path) -> None:
    measuring(column=name)
    with pytest.raises(
        ConfigError, match=f"a method measures '{name}', .* rename it in the method"
    ):
        run(tmp_path, "mine")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"\(maps, values\) with the values of its columns \('share'\), .* found .* of none"),
        ({"part": torch.zeros(6, 5)}, r"columns \('share'\), .* found values of 'part'"),
        ({"share": torch.zeros(6)}, r"values of 'share' of shape \(\d, \d\), .* found \(6,\)"),
        ({"share": 0.5}, r"values of 'share' of shape .*, found float"),
    ],
)
def test_values_that_do_not_fit_are_an_error(values, message: str, tmp_path: Path) -> None:
    @cam_method("unfit", plan=Plan(), columns={"share": "a share"})
    def unfit(record):
        maps = record.activations[:, None].mean(2)
        return maps.expand(-1, record.classes.shape[1], -1, -1), values

    with pytest.raises(ModelError, match=f"'unfit': expected .*{message}"):
        run(tmp_path, "unfit")


def test_two_methods_share_a_column_only_if_they_mean_the_same(tmp_path: Path) -> None:
    measuring("one")
    measuring("other")
    lines = run(tmp_path, "one", "other").summary["class_index"].tolist()
    assert lines[0] == lines[1]
    measuring("third", meaning="another thing")
    with pytest.raises(
        ConfigError, match="one measures 'class_index' as 'the class', and third as"
    ):
        run(tmp_path / "not", "one", "third")


class Saturated(nn.Module):
    """ShapesNet whose images pass a rectifier that is flat above 0.1, as a ReLU6 is above 6."""

    def __init__(self) -> None:
        super().__init__()
        self.net = shapes_net()
        self.net.load_state_dict(read_weights(WEIGHTS).state)

    def forward(self, images):
        return self.net(images.clamp(max=0.1))


def test_a_run_says_where_full_grad_is_not_complete(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(wsol_bench, "saturated", lambda: Saturated(), raising=False)
    model = {"name": "wsol_bench:saturated", "layer": "net.features", "label": "flat"}
    results = run(tmp_path, "full_grad", "cam", models=["shapes_net", model])
    [finding] = results.findings
    assert (finding.kind, finding.model, finding.method) == (
        FindingKind.INCOMPLETE, "flat", "full_grad",
    )  # fmt: skip
    line = results.summary.set_index(["model", "method"]).loc[("flat", "full_grad")]
    share = line["completeness_gap"] / abs(line["logit"])
    assert f"the mean score is {line['logit']:.3g} ({share:.0%})" in finding.text
    complete = results.summary.set_index(["model", "method"]).loc[("shapes_net", "full_grad")]
    assert complete["completeness_gap"] < 1e-4 * abs(complete["logit"])
