"""Comparisons that clauses make: maps up to float noise, snapshots bit for bit."""

from typing import Any

import torch
from torch import Tensor

from wsol_bench.contracts.verdict import fail

__all__ = [
    "equal",
    "expect_same_maps",
    "expect_same_values",
    "expect_unchanged",
    "in_units_of_maximum",
    "map_difference",
]

# The largest difference that counts as float noise, as a fraction of a map's maximum. The float
# noise of a network's results differs from batch to batch.
_TOLERANCE = 1e-4
# A map is measured by its maximum, or by this fraction of the largest map's maximum if that is
# more: smaller maps consist of the float noise of the larger maps.
_SMALLEST = 1e-3


def expect_same_maps(expected: Tensor, found: Tensor, circumstance: str) -> None:
    """Fail the clause if maps differ by more than float noise.

    Args:
        expected: maps (batch, k, h, w).
        found: the maps to compare with them.
        circumstance: how ``found`` was made, to end the words "the same maps ...".
    """
    difference = map_difference(expected, found)
    if difference:
        fail(f"the same maps {circumstance}", difference)


def expect_same_values(expected: Tensor, found: Tensor, circumstance: str) -> None:
    """Fail the clause if values differ by more than float noise.

    Args:
        expected: values of any shape.
        found: the values to compare with them.
        circumstance: what they are, to end the words "the same values ...".
    """
    expected, found = expected.detach().double(), found.detach().double()
    off = (expected - found).abs() > _TOLERANCE * expected.abs().clamp(min=1)
    if bool(off.any()):
        fail(
            f"the same values {circumstance}, such as {float(expected[off][0]):.6g}",
            f"{float(found[off][0]):.6g}",
        )


def map_difference(expected: Tensor, found: Tensor) -> str:
    """Say where maps differ most, and by how much; "" if they differ by float noise alone."""
    if expected.shape != found.shape:
        return f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    expected, found = expected.detach().double(), found.detach().double()
    # Whether maps are finite is another clause.
    same = (expected == found) | (expected.isnan() & found.isnan())
    sizes = expected.nan_to_num(0, 0, 0).abs().amax((2, 3), keepdim=True)
    sizes = sizes.clamp(min=max(float(sizes.max()) * _SMALLEST, torch.finfo(torch.float32).tiny))
    off = torch.where(same, 0, ((expected - found) / sizes).abs()).nan_to_num(torch.inf)
    worst = off.amax((2, 3))
    if float(worst.max()) <= _TOLERANCE:
        return ""
    b, k = divmod(int(worst.argmax()), worst.shape[1])
    return f"a map that differs by {float(worst.max()):.2g} of its maximum (image {b}, slot {k})"


def in_units_of_maximum(maps: Tensor) -> Tensor:
    """Maps (batch, k, h, w), each divided by its maximum."""
    return maps / maps.amax((2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def expect_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Fail the clause if two snapshots differ in any entry."""
    changes = [
        f"{name}: {_in_words(before.get(name))} became {_in_words(after.get(name))}"
        for name in {**before, **after}
        if not equal(before.get(name), after.get(name))
    ]
    if changes:
        more = f", and {len(changes) - 3} more" if len(changes) > 3 else ""
        fail("no change", "; ".join(changes[:3]) + more)


def equal(first: Any, second: Any) -> bool:
    """Return whether two values are of one type and equal: tensors bit for bit, NaN to NaN."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        same = first.shape == second.shape and first.dtype == second.dtype
        return same and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)
    return type(first) is type(second) and bool(first == second)


def _in_words(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of sum {float(value.double().sum()):.6g}"
    return repr(value)
