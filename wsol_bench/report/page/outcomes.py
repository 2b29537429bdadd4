"""The outcome of a line on each image: a hit, or why the box is none."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, UInt8

from wsol_bench.metrics.failure_modes import FAILURE_MODES, modes_of_images
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number
from wsol_bench.protocols.model import OneBoxProtocol, Protocol
from wsol_bench.report.comparisons import MethodNumbers

__all__ = [
    "HIT",
    "MEANINGS",
    "MISS",
    "NOT_DEFINED",
    "OUTCOMES",
    "WRONG_CLASS",
    "Outcomes",
    "main_curve",
    "outcomes_of",
]

# A sweep keeps no boxes, so there a box of the right class that is no hit is a ``miss``.
OUTCOMES = (*FAILURE_MODES, "miss")
HIT, WRONG_CLASS, MISS = (OUTCOMES.index(name) for name in ("hit", "wrong_class", "miss"))
NOT_DEFINED = 255

# Each outcome for people: its title, and what it means; see ``failure_modes`` for the exact rule.
MEANINGS = {
    "hit": ("hit", "The class is right, and the box overlaps the object enough."),
    "wrong_class": ("wrong class", "The first prediction is not the image's label."),
    "no_box": ("no box", "The map gave no box, or there is no map."),
    "multi_instance": ("several instances", "The box covers more than one instance of the object."),
    "part": ("part", "Most of the box is object, but it is too small."),
    "too_large": ("too large", "The box holds the object and too much beside it."),
    "background": ("background", "Most of the box lies beside the object."),
    "miss": ("miss", "The box overlaps the object too little at this threshold."),
}


class Outcomes(NamedTuple):
    """The outcomes of a method on the images that its model was evaluated on.

    Attributes:
        threshold: the threshold that they belong to; None for none.
        selected: the threshold that is selected on other images; None without a selection.
        gt_known, top1: the outcome of the label's box, and of the first prediction's, as positions
            in ``OUTCOMES``; ``NOT_DEFINED`` for none.
        iou, top1_iou: the best IoU of the label's box, and of the first prediction's, with the
            ground truth; NaN for none.
        counted: whether the method's errors or accuracies count the image.
        complete: whether each image that is counted has an outcome of its label, so that shares of
            them are numbers of the method.
    """

    threshold: float | None
    selected: float | None
    gt_known: UInt8[np.ndarray, " n"]
    top1: UInt8[np.ndarray, " n"]
    iou: Float64[np.ndarray, " n"]
    top1_iou: Float64[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]
    complete: bool


def outcomes_of(
    scores: ImageScores, numbers: MethodNumbers, least_iou: float | None, protocol: Protocol
) -> Outcomes:
    """The outcomes of a method.

    Under a protocol of one box they follow from its boxes, under a sweep from the hits at the
    method's best threshold; a protocol of pixels has none.

    Args:
        scores: the method's results, image by image.
        numbers: the method's numbers.
        least_iou: the IoU from which a box is a hit; None if the protocol takes no one box.
        protocol: the protocol.
    """
    n = len(scores)
    if least_iou is not None and isinstance(protocol, OneBoxProtocol):
        of_label, of_first = (
            modes_of_images(scores, of=question, iou=least_iou).astype(np.uint8)  # -1 becomes 255
            for question in ("gt_known", "top1")
        )
        iou_of_first = scores.first("iou")
        if not scores.ranked:
            of_first = np.full(n, NOT_DEFINED, np.uint8)
            iou_of_first = np.full(n, np.nan)
        return Outcomes(
            protocol.box.threshold,
            None,
            of_label,
            of_first,
            scores.of_label("iou"),
            iou_of_first,
            counted=scores.counted & ~scores.held_out,
            complete=scores.complete and scores.applicable,
        )
    of_label = np.full(n, NOT_DEFINED, np.uint8)
    of_first, nothing = of_label.copy(), np.full(n, np.nan)
    number = main_curve(numbers)
    if number is None or number.thresholds is None:
        first = next(iter(numbers.numbers.values()), None)
        ids = scores.image_ids[:0] if first is None else first.image_ids
        counted = np.isin(scores.image_ids, ids)
        return Outcomes(
            None, None, of_label, of_first, nothing, nothing, counted=counted, complete=False
        )
    place = scores.evaluated.index.get_indexer(pd.Index(number.image_ids))
    of_label[place] = np.where(number.contributions() == 1, HIT, MISS)
    counted = of_label != NOT_DEFINED
    if scores.ranked:
        of_first = of_label.copy()
        of_first[(scores.label_rank != 1) & counted] = WRONG_CLASS
    threshold = float(number.thresholds[number.means().argmax()])
    selection = number.selection
    selected = None if selection is None else float(number.thresholds[selection.argmax()])
    return Outcomes(
        threshold, selected, of_label, of_first, nothing, nothing, counted=counted, complete=True
    )


def main_curve(numbers: MethodNumbers) -> Number | None:
    """The first number that is a share of hits at its best threshold; None without one."""
    curves = (number for number in numbers.numbers.values() if number.best is not None)
    return next((number for number in curves if number.counts_hits), None)
