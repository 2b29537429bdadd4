"""The checks of what the functions on maps are given: what does not fit is a ValueError.

They cost some microseconds a call. Nothing is converted in silence: a mask, an imaginary part or a
text would be lost.
"""

from typing import Any, get_args

import numpy as np
from jaxtyping import Float64, Shaped

from wsol_bench.errors import shown

__all__ = [
    "extrema_of",
    "fraction_of",
    "fractions_of",
    "map_of",
    "require_choice",
    "require_finite_range",
    "truth_of",
]

# The largest whole number up to which float64 holds all whole numbers.
_EXACT = 2**53


def require_choice(name: str, value: object, choices: Any) -> None:
    """Raise ValueError, with the choices, unless an argument is one of them.

    Args:
        name: the name of the argument.
        value: its value.
        choices: a ``Literal`` of ``common.vocabulary``.
    """
    if type(value) not in (int, str) or value not in get_args(choices):
        listed = " or ".join(map(repr, get_args(choices)))
        raise ValueError(f"{name}: expected {listed}, found {shown(value)}")


def map_of(map: object) -> Shaped[np.ndarray, "h w"]:
    """A map as an array (h, w) of real numbers that float64 holds exactly.

    Raises:
        ValueError: the map has another shape, a mask, or numbers of another kind.
    """
    values = _array(map, "a map")
    if values.ndim != 2:
        raise ValueError(f"expected a map of shape (h, w), found shape {values.shape}")
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise ValueError(f"expected a map of real numbers of at most 64 bits, found {values.dtype}")
    is_long = values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size
    if is_long and not -_EXACT <= int(values.min()) <= int(values.max()) <= _EXACT:
        raise ValueError(
            "expected a map whose whole numbers are at most 2**53, which float64 holds exactly; "
            f"found numbers from {values.min()} to {values.max()}"
        )
    return values


def fraction_of(threshold: object) -> float:
    """A threshold as a fraction; ValueError unless it is a number in [0, 1]."""
    if (
        isinstance(threshold, (int, float, np.integer, np.floating))
        and not isinstance(threshold, bool)
        and 0 <= threshold <= 1
    ):
        return float(threshold)
    raise ValueError(f"expected a threshold in [0, 1], found {shown(threshold)}")


def fractions_of(thresholds: object) -> Float64[np.ndarray, " t"]:
    """Thresholds as an array of fractions.

    Raises:
        ValueError: they are not a list of numbers in [0, 1].
    """
    values = _array(thresholds, "a list of thresholds")
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"expected a list of thresholds in [0, 1], found {shown(thresholds)}")
    # NaN is not in the interval, either.
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"expected a list of thresholds in [0, 1], found {shown(thresholds)}")
    return values.astype(np.float64)


def extrema_of(extrema: object) -> tuple[np.float64, np.float64]:
    """The minimum and the maximum of a map; ValueError unless they are finite, in this order."""
    values = _array(extrema, "extrema")
    if values.shape != (2,) or values.dtype.kind not in "fiu":
        raise ValueError(f"extrema: expected two numbers, found {shown(extrema)}")
    low, high = values.astype(np.float64)
    if not (np.isfinite(values).all() and low <= high):
        raise ValueError(f"extrema: expected two finite numbers in order, found {shown(extrema)}")
    return low, high


def require_finite_range(low: np.float64, high: np.float64) -> None:
    """Raise ValueError if the range of a map, which thresholds are fractions of, overflows."""
    with np.errstate(over="ignore"):
        if not np.isfinite(high - low):
            raise ValueError(
                f"expected a map whose range is finite, found values from {low:g} to {high:g}"
            )


def truth_of(boxes: object) -> Float64[np.ndarray, "g 4"]:
    """Ground-truth boxes as an array (g, 4).

    A box that ends before it begins overlaps nothing, as in ``geometry.box_iou``.

    Raises:
        ValueError: they have another shape, or a value is not a finite number.
    """
    values = _array(boxes, "boxes")
    if values.size == 0 and values.ndim <= 2:
        return np.empty((0, 4))
    if values.ndim != 2 or values.shape[1] != 4 or values.dtype.kind not in "fiu":
        raise ValueError(
            "expected boxes of shape (g, 4), half-open x0, y0, x1, y1, found "
            f"{values.dtype} of shape {values.shape}"
        )
    truth = values.astype(np.float64)
    finite = np.isfinite(truth).all(axis=1)
    if not finite.all():
        raise ValueError(f"expected finite boxes, found {shown(truth[~finite][0].tolist())}")
    return truth


def _array(value: object, expected: str) -> Shaped[np.ndarray, "..."]:
    """A value as an array; ValueError if it is none, or has a mask."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"expected {expected} without a mask, found a masked array; give its filled(...)"
        )
    try:
        return np.asarray(value)
    except Exception as error:  # an object's own conversion may raise any error
        raise ValueError(f"expected {expected} as an array, found {shown(value)}") from error
