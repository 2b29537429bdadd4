"""A run that is stored in a folder: its manifest, and its tables, each checked when it is read."""

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wsol_bench.common.catalog import METHODS, METRICS, NETWORK_FREE
from wsol_bench.common.table import Table
from wsol_bench.errors import RunError
from wsol_bench.models.names import GIVEN
from wsol_bench.runs.checksums import ADVICE, Checksums
from wsol_bench.runs.identity import ON_RUN, Identity
from wsol_bench.runs.manifest import Manifest, read_manifest
from wsol_bench.runs.metrics import metrics_of
from wsol_bench.runs.schema import CLASSES, COSTS, IMAGES, MAPS, SELECTION
from wsol_bench.runs.table_files import read_coded, read_table
from wsol_bench.scoring.kinds import scoring_of

__all__ = [
    "CLASSES_FILE",
    "CONFIG_FILE",
    "PART_TABLES",
    "REPORT",
    "SELECTION_FILE",
    "StoredRun",
    "file_of_part",
    "files_of_part",
]

CLASSES_FILE, SELECTION_FILE = "classes.parquet", "selection.parquet"
CONFIG_FILE, REPORT = "config.yaml", "report.html"
# The tables of a part in the order in which they are written.
PART_TABLES = ("maps", "curves", "costs", "rows", "images")


class StoredRun:
    """A run on disk.

    Args:
        path: the folder; it must hold a run.

    Raises:
        RunError: the folder holds no run, or one that another version wrote in another format; or
            its manifest has changed since it was written, or is that of another run than its files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self.checksums = Checksums(path, self.manifest.id)
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

    @property
    def described_by(self) -> tuple[str, ...]:
        """The files that describe the run as a whole and that are read again."""
        on_run = (self.identity.selected_on or "").startswith(ON_RUN)
        return (CLASSES_FILE, SELECTION_FILE) if on_run else (CLASSES_FILE,)

    def require_finished(self) -> None:
        """Raise RunError unless the run is finished and none of its files is missing."""
        if self.manifest.finished is None:
            n_done, n_parts = len(self.written_parts()), len(self.identity.part_numbers)
            raise RunError(
                f"the run in {self.path} is not finished, so its numbers would be partial: "
                f"{n_done} of {n_parts} parts are done. To continue it{self._continuing()}"
            )
        expected = self.identity.part_numbers
        lacking = [
            name
            for number in expected
            for name in files_of_part(number)
            if name not in self.checksums or not (self.path / name).is_file()
        ]
        if lacking:
            n_lacking = len({name.rpartition("/")[2] for name in lacking})
            more = f" and {len(lacking) - 3} more files" if len(lacking) > 3 else ""
            raise RunError(
                f"the finished run in {self.path} lacks {n_lacking} of its {len(expected)} parts, "
                f"so its numbers would be partial: {', '.join(lacking[:3])}{more}; {ADVICE}"
            )

    def _continuing(self) -> str:
        """How to continue the run, as the end of a sentence: the whole command if it is known."""
        identity, config = self.identity, self.path / CONFIG_FILE
        given = any(model["name"].startswith(GIVEN) for model in identity.config["models"])
        given |= any(not _can_be_found(plugin["name"]) for plugin in _plugins_of(identity.config))
        made_of_runs = identity.rescored_from is not None or bool(identity.merged_from)
        if given or made_of_runs or not config.is_file():
            return ", run the command that started it again"
        words = ["wsol-bench", "run", str(config), "--out", str(self.path)]
        words += [] if identity.shard is None else ["--shard", identity.shard]
        engines = [session.engine for session in self.manifest.sessions]
        words += ["--engine", "ray"] if engines[-1:] == ["ray"] else []
        return f":\n  {shlex.join(words)}"

    def parts(self) -> list[int]:
        """The numbers of the parts that are done; RunError if a finished run lacks one."""
        if self.manifest.finished is not None:
            self.require_finished()
            return self.identity.part_numbers
        return self.written_parts()

    def written_parts(self) -> list[int]:
        """The numbers of the parts that the list of files names, whether or not they are there."""
        return [
            number
            for number in self.identity.part_numbers
            if all(name in self.checksums for name in files_of_part(number))
        ]

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
            return self._described(CLASSES, CLASSES_FILE).to_pandas()
        frame: pd.DataFrame = self.arrow(table, columns, parts=parts).to_pandas()
        return frame

    def selection(self) -> pd.DataFrame:
        """Read the table ``selection``; empty if no thresholds are selected on another run."""
        if SELECTION_FILE not in self.described_by:
            return SELECTION.arrow.empty_table().to_pandas()
        return self._described(SELECTION, SELECTION_FILE).to_pandas()

    def _described(self, table: Table, name: str) -> pa.Table:
        return read_table(table, self.path / name, self.checksums.content(name))

    def arrow(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[int] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Read a table of parts as an Arrow table; see ``read`` and ``table_files.read_table``."""
        numbers = self.parts() if parts is None else parts
        declared = self.tables[table]

        def read(number: int) -> pa.Table:
            name = file_of_part(table, number)
            content = self.checksums.content(name)
            return read_table(declared, self.path / name, content, columns, where=where)

        if not numbers:
            chosen = declared.names if columns is None else list(columns)
            declared.require(chosen)
            return declared.arrow.empty_table().select(chosen)
        with ThreadPoolExecutor(pa.cpu_count()) as readers:
            return pa.concat_tables(readers.map(read, numbers))

    def coded_part(self, table: str, number: int, columns: Sequence[str]) -> pa.Table:
        """Read some columns of one part, with text as codes into a dictionary of its values.

        Raises:
            RunError: the file is missing or damaged, or its columns are not those of the table.
        """
        name = file_of_part(table, number)
        content = self.checksums.content(name)
        return read_coded(self.tables[table], self.path / name, content, columns)


def file_of_part(table: str, number: int) -> str:
    """The file of one part of a table, as a path in the folder."""
    return f"{table}/{number:06d}.parquet"


def files_of_part(number: int) -> list[str]:
    """The files of a part."""
    return [file_of_part(table, number) for table in PART_TABLES]


def _plugins_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The methods and metrics that an experiment names."""
    return [*config["methods"], *(config.get("metrics") or ())]


def _can_be_found(name: str) -> bool:
    """Return whether a process finds a plug-in by its name; not if a notebook has defined it."""
    catalogs = (METHODS, NETWORK_FREE, METRICS)
    return ":" in name or "/" in name or any(name in catalog.built_in for catalog in catalogs)
