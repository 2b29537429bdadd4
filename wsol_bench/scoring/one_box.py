"""Scoring of one box of each map, at one threshold: ILSVRC's localization error, and GT-known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.levels import levels_of
from wsol_bench.common.table import Column
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.breakdown import By, breakdown
from wsol_bench.metrics.failure_modes import failure_counts
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import LOCALIZATION_NUMBERS, localization_numbers
from wsol_bench.metrics.number import Number
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.runs.schema import RowStatus
from wsol_bench.scoring.base import Chunk, Scoring, Selection
from wsol_bench.scoring.batches import RowBatch
from wsol_bench.scoring.extrema import extrema
from wsol_bench.scoring.frames import (
    best_iou,
    boxes_in_frame,
    boxes_in_original,
    truth_in_frame,
)

__all__ = ["OneBox"]

_IOU = Column(
    "iou",
    "real",
    "best IoU of the box with a ground-truth box of the image's label; 0 if there is no box, NaN "
    "if the method is not applicable",
    "0 to 1",
)


class OneBox(Scoring):
    """Scores one box of each map: that of the largest component at the protocol's threshold."""

    row_columns = (_IOU,)
    curve_columns = ()
    every_row = True
    # In a breakdown a metric is a column beside the one that names the bins.
    number_names = LOCALIZATION_NUMBERS | {*get_args(By)}

    def __init__(self, protocol: OneBoxProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        self._box_section = protocol.box
        self._scoring_section = protocol.scoring
        self.least_iou = protocol.scoring.iou

    def status_of_maps(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``box``, or ``no_box`` for a map without a box."""
        has_no_box = np.isnan(boxes[:, 0])
        return np.where(has_no_box, RowStatus.NO_BOX.value, RowStatus.BOX.value).astype(object)

    def status_of_boxes(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``box``, or ``missing`` for a row without a box."""
        has_no_box = np.isnan(boxes[:, 0])
        return np.where(has_no_box, RowStatus.MISSING.value, RowStatus.BOX.value).astype(object)

    def boxes_of_maps(self, chunk: Chunk) -> Float64[np.ndarray, "n 4"]:
        """The box of each map, half-open xyxy in pixels of the input; NaN for none."""
        section = self._box_section
        if section.extractor == "contours":
            threshold = np.array([section.threshold])
            return np.array(
                [contour_sweep(large, threshold).largest.boxes[0] for large in chunk.large],
                np.float64,
            )
        low, high = extrema(chunk.large, chunk.maps, self.map_section, section)
        return largest_components(
            chunk.large,
            levels_of(low, high, threshold=section.threshold, of=section.of),
            comparison=section.comparison,
            connectivity=section.connectivity,
        )

    def place_boxes(
        self, boxes: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> tuple[Float64[np.ndarray, "n 4"], Mapping[str, Float64[np.ndarray, " n"]]]:
        """The boxes in pixels of their images, and their best IoU with a ground-truth box."""
        in_original = boxes_in_original(boxes, batch)
        compared = in_original if self._scoring_section.frame == "original" else boxes
        return in_original, {_IOU.name: self._best_iou(compared, batch)}

    def columns_of_boxes(
        self, boxes: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> Mapping[str, Float64[np.ndarray, " n"]]:
        """The best IoU of each box with a ground-truth box of its image."""
        compared = boxes_in_frame(boxes, batch, self._scoring_section.frame)
        return {_IOU.name: self._best_iou(compared, batch)}

    def counts(self, images: ImageScores) -> dict[str, int]:
        """The numbers of images that are left out of the localization errors."""
        return {
            "n_blacklisted": int(images.images["blacklisted"].sum()),
            "n_without_box": int((~images.has_box).sum()),
        }

    def protocol_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """ILSVRC's localization and classification errors, and GT-known."""
        return localization_numbers(images, iou=self._scoring_section.iou)

    def details(
        self, images: ImageScores, measured: Mapping[str, Float64[np.ndarray, " n"]]
    ) -> dict[str, pd.DataFrame]:
        """The failure modes, and the errors by class, object size and number of instances."""
        iou = self._scoring_section.iou
        counts = [
            failure_counts(images, of=question, iou=iou).assign(of=question)
            for question in ("top1", "gt_known")
        ]
        tables = {"failure_modes": pd.concat(counts, ignore_index=True)}
        for by in get_args(By):
            tables[f"by_{by}"] = breakdown(images, by=by, iou=iou, measured=measured)
        return tables

    def require_boxes(self, run: Path, protocol: str) -> None:
        """Do nothing, since the protocol takes one box of each map."""

    def _best_iou(
        self, boxes: Float64[np.ndarray, "n 4"], batch: RowBatch
    ) -> Float64[np.ndarray, " n"]:
        """The best IoU of each box with a ground-truth box; boxes are in the protocol's frame."""
        frame = self._scoring_section.frame
        pairs = zip(batch.images.truth, batch.images.placements, strict=True)
        truth = [truth_in_frame(truth, placement, frame) for truth, placement in pairs]
        return best_iou(boxes, batch.image, truth)
