"""What a metric keeps, built in or not: ``wsol-bench check`` holds it, on maps drawn for that.

No network is needed: a few images with boxes, and maps that are usual (a blob, noise of both signs,
a rectified map) or not (constant, zero, not finite).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wsol_bench.common.vocabulary import Verdict
from wsol_bench.datasets import Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.metrics.image_scores import EvaluatedImages
from wsol_bench.metrics.map_view import MapView
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.rescore_part import rescore_part
from wsol_bench.runs.schema import GROUP, ImageStatus, Tables
from wsol_bench.runs.scored_batches import (
    CostLine,
    ImageOutcome,
    ScoredGroup,
    ScoredMethod,
    StoredMaps,
)
from wsol_bench.runs.scorer import Scorer
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.summary import MethodResults

__all__ = ["check_metric"]

_SIDE = 14
_LABEL, _OTHER = "n00000001", "n00000002"
# (height, width) of the images, and their boxes.
_IMAGES: tuple[tuple[tuple[int, int], list[list[float]]], ...] = (
    ((120, 160), [[20, 30, 90, 100]]),
    ((200, 100), [[10, 20, 60, 90], [50, 120, 95, 190]]),
    ((150, 150), [[0, 0, 150, 150]]),
    ((90, 240), [[200, 10, 230, 40]]),
    ((160, 120), [[30, 30, 80, 120]]),
    ((100, 100), [[40, 40, 60, 60]]),
    ((130, 170), [[60, 20, 160, 110]]),
)


class _Broken(Exception):  # noqa: N818
    """A clause that does not hold; the message says what was expected and found."""


class _Senseless(Exception):  # noqa: N818
    """A clause that does not apply; the message says why."""


def check_metric(metric: Metric) -> Iterator[Verdict]:
    """Check a metric clause by clause; a verdict comes as soon as it stands.

    What the metric raises is a failed verdict, never an error of the check.
    """
    clauses: tuple[tuple[str, Callable[[_Case], None]], ...] = (
        ("it gives each image a value", _has_values),
        ("a value is a number, or NaN where an image does not count", _is_finite),
        ("a value lies in the metric's range", _is_in_range),
        ("an image has the same value alone as in a batch", _is_the_same_alone),
        ("the order of the images changes no value", _is_the_same_reversed),
        ("scoring the stored maps again gives the same values", _is_the_same_rescored),
        ("it leaves maps and ground truth as they are", _leaves_what_it_sees),
        ("a map on the object is not worse than one beside it", _knows_its_direction),
    )
    case = _Case.of(metric)
    failed = False
    for sentence, holds in clauses:
        if failed:
            yield Verdict(sentence, None, "not checked, as it gives no values")
            continue
        try:
            holds(case)
        except _Broken as broken:
            yield Verdict(sentence, False, str(broken))
        except _Senseless as senseless:
            yield Verdict(sentence, None, str(senseless))
        except Exception as error:  # whatever somebody's metric raises
            yield Verdict(sentence, False, f"{type(error).__name__}: {error}")
            failed = holds is _has_values
        else:
            yield Verdict(sentence, True)


@dataclass(frozen=True, eq=False)
class _Case:
    """A metric and what it is measured on.

    Attributes:
        metric: the metric.
        scorer: of a protocol that has the columns it reads.
        samples: the images.
        maps: one an image, of its own class.
    """

    metric: Metric
    scorer: Scorer
    samples: Sequence[Sample]
    maps: Float32[np.ndarray, "n h w"]

    @classmethod
    def of(cls, metric: Metric) -> "_Case":
        changes = {}
        name = "gradcam-2017"
        if "hits" in metric.needs:
            name, changes = "choe-2020-v1", {"box": {"threshold": {"step": 0.05}}}
        protocol = load_protocol(name, changes)
        measured = {column.name for column in FAITHFULNESS}
        scorer = Scorer(
            "model",
            protocol,
            scoring_of(protocol, [metric]),
            faithfulness=bool(measured.intersection(metric.needs)),
            strict=False,
        )
        samples = [
            Sample(
                f"image {index}", Path(f"{index}.jpg"), *size, _LABEL, np.array(boxes, np.float64),
                (_LABEL,) * len(boxes), blacklisted=False,
            )
            for index, (size, boxes) in enumerate(_IMAGES)
        ]  # fmt: skip
        return cls(metric, scorer, samples, _maps())

    def tables(self, chosen: Sequence[int], maps: Float32[np.ndarray, "n h w"]) -> Tables:
        """Score some of the images, in that order, and return their tables."""
        samples = [self.samples[index] for index in chosen]
        protocol, scoring = self.scorer.protocol, self.scorer.scoring
        images = ImageBatch(
            tuple(sample.image_id for sample in samples),
            tuple(map(ImageTruth.of, samples)),
            tuple(protocol.input.place(sample.height, sample.width) for sample in samples),
        )
        n = len(samples)
        # The odd images' own class is the second guess.
        own_rank = np.array([1 + index % 2 for index in chosen])
        rows = RowBatch(
            images,
            np.repeat(np.arange(n), 2),
            np.tile([1, 2], n),
            np.where(np.tile([1, 2], n) == np.repeat(own_rank, 2), _LABEL, _OTHER).astype(object),
            np.tile([0.6, 0.2], n),
        )
        values = maps[np.repeat(list(chosen), 2)].astype(np.float16)
        scores = scoring.score_maps(values.astype(np.float32), rows)
        faithful = {
            column.name: np.where(rows.rank == 1, 0.1 + 0.1 * np.repeat(list(chosen), 2), np.nan)
            for column in FAITHFULNESS
        }
        method = ScoredMethod(
            "method", "layer", rows, scores, CostLine(n), StoredMaps(values, np.ones(2 * n)),
            faithful,
        )  # fmt: skip
        outcomes = [
            ImageOutcome(position, sample, ImageStatus.EVALUATED, "", int(own_rank[position]), 0.5)
            for position, sample in enumerate(samples)
        ]
        return self.scorer.tables([], [ScoredGroup(outcomes, [method])])

    def values(
        self, chosen: Sequence[int] | None = None, maps: Float32[np.ndarray, "n h w"] | None = None
    ) -> np.ndarray:
        """Return what each of some images contributes to the metric's number, (n,) or (n, m)."""
        some = range(len(self.samples)) if chosen is None else chosen
        return self.values_of(self.tables(list(some), self.maps if maps is None else maps))

    def values_of(self, tables: Tables) -> np.ndarray:
        """Return what each image of such tables contributes."""
        protocol = self.scorer.protocol
        names = ("model", "method", "layer", protocol.name, protocol.hash)
        results = MethodResults(
            dict(zip(GROUP, names, strict=True)),
            EvaluatedImages.of(tables.images),
            tables.rows,
            tables.curves,
            self.scorer.scoring,
        )
        for number in results.numbers():
            if number.name == self.metric.name:
                columns = number.columns
                matrix = columns if isinstance(columns, np.ndarray) else columns.unpacked()
                return matrix.astype(np.float64)
        raise _Broken("expected a number, found none")


def _maps() -> Float32[np.ndarray, "n h w"]:
    """One map an image: blobs on and beside the object, noise, rectified, constant, zero, NaN."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    blobs = [_blob(0.4, 0.3), _blob(0.8, 0.2)]
    constant, zero = np.ones_like(noise), np.zeros_like(noise)
    broken = noise.copy()
    broken[3, 4] = np.nan
    return np.stack([*blobs, noise, np.maximum(noise, 0), constant, zero, broken])


def _blob(x: float, y: float) -> Float32[np.ndarray, "h w"]:
    across = (np.arange(_SIDE) + 0.5) / _SIDE
    distance = (across[None] - x) ** 2 + (across[:, None] - y) ** 2
    return np.exp(-distance / 0.05).astype(np.float32)


def _has_values(case: _Case) -> None:
    values = case.values()
    if len(values) != len(case.samples):
        raise _Broken(f"expected {len(case.samples)} values, found {len(values)}")


def _is_finite(case: _Case) -> None:
    values = case.values()
    if np.isinf(values).any():
        raise _Broken(f"image {int(np.argmax(np.isinf(values).any(axis=1)))} has an infinite value")
    if np.isnan(values).all():
        raise _Broken("all values are NaN: no image counts")


def _is_in_range(case: _Case) -> None:
    values = case.values()
    low, high = case.metric.range
    outside = (values < low - 1e-9) | (values > high + 1e-9)
    if outside.any():
        raise _Broken(f"expected values in [{low:g}, {high:g}], found {values[outside][0]:g}")


def _is_the_same_alone(case: _Case) -> None:
    whole = case.values()
    for index in range(len(whole)):
        _require_equal(whole[[index]], case.values([index]), f"image {index} alone")


def _is_the_same_reversed(case: _Case) -> None:
    backwards = list(range(len(case.samples)))[::-1]
    _require_equal(case.values()[::-1], case.values(backwards), "the reversed order")


def _is_the_same_rescored(case: _Case) -> None:
    tables = case.tables(range(len(case.samples)), case.maps)
    protocol, scoring = case.scorer.protocol, case.scorer.scoring
    again = rescore_part(tables, protocol, scoring, {}, protocol)
    _require_equal(case.values_of(tables), case.values_of(again), "scoring again")


def _leaves_what_it_sees(case: _Case) -> None:
    if case.metric.column is None:
        raise _Senseless("it sees no maps")
    _require_equal(case.values(), case.values(), "a second time")

    def watched(view: MapView) -> float:
        seen = {"map": view.values, "boxes": view.truth.boxes, "pixels": view.pixels}
        before = {name: array.copy() for name, array in seen.items()}
        value = case.metric.function(view)
        for name, array in seen.items():
            if not np.array_equal(array, before[name], equal_nan=name != "pixels"):
                raise _Broken(f"the {name} of an image have changed")
        return float(value)

    _Case.of(replace(case.metric, function=watched)).values()


def _knows_its_direction(case: _Case) -> None:
    """A blob on the box of an image must not score worse than one far from it."""
    if case.metric.column is None:
        raise _Senseless("it sees no maps")
    at = 3  # a small box on the right
    (height, width), [[x0, y0, x1, y1]] = _IMAGES[at]
    on = _blob((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    beside = on[::-1, ::-1]
    of_on, of_beside = (
        float(case.values([at], np.stack([one] * len(case.samples)))[0, 0]) for one in (on, beside)
    )
    better = of_on >= of_beside if case.metric.better == "higher" else of_on <= of_beside
    if not better:
        raise _Broken(
            f"{case.metric.better} is better, but a map on the object has {of_on:g} and one "
            f"beside it {of_beside:g}"
        )


def _require_equal(expected: np.ndarray, found: np.ndarray, where: str) -> None:
    if expected.shape != found.shape or not np.array_equal(expected, found, equal_nan=True):
        raise _Broken(f"{where}: expected {_said(expected)}, found {_said(found)}")


def _said(values: np.ndarray) -> str:
    flat = values.ravel()
    return f"{', '.join(f'{value:g}' for value in flat[:4])}{', ...' if len(flat) > 4 else ''}"
