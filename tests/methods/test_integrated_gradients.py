"""Integrated gradients and input x gradient: contributions to the score."""

from collections.abc import Callable

import pytest
import torch
from faithfulness_cases import blurred_by_rise
from map_methods import assert_same
from networks import N_CLASSES, calibrated_network, images
from rectifiers import CLASSES, by_captum, record_of, tiny
from torch import Tensor, nn

import wsol_bench
from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ConfigError, NotApplicableError
from wsol_bench.methods.input_x_gradient import input_x_gradient
from wsol_bench.methods.integrated_gradients import attributions, integrated_gradients
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.target_layers import Target

BLACK = torch.tensor([-2.0, -3.0, -1.5])


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


# ---- baselines by name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("mean", torch.zeros_like),
        ("black", lambda batch: BLACK.view(3, 1, 1).expand_as(batch)),
        ("blur", blurred_by_rise),
    ],
)
def test_a_path_from_a_baseline_by_name_agrees_with_captum(
    name: str, start: Callable[[Tensor], Tensor]
) -> None:
    record = record_of(calibrated_network("VGG"), images(), CLASSES, black=tuple(BLACK.tolist()))
    options = {"n_steps": 4, "method": "riemann_middle", "baselines": start(images())}
    expected = by_captum("IntegratedGradients", calibrated_network("VGG"), images(), **options)
    bound = integrated_gradients.with_options({"steps": 4, "baseline": name}, "test")
    assert_same(bound(record), expected.sum(dim=2).abs())


def test_black_is_refused_if_its_color_is_not_known() -> None:
    record = record_of(calibrated_network("VGG"), images(), CLASSES)
    method = integrated_gradients.with_options({"steps": 1, "baseline": "black"}, "test")
    with pytest.raises(NotApplicableError, match=r"'black' needs the mean and std"):
        method(record)


def test_a_run_knows_black() -> None:
    """shapes_net takes pixels with another mean and std than ImageNet's."""
    classifier = load_classifier("shapes_net")
    expected = -torch.tensor(classifier.mean) / torch.tensor(classifier.std)
    torch.testing.assert_close(torch.tensor(classifier.black), expected)
    same = {"name": "integrated_gradients", "steps": 1}
    by_color = {**same, "baseline": list(classifier.black), "label": "by color"}
    methods = [by_color, {**same, "baseline": "black", "label": "black"}, {**same, "label": "mean"}]
    results = wsol_bench.run(
        {
            "name": "black", "dataset": {"name": "shapes"}, "models": ["shapes_net"],
            "methods": methods, "protocol": "gradcam-2017", "limit": 2,
        }
    )  # fmt: skip
    boxes = {name: rows[["x0", "y0", "x1", "y1"]].to_numpy().tolist()
             for name, rows in results.rows.groupby("method")}  # fmt: skip
    assert boxes["black"] == boxes["by color"] != boxes["mean"]


def test_a_baseline_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"baseline.*'mean', 'black' or 'blur'.*found 'noise'"):
        integrated_gradients.with_options({"baseline": "noise"}, "test")


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
