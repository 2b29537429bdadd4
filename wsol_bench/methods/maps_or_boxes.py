"""Maps or boxes that are made without a network, by image id, and their scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch, by_shape
from wsol_bench.scoring.scores import Scores

__all__ = [
    "ImageBoxes",
    "ImageMaps",
    "MapsOrBoxes",
    "RankedBox",
    "ScoredRows",
    "score_image_boxes",
]

Map = Float32[np.ndarray, "h w"]

# The most images whose maps are in memory at a time, and the values of the maps after which no
# other map is read: a map may be as large as an image.
_CHUNK, _CHUNK_VALUES = 16, 2**24

_NO_BOX = (np.nan,) * 4


class ScoredRows(NamedTuple):
    """Rows and their scores."""

    rows: RowBatch
    scores: Scores


class RankedBox(NamedTuple):
    """A predicted class and its box.

    Attributes:
        rank: rank of the class among the image's predictions, from 1; 0 if they are not ranked.
        predicted_class: wnid of the class; "" for a class-agnostic box.
        box: half-open x0, y0, x1, y1 in pixels of the image.
    """

    rank: int
    predicted_class: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageMaps:
    """One class-agnostic map for each image.

    Attributes:
        map_of: ``(image id)``; the map (h, w) over the whole of the network's input, or None if the
            image has no map.
        fingerprint: digest of what the maps are made from.
        covers: ``(image id)``; whether the image has a map.
    """

    map_of: Callable[[str], Float32[np.ndarray, "h w"] | None]
    fingerprint: str
    covers: Callable[[str], bool] = lambda image_id: True

    def score_without_model(self, images: ImageBatch, scoring: Scoring) -> ScoredRows:
        """The rows of images for which no model predicts classes, and their scores.

        Each image has one row, of its label and with rank 0.
        """
        rows = RowBatch.of_labels(images)
        return ScoredRows(rows, self.score(rows, scoring))

    def score(self, rows: RowBatch, scoring: Scoring) -> Scores:
        """The scores of rows; all rows of an image share the image's map."""
        with_rows, image_of_row = np.unique(rows.image, return_inverse=True)
        images = rows.images.take(with_rows.tolist())
        scores = self._score_labels(images, scoring)
        return scores.spread(image_of_row.astype(np.int64), rows.is_label)

    def _score_labels(self, images: ImageBatch, scoring: Scoring) -> Scores:
        """The scores of the maps of images, each for the image's label."""
        rows = RowBatch.of_labels(images)
        scores = scoring.not_applicable(len(images))
        without_map: list[int] = []
        for with_map, maps in self._chunks(images, without_map):
            shapes = [
                (map.shape, images.placements[position].input)
                for position, map in zip(with_map, maps, strict=True)
            ]
            for members in by_shape(shapes):
                positions = np.array(with_map, np.int64)[members]
                stack = np.stack([maps[member] for member in members])
                scores = scores.put(positions, scoring.score_maps(stack, rows.take(positions)))
        if without_map:
            positions = np.array(without_map, np.int64)
            scores = scores.put(positions, scoring.missing(rows.take(positions)))
        return scores

    def _chunks(
        self, images: ImageBatch, without_map: list[int]
    ) -> Iterator[tuple[list[int], list[Map]]]:
        """The positions of some images at a time, with their maps.

        Args:
            images: the images.
            without_map: the list to which the positions of images without a map are added.
        """
        with_map: list[int] = []
        maps: list[Map] = []
        for position, image_id in enumerate(images.ids):
            map = self.map_of(image_id)
            if map is None:
                without_map.append(position)
                continue
            with_map.append(position)
            maps.append(map)
            if len(maps) == _CHUNK or sum(one.size for one in maps) >= _CHUNK_VALUES:
                yield with_map, maps
                with_map, maps = [], []
        if maps:
            yield with_map, maps


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of images: one for each ranked prediction, or one class-agnostic box for each image.

    Attributes:
        boxes: the boxes of each image, by image id, best rank first.
        fingerprint: digest of what the boxes are read from.
        ranked: whether the boxes belong to ranked predictions of classes.
    """

    boxes: Mapping[str, Sequence[RankedBox]]
    fingerprint: str
    ranked: bool

    def covers(self, image_id: str) -> bool:
        """Return whether the image is among the images that the boxes were made for."""
        return image_id in self.boxes

    def score_without_model(self, images: ImageBatch, scoring: Scoring) -> ScoredRows:
        """The rows of images for which no model predicts classes, and their scores.

        Ranked predictions are the rows of an image. A box that is not ranked becomes the box of the
        image's label, with rank 0. An image without any box has one row without a box; if the
        method's predictions are ranked, this row has no class, and so is wrong.
        """
        image_of_row: list[int] = []
        predictions: list[RankedBox] = []
        for position, (image_id, truth) in enumerate(zip(images.ids, images.truth, strict=True)):
            boxes = self.boxes.get(image_id, ())
            if not self.ranked:
                boxes = [RankedBox(0, truth.label, boxes[0].box if boxes else _NO_BOX)]
            elif not boxes:
                boxes = [RankedBox(1, "", _NO_BOX)]
            image_of_row += [position] * len(boxes)
            predictions += boxes
        rows = RowBatch(
            images,
            np.array(image_of_row, np.int64),
            np.array([prediction.rank for prediction in predictions], np.int64),
            np.array([prediction.predicted_class for prediction in predictions], dtype=object),
            np.full(len(predictions), np.nan),
        )
        boxes_of_rows = np.array([prediction.box for prediction in predictions], np.float64)
        scores = score_image_boxes(boxes_of_rows.reshape(-1, 4), rows, scoring)
        return ScoredRows(rows, scores)

    def score(self, rows: RowBatch, scoring: Scoring) -> Scores:
        """The scores of a model's predictions, each with the image's first box of its class.

        A class-agnostic box belongs to every prediction. A prediction without a box is a miss.
        """
        boxes = np.full((len(rows), 4), np.nan)
        for row, image_id in enumerate(rows.image_ids):
            for candidate in self.boxes.get(image_id, ()):
                if not self.ranked or candidate.predicted_class == rows.wnid[row]:
                    boxes[row] = candidate.box
                    break
        return score_image_boxes(boxes, rows, scoring)


MapsOrBoxes = ImageMaps | ImageBoxes


def score_image_boxes(
    boxes: Float64[np.ndarray, "n 4"], rows: RowBatch, scoring: Scoring
) -> Scores:
    """The scores of boxes that come without maps.

    If several rows of an image have the image's label, the first row has the curve.

    Args:
        boxes: half-open xyxy pixels of each row's image; NaN for a row without a box.
        rows: the rows of the boxes.
        scoring: the protocol's scoring.
    """
    of_label = np.flatnonzero(rows.is_label)
    first: Int64[np.ndarray, " m"] = of_label[np.unique(rows.image[of_label], return_index=True)[1]]
    with_curve = np.isin(np.arange(len(boxes)), first)
    return scoring.score_boxes(boxes, rows, with_curve)
