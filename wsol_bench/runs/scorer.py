"""The scoring part of an evaluation: batches of maps and boxes in, tables out. No network here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float16, Float64

from wsol_bench.datasets import Dataset, Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import DatasetError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.protocols.model import Protocol as MapProtocol
from wsol_bench.runs.folder import rows_table
from wsol_bench.runs.manifest import NO_MODEL
from wsol_bench.runs.schema import COSTS, FAILED, IMAGES, MAPS, ImageStatus, Tables
from wsol_bench.scoring import Scores, Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch

__all__ = [
    "CostLine",
    "Group",
    "NetworkFreePass",
    "Outcome",
    "Passed",
    "ScoredGroup",
    "ScoredMethod",
    "Scorer",
    "StoredMaps",
]


class Outcome(NamedTuple):
    """What became of an image.

    Attributes:
        position: in the data set.
        sample: the image.
        status: of it.
        reason: why it was not evaluated.
        label_rank, label_score: of its own class among the model's outputs.
    """

    position: int
    sample: Sample
    status: ImageStatus
    reason: str = ""
    label_rank: int = 0
    label_score: float = float("nan")


class StoredMaps(NamedTuple):
    """Maps as they are stored.

    Attributes:
        values: divided by their scale, in float16.
        scale: of each map, in the method's unit.
    """

    values: Float16[np.ndarray, "n h w"]
    scale: Float64[np.ndarray, " n"]


class CostLine(NamedTuple):
    """What a method cost for a group of images; the columns of ``costs`` but for the names."""

    n_images: int
    forward: int = 0
    backward: int = 0
    head: int = 0
    seconds: float = 0.0
    reason: str = ""

    def plus(self, other: "CostLine") -> "CostLine":
        """The cost of both; the first reason."""
        return CostLine(
            self.n_images + other.n_images,
            self.forward + other.forward,
            self.backward + other.backward,
            self.head + other.head,
            self.seconds + other.seconds,
            self.reason or other.reason,
        )


@dataclass(frozen=True, eq=False)
class ScoredMethod:
    """What a method, or a source, is worth on a group of images.

    Attributes:
        method, layer: names in the results.
        rows: the (image, class) pairs.
        scores: of each row.
        cost: of the group.
        maps: of each row, where they are to be stored.
        faithfulness: columns that the network was asked for, of each row; none where it was not.
    """

    method: str
    layer: str
    rows: RowBatch
    scores: Scores
    cost: CostLine
    maps: StoredMaps | None = None
    faithfulness: Mapping[str, Float64[np.ndarray, " r"]] = field(default_factory=dict)


class ScoredGroup(NamedTuple):
    """What became of a group of images, and what methods are worth on those that count."""

    outcomes: list[Outcome]
    methods: list[ScoredMethod]


@runtime_checkable
class Group(Protocol):
    """Images whose maps or boxes are at hand and can be scored."""

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """What they are worth."""


class Passed(NamedTuple):
    """A batch that is ready to be scored.

    Attributes:
        failed: images that cannot be.
        groups: the others.
    """

    failed: list[Outcome]
    groups: Sequence[Group]


@dataclass(frozen=True)
class NetworkFreePass:
    """Maps and boxes from elsewhere without any model; takes the place of a network's pass.

    Attributes:
        sources: by their names in the results.
        protocol: says where the input that maps lie over is in an image.
    """

    sources: Mapping[str, MapsOrBoxes]
    protocol: MapProtocol

    @property
    def name(self) -> str:
        """The model's, in the results."""
        return NO_MODEL

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """None: without a classifier every class is as good as another."""
        return {}

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[Passed]:
        """The batches of images; no pixels are read."""
        for batch in batches:
            failed: list[Outcome] = []
            there: list[tuple[int, Sample]] = []
            for index in batch:
                sample = dataset[index]
                if not any(given.covers(sample.image_id) for given in self.sources.values()):
                    reason = "there is neither a map nor a box for it"
                    failed.append(Outcome(index, sample, ImageStatus.NOT_PREDICTED, reason))
                elif not (sample.height and sample.width):
                    reason = "neither an image file nor a table tells its size"
                    failed.append(Outcome(index, sample, ImageStatus.UNREADABLE, reason))
                else:
                    there.append((index, sample))
            yield Passed(failed, [_NetworkFreeGroup(self, there)] if there else [])


@dataclass(frozen=True, eq=False)
class _NetworkFreeGroup:
    """Images that sources know."""

    alone: NetworkFreePass
    there: list[tuple[int, Sample]]

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """Each source's own rows."""
        images = _image_batch([sample for _, sample in self.there], self.alone.protocol)
        broken = scoring.broken(images)
        outcomes = [
            Outcome(index, sample, ImageStatus.UNREADABLE, broken[position])
            if position in broken
            else Outcome(index, sample, ImageStatus.EVALUATED)
            for position, (index, sample) in enumerate(self.there)
        ]
        images = images.take([at for at in range(len(self.there)) if at not in broken])
        if not len(images):
            return ScoredGroup(outcomes, [])
        methods = []
        for source, given in self.alone.sources.items():
            rows, scores = given.score_without_model(images, scoring)
            methods.append(ScoredMethod(source, "", rows, scores, CostLine(len(images))))
        return ScoredGroup(outcomes, methods)


def _image_batch(samples: Sequence[Sample], protocol: MapProtocol) -> ImageBatch:
    return ImageBatch(
        tuple(sample.image_id for sample in samples),
        tuple(map(ImageTruth.of, samples)),
        tuple(protocol.input.place(sample.height, sample.width) for sample in samples),
    )


@dataclass(frozen=True)
class Scorer:
    """Scores batches, and puts what they are worth into tables.

    Attributes:
        model: the name of whatever made them.
        protocol: that they are scored by.
        scoring: of the protocol, with the metrics of the run.
        faithfulness: whether the network is asked for it.
        strict: whether an image that cannot be evaluated is an error.
    """

    model: str
    protocol: MapProtocol
    scoring: Scoring
    faithfulness: bool
    strict: bool

    def score(self, passed: Passed) -> list[ScoredGroup]:
        """What a batch is worth; runs beside the next pass."""
        groups = [group.scored(self.scoring) for group in passed.groups]
        return [ScoredGroup(passed.failed, []), *groups]

    def tables(self, part: Sequence[Outcome], groups: Sequence[ScoredGroup]) -> Tables:
        """The tables of a part.

        Args:
            part: what became of its images that are in no group.
            groups: of its batches, in order.

        Raises:
            DatasetError: an image that cannot be evaluated, where ``strict``.
        """
        found = [*part, *(outcome for group in groups for outcome in group.outcomes)]
        outcomes = sorted(found, key=lambda outcome: outcome.position)
        for outcome in outcomes:
            if self.strict and outcome.status in FAILED:
                raise DatasetError(
                    f"{outcome.sample.image_id} cannot be evaluated by {self.model}: "
                    f"{outcome.reason}; without 'strict' it would be counted and left out"
                )
        methods = [method for group in groups for method in group.methods]
        scored = [(self._keys(one), one) for one in methods]
        rows = rows_table(self.scoring, faithfulness=self.faithfulness)
        return Tables(
            images=images_frame(self.model, outcomes),
            rows=rows.frame([self._rows(keys, one) for keys, one in scored]),
            maps=MAPS.frame([_maps(keys, one) for keys, one in scored if one.maps is not None]),
            curves=self.scoring.curves_table.frame(
                [curve_columns(keys, one.scores) for keys, one in scored]
                if self.scoring.curve_columns
                else []
            ),
            costs=_costs(self.model, methods),
        )

    def _keys(self, one: ScoredMethod) -> dict[str, np.ndarray]:
        """The columns that name the rows of a method."""
        n = len(one.rows)
        names = {"model": self.model, "method": one.method, "layer": one.layer}
        return {
            **{key: np.full(n, value, dtype=object) for key, value in names.items()},
            "image_id": one.rows.image_ids,
            "rank": one.rows.rank,
        }

    def _rows(self, keys: Mapping[str, np.ndarray], one: ScoredMethod) -> dict[str, np.ndarray]:
        n = len(one.rows)
        measured = {}
        if self.faithfulness:
            nothing = np.full(n, np.nan)
            measured = {
                column.name: one.faithfulness.get(column.name, nothing) for column in FAITHFULNESS
            }
        return {
            **keys,
            "protocol": np.full(n, self.protocol.name, dtype=object),
            "protocol_hash": np.full(n, self.protocol.hash, dtype=object),
            "class": one.rows.label,
            "score": one.rows.score,
            "status": one.scores.status,
            **one.scores.rows,
            **measured,
        }


def images_frame(model: str, outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """The table ``images`` of a model."""
    lines = []
    for _, sample, status, reason, label_rank, label_score in outcomes:
        boxes = ImageTruth.of(sample).boxes
        lines.append(
            {
                "model": model,
                "image_id": sample.image_id,
                "path": str(sample.path or ""),
                "height": sample.height,
                "width": sample.width,
                "label": sample.label,
                "blacklisted": sample.blacklisted,
                "n_label_boxes": len(boxes),
                "boxes": boxes.ravel().tolist(),
                "masks": [str(path) for path in sample.mask.foreground] if sample.mask else [],
                "ignore": str(sample.mask.ignore or "") if sample.mask else "",
                "held_out": sample.held_out,
                "status": status.value,
                "reason": reason,
                "label_rank": label_rank,
                "label_score": label_score,
            }
        )
    return pd.DataFrame(lines, columns=IMAGES.names)


def curve_columns(keys: Mapping[str, np.ndarray], scores: Scores) -> dict[str, np.ndarray]:
    """The columns of ``curves``, of the rows that have a curve, in their order."""
    ordered = scores.in_order()
    names = ("model", "method", "layer", "image_id")
    return {**{name: keys[name][ordered.curve_rows] for name in names}, **ordered.curves}


def _maps(keys: Mapping[str, np.ndarray], one: ScoredMethod) -> dict[str, np.ndarray]:
    assert one.maps is not None
    values, scale = one.maps
    n = len(values)
    return {
        **keys,
        "scale": scale,
        "height": np.full(n, values.shape[1]),
        "width": np.full(n, values.shape[2]),
        "map": np.array([map.tobytes() for map in values], dtype=object),
    }


def _costs(model: str, methods: Iterable[ScoredMethod]) -> pd.DataFrame:
    """The costs of groups as those of their part, one line a method and layer."""
    sums: dict[tuple[str, str], CostLine] = {}
    for one in methods:
        key = one.method, one.layer
        sums[key] = sums[key].plus(one.cost) if key in sums else one.cost
    lines = [
        {"model": model, "method": method, "layer": layer, **cost._asdict()}
        for (method, layer), cost in sums.items()
    ]
    return pd.DataFrame(lines, columns=COSTS.names)
