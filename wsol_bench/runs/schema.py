"""The tables of a run: every column declared once, with its type, unit and meaning.

Writer, reader and docs/rows.md derive from these declarations. Which columns the tables ``rows``
and ``curves`` of a run have depends on how its protocol scores maps and on its metrics, which
declare theirs themselves (``wsol_bench.scoring``, ``wsol_bench.metrics``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from wsol_bench.errors import RunError

__all__ = [
    "CLASSES",
    "CORNERS",
    "COSTS",
    "CURVE_KEYS",
    "FAILED",
    "GROUP",
    "IMAGES",
    "MAPS",
    "PEAK",
    "ROW_KEYS",
    "SCORED",
    "SUMMARY_COUNTS",
    "Column",
    "DType",
    "ImageStatus",
    "MethodStatus",
    "RowStatus",
    "Table",
    "Tables",
    "boxes_of",
]

DType = Literal["text", "int", "real", "flag", "bytes", "reals", "texts"]

_ARROW: Mapping[DType, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "real": pa.float64(),
    "flag": pa.bool_(),
    "bytes": pa.binary(),
    "reals": pa.list_(pa.float64()),
    "texts": pa.list_(pa.string()),
}


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: in files and frames.
        dtype: of its values.
        meaning: for people; what the value is and when it is absent.
        unit: of its values; "" where they have none.
    """

    name: str
    dtype: DType
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a run.

    Attributes:
        name: of the table, and of its folder in the run's.
        columns: in order.
        about: what a line is.
    """

    name: str
    columns: tuple[Column, ...]
    about: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def arrow(self) -> pa.Schema:
        """The columns as Arrow's types."""
        return pa.schema([(column.name, _ARROW[column.dtype]) for column in self.columns])

    def with_columns(self, columns: Iterable[Column]) -> "Table":
        """The table with more columns at its end."""
        return Table(self.name, (*self.columns, *columns), self.about)

    def frame(self, parts: Sequence[Mapping[str, np.ndarray]]) -> pd.DataFrame:
        """The lines of several parts, one after the other, each a mapping from every column.

        Raises:
            RunError: a part has a column more or less than the table.
        """
        for part in parts:
            self.check(part, "made")
        if not parts:
            return pd.DataFrame(columns=self.names)
        return pd.DataFrame(
            {name: np.concatenate([part[name] for part in parts]) for name in self.names}
        )

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """A frame with the table's types; RunError where its columns are not the table's."""
        if not len(frame):
            return self.arrow.empty_table()
        self.check(frame.columns, "made")
        return pa.Table.from_pandas(frame[self.names], self.arrow, preserve_index=False)

    def check(self, found: Iterable[object], where: object) -> None:
        """Raise RunError, with table and column, unless exactly the table's columns are there.

        Args:
            found: names of the columns that are there.
            where: the file, for the message.
        """
        there = {str(name) for name in found}
        if missing := [name for name in self.names if name not in there]:
            raise RunError(f"{where}: table {self.name!r} lacks the column {missing[0]!r}")
        if unknown := sorted(there.difference(self.names)):
            raise RunError(f"{where}: table {self.name!r} has an unknown column {unknown[0]!r}")

    def require(self, names: Iterable[str]) -> None:
        """Raise RunError where the table does not have all of these columns."""
        for name in names:
            if name not in self.names:
                raise RunError(f"table {self.name!r} has no column {name!r}")


class ImageStatus(StrEnum):
    """What became of an image."""

    EVALUATED = "evaluated"
    UNKNOWN_CLASS = "unknown_class"
    UNREADABLE = "unreadable"
    NOT_FINITE = "not_finite"
    NOT_PREDICTED = "not_predicted"


class RowStatus(StrEnum):
    """What became of the map or box of a row."""

    BOX = "box"
    NO_BOX = "no_box"
    MISSING = "missing"
    SWEPT = "swept"
    NOT_APPLICABLE = "not_applicable"


class MethodStatus(StrEnum):
    """What became of a method in a summary."""

    OK = "ok"
    NOT_APPLICABLE = "not_applicable"
    NO_IMAGES = "no_images"


# An image in one of these states would be evaluated, were the file or the network sound.
FAILED = (ImageStatus.UNREADABLE, ImageStatus.NOT_FINITE)

# A row in one of these states has an IoU under a protocol of one box. What a tool did not give
# (``missing``) is a miss like a map without a box.
SCORED = (RowStatus.BOX, RowStatus.NO_BOX, RowStatus.MISSING)

_MODEL = Column("model", "text", "name in the experiment (`label`, else `name`)")
_METHOD = Column("method", "text", "name in the experiment, with its options")
_LAYER = Column(
    "layer",
    "text",
    "the module's name in the network, empty for maps of the whole image and for what comes from "
    "elsewhere",
)
_PROTOCOL = Column("protocol", "text", "name of the protocol")
_HASH = Column("protocol_hash", "text", "digest of every choice in the protocol")
_IMAGE_ID = Column("image_id", "text", "as the data set names it: the file's stem, or its path")

# The columns that tell one method's results from another's.
GROUP = [column.name for column in (_MODEL, _METHOD, _LAYER, _PROTOCOL, _HASH)]

IMAGES = Table(
    "images",
    (
        _MODEL,
        _IMAGE_ID,
        Column("path", "text", "of the image file when the run was made"),
        Column(
            "height",
            "int",
            "of the image file; of the annotation where the image was not evaluated",
            "pixels",
        ),
        Column("width", "int", "likewise", "pixels"),
        Column("label", "text", "the image's class", "wnid"),
        Column("blacklisted", "flag", "on the official blacklist: in no localization error"),
        Column("n_label_boxes", "int", "ground-truth boxes of the image's class"),
        Column("boxes", "reals", "those boxes, flat: x0, y0, x1, y1, x0, ...", "pixels"),
        Column("masks", "texts", "in a data set of masks: files of the object's masks"),
        Column("ignore", "text", "likewise: the file of the pixels that count neither way"),
        Column(
            "held_out",
            "flag",
            "whether a threshold is selected on it (`select_on`): in no number then",
        ),
        Column(
            "status",
            "text",
            "`evaluated`; `unknown_class`: the model has no such output; `unreadable`: the file "
            "cannot be decoded (without a model: nothing tells its size); `not_finite`: the "
            "network gave NaN or infinity; `not_predicted`: no map or box from elsewhere is of it",
        ),
        Column("reason", "text", "why it was not evaluated; empty otherwise"),
        Column(
            "label_rank",
            "int",
            "rank of the image's class among the model's outputs; 0 where not evaluated",
            "1, 2, ...",
        ),
        Column(
            "label_score",
            "real",
            "softmax probability of the image's class; NaN where not evaluated",
            "0 to 1",
        ),
    ),
    "one row an image x model",
)

# What names a row of ``rows``, and what every row has.
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
            "of the class, by its score before softmax; equal scores rank by output index; 0 where "
            "nobody has ranked classes",
            "1, 2, ...",
        ),
        Column("class", "text", "of the class slot", "wnid"),
        Column("score", "real", "softmax probability", "0 to 1"),
        Column(
            "status",
            "text",
            "`box`; `no_box`: the map has no positive or a not finite value, a miss; `missing`: no "
            "map or box from elsewhere for this image, a miss; `swept`: the protocol takes no one "
            "box, see curves; `not_applicable`: the method is not defined for this network, or a "
            "box has no pixels to score",
        ),
    ),
    "one row an image x model x method x class slot",
)

# The box of a row, half-open xyxy: that of its map under a protocol of one box, or one from
# elsewhere under any.
CORNERS = (
    Column("x0", "real", "predicted or given box; NaN where there is none", "pixels"),
    *(Column(name, "real", "likewise", "pixels") for name in ("y0", "x1", "y1")),
)

# Where the maximum of a map lies, whatever the protocol.
PEAK = (
    Column(
        "peak_x",
        "real",
        "center of the pixel of the map's maximum, the first in raster order; NaN where no value "
        "is positive, and in rows of other classes than the image's",
        "pixels",
    ),
    Column("peak_y", "real", "likewise", "pixels"),
)

CURVE_KEYS = Table(
    "curves",
    (_MODEL, _METHOD, _LAYER, _IMAGE_ID),
    "one row an image x model x method, of the map of the image's own class, under a protocol of "
    "many thresholds",
)

MAPS = Table(
    "maps",
    (
        _MODEL,
        _METHOD,
        _LAYER,
        _IMAGE_ID,
        Column("rank", "int", "of the row"),
        Column(
            "scale",
            "real",
            "the map's maximum (its largest magnitude where no value is positive), in the method's "
            "unit",
        ),
        Column("height", "int", "of the map", "cells"),
        Column("width", "int", "of the map", "cells"),
        Column(
            "map",
            "bytes",
            "float16, little-endian, row by row: the map divided by `scale`. Boxes were taken from "
            "these values",
        ),
    ),
    "one row a map made by a network; those from elsewhere are not copied",
)

COSTS = Table(
    "costs",
    (
        _MODEL,
        _METHOD,
        _LAYER,
        Column("n_images", "int", "images"),
        Column("forward", "int", "images that passed the network"),
        Column("backward", "int", "(image, class) gradients, to the layer or to the pixels"),
        Column(
            "head",
            "int",
            "activations that passed the part of the network behind the layer alone",
        ),
        Column(
            "seconds",
            "real",
            "by the clock of the device: of the shared pass and of the method's own work. The one "
            "column that differs between two runs",
            "seconds",
        ),
        Column("reason", "text", "why the method is not applicable; empty otherwise"),
    ),
    "one row a model x method x layer in each part, of the images that were evaluated",
)

CLASSES = Table(
    "classes",
    (
        Column("wnid", "text", "sorted; the order of outputs where nothing else tells one"),
        Column("words", "text", "for people; not unique"),
        Column("ilsvrc_id", "int", "ILSVRC2012_ID (1 to 1000); 0 where the data root holds none"),
    ),
    "one row a class of the data set",
)


# The columns of a summary that are no numbers of maps.
SUMMARY_COUNTS = (
    *("status", "n_images", "n_skipped", "n_missing", "n_blacklisted", "n_without_box"),
    *("n_scored", "n_held_out"),
    *("forward_passes", "backward_passes", "head_passes", "seconds", "reason"),
)


class Tables(NamedTuple):
    """The tables of a part of a run."""

    images: pd.DataFrame
    rows: pd.DataFrame
    maps: pd.DataFrame
    curves: pd.DataFrame
    costs: pd.DataFrame


def boxes_of(rows: pd.DataFrame) -> np.ndarray:
    """The (n, 4) boxes of rows, half-open xyxy pixels of the original image; NaN for none."""
    return rows[[column.name for column in CORNERS]].to_numpy(np.float64)
