"""Members of archives, opened for reading; they are untrusted.

Each open file has a handle of its own on the archive and unpacks piece by piece: no member takes
memory before it is read, whatever size its archive declares.
"""

import errno
import io
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["NO_CHECKSUM", "Member", "open_member"]

# The checksum of a member whose archive has none, as tar files.
NO_CHECKSUM = -1

# The fixed part of a local header of a zip file: its signature, 22 bytes that the zip file's
# directory repeats, and the lengths of the name and the extra field that stand before the content.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\x03\x04"
# The bytes of a deflated member that are read at a time.
_BLOCK = 2**16


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        offset: position in the archive, in bytes: of the content in a tar file, of the local header
            in a zip file.
        size: number of bytes of the content.
        packed: number of bytes that the content takes in the archive.
        checksum: CRC-32 of the content; ``NO_CHECKSUM`` for none.
        deflated: whether the content is compressed, by deflate.
        problem: why the member cannot be read; "" if it can.
    """

    offset: int
    size: int
    packed: int
    checksum: int
    deflated: bool
    problem: str


def open_member(
    archive: io.FileIO, member: Member, path: str, *, is_zip: bool
) -> io.BufferedReader:
    """The content of a member as a file, which owns and closes ``archive``.

    Args:
        archive: the archive, opened without a buffer, for this member alone.
        member: the member.
        path: path of the member, for errors.
        is_zip: whether the archive is a zip file.

    Raises:
        OSError: the member cannot be read. Reading raises it, too, if the content is cut off or
            damaged; a tar file has no checksums, so damaged bytes are not noticed in one.
    """
    if member.problem:
        raise OSError(errno.EINVAL, member.problem, path)
    start = _start_of_content(archive, member.offset, path) if is_zip else member.offset
    if member.deflated:
        content: _Stored | _Deflated = _Deflated(archive, start, member.packed)
    else:
        content = _Stored(archive, start)
    return io.BufferedReader(_MemberFile(archive, content, member, path))


def _start_of_content(archive: io.FileIO, header: int, path: str) -> int:
    """The position of the content behind a local header of a zip file."""
    archive.seek(header)
    found = archive.read(_LOCAL_HEADER.size)
    if len(found) < _LOCAL_HEADER.size or not found.startswith(_SIGNATURE):
        raise OSError(errno.EINVAL, "the zip file is damaged: no header of the member", path)
    _, name, extra = _LOCAL_HEADER.unpack(found)
    return header + _LOCAL_HEADER.size + int(name) + int(extra)


class _Stored:
    """A content that is not compressed, by position."""

    def __init__(self, archive: io.FileIO, start: int) -> None:
        self._archive = archive
        self._start = start

    def read(self, position: int, n_bytes: int) -> bytes:
        """At least one of the bytes from a position on, and at most so many; b"" behind the last.

        A call may return less than it could, as ``io.RawIOBase.read``.
        """
        self._archive.seek(self._start + position)
        return self._archive.read(n_bytes)


class _Deflated:
    """A deflated content, which is unpacked from its beginning again to go back in it."""

    def __init__(self, archive: io.FileIO, start: int, packed: int) -> None:
        self._archive = archive
        self._start = start
        self._packed = packed
        self._restart()

    def _restart(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._unread = self._packed
        self._position = 0
        self._archive.seek(self._start)

    def read(self, position: int, n_bytes: int) -> bytes:
        """The same as ``_Stored.read``; zlib.error if the compressed bytes are damaged."""
        if position < self._position:
            self._restart()
        while skipped := position - self._position:
            if not self._next(min(skipped, _BLOCK)):
                return b""
        return self._next(n_bytes)

    def _next(self, n_bytes: int) -> bytes:
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail
            if not packed:
                packed = self._archive.read(min(_BLOCK, self._unread))
                self._unread -= len(packed)
            content = self._inflater.decompress(packed, n_bytes)
            self._position += len(content)
            # Without input, too, the inflater may still hold content.
            if content or not packed:
                return content
        return b""


class _MemberFile(io.RawIOBase):
    """A member as a file without a buffer; its checksum is tested when all bytes have been read."""

    def __init__(
        self, archive: io.FileIO, content: _Stored | _Deflated, member: Member, path: str
    ) -> None:
        self._archive = archive
        self._content = content
        self._size = member.size
        self._expected = member.checksum
        self._path = path
        self.name = path  # which errors of others show, as that of any other file
        self._position = 0
        # The bytes up to here are in the checksum.
        self._summed, self._checksum = 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "expected a position that is not negative", self._path)
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        try:
            content = self._content.read(self._position, wanted)
        except zlib.error as error:
            raise OSError(errno.EINVAL, f"the member is damaged: {error}", self._path) from error
        if not content:
            raise OSError(
                errno.EINVAL,
                f"the member is cut off: expected {self._size} bytes, found {self._position}",
                self._path,
            )
        view[: len(content)] = content
        self._sum(content)
        self._position += len(content)
        return len(content)

    def _sum(self, content: bytes) -> None:
        """Add to the checksum what is new, in a file that is read on without gaps."""
        known = self._summed - self._position
        if self._expected == NO_CHECKSUM or not 0 <= known < len(content):
            return
        self._checksum = zlib.crc32(memoryview(content)[known:], self._checksum)
        self._summed = self._position + len(content)
        if self._summed == self._size and self._checksum != self._expected:
            raise OSError(errno.EINVAL, "the member is damaged: wrong checksum", self._path)

    def close(self) -> None:
        self._archive.close()
        super().close()
