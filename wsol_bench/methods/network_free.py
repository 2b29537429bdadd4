"""Methods that need no network: maps or boxes of images by their ids, and their scores.

The baselines (``methods.baselines``) and what other tools made (``methods.imported``) are such
methods. An opener returns ``ImageMaps`` or ``ImageBoxes``, which scoring asks image by image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.options import bind_options
from wsol_bench.common.registry import Registry
from wsol_bench.common.vocabulary import Gives
from wsol_bench.datasets import Dataset
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch, by_shape
from wsol_bench.scoring.scores import Scores

__all__ = [
    "ImageBoxes",
    "ImageMaps",
    "MapsOrBoxes",
    "NetworkFreeMethod",
    "RankedBox",
    "ScoredRows",
    "network_free_method",
    "network_free_methods",
    "score_image_boxes",
]

Map = Float32[np.ndarray, "h w"]

# The number of images whose maps lie in memory at a time.
_CHUNK = 16


class ScoredRows(NamedTuple):
    """Rows and their scores."""

    rows: RowBatch
    scores: Scores


class RankedBox(NamedTuple):
    """A box and what it is said to be a box of.

    Attributes:
        rank: 1 is the first guess of an image; 0 where boxes are not ranked.
        label: class; "" for a box of whatever is in the image.
        box: half-open x0, y0, x1, y1 in pixels of the image.
    """

    rank: int
    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageMaps:
    """A map an image, whatever the class.

    Attributes:
        map: of an image, by its id: (h, w) over the whole of the network's input; None where there
            is none.
        fingerprint: digest of what they come from.
        known: whether there is one, by the image's id.
    """

    map: Callable[[str], Float32[np.ndarray, "h w"] | None]
    fingerprint: str
    known: Callable[[str], bool] = lambda image_id: True

    def has(self, image_id: str) -> bool:
        """Whether there is anything for an image."""
        return self.known(image_id)

    def alone(self, images: ImageBatch, scoring: Scoring) -> ScoredRows:
        """The rows of images for which no model predicts classes: their own class, not ranked."""
        rows = RowBatch.of_labels(images)
        return ScoredRows(rows, self.score(rows, scoring))

    def score(self, rows: RowBatch, scoring: Scoring) -> Scores:
        """The scores of rows, all of an image from its one map."""
        named, source = np.unique(rows.image, return_inverse=True)
        images = rows.images.take(named.tolist())
        return self._of_images(images, scoring).spread(source.astype(np.int64), rows.is_label)

    def _of_images(self, images: ImageBatch, scoring: Scoring) -> Scores:
        """The scores of the maps of images, for the image's own class."""
        whole = RowBatch.of_labels(images)
        scores = scoring.not_applicable(len(images))
        missing: list[int] = []
        # A few at a time: maps may be as large as images.
        for start in range(0, len(images), _CHUNK):
            there: list[int] = []
            maps: list[Map] = []
            for place in range(start, min(start + _CHUNK, len(images))):
                map = self.map(images.ids[place])
                if map is None:
                    missing.append(place)
                else:
                    there.append(place)
                    maps.append(map)
            shapes = [
                (map.shape, images.placements[place].input)
                for place, map in zip(there, maps, strict=True)
            ]
            for some in by_shape(shapes):
                places = np.array(there, np.int64)[some]
                of_shape = np.stack([maps[position] for position in some])
                scores = scores.put(places, scoring.score_maps(of_shape, whole.take(places)))
        if missing:
            places = np.array(missing, np.int64)
            scores = scores.put(places, scoring.missing(whole.take(places)))
        return scores


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of images, ranked guesses of classes or one box whatever the class.

    Attributes:
        guesses: of each image, by its id.
        fingerprint: digest of what they come from.
        ranked: whether they are guesses of classes.
    """

    guesses: Mapping[str, Sequence[RankedBox]]
    fingerprint: str
    ranked: bool

    def has(self, image_id: str) -> bool:
        """Whether there is anything for an image."""
        return image_id in self.guesses

    def alone(self, images: ImageBatch, scoring: Scoring) -> ScoredRows:
        """The rows of images for which no model predicts classes: the guesses as they are ranked.

        A box that is not ranked is that of the image's own class. An image without any has a row
        without a box; among guesses it is one of no class, and so is wrong.
        """
        nowhere = (np.nan,) * 4
        image: list[int] = []
        guesses: list[RankedBox] = []
        for index, (image_id, truth) in enumerate(zip(images.ids, images.truth, strict=True)):
            its = self.guesses.get(image_id, ())
            if not self.ranked:
                its = [RankedBox(0, truth.label, its[0].box if its else nowhere)]
            elif not its:
                its = [RankedBox(1, "", nowhere)]
            image += [index] * len(its)
            guesses += its
        rows = RowBatch(
            images,
            np.array(image, np.int64),
            np.array([guess.rank for guess in guesses], np.int64),
            np.array([guess.label for guess in guesses], dtype=object),
            np.full(len(guesses), np.nan),
        )
        boxes = np.array([guess.box for guess in guesses], np.float64).reshape(-1, 4)
        return ScoredRows(rows, score_image_boxes(boxes, rows, scoring))

    def score(self, rows: RowBatch, scoring: Scoring) -> Scores:
        """The scores of a model's predictions: each has the first box of its class, or of none."""
        boxes = np.full((len(rows), 4), np.nan)
        for row, image_id in enumerate(rows.image_ids):
            for guess in self.guesses.get(image_id, ()):
                if not self.ranked or guess.label == rows.wnid[row]:
                    boxes[row] = guess.box
                    break
        return score_image_boxes(boxes, rows, scoring)


def score_image_boxes(
    boxes: Float64[np.ndarray, "n 4"], rows: RowBatch, scoring: Scoring
) -> Scores:
    """The scores of boxes that need no map.

    Of several guesses of an image's own class the first one has the curve.

    Args:
        boxes: of each row, half-open xyxy pixels of its image; NaN where there is none.
        rows: theirs.
        scoring: of the protocol.
    """
    own = np.flatnonzero(rows.is_label)
    first: Int64[np.ndarray, " m"] = own[np.unique(rows.image[own], return_index=True)[1]]
    with_curve = np.isin(np.arange(len(boxes)), first)
    return scoring.score_boxes(boxes, rows, with_curve)


MapsOrBoxes = ImageMaps | ImageBoxes
Opener = Callable[..., MapsOrBoxes]


@dataclass(frozen=True)
class NetworkFreeMethod:
    """A source of maps or boxes.

    Attributes:
        name: in configurations and results.
        opener: ``(dataset, **options)``: what it holds. Maps do not depend on the data set: where
            stored results are scored again it is None.
        paper: where it is defined.
        gives: maps, which any protocol can score again, or boxes.
        options: keyword-only ones of the opener.
    """

    name: str
    opener: Opener
    paper: str
    gives: Gives
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, dataset: Dataset | None) -> MapsOrBoxes:
        """What it holds; ConfigError or PredictionError where that cannot be read."""
        return self.opener(dataset, **self.options)

    def with_options(self, options: Mapping[str, Any], where: str) -> "NetworkFreeMethod":
        """The source with its options bound; ConfigError where they do not fit."""
        bound = bind_options(self.opener, options, where)
        name = "+".join([self.name, *(f"{key}={value}" for key, value in options.items())])
        return replace(self, name=name, options=bound)


network_free_methods: Registry[NetworkFreeMethod] = Registry(NetworkFreeMethod, NETWORK_FREE)


def network_free_method(
    name: str, *, gives: Gives, paper: str = ""
) -> Callable[[Opener], NetworkFreeMethod]:
    """Register the opener of a source under ``name``; its keyword-only parameters are options."""

    def register(opener: Opener) -> NetworkFreeMethod:
        return network_free_methods.register(name, NetworkFreeMethod(name, opener, paper, gives))

    return register
