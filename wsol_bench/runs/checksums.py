"""The checksums of a run's files: what the run has written, and whether a file is still that.

The list is a text file in the format of ``sha256sum --check``, which can verify a run folder
without this package. A file counts as written once its line is in the list, so a process that is
killed while it writes leaves nothing that counts.
"""

import hashlib
import os
import re
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from wsol_bench.common.files import require_regular, write_atomically
from wsol_bench.errors import RunError

__all__ = ["ADVICE", "CHECKSUMS", "Checksums", "sha256"]

# The name of the list in a run's folder.
CHECKSUMS = "checksums.sha256"

# What to do about files that are missing or damaged.
ADVICE = (
    "copy it again if this folder is a copy, or run the same experiment in this folder again, "
    "which evaluates missing and damaged parts anew"
)

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[\w./-]+)")


def sha256(content: bytes) -> str:
    """The SHA-256 digest of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class Checksums:
    """The checksums of the files in a run's folder.

    Lines that are torn or damaged do not count: their files are like files that are not there yet.

    Args:
        folder: the run's folder.
        run: a digest of what the run is; the list begins with it.

    Raises:
        RunError: the list cannot be read, or is that of another run.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._head = f"# run {run}"
        self._file = folder / CHECKSUMS
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        self._is_whole = False
        try:
            require_regular(self._file)
            text = self._file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"{self._file} cannot be read: {error}") from error
        head, _, _ = text.partition("\n")
        if head != self._head and head.startswith("# run "):
            raise RunError(
                f"{self._file} lists the files of another run than manifest.json describes: the "
                "parts do not belong to the manifest. Copy the whole folder again, or run the "
                "experiment anew (--force deletes what is in the folder)"
            )
        *whole, rest = text.split("\n")[1:] or [""]  # the name in a torn line may lack its end
        lines = [_LINE.fullmatch(line) for line in whole]
        self._digests = {line["name"]: line["digest"] for line in lines if line}
        self._is_whole = not rest and head == self._head and all(lines)

    def __contains__(self, name: str) -> bool:
        return name in self._digests

    def __getitem__(self, name: str) -> str:
        return self._digests[name]

    def add(self, digests: Mapping[str, str]) -> None:
        """Record files that are written; they count from here on.

        Args:
            digests: the SHA-256 digest of each file, by its path in the folder.

        Raises:
            OSError: the list cannot be written.
        """
        with self._lock:
            new = {name: value for name, value in digests.items() if self._get(name) != value}
            if any(name in self._digests for name in new) or not self._is_whole:
                self._replace(self._digests | new)
            elif new:
                self._is_whole = False  # a disk that is full may take half a line
                with self._file.open("a", encoding="ascii") as file:
                    file.write(_text(new))
                    file.flush()
                    os.fsync(file.fileno())
                self._digests, self._is_whole = self._digests | new, True

    def forget(self, names: Collection[str]) -> None:
        """Take files off the list, since they are about to be written anew."""
        with self._lock:
            left = {name: value for name, value in self._digests.items() if name not in names}
            if len(left) < len(self._digests):
                self._replace(left)

    def _get(self, name: str) -> str | None:
        return self._digests.get(name)

    def _replace(self, digests: dict[str, str]) -> None:
        write_atomically(self._file, f"{self._head}\n{_text(digests)}".encode("ascii"))
        self._digests, self._is_whole = digests, True

    def content(self, name: str) -> bytes:
        """The content of a file, which is what the run wrote.

        Raises:
            RunError: the file is not on the list, is missing, or is damaged.
        """
        file = self._folder / name
        try:
            require_regular(file)
            content = file.read_bytes()
        except FileNotFoundError:
            raise RunError(f"{file} is missing; {ADVICE}") from None
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error}") from error
        if name not in self._digests:
            raise RunError(f"{file} has no checksum in {CHECKSUMS}; {ADVICE}")
        if sha256(content) != self._digests[name]:
            raise RunError(
                f"{file} is damaged: its content is not what the run wrote (its SHA-256 differs "
                f"from {CHECKSUMS}); {ADVICE}"
            )
        return content

    def is_sound(self, name: str) -> bool:
        """Return whether a file is there and is what the run wrote."""
        try:
            self.content(name)
        except RunError:
            return False
        return True


def _text(digests: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())
