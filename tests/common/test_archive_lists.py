"""The members of zip and tar files, odd and hostile ones among them."""

import os
import random
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from packed import add, archive_of, pack_by_command

from wsol_bench.common import archive_lists, data_files
from wsol_bench.common.files import existing
from wsol_bench.errors import DatasetError


def names(archive: Path) -> list[str]:
    return sorted(data_files.names_in(existing(archive, "root")))


def read(archive: Path, name: str) -> bytes:
    return data_files.read_bytes(existing(archive, "root") / name)


def patched(archive: Path, offset: int, form: str, *values: int, central: bool = True) -> Path:
    """A zip file of one member with other fields in its header of the directory."""
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02") if central else 0
    struct.pack_into(form, content, start + offset, *values)
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("kind", ["zip", "tar"])
class TestBoth:
    @pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0b/../x"])
    def test_members_outside_are_refused_by_name(
        self, tmp_path: Path, kind: str, name: str
    ) -> None:
        archive = tmp_path / f"a.{kind}"
        content = {"fine": b"", name: b""}
        if "\0" in name and kind == "tar":
            pytest.skip("names in tar files end with a zero byte")
        if "\0" in name:  # zipfile writes no such name
            archive_of(archive, {"fine": b"", name.replace("\0", "0"): b""})
            archive.write_bytes(archive.read_bytes().replace(b"a0b", b"a\0b"))
        else:
            archive_of(archive, content)
        with pytest.raises(DatasetError, match=rf"a\.{kind}: expected members below its folder"):
            names(archive)

    def test_names_are_written_in_many_ways(self, tmp_path: Path, kind: str) -> None:
        archive = archive_of(tmp_path / f"a.{kind}", {"./x/1": b"one", "x//2": b"two"})
        assert names(archive / "x") == ["1", "2"]
        assert read(archive, "x/2") == b"two"

    def test_what_macos_adds_does_not_count(self, tmp_path: Path, kind: str) -> None:
        content = {"x/1.jpg": b"", "__MACOSX/x/._1.jpg": b"", "x/._1.jpg": b""}
        archive = archive_of(tmp_path / f"a.{kind}", content)
        assert names(archive) == ["x"]
        assert names(archive / "x") == ["._1.jpg", "1.jpg"]

    def test_a_name_of_a_file_and_of_a_folder(self, tmp_path: Path, kind: str) -> None:
        for content in ({"x": b"", "x/1": b""}, {"x/1": b"", "x": b""}):
            archive = archive_of(tmp_path / f"a.{kind}", content)
            os.utime(archive, ns=(0, len(next(iter(content)))))
            with pytest.raises(DatasetError, match="'x' as a file and as a folder"):
                names(archive)

    def test_an_empty_archive(self, tmp_path: Path, kind: str) -> None:
        assert names(archive_of(tmp_path / f"a.{kind}", {})) == []

    def test_another_kind_of_file(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / f"a.{kind}").write_bytes(b"no archive" * 1000)
        with pytest.raises(DatasetError, match=rf"a\.{kind}: expected a {kind} file, found"):
            names(tmp_path / f"a.{kind}")

    def test_a_part_of_an_archive_is_never_taken_for_the_whole(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also if it is cut between two members, or its rest is not written yet."""
        monkeypatch.setattr(archive_lists, "_MOST_PADDING", 5000)
        contents = {f"{number}.jpg": bytes([number]) * 1000 for number in range(9)}
        whole = archive_of(tmp_path / f"whole.{kind}", contents).read_bytes()
        end = len(whole) - 22 if kind == "zip" else 9 * 1536  # without the end mark
        for length in range(1, end, 256):
            for padding in (0, len(whole) - length):
                part = tmp_path / f"{length}-{padding}.{kind}"
                part.write_bytes(whole[:length] + bytes(padding))
                with pytest.raises(DatasetError, match=str(part)):
                    names(part)

    def test_damaged_bytes_never_give_another_error(self, tmp_path: Path, kind: str) -> None:
        """A member, or all of the archive, is refused, or the damage is not in what is read."""
        content = {f"x{number}/{number}.jpg": bytes([number]) * 100 for number in range(3)}
        whole = archive_of(tmp_path / f"whole.{kind}", content).read_bytes()
        draw = random.Random(0)
        for number in range(300):
            damaged = bytearray(whole)
            for _ in range(draw.choice([1, 1, 8])):
                damaged[draw.randrange(len(whole))] = draw.randrange(256)
            archive = tmp_path / f"{number}.{kind}"
            archive.write_bytes(damaged)
            for name in content:
                try:
                    found = read(archive, name)
                except (DatasetError, OSError):
                    continue
                assert len(found) == 100
                assert kind == "tar" or found == content[name]


class TestZip:
    @pytest.mark.parametrize("flag", [0, 0x800])
    @pytest.mark.parametrize("system", [0, 3])
    def test_names_that_are_not_ascii(self, tmp_path: Path, flag: int, system: int) -> None:
        """With a flag UTF-8; without it the bytes of Unix, or the code page of DOS."""
        archive = archive_of(tmp_path / "a.zip", {"Stra__e": b""})
        encoded = "ß".encode("utf-8" if flag or system else "cp437").rjust(2, b"_")
        archive.write_bytes(archive.read_bytes().replace(b"__", encoded))
        patched(archive, 5, "<B2xH", system, flag)
        patched(archive, 6, "<H", flag, central=False)
        assert names(archive) == ["Straße" if flag or system else "Stra_ße"]

    def test_a_name_in_no_encoding_is_that_of_the_unpacked_folder(self, tmp_path: Path) -> None:
        archive = archive_of(tmp_path / "a.zip", {"Stra__e": b""})
        archive.write_bytes(archive.read_bytes().replace(b"__", b"_\xdf"))
        assert names(patched(archive, 5, "<B", 3)) == [os.fsdecode(b"Stra_\xdfe")]

    def test_the_separator_of_dos(self, tmp_path: Path) -> None:
        archive = archive_of(tmp_path / "a.zip", {"x\\1": b""})
        assert names(patched(archive, 5, "<B", 0)) == ["x"]
        os.utime(archive, ns=(0, 0))
        assert names(patched(archive, 5, "<B", 3)) == ["x\\1"]

    def test_links_are_refused_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x/link").symlink_to("/etc/passwd")
        subprocess.run(["zip", "-q", "-y", "-r", "../a.zip", "."], cwd=tmp_path / "x", check=True)
        with pytest.raises(DatasetError, match=r"found the link 'link'; .* zip without -y"):
            names(tmp_path / "a.zip")

    def test_two_members_of_one_name(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr("x", "")
            with pytest.warns(UserWarning, match="Duplicate"):
                file.writestr("x", "other")
        with pytest.raises(DatasetError, match="expected each name once, found 'x' twice"):
            names(tmp_path / "a.zip")

    def test_an_encrypted_member(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"secret")
        command = ["zip", "-q", "-0", "-P", "word", "a.zip", "x"]
        subprocess.run(command, cwd=tmp_path, check=True)
        with pytest.raises(OSError, match="is encrypted; pack it again without a password"):
            read(tmp_path / "a.zip", "x")

    @pytest.mark.parametrize(
        ("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")]
    )
    def test_other_compression(self, tmp_path: Path, method: int, name: str) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
            file.writestr("x", "content" * 100)
            file.writestr("y", "content", zipfile.ZIP_STORED)
        with pytest.raises(OSError, match=f"found {name}; pack it again: zip -0 -r"):
            read(tmp_path / "a.zip", "x")
        assert read(tmp_path / "a.zip", "y") == b"content"

    def test_zip64(self, tmp_path: Path) -> None:
        """More than 65,535 members, and sizes in the fields of large files."""
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            with file.open("large", "w", force_zip64=True) as member:
                member.write(b"content")
            for number in range(2**16):
                file.writestr(f"x/{number}", "")
        assert len(names(tmp_path / "a.zip/x")) == 2**16
        assert read(tmp_path / "a.zip", "large") == b"content"

    def test_a_declared_size_that_cannot_be(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x", "content" * 1000)
        patched(tmp_path / "a.zip", 24, "<I", 2**32 - 2)
        with pytest.raises(OSError, match=r"declares 4294967294 bytes, which \d+ cannot hold"):
            read(tmp_path / "a.zip", "x")


class TestTar:
    def test_links_to_files_are_these_files(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            add(tar, "x/soft", type=tarfile.SYMTYPE, linkname="../y/file")
            add(tar, "x/chain", type=tarfile.SYMTYPE, linkname="soft")
            add(tar, "y/file", b"content")
            add(tar, "x/hard", type=tarfile.LNKTYPE, linkname="y/file")
            add(tar, "x/nowhere", type=tarfile.SYMTYPE, linkname="missing")
            add(tar, "x/itself", type=tarfile.SYMTYPE, linkname="itself")
            add(tar, "x/pipe", type=tarfile.FIFOTYPE)
        assert names(tmp_path / "a.tar/x") == ["chain", "hard", "soft"]
        assert {read(tmp_path / "a.tar", f"x/{name}") for name in names(tmp_path / "a.tar/x")} == {
            b"content"
        }

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
    @pytest.mark.parametrize("link", ["/etc/passwd", "../../passwd", ".."])
    def test_links_that_lead_out_are_refused_by_name(
        self, tmp_path: Path, kind: bytes, link: str
    ) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            add(tar, "link", type=kind, linkname=link)
        with pytest.raises(DatasetError, match=r"found 'link', which leads to .*: tar chf"):
            names(tmp_path / "a.tar")

    @pytest.mark.parametrize("link", ["x", ".", "chain"])
    def test_links_to_folders_are_refused_by_name(self, tmp_path: Path, link: str) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            add(tar, "x/file", b"content")
            add(tar, "link", type=tarfile.SYMTYPE, linkname=link)
            add(tar, "chain", type=tarfile.SYMTYPE, linkname="x")
        with pytest.raises(DatasetError, match=r"leads to the folder .*: tar chf"):
            names(tmp_path / "a.tar")

    def test_of_two_members_of_one_name_the_last_counts(self, tmp_path: Path) -> None:
        """As when it is unpacked: ``tar rf`` appends a newer file."""
        (tmp_path / "x").write_text("old")
        subprocess.run(["tar", "cf", "a.tar", "x"], cwd=tmp_path, check=True)
        (tmp_path / "x").write_text("new and longer")
        subprocess.run(["tar", "rf", "a.tar", "x"], cwd=tmp_path, check=True)
        assert read(tmp_path / "a.tar", "x") == b"new and longer"

    @pytest.mark.parametrize("form", ["gnu", "pax", "v7", "ustar"])
    def test_the_formats_of_tar(self, tmp_path: Path, form: str) -> None:
        """The archives are written by GNU tar; long and other names take headers of their own."""
        name = "name" if form in ("v7", "ustar") else "ß" * 100
        (tmp_path / "folder" / name).mkdir(parents=True)
        (tmp_path / "folder" / name / "file").write_bytes(b"content")
        command = ["tar", f"--format={form}", "-cf", "a.tar", "-C", "folder", "."]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert read(tmp_path / "a.tar", f"{name}/file") == b"content"

    @pytest.mark.parametrize("form", ["gnu", "pax"])
    def test_a_sparse_member_is_refused(self, tmp_path: Path, form: str) -> None:
        with (tmp_path / "x").open("wb") as file:
            file.seek(10**6)
            file.write(b"end")
        command = ["tar", "--sparse", f"--format={form}", "-cf", "a.tar", "x"]
        subprocess.run(command, cwd=tmp_path, check=True)
        with pytest.raises(OSError, match="has holes; pack it again without --sparse"):
            read(tmp_path / "a.tar", "x")

    @pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
    def test_a_compressed_file_is_told_by_its_first_bytes(self, tmp_path: Path, mode: str) -> None:
        with tarfile.open(tmp_path / "a.tar", mode) as tar:
            add(tar, "x", b"content")
        with pytest.raises(DatasetError, match=r"found a compressed one; decompress it first: \w+"):
            names(tmp_path / "a.tar")

    def test_a_header_that_declares_absurd_lengths(self, tmp_path: Path) -> None:
        """A long name of a gigabyte takes no memory; a negative size does not go in circles."""
        for number, size in enumerate([2**30, 2**62, -1024]):
            info = tarfile.TarInfo("x")
            header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
            header[156:157] = tarfile.GNUTYPE_LONGNAME if size > 0 else tarfile.REGTYPE
            header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
            total = sum(header[:148]) + 8 * 32 + sum(header[156:])
            header[148:156] = f"{total:06o}\0 ".encode()
            archive = tmp_path / f"{number}.tar"
            with archive.open("wb") as file:
                file.write(header)
                file.truncate(2**31 if size > 0 else 10240)
            with pytest.raises(DatasetError, match=str(archive)):
                names(archive)


def test_the_commands_of_the_documentation(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("x/1.jpg", "ß/2.jpg", ".hidden"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    for kind in ("zip", "tar"):
        archive = pack_by_command(folder, tmp_path / f"a.{kind}")
        assert names(archive) == sorted(os.listdir(folder))
        assert read(archive, "ß/2.jpg") == "ß/2.jpg".encode()


def test_the_list_of_an_archive_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read 50,000 headers of a tar file on a network disk takes long."""
    from wsol_bench.common import archives

    archive = archive_of(tmp_path / "a.tar", {"x/1": b"one", os.fsdecode(b"x/\xff"): b"two"})
    assert len(names(archive / "x")) == 2
    monkeypatch.setattr(archives, "_known", {})  # as in another process
    monkeypatch.setitem(archives._LISTS, ".tar", lambda path: pytest.fail("listed again"))
    assert names(archive / "x") == sorted(["1", os.fsdecode(b"\xff")])
    assert read(archive, os.fsdecode(b"x/\xff")) == b"two"
