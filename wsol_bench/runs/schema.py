"""The tables of a run: every column is declared once, with its type, unit and meaning.

Writer, reader and docs/rows.md derive from these declarations. The tables ``rows`` and ``curves``
have more columns, which depend on the protocol and the metrics of a run: the modules of
``wsol_bench.scoring`` and ``wsol_bench.metrics`` declare them.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.table import Column, Table

__all__ = [
    "BOX_COLUMNS",
    "CLASSES",
    "COMPLETENESS",
    "COSTS",
    "COST_NUMBERS",
    "CURVE_KEYS",
    "FAILED",
    "GROUP",
    "IMAGES",
    "MAPS",
    "MAP_KEYS",
    "METHOD_KEYS",
    "PEAK",
    "ROW_KEYS",
    "SCORED",
    "SELECTION",
    "SUMMARY_COUNTS",
    "UNSOUND",
    "ImageStatus",
    "MethodStatus",
    "RowStatus",
    "Tables",
    "boxes_of",
]


class ImageStatus(StrEnum):
    """The status of an image: evaluated, or the reason why it was not evaluated."""

    EVALUATED = "evaluated"
    UNKNOWN_CLASS = "unknown_class"
    UNREADABLE = "unreadable"
    NOT_FINITE = "not_finite"
    NOT_PREDICTED = "not_predicted"


class RowStatus(StrEnum):
    """The outcome of scoring the map or box of a row, or what is wrong with the map."""

    BOX = "box"
    NO_BOX = "no_box"
    MISSING = "missing"
    SWEPT = "swept"
    NOT_FINITE = "not_finite"
    ZERO = "zero"
    NOT_POSITIVE = "not_positive"
    CONSTANT = "constant"
    NOT_APPLICABLE = "not_applicable"
    NOT_KEPT = "not_kept"


class MethodStatus(StrEnum):
    """The status of a method in a summary: it has numbers, or the reason why it has none."""

    OK = "ok"
    NOT_APPLICABLE = "not_applicable"
    NO_IMAGES = "no_images"


# An image with one of these statuses would be evaluated if the file or the network were sound.
FAILED = (ImageStatus.UNREADABLE, ImageStatus.NOT_FINITE)

# The statuses of maps that say little or nothing, and the columns of a summary that count them.
UNSOUND = {
    RowStatus.NOT_FINITE: "n_not_finite",
    RowStatus.ZERO: "n_zero",
    RowStatus.NOT_POSITIVE: "n_not_positive",
    RowStatus.CONSTANT: "n_constant",
}

# A row with one of these statuses has an IoU under a protocol of one box. A map or box that a tool
# did not make (``missing``) is a miss, as is a map without a box.
SCORED = (RowStatus.BOX, RowStatus.NO_BOX, RowStatus.MISSING, *UNSOUND)

_MODEL = Column("model", "text", "the model's name in the experiment (`label`, else `name`)")
_METHOD = Column("method", "text", "the method's name in the experiment, with its options")
_LAYER = Column(
    "layer",
    "text",
    "name of the target layer in the network; empty for maps of the whole image and for "
    "network-free methods",
)
_PROTOCOL = Column("protocol", "text", "name of the protocol")
_HASH = Column("protocol_hash", "text", "digest of every choice in the protocol")
_IMAGE_ID = Column(
    "image_id", "text", "the image's id in the data set: the file's stem, or its path"
)

# The columns that name a method of a run.
METHOD_KEYS = [column.name for column in (_MODEL, _METHOD, _LAYER)]
# The columns that name the results of one method.
GROUP = [*METHOD_KEYS, _PROTOCOL.name, _HASH.name]

IMAGES = Table(
    "images",
    (
        _MODEL,
        _IMAGE_ID,
        Column("path", "text", "path of the image file when the run was made"),
        Column(
            "height",
            "int",
            "height of the image file; that of the annotation if the image was not evaluated",
            "pixels",
        ),
        Column(
            "width",
            "int",
            "width of the image file; that of the annotation if the image was not evaluated",
            "pixels",
        ),
        Column("label", "text", "the image's ground-truth class", "wnid"),
        Column(
            "blacklisted",
            "flag",
            "whether the image is on the official blacklist; it is then in no localization error",
        ),
        Column("n_label_boxes", "int", "number of ground-truth boxes of the image's label"),
        Column(
            "boxes",
            "reals",
            "ground-truth boxes of the image's label, flat: x0, y0, x1, y1, x0, ...",
            "pixels",
        ),
        Column("masks", "texts", "files of the object's masks; empty in a data set without masks"),
        Column(
            "ignore",
            "text",
            "file of the pixels that count neither as object nor as background; empty for none",
        ),
        Column(
            "held_out",
            "flag",
            "whether a threshold is selected on the image (`select_on`); it is then in no number",
        ),
        Column(
            "status",
            "text",
            "`evaluated`; `unknown_class`: the model has no such output; `unreadable`: the image "
            "or its mask cannot be decoded (in a run without a model, also: the image's size is "
            "not known); `not_finite`: the network returned NaN or infinity; `not_predicted`: no "
            "method has a map or a box of the image",
        ),
        Column("reason", "text", "why the image was not evaluated; empty if it was"),
        Column(
            "label_rank",
            "int",
            "rank of the image's label among the model's outputs; 0 if the image was not evaluated "
            "or no model ranked its label",
            "1, 2, ...",
        ),
        Column(
            "label_score",
            "real",
            "probability of the image's label; NaN if the image was not evaluated or no "
            "model scored its label",
            "0 to 1",
        ),
    ),
)

# The columns that name a row of ``rows``, and those that every row has.
ROW_KEYS = Table(
    "rows",
    (
        _MODEL,
        _METHOD,
        _LAYER,
        _PROTOCOL,
        _HASH,
        _IMAGE_ID,
        Column(
            "rank",
            "int",
            "rank of the class by its score before softmax; equal scores rank by output index; 0 "
            "if no model has ranked classes",
            "1, 2, ...",
        ),
        Column("class", "text", "class of the class slot", "wnid"),
        Column(
            "score",
            "real",
            "probability of the class: softmax, or sigmoid of a multi-label network",
            "0 to 1",
        ),
        Column(
            "status",
            "text",
            "`box`; `no_box`: the map has no box, which is a miss; `swept`: the protocol takes no "
            "one box, see the table curves. Instead of these three, for a map that says little: "
            "`not_finite`: it has a NaN or an infinite value, which is a miss; `zero`: it is zero "
            "everywhere; `not_positive`: it has no positive value; `constant`: it has the same "
            "positive value everywhere. `missing`: the method has no map or box of this image, "
            "which is a miss; `not_applicable`: the method is not defined for this network, or a "
            "box has no pixels to score; `not_kept`: in a run that was scored again, a prediction "
            "whose map the first run did not keep (`maps: label`)",
        ),
    ),
)

# The box of a row, half-open xyxy: the box of its map under a protocol of one box, or an imported
# box under any protocol.
BOX_COLUMNS = tuple(
    Column(name, "real", f"{edge} edge of the box; NaN if there is none", "pixels")
    for name, edge in (("x0", "left"), ("y0", "top"), ("x1", "right"), ("y1", "bottom"))
)

# Where the maximum of a map lies; every protocol fills these columns.
PEAK = tuple(
    Column(
        name,
        "real",
        f"{axis} of the center of the pixel with the map's maximum, the first in raster order; NaN "
        "if no value is positive, and in rows of other classes than the image's label",
        "pixels",
    )
    for name, axis in (("peak_x", "x"), ("peak_y", "y"))
)

# The columns that ``full_grad`` fills; they say how far its maps can be trusted on a network.
COMPLETENESS = (
    Column("logit", "real", "the class's score before softmax; NaN for other methods"),
    Column(
        "completeness_gap",
        "real",
        "by how much the gradients of the input and of all biases, which should add up to `logit`, "
        "miss it; NaN for other methods",
    ),
)

CURVE_KEYS = Table(
    "curves",
    (_MODEL, _METHOD, _LAYER, _IMAGE_ID),
)

# The columns that name a map, and the row of its box.
MAP_KEYS = [*METHOD_KEYS, _IMAGE_ID.name, "rank"]
MAPS = Table(
    "maps",
    (
        _MODEL,
        _METHOD,
        _LAYER,
        _IMAGE_ID,
        Column("rank", "int", "rank of the map's class, as in the table rows"),
        Column(
            "scale",
            "real",
            "the map's maximum (its largest magnitude if no value is positive), in the method's "
            "unit",
        ),
        Column("height", "int", "height of the map", "cells"),
        Column("width", "int", "width of the map", "cells"),
        Column(
            "map",
            "bytes",
            "the map divided by `scale`, as little-endian float16, row by row. Boxes are taken "
            "from these values",
        ),
    ),
)

COSTS = Table(
    "costs",
    (
        _MODEL,
        _METHOD,
        _LAYER,
        Column("n_images", "int", "number of images that were evaluated"),
        Column("forward", "int", "number of images that passed the network"),
        Column(
            "backward",
            "int",
            "number of (image, class) gradients that were taken, to the layer or to the pixels",
        ),
        Column(
            "head",
            "int",
            "number of activations that passed only the part of the network behind the layer",
        ),
        Column(
            "seconds",
            "real",
            "device time of the shared pass and of the method's own work. The one column that "
            "differs between two runs of an experiment",
            "seconds",
        ),
        Column("reason", "text", "why the method is not applicable; empty if it is applicable"),
    ),
)

CLASSES = Table(
    "classes",
    (
        Column(
            "wnid",
            "text",
            "name of the class; sorted, which is the order of a model's outputs unless the model "
            "says otherwise",
        ),
        Column("words", "text", "the class in words, for people; not unique"),
        Column("ilsvrc_id", "int", "ILSVRC2012_ID (1 to 1000); 0 if the data root lacks it"),
    ),
)


# The columns of a summary that say what a method costs per image, and the columns of ``costs`` that
# they are made of.
COST_NUMBERS = {
    "forward_passes": "forward",
    "backward_passes": "backward",
    "head_passes": "head",
    "seconds": "seconds",
}

# The columns of a summary that are no localization numbers.
SUMMARY_COUNTS = (
    *("status", "n_images", "n_skipped", "n_missing", "n_blacklisted", "n_without_box"),
    *UNSOUND.values(),
    *("n_scored", "n_held_out"),
    *(*COST_NUMBERS, "reason"),
    "findings",  # in the output of --json
    "run",
)


SELECTION = Table(
    "selection",
    (
        Column("model", "text", "name of the model in the run that thresholds are selected on"),
        Column("method", "text", "name of the method in that run"),
        Column("layer", "text", "name of the target layer in that run"),
        Column("number", "text", "a number of the summary that is taken at its best threshold"),
        Column("means", "reals", "that run's accuracy at each threshold, curve by curve"),
    ),
)


class Tables(NamedTuple):
    """The tables of a part of a run."""

    images: pd.DataFrame
    rows: pd.DataFrame
    maps: pd.DataFrame
    curves: pd.DataFrame
    costs: pd.DataFrame


def boxes_of(rows: pd.DataFrame) -> np.ndarray:
    """The boxes of rows: (n, 4), half-open xyxy pixels of the original image; NaN for none."""
    return rows[[column.name for column in BOX_COLUMNS]].to_numpy(np.float64)
