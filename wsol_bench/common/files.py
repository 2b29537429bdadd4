"""Regular files, written whole or not at all; their digests and locks, and the cache folder."""

import errno
import hashlib
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from wsol_bench.common import data_files
from wsol_bench.errors import ConfigError, DatasetError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "cache_folder",
    "contents",
    "digest",
    "existing",
    "link",
    "locked",
    "require_regular",
    "require_writable",
    "require_writable_folder",
    "write_atomically",
]

_SPECIAL = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

_held: set[Path] = set()
_held_lock = threading.Lock()


def digest(content: bytes) -> str:
    """The digest of bytes, as a run's identity holds it: 16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def require_regular(path: Path) -> None:
    """Raise OSError unless a regular file is at ``path``; nothing is opened.

    To open a pipe waits for a writer without end, and to read a device may never end.

    Raises:
        OSError: no file exists there (FileNotFoundError), or it is a folder, a pipe, a socket or a
            device.
    """
    mode = data_files.status(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _SPECIAL.items() if test(mode)), "something else")
        raise OSError(errno.EINVAL, f"expected a regular file, found {kind}", str(path))


def existing(path: Path, option: str) -> Path:
    """The absolute path of a file or folder that must exist, on the disk or inside of an archive.

    Args:
        path: path to check.
        option: name of the option that the path comes from, for the error message.

    Raises:
        DatasetError: the path does not exist; the message lists what its parent folder holds. Or
            it leads to an archive that cannot be read in place.
    """
    path = Path(path).expanduser().absolute()
    data_files.require_usable(path, option)
    if not data_files.exists(path):
        parent = next(folder for folder in path.parents if data_files.exists(folder))
        raise DatasetError(
            f"{option}: no such file or folder: {path}; {parent} exists and holds "
            f"{contents(parent)}"
        )
    return path


def contents(folder: Path) -> str:
    """The first names in a folder, as text for people; hidden files come last."""
    if not data_files.is_dir(folder):
        return "a file"
    names = sorted(data_files.names_in(folder), key=lambda name: (name.startswith("."), name))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "nothing") + more


def cache_folder() -> Path:
    """The folder of parsed annotations and of the embedded data set.

    The folder is ``$WSOL_BENCH_CACHE``, or else in the user's cache folder. It can be deleted at
    any time.
    """
    import platformdirs

    configured = os.environ.get("WSOL_BENCH_CACHE")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("wsol_bench"))


def require_writable(file: Path, option: str = "--out") -> None:
    """Raise ConfigError unless a file can be written: this is told before the work, not after."""
    advice = f"name another file with {option}"
    if file.is_dir():
        raise ConfigError(f"{file}: expected a file to write, found a folder; {advice}")
    _require_place(file.parent, f"{file} cannot be written", advice)


def require_writable_folder(folder: Path) -> None:
    """Raise ConfigError unless files can be written to a folder, which need not exist yet."""
    _require_place(folder, f"{folder} cannot be written to", "choose another folder with --out")


def _require_place(folder: Path, what: str, advice: str) -> None:
    """Raise ConfigError unless files can be written to a folder.

    It is not created: a command that fails later leaves no empty folder.
    """
    try:
        above = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise ConfigError(f"{what}: {error.strerror or error}; {advice}") from error


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file whole or not at all, even if the power fails meanwhile.

    A large content is given in pieces, which are made while they are written.

    Raises:
        OSError: the file cannot be written; the error holds the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())  # else the name may reach the disk before the content
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != temporary:
            raise  # of another file, from which a piece is made
        # The error of a full disk does not name the file.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def link(old: Path, new: Path) -> bool:
    """Make ``new`` a hard link to the file ``old``; False if the disk does not allow it."""
    new.parent.mkdir(parents=True, exist_ok=True)
    new.unlink(missing_ok=True)
    try:
        os.link(old, new)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, so that files appear there in the order written."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock on a file; the lock ends with the process, even if the process is killed.

    The processes that decode images do not inherit the lock, so it does not outlive a killed run.
    On a shared file system that supports such locks, it also locks out other machines.

    Args:
        path: path of the lock file, which stays.
        holder: text about this process, for the error that other processes get meanwhile.

    Raises:
        BlockingIOError: another process holds the lock; the message is its ``holder``.
        OSError: the file system has no locks.
    """
    lock_file = path.resolve()
    with _held_lock:  # the system's lock does not lock out this process itself
        if lock_file in _held:
            raise BlockingIOError("this process")
        _held.add(lock_file)
    try:
        with path.open("a+") as file:
            try:
                lock = _take(file)
            except (BlockingIOError, PermissionError) as error:
                file.seek(0)
                raise BlockingIOError(file.read().strip() or "another process") from error
            with lock:
                file.truncate(0)
                file.write(holder)
                file.flush()
                yield
    finally:
        _held.remove(lock_file)


def _take_with_filelock(file: TextIO) -> AbstractContextManager[object]:
    """Take a lock beside the file: Windows lets no other process read a file that is locked."""
    from filelock import FileLock, Timeout

    try:
        return FileLock(f"{file.name}.held").acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError from error


if sys.platform == "win32":
    _take = _take_with_filelock
else:

    def _take(file: TextIO) -> AbstractContextManager[object]:
        """Take a POSIX record lock, which ends when the file is closed.

        The package filelock uses flock instead: forked processes inherit such a lock unless a hook
        of filelock closes their copy, and on GPFS it holds on one machine only, while a record lock
        holds on all machines.
        """
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return nullcontext()
