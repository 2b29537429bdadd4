"""wsolevaluation's metadata folders of boxes, odd files included."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wsol_folders import FIRST, ILSVRC, MAPPING, SECOND, THIRD, kinds, picture, write, write_images

from wsol_bench.datasets import datasets
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError
from wsol_bench.runs.experiment_config import DatasetConfig


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
        with pytest.raises(DatasetError, match=r"every image .*no_label: 2; .*val2/0/0.jpeg"):
            wsol_metadata(metadata=metadata)


@pytest.mark.slow
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
    started = time.process_time()
    loaded = wsol_metadata(metadata=tmp_path)
    # About a second; this only rules out work that grows with the square.
    assert time.process_time() - started < 15
    assert len(loaded) == len(loaded.boxes) == 50_000
    assert loaded[49_999].boxes.tolist() == [[99, 7, 400, 375]]
    assert np.unique(loaded.box_labels).size == 1000
