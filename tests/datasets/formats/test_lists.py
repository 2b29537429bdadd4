"""Lists of image ids and numbers."""

from pathlib import Path

import pytest

from wsol_bench.datasets.formats.file_names import image_id_of
from wsol_bench.datasets.formats.lists import read_image_list, read_numbers
from wsol_bench.errors import DatasetError


class TestLists:
    @pytest.mark.parametrize(
        "line",
        [
            "n01440764_10026",
            "n01440764/n01440764_10026 1",
            "n01440764_10026.JPEG",
            "  train/n01440764/n01440764_10026.jpeg\t17  ",
        ],
    )
    def test_an_image_id_is_the_stem_of_the_name(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "list.txt").write_text(f"\n{line}\n")
        assert read_image_list(tmp_path / "list.txt").ids == ["n01440764_10026"]

    @pytest.mark.parametrize(
        ("text", "ids", "numbers"),
        [
            ("a 1\nb -1\nc  0\n", ["a", "b", "c"], [1, -1, 0]),
            ("my cat 1\nmy dog -1\n", ["my cat", "my dog"], [1, -1]),
            ("my cat\nmy dog\n", ["my cat", "my dog"], None),
            # Without these numbers two names would be one: they belong to the names.
            ("img 1\nimg 2\n", ["img 1", "img 2"], None),
            ("img 1.jpg\ncat 2.webp\n", ["img 1", "cat 2"], None),
            # A column has a number in every line.
            ("img 1\ncat\n", ["img 1", "cat"], None),
            ("été 1\nhiver 2\n", ["été", "hiver"], [1, 2]),
            # The same line twice is the same image twice; another number makes another name.
            ("a 1\nb -1\na 1\n", ["a", "b", "a"], [1, -1, 1]),
            ("a 1\nb -1\na -1\n", ["a 1", "b -1", "a -1"], None),
            ("", [], None),
        ],
    )
    def test_a_name_may_hold_blanks_and_numbers_behind_names_are_a_column(
        self, tmp_path: Path, text: str, ids: list[str], numbers: list[int] | None
    ) -> None:
        path = tmp_path / "list.txt"
        for ends in ("\n", "\r\n", "\r"):
            path.write_bytes(("\ufeff" + text.replace("\n", ends)).encode())
            assert read_image_list(path) == (ids, numbers)

    def test_only_an_image_extension_is_dropped(self) -> None:
        assert [image_id_of(name) for name in ("a.b.PNG", "v1.5", ".jpg")] == [
            "a.b",
            "v1.5",
            ".jpg",
        ]

    def test_numbers_one_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("490\n 361\r\n1001\n\n")
        assert read_numbers(tmp_path / "list.txt").tolist() == [490, 361, 1001]
        (tmp_path / "list.txt").write_text("")
        assert read_numbers(tmp_path / "list.txt").tolist() == []

    def test_a_line_is_a_number_whatever_else_is_in_it(self, tmp_path: Path) -> None:
        # Python's str.splitlines ends lines at these characters, too: numbers would move a line up.
        (tmp_path / "list.txt").write_text("1\x1c\n2\n\x0b3\n")
        assert read_numbers(tmp_path / "list.txt").tolist() == [1, 2, 3]

    @pytest.mark.parametrize("line", ["", "x", "0", "-3", "1.5", "9" * 30])
    def test_a_line_that_is_no_number_is_an_error(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "list.txt").write_text(f"490\n{line}\n361\n")
        with pytest.raises(DatasetError, match=r"list\.txt, line 2: expected a whole number"):
            read_numbers(tmp_path / "list.txt")
