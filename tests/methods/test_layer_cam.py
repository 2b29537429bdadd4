"""LayerCAM of one stage, and of several stages fused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradient_worlds import assert_maps, record
from map_methods import with_options
from torch import Tensor

from wsol_bench.capture import Layer, Record
from wsol_bench.methods.layer_cam import layer_cam


def test_layer_cam_weighs_each_position_by_its_positive_gradient() -> None:
    assert_maps(layer_cam(record()), [[1 + 6, 0], [0, 0]], [[3, 0], [2, 2]])


# ---- LayerCAM of several stages


def stage(maps: Tensor) -> Layer:
    """A layer whose LayerCAM is ``maps`` (h, w)."""
    return Layer("x", maps[None, None], torch.ones(1, 1, 1, *maps.shape))


def at_positions(side: int, values: dict[tuple[int, int], float]) -> Tensor:
    maps = torch.zeros(side, side)
    for position, value in values.items():
        maps[position] = value
    return maps


STAGES = (
    stage(at_positions(6, {(0, 5): 8.0, (5, 0): 2.0})),  # three times as fine: shallow
    stage(at_positions(4, {(3, 3): 10.0})),
    stage(torch.tensor([[4.0, 0.0], [0.0, 2.0]])),
    stage(torch.ones(1, 1)),  # recorded after the layer: not fused
)


def test_fused_layer_cam_is_the_maximum_of_the_stages_in_units_of_their_maxima() -> None:
    """Only the shallow stage is scaled. The corners of a resized map are those of the map."""
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=2)
    maps = with_options(layer_cam, fused=True)(of_stages)
    assert maps.shape == (1, 1, 6, 6)
    corners = maps[0, 0, [0, 0, 5, 5], [0, 5, 0, 5]]
    of_one, of_quarter = np.tanh(2 * 1), np.tanh(2 / 4)
    torch.testing.assert_close(corners, torch.tensor([1, of_one, of_quarter, 1]).float())
    # Between the layer's own 1 and 0: bilinear, 1.5 of 6 positions are 0.5 of 2.
    assert maps[0, 0, 0, 2].item() == pytest.approx(1 - (2.5 / 3 - 0.5))


def test_the_scale_of_shallow_stages_is_an_option() -> None:
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=2)
    maps = with_options(layer_cam, fused=True, gamma=1)(of_stages)
    assert maps[0, 0, 0, 5].item() == pytest.approx(np.tanh(1))


def test_the_first_layer_is_fused_with_itself_alone() -> None:
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=0)
    maps = with_options(layer_cam, fused=True)(of_stages)
    torch.testing.assert_close(maps, layer_cam(of_stages) / 8)


def test_a_stage_without_a_positive_gradient_adds_nothing() -> None:
    silent = (stage(torch.zeros(6, 6)), STAGES[2])
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), silent, at=1)
    expected = F.interpolate(layer_cam(of_stages) / 4, (6, 6), mode="bilinear")
    assert torch.equal(with_options(layer_cam, fused=True)(of_stages), expected)
