"""Correction of p values for the number of tests: Holm's step-down procedure."""

import numpy as np
from jaxtyping import Float64

__all__ = ["holm"]


def holm(p: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """P values adjusted for their number by Holm's step-down of Bonferroni.

    ``adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j))`` in increasing order of p (Holm,
    Scandinavian Journal of Statistics 6, 1979). Rejecting all tests whose adjusted p is at most
    alpha makes any error with probability alpha at most, however the tests depend on each other.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    array([0.03, 0.06,  nan, 0.06, 0.02])

    Args:
        p: p values in [0, 1], shape (m,); NaN is a test that was not made.

    Returns:
        The adjusted values in the order of p; NaN stays NaN and does not count in m.

    Raises:
        ValueError: the p values are no list, or one is outside [0, 1].
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected p values of shape (m,), found shape {values.shape}")
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise ValueError(f"expected p values in [0, 1], found {outside[0]}")
    # NaN is sorted to the end.
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    steps = np.minimum(1.0, np.arange(len(order), 0, -1) * values[order])
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted
