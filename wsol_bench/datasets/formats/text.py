"""What text files of annotations may hold, and the error that names a line which is not so."""

from pathlib import Path

from wsol_bench.errors import DatasetError

__all__ = ["LARGEST", "malformed"]

# No list and no image is larger: a greater number means a damaged file, for which no memory is
# reserved.
LARGEST = 10_000_000


def malformed(path: Path, line: int, expected: str, found: str) -> DatasetError:
    """The error of a line that is not as expected."""
    return DatasetError(f"{path}, line {line}: expected {expected}, found {found[:80]!r}")
