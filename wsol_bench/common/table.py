"""Tables: columns with their types, units and meanings, and the check that a file has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from wsol_bench.errors import RunError

__all__ = ["Column", "DType", "Table"]

DType = Literal["text", "int", "real", "flag", "bytes", "reals", "texts"]

_ARROW: Mapping[DType, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "real": pa.float64(),
    "flag": pa.bool_(),
    "bytes": pa.binary(),
    "reals": pa.list_(pa.float64()),
    "texts": pa.list_(pa.string()),
}


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: the column's name in files and frames.
        dtype: the type of its values.
        meaning: text that says what a value is, and when it is absent.
        unit: the unit of its values; "" for none.
    """

    name: str
    dtype: DType
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a run.

    Attributes:
        name: the name of the table, and of its folder in a run's folder.
        columns: the columns, in order.
    """

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def arrow(self) -> pa.Schema:
        """The columns as an Arrow schema."""
        return pa.schema([(column.name, _ARROW[column.dtype]) for column in self.columns])

    def with_columns(self, columns: Iterable[Column]) -> "Table":
        """The table with more columns at its end."""
        return Table(self.name, (*self.columns, *columns))

    def frame(self, blocks: Sequence[Mapping[str, np.ndarray]]) -> pd.DataFrame:
        """The lines of several blocks, one after the other.

        Args:
            blocks: arrays of equal length, by the name of their column.

        Raises:
            RunError: a block lacks a column of the table, or has a column that the table lacks.
        """
        for block in blocks:
            self.check(block, "new lines")
        if not blocks:
            return pd.DataFrame(columns=self.names)
        return pd.DataFrame(
            {name: np.concatenate([block[name] for block in blocks]) for name in self.names}
        )

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """A frame as an Arrow table; RunError if the frame has other columns."""
        if not len(frame):
            return self.arrow.empty_table()
        self.check(frame.columns, "new lines")
        return pa.Table.from_pandas(frame[self.names], self.arrow, preserve_index=False)

    def check(self, columns: Iterable[object], where: object) -> None:
        """Raise RunError, with table and column, unless these are exactly the table's columns.

        Args:
            columns: the names of the columns that a file or frame has.
            where: the file or the lines that are checked, for the message.
        """
        names = {str(name) for name in columns}
        if missing := [name for name in self.names if name not in names]:
            raise RunError(f"{where}: table {self.name!r} lacks the column {missing[0]!r}")
        if unknown := sorted(names.difference(self.names)):
            raise RunError(f"{where}: table {self.name!r} has an unknown column {unknown[0]!r}")

    def require(self, names: Iterable[str]) -> None:
        """Raise RunError unless the table has all of these columns."""
        for name in names:
            if name not in self.names:
                raise RunError(f"table {self.name!r} has no column {name!r}")
