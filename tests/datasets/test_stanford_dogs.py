"""Stanford Dogs in the real files' format: lists of MATLAB, XML files without an extension."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_worlds import picture, put
from packed import pack
from scipy.io import savemat

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.stanford_dogs import stanford_dogs
from wsol_bench.errors import DatasetError
from wsol_bench.runs.experiment_config import load_dataset

CHIHUAHUA, SHIH_TZU = "n02085620-Chihuahua", "n02086240-Shih-Tzu"
A, B, C = (f"{CHIHUAHUA}/n02085620_10074", f"{SHIH_TZU}/n02086240_1011",
           f"{SHIH_TZU}/n02086240_7")  # fmt: skip


def save_list(path: Path, *files: Any) -> None:
    """As the official lists: cell arrays of one column, labels from 1."""
    cells = np.empty((len(files), 1), object)
    cells[:, 0] = files
    savemat(
        path, {"file_list": cells, "annotation_list": cells, "labels": np.ones((len(files), 1))}
    )


def annotation(name: str, *boxes: tuple[int, int, int, int]) -> str:
    objects = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<bndbox>"
        f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n"
        "\t</object>\n"
        for x0, y0, x1, y1 in boxes
    )
    size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
    return f"<annotation>\n\t<filename>%s</filename>\n\t{size}\n{objects}</annotation>\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "dogs"
    for image in (A, B, C):
        picture(root / f"Images/{image}.jpg")
    put(root / f"Annotation/{A}", annotation("Chihuahua", (0, 1, 19, 20)))
    put(root / f"Annotation/{B}", annotation("Shih-Tzu", (5, 5, 9, 9), (10, 10, 39, 29)))
    put(root / f"Annotation/{C}", annotation("Shih-Tzu", (1, 2, 3, 4)))
    save_list(root / "test_list.mat", f"{B}.jpg", f"{A}.jpg")
    save_list(root / "train_list.mat", f"{C}.jpg")
    return root


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


def test_the_splits(root: Path) -> None:
    loaded = stanford_dogs(root=root)
    test = {"n02085620_10074": [[0, 1, 20, 21]],
            "n02086240_1011": [[5, 5, 10, 10], [10, 10, 40, 30]]}  # fmt: skip
    assert boxes_of(loaded) == test
    assert loaded.findings == ()
    assert loaded.words == {"n02085620": "Chihuahua", "n02086240": "Shih-Tzu"}
    assert loaded.images["label"].tolist() == ["n02085620", "n02086240"]
    train = {"n02086240_7": [[1, 2, 4, 5]]}
    assert boxes_of(stanford_dogs(root=root, split="train")) == train
    assert boxes_of(stanford_dogs(root=root, split="all")) == test | train


def test_a_dog_of_another_breed_is_an_unknown_object(root: Path) -> None:
    put(root / f"Annotation/{A}", annotation("cat", (0, 1, 19, 20)))
    loaded = stanford_dogs(root=root)
    assert boxes_of(loaded)["n02085620_10074"] == []
    assert {finding.kind for finding in loaded.findings} == {"unknown_class", "no_box"}


def test_odd_annotations_and_images(root: Path) -> None:
    put(root / f"Annotation/{A}", "<annotation>")
    (root / f"Annotation/{B}").unlink()
    (root / f"Images/{C}.jpg").unlink()
    save_list(root / "test_list.mat", f"{C}.jpg", f"{B}.jpg", f"{A}.jpg")
    loaded = stanford_dogs(root=root)
    assert boxes_of(loaded) == {"n02086240_1011": []}
    assert [(finding.kind, finding.image_id) for finding in loaded.findings] == [
        ("bad_annotation", "n02085620_10074"),
        ("no_annotation", "n02086240_1011"),
        ("no_box", "n02086240_1011"),
        ("missing_file", "n02086240_7"),
    ]


def test_a_resized_image_rescales_its_boxes(root: Path) -> None:
    (root / f"Images/{A}.jpg").unlink()
    picture(root / f"Images/{A}.jpg", size=(80, 60))
    assert boxes_of(stanford_dogs(root=root))["n02085620_10074"] == [[0, 2, 40, 42]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((f"{A}.jpg", f"{A}.jpg"), f"found '{A}.jpg' twice"),
        (("n02085620-x/../../secret.jpg",), "expected paths such as n02085620-Chihuahua"),
        (("/etc/passwd",), "expected paths such as n02085620-Chihuahua"),
        ((np.array([1.0]), "x"), "expected text in every cell, found float"),
    ],
)
def test_a_list_is_not_trusted(root: Path, files: tuple[Any, ...], message: str) -> None:
    save_list(root / "test_list.mat", *files)
    with pytest.raises(DatasetError, match=r"test_list\.mat") as caught:
        stanford_dogs(root=root)
    assert message in str(caught.value)


def test_a_missing_list_is_told(root: Path) -> None:
    (root / "test_list.mat").unlink()
    with pytest.raises(DatasetError, match=r"split: no such file .*test_list\.mat; .* train_list"):
        stanford_dogs(root=root)


def test_init_recognizes_the_folder(root: Path) -> None:
    look = stanford_dogs.recognize(root)
    assert look.fits
    assert look.options == {"root": str(root), "split": "test"}
    loaded = load_dataset({"name": "stanford_dogs", **look.options})
    assert loaded.fingerprint == stanford_dogs(root=root).fingerprint
    assert not stanford_dogs.recognize(root / "nowhere").fits


def test_an_archive_is_read_in_place(root: Path, tmp_path: Path) -> None:
    packed = stanford_dogs(root=pack(root, tmp_path / "packed.zip"))
    assert packed.fingerprint == stanford_dogs(root=root).fingerprint
