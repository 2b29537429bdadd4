"""One method's stored rows, image by image: what every number of a run is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.errors import ConfigError
from wsol_bench.metrics.selection import first_rows, positions_among
from wsol_bench.schema import ImageStatus, RowStatus
from wsol_bench.statistics import Hits

__all__ = ["ImageScores"]


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The evaluated images of a model, with the rows of one method.

    Attributes:
        images: the lines of the images table, one an image; see docs/rows.md.
        rows: the method's rows of these images; those of the own class and of rank 1 matter.
        curves: the method's lines of the curves table.
        hits: under a sweep, by least IoU, whether the box of the largest component is right at each
            threshold (one curve); of images that have no curve none is.
        thresholds: of these hits.
    """

    images: pd.DataFrame
    rows: pd.DataFrame
    curves: pd.DataFrame | None = None
    hits: Mapping[float, Hits] = field(default_factory=dict)
    thresholds: Float64[np.ndarray, " t"] | None = None

    @classmethod
    def of(
        cls, images: pd.DataFrame, rows: pd.DataFrame, curves: pd.DataFrame | None = None
    ) -> "ImageScores":
        """Those of a method's tables: the images that were evaluated, and their rows.

        Args:
            images: of one model; see docs/rows.md.
            rows, curves: of one of its methods.
        """
        evaluated = (images["status"] == ImageStatus.EVALUATED).to_numpy(bool)
        if evaluated.all():
            return cls(images, rows, curves)
        return cls(images, rows, curves).take(evaluated)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "ImageScores":
        """Those of some of the images; without hits, which are made of a whole."""
        images = self.images[chosen].reset_index(drop=True)
        known = pd.Index(images["image_id"])
        curves = self.curves
        if curves is not None:
            curves = curves[curves["image_id"].isin(known)]
        rows = self.rows[self.rows["image_id"].isin(known)]
        return replace(self, images=images, rows=rows, curves=curves, hits={}, thresholds=None)

    def hits_at(self, iou: float) -> Hits:
        """``hits`` of a least IoU; ConfigError where the protocol has no such one."""
        if iou not in self.hits:
            if not self.hits:
                raise ConfigError("hits are at hand for metrics that say needs=('hits',)")
            found = ", ".join(f"{one:g}" for one in self.hits)
            raise ConfigError(f"expected {iou:g} among the protocol's least IoUs, found {found}")
        return self.hits[iou]

    @cached_property
    def image_ids(self) -> np.ndarray:
        """The images' ids."""
        return self.images["image_id"].to_numpy(object)

    @cached_property
    def has_box(self) -> Bool[np.ndarray, " n"]:
        """Whether an image has a ground-truth box of its class."""
        return self.images["n_label_boxes"].to_numpy(np.int64) > 0

    @cached_property
    def counted(self) -> Bool[np.ndarray, " n"]:
        """Whether an image is in the localization errors: it has a box and is not blacklisted."""
        return self.has_box & ~self.images["blacklisted"].to_numpy(bool)

    @cached_property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """Whether a threshold is selected on an image, which then is in no number."""
        if "held_out" not in self.images:
            return np.zeros(len(self), np.bool_)
        return self.images["held_out"].to_numpy(bool)

    @cached_property
    def ranked(self) -> bool:
        """Whether anybody has ranked classes: otherwise there is no top-k number."""
        return not len(self.rows) or bool((self._rank > 0).any())

    @cached_property
    def applicable(self) -> bool:
        """Whether the method has a map or box of every image: a number of some is not its."""
        return not (self.rows["status"] == RowStatus.NOT_APPLICABLE).any()

    @cached_property
    def known_rank(self) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's own class; infinite where there is no row of it."""
        return self.best_rank(self._right)

    @cached_property
    def complete(self) -> bool:
        """Whether each image that is counted has a row of its own class."""
        return bool(np.isfinite(self.known_rank[self.counted]).all())

    def best_rank(self, chosen: Bool[np.ndarray, " r"]) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's chosen rows; infinite where it has none."""
        best = np.full(len(self), np.inf)
        np.minimum.at(best, self._place[chosen], self._rank[chosen])
        return best

    def hit_rank(self, iou: float) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's rows of its own class with an IoU of at least ``iou``."""
        return self.best_rank(self._right & (self.rows["iou"].to_numpy(np.float64) >= iou))

    def own(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column of each image's first row of its own class; NaN where it has none."""
        return self._at(self._own_row, column)

    def first(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column of each image's row of rank 1; NaN where it has none."""
        return self._at(self._first_row, column)

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
        missing = missing & (self._right | (self.rows["class"] == "").to_numpy(bool))
        return len(np.unique(self._place[missing]))

    @cached_property
    def _place(self) -> Int64[np.ndarray, " r"]:
        """The position of each row's image."""
        place = positions_among(self.rows["image_id"], self.images["image_id"])
        if (place < 0).any():
            raise ValueError("rows hold an image that the images table does not")
        return place

    @cached_property
    def _rank(self) -> Float64[np.ndarray, " r"]:
        return self.rows["rank"].to_numpy(np.float64)

    @cached_property
    def _right(self) -> Bool[np.ndarray, " r"]:
        """Whether each row's class is its image's own."""
        label = self.images["label"].to_numpy(object)
        return np.asarray(self.rows["class"].to_numpy(object) == label[self._place], np.bool_)

    @cached_property
    def _own_row(self) -> Int64[np.ndarray, " n"]:
        return self._rows_of_images(first_rows(self._place, self._right, self._rank))

    @cached_property
    def _first_row(self) -> Int64[np.ndarray, " n"]:
        return self._rows_of_images(first_rows(self._place, self._rank == 1, self._rank))

    def _rows_of_images(self, rows: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " n"]:
        """One row an image, by its position; -1 of an image that has none of these."""
        of_image = np.full(len(self), -1, np.int64)
        of_image[self._place[rows]] = rows
        return of_image

    def _at(self, rows: Int64[np.ndarray, " n"], column: str) -> Float64[np.ndarray, " n"]:
        values = np.append(self.rows[column].to_numpy(np.float64), np.nan)  # of no row
        return values[rows]
