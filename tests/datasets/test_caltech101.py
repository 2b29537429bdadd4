"""Caltech 101 in the real files' format; torchvision's loader is the oracle of the pairs."""

from pathlib import Path

import numpy as np
import pytest
from packed import pack
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Caltech101

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.caltech101 import caltech101
from wsol_bench.errors import DatasetError
from wsol_bench.runs.experiment_config import load_dataset

FOLDERS = {"accordion": "accordion", "Faces": "Faces_2", "Faces_easy": "Faces_3",
           "Motorbikes": "Motorbikes_16", "airplanes": "Airplanes_Side_2"}  # fmt: skip


def save(path: Path, **arrays: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of each class; box_coord is y0, y1, x0, x1, the outline lies relative to it."""
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "caltech101"
    for kind, (name, folder) in enumerate(FOLDERS.items()):
        for number in (1, 2):
            image = root / f"101_ObjectCategories/{name}/image_{number:04}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 40)).save(image)
            box = np.array([[5, 20 + kind, 11, 30 + number]], np.uint16)
            outline = np.array([[0.0, box[0, 3] - 11, 0], [0, 0, box[0, 1] - 5]])
            save(
                root / f"Annotations/{folder}/annotation_{number:04}.mat",
                box_coord=box,
                obj_contour=outline,
            )
    background = root / "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg"
    background.parent.mkdir()
    Image.new("RGB", (60, 40)).save(background)
    return root


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


def test_boxes_are_one_based_with_y_before_x(root: Path) -> None:
    loaded = caltech101(root=root)
    assert loaded.findings == ()
    assert len(loaded) == 10
    assert boxes_of(loaded)["accordion/image_0001"] == [[10, 4, 31, 20]]
    assert loaded.words["Faces_easy"] == "Faces easy"
    assert caltech101(root=root.parent).fingerprint == loaded.fingerprint


def test_torchvision_pairs_the_same_images_classes_and_outlines(root: Path) -> None:
    loaded = caltech101(root=root)
    oracle = Caltech101(root.parent, target_type=["category", "annotation"])
    assert loaded.classes["wnid"].tolist() == oracle.categories
    for index in range(len(oracle)):
        image, (category, outline) = oracle[index]
        image.close()
        image_id = f"{oracle.categories[category]}/image_{oracle.index[index]:04}"
        sample = loaded.select([image_id])[0]
        assert sample.label == oracle.categories[category]
        x0, y0, x1, y1 = sample.boxes[0]
        # The outline's extent is from the first to the last pixel of the box.
        assert (x1 - x0 - 1, y1 - y0 - 1) == tuple(outline.max(axis=1))


def test_the_second_load_reads_no_annotation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = caltech101(root=root)
    monkeypatch.setattr("wsol_bench.datasets.caltech101.read_mat", None)
    assert caltech101(root=root).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "expected a MATLAB file"),
        (b"MATLAB 5.0 MAT-file" + b"\0" * 200, "expected"),
        ({"other": 1}, "expected the array 'box_coord', found other"),
        ({"box_coord": [1, 2, 3]}, "expected four numbers in box_coord"),
        ({"box_coord": [1, 2, 3, np.nan]}, "expected four numbers in box_coord"),
        ({"box_coord": "1 2 3 4"}, "expected numbers"),
    ],
)
def test_an_annotation_that_cannot_be_read_leaves_its_image_out(
    root: Path, content: object, detail: str
) -> None:
    path = root / "Annotations/Faces_2/annotation_0001.mat"
    path.write_bytes(content) if isinstance(content, bytes) else save(path, **content)
    loaded = caltech101(root=root)
    assert "Faces/image_0001" not in boxes_of(loaded)
    [finding] = loaded.findings
    assert finding[:2] == ("bad_annotation", "Faces/image_0001")
    assert detail in finding.detail
    assert str(path) in finding.detail


def test_an_array_without_end_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsol_bench.datasets.formats.matlab.LARGEST", 3)
    with pytest.raises(DatasetError, match="expected at most 3 elements in 'box_coord', found 4"):
        caltech101(root=root)


def test_an_image_without_an_annotation_stays(root: Path) -> None:
    (root / "Annotations/Faces_3/annotation_0002.mat").unlink()
    loaded = caltech101(root=root)
    assert boxes_of(loaded)["Faces_easy/image_0002"] == []
    assert {finding.kind for finding in loaded.findings} == {"no_annotation", "no_box"}


def test_a_folder_that_is_another_is_told(root: Path) -> None:
    with pytest.raises(DatasetError, match="101_ObjectCategories"):
        caltech101(root=root / "Annotations")


def test_init_recognizes_the_folder(root: Path) -> None:
    look = caltech101.recognize(root)
    assert look.fits
    assert look.options == {"root": str(root)}
    loaded = load_dataset({"name": "caltech101", **look.options})
    assert loaded.fingerprint == caltech101(root=root).fingerprint
    assert not caltech101.recognize(root / "nowhere").fits


def test_an_archive_is_read_in_place(root: Path, tmp_path: Path) -> None:
    packed = caltech101(root=pack(root, tmp_path / "packed.zip"))
    assert packed.fingerprint == caltech101(root=root).fingerprint
