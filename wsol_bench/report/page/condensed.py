"""The numbers of a line without what each image is at each threshold, which fills the memory.

A sweep of 50,000 images over 1,000 thresholds takes 6 MB a curve, and a line has ten curves.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wsol_bench.metrics.number import Number
from wsol_bench.report.comparisons import MethodNumbers

__all__ = ["Curve", "condensed", "curves_of"]


class Curve(NamedTuple):
    """The share of hits at each threshold.

    Attributes:
        thresholds: the thresholds, ascending.
        shares: the share of hits at each of them.
        selection: the share of hits of other images, on which a threshold is selected; None without
            a selection.
        n_images: the number of images.
    """

    thresholds: Float64[np.ndarray, " t"]
    shares: Float64[np.ndarray, " t"]
    selection: Float64[np.ndarray, " t"] | None
    n_images: int


def curves_of(numbers: MethodNumbers) -> dict[str, Curve]:
    """The curve of each number that is a share of hits at the best of many thresholds."""
    return {
        name: Curve(number.thresholds, number.means(), number.selection, len(number))
        for name, number in numbers.numbers.items()
        if number.best is not None and number.thresholds is not None and number.counts_hits
    }


def condensed(numbers: MethodNumbers) -> MethodNumbers:
    """The same numbers as means of one value an image: their values and paired tests are the same.

    Their intervals are not, since the threshold is taken as given. If images are left out later,
    the threshold stays that of all images.
    """
    return replace(
        numbers, numbers={name: _condensed(number) for name, number in numbers.numbers.items()}
    )


def _condensed(number: Number) -> Number:
    if number.is_mean or number.classes is not None:
        return number
    values = number.contributions()
    return Number(
        number.name,
        values.astype(np.float16) if number.counts_hits else values,
        number.image_ids,
        better=number.better,
        range=number.range,
        hits=number.counts_hits,
        point=number.value(),
    )
