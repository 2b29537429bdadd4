"""Failure modes: why a predicted box is wrong, and how often each reason occurs."""

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.geometry import Boxes, box_area, box_intersection, box_iou, image_pairs
from wsol_bench.metrics.evaluated_images import EvaluatedImages, LabelBoxes
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.runs.schema import SCORED, RowStatus, boxes_of

__all__ = [
    "FAILURE_MODES",
    "MULTI_INSTANCE_IOG",
    "PART_IOP",
    "TOO_LARGE_IOG",
    "Question",
    "failure_counts",
    "failure_modes",
    "modes_of_images",
]

# In order of precedence: a row has the first label that holds.
FAILURE_MODES = (
    "hit",
    "wrong_class",
    "no_box",
    "multi_instance",
    "part",
    "too_large",
    "background",
)

# Thresholds of Pan et al. (CVPR 2021), with the strictness of their code.
MULTI_INSTANCE_IOG = 0.3  # exceeded for two instances
PART_IOP = 0.5  # exceeded
TOO_LARGE_IOG = 0.7  # reached

# Which box of an image is judged: that of its first prediction, or that of its label.
Question = Literal["top1", "gt_known"]

_DTYPE = pd.CategoricalDtype(list(FAILURE_MODES))


def failure_modes(
    rows: pd.DataFrame,
    images: pd.DataFrame,
    *,
    iou: float = 0.5,
) -> pd.Series:
    """The failure mode of each row's box, which says why it is right or wrong.

    With the predicted box P, the ground-truth boxes G_1, G_2, ... of the image's label,
    IoG_j = |P n G_j| / |G_j|, IoP_j = |P n G_j| / |P|, and G* the box of the best IoU (the first of
    equals), a row has the first mode that holds:

        hit              the class is right, and IoU >= ``iou``
        wrong_class      the class is not the image's label
        no_box           the map gave no box, or there is no map
        multi_instance   IoG_j > 0.3 for two boxes or more: P covers several instances
        part             IoP* > 0.5: most of P is object, and P is too small
        too_large        IoG* >= 0.7: P holds the object, and background or neighbors with it
        background       otherwise: half of P or more is no object, and much of the object is
                         outside P

    Source: the error types of Pan et al., "Unveiling the Potential of Structure Preserving for
    WSOL" (SPA, CVPR 2021), ``get_badcase_detail`` of their code, which TS-CAM (Gao et al., ICCV
    2021) took over: Cls, M-Ins, Part, More, others. Here an IoU of exactly ``iou`` is a hit, as for
    the ILSVRC devkit (in their code it must exceed 0.5), and a map without a box has its own mode.

    Args:
        rows: table with the columns model, image_id, class, x0, y0, x1, y1, iou (best over the
            boxes of the image's label), status.
        images: table with the columns model, image_id, label, boxes; see docs/rows.md.
        iou: least IoU that is a hit.

    Returns:
        A categorical of ``FAILURE_MODES`` with the index of ``rows``; missing if the row has no IoU
        (a status that is not in ``SCORED``) or its image has no box of its label.
        Blacklisted images have modes; ``failure_counts`` leaves them out.

    Raises:
        ValueError: the rows hold an image that the images table does not.
    """
    code = np.full(len(rows), -1, np.int64)
    for model in rows["model"].unique():
        position = np.flatnonzero((rows["model"] == model).to_numpy(bool))
        of_model = EvaluatedImages(images[(images["model"] == model).to_numpy(bool)])
        scores = ImageScores(of_model, rows.iloc[position])
        code[position] = _codes(scores, np.arange(len(position)), iou)
    modes = pd.Categorical.from_codes(code, dtype=_DTYPE)
    return pd.Series(modes, index=rows.index, name="failure_mode")


def _codes(
    images: ImageScores, chosen: Int64[np.ndarray, " r"], iou: float
) -> Int64[np.ndarray, " r"]:
    """The failure modes of the chosen rows, as positions in ``FAILURE_MODES``; -1 if undefined."""
    rows, truth = images.rows.iloc[chosen], images.evaluated.label_boxes
    position, right_class = images.image_position[chosen], images.is_label[chosen]
    hit = right_class & (rows["iou"].to_numpy(np.float64) >= iou)
    code = np.full(len(rows), -1, np.int64)
    code[hit] = FAILURE_MODES.index("hit")
    code[~right_class] = FAILURE_MODES.index("wrong_class")
    # A prediction whose map is not kept has a wrong class, which needs no box.
    judged = (*SCORED, RowStatus.NOT_KEPT)
    scored = np.asarray(rows["status"].isin(judged).to_numpy(bool))
    boxless = np.isnan(boxes_of(rows)[:, 0])
    code[right_class & scored & boxless] = FAILURE_MODES.index("no_box")
    defined = scored & (truth.per_image[position] > 0)
    missed = defined & right_class & ~boxless & ~hit
    boxes = boxes_of(rows)[missed]
    code[missed] = _misplaced(boxes, position[missed], truth)
    code[~defined] = -1
    return code


def _misplaced(
    boxes: Boxes, image: Int64[np.ndarray, " n"], truth: LabelBoxes
) -> Int64[np.ndarray, " n"]:
    """The failure modes of boxes that have the right class but miss, from their positions.

    Args:
        boxes: predicted boxes, half-open xyxy.
        image: position of each box's image, which has a ground-truth box.
        truth: ground-truth boxes of all images.

    Returns:
        Positions in ``FAILURE_MODES``.
    """
    pairs = image_pairs(image, truth.per_image)
    guess, target = boxes[pairs.guess], truth.boxes[pairs.box]
    shared = box_intersection(guess, target)
    iog, iop = _share(shared, box_area(target)), _share(shared, box_area(guess))
    instances = np.bincount(pairs.guess[iog > MULTI_INSTANCE_IOG], minlength=len(boxes))
    # Sorting by IoU within each guess keeps the order of the guesses.
    by_iou = np.lexsort((-box_iou(guess, target), pairs.guess))
    best = by_iou[np.searchsorted(pairs.guess, np.arange(len(boxes)))]
    holds: dict[str, Bool[np.ndarray, " n"]] = {
        "multi_instance": instances >= 2,
        "part": iop[best] > PART_IOP,
        "too_large": iog[best] >= TOO_LARGE_IOG,
    }
    return np.select(
        list(holds.values()),
        [FAILURE_MODES.index(mode) for mode in holds],
        FAILURE_MODES.index("background"),
    ).astype(np.int64)


def _share(
    part: Float64[np.ndarray, " n"], whole: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """``part / whole``; 0 if the part is 0, even if the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=part > 0)


def modes_of_images(
    images: ImageScores, *, of: Question, iou: float = 0.5
) -> Int64[np.ndarray, " n"]:
    """The failure mode of one box of each image, as a position in ``FAILURE_MODES``.

    Args:
        images: images and rows of one method.
        of: which box of an image is meant; see ``failure_counts``.
        iou: least IoU that is a hit.

    Returns:
        Positions; -1 if the mode is not defined: the image has no box of its label, the method is
        not applicable to it or, for ``gt_known``, has no row of its label.
    """
    row = images.first_rows if of == "top1" else images.label_rows
    guessed = row >= 0
    code = np.full(len(row), -1, np.int64)
    code[guessed] = _codes(images, row[guessed], iou)
    if of == "top1":
        code[~guessed & images.has_box] = FAILURE_MODES.index("wrong_class")
    return code


def failure_counts(images: ImageScores, *, of: Question, iou: float = 0.5) -> pd.DataFrame:
    """Count how often each failure mode occurs among the boxes of a method.

    Each counted image counts once, as in the localization errors: it is evaluated, has a box of its
    label, and is neither blacklisted nor held out. So the share of ``hit`` is one minus the top-1
    (GT-known) localization error.

    Args:
        images: images and rows of the method.
        of: which box of each image is counted. ``top1``: the box of the first guess (the first row
            of rank 1), whose class may be wrong; an image without a first guess is ``wrong_class``.
            ``gt_known``: the box of the label (the label's first row), never ``wrong_class``.
        iou: least IoU that is a hit.

    Returns:
        One row a failure mode, in the order of ``FAILURE_MODES``: failure_mode, n_images, and
        share, the fraction in [0, 1] of the counted images. The table is empty if no image counts,
        or if the error is not defined: the method is not applicable to some image; for ``top1``,
        the rows have no ranks (all ranks 0); for ``gt_known``, a counted image has no row of its
        label.
    """
    images = images.scored
    defined = images.ranked if of == "top1" else images.complete
    code = modes_of_images(images, of=of, iou=iou)[images.counted]
    if not (defined and images.applicable):
        code = code[:0]
    modes = list(FAILURE_MODES) if len(code) else []
    n_images = np.bincount(code, minlength=len(modes))
    return pd.DataFrame(
        {
            "failure_mode": pd.Categorical(modes, dtype=_DTYPE),
            "n_images": n_images,
            "share": n_images / max(1, len(code)),
        }
    )
