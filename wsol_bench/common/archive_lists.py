"""Lists of the members of zip and tar files, which are untrusted."""

import io
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from wsol_bench.common.archive_members import NO_CHECKSUM, Member
from wsol_bench.errors import DatasetError

__all__ = ["ListedMember", "list_tar", "list_zip"]

_BLOCK = tarfile.BLOCKSIZE
# No header with its long names takes more bytes: a greater number means a damaged file.
_LONGEST_HEADER = 2**20
# The blanks at the end of a tar file fill up a block of the tape, which is no larger.
_MOST_PADDING = 2**24
# How compressed files begin.
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}  # fmt: skip
_MOST_RATIO = 1032  # a byte of deflate holds no more bytes
_ENCRYPTED, _PATCHED, _UTF8 = 0x1, 0x20, 0x800  # flags of members of zip files
_UNIX = (3, 19)  # systems that made zip files: Unix and macOS, whose names are bytes
_DOS = 0


class ListedMember(NamedTuple):
    """A file or a folder in an archive.

    Attributes:
        name: path in the archive, without parts that lead nowhere.
        member: the file; None for a folder.
    """

    name: str
    member: Member | None


def list_zip(path: Path) -> Iterator[ListedMember]:
    """The members of a zip file, in its order.

    Raises:
        DatasetError: the file is no zip file, is damaged, or has members outside of its folder,
            links, or two members of one name.
    """
    names = set()
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # a damaged file can make zipfile raise any error
        raise DatasetError(
            f"{path}: expected a zip file, found another kind of file or a damaged one: {error}; "
            "download or pack it again"
        ) from error
    for info in members:
        name = _safe(path, _name_in_zip(info))
        if not name:
            continue
        if info.is_dir():
            yield ListedMember(name, None)
            continue
        if info.create_system in _UNIX and stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(
                f"{path}: expected files, found the link {name!r}; pack again what links lead to: "
                "zip without -y"
            )
        if name in names:
            raise DatasetError(f"{path}: expected each name once, found {name!r} twice")
        names.add(name)
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        problem = _problem_in_zip(info)
        sizes = 0 if problem else info.file_size, info.compress_size
        yield ListedMember(name, Member(info.header_offset, *sizes, info.CRC, deflated, problem))


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name of a member of a zip file, as its archiver has meant it.

    A name without the flag of UTF-8 is in the code page 437 if DOS or Windows made the file, and
    on Unix consists of the bytes of the file's name.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8 and info.create_system in _UNIX:
        name = name.encode("cp437").decode("utf-8", "surrogateescape")
    return name.replace("\\", "/") if info.create_system == _DOS else name


def _problem_in_zip(info: zipfile.ZipInfo) -> str:
    """The reason why a member of a zip file cannot be read; "" if it can."""
    if info.flag_bits & _ENCRYPTED:
        return "the member is encrypted; pack it again without a password"
    if info.flag_bits & _PATCHED:
        return "the member is a patch; pack it again: zip -0 -r"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = zipfile.compressor_names.get(info.compress_type, info.compress_type)
        return f"expected a stored or deflated member, found {kind}; pack it again: zip -0 -r"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"expected {info.file_size} bytes, found {info.compress_size} in the zip file"
    if info.file_size > _MOST_RATIO * (info.compress_size + 1):
        return f"the member declares {info.file_size} bytes, which {info.compress_size} cannot hold"
    return ""


def list_tar(path: Path) -> Iterator[ListedMember]:
    """The members of an uncompressed tar file; of two of one name the last counts, as in unpacking.

    Links to files of the archive are these files. Pipes, devices, and links to no member are left
    out, as they are in a folder.

    Raises:
        DatasetError: the file is no tar file, is compressed, cut off or damaged, or has members or
            links outside of its folder, or links to folders.
    """
    files: dict[str, Member] = {}
    folders: set[str] = set()
    links: dict[str, str] = {}
    for info in _headers(path):
        name = _safe(path, info.name)
        if not name:
            continue
        for kind in (files, links):
            kind.pop(name, None)
        if info.isreg():
            sparse = "the member has holes; pack it again without --sparse"
            problem = sparse if info.issparse() else ""
            sizes = info.size, 0 if problem else info.size
            files[name] = Member(info.offset_data, *sizes, NO_CHECKSUM, False, problem)
        elif info.isdir():
            folders.add(name)
        elif info.islnk() or info.issym():
            beside = posixpath.dirname(name) if info.issym() else ""
            links[name] = _target(path, name, beside, info.linkname)
    all_folders = folders.union(*(map(_parents, (*files, *links))))
    for name, target in links.items():
        seen = {name}
        while target in links and target not in seen:
            seen.add(target)
            target = links[target]
        if target in all_folders:
            raise DatasetError(
                f"{path}: expected links to files, found {name!r}, which leads to the folder "
                f"{target!r}; pack again what links lead to: tar chf"
            )
        if target in files:
            files[name] = files[target]
    yield from (ListedMember(name, None) for name in folders)
    yield from (ListedMember(name, member) for name, member in files.items())


def _headers(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers in a tar file, up to its end mark."""
    try:
        # tarfile reads the byte before a header, too; a larger buffer would be filled in vain.
        with path.open("rb", buffering=2 * _BLOCK) as file:
            begin = file.read(max(map(len, _COMPRESSED)))
            for magic, command in _COMPRESSED.items():
                if begin.startswith(magic):
                    raise DatasetError(
                        f"{path}: expected an uncompressed tar file, found a compressed one; "
                        f"decompress it first: {command}"
                    )
            file.seek(0)
            n_bytes = path.stat().st_size
            yield from _headers_in(path, file, n_bytes)
    except (DatasetError, OSError):
        raise
    except Exception as error:  # a damaged file can make tarfile raise any error
        raise DatasetError(
            f"{path}: expected a tar file, found another kind of file or a damaged one: {error}; "
            "download or pack it again"
        ) from error


def _headers_in(path: Path, file: io.BufferedReader, n_bytes: int) -> Iterator[tarfile.TarInfo]:
    bounded = cast(IO[bytes], _BoundedReads(file))
    end = 0
    with tarfile.open(
        fileobj=bounded, mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # which tarfile would keep, a kilobyte each
            if archive.offset <= end or archive.offset > n_bytes:
                raise _cut_off(path, n_bytes, f"the member {info.name!r} ends behind the file")
            end = archive.offset
            yield info
    # tarfile takes a damaged header for the end.
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise _cut_off(path, n_bytes, f"neither a member nor the end mark stands at byte {end}")
    if n_bytes - end > _MOST_PADDING:
        raise _cut_off(path, n_bytes, f"nothing stands behind byte {end}")


def _cut_off(path: Path, n_bytes: int, reason: str) -> DatasetError:
    return DatasetError(
        f"{path}: expected a whole tar file, found one of {n_bytes} bytes that is cut off or "
        f"damaged: {reason}; download or pack it again"
    )


class _BoundedReads:
    """A file that reads no more bytes at a time than a header may have."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, n_bytes: int) -> bytes:
        if n_bytes > _LONGEST_HEADER:
            raise ValueError(f"a header declares {n_bytes} bytes")
        return self._file.read(n_bytes)


def _safe(path: Path, name: str) -> str | None:
    """A name without parts that lead nowhere; None for the files that macOS adds.

    Raises:
        DatasetError: the name leads out of the archive.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise DatasetError(
            f"{path}: expected members below its folder, found {name!r}; pack it again from inside "
            "of its folder"
        )
    return None if parts[:1] == ["__MACOSX"] else "/".join(parts)


def _target(path: Path, name: str, folder: str, link: str) -> str:
    """The path in the archive that a link leads to.

    Args:
        path: path of the archive.
        name: name of the link.
        folder: folder that the link's text is relative to.
        link: the link's text.

    Raises:
        DatasetError: the link leads out of the archive.
    """
    target = posixpath.normpath(posixpath.join(folder, link))
    if target.startswith(("/", "..")):
        raise DatasetError(
            f"{path}: expected links to its own members, found {name!r}, which leads to {link!r}; "
            "pack again what links lead to: tar chf"
        )
    return "" if target == "." else target


def _parents(name: str) -> Iterator[str]:
    """The folders that a name lies in, up to the archive itself."""
    while name:
        name = posixpath.dirname(name)
        yield name
