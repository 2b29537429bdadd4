"""Scoring of boxes at every threshold of a sweep: MaxBoxAcc, MaxBoxAccV2, selected thresholds.

A sweep keeps hits, not boxes: for the map of each image's label, one bit for each threshold and
least IoU. Every number follows from these bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.levels import levels_of, ranks_of
from wsol_bench.boxes.threshold_sweep import BoxSpans, Components, best_iou_curve, sweep
from wsol_bench.common.table import Column
from wsol_bench.errors import RunError
from wsol_bench.geometry import Placement, to_original
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import CLASSIFICATION_NUMBERS, classification_numbers
from wsol_bench.metrics.max_box_acc import MAX_BOX_ACC_IOU, MAX_BOX_ACC_V2_IOUS
from wsol_bench.metrics.number import Number, ThresholdColumns
from wsol_bench.protocols.model import BoxSweepProtocol
from wsol_bench.protocols.sections import MapSection, SweepBoxSection
from wsol_bench.runs.schema import RowStatus
from wsol_bench.scoring.base import Chunk, Scoring, Selection
from wsol_bench.scoring.batches import RowBatch
from wsol_bench.scoring.extrema import extrema
from wsol_bench.scoring.frames import boxes_in_frame, truth_in_frame
from wsol_bench.scoring.scores import CurveLines
from wsol_bench.scoring.upsampling import upsample
from wsol_bench.statistics.columns import column_means
from wsol_bench.statistics.hits import Hits

__all__ = ["BoxSweep"]

_HITS = Column(
    "hits",
    "bytes",
    "packed bits (numpy's `packbits`): for each least IoU of the protocol one bit a threshold, "
    "ascending, beginning with a new byte; first the hits of the largest component, then, with "
    "`component: all`, those of all components",
)


@dataclass(frozen=True)
class _CurveNumber:
    """A number of the summary, and the curves of a line of hits that it is made of.

    Attributes:
        number: the name of the number.
        curves: the positions of its curves in a line of hits; several are averaged.
        best: the names of the columns beside the number.
    """

    number: str
    curves: tuple[int, ...]
    best: ThresholdColumns


class BoxSweep(Scoring):
    """Scores the boxes of the map of each image's label at every threshold."""

    row_columns = ()
    curve_columns = (_HITS,)
    every_row = False

    def __init__(self, protocol: BoxSweepProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        self._box_section = protocol.box
        self._scoring_section = protocol.scoring
        self._selects = protocol.selection is not None
        self.thresholds = protocol.box.threshold.thresholds
        self.number_names = CLASSIFICATION_NUMBERS | {
            name for curve in self._curves() for name in (curve.number, *curve.best) if name
        }

    def status_of_maps(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``swept`` for every map, since the protocol does not choose one box of it."""
        return np.full(len(boxes), RowStatus.SWEPT.value, dtype=object)

    def status_of_boxes(self, boxes: Float64[np.ndarray, "n 4"]) -> np.ndarray:
        """``swept``, or ``missing`` for a row that has no box."""
        has_no_box = np.isnan(boxes[:, 0])
        return np.where(has_no_box, RowStatus.MISSING.value, RowStatus.SWEPT.value).astype(object)

    def curves_of_maps(self, chunk: Chunk, batch: RowBatch) -> CurveLines:
        """The hits of each map."""
        size = (chunk.large.shape[1], chunk.large.shape[2])
        lines = {}
        for row, map in zip(chunk.rows.tolist(), chunk.maps, strict=True):
            placement = batch.images.placements[batch.image[row]]
            components = _components(
                map.tobytes(), map.shape, size, self.map_section, self._box_section
            )
            spans = [self._in_frame(component, placement) for component in components]
            lines[row] = self._hits(spans, batch, row)
        return lines

    def curves_of_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        rows: Int64[np.ndarray, " m"],
    ) -> CurveLines:
        """The hits of boxes without a map: each is right at every threshold, or at none."""
        compared = boxes_in_frame(boxes, batch, self._scoring_section.frame)
        last = np.array([len(self.thresholds) - 1], np.int32)
        lines = {}
        for row in rows.tolist():
            always = BoxSpans(compared[[row]], 0 * last, last)
            lines[row] = self._hits([always] * 2, batch, row)
        return lines

    def counts(self, images: ImageScores) -> dict[str, int]:
        """The number of scored images; 0 if an image with a ground-truth box has no map or box."""
        scored = self.swept_images(images, held_out=False)
        counts = {"n_scored": 0 if scored is None else len(scored)}
        if scored is not None and len(scored) and self._selects:
            counts["n_held_out"] = int((images.has_box & images.held_out).sum())
        return counts

    def protocol_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """MaxBoxAcc and its variants, at the best thresholds, and at selected thresholds if any.

        Images without a box of their label are not counted. Blacklisted images are counted, as the
        authors do (Choe et al., CVPR 2020). The classification errors of all images that are not
        held out come first; a method without a network has none.
        """
        numbers = classification_numbers(images.scored) if images.scored.ranked else []
        scored = self.swept_images(images, held_out=False)
        if scored is None or not len(scored):
            return numbers
        hits = self._packed(scored)
        held_out = self.swept_images(images, held_out=True)
        held_out_hits = None if held_out is None or not len(held_out) else self._packed(held_out)
        for curve in self._curves():
            name = curve.number
            chosen = selection(name)
            if held_out_hits is not None:
                chosen = column_means(Hits(held_out_hits[:, curve.curves], len(self.thresholds)))
            numbers.append(
                Number(
                    name,
                    Hits(hits[:, curve.curves], len(self.thresholds)),
                    scored.image_ids,
                    better="higher",
                    hits=len(curve.curves) == 1,
                    best=curve.best,
                    thresholds=self.thresholds,
                    selection=chosen,
                )
            )
        return numbers

    def require_boxes(self, run: Path, protocol: str) -> None:
        """Raise RunError, since the protocol does not choose one box of each map."""
        raise RunError(
            f"{run} was scored by {protocol}, which takes boxes at many thresholds, not one "
            "box of each map; score its maps at one threshold first: wsol-bench rescore "
            f"{run} --protocol gradcam-2017"
        )

    def swept_images(self, images: ImageScores, *, held_out: bool) -> ImageScores | None:
        """The images with a ground-truth box, with the hits of their map's largest component."""
        assert images.curves is not None
        counted = images.take(images.has_box)
        assert counted.curves is not None
        if len(counted.curves) < len(counted):
            return None
        if held_out and not counted.held_out.any():
            return None
        chosen = counted.take(counted.held_out == held_out)
        packed = self._packed(chosen)
        hits = {
            iou: Hits(packed[:, [position]], len(self.thresholds))
            for position, iou in enumerate(self._scoring_section.ious)
        }
        return replace(chosen, hits=hits, thresholds=self.thresholds)

    def _curves(self) -> Iterator[_CurveNumber]:
        """The numbers that are made of hits, in the order of the summary."""
        ious = self._scoring_section.ious
        every = self._box_section.component == "all"
        first = len(ious) if every else 0  # position of the first curve of the protocol's component
        if MAX_BOX_ACC_IOU in ious:
            best = ThresholdColumns("max_box_acc_threshold", "selected_box_acc", "", "gap")
            yield _CurveNumber("max_box_acc", (ious.index(MAX_BOX_ACC_IOU),), best)
        if every and set(MAX_BOX_ACC_V2_IOUS) <= set(ious):
            best = ThresholdColumns("", "selected_box_acc_v2", "", "gap_v2")
            yield _CurveNumber(
                "max_box_acc_v2",
                tuple(first + ious.index(iou) for iou in MAX_BOX_ACC_V2_IOUS),
                best,
            )
        for position, iou in enumerate(ious, first):
            at = f"iou{100 * iou:g}"
            best = ThresholdColumns(
                f"threshold_{at}", f"selected_box_acc_{at}", f"selected_threshold_{at}", f"gap_{at}"
            )
            yield _CurveNumber(f"max_box_acc_{at}", (position,), best)

    def _packed(self, images: ImageScores) -> UInt8[np.ndarray, "n curves bytes"]:
        """The packed hits of images, in their order."""
        assert images.curves is not None
        n_curves = len(self._scoring_section.ious) * (
            2 if self._box_section.component == "all" else 1
        )
        width = -(-len(self.thresholds) // 8)
        column = images.curves.set_index("image_id")[_HITS.name]
        flat = b"".join(column.loc[images.images["image_id"]]) if len(images) else b""
        return np.frombuffer(flat, np.uint8).reshape(len(images), n_curves, width)

    def _in_frame(self, spans: BoxSpans, placement: Placement) -> BoxSpans:
        """Convert boxes from pixels of the input to the pixels of the protocol's frame."""
        boxes = spans.boxes.astype(np.float64)
        if self._scoring_section.frame == "original":
            boxes = to_original(boxes, [placement], np.zeros(len(boxes), np.int64))
        return spans._replace(boxes=boxes)

    def _hits(self, spans: Sequence[BoxSpans], batch: RowBatch, row: int) -> dict[str, bytes]:
        """The line of ``curves`` of a row: at which thresholds its boxes are right.

        Args:
            spans: the boxes of the largest component, then those of all components.
            batch: the batch of the row.
            row: the position of the row.
        """
        index = batch.image[row]
        truth, placement = batch.images.truth[index], batch.images.placements[index]
        boxes = truth_in_frame(truth, placement, self._scoring_section.frame)
        bits = []
        for component in spans if self._box_section.component == "all" else spans[:1]:
            curve = best_iou_curve(component, boxes, len(self.thresholds))
            bits += [np.packbits(curve >= least).tobytes() for least in self._scoring_section.ious]
        return {_HITS.name: b"".join(bits)}


# A baseline or another tool may give the same map for many images.
@lru_cache(maxsize=8)
def _components(
    values: bytes,
    shape: tuple[int, int],
    size: tuple[int, int],
    map_section: MapSection,
    box_section: SweepBoxSection,
) -> Components:
    """The boxes of a map at every threshold, in pixels of the input."""
    maps = np.frombuffer(values, np.float32).reshape(1, *shape)
    large = upsample(maps, size, map_section)
    thresholds = box_section.threshold.thresholds
    every = box_section.component == "all"
    if box_section.extractor == "contours":
        return contour_sweep(large[0], thresholds, every=every)
    [low], [high] = extrema(large, maps, map_section, box_section)
    levels = levels_of(low, high, threshold=thresholds, of=box_section.of)
    ranks = ranks_of(large[0], levels, comparison=box_section.comparison)
    return sweep(ranks, len(levels), connectivity=box_section.connectivity, every=every)
