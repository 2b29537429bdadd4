"""One reader of text for all lists: UTF-8 with or without a mark, any ends of lines, no guesses."""

import os
from pathlib import Path

import pytest

from wsol_bench.common.text_files import read_lines
from wsol_bench.errors import DatasetError, ModelError


def test_lines_have_their_ends_and_no_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    # A line ends at \n, \r\n or \r, and not at the other characters where str.splitlines ends one.
    path.write_bytes("\ufeffa\r\nb\rc\x0b\x1c\u2028d\n\né".encode())
    assert list(read_lines(path)) == ["a\r\n", "b\r", "c\x0b\x1c\u2028d\n", "\n", "é"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_another_encoding_is_an_error_that_names_line_and_byte(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "a.txt"
    content = "one\ntwö\n".encode(encoding)
    path.write_bytes(content)
    line, byte = (1, 0xFF) if encoding == "utf-16" else (2, 0xF6)
    expected = rf"^{path}: .* expected UTF-8, found the byte 0x{byte:02x} in line {line}; save"
    for error in (DatasetError, ModelError):
        with pytest.raises(error, match=expected):
            read_lines(path, error)


@pytest.mark.timeout(30)
def test_what_is_no_file_is_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, found in (
        (tmp_path / "pipe", "found a pipe"),
        (tmp_path, "found a folder"),
        (Path("/dev/null"), "found a device"),
        (tmp_path / "nowhere", "No such file"),
    ):
        with pytest.raises(DatasetError, match=rf"^{path}: cannot be read as text: .*{found}"):
            read_lines(path)
