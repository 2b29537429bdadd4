"""Files and folders of data, on the disk and inside of archives."""

import ast
import os
import re
import threading
from pathlib import Path

import pytest
from packed import KINDS, archive_of, pack

import wsol_bench
from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.errors import DatasetError

PACKAGE = Path(wsol_bench.__file__).parent

# Lists, names that are not ASCII or hidden, an empty file, and one that fills many buffers.
CONTENT = {
    "lists/val.txt": b"1\n2\n",
    "lists/train.txt": b"",
    "a b/Straße 日.JPEG": b"picture",
    "a b/.hidden": b"hidden",
    "deep/er/large": bytes(range(256)) * 1000,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "folder" / "empty").mkdir()
    return tmp_path / "folder"


@pytest.fixture(params=KINDS)
def packed(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    return pack(folder, tmp_path / request.param)


PLACES = [
    "", "lists", "lists/val.txt", "a b/Straße 日.JPEG", "empty", "missing", "lists/val.txt/x",
    "lists/missing/x", "./lists//val.txt", "deep/../lists/val.txt", "lists/", "deep/er",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_an_archive_is_as_its_folder(packed: Path, folder: Path, place: str) -> None:
    """The oracle is the system: the folder that was packed."""

    def facts(root: Path) -> list[object]:
        # Paths as text, as tables hold them.
        path = Path(f"{root}/{place}")
        found: list[object] = [
            ask(path)
            for ask in (
                data_files.is_file,
                data_files.is_dir,
                data_files.exists,
                data_files.lexists,
            )
        ]
        try:
            found.append(data_files.status(path).st_mode >> 12)
            if data_files.is_file(path):
                found.append(data_files.status(path).st_size)
        except OSError as error:
            found.append(type(error))
        for read in (data_files.read_bytes, lambda path: sorted(data_files.names_in(path))):
            try:
                found.append(read(path))
            except OSError as error:
                found.append(type(error))
        return found

    assert facts(packed) == facts(folder)


@pytest.mark.parametrize("pattern", ["*.txt", "*/val.txt", "lists/*.txt", "*/*", "deep/e?", "no/*"])
def test_patterns_match_the_same(packed: Path, folder: Path, pattern: str) -> None:
    found = [path.relative_to(packed) for path in data_files.matching(packed, pattern)]
    assert found == [path.relative_to(folder) for path in data_files.matching(folder, pattern)]


def test_entries_are_those_of_the_folder(packed: Path, folder: Path) -> None:
    def listed(root: Path) -> set[tuple[str, bool, bool, int]]:
        with data_files.entries(root) as found:
            return {
                (one.name, one.is_file(), one.is_dir(), one.is_file() and one.stat().st_size)
                for one in found
            }

    for place in ("", "lists", "deep", "empty"):
        assert listed(packed / place) == listed(folder / place)


def test_a_file_can_be_read_in_any_order(packed: Path) -> None:
    large = CONTENT["deep/er/large"]
    with data_files.opened(packed / "deep/er/large") as file:
        for start, length in [(200_000, 300), (0, 10), (255_999, 5), (70_000, 70_000), (0, 10**7)]:
            file.seek(start)
            assert file.read(length) == large[start : start + length]
            assert file.tell() == min(start + length, len(large))
        assert file.seek(-3, os.SEEK_END) == len(large) - 3
        assert file.read() == large[-3:]


def test_threads_and_forked_processes_do_not_disturb_each_other(packed: Path) -> None:
    """Files that share a position would read each other's bytes."""
    path, large = packed / "deep/er/large", CONTENT["deep/er/large"]
    wrong: list[int] = []

    def read() -> None:
        for _ in range(30):
            with data_files.opened(path) as file:
                pieces = iter(lambda: file.read(1000), b"")
                if b"".join(pieces) != large:
                    wrong.append(1)

    with data_files.opened(path) as file:
        begin = file.read(1000)
        child = os.fork()
        if not child:  # reads on in the file that its parent has opened, and others
            read()
            os._exit(bool(wrong) or begin + file.read() != large)
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        read()
        for thread in threads:
            thread.join()
        assert os.waitpid(child, 0)[1] == 0
    assert not wrong


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "data.zip" / "images.tar").mkdir(parents=True)
    (tmp_path / "data.zip" / "images.tar" / "1.txt").write_text("one")
    assert data_files.read_bytes(tmp_path / "data.zip/images.tar/1.txt") == b"one"
    archive_of(tmp_path / "data.zip" / "in.TAR", {"2.txt": b"two"})
    assert data_files.read_bytes(tmp_path / "data.zip/in.TAR/2.txt") == b"two"


def test_an_archive_may_be_linked_and_named_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_of(tmp_path / "a.tar", {"x/1.txt": b"one"})
    (tmp_path / "b.tar").symlink_to(tmp_path / "a.tar")
    monkeypatch.chdir(tmp_path)
    assert data_files.read_bytes(Path("b.tar/x/1.txt")) == b"one"
    assert existing(Path("a.tar/x"), "images") == tmp_path / "a.tar/x"


def test_nothing_leads_out_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = archive_of(tmp_path / "a.zip", {"x": b""})
    for place in ("../secret", "..", "x/../../secret"):
        assert not data_files.exists(archive / place)
        with pytest.raises(OSError, match="No such file"):
            data_files.opened(archive / place)


class TestExisting:
    def test_the_error_lists_what_the_archive_holds(self, packed: Path) -> None:
        with pytest.raises(DatasetError, match=r"root: no such file or folder: .*holds a b, deep"):
            existing(packed / "nothing", "root")
        with pytest.raises(DatasetError, match=r"exists and holds train.txt, val.txt"):
            existing(packed / "lists" / "nothing" / "deeper", "root")

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("a.tgz", "gunzip"), ("a.tar.gz", "gunzip"), ("a.tar.zst", "unzstd"),
            ("a.tar.bz2", "bunzip2"), ("a.TAR.XZ", "unxz"), ("a.7z", "unpack it"),
            ("a.rar", "unpack it"),
        ],
    )  # fmt: skip
    def test_compressed_archives_are_refused_with_advice(
        self, tmp_path: Path, name: str, advice: str
    ) -> None:
        (tmp_path / name).write_bytes(b"")
        for path in (tmp_path / name, tmp_path / name / "val"):
            with pytest.raises(DatasetError, match=rf"images: .*found .*; .*{advice}.* zip -0 -r"):
                existing(path, "images")

    @pytest.mark.parametrize("inner", ["b.zip", "x/b.tar", "b.tar.gz"])
    def test_archives_in_archives_are_refused(self, tmp_path: Path, inner: str) -> None:
        """Such as ILSVRC2012_img_train.tar, a tar file of 1,000 tar files."""
        archive = archive_of(tmp_path / "a.tar", {inner: b""})
        for place in (inner, f"{inner}/val"):
            with pytest.raises(DatasetError, match="archives in archives are not read: unpack it"):
                existing(archive / place, "images")

    def test_a_changed_archive_is_an_error_until_a_data_set_is_loaded_anew(
        self, tmp_path: Path
    ) -> None:
        archive = archive_of(tmp_path / "a.tar", {"1.txt": b"one", "2.txt": b"two"})
        path = existing(archive / "2.txt", "path")
        archive_of(archive, {"2.txt": b"TWO", "1.txt": b"ONE"})
        os.utime(archive, ns=(1, 1))
        reads = (data_files.opened, data_files.status, data_files.exists, data_files.read_bytes)
        for read in reads:
            with pytest.raises(DatasetError, match=r"a\.tar: expected the archive as it was"):
                read(path)
        assert data_files.read_bytes(existing(path, "path")) == b"TWO"

    def test_an_archive_that_changes_while_it_is_opened_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The opened file itself is looked at, which may be another than that of the path."""
        archive = archive_of(tmp_path / "a.tar", {"1.txt": b"one"})
        path, status = existing(archive / "1.txt", "path"), archive.stat()
        archive_of(archive, {"0.txt": b"", "1.txt": b"ONE"})
        monkeypatch.setattr(Path, "stat", lambda self, **_: status)
        with pytest.raises(DatasetError, match="was changed since"):
            data_files.opened(path)


# Functions of these names ask the disk, which knows no member of an archive.
_OF_THE_DISK = re.compile(
    r"\.(?:is_dir|is_file|exists|glob|rglob|iterdir|stat|read_bytes|read_text|open|lexists|listdir"
    r"|scandir|isfile|isdir|walk)\("
)
# What the package itself has written.
_OWN_FILES = {"shapes/loader.py"}


@pytest.mark.parametrize(
    "module", sorted((PACKAGE / "datasets").rglob("*.py")), ids=lambda path: path.name
)
def test_loaders_ask_for_files_only_here(module: Path) -> None:
    """A loader that asks ``Path`` or ``os`` would find nothing inside of an archive."""
    if module.relative_to(PACKAGE / "datasets").as_posix() in _OWN_FILES:
        return
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    texts = [ast.unparse(call.func) + "(" for call in calls]
    asked = [text for text in texts if _OF_THE_DISK.search(text)]
    of_others = [text for text in asked if not re.match(r"data_files\.|Image\.|entry\.", text)]
    assert of_others == [], "use wsol_bench.common.data_files"
