"""The run folder: the only place where results are written and read.

<folder>/manifest.json          the run's identity and history (``runs.manifest``)
<folder>/config.yaml            the resolved experiment
<folder>/classes.parquet        wnid, words and ILSVRC2012_ID of the data set's classes
<folder>/selection.parquet      accuracies of the run that thresholds are selected on, if any
<folder>/{images,rows,curves,maps,costs}/    one Parquet file a part, written whole or not at all
<folder>/checksums.sha256       the files that are written, with their digests (``runs.checksums``)
<folder>/tables/                tables derived from the above
"""

import logging
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from wsol_bench.common.files import link, locked, write_atomically
from wsol_bench.common.harmless import csv_text
from wsol_bench.common.progress import progress
from wsol_bench.errors import RunError
from wsol_bench.runs.checksums import CHECKSUMS, sha256
from wsol_bench.runs.facts import PassSettings
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.manifest import (
    MANIFEST,
    Manifest,
    OtherFormatError,
    Session,
    is_deleted,
    mark_deleted,
    read_manifest,
    write_manifest,
)
from wsol_bench.runs.run_folders import EXTENSION, VARIED, other_run, require_run_or_nothing
from wsol_bench.runs.schema import CLASSES, SELECTION, Tables
from wsol_bench.runs.stored_run import (
    CLASSES_FILE,
    CONFIG_FILE,
    PART_TABLES,
    REPORT,
    SELECTION_FILE,
    StoredRun,
    files_of_part,
)
from wsol_bench.runs.table_files import to_parquet

__all__ = ["RunFolder", "alone", "delete", "make_folder", "require_not_above"]

logger = logging.getLogger(__name__)

_LOCK = ".lock"
# Fewer parts are read in about a second: no progress is shown.
_MANY = 100
# All folders that a run may hold.
_FOLDERS = (*PART_TABLES, "tables", "figures", "predictions", "rescored")


class RunFolder(StoredRun):
    """A run on disk that is being written; ``RunFolder.writing`` starts or continues one."""

    @classmethod
    @contextmanager
    def writing(
        cls,
        path: Path,
        identity: Identity,
        config: Mapping[str, Any],
        classes: pd.DataFrame,
        *,
        selection: pd.DataFrame | None = None,
        force: bool = False,
    ) -> Iterator["RunFolder"]:
        """Start a run, or continue the one in the folder; no other process can meanwhile.

        Args:
            path: the folder: new, empty, or with a run of the same identity.
            identity: everything that decides the numbers.
            config: the resolved experiment, with the keys that decide no number.
            classes, selection: the tables of these names; None if no thresholds are selected on
                another run.
            force: whether to delete the run in the folder first.

        Raises:
            RunError: the folder holds something else, or a run of another identity; another
                process writes there; or a file cannot be written.
        """
        make_folder(path)
        require_run_or_nothing(path)
        if not force and (whole := cls._whole(path, identity)) is not None:
            yield whole  # nothing is to be written, and the disk may be read-only
            return
        with alone(path):
            try:
                folder = cls._prepared(path, identity, force=force)
                folder._begin(config, classes, selection)
                yield folder
            except OSError as error:  # for example a full disk
                without = ", without --force" if force else ""
                raise RunError(
                    f"{error}. {path} keeps the finished parts; run the same command again"
                    f"{without} to continue there"
                ) from error

    @classmethod
    def _whole(cls, path: Path, identity: Identity) -> "RunFolder | None":
        """The finished run in a folder, of which nothing is missing; None if there is none.

        Raises:
            RunError: the folder holds a run of another identity.
        """
        if not (path / MANIFEST).is_file() or is_deleted(path):
            return None
        if read_manifest(path).finished is None:
            return None
        folder = cls._of(path, identity)
        return folder if folder.is_whole else None

    @cached_property
    def done(self) -> set[int]:
        """The numbers of the parts that were done when this process began.

        All files of these parts are read, and are what the run wrote.
        """
        written = self.written_parts()

        def is_sound(number: int) -> bool:
            return all(map(self.checksums.is_sound, files_of_part(number)))

        many = len(written) >= _MANY
        bar = progress("checking", len(written), "parts") if many else nullcontext(lambda n: None)
        with bar as advance, ThreadPoolExecutor(pa.cpu_count()) as readers:
            sound = set()
            for number, right in zip(written, readers.map(is_sound, written), strict=True):
                sound |= {number} if right else set()
                advance(1)
        return sound

    @property
    def is_whole(self) -> bool:
        """True if the run is finished, and all of its files are what the run wrote."""
        return (
            self.manifest.finished is not None
            and set(self.identity.part_numbers) <= self.done
            and all(map(self.checksums.is_sound, (CONFIG_FILE, *self.described_by)))
        )

    @classmethod
    def _prepared(cls, path: Path, identity: Identity, *, force: bool) -> "RunFolder":
        """Bring the folder into the state of a run that can be written; see ``writing``."""
        has_run = (path / MANIFEST).is_file()
        if has_run and (force or is_deleted(path)):
            # If this is interrupted, the folder holds no run and is cleared the next time.
            mark_deleted(path)
            has_run = False
            for name in (*_FOLDERS, EXTENSION, VARIED, SELECTION_FILE, CHECKSUMS, REPORT):
                delete(path / name)
        if not has_run:
            write_manifest(path, Manifest.begin(identity, _now()))
        return cls._of(path, identity)

    @classmethod
    def _of(cls, path: Path, identity: Identity) -> "RunFolder":
        """The run in a folder; RunError, with what differs, if it has another identity."""
        manifest = read_manifest(path)
        if changed := manifest.identity.changed(identity):
            raise other_run(path, changed)
        folder = cls(path)
        completed = manifest.identity.completed(identity)
        if manifest.finished is None and completed != manifest.identity:
            folder.update(identity=completed)  # with what the run did not know of itself before
        return folder

    def _begin(
        self, config: Mapping[str, Any], classes: pd.DataFrame, selection: pd.DataFrame | None
    ) -> None:
        """Make a run that lacks files one that is not finished, and write what describes it."""
        files = {CLASSES_FILE: (CLASSES, classes)}
        if selection is not None:
            files[SELECTION_FILE] = (SELECTION, selection)
        is_finished = self.manifest.finished is not None
        expected = self.identity.part_numbers if is_finished else self.written_parts()
        if lacking := [str(number) for number in expected if number not in self.done]:
            more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
            logger.warning(
                "%s: files of part %s%s are missing or damaged; these parts are made again",
                self.path, ", ".join(lacking[:8]), more,
            )  # fmt: skip
        if is_finished:
            self.update(finished=None)
        for folder in (self.path, *(self.path / name for name in (*PART_TABLES, "tables"))):
            for leftover in folder.glob(".*.tmp"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
        # These follow the manifest, since a folder without a manifest holds no run.
        text = yaml.safe_dump(dict(config), sort_keys=False)
        self._write([CONFIG_FILE], [text.encode()])
        self._write(list(files), (to_parquet(*table) for table in files.values()))

    @classmethod
    def unfinished(cls, parent: Path, identity: Identity) -> Path | None:
        """The newest unfinished run of this identity below ``parent``; None for no such run."""
        for file in sorted(parent.glob("*/manifest.json"), reverse=True):
            try:
                manifest = read_manifest(file.parent)
            except OtherFormatError:
                continue
            except RunError as error:  # it may be this very run
                logger.warning("%s is passed over: %s", file.parent, error)
                continue
            if manifest.finished is None and not manifest.identity.changed(identity):
                return file.parent
        return None

    def update(self, **changes: Any) -> None:
        """Set fields of the manifest."""
        self.manifest = self.manifest.model_copy(update=changes)
        write_manifest(self.path, self.manifest)

    def begin_session(self, **facts: Any) -> dict[str, PassSettings]:
        """Record that this process begins to work on the run.

        Args:
            facts: the fields of ``Session`` that the engine knows.

        Returns:
            The settings with which this machine has worked on the run before, by model.
        """
        session = Session(started=_now(), host=socket.gethostname(), **facts)
        before = self.manifest.settings_like(session)
        self.update(sessions=(*self.manifest.sessions, session))
        return before

    def note_settings(self, settings: Mapping[str, PassSettings]) -> None:
        """Record the settings of models' passes in this process, unless they are recorded."""
        *before, last = self.manifest.sessions
        if settings != last.settings:
            now = last.model_copy(update={"settings": dict(settings)})
            self.update(sessions=(*before, now))

    def end_session(self, n_parts: int) -> None:
        """Record that this process has ended its work, and how many parts it evaluated."""
        *before, last = self.manifest.sessions
        ended = last.model_copy(update={"ended": _now(), "parts": n_parts})
        self.update(sessions=(*before, ended))

    def write_part(self, number: int, tables: Tables) -> None:
        """Write the tables of one part; older tables of the part are replaced."""
        contents = (to_parquet(self.tables[name], getattr(tables, name)) for name in PART_TABLES)
        self._write(files_of_part(number), contents)

    def link_part(self, number: int, other: StoredRun, number_there: int | None = None) -> None:
        """Take a part of another run, as a hard link if the disk allows it, or as a copy.

        Args:
            number: the number of the part in this run.
            other: the other run.
            number_there: its number in the other run; None if that is the same.

        Raises:
            RunError: a file of the part is missing or damaged.
        """
        names = files_of_part(number if number_there is None else number_there)
        linked = [other.path / name for name in names]
        self._write(files_of_part(number), map(other.checksums.content, names), linked)

    def _write(
        self, names: Sequence[str], contents: Iterable[bytes], linked: Sequence[Path] = ()
    ) -> None:
        """Write files of the run, which count once all of them are written.

        Args:
            names: the files, as paths in the folder.
            contents: their contents.
            linked: files of the same contents, which are linked if the disk allows it; or none.
        """
        self.checksums.forget(names)
        digests = {}
        for position, (name, content) in enumerate(zip(names, contents, strict=True)):
            if not linked or not link(linked[position], self.path / name):
                write_atomically(self.path / name, content)
            digests[name] = sha256(content)
        self.checksums.add(digests)

    def finish(self, summary: pd.DataFrame, files: Mapping[str, str]) -> None:
        """Write the derived tables, and mark the run as finished.

        Args:
            summary: the summary.
            files: the text of other files in ``tables``, by name.
        """
        write_atomically(self.path / "tables/summary.csv", csv_text(summary).encode())
        for name, text in files.items():
            write_atomically(self.path / "tables" / name, text.encode())
        self.update(finished=_now())


def make_folder(path: Path) -> None:
    """Create a folder, unless it exists; RunError if it cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} cannot be created: {error}; choose another folder with --out"
        ) from error


def require_not_above(out: Path, runs: Iterable[Path]) -> None:
    """Raise RunError if a folder to write is, or contains, the folder of a run to read."""
    for run in runs:
        if run.resolve().is_relative_to(out.resolve()):
            raise RunError(
                f"{out} holds {run}, which is to be read; choose another folder with --out"
            )


def delete(path: Path) -> None:
    """Delete a folder, or whatever else is there; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder; RunError if one does, or a lock fails."""
    holder = f"process {os.getpid()} on {socket.gethostname()}, since {_now()}"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path / _LOCK, holder))
        except BlockingIOError as error:
            raise RunError(
                f"{path} is being written by {error}; wait for it, stop it, or choose another "
                "folder with --out"
            ) from None
        except OSError as error:
            raise RunError(
                f"{path} cannot be locked ({error}); choose a folder on another disk with --out"
            ) from error
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
