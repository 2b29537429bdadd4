"""Reading of the lines of text files: lists of images, classes, boxes, predictions."""

import codecs
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from wsol_bench.common import data_files
from wsol_bench.common.files import require_regular
from wsol_bench.errors import DatasetError, WsolBenchError

__all__ = ["read_lines", "read_text"]

# The bytes that are read at a time, and the most characters of a line.
_BLOCK = 2**16
_LONGEST_LINE = 10_000_000


def read_lines(path: Path, raises: type[WsolBenchError] = DatasetError) -> Iterator[str]:
    r"""The lines of a UTF-8 text file with their ends, without a byte order mark.

    A line ends with ``\n``, ``\r\n`` or ``\r``. Bytes in another encoding are an error, because
    names that are guessed would match no file and no class. The file is read by blocks, so that a
    wrong line in it is found before the rest is read; the first block is read at once.

    Args:
        path: path of the file.
        raises: class of the errors.

    Raises:
        WsolBenchError: there is no regular file, it cannot be read, it is not UTF-8, or a line has
            no end; the message names the line.
    """
    texts = _texts(path, raises)
    return _lines(path, next(texts, ""), texts, raises)


def read_text(path: Path, raises: type[WsolBenchError] = DatasetError) -> str:
    """The whole text of a UTF-8 file, without a byte order mark; ``read_lines`` has the errors."""
    return "".join(_texts(path, raises))


def _texts(path: Path, raises: type[WsolBenchError]) -> Iterator[str]:
    """The text of a file by blocks; the last one may be empty."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    n_ends = 0
    try:
        require_regular(path)
        with data_files.opened(path) as file:
            while block := file.read(_BLOCK):
                yield decoder.decode(block)
                n_ends += block.count(b"\n")
            yield decoder.decode(b"", final=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise raises(f"{path}: cannot be read as text: {reason}") from error
    except UnicodeDecodeError as error:
        line = n_ends + error.object.count(b"\n", 0, error.start) + 1
        raise raises(
            f"{path}: cannot be read as text: expected UTF-8, found the byte "
            f"0x{error.object[error.start]:02x} in line {line}; save the file as UTF-8"
        ) from error


def _lines(
    path: Path, first: str, texts: Iterator[str], raises: type[WsolBenchError]
) -> Iterator[str]:
    """The lines of a text that comes in pieces."""
    rest, n_lines = "", 0
    for text in chain([first], texts):
        *whole, rest = io.StringIO(rest + text, newline="") if rest + text else [""]
        if rest.endswith("\n"):
            whole, rest = [*whole, rest], ""
        yield from whole
        n_lines += len(whole)
        if len(rest) > _LONGEST_LINE:
            raise raises(
                f"{path}, line {n_lines + 1}: expected at most {_LONGEST_LINE} characters, found "
                "more; is it a text file?"
            )
    if rest:
        yield rest
