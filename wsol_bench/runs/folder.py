"""The run folder: the only place that writes results, and the only one that reads them.

<folder>/manifest.json          what the run is (``runs.manifest``)
<folder>/config.yaml            the resolved experiment
<folder>/classes.parquet        wnid, words and ILSVRC2012_ID of the data set's classes
<folder>/selection.parquet      what thresholds are selected by, where that is another run
<folder>/{images,rows,curves,maps,costs}/    one Parquet file a part, written whole or not at all
<folder>/tables/                what is derived from the above
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
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq
import yaml

from wsol_bench.common.files import locked, write_atomically
from wsol_bench.errors import RunError
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.runs.manifest import (
    Identity,
    Manifest,
    Session,
    listed,
    read_manifest,
)
from wsol_bench.runs.metrics import metrics_of
from wsol_bench.runs.schema import CLASSES, COSTS, IMAGES, MAPS, Column, Table, Tables
from wsol_bench.scoring import scoring_of
from wsol_bench.scoring.base import Scoring

__all__ = ["SELECTION", "RunFolder", "rows_table"]

_LOCK = ".lock"
# The tables of a part in the order in which they are written: the images say that it is done.
_WRITTEN = ("maps", "curves", "costs", "rows", "images")
# All that a run may hold.
_FOLDERS = (*_WRITTEN, "tables", "figures", "predictions", "rescored")

SELECTION = Table(
    "selection",
    (
        Column("model", "text", "of the run that thresholds are selected on"),
        Column("method", "text", "likewise"),
        Column("layer", "text", "likewise"),
        Column("number", "text", "a number of the summary that is at its best threshold"),
        Column("means", "reals", "the accuracy at each threshold there, curve by curve"),
    ),
    "one row a method and number, where thresholds are selected on another run",
)


def rows_table(scoring: Scoring, *, faithfulness: bool) -> Table:
    """The table ``rows`` of a run.

    Args:
        scoring: of its protocol, with its metrics.
        faithfulness: whether that was measured.
    """
    return scoring.rows_table.with_columns(FAITHFULNESS if faithfulness else ())


class RunFolder:
    """A run on disk.

    Args:
        path: of the folder; it must hold a run (``RunFolder.writing`` starts one).

    Raises:
        RunError: the folder holds no run, or one that another version wrote in another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        identity = self.manifest.identity
        self.scoring = scoring_of(identity.protocol, metrics_of(identity))
        measured = identity.config.get("faithfulness") is not None
        tables = (
            IMAGES,
            rows_table(self.scoring, faithfulness=measured),
            MAPS,
            self.scoring.curves_table,
            COSTS,
        )
        self.tables: dict[str, Table] = {table.name: table for table in tables}

    @property
    def identity(self) -> Identity:
        """All that decides the run's numbers."""
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
        """Start a run, or take up the one that is there; no other process can meanwhile.

        Args:
            path: of the folder: new, empty, or a run of the same identity.
            identity: all that decides the numbers.
            config: the resolved experiment, with what decides none.
            classes: of the data set.
            selection: what thresholds are selected by, where that is another run.
            force: delete the run that is there first.

        Raises:
            RunError: the folder holds something else, or a run of another identity; another
                process writes there; a file cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error}; choose another with --out") from error
        has_run = (path / "manifest.json").is_file()
        if not has_run and any(not name.startswith(".") for name in os.listdir(path)):
            raise RunError(f"{path} exists and is not empty; choose another folder with --out")
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
                    f"{path} cannot be locked ({error}); choose a folder elsewhere with --out"
                ) from error
            try:
                cls._prepare(path, identity, config, classes, selection, force=force)
                yield cls(path)
            except OSError as error:  # the disk is full, or gone
                raise RunError(
                    f"{error}. {path} keeps what is done; the same run goes on there"
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
        file = path / "manifest.json"
        if file.is_file() and (force or _is_deleted(file)):
            # What is left if this is interrupted is no run, and goes the next time.
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
                    f"{path} holds another run; in the folder and now:{listed(changed)}\n"
                    "choose another folder with --out, or delete that run with --force"
                )
        else:
            manifest = Manifest.begin(identity, _now())
            _write_manifest(path, manifest)
        if manifest.finished is not None:
            return
        for folder in (path, *(path / name for name in (*_WRITTEN, "tables"))):
            for leftover in folder.glob(".*.tmp"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
        # After the manifest: a folder without one holds no run.
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_atomically(path / "config.yaml", text.encode())
        write_atomically(path / "classes.parquet", _parquet(CLASSES.to_arrow(classes)))
        if selection is not None:
            write_atomically(path / "selection.parquet", _parquet(SELECTION.to_arrow(selection)))

    @classmethod
    def unfinished(cls, parent: Path, identity: Identity) -> Path | None:
        """The newest run below ``parent`` that has this identity and did not get to its end."""
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
        """Note that a process works on the run from now on, and where."""
        session = Session(started=_now(), host=socket.gethostname(), **facts)
        self.update(sessions=(*self.manifest.sessions, session))

    def end_session(self, n_parts: int) -> None:
        """Note that the process of the last session is through, and how many parts it made."""
        *before, last = self.manifest.sessions
        ended = last.model_copy(update={"ended": _now(), "parts": n_parts})
        self.update(sessions=(*before, ended))

    def write_part(self, number: int, tables: Tables) -> None:
        """Write the tables of one part, also in place of what is there."""
        self._part("images", number).unlink(missing_ok=True)  # not done until all are new
        for name in _WRITTEN:
            table = self.tables[name].to_arrow(getattr(tables, name))
            write_atomically(self._part(name, number), _parquet(table))

    def link_part(self, number: int, other: "RunFolder") -> None:
        """Take over a part of another run, without a copy where the disk allows it."""
        self._part("images", number).unlink(missing_ok=True)
        for name in _WRITTEN:
            source, target = other._part(name, number), self._part(name, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                write_atomically(target, source.read_bytes())

    def finish(self, summary: pd.DataFrame, files: Mapping[str, str]) -> None:
        """Write the derived tables and mark the run as finished."""
        write_atomically(self.path / "tables/summary.csv", summary.to_csv(index=False).encode())
        for name, text in files.items():
            write_atomically(self.path / "tables" / name, text.encode())
        self.update(finished=_now())

    # ---- reading

    def require_finished(self) -> None:
        """Raise RunError where the run did not get to its end."""
        if self.manifest.finished is None:
            raise RunError(
                f"the run in {self.path} is not finished; its numbers would be partial. The "
                "command that started it goes on with it"
            )

    def parts(self) -> list[int]:
        """Numbers of the parts that are done."""
        done = [{file.stem for file in (self.path / name).glob("*.parquet")} for name in _WRITTEN]
        return sorted(int(name) for name in set.intersection(*done) if name.isdecimal())

    def parts_by_model(self) -> dict[str, list[int]]:
        """The same, by name of their model: a run as a whole may be too large for the memory."""
        return self.identity.parts_by_model(self.parts())

    def read_part(
        self, table: str, number: int, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """One part of ``images``, ``rows``, ``curves``, ``maps`` or ``costs``."""
        return self.read(table, columns, parts=[number])

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """``classes``, or one of the tables of parts: all parts or some.

        Raises:
            RunError: a file that cannot be read, or whose columns are not the table's.
        """
        if table == "classes":
            return self._open(CLASSES, [self.path / "classes.parquet"], columns).to_pandas()
        frame: pd.DataFrame = self.arrow(table, columns, parts=parts).to_pandas()
        return frame

    def selection(self) -> pd.DataFrame:
        """Read what thresholds are selected by; no line where that is no other run."""
        path = self.path / "selection.parquet"
        if self.identity.protocol.selection is None or not path.is_file():
            return SELECTION.arrow.empty_table().to_pandas()
        return self._open(SELECTION, [path], None).to_pandas()

    def arrow(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Read a table of parts into Arrow's: some of its columns, and the rows of a filter."""
        numbers = self.parts() if parts is None else parts
        files = [self._part(table, number) for number in numbers]
        return self._open(self.tables[table], files, columns, where)

    def part(self, table: str, number: int, columns: Sequence[str]) -> pa.Table:
        """Read some columns of one part, text as dictionaries.

        Raises:
            RunError: a file that cannot be read, or whose columns are not the table's.
        """
        declared = self.tables[table]
        declared.require(columns)
        texts = [column.name for column in declared.columns if column.dtype == "text"]
        form = ds.ParquetFileFormat(read_options={"dictionary_columns": texts})
        file = self._part(table, number)
        try:
            fragment = form.make_fragment(str(file), fs.LocalFileSystem())
            declared.check(fragment.physical_schema.names, file)
            found = fragment.to_table(columns=list(columns), use_threads=False)
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            raise RunError(f"{file} cannot be read: {error}") from error
        for field in found.schema:
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            expected = declared.arrow.field(field.name).type
            if kind != expected:
                raise RunError(
                    f"{file} cannot be read: expected column {field.name!r} of type {expected}, "
                    f"found {kind}"
                )
        return found

    def _open(
        self,
        table: Table,
        files: Sequence[Path],
        columns: Sequence[str] | None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        names = table.names if columns is None else list(columns)
        table.require(names)
        try:
            opened = ds.dataset([str(file) for file in files], table.arrow, format="parquet")
            for fragment in opened.get_fragments():
                table.check(fragment.physical_schema.names, fragment.path)
            return opened.to_table(columns=names, filter=where)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise RunError(f"{self._broken(files)} cannot be read: {error}") from error

    def _broken(self, files: Sequence[Path]) -> Path:
        """The first of the files that cannot be read; the folder where all can."""
        for file in files:
            try:
                pq.read_table(file)
            except (OSError, ValueError, pa.ArrowException):
                return file
        return self.path

    def _part(self, table: str, number: int) -> Path:
        return self.path / table / f"{number:06d}.parquet"


_DELETED = b'{"deleted": true}'


def _is_deleted(manifest: Path) -> bool:
    return manifest.read_bytes().lstrip().startswith(b'{"deleted"')


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_atomically(path / "manifest.json", manifest.model_dump_json(indent=2).encode())


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
