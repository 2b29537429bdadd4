"""The boxes of a map at every threshold of a sweep: MaxBoxAcc, MaxBoxAccV2, selected thresholds.

A sweep keeps hits, not boxes: for the map of the own class one bit a threshold and least IoU, from
which every number follows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.levels import levels_of, ranks_of
from wsol_bench.boxes.threshold_sweep import BoxSpans, Components, best_iou_curve, sweep
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import RunError
from wsol_bench.geometry import Placement, to_input, to_original
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.max_box_acc import V1, V2
from wsol_bench.metrics.number import Best, Number
from wsol_bench.protocols.model import BoxSweepProtocol
from wsol_bench.protocols.sections import MapSection, SweepBoxSection
from wsol_bench.runs.schema import Column, RowStatus
from wsol_bench.scoring.base import Chunk, ScoreBuffer, Scores, Scoring, Selection
from wsol_bench.scoring.batches import RowBatch
from wsol_bench.scoring.boxes import CONNECTIVITY, extrema, truth_in_frame
from wsol_bench.scoring.upsampling import upsample
from wsol_bench.statistics.columns import column_means
from wsol_bench.statistics.hits import Hits

__all__ = ["BoxSweep"]

_HITS = Column(
    "hits",
    "bytes",
    "packed bits (numpy's `packbits`): for each least IoU of the protocol, one bit a threshold, "
    "ascending, in bytes of their own; first those of the largest component, then, with "
    "`component: all`, of all components",
)


@dataclass(frozen=True)
class _Curve:
    """One of the curves of a line of hits.

    Attributes:
        number: the number of the summary that is made of it.
        curves: positions among the curves of a line; several are averaged.
        best: what stands beside the number.
    """

    number: str
    curves: tuple[int, ...]
    best: Best


class BoxSweep(Scoring):
    """Scores the boxes at every threshold, of the map of each image's own class."""

    row_columns = ()
    curve_columns = (_HITS,)
    every_row = False

    def __init__(self, protocol: BoxSweepProtocol, metrics: Sequence[Metric]) -> None:
        super().__init__(protocol.map, metrics)
        self._box = protocol.box
        self._rule = protocol.scoring
        self._selects = protocol.selection is not None
        self.thresholds = protocol.box.threshold.thresholds
        self.number_names = frozenset(
            name for curve in self._curves() for name in (curve.number, *curve.best) if name
        )

    def status(self, rows: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """``swept``: no one box is chosen."""
        return np.full(n, RowStatus.SWEPT.value, dtype=object)

    def score_chunk(self, chunk: Chunk, batch: RowBatch, scores: ScoreBuffer) -> None:
        """The hits of each map."""
        size = (chunk.large.shape[1], chunk.large.shape[2])
        for row, low_resolution in zip(chunk.rows.tolist(), chunk.maps, strict=True):
            index = batch.image[row]
            truth, placement = batch.images.truth[index], batch.images.placements[index]
            found = _components(
                low_resolution.tobytes(), low_resolution.shape, size, self.map_rule, self._box
            )
            framed = [self._framed(boxes, placement) for boxes in found]
            scores.add_curve(row, hits=self._hits(framed, truth, placement))

    def score_boxes(
        self,
        boxes: Float64[np.ndarray, "n 4"],
        batch: RowBatch,
        with_curve: Bool[np.ndarray, " n"],
    ) -> Scores:
        """A box is right at every threshold, or at none."""
        buffer = ScoreBuffer(self, len(boxes))
        buffer.put_boxes(np.arange(len(boxes)), boxes)
        images = batch.images
        compared = boxes
        if self._rule.frame == "input" and len(boxes):
            compared = to_input(boxes, images.placements, batch.image)
        last = np.array([len(self.thresholds) - 1], np.int32)
        for row in np.flatnonzero(with_curve).tolist():
            index = batch.image[row]
            always = BoxSpans(compared[[row]], 0 * last, last)
            hits = self._hits([always] * 2, images.truth[index], images.placements[index])
            buffer.add_curve(row, hits=hits)
        none = np.isnan(boxes[:, 0])
        status = np.where(none, RowStatus.MISSING.value, RowStatus.SWEPT.value)
        return buffer.scores(status.astype(object))

    def score_nothing(self, batch: RowBatch) -> Scores:
        """No box, at any threshold."""
        return self.score_boxes(np.full((len(batch), 4), np.nan), batch, batch.own)

    def counts(self, images: ImageScores) -> dict[str, int]:
        """Images in the numbers; 0 where some image with a box has neither map nor box."""
        scored = self.swept_images(images, held_out=False)
        counts = {"n_scored": 0 if scored is None else len(scored)}
        if scored is not None and len(scored) and self._selects:
            counts["n_held_out"] = int((images.has_box & images.held_out).sum())
        return counts

    def own_numbers(self, images: ImageScores, selection: Selection) -> list[Number]:
        """MaxBoxAcc and its kin, at the oracle thresholds, and at selected ones where asked.

        Images without a box of their class are not counted; blacklisted ones are, as by the
        authors (Choe et al., CVPR 2020).
        """
        scored = self.swept_images(images, held_out=False)
        if scored is None or not len(scored):
            return []
        ours = self._packed(scored)
        held_out = self.swept_images(images, held_out=True)
        theirs = None if held_out is None or not len(held_out) else self._packed(held_out)
        numbers = []
        for curve in self._curves():
            name = curve.number
            chosen = selection(name)
            if theirs is not None:
                chosen = column_means(Hits(theirs[:, curve.curves], len(self.thresholds)))
            numbers.append(
                Number(
                    name,
                    Hits(ours[:, curve.curves], len(self.thresholds)),
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
        """Raise RunError: no one box is chosen."""
        raise RunError(
            f"{run} was scored by {protocol}, which takes no one box; score its maps at one "
            f"threshold first: wsol-bench rescore {run} --protocol gradcam-2017"
        )

    def swept_images(self, images: ImageScores, *, held_out: bool) -> ImageScores | None:
        """The images with a box of their class, with the hits of the largest component."""
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
            for position, iou in enumerate(self._rule.ious)
        }
        return replace(chosen, hits=hits, thresholds=self.thresholds)

    def _curves(self) -> Iterator[_Curve]:
        """The numbers that the hits make, in the order of the summary."""
        ious = self._rule.ious
        every = self._box.component == "all"
        first = len(ious) if every else 0  # of the curves of the protocol's component
        if V1 in ious:
            best = Best("max_box_acc_threshold", "selected_box_acc", "", "gap")
            yield _Curve("max_box_acc", (ious.index(V1),), best)
        if every and set(V2) <= set(ious):
            best = Best("", "selected_box_acc_v2", "", "gap_v2")
            yield _Curve("max_box_acc_v2", tuple(first + ious.index(iou) for iou in V2), best)
        for position, iou in enumerate(ious, first):
            at = f"iou{100 * iou:g}"
            best = Best(
                f"threshold_{at}", f"selected_box_acc_{at}", f"selected_threshold_{at}", f"gap_{at}"
            )
            yield _Curve(f"max_box_acc_{at}", (position,), best)

    def _packed(self, images: ImageScores) -> UInt8[np.ndarray, "n curves bytes"]:
        """The packed hits of images, in their order."""
        assert images.curves is not None
        n_curves = len(self._rule.ious) * (2 if self._box.component == "all" else 1)
        width = -(-len(self.thresholds) // 8)
        column = images.curves.set_index("image_id")[_HITS.name]
        flat = b"".join(column.loc[images.images["image_id"]]) if len(images) else b""
        return np.frombuffer(flat, np.uint8).reshape(len(images), n_curves, width)

    def _framed(self, lasting: BoxSpans, placement: Placement) -> BoxSpans:
        """Boxes of the input in the pixels that are compared."""
        boxes = lasting.boxes.astype(np.float64)
        if self._rule.frame == "original":
            boxes = to_original(boxes, [placement], np.zeros(len(boxes), np.int64))
        return lasting._replace(boxes=boxes)

    def _hits(self, found: Sequence[BoxSpans], truth: ImageTruth, placement: Placement) -> bytes:
        """At which thresholds the boxes of a map are right: the largest's, and those of all."""
        boxes = truth_in_frame(truth, placement, self._rule.frame)
        bits = []
        for lasting in found if self._box.component == "all" else found[:1]:
            curve = best_iou_curve(lasting, boxes, len(self.thresholds))
            bits += [np.packbits(curve >= least).tobytes() for least in self._rule.ious]
        return b"".join(bits)


# Baselines and tools may give the same map for many images.
@lru_cache(maxsize=8)
def _components(
    values: bytes,
    shape: tuple[int, int],
    size: tuple[int, int],
    map_rule: MapSection,
    rule: SweepBoxSection,
) -> Components:
    """The boxes of a map at every threshold, in pixels of the input."""
    maps = np.frombuffer(values, np.float32).reshape(1, *shape)
    large = upsample(maps, size, map_rule)
    thresholds = rule.threshold.thresholds
    every = rule.component == "all"
    if rule.extractor == "contours":
        return contour_sweep(large[0], thresholds, every=every)
    [low], [high] = extrema(large, maps, map_rule, rule)
    levels = levels_of(low, high, threshold=thresholds, of=rule.of)
    ranks = ranks_of(large[0], levels, comparison=rule.comparison)
    connectivity = CONNECTIVITY[rule.connectivity]
    return sweep(ranks, len(levels), connectivity=connectivity, every=every)
