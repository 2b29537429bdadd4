"""Recognition: what a loader would read in a folder, told from names and a few first lines."""

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wsol_bench.common import data_files
from wsol_bench.common.files import require_regular
from wsol_bench.datasets.folders import stems

__all__ = ["Recognition", "Recognize", "first_line", "head", "n_files", "n_lines"]

# Files are counted up to this number, and lines in so many bytes: a look takes about a second.
_MOST_FILES = 200_000
_MOST_BYTES = 2**26


class Recognition(NamedTuple):
    """The pieces of a data set that a loader sees in a folder.

    Attributes:
        needs: what the loader needs, in words, and whether it is there.
        options: the options with which it reads the folder: text, or a mapping to text.
        seen: what there is, as text for people.
        unsure: options whose value the files do not tell: a value, and behind ``  # `` what to look
            up.
        images: whether there are image files.
        masks: whether the ground truth is masks, not boxes.
        wnids: whether classes are named as ImageNet's are.
    """

    needs: Mapping[str, bool]
    options: Mapping[str, str | Mapping[str, str]]
    seen: tuple[str, ...] = ()
    unsure: Mapping[str, str] = {}
    images: bool = True
    masks: bool = False
    wnids: bool = False

    @property
    def fits(self) -> bool:
        """True if nothing is missing that the loader needs."""
        return all(self.needs.values())

    @property
    def n_found(self) -> int:
        """The number of needs that are met, and one for image files."""
        return sum(self.needs.values()) + (self.fits and self.images)


Recognize = Callable[[Path], Recognition]


def n_files(folder: Path, suffixes: Collection[str], *, nested: bool = True) -> str:
    """The number of files of a kind in a folder and its direct subfolders, as text.

    Raises:
        OSError: a folder cannot be listed.
    """
    count = sum(1 for _ in islice(stems(folder, suffixes, nested=nested), _MOST_FILES + 1))
    return f"more than {_MOST_FILES:,}" if count > _MOST_FILES else f"{count:,}"


def n_lines(path: Path, *, header: int = 0) -> str:
    """The number of lines of a text file that are not empty, as text.

    Args:
        path: path of the file.
        header: the number of first lines that do not count.

    Raises:
        OSError: no regular file is there, or it cannot be read.
    """
    require_regular(path)
    with data_files.opened(path) as file:
        content = file.read(_MOST_BYTES)
        more = "more than " if file.read(1) else ""
    count = sum(1 for line in content.splitlines() if line.strip())
    return f"{more}{max(0, count - header):,}"


def head(path: Path) -> str:
    """The first 64 KiB of a text file.

    Raises:
        OSError: no regular file is there, or it cannot be read.
    """
    require_regular(path)
    with data_files.opened(path) as file:
        return file.read(2**16).decode("utf-8-sig", errors="replace")


def first_line(path: Path) -> str:
    """The first line of a text file that is not empty, without blanks around it; "" for none.

    Raises:
        OSError: no regular file is there, or it cannot be read.
    """
    return next((line.strip() for line in head(path).splitlines() if line.strip()), "")
