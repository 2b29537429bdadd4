"""The manifest of a run: one typed record, written when the run begins and read once.

It holds the run's identity, and when and where the run was made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from wsol_bench import __version__
from wsol_bench.errors import RunError
from wsol_bench.runs.facts import Facts
from wsol_bench.runs.identity import Identity

__all__ = ["FORMAT", "Manifest", "Session", "read_manifest"]

# The format of a run folder; it is raised when an older reader would misread the folder.
FORMAT = 2


class Session(Facts):
    """A process that worked on a run.

    Attributes:
        started: when the process began its work.
        ended: when it ended; None if it was interrupted.
        host: the name of its machine.
        engine, device, threads, ...: what the engine records of where the work is done.
        parts: the number of parts that it evaluated; None if it was interrupted.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    started: str
    host: str
    engine: str
    ended: str | None = None
    parts: int | None = None


class Manifest(Facts):
    """The record of a run.

    Attributes:
        format: the format of the folder.
        version: the version of this package that wrote it.
        identity: everything that decides the run's numbers.
        started: when the run began.
        finished: when the run was finished; None before that.
        failed: why the run ended without being finished.
        sessions: the processes that worked on it.
    """

    format: int = FORMAT
    version: str
    identity: Identity
    started: str
    finished: str | None = None
    failed: str | None = None
    sessions: tuple[Session, ...] = ()

    @classmethod
    def begin(cls, identity: Identity, started: str) -> "Manifest":
        """The manifest of a new run."""
        return cls(version=__version__, identity=identity, started=started)


def read_manifest(path: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        RunError: the manifest cannot be read, or another version of this package wrote it in
            another format; the message says which version, and what to do.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise RunError(f"{path} is no run folder: it holds no manifest.json")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} cannot be read: expected a mapping, found {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise RunError(_of_another_format(path, content))
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise RunError(f"{file} cannot be read: {key}: {first['msg']}") from error


def _of_another_format(path: Path, content: Mapping[str, Any]) -> str:
    """The message about a manifest of another format: who wrote it, and what to do."""
    if "deleted" in content:
        return (
            f"{path} holds a run whose deletion was interrupted; delete the folder, or run an "
            "experiment there again"
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
