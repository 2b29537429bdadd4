"""Maps and boxes that are there without a network, and their scores."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from wsol_bench.boxes.rule import Scores, Truth, score_boxes, score_maps, status_of
from wsol_bench.geometry import Placement
from wsol_bench.protocols import Protocol

__all__ = ["Asked", "GivenBoxes", "GivenMaps", "Guess"]

Map = Float32[np.ndarray, "h w"]

# Images whose maps lie in memory at a time.
_CHUNK = 16


class Asked(NamedTuple):
    """The (image, class) pairs that become rows.

    Attributes:
        image: index of each pair's image.
        rank: of the class; 0 where classes are not ranked.
        label: the class.
        own: whether it is the image's own.
        boxes: half-open xyxy pixels of the images, where the pairs were made for them.
    """

    image: Int64[np.ndarray, " r"]
    rank: Int64[np.ndarray, " r"]
    label: np.ndarray
    own: Bool[np.ndarray, " r"]
    boxes: Float64[np.ndarray, "r 4"] | None = None

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Asked":
        """Some of the pairs."""
        boxes = None if self.boxes is None else self.boxes[rows]
        return Asked(self.image[rows], self.rank[rows], self.label[rows], self.own[rows], boxes)


class Guess(NamedTuple):
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
class GivenMaps:
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

    def asked(self, image_ids: Sequence[str], labels: Sequence[str]) -> Asked:
        """The rows of images for which no model predicts classes: their own class, not ranked."""
        n = len(image_ids)
        label = np.array(labels, dtype=object)
        return Asked(np.arange(n), np.zeros(n, np.int64), label, np.ones(n, np.bool_))

    def score(
        self,
        image_ids: Sequence[str],
        asked: Asked,
        placements: Sequence[Placement],
        truth: Sequence[Truth],
        protocol: Protocol,
    ) -> tuple[Scores, np.ndarray]:
        """Scores and status of the rows that are asked for, all of an image from one map.

        Args:
            image_ids, placements, truth: of the images.
            asked: the rows.
            protocol: what turns maps into scores.
        """
        status = np.full(len(asked.image), "missing", dtype=object)
        scores = Scores.none(len(asked.image))
        order = np.argsort(asked.image, kind="stable")
        images, starts = np.unique(asked.image[order], return_index=True)
        rows_of = np.split(order, starts[1:])
        missing: list[int] = []
        # A few at a time: maps may be as large as images.
        for start in range(0, len(images), _CHUNK):
            alike: dict[tuple[object, ...], list[tuple[int, Map]]] = defaultdict(list)
            for place in range(start, min(start + _CHUNK, len(images))):
                index = int(images[place])
                map = self.map(image_ids[index])
                if map is None:
                    missing += rows_of[place].tolist()
                else:
                    alike[(map.shape, placements[index].input)].append((place, map))
            for some in alike.values():
                places, maps = zip(*some, strict=True)
                indices = images[list(places)].tolist()
                of_image = score_maps(
                    np.stack(maps),
                    np.arange(len(maps)),
                    np.ones(len(maps), np.bool_),
                    [placements[index] for index in indices],
                    [truth[index] for index in indices],
                    protocol,
                )
                state = status_of(of_image, protocol)
                for position, place in enumerate(places):
                    rows = rows_of[place]
                    mine = rows[asked.own[rows]]
                    status[rows] = state[position]
                    scores.boxes[rows] = of_image.boxes[position]
                    scores.iou[rows] = of_image.iou[position]
                    scores.peak[mine] = of_image.peak[position]
                    scores.energy[mine] = of_image.energy[position]
                    if position in of_image.curves:
                        curve = of_image.curves[position]
                        scores.curves.update((row, curve) for row in mine.tolist())
        _miss(scores, np.array(missing, np.int64), asked, placements, truth, protocol)
        return scores, status


def _miss(
    scores: Scores,
    rows: Int64[np.ndarray, " m"],
    asked: Asked,
    placements: Sequence[Placement],
    truth: Sequence[Truth],
    protocol: Protocol,
) -> None:
    """Score rows whose map is missing: a miss at every threshold."""
    image, own = asked.image[rows], asked.own[rows]
    nothing = np.full((len(rows), 4), np.nan)
    theirs = score_boxes(nothing, image, own, placements, truth, protocol)
    scores.iou[rows] = theirs.iou
    scores.curves.update((int(rows[place]), curve) for place, curve in theirs.curves.items())
    for row in rows if protocol.pixels else ():  # all pixels are alike
        one = slice(row, row + 1)
        constant = np.zeros((1, 1, 1), np.float32)
        alike = score_maps(constant, asked.image[one], asked.own[one], placements, truth, protocol)
        scores.curves.update((int(row), curve) for curve in alike.curves.values())


@dataclass(frozen=True)
class GivenBoxes:
    """Boxes of images, ranked guesses of classes or one box whatever the class.

    Attributes:
        guesses: of each image, by its id.
        fingerprint: digest of what they come from.
        ranked: whether they are guesses of classes.
    """

    guesses: Mapping[str, Sequence[Guess]]
    fingerprint: str
    ranked: bool

    def has(self, image_id: str) -> bool:
        """Whether there is anything for an image."""
        return image_id in self.guesses

    def asked(self, image_ids: Sequence[str], labels: Sequence[str]) -> Asked:
        """The rows of images for which no model predicts classes: the guesses as they are ranked.

        A box that is not ranked is that of the image's own class. An image without any has a row
        without a box; among guesses it is one of no class, and so is wrong.
        """
        nowhere = (np.nan,) * 4
        image, rank, label, boxes = [], [], [], []
        for index, (image_id, own) in enumerate(zip(image_ids, labels, strict=True)):
            guesses = self.guesses.get(image_id, ())
            if not self.ranked:
                guesses = [Guess(0, own, guesses[0].box if guesses else nowhere)]
            elif not guesses:
                guesses = [Guess(1, "", nowhere)]
            for guess in guesses:
                image.append(index)
                rank.append(guess.rank)
                label.append(guess.label)
                boxes.append(guess.box)
        names, where = np.array(label, dtype=object), np.array(image, np.int64)
        own_class = names == np.array(labels, dtype=object)[where]
        corners = np.array(boxes, np.float64).reshape(-1, 4)
        return Asked(where, np.array(rank, np.int64), names, own_class, corners)

    def score(
        self,
        image_ids: Sequence[str],
        asked: Asked,
        placements: Sequence[Placement],
        truth: Sequence[Truth],
        protocol: Protocol,
    ) -> tuple[Scores, np.ndarray]:
        """Scores and status of the rows that are asked for; see ``GivenMaps.score``.

        A row of a model's prediction has the first box of its class, or else without a class. Of
        several guesses of the image's own class the first one has the curve.
        """
        boxes = asked.boxes
        if boxes is None:
            boxes = np.full((len(asked.image), 4), np.nan)
            for row, index in enumerate(asked.image.tolist()):
                for guess in self.guesses.get(image_ids[index], ()):
                    if not self.ranked or guess.label == asked.label[row]:
                        boxes[row] = guess.box
                        break
        mine = np.flatnonzero(asked.own)
        first = mine[np.unique(asked.image[mine], return_index=True)[1]]
        own = np.isin(np.arange(len(boxes)), first)
        scores = score_boxes(boxes, asked.image, own, placements, truth, protocol)
        if protocol.box is None:
            return scores, np.full(len(boxes), "not_applicable", dtype=object)
        state = np.where(np.isnan(boxes[:, 0]), "missing", "box" if not protocol.sweep else "swept")
        return scores, state.astype(object)
