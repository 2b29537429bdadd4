"""Boxes of an ImageNet root: repaired, rescaled, or left out with their file."""

from pathlib import Path
from typing import Any

import pytest
from imagenet_roots import (
    TENCH,
    annotation,
    annotations_only,
    kaggle,
    kinds,
    name,
    sample,
    tars,
    the_finding,
    write,
    write_solution,
    xml_of,
)

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.imagenet.loader import imagenet
from wsol_bench.errors import DatasetError


class TestBoxes:
    def load(self, tmp_path: Path, text: str, **options: Any) -> Dataset:
        """A Kaggle root whose image 3 (tench, 50 x 40) has another annotation."""
        root = kaggle(tmp_path)
        write(xml_of(root, 3), text)
        return imagenet(root=root, **options)

    def test_float_coordinates_stay_floats(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), [(0.5, 1.25, 10.5, 20)]))
        assert sample(loaded, 3).boxes.tolist() == [[0.5, 1.25, 11.5, 21]]
        assert loaded.findings == ()

    def test_boxes_of_another_displayed_size_are_rescaled(self, tmp_path: Path) -> None:
        text = annotation(TENCH, (100, 160), [(0, 0, 99, 159), (10, 40, 29, 79)])
        loaded = self.load(tmp_path, text)
        assert sample(loaded, 3).boxes.tolist() == [[0, 0, 50, 40], [5, 10, 15, 20]]
        assert "100 x 160 pixels, the image has 50 x 40" in the_finding(loaded, "size_mismatch")

    def test_swapped_corners_are_swapped_back_before_they_are_rescaled(
        self, tmp_path: Path
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (100, 80), [(29, 10, 10, 19)]))
        assert sample(loaded, 3).boxes.tolist() == [[5, 5, 15, 10]]
        assert kinds(loaded) == {"size_mismatch": 1, "odd_box": 1}

    @pytest.mark.parametrize("size", [None, (0, 0)])
    def test_a_size_that_is_not_said_changes_nothing(
        self, tmp_path: Path, size: tuple[int, int] | None
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, size, [(1, 2, 3, 4)]))
        assert sample(loaded, 3).boxes.tolist() == [[1, 2, 4, 5]]
        assert loaded.findings == ()

    @pytest.mark.parametrize(
        ("box", "repaired", "remark"),
        [
            ((20, 30, 10, 5), [[10, 5, 21, 31]], "corners swapped"),
            ((-3, 5, 60, 45), [[0, 5, 50, 40]], "reaches outside the image; clipped"),
            ((60, 50, 70, 60), [], "no pixel in the image; dropped"),
        ],
    )
    def test_odd_boxes_are_repaired_and_said(
        self, tmp_path: Path, box: Any, repaired: list[list[float]], remark: str
    ) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), [box, (1, 2, 3, 4)]))
        assert sample(loaded, 3).boxes.tolist() == [*repaired, [1, 2, 4, 5]]
        assert remark in the_finding(loaded, "odd_box")

    def test_a_box_of_one_pixel_is_a_box(self, tmp_path: Path) -> None:
        loaded = imagenet(root=kaggle(tmp_path))
        assert sample(loaded, 10).boxes.tolist() == [[10, 10, 11, 11]]

    def test_an_image_without_a_box_stays(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, annotation(TENCH, (50, 40), []))
        assert sample(loaded, 3).boxes.shape == (0, 4)
        assert sample(loaded, 3).label == TENCH
        assert kinds(loaded) == {"no_box": 1}

    @pytest.mark.parametrize("source", ["xml", "csv"])
    def test_an_image_without_an_annotation_stays(self, tmp_path: Path, source: Any) -> None:
        root = tars(tmp_path)
        write_solution(root / "LOC_val_solution.csv")
        (root / f"ILSVRC2012_bbox_val_v3/val/{name(3)}.xml").unlink()
        solution = root / "LOC_val_solution.csv"
        lines = [line for line in solution.read_text().splitlines() if name(3) not in line]
        solution.write_text("\n".join(lines))
        loaded = imagenet(root=root, boxes=source)
        assert sample(loaded, 3).boxes.shape == (0, 4)
        assert kinds(loaded) == {"no_annotation": 1, "no_box": 1}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "not well-formed"),
            (annotation(TENCH, (50, 40), [(1, 2, 3, 4)])[:150], "not well-formed"),
            (
                '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;">]>'
                "<annotation>&y;</annotation>",
                "refused for safety",
            ),
            (
                '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
                "<annotation>&x;</annotation>",
                "refused for safety",
            ),
        ],
    )
    def test_a_bad_annotation_leaves_its_image_out(
        self, tmp_path: Path, text: str, reason: str
    ) -> None:
        loaded = self.load(tmp_path, text)
        assert loaded.images["image_id"].tolist() == [name(2), name(7), name(10)]
        finding = the_finding(loaded, "bad_annotation")
        assert reason in finding
        assert f"{name(3)}.xml" in finding
        # Read from the cache it is the same.
        assert imagenet(root=tmp_path).findings == loaded.findings

    @pytest.mark.parametrize(
        ("old", "new", "kind", "reason"),
        [
            ("<xmax>3</xmax>", "<xmax>three</xmax>", "odd_box", "found 'three'; object dropped"),
            ("<xmax>3</xmax>", "", "odd_box", "expected a <xmax> in <bndbox>, found none"),
            (f"<name>{TENCH}</name>", "<name/>", "unknown_class", "without one; object left out"),
        ],
    )
    def test_a_faulty_object_is_dropped_and_the_others_stay(
        self, tmp_path: Path, old: str, new: str, kind: str, reason: str
    ) -> None:
        text = annotation(TENCH, (50, 40), [(1, 2, 3, 4), (5, 6, 7, 8)])
        loaded = self.load(tmp_path, text.replace(old, new, 1))
        assert sample(loaded, 3).boxes.tolist() == [[5, 6, 8, 9]]
        assert kinds(loaded) == {kind: 1}
        assert reason in the_finding(loaded, kind)
        assert imagenet(root=tmp_path).findings == loaded.findings

    def test_an_image_of_a_faulty_object_alone_has_no_box(self, tmp_path: Path) -> None:
        text = f"<annotation><object><name>{TENCH}</name></object></annotation>"
        loaded = self.load(tmp_path, text)
        assert sample(loaded, 3).boxes.shape == (0, 4)
        assert sample(loaded, 3).label == TENCH
        assert kinds(loaded) == {"odd_box": 1, "no_box": 1}

    def test_a_size_that_is_none_is_unknown_and_said(self, tmp_path: Path) -> None:
        text = annotation(TENCH, (50, 40), [(1, 2, 3, 4)]).replace("<width>50</width>", "<width/>")
        loaded = self.load(tmp_path, text)
        assert sample(loaded, 3).boxes.tolist() == [[1, 2, 4, 5]]
        assert kinds(loaded) == {"unknown_size": 1}

    def test_a_malformed_csv_is_an_error(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        with (root / "LOC_val_solution.csv").open("a") as file:
            file.write(f"{name(11)},{TENCH} 1 2 3\n")
        with pytest.raises(DatasetError, match=r"LOC_val_solution\.csv, line 6: expected groups"):
            imagenet(root=root)
