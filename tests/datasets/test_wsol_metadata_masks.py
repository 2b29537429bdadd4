"""wsolevaluation's metadata folders of masks."""

from pathlib import Path
from typing import Any

import pytest
from wsol_folders import ILSVRC, OPENIMAGES, kinds, write, write_open_images

from wsol_bench.datasets import Dataset, MaskFiles
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError


class TestMasks:
    def load(self, tmp_path: Path, **options: Any) -> Dataset:
        images = write_open_images(tmp_path / "images")
        return wsol_metadata(metadata=write(tmp_path, OPENIMAGES), images=images, **options)

    def test_masks_stand_in_the_images_order(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path)
        folder = tmp_path / "images/test"
        assert loaded.masks == (
            MaskFiles(
                (
                    folder / "01226z/7af7_m01226z_6554.png",
                    folder / "01226z/7af7_m01226z_8856.png",
                ),
                folder / "01226z/7af7_ignore.png",
            ),
            MaskFiles(
                (folder / "01226z/9736_m01226z_9ad3.png",), folder / "01226z/9736_ignore.png"
            ),
            MaskFiles((folder / "0138tl/0493_m0138tl_936a.png",), None),
        )
        assert loaded[2].mask == loaded.masks[2]

    def test_lines_in_another_order_change_nothing(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path)
        lines = [OPENIMAGES["localization"][index] for index in (3, 2, 0, 1)]
        metadata = write(tmp_path / "other", OPENIMAGES, localization=lines)
        other = wsol_metadata(metadata=metadata, images=tmp_path / "images")
        assert other.masks == loaded.masks

    def test_there_are_no_boxes_and_that_is_no_finding(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path)
        assert loaded.findings == ()
        assert loaded.images["n_boxes"].tolist() == [0, 0, 0]
        assert loaded.boxes.shape == (0, 4)
        assert loaded.images["label"].tolist() == ["0", "0", "1"]
        assert loaded.words == {"0": "01226z", "1": "0138tl"}
        assert (loaded[0].width, loaded[0].height) == (32, 24)

    @pytest.mark.parametrize(
        "missing", ["test/01226z/9736_m01226z_9ad3.png", "test/01226z/9736_ignore.png"]
    )
    def test_an_image_whose_mask_is_missing_is_left_out(self, tmp_path: Path, missing: str) -> None:
        images = write_open_images(tmp_path / "images")
        (images / missing).unlink()
        loaded = wsol_metadata(metadata=write(tmp_path, OPENIMAGES), images=images)
        assert kinds(loaded) == [("missing_file", "test/01226z/9736.jpg")]
        assert missing in loaded.findings[0].detail
        assert loaded.images["image_id"].tolist() == [
            "test/01226z/7af7.jpg",
            "test/0138tl/0493.jpg",
        ]
        assert [len(mask.foreground) for mask in loaded.masks] == [2, 1]

    def test_an_image_without_a_line_is_left_out(self, tmp_path: Path) -> None:
        images = write_open_images(tmp_path / "images")
        metadata = write(tmp_path, OPENIMAGES, localization=OPENIMAGES["localization"][:3])
        loaded = wsol_metadata(metadata=metadata, images=images)
        assert kinds(loaded) == [("missing_file", "test/0138tl/0493.jpg")]
        assert len(loaded.masks) == len(loaded) == 2

    def test_masks_may_lie_in_another_folder(self, tmp_path: Path) -> None:
        write_open_images(tmp_path / "images")
        (tmp_path / "images").rename(tmp_path / "masks")
        loaded = wsol_metadata(metadata=write(tmp_path, OPENIMAGES), masks=tmp_path / "masks")
        assert loaded.masks[2].foreground[0].parent == tmp_path / "masks/test/0138tl"
        assert loaded.images["path"].tolist() == [""] * 3

    def test_masks_without_a_folder_are_an_error(self, tmp_path: Path) -> None:
        metadata = write(tmp_path, OPENIMAGES)
        with pytest.raises(DatasetError, match="found neither the option masks= nor images="):
            wsol_metadata(metadata=metadata)
        with pytest.raises(DatasetError, match=r"masks: no such .*nowhere"):
            wsol_metadata(metadata=metadata, masks=tmp_path / "nowhere")

    def test_a_folder_of_masks_for_boxes_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"masks=.*: expected masks in .*, found none"):
            wsol_metadata(metadata=write(tmp_path, ILSVRC), masks=tmp_path)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("test/01226z/7af7.jpg,../secret.png,", "line 2: .*below their folder"),
            ("test/01226z/7af7.jpg,a.png,/etc/passwd", "line 2: .*below their folder"),
            ("test/01226z/7af7.jpg,,", "line 2: .*only the last may be empty"),
            ("test/01226z/7af7.jpg,a.png,other_ignore.png", "line 2: .*one ignore mask an image"),
        ],
    )
    def test_malformed_lines(self, tmp_path: Path, line: str, message: str) -> None:
        images = write_open_images(tmp_path / "images")
        lines = [OPENIMAGES["localization"][0], line]
        metadata = write(tmp_path, OPENIMAGES, localization=lines)
        with pytest.raises(DatasetError, match=rf"localization\.txt, {message}"):
            wsol_metadata(metadata=metadata, images=images)

    def test_the_ignore_mask_may_stand_in_any_line(self, tmp_path: Path) -> None:
        images = write_open_images(tmp_path / "images")
        first, second, *others = OPENIMAGES["localization"]
        for lines in ([second, first], [first, second + first.rpartition(",")[2]]):
            metadata = write(tmp_path, OPENIMAGES, localization=[*lines, *others])
            loaded = wsol_metadata(metadata=metadata, images=images)
            assert loaded.masks[0].ignore == images / "test/01226z/7af7_ignore.png"
