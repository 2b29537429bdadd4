"""Reading of the lines of text files: lists of images, classes, boxes, predictions."""

import io
from collections.abc import Iterator
from pathlib import Path

from wsol_bench.common.files import require_regular
from wsol_bench.errors import DatasetError, WsolBenchError

__all__ = ["read_lines"]


def read_lines(path: Path, raises: type[WsolBenchError] = DatasetError) -> Iterator[str]:
    r"""The lines of a UTF-8 text file with their ends, without a byte order mark.

    A line ends with ``\n``, ``\r\n`` or ``\r``. Bytes in another encoding are an error, because
    names that are guessed would match no file and no class.

    Args:
        path: path of the file.
        raises: class of the errors.

    Raises:
        WsolBenchError: there is no regular file, it cannot be read, or it is not UTF-8; the message
            names the line.
    """
    try:
        require_regular(path)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise raises(f"{path}: cannot be read as text: {reason}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise raises(
            f"{path}: cannot be read as text: expected UTF-8, found the byte "
            f"0x{error.object[error.start]:02x} in line {line}; save the file as UTF-8"
        ) from error
    return io.StringIO(text, newline="")
