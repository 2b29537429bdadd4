"""Scoring of the pixels of a map against a mask: PxAP and peak IoU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from wsol_bench.boxes.levels import ranks_of
from wsol_bench.common.table import Column
from wsol_bench.errors import ImageError, RunError
from wsol_bench.images.masks import BACKGROUND, OBJECT, mask_of
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import CLASSIFICATION_NUMBERS, classification_numbers
from wsol_bench.metrics.number import Number
from wsol_bench.metrics.pixel_ap import peak_iou, pixel_average_precision
from wsol_bench.protocols.model import PixelProtocol
from wsol_bench.runs.schema import RowStatus
from wsol_bench.scoring.base import Chunk, Scoring, Selection
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.scores import CurveLines, Scores

__all__ = ["Pixels"]

_FOREGROUND = Column(
    "foreground",
    "bytes",
    "little-endian uint32: the number of the object's pixels between each threshold and the next; "
    "the last number counts those at the maximum",
)
_BACKGROUND = Column("background", "bytes", "the same numbers of the other pixels")


class Pixels(Scoring):
    """Scores the pixels of the map of each image's label."""

    row_columns = ()
    curve_columns = (_FOREGROUND, _BACKGROUND)
    every_row = False
    number_names = CLASSIFICATION_NUMBERS | {"px_ap", "p_iou", "p_iou_threshold"}

    def __init__(self, protocol: PixelProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        # A value below the first threshold is above no threshold; the maximum is above all of them.
        self.thresholds = np.append(protocol.pixels.thresholds, 1.0)

    def status_of_maps(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``swept`` for every map, since the protocol takes no boxes."""
        return np.full(len(boxes), RowStatus.SWEPT.value, dtype=object)

    def status_of_boxes(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``not_applicable`` for every box, since a box has no pixels to score."""
        return np.full(len(boxes), RowStatus.NOT_APPLICABLE.value, dtype=object)

    def curves_of_maps(self, chunk: Chunk, batch: RowBatch) -> CurveLines:
        """The pixel counts of each map."""
        return {
            row: self._pixel_counts(values, _mask(batch, row))
            for row, values in zip(chunk.rows.tolist(), chunk.large, strict=True)
        }

    def score_nothing(self, batch: RowBatch) -> Scores:
        """The scores of rows without a map, which count as constant maps."""
        boxes = np.full((len(batch), 4), np.nan)
        lines = {}
        for row in np.flatnonzero(batch.is_label).tolist():
            mask = _mask(batch, row)
            lines[row] = self._pixel_counts(np.zeros(mask.shape, np.float32), mask)
        return self.scores_of(self.status_of_maps(boxes), boxes, curves=lines)

    def broken(self, images: ImageBatch) -> dict[int, str]:
        """The images whose mask cannot be read: position in the batch to reason."""
        reasons = {}
        pairs = zip(images.truth, images.placements, strict=True)
        for position, (truth, placement) in enumerate(pairs):
            try:
                mask_of(truth.mask, placement)
            except ImageError as error:
                reasons[position] = str(error)
        return reasons

    def counts(self, images: ImageScores) -> dict[str, int]:
        """The number of scored images."""
        assert images.curves is not None
        return {"n_scored": len(images.curves)}

    def protocol_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """PxAP and peak IoU over all pixels of all images.

        The classification errors come first; a method without a network has none.
        """
        assert images.curves is not None
        kinds = [self._counts(images, column.name) for column in (_FOREGROUND, _BACKGROUND)]
        sums = [kind.sum(axis=0).astype(np.int64) for kind in kinds]
        peak = peak_iou(*sums)
        best = float("nan") if np.isnan(peak.iou) else float(self.thresholds[peak.threshold])
        columns = np.concatenate(kinds, axis=1)
        image_ids = images.curves["image_id"].to_numpy(object)
        classification = classification_numbers(images) if images.ranked else []
        return classification + [
            Number(
                name,
                columns,
                image_ids,
                better="higher",
                statistic=statistic,
                point=point,
                beside=beside,
            )
            for name, statistic, point, beside in (
                ("px_ap", _average_precision, pixel_average_precision(*sums), {}),
                ("p_iou", _peak_iou, peak.iou, {"p_iou_threshold": best}),
            )
        ]

    def require_boxes(self, run: Path, protocol: str) -> None:
        """Raise RunError, since the protocol takes no boxes."""
        raise RunError(
            f"{run} was scored by {protocol}, which scores pixels: it has no boxes to export"
        )

    def _counts(self, images: ImageScores, column: str) -> Int64[np.ndarray, "n t"]:
        assert images.curves is not None
        flat = np.frombuffer(b"".join(images.curves[column]), "<u4")
        return flat.reshape(-1, len(self.thresholds)).astype(np.int64)

    def _pixel_counts(
        self, values: Float32[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"]
    ) -> dict[str, bytes]:
        """The line of ``curves`` of a map: its pixels between thresholds, object and background."""
        low, high = values.min(), values.max()
        scaled = np.zeros_like(values)
        if low < high and np.isfinite(high - low):
            scaled = values - low
            scaled /= scaled.max()
        bins = ranks_of(scaled, self.thresholds, comparison="at_least") - 1
        return {
            column.name: np.bincount(bins[mask == kind], minlength=len(self.thresholds))
            .astype("<u4")
            .tobytes()
            for column, kind in ((_FOREGROUND, OBJECT), (_BACKGROUND, BACKGROUND))
        }


def _mask(batch: RowBatch, row: int) -> UInt8[np.ndarray, "h w"]:
    """The mask of a row's image, in pixels of the input."""
    index = batch.image[row]
    return mask_of(batch.images.truth[index].mask, batch.images.placements[index])


def _average_precision(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
    return np.array([pixel_average_precision(*np.split(line, 2)) for line in means])


def _peak_iou(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
    return np.array([peak_iou(*np.split(line, 2)).iou for line in means])
