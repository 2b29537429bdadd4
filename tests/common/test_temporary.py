"""Temporary folders end with their process; of a killed process, a later one sweeps them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from wsol_bench.common import temporary
from wsol_bench.common.temporary import keep, own, sweep, temporary_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept on Windows")

# Makes a folder of its own and one of multiprocessing, and is killed at once, or waits.
CHILD = """
import multiprocessing.util, os, signal, sys
from pathlib import Path
from wsol_bench.common.temporary import own, temporary_folder
with temporary_folder() as folder:
    (folder / "data").write_text("data")
    sockets = Path(multiprocessing.util.get_temp_dir())
    own(sockets)
    print(folder, sockets, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path, monkeypatch):
    """An own folder of temporary files, which no process has swept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(temporary, "_swept", set())
    return tmp_path


def child(how):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def age(*folders, seconds=100.0):
    for folder in folders:
        then = folder.stat().st_mtime - seconds
        os.utime(folder, (then, then))


def swept_again(parent):
    temporary._swept.clear()
    sweep(parent)
    return sorted(path.name for path in parent.iterdir())


def test_a_folder_goes_at_the_end_and_after_an_error(parent):
    with temporary_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("x")
        assert folder.parent == parent
    assert list(parent.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), temporary_folder():
        raise KeyboardInterrupt
    assert list(parent.iterdir()) == []


def test_a_folder_that_is_kept_is_never_swept(parent):
    with temporary_folder() as folder:
        (folder / "file").write_text("x")
        keep(folder)
    age(folder)
    assert swept_again(parent) == [folder.name]


def test_what_a_killed_process_left_is_swept_once_it_is_old(parent):
    process = child("killed")
    output, _ = process.communicate(timeout=60)
    folders = [Path(word) for word in output.split()]
    assert [folder.name.partition("-")[0] for folder in folders] == ["wsol_bench", "pymp"]
    assert len(swept_again(parent)) == 2, "they are too young to be told from one being made"
    age(*folders)
    assert swept_again(parent) == []


def test_what_a_living_process_has_is_not_swept_however_old_it_is(parent):
    with child("waits") as process:
        folders = [Path(word) for word in process.stdout.readline().split()]
        age(*folders, seconds=1e7)
        shutil.copytree(folders[0], parent / "copy")  # which reads the lock's file
        shutil.rmtree(parent / "copy")
        assert len(swept_again(parent)) == 2
        process.communicate("", timeout=60)
    assert process.returncode == 0
    assert list(parent.iterdir()) == []


def test_ones_own_folder_is_not_swept_even_if_it_was_read(parent):
    with temporary_folder() as folder:
        shutil.copytree(folder, parent / "copy")
        shutil.rmtree(parent / "copy")
        age(folder)
        assert swept_again(parent) == [folder.name]


def test_the_folders_of_others_are_left_alone(parent, monkeypatch):
    """Multiprocessing's of other programs, files, links, and whatever has another name."""
    for name in ("pymp-abc", "wsol_bench-results", "wsol_bench-empty", "other"):
        (parent / name).mkdir()
        (parent / name / "file").write_text("x")
    (parent / "wsol_bench-empty/file").unlink()
    (parent / "wsol_bench-file").write_text("x")
    (parent / "wsol_bench-link").symlink_to(parent / "other")
    age(*parent.iterdir())
    left = ["other", "pymp-abc", "wsol_bench-file", "wsol_bench-link", "wsol_bench-results"]
    assert swept_again(parent) == left
    assert (parent / "other/file").exists()


def test_the_folder_of_another_user_is_left_alone(parent, monkeypatch):
    with temporary_folder() as folder:
        content = shutil.copytree(folder, parent / "wsol_bench-theirs")
    age(content)
    monkeypatch.setattr(os, "getuid", lambda: content.stat().st_uid + 1)
    assert swept_again(parent) == ["wsol_bench-theirs"]
    monkeypatch.undo()
    assert swept_again(parent) == []


def test_only_temporary_folders_are_owned(parent):
    (parent / "precious").mkdir()
    own(parent / "precious")
    assert list((parent / "precious").iterdir()) == []
