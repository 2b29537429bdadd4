"""The numbers for people: title, meaning, whether they are shown at once, which one ranks."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from wsol_bench.common.catalog import METRICS
from wsol_bench.metrics.number import Number
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["SHOWN_NUMBERS", "main_number", "number_info", "title_of"]

# The numbers that a screen always shows.
SHOWN_NUMBERS = (
    *("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "mean_iou"),
    *("max_box_acc", "max_top1_loc", "max_top5_loc", "max_box_acc_v2"),
    *("selected_box_acc", "selected_top1_loc", "selected_top5_loc", "selected_box_acc_v2"),
    *("px_ap", "p_iou"),
)
# Methods are sorted and ranked by the first of these that their protocol defines.
_MAIN = ("top1_loc_error", "gt_known_loc_error", "max_box_acc_v2", "max_box_acc", "px_ap")

# Numbers that protocols define: a pattern of their names, their title, and what they are.
_OF_PROTOCOLS = (
    (
        r"top(\d)_cls_error",
        r"top-\1 cls error",
        r"Share of images whose label is not among the first \1 predictions.",
    ),
    (
        r"top(\d)_loc_error",
        r"top-\1 loc error",
        r"Share of images for which none of the first \1 predictions has the right class and a box "
        r"that is a hit, without the blacklisted images.",
    ),
    (
        r"top(\d)_loc_error_all",
        r"top-\1 loc error, all",
        r"The top-\1 localization error with the blacklisted images.",
    ),
    (
        r"gt_known_loc_error",
        r"GT-known loc error",
        r"Share of images for which the box of the label, whatever the prediction, is no hit.",
    ),
    (
        r"max_box_acc",
        r"MaxBoxAcc (GT-known)",
        r"Share of images whose label's box is a hit, at the threshold that is best for them: "
        r"GT-known localization accuracy.",
    ),
    (
        r"max_box_acc_v2",
        r"MaxBoxAccV2",
        r"Mean of the accuracies at IoU 0.3, 0.5 and 0.7, each at its best threshold.",
    ),
    (
        r"max_box_acc_iou(\d+)",
        r"box acc, IoU \1%",
        r"Share of images whose box has an IoU of at least \1%, at the best threshold.",
    ),
    (
        r"max_top(\d)_loc",
        r"max top-\1 loc acc",
        r"Share of images for which one of the first \1 predictions has the right class and a box "
        r"that is a hit, at the threshold that is best for them.",
    ),
    (
        r"top(\d)_loc_at_gt_known",
        r"top-\1 loc acc at GT-known's threshold",
        r"As max top-\1 loc acc, but at the threshold that is best for GT-known localization.",
    ),
    (r"px_ap", r"PxAP", r"Area under the precision-recall curve of all pixels of all images."),
    (r"p_iou", r"pIoU", r"Largest IoU of the maps, cut at one threshold, with the masks."),
)
_ABBREVIATIONS = {"iou": "IoU", "roc": "ROC", "auc": "AUC"}
# Beside those that a screen shows.
_SHOWN = {*SHOWN_NUMBERS, "top1_cls_error", "top5_cls_error", "box_acc_area"}


def number_info(name: str, number: Number, runs: Sequence[StoredRun]) -> dict[str, Any]:
    """A number for people, as ``NumberInfo``.

    Args:
        name: the number's name.
        number: the number of any line.
        runs: the runs, whose experiments name metrics that are shown at once.
    """
    title, meaning = _described(name)
    return {
        "name": name,
        "title": title,
        "meaning": meaning,
        "better": number.better,
        "percent": number.range == (0.0, 1.0),
        "shown": name in _SHOWN or any(name in run.identity.named_metrics for run in runs),
    }


def main_number(names: Collection[str]) -> str:
    """The number, of those that methods have, by which they are sorted and ranked; "" for none."""
    others = [name for name in names if "cls_error" not in name]
    return next((name for name in (*_MAIN, *sorted(others)) if name in names), "")


def title_of(name: str) -> str:
    """The title of a number."""
    return _described(name)[0]


def _described(name: str) -> tuple[str, str]:
    """Title and meaning: those of the protocols' numbers, or a metric's name and first line."""
    for pattern, title, meaning in _OF_PROTOCOLS:
        if found := re.fullmatch(pattern, name):
            return found.expand(title), found.expand(meaning)
    if selected := re.fullmatch(r"selected_(\w+)", name):
        title = title_of(f"max_{selected[1]}").removesuffix(" (GT-known)")
        return (
            f"{title} at selected threshold",
            f"{title}, but at the threshold that is best for other images.",
        )
    described = METRICS.describe(name)
    words = (_ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return " ".join(words), described.summary if described else ""
