"""Table files: Parquet files that are read and written against the declaration of their table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from wsol_bench.common.files import write_atomically
from wsol_bench.common.table import Table
from wsol_bench.errors import RunError

__all__ = ["read_coded", "read_files", "write_table"]


def write_table(file: Path, table: Table, frame: pd.DataFrame) -> None:
    """Write a frame as a Parquet file, whole or not at all.

    Raises:
        RunError: the frame's columns are not those of the table.
        OSError: the file cannot be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.to_arrow(frame), sink)
    write_atomically(file, sink.getvalue().to_pybytes())


def read_files(
    table: Table,
    files: Sequence[Path],
    columns: Sequence[str] | None = None,
    *,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Read the files of a table, one after the other.

    Args:
        table: the table.
        files: its files.
        columns: the names of the columns to read; None for all.
        where: a filter; only rows that fulfill it are read.

    Raises:
        RunError: a file cannot be read, or its columns are not those of the table.
    """
    names = table.names if columns is None else list(columns)
    table.require(names)
    try:
        opened = ds.dataset([str(file) for file in files], table.arrow, format="parquet")
        for fragment in opened.get_fragments():
            table.check(fragment.physical_schema.names, fragment.path)
        return opened.to_table(columns=names, filter=where)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{_first_broken(files)} cannot be read: {error}") from error


def read_coded(table: Table, file: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of one file, with text as codes into a dictionary of its values.

    Raises:
        RunError: the file cannot be read, or its columns are not those of the table.
    """
    table.require(columns)
    texts = [column.name for column in table.columns if column.dtype == "text"]
    parquet = ds.ParquetFileFormat(read_options={"dictionary_columns": texts})
    try:
        fragment = parquet.make_fragment(str(file), fs.LocalFileSystem())
        table.check(fragment.physical_schema.names, file)
        content = fragment.to_table(columns=list(columns), use_threads=False)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise RunError(f"{file} cannot be read: {error}") from error
    for field in content.schema:
        dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        expected = table.arrow.field(field.name).type
        if dtype != expected:
            raise RunError(
                f"{file} cannot be read: expected column {field.name!r} of type {expected}, "
                f"found {dtype}"
            )
    return content


def _first_broken(files: Sequence[Path]) -> Path | str:
    """The first of the files that cannot be read, for a message."""
    for file in files:
        try:
            pq.read_table(file)
        except (OSError, ValueError, pa.ArrowException):
            return file
    return files[0].parent if files else "the table"
