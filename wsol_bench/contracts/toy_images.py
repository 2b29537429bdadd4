"""The small world that metrics are checked on: a few images with boxes, and maps of them.

No network is needed. Some maps are usual (a blob, noise of both signs, a rectified map), others are
not (constant, zero, not finite).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wsol_bench.common.table import Column
from wsol_bench.contracts.verdict import BrokenClauseError
from wsol_bench.datasets import Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.metrics.base import Metric, metrics
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.schema import GROUP, ImageStatus, Tables
from wsol_bench.runs.scored_batches import (
    CostLine,
    ImageOutcome,
    ScoredGroup,
    ScoredMethod,
    StoredMaps,
)
from wsol_bench.runs.scorer import Scorer
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.measured_columns import MeasuredColumns
from wsol_bench.scoring.summary import MethodResults

__all__ = ["IMAGES", "MetricCase", "blob"]

_SIDE = 14
_LABEL, _OTHER = "n00000001", "n00000002"
# (height, width) of each image, and its boxes as half-open xyxy pixels.
IMAGES: tuple[tuple[tuple[int, int], list[list[float]]], ...] = (
    ((120, 160), [[20, 30, 90, 100]]),
    ((200, 100), [[10, 20, 60, 90], [50, 120, 95, 190]]),
    ((150, 150), [[0, 0, 150, 150]]),
    ((90, 240), [[200, 10, 230, 40]]),
    ((160, 120), [[30, 30, 80, 120]]),
    ((100, 100), [[40, 40, 60, 60]]),
    ((130, 170), [[60, 20, 160, 110]]),
)


@dataclass(frozen=True, eq=False)
class MetricCase:
    """A metric, and the images and maps that it is checked on.

    Attributes:
        metric: the metric.
        scorer: a scorer whose protocol stores the columns that the metric reads.
        samples: the images.
        maps: one map of each image, for its label.
    """

    metric: Metric
    scorer: Scorer
    samples: Sequence[Sample]
    maps: Float32[np.ndarray, "n h w"]

    @classmethod
    def of(cls, metric: Metric) -> "MetricCase":
        """The case of a metric, with a protocol that suits it."""
        changes = {}
        name = "gradcam-2017"
        if metric.reads_hits:
            name, changes = "choe-2020-v1", {"box": {"threshold": {"step": 0.05}}}
        protocol = load_protocol(name, changes)
        # A metric per image may read what a metric per map has measured.
        read = [metrics.get(name) for name in metric.needs if name in metrics]
        read = [one for one in read if one.column is not None]
        scoring = scoring_of(protocol, [metric, *read])
        scorer = Scorer("model", protocol, scoring, _measured(metric, scoring), strict=False)
        samples = [
            Sample(
                f"image {index}", Path(f"{index}.jpg"), *size, _LABEL, np.array(boxes, np.float64),
                (_LABEL,) * len(boxes), blacklisted=False,
            )
            for index, (size, boxes) in enumerate(IMAGES)
        ]  # fmt: skip
        return cls(metric, scorer, samples, _maps())

    def tables(self, images: Sequence[int], maps: Float32[np.ndarray, "n h w"]) -> Tables:
        """The tables of a run over images, given by position and in that order.

        Each image has two rows, of its label and of another class. The label has rank 1 in images
        at even positions, and rank 2 in all other images.

        Args:
            images: positions in ``samples``.
            maps: one map of each of ``samples``, which both rows of an image share.
        """
        samples = [self.samples[index] for index in images]
        protocol, scoring = self.scorer.protocol, self.scorer.scoring
        batch = ImageBatch(
            tuple(sample.image_id for sample in samples),
            tuple(map(ImageTruth.of, samples)),
            tuple(protocol.input.place(sample.height, sample.width) for sample in samples),
        )
        n = len(samples)
        label_rank = np.array([1 + index % 2 for index in images])
        rows = RowBatch(
            batch,
            np.repeat(np.arange(n), 2),
            np.tile([1, 2], n),
            np.where(np.tile([1, 2], n) == np.repeat(label_rank, 2), _LABEL, _OTHER).astype(object),
            np.tile([0.6, 0.2], n),
        )
        values = maps[np.repeat(list(images), 2)].astype(np.float16)
        scores = scoring.score_maps(values.astype(np.float32), rows)
        value = 0.1 + 0.1 * np.repeat(list(images), 2)
        measured = {column.name: value for column in self.scorer.measured.of_methods}
        for column in self.scorer.measured.faithfulness:
            measured[column.name] = np.where(rows.rank == 1, value, np.nan)
        stored = StoredMaps(np.arange(2 * n), values, np.ones(2 * n))
        method = ScoredMethod("method", "layer", rows, scores, CostLine(n), stored, measured)
        outcomes = [
            ImageOutcome(
                position, sample, ImageStatus.EVALUATED, "", int(label_rank[position]), 0.5
            )
            for position, sample in enumerate(samples)
        ]
        return self.scorer.tables([], [ScoredGroup(outcomes, [method])])

    def values(
        self, images: Sequence[int] | None = None, maps: Float32[np.ndarray, "n h w"] | None = None
    ) -> np.ndarray:
        """Each image's contribution to the metric's number, (n,) or (n, m); by default of all."""
        positions = range(len(self.samples)) if images is None else images
        return self.values_of(self.tables(list(positions), self.maps if maps is None else maps))

    def values_of(self, tables: Tables) -> np.ndarray:
        """The contribution of each image of the tables to the metric's number, (n,) or (n, m)."""
        protocol = self.scorer.protocol
        names = ("model", "method", "layer", protocol.name, protocol.hash)
        results = MethodResults(
            dict(zip(GROUP, names, strict=True)),
            EvaluatedImages.of(tables.images),
            tables.rows,
            tables.curves,
            self.scorer.scoring,
        )
        for number in results.numbers():
            if number.name == self.metric.name:
                columns = number.columns
                matrix = columns if isinstance(columns, np.ndarray) else columns.unpacked()
                return matrix.astype(np.float64)
        raise BrokenClauseError("expected a number of the metric in the summary, found none")


def _measured(metric: Metric, scoring: Scoring) -> MeasuredColumns:
    """The columns that a metric reads of those that a network pass fills."""
    faithfulness = {column.name for column in FAITHFULNESS}
    unknown = {*metric.needs} - {*scoring.rows_table.names, *scoring.curves_table.names}
    return MeasuredColumns(
        FAITHFULNESS if unknown & faithfulness else (),
        tuple(dict.fromkeys(_columns_of_methods(unknown - faithfulness))),
    )


def _columns_of_methods(names: Collection[str]) -> Iterator[Column]:
    """The columns of these names that map methods fill."""
    if not names:
        return
    from wsol_bench.methods.base import cam_methods  # which imports torch

    for method in map(cam_methods.get, cam_methods):
        yield from (column for column in method.columns if column.name in names)


def _maps() -> Float32[np.ndarray, "n h w"]:
    """A map for each image: two blobs, noise, rectified noise, constant, zero, and with a NaN."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    blobs = [blob(0.4, 0.3), blob(0.8, 0.2)]
    constant, zero = np.ones_like(noise), np.zeros_like(noise)
    broken = noise.copy()
    broken[3, 4] = np.nan
    return np.stack([*blobs, noise, np.maximum(noise, 0), constant, zero, broken])


def blob(x: float, y: float) -> Float32[np.ndarray, "h w"]:
    """A map with a Gaussian blob around a point, in fractions of the map's width and height."""
    across = (np.arange(_SIDE) + 0.5) / _SIDE
    distance = (across[None] - x) ** 2 + (across[:, None] - y) ** 2
    return np.exp(-distance / 0.05).astype(np.float32)
