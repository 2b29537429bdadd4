"""The scores of a batch of rows, as columns of the tables ``rows`` and ``curves``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64

__all__ = ["CurveLines", "Scores"]

# Lines of the table ``curves``: the position of a row in its batch -> its value in each column.
CurveLines: TypeAlias = Mapping[int, Mapping[str, bytes]]


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a batch of rows.

    Attributes:
        status: the ``RowStatus`` of each row.
        rows: columns of the table ``rows``, by name.
        curve_rows: the positions of the rows that have a line in the table ``curves``.
        curves: columns of these lines, by name.
        box_columns: the columns of ``rows`` that describe a box, for every class; the others are
            measured on the map of the image's label alone.
    """

    status: np.ndarray
    rows: Mapping[str, Float64[np.ndarray, " r"]]
    curve_rows: Int64[np.ndarray, " c"]
    curves: Mapping[str, np.ndarray]
    box_columns: frozenset[str] = frozenset()

    def put(self, rows: Int64[np.ndarray, " m"], scores: "Scores") -> "Scores":
        """These scores, with the scores of some rows replaced.

        Args:
            rows: the positions of the rows that are replaced; none of them has a curve yet.
            scores: the new scores of these rows.
        """
        status = self.status.copy()
        status[rows] = scores.status
        columns = {name: values.copy() for name, values in self.rows.items()}
        for name, values in columns.items():
            values[rows] = scores.rows[name]
        return replace(
            self,
            status=status,
            rows=columns,
            curve_rows=np.concatenate([self.curve_rows, rows[scores.curve_rows]]),
            curves={
                name: np.concatenate([values, scores.curves[name]])
                for name, values in self.curves.items()
            },
        )

    def spread(
        self, map_rows: Int64[np.ndarray, " r"], is_label: Bool[np.ndarray, " r"]
    ) -> "Scores":
        """The scores of new rows, several of which may share a map.

        Columns that are measured on a map, and curves, are only in the rows of an image's label.

        Args:
            map_rows: for each new row, the position of its map's scores in these scores.
            is_label: whether each new row's class is the label of its image.
        """
        columns = {
            name: values[map_rows]
            if name in self.box_columns
            else np.where(is_label, values[map_rows], np.nan)
            for name, values in self.rows.items()
        }
        curve_of = {int(row): curve for curve, row in enumerate(self.curve_rows)}
        curve_rows = np.array(
            [row for row in np.flatnonzero(is_label).tolist() if int(map_rows[row]) in curve_of],
            np.int64,
        )
        curves = np.array([curve_of[int(map_rows[row])] for row in curve_rows], np.int64)
        return replace(
            self,
            status=self.status[map_rows],
            rows=columns,
            curve_rows=curve_rows,
            curves={name: values[curves] for name, values in self.curves.items()},
        )

    def in_order(self) -> "Scores":
        """The same scores, with the curves in the order of their rows."""
        order = np.argsort(self.curve_rows, kind="stable")
        return replace(
            self,
            curve_rows=self.curve_rows[order],
            curves={name: values[order] for name, values in self.curves.items()},
        )
