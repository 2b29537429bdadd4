"""Temporary folders that end with their process; what a killed process left is swept later.

A process holds a lock inside each of its folders, which the system takes back when the process
ends, however it ends. So a folder of this user whose lock is free belongs to nobody.
"""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["PREFIX", "keep", "own", "sweep", "temporary_folder"]

PREFIX = "wsol_bench-"
# ``pymp-`` are folders of Python's multiprocessing, in which decoding processes hand over tensors.
# Only those that this package owns hold its lock.
_PREFIXES = (PREFIX, "pymp-")
_LOCK = ".wsol_bench_owner"
# A folder appears before its lock does, so a folder this young may be one that is being made.
_YOUNG_S = 60.0

# Windows does not delete a file that is open, and tells nobody who owns a folder.
_HAS_OWNERS = sys.platform != "win32"

_swept: set[Path] = set()
_owned: dict[Path, ExitStack] = {}


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that is deleted at the end, unless it is given to ``keep``.

    Args:
        parent: the folder to make it in; by default the system's folder of temporary files. What
            killed processes left there is deleted first.
    """
    parent = parent or Path(tempfile.gettempdir())
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with _locked(folder):
            yield folder
    finally:
        if (folder / _LOCK).exists():
            shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path) -> None:
    """Keep a folder of ``temporary_folder``: neither this process nor a later one deletes it."""
    (folder / _LOCK).unlink(missing_ok=True)


def own(folder: Path) -> None:
    """Hold the lock of a temporary folder as long as this process lives, for what deletes it."""
    if not _HAS_OWNERS or folder in _owned or not folder.name.startswith(_PREFIXES):
        return
    sweep(folder.parent)
    _owned[folder] = ExitStack()
    with contextlib.suppress(OSError):  # a file system without locks: the folder is not swept
        _owned[folder].enter_context(_locked(folder))


def sweep(parent: Path) -> None:
    """Delete the temporary folders that killed processes of this user left; once a process."""
    if not _HAS_OWNERS or parent in _swept:
        return
    _swept.add(parent)
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIXES):
                with contextlib.suppress(OSError):
                    _sweep(Path(entry.path))


def _sweep(folder: Path) -> None:
    """Delete a folder if it is this user's and nobody holds its lock; OSError if it is not."""
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not ours or time.time() - status.st_mtime < _YOUNG_S:
        return
    if not (folder / _LOCK).is_file():
        if folder.name.startswith(PREFIX):
            folder.rmdir()  # its process was killed before it took the lock; fails if not empty
        return
    with _locked(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; OSError if a process holds it.

    It is a lock of flock: unlike a POSIX record lock (``files.locked``) it is not lost when this
    process reads the file by chance, as when it copies the folder. A forked process inherits it,
    so at worst a folder is kept for longer.
    """
    with (folder / _LOCK).open("a") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
