"""The contract of a metric: its clauses, checked on a few images with boxes and maps."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from wsol_bench.contracts.toy_images import IMAGES, MetricCase, blob
from wsol_bench.contracts.verdict import (
    BrokenClauseError,
    Clause,
    InapplicableClauseError,
    Verdict,
    clause,
    verdicts_of,
)
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.map_view import MapView
from wsol_bench.runs.rescore_part import rescore_part

__all__ = ["check_metric"]


def check_metric(metric: Metric) -> Iterator[Verdict]:
    """Check a metric clause by clause; each verdict is yielded as soon as it is known.

    Any exception that the metric raises is a failed verdict, never an error of the check.
    """
    return verdicts_of(_CLAUSES, MetricCase.of(metric))


@clause("it returns one value for each image")
def _has_values(case: MetricCase) -> None:
    values = case.values()
    if len(values) != len(case.samples):
        raise BrokenClauseError(f"expected {len(case.samples)} values, found {len(values)}")


@clause("each value is finite, or NaN if the image does not count", _has_values)
def _is_finite(case: MetricCase) -> None:
    values = case.values()
    if np.isinf(values).any():
        position = int(np.argmax(np.isinf(values).any(axis=1)))
        raise BrokenClauseError(
            f"expected finite values or NaN, found an infinite value of image {position}"
        )
    if np.isnan(values).all():
        raise BrokenClauseError("expected a value of at least one image, found only NaN")


@clause("an image has the same value alone as in a batch", _has_values)
def _is_independent_of_the_batch(case: MetricCase) -> None:
    values = case.values()
    for index in range(len(values)):
        _expect_equal(values[[index]], case.values([index]), f"image {index} alone")


@clause("the order of the images does not change their values", _has_values)
def _is_independent_of_the_order(case: MetricCase) -> None:
    backwards = list(range(len(case.samples)))[::-1]
    _expect_equal(case.values()[::-1], case.values(backwards), "the images in reverse order")


@clause("scoring the stored maps again gives the same values", _has_values)
def _is_the_same_rescored(case: MetricCase) -> None:
    tables = case.tables(range(len(case.samples)), case.maps)
    protocol, scoring = case.scorer.protocol, case.scorer.scoring
    again = rescore_part(tables, protocol, scoring, {}, protocol, measured=case.scorer.measured)
    _expect_equal(case.values_of(tables), case.values_of(again), "the stored maps scored again")


@clause("it does not change maps or ground truth", _has_values)
def _leaves_its_input(case: MetricCase) -> None:
    _require_maps(case)
    _expect_equal(case.values(), case.values(), "a second time")

    def watched(view: MapView) -> float:
        arrays = {"map": view.values, "boxes": view.truth.boxes, "pixels": view.pixels}
        before = {name: array.copy() for name, array in arrays.items()}
        value = case.metric.function(view)
        for name, array in arrays.items():
            if not np.array_equal(array, before[name], equal_nan=name != "pixels"):
                raise BrokenClauseError(
                    f"the metric changed the {name} of an image; work on a copy instead"
                )
        return float(value)

    MetricCase.of(replace(case.metric, function=watched)).values()


@clause("a map on the object is not worse than a map beside it", _has_values)
def _knows_its_direction(case: MetricCase) -> None:
    """A blob on the box of an image must not score worse than one far from it."""
    _require_maps(case)
    at = 3  # a small box on the right
    (height, width), [[x0, y0, x1, y1]] = IMAGES[at]
    on_object = blob((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    beside = on_object[::-1, ::-1]
    value_on, value_beside = (
        float(case.values([at], np.stack([map] * len(case.samples)))[0, 0])
        for map in (on_object, beside)
    )
    higher_is_better = case.metric.better == "higher"
    if not (value_on >= value_beside if higher_is_better else value_on <= value_beside):
        raise BrokenClauseError(
            f"{case.metric.better} is better, but a map on the object has {value_on:g}, and a map "
            f"beside the object has {value_beside:g}"
        )


_CLAUSES: tuple[Clause[MetricCase], ...] = (
    _has_values,
    _is_finite,
    _is_independent_of_the_batch,
    _is_independent_of_the_order,
    _is_the_same_rescored,
    _leaves_its_input,
    _knows_its_direction,
)


def _require_maps(case: MetricCase) -> None:
    if case.metric.column is None:
        raise InapplicableClauseError("the metric is a metric per image, which reads no maps")


def _expect_equal(expected: np.ndarray, found: np.ndarray, circumstance: str) -> None:
    if expected.shape != found.shape or not np.array_equal(expected, found, equal_nan=True):
        raise BrokenClauseError(
            f"{circumstance}: expected {_in_words(expected)}, found {_in_words(found)}"
        )


def _in_words(values: np.ndarray) -> str:
    flat = values.ravel()
    return f"{', '.join(f'{value:g}' for value in flat[:4])}{', ...' if len(flat) > 4 else ''}"
