"""wsolevaluation's metadata folders: files in their format, odd ones included."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets import Dataset, MaskFiles, datasets
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError
from wsol_bench.runs.config import DatasetConfig

# The first lines of metadata/ILSVRC/test, and one image of several boxes.
ILSVRC = {
    "image_ids": [
        "val/ILSVRC2012_val_00000001.JPEG",
        "val/ILSVRC2012_val_00000002.JPEG",
        "val/ILSVRC2012_val_00000293.JPEG",
    ],
    "class_labels": [
        "val/ILSVRC2012_val_00000001.JPEG,2",
        "val/ILSVRC2012_val_00000002.JPEG,10",
        "val/ILSVRC2012_val_00000293.JPEG,0",
    ],
    "image_sizes": [
        "val/ILSVRC2012_val_00000001.JPEG,500,375",
        "val/ILSVRC2012_val_00000002.JPEG,500,375",
        "val/ILSVRC2012_val_00000293.JPEG,60,40",
    ],
    "localization": [
        "val/ILSVRC2012_val_00000001.JPEG,111,108,441,193",
        "val/ILSVRC2012_val_00000002.JPEG,45,49,499,162",
        "val/ILSVRC2012_val_00000002.JPEG,2,69,437,207",
        "val/ILSVRC2012_val_00000293.JPEG,0,0,59,39",
    ],
}
FIRST, SECOND, THIRD = ILSVRC["image_ids"]
MAPPING = "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn01484850 great white shark\n"

# As metadata/OpenImages/test: an ignore mask in an image's first line only.
OPENIMAGES = {
    "image_ids": ["test/01226z/7af7.jpg", "test/01226z/9736.jpg", "test/0138tl/0493.jpg"],
    "class_labels": [
        "test/01226z/7af7.jpg,0",
        "test/01226z/9736.jpg,0",
        "test/0138tl/0493.jpg,1",
    ],
    "localization": [
        "test/01226z/7af7.jpg,test/01226z/7af7_m01226z_6554.png,test/01226z/7af7_ignore.png",
        "test/01226z/7af7.jpg,test/01226z/7af7_m01226z_8856.png,",
        "test/01226z/9736.jpg,test/01226z/9736_m01226z_9ad3.png,test/01226z/9736_ignore.png",
        "test/0138tl/0493.jpg,test/0138tl/0493_m0138tl_936a.png,",
    ],
}


def write(folder: Path, files: dict[str, list[str]], **changed: list[str] | None) -> Path:
    """A metadata folder; a file changed to None is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (files | changed).items():
        if lines is not None:
            (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def write_images(folder: Path) -> Path:
    for line in ILSVRC["image_sizes"]:
        name, width, height = line.split(",")
        picture(folder / name, (int(width), int(height)))
    return folder


def write_open_images(folder: Path) -> Path:
    for name in OPENIMAGES["image_ids"]:
        picture(folder / name, (32, 24))
    for line in OPENIMAGES["localization"]:
        for name in filter(None, line.split(",")[1:]):
            picture(folder / name, (32, 24), "L")
    return folder


def kinds(loaded: Dataset) -> list[tuple[str, str]]:
    return [(finding.kind, finding.image_id) for finding in loaded.findings]


class TestBoxes:
    def test_ids_order_sizes_and_half_open_boxes(self, tmp_path: Path) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC))
        assert loaded.name == "wsol_metadata"
        assert loaded.images["image_id"].tolist() == [FIRST, SECOND, THIRD]
        assert loaded.images[["width", "height"]].to_numpy().tolist() == [
            [500, 375],
            [500, 375],
            [60, 40],
        ]
        assert loaded.images["n_boxes"].tolist() == [1, 2, 1]
        # The inclusive corner 499 is the last pixel of 500: its half-open end is the width.
        assert [sample.boxes.tolist() for sample in loaded] == [
            [[111, 108, 442, 194]],
            [[45, 49, 500, 163], [2, 69, 438, 208]],
            [[0, 0, 60, 40]],
        ]
        assert loaded.findings == ()
        assert loaded.masks == ()
        assert not loaded.images["blacklisted"].any()

    def test_the_order_is_the_lists_and_not_that_of_names(self, tmp_path: Path) -> None:
        backwards = write(tmp_path, ILSVRC, image_ids=[THIRD, FIRST])
        loaded = wsol_metadata(metadata=backwards)
        assert loaded.images["image_id"].tolist() == [THIRD, FIRST]
        assert loaded.boxes.tolist() == [[0, 0, 60, 40], [111, 108, 442, 194]]
        assert loaded.box_labels.tolist() == ["00", "02"]

    def test_boxes_of_an_image_may_stand_apart(self, tmp_path: Path) -> None:
        lines = [ILSVRC["localization"][index] for index in (1, 3, 0, 2)]
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, localization=lines))
        assert loaded[1].boxes.tolist() == [[45, 49, 500, 163], [2, 69, 438, 208]]
        assert loaded[0].boxes.tolist() == [[111, 108, 442, 194]]

    def test_windows_lines_a_byte_order_mark_and_blank_lines(self, tmp_path: Path) -> None:
        plain = wsol_metadata(metadata=write(tmp_path / "plain", ILSVRC))
        folder = tmp_path / "windows"
        folder.mkdir()
        for name, lines in ILSVRC.items():
            text = "\ufeff" + "\r\n\r\n".join(lines) + "\r\n\r\n"
            (folder / f"{name}.txt").write_bytes(text.encode())
        assert wsol_metadata(metadata=folder).fingerprint == plain.fingerprint

    def test_without_sizes_boxes_are_kept_as_they_are(self, tmp_path: Path) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, image_sizes=None))
        assert loaded.images[["width", "height"]].to_numpy().tolist() == [[0, 0]] * 3
        assert loaded[1].boxes.tolist() == [[45, 49, 500, 163], [2, 69, 438, 208]]
        assert loaded.findings == ()

    def test_is_found_by_its_name_in_a_configuration(self, tmp_path: Path) -> None:
        metadata = write(tmp_path, ILSVRC)
        config = DatasetConfig.model_validate({"name": "wsol_metadata", "metadata": str(metadata)})
        assert len(config.load()) == 3
        assert datasets.get("wsol_metadata").summary.startswith("A metadata folder")


class TestClasses:
    def test_numbers_get_leading_zeros_and_unused_ones_have_a_row(self, tmp_path: Path) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC))
        assert loaded.images["label"].tolist() == ["02", "10", "00"]
        assert loaded.box_labels.tolist() == ["02", "10", "10", "00"]
        # Row i is output i of a network that was trained on these labels.
        assert loaded.classes["wnid"].tolist() == [f"{number:02}" for number in range(11)]
        assert loaded.words["03"] == "03"
        assert (loaded.classes["ilsvrc_id"] == 0).all()

    def test_the_same_split_keeps_its_keys_when_fewer_images_are_listed(
        self, tmp_path: Path
    ) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, image_ids=[THIRD]))
        assert loaded.images["label"].tolist() == ["00"]
        assert len(loaded.classes) == 11

    def test_a_folder_a_class_names_the_class(self, tmp_path: Path) -> None:
        ids = ["001.Albatross/a_1.jpg", "001.Albatross/a_2.jpg", "003.Ani/b_1.jpg"]
        labels = [f"{name},{label}" for name, label in zip(ids, (0, 0, 2), strict=True)]
        metadata = write(tmp_path, {"image_ids": ids, "class_labels": labels})
        loaded = wsol_metadata(metadata=metadata)
        assert loaded.words == {"0": "001.Albatross", "1": "1", "2": "003.Ani"}

    @pytest.mark.parametrize("second", ["x/b.jpg,1", "y/b.jpg,0"])
    def test_folders_that_are_no_classes_name_nothing(self, tmp_path: Path, second: str) -> None:
        labels = ["x/a.jpg,0", second, "z/c.jpg,2"]
        ids = [line.partition(",")[0] for line in labels]
        loaded = wsol_metadata(metadata=write(tmp_path, {"image_ids": ids, "class_labels": labels}))
        assert loaded.words == {"0": "0", "1": "1", "2": "2"}

    def test_a_mapping_turns_numbers_into_wnids(self, tmp_path: Path) -> None:
        mapping = tmp_path / "LOC_synset_mapping.txt"
        # The place among the sorted wnids counts, not the line.
        mapping.write_text("".join(reversed(MAPPING.splitlines(keepends=True))))
        loaded = wsol_metadata(metadata=write(tmp_path / "split", ILSVRC), classes=mapping)
        assert loaded.images["label"].tolist() == ["n01484850", "n01440764"]
        assert loaded.words["n01440764"] == "tench, Tinca tinca"
        assert kinds(loaded) == [("unknown_class", SECOND)]
        assert "class '10' is not among the 3 classes" in loaded.findings[0].detail
        assert loaded.box_labels.tolist() == ["n01484850", "n01440764"]
        assert loaded.boxes.tolist() == [[111, 108, 442, 194], [0, 0, 60, 40]]

    def test_numbers_that_do_not_sort_as_text_are_refused(self, tmp_path: Path) -> None:
        mapping = tmp_path / "classes.txt"
        mapping.write_text("".join(f"{number} bird {number}\n" for number in range(1, 12)))
        metadata = write(tmp_path / "split", ILSVRC)
        with pytest.raises(DatasetError, match=r"classes\.txt.*1, 10, 11.*leading zeros"):
            wsol_metadata(metadata=metadata, classes=mapping)
        mapping.write_text("".join(f"{number:02} bird {number}\n" for number in range(1, 12)))
        loaded = wsol_metadata(metadata=metadata, classes=mapping)
        assert loaded.images["label"].tolist() == ["03", "11", "01"]


class TestImages:
    def test_paths_are_relative_to_the_folder_of_images(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "dataset/ILSVRC")
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC), images=images)
        assert loaded[0].path == images / "val/ILSVRC2012_val_00000001.JPEG"
        assert loaded.findings == ()
        loaded.require_pixels()

    def test_without_the_folder_there_are_annotations_only(self, tmp_path: Path) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC))
        assert loaded.images["path"].tolist() == [""] * 3
        with pytest.raises(DatasetError, match="images"):
            loaded.require_pixels()

    def test_sizes_come_from_the_headers_where_no_file_says_them(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images")
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, image_sizes=None), images=images)
        assert loaded.images["width"].tolist() == [500, 500, 60]
        assert loaded.images["height"].tolist() == [375, 375, 40]
        assert loaded.findings == ()

    def test_missing_and_unreadable_images_are_left_out(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images")
        (images / FIRST).unlink()
        (images / THIRD).write_bytes(b"no image")
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC), images=images)
        assert loaded.images["image_id"].tolist() == [SECOND]
        assert kinds(loaded) == [("missing_file", FIRST), ("unreadable_image", THIRD)]
        assert loaded.boxes.tolist() == [[45, 49, 500, 163], [2, 69, 438, 208]]

    def test_boxes_of_another_size_are_rescaled(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images")
        picture(images / THIRD, (120, 20))
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC), images=images)
        assert kinds(loaded) == [("size_mismatch", THIRD)]
        assert (loaded[2].width, loaded[2].height) == (120, 20)
        assert loaded[2].boxes.tolist() == [[0, 0, 120, 20]]
        assert loaded[0].boxes.tolist() == [[111, 108, 442, 194]]

    def test_none_of_the_images_is_an_error_that_shows_where_it_looked(
        self, tmp_path: Path
    ) -> None:
        wrong = write_images(tmp_path / "images") / "val"
        with pytest.raises(DatasetError, match=rf"missing_file: 3; .*val_00000001.* in {wrong}"):
            wsol_metadata(metadata=write(tmp_path, ILSVRC), images=wrong)

    def test_a_missing_folder_of_images_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"images: no such .*nowhere"):
            wsol_metadata(metadata=write(tmp_path, ILSVRC), images=tmp_path / "nowhere")


class TestOddities:
    def test_odd_boxes_are_repaired_or_dropped(self, tmp_path: Path) -> None:
        lines = [
            f"{FIRST},441,108,111,193",
            f"{SECOND},45,49,500,162",
            f"{SECOND},600,0,700,10",
            f"{THIRD},60,0,70,10",
        ]
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, localization=lines))
        assert loaded[0].boxes.tolist() == [[111, 108, 442, 194]]
        assert loaded[1].boxes.tolist() == [[45, 49, 500, 163]]
        assert loaded[2].boxes.tolist() == []
        assert kinds(loaded) == [
            ("odd_box", FIRST),
            ("odd_box", SECOND),
            ("odd_box", SECOND),
            ("odd_box", THIRD),
            ("no_box", THIRD),
        ]
        assert "corners swapped" in loaded.findings[0].detail
        assert "(45, 49, 500, 162) reaches outside the image; clipped" in loaded.findings[1].detail

    def test_an_image_without_a_line_has_no_annotation(self, tmp_path: Path) -> None:
        lines = ILSVRC["localization"][:3]
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, localization=lines))
        assert kinds(loaded) == [("no_annotation", THIRD), ("no_box", THIRD)]
        assert loaded.images["n_boxes"].tolist() == [1, 2, 0]

    def test_a_split_without_boxes_serves_classification(self, tmp_path: Path) -> None:
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, localization=None))
        assert len(loaded) == 3
        assert loaded.boxes.shape == (0, 4)
        assert {kind for kind, _ in kinds(loaded)} == {"no_annotation", "no_box"}

    def test_an_image_without_a_class_is_left_out(self, tmp_path: Path) -> None:
        lines = ILSVRC["class_labels"][:2]
        loaded = wsol_metadata(metadata=write(tmp_path, ILSVRC, class_labels=lines))
        assert loaded.images["image_id"].tolist() == [FIRST, SECOND]
        assert kinds(loaded) == [("no_label", THIRD)]
        assert len(loaded.boxes) == 3

    def test_lines_about_other_images_do_not_count(self, tmp_path: Path) -> None:
        more = {
            "class_labels": ["val/other.JPEG,1"],
            "image_sizes": ["val/other.JPEG,5,5"],
            "localization": ["val/other.JPEG,0,0,90,90"],
        }
        both = {name: [*more.get(name, []), *lines] for name, lines in ILSVRC.items()}
        loaded = wsol_metadata(metadata=write(tmp_path / "both", both))
        plain = wsol_metadata(metadata=write(tmp_path / "plain", ILSVRC))
        assert loaded.fingerprint == plain.fingerprint
        assert loaded.findings == ()

    def test_lists_of_other_names_than_the_labels_are_an_error(self, tmp_path: Path) -> None:
        metadata = write(tmp_path, ILSVRC, image_ids=["val2/0/0.jpeg", "val2/0/1.jpeg"])
        with pytest.raises(DatasetError, match=r"no image .*no_label: 2; .*val2/0/0.jpeg"):
            wsol_metadata(metadata=metadata)


FOLDER = "below its folder"
MALFORMED = [
    ("image_ids", [FIRST, SECOND, FIRST], "image_ids.txt, line 3: expected each file once"),
    ("image_ids", [], "image_ids.txt, line 1: expected lines"),
    ("class_labels", [f"{FIRST},x"], "class_labels.txt, line 1: expected 'file label'"),
    ("class_labels", [f"{FIRST},1", f"{SECOND},-1"], rf"class_labels.txt: .*{SECOND}', found -1"),
    ("class_labels", [f"{FIRST},1.5"], "number of a class, from 0 to 99999, of .*found 1.5"),
    ("class_labels", [f"{FIRST},100000"], "from 0 to 99999"),
    ("class_labels", [FIRST], "class_labels.txt, line 1: expected 'file label'"),
    ("class_labels", [f"{FIRST},1", f"{FIRST},2"], "class_labels.txt, line 2: .*each file once"),
    ("class_labels", [",1"], "class_labels.txt, line 1"),
    ("class_labels", [], "class_labels.txt, line 1"),
    ("class_labels", None, "class_labels.txt: cannot be read"),
    ("image_sizes", [f"{FIRST},0,375"], "image_sizes.txt: expected a width .* found 0, 375"),
    ("image_sizes", [f"{FIRST},500,37.5"], "image_sizes.txt: expected a width .* found 500, 37.5"),
    ("image_sizes", [f"{FIRST},500"], "image_sizes.txt, line 1: expected 'file width height'"),
    ("image_sizes", [f"{FIRST},5,5", f"{FIRST},5,5"], "image_sizes.txt, line 2"),
    ("localization", [f"{FIRST},1,2,3,4", f"{FIRST},1,2,3"], "localization.txt, line 2: expected"),
    ("localization", [f"{FIRST},1,2,3,nan"], "localization.txt, line 1: .*4 numbers"),
    ("localization", [f"{FIRST},1,2,3,1e99"], "localization.txt, line 1: .*4 numbers"),
    ("localization", [f"{FIRST},1,2,3,4,5"], "localization.txt, line 1: .*4 numbers"),
    ("image_ids", ["../secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", [FIRST, "val/../../secret.jpg"], f"image_ids.txt, line 2: .*{FOLDER}.*secret"),
    ("image_ids", ["/etc/passwd"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["C:\\secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["val\\..\\..\\secret.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
    ("image_ids", ["val/\0.jpg"], f"image_ids.txt, line 1: .*{FOLDER}"),
]


@pytest.mark.parametrize(("name", "lines", "message"), MALFORMED)
def test_malformed_files_are_named_with_their_line(
    tmp_path: Path, name: str, lines: list[str] | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        wsol_metadata(metadata=write(tmp_path, ILSVRC, **{name: lines}))


def test_two_dots_in_a_name_are_a_name(tmp_path: Path) -> None:
    names = ["val/a..b.jpg", "val/..c.jpg"]
    labels = [f"{name},0" for name in names]
    metadata = write(tmp_path, {"image_ids": names, "class_labels": labels})
    assert wsol_metadata(metadata=metadata).images["image_id"].tolist() == names


def test_text_that_is_none_is_an_error(tmp_path: Path) -> None:
    metadata = write(tmp_path, ILSVRC)
    (metadata / "class_labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"class_labels\.txt: cannot be read as text"):
        wsol_metadata(metadata=metadata)


def test_the_folder_above_the_splits_is_an_error_that_names_them(tmp_path: Path) -> None:
    write(tmp_path / "ILSVRC/val", ILSVRC)
    write(tmp_path / "ILSVRC/test", ILSVRC)
    with pytest.raises(DatasetError, match=r"no image_ids\.txt; is it one of .*test, .*val\?"):
        wsol_metadata(metadata=tmp_path / "ILSVRC")


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
        with pytest.raises(DatasetError, match="the option masks= names the folder"):
            wsol_metadata(metadata=metadata)
        with pytest.raises(DatasetError, match=r"masks: no such .*nowhere"):
            wsol_metadata(metadata=metadata, masks=tmp_path / "nowhere")

    def test_a_folder_of_masks_for_boxes_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"masks=.* was given, but there are no masks"):
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


def test_fifty_thousand_images_load_at_once(tmp_path: Path) -> None:
    ids = [f"val/ILSVRC2012_val_{number:08}.JPEG" for number in range(50_000)]
    files: dict[str, Callable[[int], str]] = {
        "class_labels": lambda number: f"{number % 1000}",
        "image_sizes": lambda _: "500,375",
        "localization": lambda number: f"{number % 100},7,{200 + number % 300},374",
    }
    write(
        tmp_path,
        {"image_ids": ids}
        | {
            name: [f"{image},{line(number)}" for number, image in enumerate(ids)]
            for name, line in files.items()
        },
    )
    started = time.perf_counter()
    loaded = wsol_metadata(metadata=tmp_path)
    # A second on an idle core; this only rules out work that grows with the square.
    assert time.perf_counter() - started < 15
    assert len(loaded) == len(loaded.boxes) == 50_000
    assert loaded[49_999].boxes.tolist() == [[99, 7, 400, 375]]
    assert np.unique(loaded.box_labels).size == 1000
