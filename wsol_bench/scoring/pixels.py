"""The scores of a map's pixels against a mask: PxAP and peak IoU."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from wsol_bench.boxes.levels import ranks_of
from wsol_bench.errors import ImageError, RunError
from wsol_bench.images.masks import BACKGROUND, OBJECT, mask_of
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number
from wsol_bench.metrics.pixel_ap import peak_iou, pixel_average_precision
from wsol_bench.protocols.model import PixelProtocol
from wsol_bench.runs.schema import Column, RowStatus
from wsol_bench.scoring.base import Chunk, ScoreBuffer, Scores, Scoring, Selection
from wsol_bench.scoring.batches import ImageBatch, RowBatch

__all__ = ["Pixels"]

_FOREGROUND = Column(
    "foreground",
    "bytes",
    "little-endian uint32: the pixels of the object between each threshold and the next, the last "
    "those at the maximum",
)
_BACKGROUND = Column("background", "bytes", "likewise, of the other pixels")

# A resample of pixels' scores is a thousand times the work of one of hits.
_N_RESAMPLES = 1000


class Pixels(Scoring):
    """Scores the pixels of the map of each image's own class."""

    row_columns = ()
    curve_columns = (_FOREGROUND, _BACKGROUND)
    every_row = False
    number_names = frozenset({"px_ap", "p_iou", "p_iou_threshold"})

    def __init__(self, protocol: PixelProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        # What lies below the first threshold is above none; what is at the maximum, above all.
        self.thresholds = np.append(protocol.pixels.thresholds, 1.0)

    def status(self, rows: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """``swept``: there is no box."""
        return np.full(n, RowStatus.SWEPT.value, dtype=object)

    def score_chunk(self, chunk: Chunk, batch: RowBatch, scores: ScoreBuffer) -> None:
        """How many pixels of the object and of the rest lie between thresholds."""
        for row, values in zip(chunk.rows.tolist(), chunk.large, strict=True):
            index = batch.image[row]
            mask = mask_of(batch.images.truth[index].mask, batch.images.placements[index])
            self._add(row, values, mask, scores)

    def score_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        with_curve: Bool[np.ndarray, " n"],
    ) -> Scores:
        """A box has no pixels to score."""
        buffer = ScoreBuffer(self, len(boxes))
        buffer.put_boxes(np.arange(len(boxes)), boxes)
        return buffer.scores(np.full(len(boxes), RowStatus.NOT_APPLICABLE.value, dtype=object))

    def score_nothing(self, batch: RowBatch) -> Scores:
        """A map that is not there is one whose pixels are all alike."""
        buffer = ScoreBuffer(self, len(batch))
        for row in np.flatnonzero(batch.own).tolist():
            index = batch.image[row]
            mask = mask_of(batch.images.truth[index].mask, batch.images.placements[index])
            self._add(row, np.zeros(mask.shape, np.float32), mask, buffer)
        return buffer.scores(self.status(buffer.rows, len(batch)))

    def broken(self, images: ImageBatch) -> dict[int, str]:
        """By position, why an image's mask cannot be read."""
        reasons = {}
        pairs = zip(images.truth, images.placements, strict=True)
        for position, (truth, placement) in enumerate(pairs):
            try:
                mask_of(truth.mask, placement)
            except ImageError as error:
                reasons[position] = str(error)
        return reasons

    def counts(self, images: ImageScores) -> dict[str, int]:
        """Images in the numbers."""
        assert images.curves is not None
        return {"n_scored": len(images.curves)}

    def own_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """PxAP and peak IoU over all pixels of the set."""
        assert images.curves is not None
        kinds = [self._counts(images, column.name) for column in (_FOREGROUND, _BACKGROUND)]
        sums = [kind.sum(axis=0).astype(np.int64) for kind in kinds]
        peak = peak_iou(*sums)
        best = float("nan") if np.isnan(peak.iou) else float(self.thresholds[peak.threshold])
        columns = np.concatenate(kinds, axis=1)
        image_ids = images.curves["image_id"].to_numpy(object)
        return [
            Number(
                name,
                columns,
                image_ids,
                better="higher",
                statistic=statistic,
                point=point,
                beside=beside,
                n_resamples=_N_RESAMPLES,
            )
            for name, statistic, point, beside in (
                ("px_ap", _average_precision, pixel_average_precision(*sums), {}),
                ("p_iou", _peak_iou, peak.iou, {"p_iou_threshold": best}),
            )
        ]

    def require_boxes(self, run: Path, protocol: str) -> None:
        """Raise RunError: no one box is chosen."""
        raise RunError(
            f"{run} was scored by {protocol}, which scores pixels: it has no boxes to export"
        )

    def _counts(self, images: ImageScores, column: str) -> Int64[np.ndarray, "n t"]:
        assert images.curves is not None
        flat = np.frombuffer(b"".join(images.curves[column]), "<u4")
        return flat.reshape(-1, len(self.thresholds)).astype(np.int64)

    def _add(
        self,
        row: int,
        values: Float32[np.ndarray, "h w"],
        mask: UInt8[np.ndarray, "h w"],
        scores: ScoreBuffer,
    ) -> None:
        low, high = values.min(), values.max()
        scaled = np.zeros_like(values)
        if low < high and np.isfinite(high - low):
            scaled = values - low
            scaled /= scaled.max()
        bins = ranks_of(scaled, self.thresholds, comparison="at_least") - 1
        foreground, background = (
            np.bincount(bins[mask == kind], minlength=len(self.thresholds)).astype("<u4").tobytes()
            for kind in (OBJECT, BACKGROUND)
        )
        scores.add_curve(row, foreground=foreground, background=background)


def _average_precision(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
    return np.array([pixel_average_precision(*np.split(line, 2)) for line in means])


def _peak_iou(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
    return np.array([peak_iou(*np.split(line, 2)).iou for line in means])
