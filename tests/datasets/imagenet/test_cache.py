"""What was read of an ImageNet root is read once, until it changes."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from imagenet_roots import (
    BIRD,
    TENCH,
    WORLD,
    annotation,
    annotations_only,
    image_of,
    kaggle,
    kinds,
    name,
    picture,
    same,
    sample,
    torchvision,
    write,
    xml_of,
)
from PIL import Image

import wsol_bench.datasets.folders as folders_module
import wsol_bench.datasets.formats.xml as xml_module
from wsol_bench.datasets.formats.xml import parse_xml
from wsol_bench.datasets.imagenet.loader import imagenet


class Counted:
    """Counts the XML files parsed and the image headers read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.xml = self.headers = 0
        parse, open_image = parse_xml, Image.open

        def counted_parse(data: bytes) -> Any:
            self.xml += 1
            return parse(data)

        def counted_open(*args: Any, **options: Any) -> Any:
            self.headers += 1
            return open_image(*args, **options)

        monkeypatch.setattr(xml_module, "parse_xml", counted_parse)
        monkeypatch.setattr(Image, "open", counted_open)

    def take(self) -> tuple[int, int]:
        counts = self.xml, self.headers
        self.xml = self.headers = 0
        return counts


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


class TestCache:
    def odd_root(self, tmp_path: Path) -> Path:
        """A root with everything that a table must bring back as it was."""
        root = kaggle(tmp_path)
        write(xml_of(root, 2), annotation("crane", (100, 80), [(9.5, 3, 1, 4), (1, 1, 2, 2)]))
        write(xml_of(root, 3), annotation(TENCH, None, []))
        write(xml_of(root, 7), "broken")
        return root

    def test_the_second_load_reads_nothing_and_says_the_same(
        self, tmp_path: Path, counted: Counted
    ) -> None:
        root = self.odd_root(tmp_path)
        first = imagenet(root=root)
        assert counted.take() == (4, 4)
        assert same(imagenet(root=root), first)
        assert counted.take() == (0, 0)
        assert same(imagenet(root=root, cache=False), first)
        assert counted.take() == (4, 4)

    @pytest.mark.parametrize("change", ["content", "time"])
    def test_a_changed_annotation_is_read_again(
        self, tmp_path: Path, counted: Counted, change: str
    ) -> None:
        root = kaggle(tmp_path)
        imagenet(root=root)
        counted.take()
        if change == "content":
            write(xml_of(root, 7), annotation(BIRD, (30, 60), [(10, 20, 13, 14)]))
        else:
            os.utime(xml_of(root, 7), ns=(1, 1))
        imagenet(root=root)
        assert counted.take() == (4, 0)

    def test_a_changed_image_is_read_again(self, tmp_path: Path, counted: Counted) -> None:
        root = kaggle(tmp_path)
        imagenet(root=root)
        counted.take()
        picture(image_of(root, 7), (31, 61))
        assert kinds(imagenet(root=root)) == {"size_mismatch": 1}
        assert counted.take() == (0, 4)

    def test_an_added_and_a_removed_file_are_seen(self, tmp_path: Path, counted: Counted) -> None:
        root = torchvision(tmp_path)
        imagenet(root=root)
        counted.take()
        picture(root / f"val/{TENCH}/{name(4)}.JPEG")
        assert kinds(imagenet(root=root)) == {"no_annotation": 1, "no_box": 1}
        assert counted.take() == (0, 5)
        (root / f"val/{TENCH}/{name(4)}.JPEG").unlink()
        (root / f"annotations/{name(3)}.xml").unlink()
        assert kinds(imagenet(root=root)) == {"no_annotation": 1, "no_box": 1}
        assert counted.take() == (3, 0)

    def test_a_changed_csv_is_read_again(self, tmp_path: Path) -> None:
        root = annotations_only(tmp_path)
        imagenet(root=root)
        path = root / "LOC_val_solution.csv"
        path.write_text(path.read_text().replace("1 2 3 4", "1 2 3 9"))
        assert sample(imagenet(root=root), 7).boxes.tolist() == [[1, 2, 4, 10]]

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "text"])
    def test_a_damaged_cache_is_built_anew(
        self, tmp_path: Path, cache: Path, counted: Counted, damage: str
    ) -> None:
        root = self.odd_root(tmp_path)
        first = imagenet(root=root)
        counted.take()
        files = list(cache.rglob("*.parquet"))
        assert len(files) == 3
        for path in files:
            data = path.read_bytes()
            flipped = bytes(255 - byte for byte in data[30:60])
            damaged = {
                "truncated": data[: len(data) // 2],
                "flipped": data[:30] + flipped + data[60:],
                "emptied": b"",
                "text": b"hello",
            }
            path.write_bytes(damaged[damage])
        assert same(imagenet(root=root), first)
        assert counted.take() == (4, 4)
        imagenet(root=root)
        assert counted.take() == (0, 0)

    def test_nothing_else_is_left_in_the_cache_folder(self, tmp_path: Path, cache: Path) -> None:
        imagenet(root=kaggle(tmp_path))
        assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".parquet"}

    def test_a_folder_that_cannot_be_written_only_means_no_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = kaggle(tmp_path)
        monkeypatch.setenv("WSOL_BENCH_CACHE", str(write(tmp_path / "a file", "")))
        with caplog.at_level(logging.WARNING):
            loaded = imagenet(root=root)
        assert len(loaded) == len(WORLD)
        assert len(caplog.records) == 1
        assert "nothing is cached" in caplog.text

    def test_without_cache_nothing_is_written(self, tmp_path: Path, cache: Path) -> None:
        imagenet(root=kaggle(tmp_path), cache=False)
        assert list(cache.iterdir()) == []


class TestProgress:
    def test_few_files_are_read_in_silence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        imagenet(root=kaggle(tmp_path))
        assert capsys.readouterr() == ("", "")

    def test_many_files_show_progress_on_standard_error(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders_module, "MANY", 3)
        monkeypatch.setattr(folders_module, "STEP", 3)
        imagenet(root=kaggle(tmp_path))
        out, err = capsys.readouterr()
        assert out == ""
        assert "reading XML annotations" in err
        assert "4 of 4 files" in err
