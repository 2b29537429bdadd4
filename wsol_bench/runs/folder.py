"""The run folder: the only place where results are written and read.

<folder>/manifest.json          the run's identity and history (``runs.manifest``)
<folder>/config.yaml            the resolved experiment
<folder>/classes.parquet        wnid, words and ILSVRC2012_ID of the data set's classes
<folder>/selection.parquet      accuracies of the run that thresholds are selected on, if any
<folder>/{images,rows,curves,maps,costs}/    one Parquet file a part, written whole or not at all
<folder>/tables/                tables derived from the above
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from wsol_bench.common.files import locked, write_atomically
from wsol_bench.common.harmless import csv_text
from wsol_bench.common.table import Table
from wsol_bench.errors import RunError
from wsol_bench.runs.differences import listed
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.manifest import Manifest, Session, read_manifest
from wsol_bench.runs.metrics import metrics_of
from wsol_bench.runs.schema import CLASSES, COSTS, IMAGES, MAPS, SELECTION, Tables
from wsol_bench.runs.table_files import read_coded, read_files, write_table
from wsol_bench.scoring.kinds import scoring_of

__all__ = ["RunFolder"]

_LOCK = ".lock"
# The tables of a part in the order in which they are written; the last one marks it as done.
_WRITTEN = ("maps", "curves", "costs", "rows", "images")
# All folders that a run may hold.
_FOLDERS = (*_WRITTEN, "tables", "figures", "predictions", "rescored")


class RunFolder:
    """A run on disk.

    Args:
        path: the folder; it must hold a run (``RunFolder.writing`` starts a run).

    Raises:
        RunError: the folder holds no run, or one that another version wrote in another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        identity = self.manifest.identity
        self.scoring = scoring_of(identity.protocol, metrics_of(identity))
        tables = (
            IMAGES,
            self.scoring.rows_table.with_columns(identity.measured.all),
            MAPS,
            self.scoring.curves_table,
            COSTS,
        )
        self.tables: dict[str, Table] = {table.name: table for table in tables}

    @property
    def identity(self) -> Identity:
        """Everything that decides the run's numbers."""
        return self.manifest.identity

    # ---- writing

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
            classes: the classes of the data set.
            selection: the table ``selection``; None if no thresholds are selected on another run.
            force: whether to delete the run in the folder first.

        Raises:
            RunError: the folder holds something else, or a run of another identity; another
                process writes there; or a file cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{path} cannot be created: {error}; choose another folder with --out"
            ) from error
        has_run = (path / "manifest.json").is_file()
        if not has_run and any(not name.startswith(".") for name in os.listdir(path)):
            raise RunError(
                f"{path} is not empty and holds no run; choose another folder with --out"
            )
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
            try:
                cls._prepare(path, identity, config, classes, selection, force=force)
                yield cls(path)
            except OSError as error:  # for example a full disk
                raise RunError(
                    f"{error}. {path} keeps the finished parts; run the same command again to "
                    "continue there"
                ) from error

    @classmethod
    def _prepare(
        cls,
        path: Path,
        identity: Identity,
        config: Mapping[str, Any],
        classes: pd.DataFrame,
        selection: pd.DataFrame | None,
        *,
        force: bool,
    ) -> None:
        """Bring the folder into the state of a run that can be written; see ``writing``."""
        file = path / "manifest.json"
        if file.is_file() and (force or _is_deleted(file)):
            # If this is interrupted, the folder holds no run and is cleared the next time.
            write_atomically(file, _DELETED)
            for name in _FOLDERS:
                if (path / name).exists():
                    shutil.rmtree(path / name)
            (path / "selection.parquet").unlink(missing_ok=True)
        if file.is_file() and not _is_deleted(file):
            manifest = read_manifest(path)
            changed = manifest.identity.changed(identity)
            if changed:
                raise RunError(
                    f"{path} holds another run. These values differ (in the folder -> now):"
                    f"{listed(changed)}\n"
                    "choose another folder with --out, or delete that run with --force"
                )
            manifest = _completed(path, manifest, identity)
        else:
            manifest = Manifest.begin(identity, _now())
            _write_manifest(path, manifest)
        if manifest.finished is not None:
            return
        for folder in (path, *(path / name for name in (*_WRITTEN, "tables"))):
            for leftover in folder.glob(".*.tmp"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
        # These follow the manifest, since a folder without a manifest holds no run.
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_atomically(path / "config.yaml", text.encode())
        write_table(path / "classes.parquet", CLASSES, classes)
        if selection is not None:
            write_table(path / "selection.parquet", SELECTION, selection)

    @classmethod
    def unfinished(cls, parent: Path, identity: Identity) -> Path | None:
        """The newest unfinished run of this identity below ``parent``; None for no such run."""
        for file in sorted(parent.glob("*/manifest.json"), reverse=True):
            try:
                manifest = read_manifest(file.parent)
            except RunError:
                continue
            if manifest.finished is None and not manifest.identity.changed(identity):
                return file.parent
        return None

    def update(self, **changes: Any) -> None:
        """Set fields of the manifest."""
        self.manifest = self.manifest.model_copy(update=changes)
        _write_manifest(self.path, self.manifest)

    def begin_session(self, **facts: Any) -> None:
        """Record that this process begins to work on the run.

        Args:
            facts: the fields of ``Session`` that the engine knows.
        """
        session = Session(started=_now(), host=socket.gethostname(), **facts)
        self.update(sessions=(*self.manifest.sessions, session))

    def end_session(self, n_parts: int) -> None:
        """Record that this process has ended its work, and how many parts it evaluated."""
        *before, last = self.manifest.sessions
        ended = last.model_copy(update={"ended": _now(), "parts": n_parts})
        self.update(sessions=(*before, ended))

    def write_part(self, number: int, tables: Tables) -> None:
        """Write the tables of one part; older tables of the part are replaced."""
        # Without this file the part counts as missing until all files are new.
        self._part("images", number).unlink(missing_ok=True)
        for name in _WRITTEN:
            write_table(self._part(name, number), self.tables[name], getattr(tables, name))

    def link_part(self, number: int, other: "RunFolder") -> None:
        """Take a part of another run, as a hard link if the disk allows it, or as a copy."""
        self._part("images", number).unlink(missing_ok=True)
        for name in _WRITTEN:
            old, new = other._part(name, number), self._part(name, number)
            new.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            try:
                os.link(old, new)
            except OSError:
                write_atomically(new, old.read_bytes())

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

    # ---- reading

    def require_finished(self) -> None:
        """Raise RunError unless the run is finished."""
        if self.manifest.finished is None:
            raise RunError(
                f"the run in {self.path} is not finished, so its numbers would be partial; run the "
                "command that started it again to continue it"
            )

    def parts(self) -> list[int]:
        """The numbers of the parts that are done."""
        done = [{file.stem for file in (self.path / name).glob("*.parquet")} for name in _WRITTEN]
        return sorted(int(name) for name in set.intersection(*done) if name.isdecimal())

    def parts_by_model(self) -> dict[str, list[int]]:
        """The numbers of the parts that are done, by the name of their model.

        A reader that takes one model at a time needs less memory than the whole run would.
        """
        return self.identity.parts_by_model(self.parts())

    def read_part(
        self, table: str, number: int, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Read one part of ``images``, ``rows``, ``curves``, ``maps`` or ``costs``."""
        return self.read(table, columns, parts=[number])

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Read a table.

        Args:
            table: ``classes``, ``images``, ``rows``, ``curves``, ``maps`` or ``costs``.
            columns: the names of the columns to read; None for all.
            parts: the numbers of the parts to read; None for all that are done.

        Raises:
            RunError: a file cannot be read, or its columns are not those of the table.
        """
        if table == "classes":
            return read_files(CLASSES, [self.path / "classes.parquet"], columns).to_pandas()
        frame: pd.DataFrame = self.arrow(table, columns, parts=parts).to_pandas()
        return frame

    def selection(self) -> pd.DataFrame:
        """Read the table ``selection``; empty if no thresholds are selected on another run."""
        path = self.path / "selection.parquet"
        if self.identity.protocol.selection is None or not path.is_file():
            return SELECTION.arrow.empty_table().to_pandas()
        return read_files(SELECTION, [path]).to_pandas()

    def arrow(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Read a table of parts as an Arrow table; see ``read`` and ``table_files.read_files``."""
        numbers = self.parts() if parts is None else parts
        files = [self._part(table, number) for number in numbers]
        return read_files(self.tables[table], files, columns, where=where)

    def coded_part(self, table: str, number: int, columns: Sequence[str]) -> pa.Table:
        """Read some columns of one part, with text as codes into a dictionary of its values.

        Raises:
            RunError: the file cannot be read, or its columns are not those of the table.
        """
        return read_coded(self.tables[table], self._part(table, number), columns)

    def _part(self, table: str, number: int) -> Path:
        """The file of one part of a table."""
        return self.path / table / f"{number:06d}.parquet"


_DELETED = b'{"deleted": true}'


def _is_deleted(manifest: Path) -> bool:
    return manifest.read_bytes().lstrip().startswith(b'{"deleted"')


def _completed(path: Path, manifest: Manifest, now: Identity) -> Manifest:
    """The manifest of an unfinished run, stored with what it did not know of itself before."""
    identity = manifest.identity.completed(now)
    if manifest.finished is None and identity != manifest.identity:
        manifest = manifest.model_copy(update={"identity": identity})
        _write_manifest(path, manifest)
    return manifest


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_atomically(path / "manifest.json", manifest.model_dump_json(indent=2).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
