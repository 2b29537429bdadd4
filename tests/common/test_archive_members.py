"""Members of archives, read."""

import resource
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from packed import archive_of

from wsol_bench.common import data_files


def deflated(archive: Path, content: bytes) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", content)
    return archive / "x"


def test_a_large_member_takes_no_memory_before_it_is_read(tmp_path: Path) -> None:
    """A bomb: 1 GB of zeros in 1 MB. Readers of images and lists look at the first bytes only."""
    path = tmp_path / "a.zip" / "x"
    packed = zipfile.ZipFile(path.parent, "w", zipfile.ZIP_DEFLATED)
    with packed, packed.open("x", "w") as member:
        for _ in range(1000):
            member.write(bytes(2**20))
    data_files.is_file(path)
    tracemalloc.start()
    with data_files.opened(path) as file:
        assert file.read(1000) == bytes(1000)
        file.seek(100 * 2**20)
        assert file.read(10) == bytes(10)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_in_a_zip_file_is_an_error(tmp_path: Path, compressed: bool) -> None:
    content = bytes(range(256)) * 100
    archive = tmp_path / "a.zip"
    path = deflated(archive, content) if compressed else archive / "x"
    if not compressed:
        archive_of(archive, {"x": content})
    packed = bytearray(archive.read_bytes())
    packed[200] ^= 4
    archive.write_bytes(packed)
    with pytest.raises(OSError, match="damaged"):
        data_files.read_bytes(path)
    with pytest.raises(OSError, match="damaged"), data_files.opened(path) as file:
        # As readers of images do: a look at the beginning, and then from the beginning on.
        file.read(16)
        file.seek(0)
        while file.read(1000):
            pass


def test_a_wrong_size_in_the_directory_is_an_error(tmp_path: Path) -> None:
    for number, size in enumerate([6999, 7001]):
        archive = tmp_path / f"{number}.zip"
        path = deflated(archive, b"content" * 1000)
        packed = bytearray(archive.read_bytes())
        start = packed.index(b"PK\x01\x02") + 24
        packed[start : start + 4] = size.to_bytes(4, "little")
        archive.write_bytes(packed)
        with pytest.raises(OSError, match="checksum" if size < 7000 else "cut off"):
            data_files.read_bytes(path)


def test_files_are_closed(tmp_path: Path) -> None:
    """Open files of an archive would use up the limit of a process."""
    path = archive_of(tmp_path / "a.zip", {"x": b"content"}) / "x"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        for _ in range(500):
            with data_files.opened(path) as file:
                file.read(1)
            with pytest.raises(OSError):
                data_files.opened(path / "y")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
