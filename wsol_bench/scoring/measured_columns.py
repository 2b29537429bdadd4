"""The columns of ``rows`` that hold what a network pass measures of maps beside their scores."""

from collections.abc import Iterable, Mapping
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
    def of(
        cls, columns: Mapping[str, Iterable[Column]], *, faithfulness: bool
    ) -> "MeasuredColumns":
        """The columns of a run.

        Args:
            columns: those of each map method, by its name.
            faithfulness: whether it measures faithfulness.

        Raises:
            ConfigError: two methods mean different things by one column.
        """
        by_name: dict[str, tuple[Column, str]] = {}
        for method, of_method in columns.items():
            for column in of_method:
                first, other = by_name.setdefault(column.name, (column, method))
                if first != column:
                    raise ConfigError(
                        f"methods: {other} measures {column.name!r} as {first.meaning!r}, and "
                        f"{method} as {column.meaning!r}; rename one of the columns"
                    )
        return cls(
            FAITHFULNESS if faithfulness else (), tuple(column for column, _ in by_name.values())
        )

    @property
    def all(self) -> tuple[Column, ...]:
        """All columns, in their order in ``rows``."""
        return (*self.faithfulness, *self.of_methods)


NOTHING_MEASURED = MeasuredColumns()
