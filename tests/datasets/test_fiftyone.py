"""FiftyOne's data sets, by stand-ins with the attributes that its documentation names.

FiftyOne needs a MongoDB server, which a test cannot start; its classes of samples and labels were
tried by hand with the same loader.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from wsol_bench.datasets.fiftyone import fiftyone
from wsol_bench.errors import DatasetError


def detections(*objects: tuple[str | None, list[float]]) -> SimpleNamespace:
    found = [SimpleNamespace(label=label, bounding_box=box) for label, box in objects]
    return SimpleNamespace(detections=found)


class Sample(dict):
    """A sample: fields by name, and the path of its file."""

    def __init__(self, path: Path, label: Any, *tags: str) -> None:
        super().__init__(ground_truth=label)
        self.filepath, self.tags = str(path), tags


class Samples(list):
    """What ``load_dataset`` returns."""

    def get_field_schema(self) -> dict[str, object]:
        return {"filepath": None, "ground_truth": None}

    def match_tags(self, tag: str) -> "Samples":
        return Samples(sample for sample in self if tag in sample.tags)

    def values(self, field: str) -> list[str]:
        return [getattr(sample, field) for sample in self]

    def iter_samples(self) -> Any:
        return iter(self)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("a/1.png", "b/2.png", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 128)).save(tmp_path / name)
    first = detections(("cat", [0.25, 0.5, 0.5, 0.25]), ("dog", [0, 0, 1, 1]))
    samples = Samples(
        [
            Sample(tmp_path / "a/1.png", first, "test"),
            Sample(tmp_path / "b/2.png", detections(("dog", [0.5, 0.25, 0.25, 0.5])), "train"),
            Sample(tmp_path / "b/3.png", None, "test"),
        ]
    )
    module = ModuleType("fiftyone")
    monkeypatch.setattr(module, "list_datasets", lambda: ["pets"], raising=False)
    monkeypatch.setattr(module, "load_dataset", lambda name: samples, raising=False)
    monkeypatch.setitem(sys.modules, "fiftyone", module)
    return samples


def test_a_sample_is_a_class_of_an_image(world: Samples, tmp_path: Path) -> None:
    loaded = fiftyone(dataset="pets")
    assert {sample.image_id: sample.boxes.tolist() for sample in loaded} == {
        "a/1.png/cat": [[16, 64, 48, 96]],
        "a/1.png/dog": [[0, 0, 64, 128]],
        "b/2.png/dog": [[32, 32, 48, 96]],
    }
    assert loaded.images["path"].iloc[0] == str(tmp_path / "a/1.png")
    assert [finding[:2] for finding in loaded.findings] == [("no_label", "b/3.png")]


def test_a_tag_chooses_images(world: Samples) -> None:
    assert fiftyone(dataset="pets", tag="train").images["image_id"].tolist() == ["b/2.png/dog"]
    with pytest.raises(DatasetError, match="found none with the tag 'val'"):
        fiftyone(dataset="pets", tag="val")


def test_a_box_that_is_none_is_dropped_and_an_unknown_class_left_out(world: Samples) -> None:
    world[1]["ground_truth"] = detections(
        ("dog", [float("nan")] * 4), (None, [0.25, 0.25, 0.5, 0.5])
    )
    loaded = fiftyone(dataset="pets")
    assert len(loaded.boxes) == 2
    kinds = {finding.kind for finding in loaded.findings if finding.image_id.startswith("b/2.png")}
    assert kinds == {"no_box", "no_label"}


def test_what_is_not_there_is_told(world: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="no data set 'pet'; did you mean 'pets'"):
        fiftyone(dataset="pet")
    with pytest.raises(DatasetError, match="has no field 'truth'"):
        fiftyone(dataset="pets", label_field="truth")
    world[0]["ground_truth"] = SimpleNamespace(label="cat")
    with pytest.raises(DatasetError, match="expected detections with bounding boxes"):
        fiftyone(dataset="pets")
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(DatasetError, match="no extra of wsol-bench: pip install fiftyone"):
        fiftyone(dataset="pets")
