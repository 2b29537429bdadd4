"""The columns of ``rows`` that hold what a network pass measures of maps beside their scores."""

from collections.abc import Iterable
from typing import NamedTuple

from wsol_bench.common.table import Column
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS

__all__ = ["NOTHING_MEASURED", "MeasuredColumns"]


class MeasuredColumns(NamedTuple):
    """The columns of ``rows`` that only a network pass can fill.

    Attributes:
        faithfulness: those of faithfulness; empty if the experiment does not measure it.
        of_methods: those that map methods declare; the summary has their means.
    """

    faithfulness: tuple[Column, ...] = ()
    of_methods: tuple[Column, ...] = ()

    @classmethod
    def of(cls, columns: Iterable[Column], *, faithfulness: bool) -> "MeasuredColumns":
        """The columns of a run.

        Args:
            columns: those of its map methods, one method after the other.
            faithfulness: whether it measures faithfulness.

        Raises:
            ConfigError: two methods mean different things by one column.
        """
        by_name: dict[str, Column] = {}
        for column in columns:
            if by_name.setdefault(column.name, column) != column:
                raise ConfigError(
                    f"methods: two of them measure {column.name!r}, one as "
                    f"{by_name[column.name].meaning!r} and one as {column.meaning!r}; rename one "
                    "of the columns"
                )
        return cls(FAITHFULNESS if faithfulness else (), tuple(by_name.values()))

    @property
    def all(self) -> tuple[Column, ...]:
        """All columns, in their order in ``rows``."""
        return (*self.faithfulness, *self.of_methods)


NOTHING_MEASURED = MeasuredColumns()
