"""One box of each map, at one threshold: ILSVRC's localization error, and GT-known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64

from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.levels import levels_of
from wsol_bench.geometry import to_input
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.breakdown import By, breakdown
from wsol_bench.metrics.failure_modes import failure_counts
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import LOCALIZATION_NUMBERS, localization_numbers
from wsol_bench.metrics.number import Number
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.protocols.sections import MapSection, OneBoxSection
from wsol_bench.runs.schema import CORNERS, Column, RowStatus
from wsol_bench.scoring.base import CHUNK, Chunk, ScoreBuffer, Scores, Scoring, Selection
from wsol_bench.scoring.batches import RowBatch
from wsol_bench.scoring.boxes import (
    CONNECTIVITY,
    best_iou,
    boxes_in_original,
    extrema,
    truth_in_frame,
)
from wsol_bench.scoring.upsampling import upsample

__all__ = ["OneBox", "boxes_of_maps"]

_IOU = Column(
    "iou",
    "real",
    "best IoU with the ground-truth boxes of the image's own class; 0 where there is no box, NaN "
    "where the method is not applicable",
    "0 to 1",
)


class OneBox(Scoring):
    """Scores the largest component's box at the protocol's one threshold."""

    row_columns = (_IOU,)
    curve_columns = ()
    every_row = True
    # A metric is a column of the breakdowns, beside the one that names the bins.
    number_names = LOCALIZATION_NUMBERS | {*get_args(By)}

    def __init__(self, protocol: OneBoxProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        self._box = protocol.box
        self._rule = protocol.scoring
        self.least_iou = protocol.scoring.iou

    def status(self, rows: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """``box``, or ``no_box`` where a map has none."""
        none = np.isnan(rows[CORNERS[0].name])
        return np.where(none, RowStatus.NO_BOX.value, RowStatus.BOX.value).astype(object)

    def score_chunk(self, chunk: Chunk, batch: RowBatch, scores: ScoreBuffer) -> None:
        """The boxes, in pixels of the input until all chunks are through."""
        scores.put_boxes(chunk.rows, _boxes(chunk.large, chunk.maps, self.map_rule, self._box))

    def finish_maps(self, batch: RowBatch, scores: ScoreBuffer) -> None:
        """The boxes in pixels of the images, and how well they fit."""
        inside = scores.boxes()
        shown = boxes_in_original(inside, batch)
        scores.put_boxes(np.arange(len(batch)), shown)
        scores.rows[_IOU.name][:] = self._best_iou(inside, shown, batch)

    def score_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        with_curve: Bool[np.ndarray, " n"],
    ) -> Scores:
        """The boxes as they are, and how well they fit."""
        buffer = ScoreBuffer(self, len(boxes))
        buffer.put_boxes(np.arange(len(boxes)), boxes)
        inside = boxes
        if self._rule.frame == "input" and len(boxes):
            inside = to_input(boxes, batch.images.placements, batch.image)
        buffer.rows[_IOU.name][:] = self._best_iou(inside, boxes, batch)
        none = np.isnan(boxes[:, 0])
        status = np.where(none, RowStatus.MISSING.value, RowStatus.BOX.value)
        return buffer.scores(status.astype(object))

    def score_nothing(self, batch: RowBatch) -> Scores:
        """No box, which overlaps nothing."""
        return self.score_boxes(np.full((len(batch), 4), np.nan), batch, batch.own)

    def counts(self, images: ImageScores) -> dict[str, int]:
        """Images that are in no localization error."""
        return {
            "n_blacklisted": int(images.images["blacklisted"].sum()),
            "n_without_box": int((~images.has_box).sum()),
        }

    def own_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """ILSVRC's errors, and GT-known."""
        return localization_numbers(images, iou=self._rule.iou)

    def details(
        self, images: ImageScores, measured: Mapping[str, Float64[np.ndarray, " n"]]
    ) -> dict[str, pd.DataFrame]:
        """Failure modes, and errors by class, object size and number of instances."""
        iou = self._rule.iou
        counts = [
            failure_counts(images, of=question, iou=iou).assign(of=question)
            for question in ("top1", "gt_known")
        ]
        tables = {"failure_modes": pd.concat(counts, ignore_index=True)}
        for by in get_args(By):
            tables[f"by_{by}"] = breakdown(images, by=by, iou=iou, measured=measured)
        return tables

    def require_boxes(self, run: Path, protocol: str) -> None:
        """Each map has one."""

    def _best_iou(
        self, inside: Float64[np.ndarray, "n 4"], shown: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> Float64[np.ndarray, " n"]:
        """The best IoU of boxes, given in pixels of the input and of the image."""
        frame = self._rule.frame
        pairs = zip(batch.images.truth, batch.images.placements, strict=True)
        truth = [truth_in_frame(one, placement, frame) for one, placement in pairs]
        return best_iou(shown if frame == "original" else inside, batch.image, truth)


def boxes_of_maps(
    maps: Float32[np.ndarray, "n h w"],
    size: tuple[int, int],
    map_rule: MapSection,
    rule: OneBoxSection,
) -> Float64[np.ndarray, "n 4"]:
    """One half-open xyxy box a map, in pixels of the input; a row of NaN where there is no box.

    Args:
        maps: as the method made them, signed or not.
        size: (height, width) of the network's input.
        map_rule: from low resolution to the input's size.
        rule: from there to the box.
    """
    boxes = np.empty((len(maps), 4))
    for start in range(0, len(maps), CHUNK):
        some = maps[start : start + CHUNK]
        large = upsample(some, size, map_rule)
        boxes[start : start + CHUNK] = _boxes(large, some, map_rule, rule)
    return boxes


def _boxes(
    large: Float32[np.ndarray, "n height width"],
    maps: Float32[np.ndarray, "n h w"],
    map_rule: MapSection,
    rule: OneBoxSection,
) -> Float64[np.ndarray, "n 4"]:
    if rule.extractor == "contours":
        threshold = np.array([rule.threshold])
        return np.array(
            [contour_sweep(one, threshold).largest.boxes[0] for one in large], np.float64
        )
    low, high = extrema(large, maps, map_rule, rule)
    return largest_components(
        large,
        levels_of(low, high, threshold=rule.threshold, of=rule.of),
        comparison=rule.comparison,
        connectivity=CONNECTIVITY[rule.connectivity],
    )
