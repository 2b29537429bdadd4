"""What scoring is, whatever a protocol takes of a map: batches of maps or boxes in, columns out.

The three kinds are modules of their own: ``one_box``, ``box_sweep`` and ``pixels``. Each knows how
it scores a batch, its columns, and the numbers of a method. Nobody else asks which kind it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.map_view import MapView
from wsol_bench.metrics.number import Number
from wsol_bench.metrics.pointing_game import peak_in_image
from wsol_bench.protocols.sections import MapSection
from wsol_bench.runs.schema import (
    CORNERS,
    CURVE_KEYS,
    GROUP,
    PEAK,
    ROW_KEYS,
    SUMMARY_COUNTS,
    Column,
    RowStatus,
    Table,
)
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.upsampling import upsample

__all__ = ["CHUNK", "Chunk", "ScoreBuffer", "Scores", "Scoring", "Selection", "by_shape"]

# Maps at the input's size that lie in memory at a time: 8 of 224 x 224 fit a processor's cache.
CHUNK = 8

# The means of a number's columns over the images that a threshold is selected on, by the number's
# name; None where a run knows none of the method.
Selection: TypeAlias = Callable[[str], Float64[np.ndarray, " m"] | None]


@dataclass(frozen=True, eq=False)
class Scores:
    """What a batch of rows is worth.

    Attributes:
        status: of each row (``RowStatus``).
        rows: columns of the table ``rows``, by name.
        curve_rows: the rows that have a line in the table ``curves``.
        curves: columns of these lines, by name.
        of_boxes: the columns of ``rows`` that are of a box, whatever its class; the others are
            measured of the map of the image's own class alone.
    """

    status: np.ndarray
    rows: Mapping[str, Float64[np.ndarray, " r"]]
    curve_rows: Int64[np.ndarray, " c"]
    curves: Mapping[str, np.ndarray]
    of_boxes: frozenset[str] = frozenset()

    def put(self, rows: Int64[np.ndarray, " m"], some: "Scores") -> "Scores":
        """These scores with those of some rows in their places; columns are written in place."""
        self.status[rows] = some.status
        for name, values in self.rows.items():
            values[rows] = some.rows[name]
        return Scores(
            self.status,
            self.rows,
            np.concatenate([self.curve_rows, rows[some.curve_rows]]),
            {
                name: np.concatenate([values, some.curves[name]])
                for name, values in self.curves.items()
            },
            self.of_boxes,
        )

    def spread(self, source: Int64[np.ndarray, " r"], own: Bool[np.ndarray, " r"]) -> "Scores":
        """The scores of rows that share maps: what is measured of a map stands at its own class.

        Args:
            source: of each row, which of these scores it has.
            own: whether a row is of its image's own class.
        """
        of_rows = {
            name: values[source] if name in self.of_boxes else np.where(own, values[source], np.nan)
            for name, values in self.rows.items()
        }
        curve_of = dict(zip(self.curve_rows.tolist(), range(len(self.curve_rows)), strict=True))
        mine = np.array(
            [row for row in np.flatnonzero(own).tolist() if int(source[row]) in curve_of], np.int64
        )
        curves = np.array([curve_of[int(source[row])] for row in mine], np.int64)
        return Scores(
            self.status[source],
            of_rows,
            mine,
            {name: values[curves] for name, values in self.curves.items()},
            self.of_boxes,
        )

    def in_order(self) -> "Scores":
        """The same scores, with the curves in the order of their rows."""
        order = np.argsort(self.curve_rows, kind="stable")
        return Scores(
            self.status,
            self.rows,
            self.curve_rows[order],
            {name: values[order] for name, values in self.curves.items()},
            self.of_boxes,
        )


@dataclass(frozen=True, eq=False)
class Chunk:
    """A few maps at the input's size.

    Attributes:
        rows: their rows in the batch.
        maps: as they are stored.
        large: as the protocol upsamples them.
    """

    rows: Int64[np.ndarray, " n"]
    maps: Float32[np.ndarray, "n h w"]
    large: Float32[np.ndarray, "n height width"]


class Scoring(ABC):
    """Scores batches of maps or boxes by a protocol.

    Args:
        map_rule: from a low-resolution map to the input's size.
        metrics: what is measured besides; of maps where they are scored, of images afterwards.

    Attributes:
        row_columns: what this kind adds to the table ``rows``.
        curve_columns: what it adds to the table ``curves``; a kind without any has no curves.
        least_iou: IoU from which the one box of a map is a hit; None if no one box is chosen.
        number_names: the numbers that it defines, whatever the metrics, as far as they are known.
        every_row: whether the maps of all predicted classes are scored, or those of the images'
            own classes alone.
    """

    row_columns: ClassVar[tuple[Column, ...]]
    curve_columns: ClassVar[tuple[Column, ...]]
    every_row: ClassVar[bool]
    number_names: frozenset[str] = frozenset()
    least_iou: float | None = None

    def __init__(self, map_rule: MapSection, metrics: Sequence[Metric]) -> None:
        self.map_rule = map_rule
        self.metrics = tuple(metrics)

    # ---- what a kind knows; what most have not got is nothing here

    @abstractmethod
    def status(self, rows: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """The status of n maps that were scored, from their columns."""

    @abstractmethod
    def score_chunk(self, chunk: Chunk, batch: RowBatch, scores: "ScoreBuffer") -> None:
        """Write what a few maps are worth into their places."""

    def finish_maps(self, batch: RowBatch, scores: "ScoreBuffer") -> None:  # noqa: B027
        """What is done once for all maps of a batch, when all chunks are through."""

    @abstractmethod
    def score_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        with_curve: Bool[np.ndarray, " n"],
    ) -> Scores:
        """What boxes that need no map are worth: one is right at every threshold, or at none.

        Args:
            boxes: half-open xyxy pixels of their images; NaN where there is none.
            batch: their rows.
            with_curve: which of the rows may have a curve, one an image at most.
        """

    def broken(self, images: ImageBatch) -> dict[int, str]:
        """By position, why an image's ground truth cannot be read."""
        return {}

    @abstractmethod
    def counts(self, images: ImageScores) -> dict[str, int]:
        """Columns of a summary that count images."""

    @abstractmethod
    def own_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """The numbers that this kind of protocol defines, of one method."""

    @abstractmethod
    def score_nothing(self, batch: RowBatch) -> Scores:
        """What rows are worth that have neither map nor box: a miss in every number."""

    def details(
        self, images: ImageScores, measured: Mapping[str, Float64[np.ndarray, " n"]]
    ) -> dict[str, pd.DataFrame]:
        """By name, tables of why boxes failed and where, of one method; none without one box.

        Args:
            images: of the method.
            measured: by name of a metric, its values of the images that are not held out.
        """
        return {}

    @abstractmethod
    def require_boxes(self, run: Path, protocol: str) -> None:
        """Raise RunError where the protocol does not take one box of a map.

        Args:
            run: its folder, for the message.
            protocol: its name, likewise.
        """

    def swept_images(self, images: ImageScores, *, held_out: bool) -> ImageScores | None:
        """The images that have hits at thresholds, with these: those scored, or those held out.

        None where the protocol has no thresholds, or some image has no hits: a number of the others
        would be another number.
        """
        return None

    # ---- what all kinds share

    @property
    def map_metrics(self) -> list[Metric]:
        """The metrics that are measured of maps."""
        return [metric for metric in self.metrics if metric.column is not None]

    @property
    def rows_table(self) -> Table:
        """The table ``rows``, without what a network's pass measures."""
        columns = [metric.column for metric in self.map_metrics if metric.column is not None]
        return ROW_KEYS.with_columns([*CORNERS, *self.row_columns, *PEAK, *columns])

    @property
    def curves_table(self) -> Table:
        """The table ``curves``."""
        return CURVE_KEYS.with_columns(self.curve_columns)

    def require_columns(self, name: str, measured: Sequence[Column] = ()) -> None:
        """Raise ConfigError where a metric reads a column that results do not have.

        Args:
            name: of the protocol, for the message.
            measured: columns that a network's pass adds to ``rows``.
        """
        self._require_free_names(measured)
        rows = {*self.rows_table.names, *(column.name for column in measured)}
        there = rows | set(self.curves_table.names)
        for metric in self.metrics:
            if lacking := [column for column in metric.needs if column not in there]:
                advice = "leave it out of 'metrics'"
                if lacking[0] in {column.name for column in FAITHFULNESS}:
                    advice = "it is measured where the experiment has 'faithfulness: STEPS'"
                raise ConfigError(
                    f"metrics: {metric.name} needs the column {lacking[0]!r}, which results of "
                    f"protocol {name} do not have; {advice}"
                )

    def _require_free_names(self, measured: Sequence[Column]) -> None:
        """Raise ConfigError where a metric's column or number has a name that is taken."""
        columns = {
            column.name
            for column in (*ROW_KEYS.columns, *CORNERS, *self.row_columns, *PEAK, *measured)
        }
        names = {*GROUP, *SUMMARY_COUNTS, *self.number_names}
        for metric in self.metrics:
            if metric.column is not None:
                if metric.column.name in columns:
                    raise ConfigError(
                        f"metrics: {metric.name} is stored in the column {metric.column.name!r}, "
                        "which results have anyway; give it another name"
                    )
                columns.add(metric.column.name)
            if metric.name in names:
                raise ConfigError(
                    f"metrics: {metric.name!r} is the name of another number of results of this "
                    "protocol; give it another name"
                )
            names.add(metric.name)

    def score_maps(self, maps: Float32[np.ndarray, "n h w"], batch: RowBatch) -> Scores:
        """What maps are worth.

        Args:
            maps: as they are stored, one a row.
            batch: their rows, whose images' inputs have one size.
        """
        buffer = ScoreBuffer(self, len(maps))
        rows = np.arange(len(maps)) if self.every_row else np.flatnonzero(batch.own)
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            size = batch.images.placements[batch.image[some[0]]].input
            chunk = Chunk(some, maps[some], upsample(maps[some], size, self.map_rule))
            self.score_chunk(chunk, batch, buffer)
            for values, row in zip(chunk.large, some.tolist(), strict=True):
                if batch.own[row]:
                    self._measure(values, row, batch, buffer)
        self.finish_maps(batch, buffer)
        return buffer.scores(self.status(buffer.rows, len(maps)))

    def missing(self, batch: RowBatch) -> Scores:
        """What rows are worth whose maps are not there: a miss in every number."""
        scores = self.score_nothing(batch)
        for metric in self.map_metrics:
            assert metric.column is not None
            for row in np.flatnonzero(batch.own):
                truth = batch.images.truth[batch.image[row]]
                known = metric.counts(truth)
                scores.rows[metric.column.name][row] = metric.worst if known else np.nan
        scores.status[:] = RowStatus.MISSING.value
        return scores

    def not_applicable(self, n: int) -> Scores:
        """The scores of n rows of a method that makes no maps."""
        return ScoreBuffer(self, n).scores(np.full(n, RowStatus.NOT_APPLICABLE.value, dtype=object))

    def numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """All numbers of a method: those of the protocol, and those of the metrics."""
        numbers = self.own_numbers(images, selection)
        swept = self.swept_images(images, held_out=False)
        held_out = self.swept_images(images, held_out=True)
        for metric in self.metrics:
            if not metric.reads_hits:
                number = metric.number(images.scored)
            elif swept is None or not len(swept):
                number = None
            else:
                number = metric.number(swept)
                if number is not None and number.best is not None:
                    of_others = metric.number(held_out) if held_out is not None else None
                    chosen = of_others.means() if of_others is not None else selection(metric.name)
                    number = replace(number, thresholds=swept.thresholds, selection=chosen)
            if number is not None:
                numbers.append(number)
        return numbers

    def summary(self, images: ImageScores, selection: Selection) -> dict[str, int | float]:
        """The columns of a method's line of the summary: counts, then numbers."""
        line: dict[str, int | float] = dict(self.counts(images))
        measured = {metric.name for metric in self.map_metrics}
        for number in self.numbers(images, selection):
            if number.name in measured and np.isnan(number.value()):  # as of boxes, without a map
                continue
            line |= number.line()
        return line

    def _measure(
        self,
        values: Float32[np.ndarray, "height width"],
        row: int,
        batch: RowBatch,
        scores: "ScoreBuffer",
    ) -> None:
        """What is measured of one map, whatever the protocol."""
        index = batch.image[row]
        view = MapView(values, batch.images.truth[index], batch.images.placements[index])
        for column, value in zip(PEAK, peak_in_image(view), strict=True):
            scores.rows[column.name][row] = value
        for metric in self.map_metrics:
            assert metric.column is not None
            scores.rows[metric.column.name][row] = metric.measure(view)


class ScoreBuffer:
    """The columns of a batch while its maps are scored, NaN where nothing was written."""

    def __init__(self, scoring: Scoring, n: int) -> None:
        names = [
            *(column.name for column in (*CORNERS, *scoring.row_columns, *PEAK)),
            *(metric.column.name for metric in scoring.map_metrics if metric.column),
        ]
        self.rows: dict[str, Float64[np.ndarray, " n"]] = {
            name: np.full(n, np.nan) for name in names
        }
        self._of_boxes = frozenset(column.name for column in (*CORNERS, *scoring.row_columns))
        self._curve_rows: list[int] = []
        self._curves: dict[str, list[bytes]] = {column.name: [] for column in scoring.curve_columns}

    def put_boxes(self, rows: Int64[np.ndarray, " m"], boxes: Float64[np.ndarray, "m 4"]) -> None:
        """Write the boxes of some rows."""
        for column, values in zip(CORNERS, boxes.T, strict=True):
            self.rows[column.name][rows] = values

    def boxes(self) -> Float64[np.ndarray, "n 4"]:
        """The boxes of all rows."""
        return np.column_stack([self.rows[column.name] for column in CORNERS])

    def add_curve(self, row: int, **columns: bytes) -> None:
        """Add the line of ``curves`` of a row."""
        self._curve_rows.append(row)
        for name, values in self._curves.items():
            values.append(columns[name])

    def scores(self, status: np.ndarray) -> Scores:
        """What was written."""
        return Scores(
            status,
            self.rows,
            np.array(self._curve_rows, np.int64),
            {name: np.array(values, dtype=object) for name, values in self._curves.items()},
            self._of_boxes,
        )


def by_shape(shapes: Sequence[tuple[object, ...]]) -> Iterator[Int64[np.ndarray, " m"]]:
    """Positions of equal shapes, for what can only be stacked where shapes are equal."""
    groups = pd.Series(list(shapes), dtype=object)
    for _, some in groups.groupby(groups, sort=False):
        yield some.index.to_numpy(np.int64)
