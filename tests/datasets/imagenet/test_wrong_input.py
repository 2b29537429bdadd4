"""A root or option that does not hold what it should is an error that says how to mend it."""

from pathlib import Path
from typing import Any

import pytest
from imagenet_roots import (
    WORLD,
    annotations_only,
    image_of,
    kaggle,
    torchvision,
    write,
    write_images,
)

from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


class TestWrongInput:
    def test_a_missing_root_says_what_is_there_instead(self, tmp_path: Path) -> None:
        kaggle(tmp_path / "imagenet")
        with pytest.raises(DatasetError, match=r"root: no such file or folder: .*holds imagenet"):
            imagenet(root=tmp_path / "ImageNet1k" / "deep")

    def test_a_root_of_another_kind_says_what_was_looked_for(self, tmp_path: Path) -> None:
        write(tmp_path / "train/cats/1.txt", "")
        with pytest.raises(DatasetError) as caught:
            imagenet(root=tmp_path)
        message = str(caught.value)
        for part in ("ILSVRC/Data/CLS-LOC/val", "LOC_val_solution.csv", "found train", "images="):
            assert part in message

    def test_a_file_is_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="root: expected a folder, found a file"):
            imagenet(root=write(tmp_path / "a.txt", ""))

    def test_images_without_boxes_are_an_error(self, tmp_path: Path) -> None:
        write_images(tmp_path / "val")
        with pytest.raises(DatasetError, match=r"expected boxes of split 'val'.*annotations="):
            imagenet(root=tmp_path)

    @pytest.mark.parametrize(
        ("source", "lacks"), [("xml", "folder of XML"), ("csv", "solution CSV")]
    )
    def test_boxes_that_are_not_there_are_an_error(
        self, tmp_path: Path, source: Any, lacks: str
    ) -> None:
        root = annotations_only(tmp_path) if source == "xml" else torchvision(tmp_path)
        with pytest.raises(
            DatasetError, match=f"boxes='{source}' expected a {lacks}.*, found none"
        ):
            imagenet(root=root, boxes=source)

    @pytest.mark.parametrize("option", ["images", "annotations", "devkit"])
    def test_an_option_must_name_its_piece(self, tmp_path: Path, option: str) -> None:
        root = kaggle(tmp_path / "root")
        with pytest.raises(DatasetError, match=f"{option}: no such file or folder"):
            imagenet(root=root, **{option: tmp_path / "nowhere"})
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match=f"{option}: .*empty"):
            imagenet(root=root, **{option: tmp_path / "empty"})

    def test_no_image_left_says_why(self, tmp_path: Path) -> None:
        root = kaggle(tmp_path)
        for number in WORLD:
            image_of(root, number).write_bytes(b"")
        with pytest.raises(
            DatasetError, match=r"every image .* is left out; unreadable_image: 4; the first"
        ):
            imagenet(root=root)

    def test_a_root_that_lists_no_image_is_an_error(self, tmp_path: Path) -> None:
        root = tmp_path
        write(root / "LOC_val_solution.csv", "ImageId,PredictionString\n")
        with pytest.raises(DatasetError, match="images in the list of split 'val', found none"):
            imagenet(root=root)
