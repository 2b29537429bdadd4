"""OpenImages30k as its scripts unpack it: folders found, masks read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets.openimages import openimages
from wsol_bench.errors import DatasetError
from wsol_bench.images.masks import load_mask
from wsol_bench.runs.experiment_config import DatasetConfig

IMAGE = "test/01226z/7af766bd43da900b.jpg"
MASKS = (
    "test/01226z/7af766bd43da900b_m01226z_6554d965.png",
    "test/01226z/7af766bd43da900b_m01226z_8856c605.png",
)
IGNORE = "test/01226z/7af766bd43da900b_ignore.png"


def write_metadata(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "image_ids.txt").write_text(f"{IMAGE}\n")
    (folder / "class_labels.txt").write_text(f"{IMAGE},0\n")
    (folder / "localization.txt").write_text(f"{IMAGE},{MASKS[0]},{IGNORE}\n{IMAGE},{MASKS[1]},\n")


def write_images(folder: Path) -> None:
    (folder / IMAGE).parent.mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(folder / IMAGE)
    # Left half, one pixel at the right, and a frame around all to be ignored.
    left, right, frame = np.zeros((3, 20, 40), np.uint8)
    left[:, :20] = right[10, 39] = frame[[0, -1]] = 255
    for name, pixels in zip((*MASKS, IGNORE), (left, right, frame), strict=True):
        Image.fromarray(pixels).save(folder / name)


LAYOUTS = [
    ("metadata/OpenImages/test", "dataset/OpenImages"),
    ("metadata/test", "."),
    ("metadata/test", "OpenImages"),
    ("OpenImages/metadata/test", "OpenImages"),
]


@pytest.mark.parametrize(("metadata", "images"), LAYOUTS)
def test_the_folders_are_found_under_the_root(tmp_path: Path, metadata: str, images: str) -> None:
    write_metadata(tmp_path / metadata)
    write_images(tmp_path / images)
    loaded = openimages(root=tmp_path)
    assert loaded.name == "openimages"
    assert loaded.findings == ()
    assert loaded.images["image_id"].tolist() == [IMAGE]
    assert loaded[0].path == tmp_path / images / IMAGE
    assert (loaded[0].width, loaded[0].height, loaded[0].label) == (40, 20, "0")
    assert loaded.words == {"0": "01226z"}
    assert loaded[0].mask == loaded.masks[0]


def test_its_masks_are_read_at_any_size(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata/OpenImages/test")
    write_images(tmp_path / "dataset/OpenImages")
    [sample] = openimages(root=tmp_path)
    assert sample.mask is not None
    full = load_mask(sample.mask, (20, 40))
    assert (full[:, :20] == 1).all()
    assert full[10, 39] == 1
    assert (full[[0, -1], 20:] == 255).all()
    assert np.count_nonzero(full == 0) == 18 * 20 - 1
    # Rows 0 and 10, columns 0, 10, 20 and 30 of the files.
    assert load_mask(sample.mask, (2, 4)).tolist() == [[1, 1, 255, 255], [1, 1, 0, 0]]


def test_folders_elsewhere_are_named_by_options(tmp_path: Path) -> None:
    write_metadata(tmp_path / "lists")
    write_images(tmp_path / "a")
    write_images(tmp_path / "b")
    loaded = openimages(
        root=tmp_path,
        metadata=tmp_path / "lists",
        images=tmp_path / "a",
        masks=tmp_path / "b",
    )
    assert loaded[0].path == tmp_path / "a" / IMAGE
    assert loaded.masks[0].ignore == tmp_path / "b" / IGNORE


def test_a_file_of_classes_gives_them_their_names(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata/test")
    write_images(tmp_path)
    (tmp_path / "classes.txt").write_text("01226z Football\n0138tl Toy\n")
    loaded = openimages(root=tmp_path, classes=tmp_path / "classes.txt", cache=False)
    assert loaded[0].label == "01226z"
    assert loaded.words == {"01226z": "Football", "0138tl": "Toy"}
    assert loaded.findings == ()


def test_a_file_of_other_classes_than_the_labels_count_is_said(tmp_path: Path) -> None:
    """Such as that of all 600 classes of Open Images, of which OpenImages30k has 100."""
    write_metadata(tmp_path / "metadata/test")
    write_images(tmp_path)
    (tmp_path / "classes.txt").write_text("01226z Football\n011k07 Tortoise\n")
    loaded = openimages(root=tmp_path, classes=tmp_path / "classes.txt", cache=False)
    [finding] = loaded.findings
    assert finding == (
        "label_mismatch",
        IMAGE,
        "in folder 01226z, but class_labels.txt and the order of the classes say 011k07",
    )


def test_what_is_not_found_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"expected metadata of split 'val' in .*metadata/OpenImages/val"
    ):
        openimages(root=tmp_path, split="val")
    write_metadata(tmp_path / "metadata/OpenImages/test")
    with pytest.raises(
        DatasetError, match=r"expected images of split 'test' in .*with the option 'images'"
    ):
        openimages(root=tmp_path)


def test_is_found_by_its_name_in_a_configuration(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata/test")
    write_images(tmp_path)
    config = DatasetConfig.model_validate({"name": "openimages", "root": str(tmp_path)})
    assert config.load().name == "openimages"
