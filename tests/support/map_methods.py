"""Helpers of the tests of map methods: bound options, parameter ids, comparisons of maps."""

from typing import Any

import torch
from torch import Tensor

from wsol_bench.methods.base import MapMethod


def named(method: MapMethod) -> str:
    """The name of a method without its options, as the id of a parameter."""
    return method.name.partition("+")[0]


def with_options(method: MapMethod, **options: Any) -> MapMethod:
    return method.with_options(options, "test")


def in_units_of_the_maximum(maps: Tensor) -> Tensor:
    """Each map (h, w) divided by its maximum; a map without a positive value stays as it is."""
    maxima = maps.amax((-2, -1), keepdim=True)
    return maps / torch.where(maxima > 0, maxima, 1)


def assert_same(actual: Tensor | None, expected: Tensor | None, tolerance: float = 1e-4) -> None:
    """Check that tensors differ by at most a fraction of the largest expected magnitude (not 0)."""
    assert actual is not None and expected is not None
    size = expected.abs().max()
    assert size > 0
    torch.testing.assert_close(actual / size, expected / size, rtol=0, atol=tolerance)


def assert_correlated(ours: Tensor, theirs: Tensor) -> None:
    """Check that maps (n, h, w) agree up to an affine scale; zero maps match only zero maps."""
    assert ours.shape == theirs.shape
    for our_map, their_map in zip(ours.flatten(1), theirs.flatten(1), strict=True):
        assert bool(our_map.any()) == bool(their_map.any())
        if our_map.any():
            assert torch.corrcoef(torch.stack([our_map, their_map]))[0, 1] > 0.9999
