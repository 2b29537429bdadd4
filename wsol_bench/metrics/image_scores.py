"""The stored rows of one method, image by image, from which every number of a run is made."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.common.arrays import read_only
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.runs.schema import RowStatus
from wsol_bench.statistics.hits import Hits

__all__ = ["ImageScores"]


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The evaluated images of a model, with the rows of one method.

    Attributes:
        evaluated: the images, and the values that depend on them alone.
        rows: the method's rows of these images; numbers use the rows of the images' labels and the
            rows of rank 1.
        curves: the method's lines of the curves table.
        hits: under a sweep, by least IoU, whether the box of the largest component is right at each
            threshold (one curve); an image without a curve has no hit.
        thresholds: thresholds of the hits; None without a sweep.
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
            images: evaluated images of one model.
            rows, curves: rows and curves of one method of the model; rows and curves of images
                that were not evaluated are left out.
        """
        if images.n_skipped:
            rows = rows[rows["image_id"].isin(images.index)]
            curves = None if curves is None else curves[curves["image_id"].isin(images.index)]
        return cls(images, rows, curves)

    def __len__(self) -> int:
        return len(self.evaluated)

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "ImageScores":
        """The chosen images with their rows; hits are left out, since they belong to all images."""
        if chosen.all():  # as in most runs: to look up 50,000 ids takes a while
            return replace(self, hits={}, thresholds=None)
        images = self.evaluated.take(chosen)
        curves = self.curves
        if curves is not None:
            curves = curves[curves["image_id"].isin(images.index)]
        rows = self.rows[self.rows["image_id"].isin(images.index)]
        return replace(self, evaluated=images, rows=rows, curves=curves, hits={}, thresholds=None)

    def apart(self) -> "ImageScores":
        """The same scores with tables of their own: what is written there changes no other."""
        other = copy(self)
        tables = {"rows": self.rows.copy(), "evaluated": self.evaluated.apart()}
        if self.curves is not None:
            tables["curves"] = self.curves.copy()
        # A copy made by the dataclass would compute the cached values again.
        vars(other).update(tables)
        return other

    @cached_property
    def scored(self) -> "ImageScores":
        """The same scores without the images that are held out."""
        return self.take(~self.held_out) if self.held_out.any() else self

    @property
    def images(self) -> pd.DataFrame:
        """The images table, one row an image; see docs/rows.md."""
        return self.evaluated.table

    @property
    def image_ids(self) -> np.ndarray:
        """The ids of the images."""
        return self.evaluated.ids

    @property
    def has_box(self) -> Bool[np.ndarray, " n"]:
        """Return whether each image has a ground-truth box of its label."""
        return self.evaluated.has_box

    @property
    def counted(self) -> Bool[np.ndarray, " n"]:
        """Return whether localization errors count each image.

        They count an image that has a box and is not blacklisted.
        """
        return self.evaluated.counted

    @property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """Return whether a threshold is selected on each image; it then enters no number."""
        return self.evaluated.held_out

    def hits_at(self, iou: float) -> Hits:
        """The hits at a least IoU.

        Raises:
            ConfigError: the protocol does not have that least IoU, or the metric does not name
                ``hits`` among its ``needs``.
        """
        if iou not in self.hits:
            if not self.hits:
                raise ConfigError(
                    "only a metric with needs=('hits',) can read hits; add it to the decorator"
                )
            ious = ", ".join(f"{least:g}" for least in self.hits)
            raise ConfigError(f"expected {iou:g} among the protocol's least IoUs, found {ious}")
        return self.hits[iou]

    @cached_property
    def ranked(self) -> bool:
        """Return whether the rows have ranks; without ranks there is no top-k number."""
        return not len(self.rows) or bool((self._rank > 0).any())

    @cached_property
    def applicable(self) -> bool:
        """Return whether the method applies to every image; if not, the method has no numbers."""
        return not (self.rows["status"] == RowStatus.NOT_APPLICABLE).any()

    @cached_property
    def label_rank(self) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's label; infinite without a row of the label."""
        return read_only(self.best_rank(self.is_label))

    @cached_property
    def complete(self) -> bool:
        """Return whether each image that is counted has a row of its label."""
        return bool(np.isfinite(self.label_rank[self.counted]).all())

    def best_rank(self, chosen: Bool[np.ndarray, " r"]) -> Float64[np.ndarray, " n"]:
        """The best rank among each image's chosen rows; infinite without a chosen row."""
        best = np.full(len(self), np.inf)
        np.minimum.at(best, self.image_position[chosen], self._rank[chosen])
        return best

    def hit_rank(self, iou: float) -> Float64[np.ndarray, " n"]:
        """The best rank of each image's rows of its label with an IoU of at least ``iou``."""
        return self.best_rank(self.is_label & (self.rows["iou"].to_numpy(np.float64) >= iou))

    def of_label(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column in the first row of each image's label; NaN without such a row."""
        return self._column(self.label_rows, column)

    def first(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column in each image's first row of rank 1; NaN without such a row."""
        return self._column(self.first_rows, column)

    def of_maps(self, column: str) -> Float64[np.ndarray, " n"]:
        """A column of a metric per map, for the map of each image's label.

        NaN if the image has no ground-truth box or mask; all NaN if the method is not applicable to
        some image.
        """
        if column not in self.rows or not self.applicable:
            return np.full(len(self), np.nan)
        return self.of_label(column)

    @cached_property
    def label_iou(self) -> Float64[np.ndarray, " n"]:
        """The best IoU of the first box of each image's label; NaN if the image is not counted.

        All NaN if a counted image has no row of its label, or the method is not applicable to some
        image: the boxes of a part of the images make no number.
        """
        if not (self.complete and self.applicable):
            return read_only(np.full(len(self), np.nan))
        return read_only(np.where(self.counted, self.of_label("iou"), np.nan))

    @cached_property
    def n_missing(self) -> int:
        """The number of images that have neither a map nor a box of their label."""
        missing = (self.rows["status"] == RowStatus.MISSING).to_numpy(bool)
        missing = missing & (self.is_label | (self.rows["class"] == "").to_numpy(bool))
        return len(np.unique(self.image_position[missing]))

    def n_with_status(self, status: RowStatus) -> int:
        """The number of images whose row of their label has a status."""
        rows = self.label_rows[self.label_rows >= 0]
        return int((self.rows["status"].iloc[rows] == status).sum())

    @cached_property
    def label_rows(self) -> Int64[np.ndarray, " n"]:
        """The position of the first row of each image's label, by rank; -1 without such a row.

        If several rows of the label have the same rank, the first in the table counts.
        """
        return self._first_of(self.is_label)

    @cached_property
    def first_rows(self) -> Int64[np.ndarray, " n"]:
        """The position of each image's first row of rank 1; -1 without such a row."""
        return self._first_of(self._rank == 1)

    @cached_property
    def is_label(self) -> Bool[np.ndarray, " r"]:
        """Return whether each row's class is its image's label."""
        classes = self.rows["class"].astype("category")
        label = self.evaluated.label_codes(classes.cat.categories)
        own = classes.cat.codes.to_numpy() == label[self.image_position]
        return read_only(np.asarray(own, np.bool_))

    @cached_property
    def image_position(self) -> Int64[np.ndarray, " r"]:
        """The position of each row's image."""
        return read_only(self.evaluated.positions(self.rows["image_id"]))

    @cached_property
    def _rank(self) -> Float64[np.ndarray, " r"]:
        return read_only(self.rows["rank"].to_numpy(np.float64))

    def _first_of(self, chosen: Bool[np.ndarray, " r"]) -> Int64[np.ndarray, " n"]:
        """The position of each image's first chosen row, by rank; -1 without a chosen row."""
        candidates = np.flatnonzero(chosen)
        ordered = candidates[np.lexsort((self._rank[candidates], self.image_position[candidates]))]
        image, first = np.unique(self.image_position[ordered], return_index=True)
        row = np.full(len(self), -1, np.int64)
        row[image] = ordered[first]
        return read_only(row)

    def _column(self, rows: Int64[np.ndarray, " n"], column: str) -> Float64[np.ndarray, " n"]:
        values = np.append(self.rows[column].to_numpy(np.float64), np.nan)  # row -1 is no row
        return values[rows]
