"""Tables of one's own: every convention, and every way for a row to be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.datasets.table import table
from wsol_bench.errors import DatasetError

HEADER = "image,label,x0,y0,x1,y1\n"
ROWS = HEADER + (
    "b/2.jpg,dog,10,20,30,40\n"
    "a/1.jpg,cat,0.5,1,9,8\n"
    "b/2.jpg,dog,1,2,3,4\n"
    "3.jpg,dog,,,,\n"
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def picture(path: Path, size: tuple[int, int] = (50, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, format="JPEG")


def load(tmp_path: Path, text: str, convention: Any = "half_open", **options: Any) -> Dataset:
    return table(path=write(tmp_path / "boxes.csv", text), convention=convention, **options)


def boxes_of(loaded: Dataset) -> dict[str, list[list[float]]]:
    return {image.image_id: image.boxes.tolist() for image in loaded}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a/1.jpg", "b/2.jpg", "3.jpg"):
        picture(tmp_path / "images" / name)
    return tmp_path / "images"


class TestConventions:
    @pytest.mark.parametrize(
        ("convention", "first", "second"),
        [
            ("half_open", [10, 20, 30, 40], [0.5, 1, 9, 8]),
            ("inclusive", [10, 20, 31, 41], [0.5, 1, 10, 9]),
            ("one_based_inclusive", [9, 19, 30, 40], [-0.5, 0, 9, 8]),
        ],
    )
    def test_corners(
        self, tmp_path: Path, convention: str, first: list[float], second: list[float]
    ) -> None:
        loaded = load(tmp_path, ROWS, convention)
        boxes = boxes_of(loaded)
        assert boxes["b/2.jpg"][0] == first
        assert boxes["a/1.jpg"] == [[max(0, second[0]), *second[1:]]]
        odd = [("odd_box", "a/1.jpg")] * (second[0] < 0)
        assert [finding[:2] for finding in loaded.findings] == [("no_box", "3.jpg"), *odd]

    def test_widths_and_heights(self, tmp_path: Path) -> None:
        text = ROWS.replace("x0,y0,x1,y1", "x,y,w,h")
        assert boxes_of(load(tmp_path, text, "xywh")) == {
            "b/2.jpg": [[10, 20, 40, 60], [1, 2, 4, 6]],
            "a/1.jpg": [[0.5, 1, 9.5, 9]],
            "3.jpg": [],
        }

    @pytest.mark.parametrize(
        ("convention", "kept"),
        [
            ("half_open", []),
            ("inclusive", [[7, 5, 8, 10]]),
            ("one_based_inclusive", [[6, 4, 7, 9]]),
        ],
    )
    def test_equal_corners_are_a_pixel_where_the_last_belongs_to_the_box(
        self, tmp_path: Path, convention: str, kept: list[list[float]]
    ) -> None:
        loaded = load(tmp_path, f"{HEADER}1,cat,7,5,7,9\n", convention)
        assert loaded.boxes.tolist() == kept
        assert len(loaded.findings) == (0 if kept else 2)

    @pytest.mark.parametrize(
        ("convention", "swapped"),
        [
            ("half_open", [4, 5, 7, 9]),
            ("inclusive", [4, 5, 8, 10]),
            ("one_based_inclusive", [3, 4, 7, 9]),
        ],
    )
    def test_corners_are_swapped_in_their_convention(
        self, tmp_path: Path, convention: str, swapped: list[float]
    ) -> None:
        loaded = load(tmp_path, f"{HEADER}1,cat,7,9,4,5\n", convention)
        assert loaded.boxes.tolist() == [swapped]
        [finding] = loaded.findings
        assert (
            finding.detail == "box (7, 9, 4, 5) has its minimum above its maximum; corners swapped"
        )

    def test_there_is_no_default(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="convention"):
            table(path=write(tmp_path / "boxes.csv", ROWS))


class TestFiles:
    def test_annotations_only(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, ROWS)
        assert loaded.name == "table"
        assert loaded.images["image_id"].tolist() == ["b/2.jpg", "a/1.jpg", "3.jpg"]
        assert loaded.images["label"].tolist() == ["dog", "cat", "dog"]
        assert loaded.box_labels.tolist() == ["dog", "dog", "cat"]
        assert loaded.images[["height", "width"]].to_numpy().tolist() == [[0, 0]] * 3
        assert loaded.classes.to_numpy().tolist() == [["cat", "cat", 0], ["dog", "dog", 0]]
        with pytest.raises(DatasetError, match="no pixels"):
            loaded.require_pixels()

    def test_images(self, tmp_path: Path, images: Path) -> None:
        loaded = load(tmp_path, ROWS, images=images)
        assert loaded.images["path"].tolist() == [
            f"{images}/{name}" for name in ("b/2.jpg", "a/1.jpg", "3.jpg")
        ]
        assert loaded.images[["height", "width"]].to_numpy().tolist() == [[60, 50]] * 3

    def test_odd_images(self, tmp_path: Path, images: Path) -> None:
        (images / "a/1.jpg").unlink()
        (images / "b/2.jpg").write_bytes(b"")
        (images / "4.jpg").mkdir()
        loaded = load(tmp_path, f"{ROWS}4.jpg,dog,1,2,3,4\n", images=images)
        assert loaded.images["image_id"].tolist() == ["3.jpg"]
        assert [finding[:2] for finding in loaded.findings] == [
            ("no_box", "3.jpg"),
            ("missing_file", "4.jpg"),
            ("missing_file", "a/1.jpg"),
            ("unreadable_image", "b/2.jpg"),
        ]

    def test_parquet_says_the_same(self, tmp_path: Path, images: Path) -> None:
        frame = pd.DataFrame(
            {
                "y1": [40, 8, 4, np.nan],
                "Image": ["b/2.jpg", "a/1.jpg", "b/2.jpg", "3.jpg"],
                "label": pd.Categorical(["dog", "cat", "dog", "dog"]),
                "x0": [10, 0.5, 1, np.nan],
                "y0": pd.array([20, 1, 2, None], dtype="Int32"),
                "x1": [30, 9, 3, None],
            }
        )
        frame.to_parquet(tmp_path / "boxes.parquet", index=False)
        loaded = table(path=tmp_path / "boxes.parquet", convention="half_open", images=images)
        assert loaded.fingerprint == load(tmp_path, ROWS, images=images).fingerprint
        frame["label"] = [3, 1, 3, 3]
        frame.to_parquet(tmp_path / "boxes.parquet", index=False)
        loaded = table(path=tmp_path / "boxes.parquet", convention="half_open")
        assert loaded.images["label"].tolist() == ["3", "1", "3"]

    def test_a_csv_as_a_spreadsheet_writes_it(self, tmp_path: Path) -> None:
        text = "\ufeff" + ROWS.replace("\n", "\r\n").replace("image", "Image ") + "\r\n"
        text = text.replace(",cat,", ", cat ,")
        text = text.replace("a/1.jpg", '"a/1, the first.jpg"')
        loaded = load(tmp_path, text)
        assert loaded.images["image_id"].tolist() == ["b/2.jpg", "a/1, the first.jpg", "3.jpg"]
        assert loaded.images["label"].tolist() == ["dog", "cat", "dog"]
        assert len(loaded.boxes) == 3

    @pytest.mark.parametrize("path", ["a//1.jpg", "./a/1.jpg", "a/./1.jpg"])
    def test_an_image_has_one_path(self, tmp_path: Path, images: Path, path: str) -> None:
        """Else its boxes would be those of two images."""
        rows = f"image,label,x0,y0,x1,y1\n{path},cat,1,2,3,4\n"
        alone = load(tmp_path, rows, images=images)
        assert alone.images["image_id"].tolist() == [path]
        with pytest.raises(DatasetError, match=r"found .* and 'a/1\.jpg'; write the same"):
            load(tmp_path, rows + "a/1.jpg,cat,5,6,7,8\n", images=images)

    def test_other_columns_do_not_count(self, tmp_path: Path) -> None:
        text = "".join(f"{line},note\n" for line in ROWS.splitlines())
        assert load(tmp_path, text).fingerprint == load(tmp_path, ROWS).fingerprint

    def test_a_file_may_name_the_classes(self, tmp_path: Path) -> None:
        names = write(tmp_path / "classes.txt", "dog a dog\nant an ant\n")
        loaded = load(tmp_path, ROWS, classes=names)
        assert loaded.classes["wnid"].tolist() == ["ant", "dog"]
        assert [finding[:2] for finding in loaded.findings] == [
            ("no_box", "3.jpg"),
            ("unknown_class", "a/1.jpg"),
        ]

    def test_an_image_without_a_label_is_left_out(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, f"{ROWS}5,,1,2,3,4\n")
        assert "5" not in loaded.images["image_id"].tolist()
        assert ("no_label", "5", "no label; left out") in loaded.findings

    def test_the_second_load_reads_nothing_again(
        self, tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = load(tmp_path, ROWS, images=images)
        monkeypatch.setattr(Image, "open", None)
        monkeypatch.setattr("wsol_bench.datasets.table.read_rows", None)
        assert load(tmp_path, ROWS, images=images).fingerprint == first.fingerprint

    def test_what_is_kept_belongs_to_a_convention(self, tmp_path: Path) -> None:
        text = "image,label,x0,y0,x1,y1,x,y,w,h\n1,cat,1,2,3,4,10,20,30,40\n"
        boxes = {
            convention: load(tmp_path, text, convention).boxes.tolist()
            for convention in ("half_open", "inclusive", "xywh", "half_open")
        }
        assert boxes == {
            "half_open": [[1, 2, 3, 4]],
            "inclusive": [[1, 2, 4, 5]],
            "xywh": [[10, 20, 40, 60]],
        }

    def test_a_changed_image_is_read_again(self, tmp_path: Path, images: Path) -> None:
        rows = "missing.jpg,cat,1,2,3,4\na/1.jpg,cat,1,2,3,4\n3.jpg,cat,1,2,3,4\n"
        load(tmp_path, HEADER + rows, images=images)
        picture(images / "3.jpg", (70, 80))
        loaded = load(tmp_path, HEADER + rows, images=images)
        assert loaded.images["width"].tolist() == [50, 70]

    def test_it_is_found_by_its_name(self) -> None:
        assert datasets.get("table") is table


class TestSizes:
    SIZED = "image,label,x0,y0,x1,y1,width,height\n"

    def test_they_are_the_images_where_there_are_no_files(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, f"{self.SIZED}1,cat,10,20,200,40,100,80\n2,cat,1,2,300,4,,\n")
        assert loaded.images[["width", "height"]].to_numpy().tolist() == [[100, 80], [0, 0]]
        assert loaded.boxes.tolist() == [[10, 20, 100, 40], [1, 2, 300, 4]]
        assert [finding[:2] for finding in loaded.findings] == [("odd_box", "1")]

    def test_boxes_drawn_on_another_size_are_rescaled(self, tmp_path: Path, images: Path) -> None:
        text = f"{self.SIZED}a/1.jpg,cat,10,20,100,40,100,240\n3.jpg,cat,10,20,50,40,50,60\n"
        loaded = load(tmp_path, text, images=images)
        assert loaded.boxes.tolist() == [[5, 5, 50, 10], [10, 20, 50, 40]]
        assert [finding[:2] for finding in loaded.findings] == [("size_mismatch", "a/1.jpg")]
        assert loaded.images["width"].tolist() == [50, 50]

    @pytest.mark.parametrize("size", ["-1,80", "10.5,80", "many,80", "1e12,80"])
    def test_a_size_is_a_whole_number(self, tmp_path: Path, size: str) -> None:
        with pytest.raises(DatasetError, match=r"boxes\.csv, line 2, column width: expected "):
            load(tmp_path, f"{self.SIZED}1,cat,1,2,3,4,{size}\n")

    def test_an_image_has_one_size(self, tmp_path: Path) -> None:
        rows = "1,cat,1,2,3,4,50,60\n1,cat,1,2,3,4,50,61\n"
        with pytest.raises(DatasetError, match=r"line 3, column height: .* first row, found '61'"):
            load(tmp_path, self.SIZED + rows)

    def test_one_side_is_no_size(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"expected one column 'height' among .*, found 0"):
            load(tmp_path, "image,label,x0,y0,x1,y1,width\n1,cat,1,2,3,4,5\n")


class TestWrongRows:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("1,cat,1,2,3", "line 6: expected 6 columns, found '1,cat,1,2,3'"),
            ("1,cat,1,2,3,4,5", "line 6: expected 6 columns, found '1,cat,1,2,3,4,5'"),
            ("1,cat,1,2,x,4", "line 6, column x1: expected a number of pixels, found 'x'"),
            ("1,cat,nan,2,3,4", "line 6, column x0: expected a number of pixels, found 'nan'"),
            ("1,cat,1,2,3,inf", "line 6, column y1: expected a number of pixels, found 'inf'"),
            ("1,cat,1,-1e9,3,4", "line 6, column y0: expected a number of pixels, found '-1e9'"),
            (
                "1,cat,1,,3,4",
                "line 6, column y0: expected a number, as in the row's other corners, found",
            ),
            (
                "b/2.jpg,,1,2,3,4",
                "line 6, column label: expected a label, as in the image's other rows",
            ),
            (",cat,1,2,3,4", "line 6, column image: expected a path that stays in its folder"),
            ("../1.jpg,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
            ("a/../../1,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
            ("/etc/passwd,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
            ("..\\1.jpg,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
            ("1\0.jpg,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
            ("C:\\1.jpg,cat,1,2,3,4", "line 6, column image: expected a path that stays in its"),
        ],
    )
    def test_they_are_errors_that_name_the_place(
        self, tmp_path: Path, row: str, message: str
    ) -> None:
        with pytest.raises(DatasetError, match=r"boxes\.csv, ") as caught:
            load(tmp_path, f"{ROWS}{row}\n")
        assert message in str(caught.value)

    def test_a_line_is_where_it_is_in_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"boxes\.csv, line 9, column x0"):
            load(tmp_path, f'{ROWS}\n"a\nb",cat,1,2,3,4\n1,cat,x,2,3,4\n')

    def test_text_in_a_parquet_file_that_is_not_utf_8_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "boxes.parquet"
        frame = {"image": ["finch.jpg"], "label": ["a"], "x0": [1], "y0": [1], "x1": [5]}
        pd.DataFrame({**frame, "y1": [5]}).to_parquet(path, compression=None)
        content = path.read_bytes()
        assert b"finch" in content
        path.write_bytes(content.replace(b"finch", b"f\xbdnch"))
        with pytest.raises(DatasetError, match=r"boxes\.parquet: expected a Parquet file, found"):
            table(path=path, convention="half_open")

    def test_a_parquet_file_has_rows(self, tmp_path: Path) -> None:
        path = tmp_path / "boxes.parquet"
        frame = {"image": ["1", "2"], "label": ["a", "a"], "x0": ["1", "z"], "y0": [1, 1]}
        pd.DataFrame({**frame, "x1": [1, 1], "y1": [1, 1]}).to_parquet(path)
        with pytest.raises(DatasetError, match=r"boxes\.parquet, row 2, column x0: .*found 'z'"):
            table(path=path, convention="half_open")
        path.write_bytes(b"PAR1 but nothing else")
        with pytest.raises(DatasetError, match=r"boxes\.parquet: expected a Parquet file, found"):
            table(path=path, convention="half_open")

    @pytest.mark.parametrize(
        ("header", "convention", "message"),
        [
            ("image,label,x0,y0,x1,z1", "half_open", "'y1' among .*, found 0 among 'image,label"),
            ('image,"label\n1.jpg,cat,1,2,3,4\n', "half_open", r"'label' among [^\n]*$"),
            ("image,label,x0,y0,x1,y1", "xywh", "'x' among image,label,x,y,w,h, found 0 among"),
            ("image,label,x,y,w,h", "inclusive", "'x0' among"),
            ("file,label,x0,y0,x1,y1", "inclusive", "'image' among"),
            ("image,image,x0,y0,x1,y1", "inclusive", "'image' among .*, found 2 among"),
        ],
    )
    def test_a_missing_column_is_an_error(
        self, tmp_path: Path, header: str, convention: str, message: str
    ) -> None:
        with pytest.raises(DatasetError, match=f"expected one column {message}"):
            load(tmp_path, f"{header}\n1,cat,1,2,3,4\n", convention)

    @pytest.mark.parametrize("text", ["", HEADER])
    def test_an_empty_file_is_an_error(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(DatasetError, match=r"boxes\.csv"):
            load(tmp_path, text)

    @pytest.mark.parametrize("option", ["path", "images", "classes"])
    def test_a_missing_file_is_an_error(self, tmp_path: Path, option: str) -> None:
        options = {"path": write(tmp_path / "boxes.csv", ROWS), option: tmp_path / "nowhere"}
        with pytest.raises(DatasetError, match=f"{option}: no such file or folder"):
            table(convention="inclusive", **options)
