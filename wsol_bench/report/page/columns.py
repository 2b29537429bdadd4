"""The columns by which the page finds and sorts images, as JSON."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.encoding import encoded

__all__ = ["image_index", "line_columns", "model_columns"]


def image_index(collection: Collection, chosen: Int64[np.ndarray, " n"]) -> dict[str, Any]:
    """The chosen images, as ``ImageIndex``."""
    images = collection.images
    n_boxes = np.array([len(boxes) for boxes in images.boxes], np.int32)
    return {
        "ids": [images.ids[place] for place in chosen.tolist()],
        "label": encoded(images.label[chosen]),
        "classes": [{"wnid": wnid, "words": words} for wnid, words in collection.classes],
        "height": encoded(images.size[chosen, 0]),
        "width": encoded(images.size[chosen, 1]),
        "n_boxes": encoded(n_boxes[chosen]),
        "size": encoded(images.share[chosen]),
        "blacklisted": encoded(images.blacklisted[chosen]),
    }


def model_columns(
    collection: Collection, number: int, chosen: Int64[np.ndarray, " n"]
) -> dict[str, Any]:
    """The predictions of a model for the chosen images, as ``ModelColumns``."""
    model = collection.models[number]
    names = ("evaluated", "held_out", "label_rank", "label_score", "top1", "top1_score")
    return {name: encoded(getattr(model, name)[chosen]) for name in names}


def line_columns(
    collection: Collection, number: int, chosen: Int64[np.ndarray, " n"]
) -> dict[str, Any]:
    """The results of a line on the chosen images, as ``LineColumns``."""
    line = collection.lines[number]
    names = ("gt_known", "top1", "iou", "top1_iou", "counted")
    return {name: encoded(getattr(line, name)[chosen]) for name in names}
