"""Table files: Parquet files that are read and written against the declaration of their table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from wsol_bench.common.table import Table
from wsol_bench.errors import RunError

__all__ = ["read_coded", "read_table", "to_parquet"]


def to_parquet(table: Table, frame: pd.DataFrame) -> bytes:
    """A frame as the content of a Parquet file, with checksums of its pages.

    Raises:
        RunError: the frame's columns are not those of the table.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.to_arrow(frame), sink, write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_table(
    table: Table,
    file: Path,
    content: bytes,
    columns: Sequence[str] | None = None,
    *,
    where: pc.Expression | None = None,
) -> pa.Table:
    """The rows in a Parquet file of a table.

    Args:
        table: the table.
        file: the file's path, for messages.
        content: the file's content.
        columns: the names of the columns to read; None for all.
        where: a filter; only rows that fulfill it are read.

    Raises:
        RunError: the content is no Parquet file, or its columns are not those of the table.
    """
    names = table.names if columns is None else list(columns)
    table.require(names)
    return _read(table, file, content, names, ds.ParquetFileFormat(), where)


def read_coded(table: Table, file: Path, content: bytes, columns: Sequence[str]) -> pa.Table:
    """Some columns in a Parquet file of a table, with text as codes into a list of its values.

    Arguments and errors are those of ``read_table``.
    """
    table.require(columns)
    texts = [column.name for column in table.columns if column.dtype == "text"]
    coded = ds.ParquetFileFormat(read_options={"dictionary_columns": texts})
    return _read(table, file, content, columns, coded, None)


def _read(
    table: Table,
    file: Path,
    content: bytes,
    columns: Sequence[str],
    parquet: ds.ParquetFileFormat,
    where: pc.Expression | None,
) -> pa.Table:
    try:
        fragment = parquet.make_fragment(pa.BufferReader(content))
        schema = fragment.physical_schema
        table.check(schema.names, file)
        for name in columns:
            dtype = schema.field(name).type
            found = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
            if found != table.arrow.field(name).type:
                raise RunError(
                    f"{file} cannot be read: expected column {name!r} of type "
                    f"{table.arrow.field(name).type}, found {found}"
                )
        return fragment.to_table(columns=list(columns), filter=where, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
