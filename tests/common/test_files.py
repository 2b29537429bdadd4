"""Files that are there whole or not at all, and locks that end with their holder."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from wsol_bench.common import files
from wsol_bench.common.files import locked, require_regular, write_atomically


class TestWriteAtomically:
    def test_writes_also_where_there_is_no_folder_yet(self, tmp_path):
        write_atomically(tmp_path / "a/b/file", b"content")
        assert (tmp_path / "a/b/file").read_bytes() == b"content"
        assert os.listdir(tmp_path / "a/b") == ["file"]

    def test_a_write_that_fails_half_way_leaves_the_old_content_and_nothing_else(self, tmp_path):
        write_atomically(tmp_path / "file", b"old")
        with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
            write_atomically(tmp_path / "file", b"new" * 1000)
        assert (tmp_path / "file").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]

    def test_writes_pieces_one_after_the_other(self, tmp_path):
        write_atomically(tmp_path / "file", (bytes([i]) for i in b"content"))
        assert (tmp_path / "file").read_bytes() == b"content"

    @pytest.mark.parametrize("error", [ValueError("odd"), FileNotFoundError(2, "gone", "image")])
    def test_a_piece_that_fails_leaves_the_old_content_and_its_own_error(self, error, tmp_path):
        def pieces():
            yield b"new"
            raise error

        write_atomically(tmp_path / "file", b"old")
        with pytest.raises(type(error)) as raised:
            write_atomically(tmp_path / "file", pieces())
        assert raised.value is error
        assert (tmp_path / "file").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]

    def test_an_interrupted_write_leaves_the_old_content_and_nothing_else(
        self, tmp_path, monkeypatch
    ):
        """Ctrl-C while the disk is waited for."""

        def interrupted(descriptor):
            raise KeyboardInterrupt

        write_atomically(tmp_path / "file", b"old")
        monkeypatch.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]

    def test_the_content_is_on_the_disk_before_the_name_is(self, tmp_path, monkeypatch):
        """A power failure never leaves the file's name without its content."""
        seen = []

        def synced(descriptor):
            seen.append((os.fstat(descriptor).st_size, (tmp_path / "file").exists()))

        monkeypatch.setattr("os.fsync", synced)
        write_atomically(tmp_path / "file", b"content")
        assert (7, False) in seen

    def test_an_error_names_the_file(self, tmp_path):
        """All that the command line has to show: "Error: ..."."""
        with files_of_at_most(1000), pytest.raises(OSError, match="File too large") as error:
            write_atomically(tmp_path / "maps.parquet", b"new" * 1000)
        assert "maps.parquet" in str(error.value)


HOLDER = """
import os, sys, time
from pathlib import Path
from wsol_bench.common import files

files._take = getattr(files, sys.argv[2])
with files.locked(Path(sys.argv[1]), "process 7 on a machine"):
    if not os.fork():  # as the processes that decode images are made
        # The child itself says that it lives: only then has filelock closed its copy of the lock.
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


@contextmanager
def holder_of(path):
    """Another process that holds the lock, and the id of a child that it forked meanwhile."""
    command = [sys.executable, "-c", HOLDER, str(path), files._take.__name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


def take(path):
    with locked(path, "me"):
        return path.read_text()


def is_alive(pid):
    os.kill(pid, 0)
    return True


@pytest.fixture(params=["_take", "_take_with_filelock"])
def way(request, monkeypatch):
    """This system's way to lock, and that of Windows, which here is filelock's of this system."""
    monkeypatch.setattr(files, "_take", getattr(files, request.param))


@pytest.mark.usefixtures("way")
class TestLocked:
    def test_another_process_is_refused_with_the_holders_words_until_it_is_killed(self, tmp_path):
        path = tmp_path / "lock"
        with holder_of(path) as (process, child):
            for _ in range(2):  # who asks does not take it away
                with pytest.raises(BlockingIOError, match="process 7 on a machine"):
                    take(path)
            process.kill()
            process.wait()
            assert is_alive(child)  # it has the file open, but not the lock
            assert take(path) == "me"

    def test_is_free_after_the_block_also_after_an_error(self, tmp_path):
        path = tmp_path / "lock"
        with pytest.raises(ZeroDivisionError), locked(path, "somebody with a long name"):
            raise ZeroDivisionError
        code = (
            "import sys; from pathlib import Path; from wsol_bench.common import files\n"
            "files._take = getattr(files, sys.argv[2])\n"
            "with files.locked(Path(sys.argv[1]), 'next'): pass"
        )
        command = [sys.executable, "-c", code, str(path), files._take.__name__]
        subprocess.run(command, check=True)
        assert path.read_text() == "next"

    def test_within_one_process_it_is_held_once(self, tmp_path):
        path = tmp_path / "lock"
        with locked(path, "me"):
            with pytest.raises(BlockingIOError, match="this process"):
                take(path)
            with pytest.raises(BlockingIOError, match="this process"):  # still
                take(tmp_path / "." / "lock")
        assert take(path) == "me"


def test_on_windows_the_lock_is_that_of_filelock():
    """The module, imported anew with sys.platform set to win32, chooses filelock's lock."""
    code = (
        "import sys; sys.platform = 'win32'\n"
        "from wsol_bench.common import files\n"
        "assert files._take is files._take_with_filelock and not hasattr(files, 'fcntl')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestRequireRegular:
    def test_a_file_passes_and_a_link_to_one(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "link").symlink_to("file")
        require_regular(tmp_path / "file")
        require_regular(tmp_path / "link")

    def test_what_could_hang_or_never_end_is_refused_unopened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path, kind in ((tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device")):
            with pytest.raises(OSError, match=f"expected a regular file, found {kind}"):
                require_regular(path)
        with pytest.raises(OSError, match="found a folder"):
            require_regular(tmp_path)
        with pytest.raises(FileNotFoundError):
            require_regular(tmp_path / "nothing")
