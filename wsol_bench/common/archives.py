"""Zip and tar files as folders: their members by path, from an index that is made once."""

import errno
import io
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from wsol_bench.common.archive_lists import ListedMember, list_tar, list_zip
from wsol_bench.common.archive_members import Member, open_member
from wsol_bench.common.table_cache import TableCache
from wsol_bench.errors import DatasetError

__all__ = ["Place", "Version", "expect", "located", "require_usable", "versions"]

_LISTS = {".zip": list_zip, ".tar": list_tar}
_ARCHIVE = re.compile(r"\.(?:zip|tar)(?=[/\\]|$)", re.IGNORECASE)
# Archives that are not read in place, and how they are decompressed.
_COMPRESSED = re.compile(
    r"\.(tgz|tbz2?|txz|tzst|tar\.(?:gz|bz2|xz|zst)|7z|rar)(?=[/\\]|$)", re.IGNORECASE
)
_COMMANDS = {
    "gz": "gunzip", "tgz": "gunzip", "bz2": "bunzip2", "tbz": "bunzip2", "tbz2": "bunzip2",
    "xz": "unxz", "txz": "unxz", "zst": "unzstd", "tzst": "unzstd",
}  # fmt: skip
_FOLDER = -1  # in place of the row of a file


class Version(NamedTuple):
    """The size in bytes and the time in nanoseconds of a file, which change when the file does."""

    n_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Version":
        """The version of a file on the disk."""
        return cls(status.st_size, status.st_mtime_ns)


class _Archive:
    """The members of an archive, as they are in one version of it.

    Args:
        path: absolute path of the archive.
        version: its version.
        table: its members, as ``_listed`` returns them.

    Raises:
        DatasetError: a name is that of a file and of a folder.
    """

    def __init__(self, path: str, version: Version, table: pd.DataFrame) -> None:
        self.path = path
        self.version = version
        self._is_zip = path.lower().endswith(".zip")
        self._columns = [table[name].to_numpy() for name in Member._fields]
        self._sizes = table["size"].to_numpy()
        # By folder and name: the row of a file, or ``_FOLDER``.
        self.folders: dict[str, dict[str, int]] = {"": {}}
        names = [name.decode("utf-8", "surrogateescape") for name in table["name"]]
        for row, (name, is_folder) in enumerate(zip(names, table["is_folder"], strict=True)):
            self._add(name, _FOLDER if is_folder else row)

    def _add(self, name: str, row: int) -> None:
        parent, _, base = name.rpartition("/")
        if parent not in self.folders:
            self._add(parent, _FOLDER)
        if row == _FOLDER:
            self.folders.setdefault(name, {})
        if self.folders[parent].setdefault(base, row) != row:
            raise DatasetError(
                f"{self.path}: expected each name once, found {name!r} as a file and as a folder"
            )

    def row(self, name: str) -> int:
        """The row of a file, or ``_FOLDER``.

        Raises:
            OSError: there is no such member.
        """
        if name in self.folders:
            return _FOLDER
        parent, _, base = name.rpartition("/")
        row = self.folders.get(parent, {}).get(base)
        if row is not None:
            return row
        code = errno.ENOENT
        while parent and parent not in self.folders:
            parent, _, base = parent.rpartition("/")
            if base in self.folders.get(parent, {}):
                code = errno.ENOTDIR
        raise OSError(code, os.strerror(code), f"{self.path}/{name}")

    def status(self, row: int) -> os.stat_result:
        """The status of a file or a folder, which has the time of the archive."""
        is_folder = row == _FOLDER
        mode = stat.S_IFDIR | 0o555 if is_folder else stat.S_IFREG | 0o444
        size = 0 if is_folder else int(self._sizes[row])
        seconds, time = self.version.mtime_ns // 10**9, self.version.mtime_ns
        fields = (mode, 0, 0, 1, 0, 0, size, seconds, seconds, seconds)
        return os.stat_result(fields, {"st_mtime_ns": time, "st_mtime": time / 1e9})

    def open(self, row: int, path: str) -> io.BufferedReader:
        """Open a file, in this version of the archive or not at all."""
        offset, size, packed, checksum, deflated, problem = (
            column[row] for column in self._columns
        )
        member = Member(int(offset), int(size), int(packed), int(checksum), bool(deflated), problem)
        with ExitStack() as unless_opened:
            archive = unless_opened.enter_context(Path(self.path).open("rb", buffering=0))
            self.require(os.fstat(archive.fileno()))
            opened = open_member(archive, member, path, is_zip=self._is_zip)
            unless_opened.pop_all()
        return opened

    def require(self, status: os.stat_result) -> None:
        """Raise DatasetError unless the archive is still the one that was listed."""
        if Version.of(status) != self.version:
            raise DatasetError(
                f"{self.path}: expected the archive as it was when its data set was loaded, "
                f"{self.version.n_bytes} bytes, found that it was changed since, "
                f"{status.st_size} bytes; begin again with the new archive"
            )


class _Entry(NamedTuple):
    """An entry of a folder in an archive; see ``data_files.Entry``."""

    name: str
    archive: _Archive
    row: int

    def is_file(self) -> bool:
        return self.row != _FOLDER

    def is_dir(self) -> bool:
        return self.row == _FOLDER

    def stat(self) -> os.stat_result:
        return self.archive.status(self.row)


class Place(NamedTuple):
    """A place inside of an archive.

    Attributes:
        archive: the archive.
        name: path in the archive, which need not exist; "" for the archive itself.
    """

    archive: _Archive
    name: str

    def status(self) -> os.stat_result:
        """The size, time and kind of what is there; OSError for nothing."""
        return self.archive.status(self.archive.row(self.name))

    def is_dir(self) -> bool:
        """Return whether a folder is there."""
        return self.name in self.archive.folders

    def exists(self) -> bool:
        """Return whether something is there."""
        try:
            self.archive.row(self.name)
        except OSError:
            return False
        return True

    def is_file(self) -> bool:
        """Return whether a file is there."""
        return self.exists() and not self.is_dir()

    def _children(self) -> dict[str, int]:
        if self.archive.row(self.name) != _FOLDER:
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"{self.archive.path}/{self.name}"
            )
        return self.archive.folders[self.name]

    def names(self) -> list[str]:
        """The names in a folder; OSError if none is there."""
        return list(self._children())

    def entries(self) -> list[_Entry]:
        """The entries of a folder; OSError if none is there."""
        return [_Entry(name, self.archive, row) for name, row in self._children().items()]

    def open(self) -> io.BufferedReader:
        """Open a file for reading; see ``data_files.opened``."""
        path = f"{self.archive.path}/{self.name}"
        row = self.archive.row(self.name)
        if row == _FOLDER:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return self.archive.open(row, path)


# The archives that this process has listed, by absolute path. A forked process inherits them.
_known: dict[str, _Archive] = {}
# The versions that archives must have when this process lists them.
_expected: dict[str, Version] = {}


def located(path: str) -> Place | None:
    """The place inside of an archive that a path leads to; None for a path on the disk.

    Raises:
        DatasetError: the archive cannot be read, or has changed since its members were listed.
    """
    for match in _ARCHIVE.finditer(path):
        try:
            status = Path(path[: match.end()]).stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            archive = _archive(os.path.abspath(path[: match.end()]), status)
            inner = posixpath.normpath(path[match.end() :].replace(os.sep, "/").lstrip("/"))
            return Place(archive, "" if inner == "." else inner)
    return None


def _archive(path: str, status: os.stat_result) -> _Archive:
    """The archive at an absolute path, listed if need be."""
    archive = _known.get(path)
    if archive is None:
        version = Version.of(status)
        table = _listed(Path(path), version)
        archive = _Archive(path, _expected.get(path, version), table)
        _known[path] = archive
    archive.require(status)
    return archive


def _listed(path: Path, version: Version) -> pd.DataFrame:
    """The members of an archive, from the cache of tables, or else from the archive.

    Returns:
        One row a member, whether a file or a folder: name (bytes), is_folder, and the fields of
        ``Member``.
    """
    key = f"{os.fsencode(path).hex()} {version.n_bytes} {version.mtime_ns}"
    members = _LISTS[path.suffix.lower()]
    return TableCache().table("archive", key, lambda: _table(path, version, members(path)))


def _table(path: Path, version: Version, listed: Iterable[ListedMember]) -> pd.DataFrame:
    nothing = Member(0, 0, 0, 0, False, "")
    rows = []
    try:
        for name, member in listed:
            member_or_none = member or nothing
            if member_or_none.offset + member_or_none.packed > version.n_bytes:
                raise DatasetError(
                    f"{path}: expected a whole archive, found one that is cut off or damaged: "
                    f"{name!r} ends behind its {version.n_bytes} bytes; download or pack it again"
                )
            encoded = name.encode("utf-8", "surrogateescape")
            rows.append((encoded, member is None, *member_or_none))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    return pd.DataFrame(rows, columns=["name", "is_folder", *Member._fields])


def require_usable(path: str, option: str) -> None:
    """Raise DatasetError if a user's path leads to an archive that is not read in place.

    An archive that has changed is listed again, since a data set is loaded anew.

    Args:
        path: path that the user names.
        option: name of the option that the path comes from, for the error message.
    """
    for match in _COMPRESSED.finditer(path):
        file = path[: match.end()]
        if Path(file).is_file():
            command = _COMMANDS.get(match[1].lower().removeprefix("tar."))
            advice = f"decompress it first: {command} {file}" if command else "unpack it first"
            raise DatasetError(
                f"{option}: expected a folder, or an archive that is read in place: .zip, or .tar "
                f"without compression; found {file}; {advice}, or pack its folder: zip -0 -r"
            )
    _renew(path)
    place = located(path)
    parts = place.name.split("/") if place else []
    for end in range(1, len(parts) + 1):
        inner = Path(*parts[:end])
        is_archive = _ARCHIVE.search(inner.name) or _COMPRESSED.search(inner.name)
        if place and is_archive and place._replace(name=inner.as_posix()).is_file():
            raise DatasetError(
                f"{option}: expected files or folders in {place.archive.path}, found the archive "
                f"{inner.as_posix()} in it; archives in archives are not read: unpack it first"
            )


def _renew(path: str) -> None:
    """Forget the archives that a path leads to if they have changed."""
    for match in _ARCHIVE.finditer(path):
        file = os.path.abspath(path[: match.end()])
        archive = _known.get(file)
        if archive is not None and file not in _expected:
            try:
                archive.require(Path(file).stat())
            except (DatasetError, OSError):
                del _known[file]


def versions() -> dict[str, Version]:
    """The versions of the archives that this process has listed, by path."""
    return {path: archive.version for path, archive in _known.items()}


def expect(expected: Mapping[str, Version]) -> None:
    """Let archives count as changed unless they have these versions, of another process."""
    _expected.update(expected)
