"""Lines of text files, and the error that names a line which is not as expected."""

from collections.abc import Iterator
from pathlib import Path

from wsol_bench.errors import DatasetError

__all__ = ["LARGEST", "malformed", "read_lines"]

# No list and no image is larger: a greater number means a damaged file, for which no memory is
# reserved.
LARGEST = 10_000_000


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, without a byte order mark.

    Raises:
        DatasetError: the file cannot be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text: {error}") from error


def malformed(path: Path, line: int, expected: str, found: str) -> DatasetError:
    """The error of a line that is not as expected."""
    return DatasetError(f"{path}, line {line}: expected {expected}, found {found[:80]!r}")
