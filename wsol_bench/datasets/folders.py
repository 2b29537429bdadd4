"""Folders of a data set: what is in them, and whether it has changed."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import require_regular
from wsol_bench.common.progress import progress
from wsol_bench.errors import DatasetError

__all__ = ["has_content", "look_up", "scan", "stamp", "stems", "with_progress"]

T = TypeVar("T")

# Fewer files than this take less than half a second: no progress is shown.
MANY = 2000
# A byte order mark is a blank, too.
_BLANKS = b"\xef\xbb\xbf \t\r\n"
# Files between two moves of the progress bar; moving it costs as much as a small file.
STEP = 100


def has_content(path: Path) -> bool:
    """Return whether a file is there that holds more than blanks.

    An optional list that is empty is as one that is missing.

    Raises:
        DatasetError: a folder, a pipe, a device or a link that leads nowhere is there instead.
    """
    if not data_files.lexists(path):
        return False
    try:
        require_regular(path)
        with data_files.opened(path) as file:
            chunks = iter(lambda: file.read(4096), b"")
            return any(chunk.strip(_BLANKS) for chunk in chunks)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error


def scan(
    folder: Path,
    suffixes: Collection[str],
    *,
    nested: bool = True,
    wanted: Collection[str] | None = None,
) -> pd.DataFrame:
    """The files of a folder, sorted by stem.

    Args:
        folder: folder to look in; hidden files (among them macOS's ``._`` companions) do not count.
        suffixes: extensions to keep, lower case, without the dot; any case matches.
        nested: whether to look in the folder's direct subfolders, too.
        wanted: stems of the files whose size and time are needed, which cost more to look up than
            names; None looks up all.

    Returns:
        One row a file: stem, folder (name of the subfolder, "" for none), file (path relative to
        ``folder``), bytes and mtime (nanoseconds), both -1 for a file that is not wanted.

    Raises:
        DatasetError: the folder cannot be read, or two files have the same stem.
    """
    try:
        rows = list(_files(folder, suffixes, nested, wanted))
        stems, parents, files, sizes, times = zip(*rows, strict=True) if rows else ((),) * 5
        table = pd.DataFrame(
            {
                "stem": pd.Series(stems, dtype="str"),
                "folder": pd.Series(parents, dtype="str"),
                "file": pd.Series(files, dtype="str"),
                "bytes": np.array(sizes, dtype=np.int64),
                "mtime": np.array(times, dtype=np.int64),
            }
        )
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed: {error}") from error
    except UnicodeEncodeError as error:
        raise DatasetError(f"{folder}: a file name is not UTF-8: {error.object!r}") from error
    table = table.sort_values("stem", kind="stable", ignore_index=True)
    repeated = table["stem"].duplicated()
    if repeated.any():
        second = int(repeated.to_numpy().argmax())
        first, other = table["file"].iloc[second - 1], table["file"].iloc[second]
        raise DatasetError(
            f"{folder}: expected files with different stems, which are their image ids, but "
            f"{first!r} and {other!r} share one; rename one of the files"
        )
    return table


def stems(folder: Path, suffixes: Collection[str], *, nested: bool = True) -> Iterator[str]:
    """The stems of the files of ``scan``, as they come.

    Raises:
        OSError: a folder cannot be listed.
    """
    return (row[0] for row in _files(folder, suffixes, nested, ()))


def _files(
    folder: Path, suffixes: Collection[str], nested: bool, wanted: Collection[str] | None
) -> Iterator[tuple[str, str, str, int, int]]:
    """The rows of ``scan``, in the order in which the system lists the files."""
    pending = [(os.fspath(folder), "")]
    while pending:
        path, parent = pending.pop()
        prefix = f"{parent}/" if parent else ""
        with data_files.entries(path) as entries:
            for entry in entries:
                name = entry.name
                stem, _, suffix = name.rpartition(".")
                if stem and suffix.lower() in suffixes and name[0] != "." and entry.is_file():
                    if wanted is None or stem in wanted:
                        status = entry.stat()
                        yield stem, parent, prefix + name, status.st_size, status.st_mtime_ns
                    else:
                        yield stem, parent, prefix + name, -1, -1
                elif nested and not parent and name[0] != "." and entry.is_dir():
                    pending.append((f"{path}/{name}", name))


def look_up(folder: Path, files: Sequence[str]) -> pd.DataFrame:
    """The sizes and times of listed files.

    Args:
        folder: folder that the names are relative to.
        files: names that stay below the folder (``formats.file_names.stays_below``).

    Returns:
        One row a name: file, bytes and mtime as ``scan`` gives them, both -1 for a missing file.
    """
    stats = np.full((len(files), 2), -1, np.int64)
    for index, file in enumerate(files):
        try:
            status = data_files.status(Path(f"{folder}/{file}"))
        except OSError:
            continue
        if S_ISREG(status.st_mode):
            stats[index] = status.st_size, status.st_mtime_ns
    table = pd.DataFrame({"file": pd.Series(files, dtype="str")})
    return table.assign(bytes=stats[:, 0], mtime=stats[:, 1])


def stamp(folder: Path, files: pd.DataFrame) -> str:
    """The digest of a folder's path and of the names, sizes and times of ``scan``'s files."""
    digest = hashlib.sha256(os.fsencode(os.path.abspath(folder)))
    digest.update("\n".join(files["file"].tolist()).encode())
    for column in ("bytes", "mtime"):
        digest.update(files[column].to_numpy(np.int64).tobytes())
    return digest.hexdigest()


def with_progress(items: list[T], description: str, unit: str = "files") -> Iterator[T]:
    """The items one by one, with a progress bar if there are enough of them to wait for."""
    if len(items) < MANY:
        yield from items
        return
    with progress(description, len(items), unit) as advance:
        for start in range(0, len(items), STEP):
            yield from items[start : start + STEP]
            advance(len(items[start : start + STEP]))
