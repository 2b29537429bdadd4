"""CSV files of boxes and of image sizes."""

from pathlib import Path

import pytest

from wsol_bench.datasets.formats.csv import read_image_sizes, read_solution
from wsol_bench.errors import DatasetError


class TestSolution:
    def read(self, folder: Path, text: str) -> list[tuple[object, ...]]:
        path = folder / "LOC_val_solution.csv"
        path.write_bytes(text.encode())
        return [tuple(row) for row in read_solution(path).itertuples(index=False)]

    def test_rows_are_groups_of_five_in_the_files_order(self, tmp_path: Path) -> None:
        rows = self.read(
            tmp_path,
            "ImageId,PredictionString\n"
            "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n02012849 5.5 6 7 8 \n"
            "ILSVRC2012_val_00000001,n01440764 0 0 9 9\n",
        )
        assert rows == [
            ("ILSVRC2012_val_00000002", "n01440764", 1, 2, 3, 4),
            ("ILSVRC2012_val_00000002", "n02012849", 5.5, 6, 7, 8),
            ("ILSVRC2012_val_00000001", "n01440764", 0, 0, 9, 9),
        ]

    def test_windows_line_ends_a_byte_order_mark_and_blank_lines(self, tmp_path: Path) -> None:
        rows = self.read(tmp_path, "\ufeffImageId,PredictionString\r\n\r\na,n1 1 2 3 4\r\n")
        assert rows == [("a", "n1", 1, 2, 3, 4)]

    def test_an_image_without_boxes_has_a_row_without_a_name(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "ImageId,PredictionString\na,\n")[0][:2] == ("a", "")

    def test_a_header_alone_is_an_empty_table(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "ImageId,PredictionString\n") == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: expected the header 'ImageId,PredictionString', found ''"),
            ("a,n1 1 2 3 4\n", "line 1: expected the header"),
            ("ImageId,PredictionString\na,n1 1 2 3\n", "line 2: expected groups of 5"),
            ("ImageId,PredictionString\nb,\na,n1 1 2 3 x\n", "line 3: expected 4 numbers"),
            ("ImageId,PredictionString\na,n1 1 2 3 nan\n", "line 2: expected 4 numbers"),
            ("ImageId,PredictionString\na\n", "line 2: expected an image id and its boxes"),
            ("ImageId,PredictionString\na,,\n", "line 2: expected an image id and its boxes"),
            ("ImageId,PredictionString\na,\na,\n", "line 3: expected each image once"),
        ],
    )
    def test_a_malformed_row_is_an_error_that_names_the_line(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(DatasetError, match=r"LOC_val_solution\.csv, line \d") as caught:
            self.read(tmp_path, text)
        assert message in str(caught.value)

    def test_bytes_that_are_no_text_are_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "LOC_val_solution.csv"
        path.write_bytes(b"ImageId,PredictionString\n\xff\xfe,")
        with pytest.raises(DatasetError, match="cannot be read as text"):
            read_solution(path)


class TestImageSizes:
    def test_image_sizes(self, tmp_path: Path) -> None:
        (tmp_path / "sizes.csv").write_text("file,width,height\nb.JPEG,500,375\na,3,4\n")
        table = read_image_sizes(tmp_path / "sizes.csv")
        assert table.to_numpy().tolist() == [["b", 500, 375], ["a", 3, 4]]

    def test_a_header_alone_holds_no_size(self, tmp_path: Path) -> None:
        (tmp_path / "sizes.csv").write_text("file,width,height\n")
        assert read_image_sizes(tmp_path / "sizes.csv").empty

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,width\na,1\n", "line 1: expected the columns file,width,height"),
            ("file,width,height\na,1,2\nb,1,tall\n", "line 3: expected a width and a height"),
            ("file,width,height\na,0,2\n", "line 2: expected a width and a height"),
            ("file,width,height\na,1,1e300\n", "line 2: expected a width and a height"),
            ("", "line 1: expected the columns file,width,height"),
            ("file,file,width,height\na,b,1,2\n", "line 1: expected the columns file,width,height"),
            ("file,width,height\n\na,1\n", "line 3: expected 3 columns, found 'a,1'"),
            ("file,width,height\na,1,2,3\n", "line 2: expected 3 columns, found 'a,1,2,3'"),
        ],
    )
    def test_malformed_sizes_are_an_error(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "sizes.csv").write_text(text)
        with pytest.raises(DatasetError, match=r"sizes\.csv") as caught:
            read_image_sizes(tmp_path / "sizes.csv")
        assert message in str(caught.value)


SYNSETS = [  # ILSVRC2012_ID, wnid, words, children
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n02012849", "crane", 0),
    (3, "n03126707", "crane", 0),
    (1000, "n03255030", "dumbbell", 0),
    (1001, "n00001740", "entity", 2),
    (1100, "n00021939", "artifact", 2),
]
