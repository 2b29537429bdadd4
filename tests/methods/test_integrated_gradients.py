"""Integrated gradients and input x gradient: contributions to the score."""

import pytest
import torch
from map_methods import assert_same
from networks import N_CLASSES, calibrated_network, images
from rectifiers import CLASSES, by_captum, record_of, tiny
from torch import nn

from wsol_bench.capture import Plan, capture
from wsol_bench.methods.input_x_gradient import input_x_gradient
from wsol_bench.methods.integrated_gradients import attributions, integrated_gradients
from wsol_bench.models.target_layers import Target


def test_a_path_across_a_kink_is_integrated_to_its_end() -> None:
    """Blue falls from 1 to -1, and has slope 5 on half of the path: -2 * 5 / 2."""
    actual = attributions(tiny(), steps=2, baseline=(1.0, 2.0, 1.0))
    assert actual[0, 0, :, 0, 0].tolist() == [0, 0, -5]


@pytest.mark.parametrize("name", ["VGG", "ResNet"])
def test_contributions_to_the_score_agree_with_captum(name: str) -> None:
    record = record_of(calibrated_network(name), images(), CLASSES)
    expected = by_captum("InputXGradient", calibrated_network(name), images())
    assert_same(input_x_gradient(record), expected.sum(dim=2).abs())
    options = {"n_steps": 4, "method": "riemann_middle", "baselines": 0.25}
    expected = by_captum("IntegratedGradients", calibrated_network(name), images(), **options)
    actual = attributions(record, steps=4, baseline=(0.25, 0.25, 0.25))
    assert_same(actual, expected)
    bound = integrated_gradients.with_options({"steps": 4, "baseline": [0.25] * 3}, "test")
    assert_same(bound(record), expected.sum(dim=2).abs())


# ---- averages along a path and over noise


@pytest.mark.parametrize("baseline", [(0.0, 0.0, 0.0), (-2.1, -2.0, -1.8)])
@pytest.mark.parametrize(
    ("rectifier", "steps", "error"), [(nn.SiLU, 20, 1e-3), (nn.ReLU, 100, 1e-2)]
)
def test_attributions_add_up_to_the_difference_of_the_scores(
    rectifier: type[nn.Module], steps: int, error: float, baseline: tuple[float, float, float]
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), rectifier(), nn.Conv2d(8, 8, 3), rectifier(),
        nn.Flatten(), nn.LazyLinear(N_CLASSES),
    ).eval()  # fmt: skip
    batch = images(2, 8)
    start = torch.tensor(baseline)[:, None, None].expand_as(batch)
    difference = (net(batch) - net(start)).detach().gather(1, torch.tensor(CLASSES))
    record = capture(net, batch, [Target("3")], Plan(), classes=torch.tensor(CLASSES))
    actual = attributions(record, steps=steps, baseline=baseline).sum(dim=(2, 3, 4))
    torch.testing.assert_close(
        actual, difference, rtol=0, atol=error * float(difference.abs().max())
    )
