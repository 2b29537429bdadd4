"""Files and folders of data, which are only read, and may lie inside of a zip or tar file.

A path goes on inside of an archive: ``/data/val.zip/images/1.jpg`` is the member ``images/1.jpg``
of the file ``/data/val.zip``. Everything that reads data asks for files here and not by ``Path`` or
``os``. ``archives`` is imported only for a path with a part that ends with ``.zip`` or ``.tar``;
any other path costs one search in its text.
"""

import fnmatch
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from wsol_bench.common.archives import Place

__all__ = [
    "Entry",
    "entries",
    "exists",
    "is_archive",
    "is_dir",
    "is_file",
    "lexists",
    "matching",
    "names_in",
    "opened",
    "read_bytes",
    "require_usable",
    "status",
]

_ARCHIVE = re.compile(r"\.(?:zip|tar)(?=[/\\]|$)", re.IGNORECASE)
# Also the archives that are refused.
_ANY_ARCHIVE = re.compile(r"\.(?:zip|tar|t[bgxz]\w+|tar\.\w+|7z|rar)(?=[/\\]|$)", re.IGNORECASE)


@runtime_checkable
class Entry(Protocol):
    """An entry of a folder, as ``os.DirEntry`` is one."""

    @property
    def name(self) -> str:
        """The name in its folder."""
        ...

    def is_file(self) -> bool:
        """Return whether it is a regular file, or a link to one."""
        ...

    def is_dir(self) -> bool:
        """Return whether it is a folder, or a link to one."""
        ...

    def stat(self) -> os.stat_result:
        """The size, time and kind of what it is, or of what it links to."""
        ...


def _place(path: str | Path) -> "Place | None":
    """The place inside of an archive that a path leads to; None for a path on the disk.

    The archive itself is the folder of its members.
    """
    text = os.fspath(path)
    if not _ARCHIVE.search(text):
        return None
    from wsol_bench.common.archives import located

    return located(text)


def require_usable(path: Path, option: str) -> None:
    """Prepare to read data from a path that the user names.

    An archive that has changed since it was read is listed again.

    Args:
        path: absolute path.
        option: name of the option that the path comes from, for the error message.

    Raises:
        DatasetError: the path leads to an archive that is compressed as a whole, lies in another
            archive, or cannot be read.
    """
    text = os.fspath(path)
    if _ANY_ARCHIVE.search(text):
        from wsol_bench.common import archives

        archives.require_usable(text, option)


def is_archive(path: Path) -> bool:
    """Return whether a path is that of a zip or tar file, by its name."""
    return _ARCHIVE.search(path.name) is not None


def status(path: Path) -> os.stat_result:
    """The size, time and kind of a file or folder; a member has the time of its archive.

    Raises:
        OSError: nothing is there.
        DatasetError: the archive cannot be read, or has changed since its members were listed.
    """
    place = _place(path)
    return path.stat() if place is None else place.status()


def is_file(path: Path) -> bool:
    """Return whether a regular file is there, which an archive is not."""
    place = _place(path)
    return path.is_file() if place is None else place.is_file()


def is_dir(path: Path) -> bool:
    """Return whether a folder or an archive is there."""
    place = _place(path)
    return path.is_dir() if place is None else place.is_dir()


def exists(path: Path) -> bool:
    """Return whether something is there; a link that leads nowhere is nothing."""
    place = _place(path)
    return path.exists() if place is None else place.exists()


def lexists(path: Path) -> bool:
    """Return whether something is there, and be it a link that leads nowhere."""
    place = _place(path)
    return os.path.lexists(path) if place is None else place.exists()


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in any order.

    Raises:
        OSError: the folder cannot be listed.
    """
    place = _place(folder)
    return os.listdir(folder) if place is None else place.names()


@contextmanager
def entries(folder: str | Path) -> Iterator[Iterator[Entry]]:
    """The entries of a folder, in any order; by descriptor if the system can.

    The files' sizes and times are then looked up in one folder and not along a whole path each.
    That takes a third off the look-ups, which are most of the second load of a large data set.

    Raises:
        OSError: the folder cannot be listed.
    """
    place = _place(folder)
    if place is not None:
        yield iter(place.entries())
        return
    if os.scandir not in os.supports_fd:
        with os.scandir(folder) as found:
            yield found
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with os.scandir(descriptor) as found:
            yield found
    finally:
        os.close(descriptor)


def matching(folder: Path, pattern: str) -> list[Path]:
    """The existing paths below a folder that a pattern such as ``*/val`` matches, sorted.

    The wildcards of a part are those of ``fnmatch``.
    """
    if _place(folder) is None:
        return sorted(folder.glob(pattern))
    paths = [folder]
    for part in pattern.split("/"):
        folders = [path for path in paths if is_dir(path)]
        paths = [path / name for path in folders for name in fnmatch.filter(names_in(path), part)]
    return sorted(paths)


def opened(path: Path) -> io.BufferedReader:
    """Open a file for reading, as ``open(path, "rb")`` does.

    No two open files share a position, so that threads and forked processes do not disturb each
    other.

    Raises:
        OSError: there is no such file, or a member that cannot be read: encrypted, or compressed in
            a way other than deflate. What is read of a damaged member raises OSError, too.
        DatasetError: the archive cannot be read, or has changed since its members were listed.
    """
    place = _place(path)
    return path.open("rb") if place is None else place.open()


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError, DatasetError: as ``opened``.
    """
    with opened(path) as file:
        return file.read()
