"""Tables that others wrote: their headers or none, their delimiters, several labels an image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.table import table
from wsol_bench.errors import DatasetError

# The box (10, 20, 40, 80) of an image of 64 x 128 pixels, half-open, in every convention. The sides
# are powers of two, so that shares of them are exact.
CONVENTIONS = {
    "half_open": ("x0,y0,x1,y1", (10, 20, 40, 80)),
    "inclusive": ("x0,y0,x1,y1", (10, 20, 39, 79)),
    "one_based_inclusive": ("x0,y0,x1,y1", (11, 21, 40, 80)),
    "normalized": ("x0,y0,x1,y1", (0.15625, 0.15625, 0.625, 0.625)),
    "xywh": ("x,y,w,h", (10, 20, 30, 60)),
    "one_based_xywh": ("x,y,w,h", (11, 21, 30, 60)),
    "normalized_xywh": ("x,y,w,h", (0.15625, 0.15625, 0.46875, 0.46875)),
    "cxcywh": ("cx,cy,w,h", (25, 50, 30, 60)),
    "normalized_cxcywh": ("cx,cy,w,h", (0.390625, 0.390625, 0.46875, 0.46875)),
}
PLAIN = "image,label,x0,y0,x1,y1\n1.jpg,cat,1,2,30,40\n2.jpg,dog,3,4,50,60\n"
BOXES = {"1.jpg": [[1, 2, 30, 40]], "2.jpg": [[3, 4, 50, 60]]}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(tmp_path: Path, text: str, convention: Any = "half_open", **options: Any) -> Dataset:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    return table(path=path, convention=convention, **options)


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


class TestConventions:
    @pytest.mark.parametrize("convention", CONVENTIONS)
    def test_all_give_the_same_data_set(self, tmp_path: Path, convention: str) -> None:
        names, box = CONVENTIONS[convention]
        Image.new("RGB", (64, 128)).save(tmp_path / "1.jpg")
        text = f"image,label,{names}\n1.jpg,cat,{','.join(map(str, box))}\n"
        loaded = load(tmp_path, text, convention, images=tmp_path)
        assert loaded.boxes.tolist() == [[10, 20, 40, 80]]
        assert loaded.findings == ()

    @pytest.mark.parametrize("convention", ["normalized_xywh", "normalized_cxcywh"])
    def test_shares_that_round_to_the_edge_do_not_leave_the_image(
        self, tmp_path: Path, convention: str
    ) -> None:
        names, _ = CONVENTIONS[convention]
        near = 0.3 if convention == "normalized_xywh" else 0.65
        text = f"image,label,{names},width,height\n1.jpg,cat,{near},{near},0.7000001,0.7,30,10\n"
        loaded = load(tmp_path, text, convention)
        assert np.allclose(loaded.boxes, [[9, 3, 30, 10]], atol=1e-5)
        assert loaded.findings == ()

    def test_pixels_under_a_normalized_convention_are_an_error(self, tmp_path: Path) -> None:
        text = "image,label,cx,cy,w,h,width,height\n1.jpg,cat,25,50,30,60,64,128\n"
        with pytest.raises(DatasetError, match=r"found \(10, 20, 40, 80\) for image '1\.jpg'"):
            load(tmp_path, text, "normalized_cxcywh")


class TestNames:
    def test_columns_have_the_names_that_the_file_gives_them(self, tmp_path: Path) -> None:
        text = PLAIN.replace("image,label,x0,y0,x1,y1", "FileName,class,xmin,ymin,xmax,ymax")
        columns = {"image": "filename", "label": "Class", "x0": "xmin", "y0": "ymin", "x1": "xmax"}
        loaded = load(tmp_path, text, columns={**columns, "y1": "ymax"})
        assert boxes_of(loaded) == BOXES
        assert loaded.images["label"].tolist() == ["cat", "dog"]

    def test_a_column_that_is_a_side_of_the_box_is_no_size_of_the_image(
        self, tmp_path: Path
    ) -> None:
        text = "image,label,x,y,width,height\n1.jpg,cat,1,2,30,40\n"
        loaded = load(tmp_path, text, "xywh", columns={"w": "width", "h": "height"})
        assert loaded.boxes.tolist() == [[1, 2, 31, 42]]
        assert loaded.images["width"].tolist() == [0]

    @pytest.mark.parametrize(
        ("header", "convention", "line"),
        [
            (
                "filename,class,xmin,ymin,xmax,ymax",
                "half_open",
                "{image: filename, label: class, x0: xmin, y0: ymin, x1: xmax, y1: ymax}",
            ),
            (
                "image_path,Category Name,x1,y1,x2,y2",
                "inclusive",
                '{image: image_path, label: "category name", x0: x1, y0: y1, x1: x2, y1: y2}',
            ),
            ("file,label,bbox_x,bbox_y,bbox_w,bbox_h", "xywh",
             "{image: file, x: bbox_x, y: bbox_y, w: bbox_w, h: bbox_h}"),
            ("img,species,x_center,y_center,width,height", "normalized_cxcywh",
             "{image: img, label: species, cx: x_center, cy: y_center, w: width, h: height}"),
            ("photo,label,a,b,c,d", "half_open",
             "{image: ..., x0: ..., y0: ..., x1: ..., y1: ...}"),
        ],
    )  # fmt: skip
    def test_a_header_of_ones_own_is_an_error_with_the_line_to_add(
        self, tmp_path: Path, header: str, convention: str, line: str
    ) -> None:
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, f"{header}\na.jpg,cat,0.1,0.2,0.3,0.4\n", convention)
        assert str(caught.value).endswith(f"if your columns have other names, add: columns: {line}")

    def test_columns_of_another_form_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="columns x,y,w,h are read by other conventions"):
            load(tmp_path, "image,label,x,y,w,h\n1,a,1,2,3,4\n")

    def test_an_unknown_key_or_name_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"unknown column 'xmin'; .*x0"):
            load(tmp_path, PLAIN, columns={"xmin": "x0"})
        with pytest.raises(
            DatasetError, match=r"expected one column 'clas' .*did you mean 'class'"
        ):
            load(tmp_path, PLAIN.replace("label", "class"), columns={"label": "clas"})

    def test_a_column_is_one_thing(self, tmp_path: Path) -> None:
        text = PLAIN.replace("x0,y0,x1,y1", "x1,y1,x2,y2")
        with pytest.raises(
            DatasetError, match="a column of its own for x1, found that of x0, 'x1'"
        ):
            load(tmp_path, text, columns={"x0": "x1", "y0": "y1"})


class TestHeaders:
    @pytest.mark.parametrize("delimiter", ",\t;")
    @pytest.mark.parametrize("header", [True, False])
    def test_delimiter_and_header_are_told_from_the_first_line(
        self, tmp_path: Path, delimiter: str, header: bool
    ) -> None:
        text = PLAIN if header else PLAIN.partition("\n")[2]
        assert boxes_of(load(tmp_path, text.replace(",", delimiter))) == BOXES

    def test_a_comma_in_quotes_is_no_delimiter(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, '"a,b,c,d,e,f,g.jpg";cat;1;2;30;40\n')
        assert boxes_of(loaded) == {"a,b,c,d,e,f,g.jpg": [[1, 2, 30, 40]]}

    def test_a_first_row_without_a_box_is_no_header(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, "0.jpg,cat,,,,\n" + PLAIN.partition("\n")[2])
        assert boxes_of(loaded) == {"0.jpg": [], **BOXES}

    def test_two_more_columns_without_a_header_are_the_size(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, "1.jpg,cat,0.25,0.25,0.5,0.5,64,128\n", "normalized")
        assert loaded.boxes.tolist() == [[16, 32, 32, 64]]

    @pytest.mark.parametrize("header", ["", "a,b,c,d,e,f,g\n"])
    def test_positions(self, tmp_path: Path, header: str) -> None:
        columns = {"x0": 0, "y0": 1, "x1": 2, "y1": 3, "label": 5, "image": 6}
        text = f"{header}1,2,30,40,note,cat,1.jpg\n3,4,50,60,note,dog,2.jpg\n"
        assert boxes_of(load(tmp_path, text, columns=columns)) == BOXES
        with pytest.raises(DatasetError, match="columns: image: expected a position from 0 to 6"):
            load(tmp_path, text, columns={**columns, "image": 7})

    def test_other_columns_without_a_header_must_be_named(self, tmp_path: Path) -> None:
        line = r"columns: {image: 0, label: 1, x0: 2, y0: 3, x1: 4, y1: 5}"
        with pytest.raises(DatasetError, match="found no header and 7 columns") as caught:
            load(tmp_path, "1.jpg,cat,1,2,30,40,note\n")
        assert line in str(caught.value)

    def test_a_column_of_another_kind_is_told_by_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"line 1, column x0 \(at 2\): expected a number"):
            load(tmp_path, "1,2,cat,30,40,1.jpg\n")


class TestSeveralLabels:
    TEXT = PLAIN + "1.jpg,dog,5,6,7,8\n1.jpg,cat,9,10,11,12\n"

    def test_each_is_a_sample_and_that_is_said(self, tmp_path: Path) -> None:
        for name in ("1.jpg", "2.jpg"):
            Image.new("RGB", (60, 70)).save(tmp_path / name)
        loaded = load(tmp_path, self.TEXT, images=tmp_path)
        assert boxes_of(loaded) == {
            "1.jpg/cat": [[1, 2, 30, 40], [9, 10, 11, 12]],
            "2.jpg": [[3, 4, 50, 60]],
            "1.jpg/dog": [[5, 6, 7, 8]],
        }
        assert loaded.images["label"].tolist() == ["cat", "dog", "dog"]
        assert [Path(path).name for path in loaded.images["path"]] == ["1.jpg", "2.jpg", "1.jpg"]
        [finding] = loaded.findings
        assert finding.kind == "several_labels"
        assert finding.detail.startswith("1 of 2 images have several labels: each is a sample")

    def test_a_sample_id_says_what_belongs_together(self, tmp_path: Path) -> None:
        text = (
            "image,label,x0,y0,x1,y1,sample_id,box_label,blacklisted,held_out\n"
            "1.jpg,cat,1,2,3,4,a,,true,false\n"
            "1.jpg,cat,5,6,7,8,a,dog,True,\n"
            "1.jpg,dog,5,6,7,8,b,,0,1\n"
        )
        loaded = load(tmp_path, text)
        assert loaded.findings == ()
        first, second = loaded
        assert (first.image_id, first.label, first.box_labels) == ("a", "cat", ("cat", "dog"))
        assert (first.blacklisted, first.held_out) == (True, False)
        assert (second.blacklisted, second.held_out) == (False, True)
        with pytest.raises(DatasetError, match=r"line 4, column label: .* first row of the sample"):
            load(tmp_path, text.replace(",b,", ",a,"))
        with pytest.raises(DatasetError, match="column blacklisted: expected true or false"):
            load(tmp_path, text.replace("True", "maybe"))
