"""The manifest of a run: one typed record, written when the run begins and read once.

It holds the run's identity, and when and where the run was made.
"""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from wsol_bench import __version__
from wsol_bench.common.files import digest, write_atomically
from wsol_bench.common.validation_errors import plain_words
from wsol_bench.errors import RunError
from wsol_bench.runs.facts import Facts, PassSettings
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.run_folders import FORMAT, MANIFEST, require_run

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Manifest",
    "OtherFormatError",
    "Session",
    "is_deleted",
    "is_replaced",
    "mark_deleted",
    "mark_replaced",
    "read_manifest",
    "write_manifest",
]

# The key of the manifest's own checksum in it.
_CHECKSUM = "checksum"


class Session(Facts):
    """A process that worked on a run.

    Attributes:
        started: when the process began its work.
        ended: when it ended; None if it was interrupted.
        host: the name of its machine.
        engine, device, threads, ...: what the engine records of where the work is done.
        parts: the number of parts that it evaluated; None if it was interrupted.
        settings: the settings of each model's passes there, by the model's name in the results.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    started: str
    host: str
    engine: str
    ended: str | None = None
    parts: int | None = None
    settings: dict[str, PassSettings] = Field(default_factory=dict)


class Manifest(Facts):
    """The record of a run.

    Attributes:
        format: the format of the folder.
        version: the version of this package that wrote it.
        id: the name that the list of the run's files (``runs.checksums``) knows it by.
        identity: everything that decides the run's numbers.
        started: when the run began.
        finished: when the run was finished; None before that.
        failed: why the run ended without being finished.
        sessions: the processes that worked on it.
    """

    format: int = FORMAT
    version: str
    id: str
    identity: Identity
    started: str
    finished: str | None = None
    failed: str | None = None
    sessions: tuple[Session, ...] = ()

    def settings_like(self, now: Session) -> dict[str, PassSettings]:
        """The latest settings of each model in earlier sessions of the same machine and engine.

        Args:
            now: a new session.
        """

        def place(session: Session) -> tuple[object, ...]:
            return session.host, session.engine, (session.model_extra or {}).get("device")

        return {
            model: settings
            for session in self.sessions
            if place(session) == place(now)
            for model, settings in session.settings.items()
        }

    @classmethod
    def begin(cls, identity: Identity, started: str) -> "Manifest":
        """The manifest of a new run."""
        return cls(version=__version__, id=uuid.uuid4().hex, identity=identity, started=started)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest of a run folder, with a checksum of what it says.

    Raises:
        OSError: the file cannot be written.
    """
    content = json.loads(manifest.model_dump_json())
    content[_CHECKSUM] = _checksum(content)
    write_atomically(path / MANIFEST, json.dumps(content, indent=2).encode())


class OtherFormatError(RunError):
    """A run folder was written by another version of this package, in another format."""


def read_manifest(path: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        OtherFormatError: another version of this package wrote it; the message says which version,
            and what to do.
        RunError: the manifest is missing, cannot be read, or has changed since it was written.
    """
    require_run(path)
    file = path / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}; {_ADVICE}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise RunError(f"{file} cannot be read: expected a mapping, found {found}; {_ADVICE}")
    if not content:
        raise RunError(f"{file} is empty; {_ADVICE}")
    if content.get("format") != FORMAT:
        raise OtherFormatError(_of_another_format(path, content))
    if content.pop(_CHECKSUM, None) != _checksum(content):
        reason = "has changed since the run wrote it (its checksum differs)"
        raise RunError(f"{file} {reason}; {_ADVICE}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise RunError(f"{file} cannot be read: {key}: {plain_words(first)}; {_ADVICE}") from error


_DELETED, _REPLACED = {"deleted": True}, {"replaced": True}


def mark_deleted(path: Path) -> None:
    """Write a manifest which says that the run in a folder is being deleted."""
    write_atomically(path / MANIFEST, json.dumps(_DELETED).encode())


def mark_replaced(path: Path) -> None:
    """Write a manifest which says that a longer run takes the place of the one in a folder."""
    write_atomically(path / MANIFEST, json.dumps(_REPLACED).encode())


def is_deleted(path: Path) -> bool:
    """Return whether the run in a folder was being deleted when that was interrupted."""
    return _says(path, _DELETED)


def is_replaced(path: Path) -> bool:
    """Return whether a longer run was taking the place of the one in a folder."""
    return _says(path, _REPLACED)


def _says(path: Path, content: Mapping[str, bool]) -> bool:
    file = path / MANIFEST
    try:
        return file.is_file() and bool(json.loads(file.read_bytes()) == content)
    except (OSError, ValueError, RecursionError):  # reported when the manifest is read
        return False


_ADVICE = "copy the folder again, or run the experiment in another folder (--out)"


def _checksum(content: Mapping[str, Any]) -> str:
    """The digest of a manifest's values, whatever their order and layout in the file."""
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _of_another_format(path: Path, content: Mapping[str, Any]) -> str:
    """The message about a manifest of another format: who wrote it, and what to do."""
    if "deleted" in content:
        return (
            f"{path} holds a run whose deletion was interrupted; delete the folder, or run an "
            "experiment there again"
        )
    if "replaced" in content:
        return (
            f"{path} holds a run that was being extended to more images when its last step was "
            "interrupted; run the same command again, which takes a second"
        )
    written = content.get("version") or (content.get("versions") or {}).get("wsol-bench")
    writer = (
        f"wsol_bench {written}" if isinstance(written, str) else "another version of wsol_bench"
    )
    advice = "Run the experiment again (--force writes in its place)"
    if isinstance(written, str) and written != __version__:
        advice += f", or read it with that version: pip install wsol-bench=={written}"
    return (
        f"{path} was written by {writer} in format {content.get('format', 1)}; this is wsol_bench "
        f"{__version__}, which reads format {FORMAT}. {advice}"
    )
