"""One method's stored rows, image by image: what every number of a run is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.errors import ConfigError
from wsol_bench.geometry import Boxes, box_area
from wsol_bench.runs.schema import ImageStatus, RowStatus
from wsol_bench.statistics.hits import Hits

__all__ = ["EvaluatedImages", "ImageScores", "LabelBoxes"]


class LabelBoxes(NamedTuple):
    """Ground-truth boxes of the images' own classes.

    Attributes:
        boxes: half-open xyxy pixels of the original images, image by image.
        per_image: how many of them each image has.
    """

    boxes: Boxes
    per_image: Int64[np.ndarray, " images"]


class Classes(NamedTuple):
    """The classes of images.

    Attributes:
        number: of each image's class; -1 of an image without one.
        names: of the classes, sorted.
    """

    number: Int64[np.ndarray, " images"]
    names: list[str]


@dataclass(frozen=True, eq=False)
class EvaluatedImages:
    """The images of a model that were evaluated: what the numbers of all its methods share.

    What follows from the images alone is computed once, however many methods there are; its arrays
    cannot be written to, so that no metric changes the number of another method.

    Attributes:
        table: the lines of the images table, one an image; see docs/rows.md.
        n_skipped: images of the model that were not evaluated. They enter no number.
    """

    table: pd.DataFrame
    n_skipped: int = 0

    @classmethod
    def of(cls, images: pd.DataFrame) -> "EvaluatedImages":
        """Take the evaluated images of the images table of one model."""
        evaluated = (images["status"] == ImageStatus.EVALUATED).to_numpy(bool)
        if evaluated.all():
            return cls(images)
        chosen = images[evaluated].reset_index(drop=True)
        return cls(chosen, n_skipped=len(images) - len(chosen))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "EvaluatedImages":
        """Keep some of the images."""
        return EvaluatedImages(self.table[chosen].reset_index(drop=True))

    @cached_property
    def index(self) -> pd.Index:
        """The images' ids."""
        return pd.Index(self.table["image_id"])

    @cached_property
    def ids(self) -> np.ndarray:
        """The images' ids, as an array of strings."""
        return _read_only(self.index.to_numpy(object))

    @cached_property
    def has_box(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether it has a ground-truth box of its class."""
        return _read_only(self.table["n_label_boxes"].to_numpy(np.int64) > 0)

    @cached_property
    def counted(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether localization errors count it: a box, and not blacklisted."""
        return _read_only(self.has_box & ~self.table["blacklisted"].to_numpy(bool))

    @cached_property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether a threshold is selected on it; it then enters no number."""
        if "held_out" not in self.table:
            return _read_only(np.zeros(len(self), np.bool_))
        return _read_only(self.table["held_out"].to_numpy(bool))

    @cached_property
    def classes(self) -> Classes:
        """The classes of the images, numbered."""
        number, names = pd.factorize(self.table["label"].to_numpy(object), sort=True)
        return Classes(number.astype(np.int64), list(names))

    @cached_property
    def label_boxes(self) -> LabelBoxes:
        """The ground-truth boxes of the images' classes, as one list."""
        flat = [np.asarray(boxes, np.float64) for boxes in self.table["boxes"].tolist()]
        per_image = np.array([len(boxes) // 4 for boxes in flat], np.int64)
        return LabelBoxes(np.concatenate([np.zeros(0), *flat]).reshape(-1, 4), per_image)

    @cached_property
    def largest_share(self) -> Float64[np.ndarray, " n"]:
        """The area of the largest box of each image's class, a fraction of the image in [0, 1]."""
        largest = np.zeros(len(self))
        truth = self.label_boxes
        image_of_box = np.repeat(np.arange(len(self)), truth.per_image)
        np.maximum.at(largest, image_of_box, box_area(truth.boxes))
        height, width = (self.table[side].to_numpy(np.float64) for side in ("height", "width"))
        return _read_only(largest / (height * width))

    def positions(self, ids: pd.Series) -> Int64[np.ndarray, " r"]:
        """Look up where the image of each id stands in the table.

        Args:
            ids: of rows. A categorical column whose categories are ``index`` is looked up by its
                codes alone.

        Raises:
            ValueError: an id that is not in the table.
        """
        ids = ids.astype("category")
        position = ids.cat.codes.to_numpy().astype(np.int64)
        if ids.cat.categories is not self.index:
            of_category = np.append(self.index.get_indexer(ids.cat.categories), -1)
            position = of_category[position].astype(np.int64)
        if (position < 0).any():
            unknown = ids.iloc[int(np.argmax(position < 0))]
            raise ValueError(f"rows hold an image that the images table does not: {unknown}")
        return position

    def label_codes(self, classes: pd.Index) -> Int64[np.ndarray, " n"]:
        """Look up where the class of each image stands in a list; -2 where it does not."""
        code = classes.get_indexer(pd.Index(self.classes.names, dtype=object))
        return np.append(np.where(code < 0, -2, code), -2)[self.classes.number].astype(np.int64)


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The evaluated images of a model, with the rows of one method.

    Attributes:
        evaluated: the images, and what follows from them alone.
        rows: the method's rows of these images; those of the own class and of rank 1 matter.
        curves: the method's lines of the curves table.
        hits: under a sweep, by least IoU, whether the box of the largest component is right at each
            threshold (one curve); of images that have no curve none is.
        thresholds: of these hits.
    """

    evaluated: EvaluatedImages
    rows: pd.DataFrame
    curves: pd.DataFrame | None = None
    hits: Mapping[float, Hits] = field(default_factory=dict)
    thresholds: Float64[np.ndarray, " t"] | None = None

    @classmethod
    def of(
        cls, images: EvaluatedImages, rows: pd.DataFrame, curves: pd.DataFrame | None = None
    ) -> "ImageScores":
        """Join the evaluated images of a model with the rows and curves of one method.

        Args:
            images: of one model.
            rows, curves: of one of its methods; those of images that were not evaluated are left
                out.
        """
        if images.n_skipped:
            rows = rows[rows["image_id"].isin(images.index)]
            curves = None if curves is None else curves[curves["image_id"].isin(images.index)]
        return cls(images, rows, curves)

    def __len__(self) -> int:
        return len(self.evaluated)

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "ImageScores":
        """Keep some of the images; their hits are left out, which are made of a whole."""
        images = self.evaluated.take(chosen)
        curves = self.curves
        if curves is not None:
            curves = curves[curves["image_id"].isin(images.index)]
        rows = self.rows[self.rows["image_id"].isin(images.index)]
        return replace(self, evaluated=images, rows=rows, curves=curves, hits={}, thresholds=None)

    @cached_property
    def scored(self) -> "ImageScores":
        """The same without the images that are held out."""
        return self.take(~self.held_out) if self.held_out.any() else self

    @property
    def images(self) -> pd.DataFrame:
        """The lines of the images table, one an image; see docs/rows.md."""
        return self.evaluated.table

    @property
    def image_ids(self) -> np.ndarray:
        """The images' ids."""
        return self.evaluated.ids

    @property
    def has_box(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether it has a ground-truth box of its class."""
        return self.evaluated.has_box

    @property
    def counted(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether localization errors count it: a box, and not blacklisted."""
        return self.evaluated.counted

    @property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """Say of each image whether a threshold is selected on it; it then enters no number."""
        return self.evaluated.held_out

    def hits_at(self, iou: float) -> Hits:
        """``hits`` of a least IoU; ConfigError where the protocol has no such one."""
        if iou not in self.hits:
            if not self.hits:
                raise ConfigError("hits are at hand for metrics that say needs=('hits',)")
            found = ", ".join(f"{one:g}" for one in self.hits)
            raise ConfigError(f"expected {iou:g} among the protocol's least IoUs, found {found}")
        return self.hits[iou]

    @cached_property
    def ranked(self) -> bool:
        """Say whether anybody has ranked classes; without ranks there is no top-k number."""
        return not len(self.rows) or bool((self._rank > 0).any())

    @cached_property
    def applicable(self) -> bool:
        """Say whether the method applies to every image; one that does not has no numbers."""
        return not (self.rows["status"] == RowStatus.NOT_APPLICABLE).any()

    @cached_property
    def known_rank(self) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's own class; infinite where there is no row of it."""
        return self.best_rank(self.right)

    @cached_property
    def complete(self) -> bool:
        """Say whether each image that is counted has a row of its own class."""
        return bool(np.isfinite(self.known_rank[self.counted]).all())

    def best_rank(self, chosen: Bool[np.ndarray, " r"]) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's chosen rows; infinite where it has none."""
        best = np.full(len(self), np.inf)
        np.minimum.at(best, self.place[chosen], self._rank[chosen])
        return best

    def hit_rank(self, iou: float) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's rows of its own class with an IoU of at least ``iou``."""
        return self.best_rank(self.right & (self.rows["iou"].to_numpy(np.float64) >= iou))

    def own(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column of each image's first row of its own class; NaN where it has none."""
        return self._at(self.own_rows, column)

    def first(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column of each image's row of rank 1; NaN where it has none."""
        return self._at(self.first_rows, column)

    def of_maps(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column that a metric measures of maps, of the map of each image's own class.

        NaN where the image has no ground-truth box or mask; all NaN where the method is not
        applicable to some image.
        """
        if column not in self.rows or not self.applicable:
            return np.full(len(self), np.nan)
        return self.own(column)

    @cached_property
    def own_iou(self) -> Float64[np.ndarray, " n"]:
        """The best IoU of the own class's first box, of the images that are counted.

        NaN elsewhere; all NaN where a counted image has no row of its own class, or the method is
        not applicable: there is no number of all images from the boxes of some.
        """
        if not (self.complete and self.applicable):
            return np.full(len(self), np.nan)
        return np.where(self.counted, self.own("iou"), np.nan)

    @cached_property
    def n_missing(self) -> int:
        """Images for whose own class there is neither map nor box, or nothing at all."""
        missing = (self.rows["status"] == RowStatus.MISSING).to_numpy(bool)
        missing = missing & (self.right | (self.rows["class"] == "").to_numpy(bool))
        return len(np.unique(self.place[missing]))

    @cached_property
    def own_rows(self) -> Int64[np.ndarray, " n"]:
        """The position of each image's first row of its own class, by rank; -1 where it has none.

        Of rows of one rank the first in the table counts.
        """
        return self._first_of(self.right)

    @cached_property
    def first_rows(self) -> Int64[np.ndarray, " n"]:
        """The position of each image's first row of rank 1; -1 where it has none."""
        return self._first_of(self._rank == 1)

    @cached_property
    def right(self) -> Bool[np.ndarray, " r"]:
        """Say of each row whether its class is its image's own."""
        classes = self.rows["class"].astype("category")
        label = self.evaluated.label_codes(classes.cat.categories)
        return np.asarray(classes.cat.codes.to_numpy() == label[self.place], np.bool_)

    @cached_property
    def place(self) -> Int64[np.ndarray, " r"]:
        """The position of each row's image."""
        return self.evaluated.positions(self.rows["image_id"])

    @cached_property
    def _rank(self) -> Float64[np.ndarray, " r"]:
        return self.rows["rank"].to_numpy(np.float64)

    def _first_of(self, chosen: Bool[np.ndarray, " r"]) -> Int64[np.ndarray, " n"]:
        """Find each image's chosen row of the lowest rank, the first of equals; -1 of none."""
        candidates = np.flatnonzero(chosen)
        ordered = candidates[np.lexsort((self._rank[candidates], self.place[candidates]))]
        place, first = np.unique(self.place[ordered], return_index=True)
        row = np.full(len(self), -1, np.int64)
        row[place] = ordered[first]
        return row

    def _at(self, rows: Int64[np.ndarray, " n"], column: str) -> Float64[np.ndarray, " n"]:
        values = np.append(self.rows[column].to_numpy(np.float64), np.nan)  # of no row
        return values[rows]


def _read_only(array: np.ndarray) -> np.ndarray:
    shared = array.view()
    shared.flags.writeable = False
    return shared
