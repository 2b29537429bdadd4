"""The files of a folder."""

import os
from pathlib import Path

import pytest
from imagenet_roots import write

from wsol_bench.datasets.folders import scan
from wsol_bench.errors import DatasetError


class TestScan:
    def test_only_wanted_files_are_looked_at(self, tmp_path: Path) -> None:
        write(tmp_path / "b/x.png", "12345")
        write(tmp_path / "a.JPG", "123")
        table = scan(tmp_path, {"jpg", "png"}, wanted={"x"})
        assert table[["stem", "folder", "file", "bytes"]].to_numpy().tolist() == [
            ["a", "", "a.JPG", -1],
            ["x", "b", "b/x.png", 5],
        ]
        assert scan(tmp_path, {"jpg", "png"}, nested=False)["stem"].tolist() == ["a"]

    def test_an_empty_folder_is_an_empty_table(self, tmp_path: Path) -> None:
        assert scan(tmp_path, {"jpg"}).shape == (0, 5)

    def test_a_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="cannot be listed"):
            scan(tmp_path / "nowhere", {"jpg"})

    @pytest.mark.skipif(os.name != "posix", reason="only there a name can be any bytes")
    def test_a_name_that_is_no_text_is_an_error(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
        with pytest.raises(DatasetError, match="not UTF-8"):
            scan(tmp_path, {"jpg"})
