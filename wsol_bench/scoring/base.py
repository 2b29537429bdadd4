"""The scoring that all kinds of protocol share: from maps or boxes to scores and numbers.

The three kinds are modules of their own: ``one_box``, ``box_sweep`` and ``pixels``. Each knows how
it scores a map, its columns, and the numbers of a method.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from wsol_bench.common.table import Column, Table
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.map_view import MapView
from wsol_bench.metrics.number import Number
from wsol_bench.metrics.pointing_game import peak_in_image
from wsol_bench.protocols.sections import MapSection
from wsol_bench.runs.schema import (
    BOX_COLUMNS,
    CURVE_KEYS,
    GROUP,
    PEAK,
    ROW_KEYS,
    SUMMARY_COUNTS,
    RowStatus,
)
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.extrema import with_unsound
from wsol_bench.scoring.measured_columns import NOTHING_MEASURED, MeasuredColumns
from wsol_bench.scoring.scores import CurveLines, Scores
from wsol_bench.scoring.upsampling import upsample

__all__ = ["CHUNK", "Chunk", "Scoring", "Selection"]

# Maps at the input's size that are in memory at a time: 8 of 224 x 224 fit a processor's cache.
CHUNK = 8

# A function of the name of a number: it returns the means of the number's columns over the images
# that its threshold is selected on, as another run has stored them; None if that run has no such
# number for the method.
Selection: TypeAlias = Callable[[str], Float64[np.ndarray, " m"] | None]


@dataclass(frozen=True, eq=False)
class Chunk:
    """A few maps at low resolution and at the input's size.

    Attributes:
        rows: the position of each map's row in its batch.
        maps: the maps as they are stored.
        large: the maps as the protocol upsamples them.
    """

    rows: Int64[np.ndarray, " n"]
    maps: Float32[np.ndarray, "n h w"]
    large: Float32[np.ndarray, "n height width"]


class Scoring(ABC):
    """Scores batches of maps or boxes by a protocol.

    Args:
        map_section: how the protocol brings a low-resolution map to the input's size.
        metrics: the metrics to compute in addition to the protocol's own numbers: those of maps
            when the maps are scored, those of images afterwards.

    Attributes:
        row_columns: the columns that this kind adds to the table ``rows``.
        curve_columns: the columns that it adds to the table ``curves``; empty for a kind without
            curves.
        least_iou: the IoU from which the box of a map is a hit; None for a kind that does not take
            one box of each map.
        number_names: the names of the numbers that this kind defines.
        every_row: whether the maps of all predicted classes are scored, or only those of the
            images' labels.
    """

    row_columns: ClassVar[tuple[Column, ...]]
    curve_columns: ClassVar[tuple[Column, ...]]
    every_row: ClassVar[bool]
    number_names: frozenset[str] = frozenset()
    least_iou: float | None = None

    def __init__(self, map_section: MapSection, metrics: Sequence[Metric]) -> None:
        self.map_section = map_section
        self.metrics = tuple(metrics)

    # ---- what each kind defines

    @abstractmethod
    def status_of_maps(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """The ``RowStatus`` of maps that were scored, from their boxes (NaN for none)."""

    @abstractmethod
    def status_of_boxes(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """The ``RowStatus`` of boxes that were scored without a map (NaN for none)."""

    def boxes_of_maps(self, chunk: Chunk) -> Float64[np.ndarray, "n 4"]:
        """The box of each map in pixels of the input; NaN if the kind does not take one."""
        return np.full((len(chunk.rows), 4), np.nan)

    def place_boxes(
        self, boxes: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> tuple[Float64[np.ndarray, "n 4"], Mapping[str, Float64[np.ndarray, " n"]]]:
        """The boxes of all maps of a batch in pixels of their images, and their ``row_columns``.

        Args:
            boxes: the boxes in pixels of the input; NaN for none.
            batch: the row of each box.
        """
        return boxes, {}

    def curves_of_maps(self, chunk: Chunk, batch: RowBatch) -> CurveLines:
        """The lines of ``curves`` of a few maps; none for a kind without curves."""
        return {}

    def columns_of_boxes(
        self, boxes: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> Mapping[str, Float64[np.ndarray, " n"]]:
        """The ``row_columns`` of boxes, in pixels of their images, that have no map."""
        return {}

    def curves_of_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        rows: Int64[np.ndarray, " m"],
    ) -> CurveLines:
        """The lines of ``curves`` of some of the boxes that have no map.

        Args:
            boxes: the boxes of all rows, in pixels of their images.
            batch: the row of each box.
            rows: the positions of the rows that have a curve.
        """
        return {}

    def broken(self, images: ImageBatch) -> dict[int, str]:
        """The images whose ground truth cannot be read: position in the batch to reason."""
        return {}

    @abstractmethod
    def counts(self, images: ImageScores) -> dict[str, int]:
        """The columns of a summary that count images."""

    @abstractmethod
    def protocol_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """The numbers of one method that this kind of protocol defines."""

    def details(
        self, images: ImageScores, measured: Mapping[str, Float64[np.ndarray, " n"]]
    ) -> dict[str, pd.DataFrame]:
        """Tables of why and where the boxes of one method fail, by name.

        Empty for a kind that does not take one box of each map.

        Args:
            images: the scores of the method.
            measured: for each metric by its name, its values on the images that are not held out.
        """
        return {}

    @abstractmethod
    def require_boxes(self, run: Path, protocol: str) -> None:
        """Raise RunError unless the protocol takes one box of each map.

        Args:
            run: the run's folder, for the message.
            protocol: the protocol's name, for the message.
        """

    def swept_images(self, images: ImageScores, *, held_out: bool) -> ImageScores | None:
        """The scored images, or the held-out ones, with their hits at each threshold.

        None if the protocol has no thresholds, or if an image has no hits: a number of the other
        images alone would be another number.
        """
        return None

    # ---- what all kinds share

    @property
    def map_metrics(self) -> list[Metric]:
        """The metrics that are measured on maps."""
        return [metric for metric in self.metrics if metric.column is not None]

    @property
    def rows_table(self) -> Table:
        """The table ``rows``, without the columns that only a network can measure."""
        columns = [metric.column for metric in self.map_metrics if metric.column is not None]
        return ROW_KEYS.with_columns([*BOX_COLUMNS, *self.row_columns, *PEAK, *columns])

    @property
    def curves_table(self) -> Table:
        """The table ``curves``."""
        return CURVE_KEYS.with_columns(self.curve_columns)

    def require_columns(self, name: str, measured: MeasuredColumns = NOTHING_MEASURED) -> None:
        """Raise ConfigError if a metric reads a column that is missing, or a name is there twice.

        Args:
            name: the protocol's name, for the message.
            measured: the columns that the network pass adds to ``rows``.
        """
        self._require_free_names(measured)
        names = {*self.rows_table.names, *(column.name for column in measured.all)}
        names |= set(self.curves_table.names)
        for metric in self.metrics:
            if missing := [column for column in metric.needs if column not in names]:
                advice = "leave it out of 'metrics', or list a method that measures it"
                if missing[0] in {column.name for column in FAITHFULNESS}:
                    advice = "set 'faithfulness: STEPS' in the experiment to measure it"
                raise ConfigError(
                    f"metrics: {metric.name} needs the column {missing[0]!r}, which results of "
                    f"protocol {name} do not have; {advice}"
                )

    def _require_free_names(self, measured: MeasuredColumns) -> None:
        """Raise ConfigError if a name of a metric, its column, or a measured column is taken."""
        own = (*ROW_KEYS.columns, *BOX_COLUMNS, *self.row_columns, *PEAK, *measured.faithfulness)
        columns = {column.name for column in own}
        names = {*GROUP, *SUMMARY_COUNTS, *self.number_names}
        of_metrics = {metric.name for metric in self.metrics}
        of_metrics |= {metric.column.name for metric in self.map_metrics if metric.column}
        for column in measured.of_methods:
            if column.name in columns | names | of_metrics:
                raise ConfigError(
                    f"methods: a method measures {column.name!r}, a name that a number or another "
                    "column of the results has; rename it in the method's 'columns'"
                )
        for metric in self.metrics:
            if metric.column is not None:
                if metric.column.name in columns:
                    raise ConfigError(
                        f"metrics: {metric.name} is stored in the column {metric.column.name!r}, "
                        "a name that another column of the results has; rename the metric's column"
                    )
                columns.add(metric.column.name)
            if metric.name in names:
                raise ConfigError(
                    f"metrics: {metric.name!r} is also the name of another column of this "
                    "protocol's results; rename the metric"
                )
            names.add(metric.name)

    def score_maps(self, maps: Float32[np.ndarray, "n h w"], batch: RowBatch) -> Scores:
        """The scores of maps.

        Args:
            maps: the maps as they are stored, one a row.
            batch: their rows; the inputs of their images have one size.
        """
        boxes = np.full((len(maps), 4), np.nan)
        measured = {name: np.full(len(maps), np.nan) for name in self._measured_names}
        curves: dict[int, Mapping[str, bytes]] = {}
        rows = np.arange(len(maps)) if self.every_row else np.flatnonzero(batch.is_label)
        for start in range(0, len(rows), CHUNK):
            chosen = rows[start : start + CHUNK]
            size = batch.images.placements[batch.image[chosen[0]]].input
            chunk = Chunk(chosen, maps[chosen], upsample(maps[chosen], size, self.map_section))
            boxes[chosen] = self.boxes_of_maps(chunk)
            curves.update(self.curves_of_maps(chunk, batch))
            for values, row in zip(chunk.large, chosen.tolist(), strict=True):
                if batch.is_label[row]:
                    for name, value in self._measure(values, row, batch):
                        measured[name][row] = value
        boxes, columns = self.place_boxes(boxes, batch)
        status = with_unsound(maps, self.status_of_maps(boxes))
        return self.scores_of(status, boxes, {**columns, **measured}, curves)

    def score_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        with_curve: Bool[np.ndarray, " n"],
    ) -> Scores:
        """The scores of boxes that have no map: a box is right at every threshold, or at none.

        Args:
            boxes: half-open xyxy pixels of their images; NaN for none.
            batch: the row of each box.
            with_curve: whether each row may have a curve; true for one row an image at most.
        """
        return self.scores_of(
            self.status_of_boxes(boxes),
            boxes,
            self.columns_of_boxes(boxes, batch),
            self.curves_of_boxes(boxes, batch, np.flatnonzero(with_curve)),
        )

    def score_nothing(self, batch: RowBatch) -> Scores:
        """The scores of rows that have neither map nor box: a miss in the protocol's numbers."""
        return self.score_boxes(np.full((len(batch), 4), np.nan), batch, batch.is_label)

    def missing(self, batch: RowBatch) -> Scores:
        """The scores of rows whose maps are missing: a miss in every number."""
        scores = self.score_nothing(batch)
        columns = dict(scores.rows)
        for metric in self.map_metrics:
            assert metric.column is not None
            values = columns[metric.column.name].copy()
            for row in np.flatnonzero(batch.is_label):
                truth = batch.images.truth[batch.image[row]]
                values[row] = metric.worst if metric.counts(truth) else np.nan
            columns[metric.column.name] = values
        status = np.full(len(batch), RowStatus.MISSING.value, dtype=object)
        return replace(scores, status=status, rows=columns)

    def not_applicable(self, n: int) -> Scores:
        """The scores of n rows of a method that makes no maps."""
        status = np.full(n, RowStatus.NOT_APPLICABLE.value, dtype=object)
        return self.scores_of(status, np.full((n, 4), np.nan))

    def scores_of(
        self,
        status: np.ndarray,
        boxes: Float64[np.ndarray, "n 4"],
        columns: Mapping[str, Float64[np.ndarray, " n"]] | None = None,
        curves: CurveLines | None = None,
    ) -> Scores:
        """Scores with all columns of the tables ``rows`` and ``curves``.

        Args:
            status: the ``RowStatus`` of each row.
            boxes: the box of each row in pixels of its image; NaN for none.
            columns: other columns of ``rows``, by name; a column that is missing here becomes NaN.
            curves: the lines of ``curves``.
        """
        box_names = [column.name for column in (*BOX_COLUMNS, *self.row_columns)]
        names = [*box_names, *self._measured_names]
        corners = {column.name: boxes[:, place] for place, column in enumerate(BOX_COLUMNS)}
        filled = {**corners, **(columns or {})}
        curves = curves or {}
        return Scores(
            status,
            {name: np.array(filled.get(name, np.full(len(status), np.nan))) for name in names},
            np.array(list(curves), np.int64),
            {
                column.name: np.array([line[column.name] for line in curves.values()], dtype=object)
                for column in self.curve_columns
            },
            frozenset(box_names),
        )

    def numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """All numbers of one method: those of the protocol, then those of the metrics."""
        numbers = self.protocol_numbers(images, selection)
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
                    held = metric.number(held_out) if held_out is not None else None
                    chosen = held.means() if held is not None else selection(metric.name)
                    number = replace(number, thresholds=swept.thresholds, selection=chosen)
            if number is not None:
                numbers.append(number)
        return numbers

    def summary(self, images: ImageScores, selection: Selection) -> dict[str, int | float]:
        """The columns of one method's line of the summary: counts, then numbers."""
        line: dict[str, int | float] = dict(self.counts(images))
        measured = {metric.name for metric in self.map_metrics}
        for number in self.numbers(images, selection):
            # A number of maps is NaN for a method that has only boxes.
            if number.name in measured and np.isnan(number.value()):
                continue
            line |= number.line()
        return line

    @property
    def _measured_names(self) -> list[str]:
        """The columns of ``rows`` that are measured on the map of an image's label."""
        metric_columns = [metric.column for metric in self.map_metrics if metric.column]
        return [column.name for column in (*PEAK, *metric_columns)]

    def _measure(
        self, values: Float32[np.ndarray, "height width"], row: int, batch: RowBatch
    ) -> Iterator[tuple[str, float]]:
        """The columns that every protocol measures on one map, with their values."""
        index = batch.image[row]
        view = MapView(values, batch.images.truth[index], batch.images.placements[index])
        for column, value in zip(PEAK, peak_in_image(view), strict=True):
            yield column.name, value
        for metric in self.map_metrics:
            assert metric.column is not None
            yield metric.column.name, metric.measure(view)
