"""Networks of one and of four channels, against networks of RGB that compute the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import images, seeded
from torch import nn

import wsol_bench
from wsol_bench import localization_maps
from wsol_bench.errors import ConfigError, ModelError, NotApplicableError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.classifiers import load_classifier

LUMA = torch.tensor([0.299, 0.587, 0.114])
METHODS = ["cam", "grad_cam", "layer_cam", "eigen_cam", "ablation_cam", "score_cam", "full_grad"]
PIXELS = [
    "guided_backprop",
    {"name": "integrated_gradients", "steps": 4, "baseline": "black", "label": "ig"},
]
# Methods whose maps are sums over the input's channels, or random in the channels' number.
OF_CHANNELS = {"rise", "smooth_grad", "smooth_grad_cam_pp", "ss_cam", "acol"}


def gray_net() -> nn.Module:
    """A network of gray images with a GAP + linear head, by its first convolution's channel."""
    layers = [nn.Conv2d(1, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 16)]
    return seeded(lambda: nn.Sequential(nn.Sequential(*layers), *head))


class OfColors(nn.Module):
    """A network of RGB images, or of RGB with alpha, that sees their luma alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        gray = (pixels[:, :3] * LUMA[:, None, None]).sum(1, keepdim=True)
        return self.net(gray)


def model(net: nn.Module, n_channels: int, layer: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": net, "layer": f"{layer}3", "head": f"{layer.removesuffix('0.')}3",
        "mean": [0.0] * n_channels, "std": [0.5] * n_channels, "label": f"of {n_channels}",
        **changes,
    }  # fmt: skip


def run(models: list[Any], tmp_path: Path, **changes: Any) -> Any:
    protocol = {"name": "gradcam-2017", "input": {"size": 64, "flip": True, "scales": [1.0, 1.5]}}
    experiment = {
        "name": "channels", "dataset": "shapes", "models": models,
        "methods": [*METHODS, *PIXELS], "protocol": protocol, "faithfulness": 4,
        "limit": 4, "batch_size": 2, "workers": 0, "device": "cpu",
    }  # fmt: skip
    return wsol_bench.run({**experiment, **changes}, out=tmp_path)


def maps_of(results: Any, name: str) -> dict[tuple[str, str, int], np.ndarray]:
    maps = results.maps
    return {
        (line["method"], line["image_id"], line["rank"]): line["scale"]
        * np.frombuffer(line["map"], np.float16).astype(float)
        for line in maps[maps["model"] == name].to_dict(orient="records")
    }


def test_a_gray_network_has_the_maps_of_the_network_of_the_luma(tmp_path: Path) -> None:
    net = gray_net()
    results = run([model(net, 1, "0."), model(OfColors(net), 3, "net.0.")], tmp_path)
    gray, color = maps_of(results, "of 1"), maps_of(results, "of 3")
    assert gray.keys() == color.keys()
    assert {method for method, _, _ in gray} >= {*METHODS, "ig"}
    for key, found in gray.items():
        # The luma of an 8-bit image is rounded to 8 bits. A rectified map can be nearly zero, where
        # that counts more; so its error is compared with the size of the method's maps.
        of_method = [
            np.abs(values).mean() for (name, *_), values in color.items() if name == key[0]
        ]
        size = np.mean(of_method)
        if key[0] not in {"guided_backprop", "full_grad"}:  # their maps are maxima over channels
            assert np.abs(found - color[key]).mean() <= 0.03 * size, key


def test_a_network_that_ignores_alpha_has_the_maps_of_rgb_to_the_bit(tmp_path: Path) -> None:
    net = OfColors(gray_net())
    results = run([model(net, 3, "net.0."), model(net, 4, "net.0.")], tmp_path)
    plain, with_alpha = maps_of(results, "of 3"), maps_of(results, "of 4")
    assert plain.keys() == with_alpha.keys()
    for key, found in with_alpha.items():
        assert np.array_equal(found, plain[key]), key
    rows = results.rows.drop(columns=["model"])
    of_plain, of_alpha = (
        rows[(results.rows["model"] == name).to_numpy()].reset_index(drop=True)
        for name in ("of 3", "of 4")
    )
    assert of_plain.equals(of_alpha)


@pytest.mark.slow
def test_every_method_takes_gray_images_and_alpha() -> None:
    net = gray_net()
    gray = images(2, 64)[:, :1]
    colors = torch.cat([gray, gray, gray, torch.zeros_like(gray)], dim=1)
    for name in cam_methods:
        if "/" in name or name in OF_CHANNELS:
            continue
        try:
            found = localization_maps(net, gray, [name], layer="0.3", head="3", k=2)[name]
        except NotApplicableError:
            continue
        other = localization_maps(
            OfColors(net), colors, [name], layer="net.0.3", head="net.3", k=2
        )[name]
        assert found.shape == other.shape
        if name not in {"backprop", "guided_backprop", "deconvnet", "guided_grad_cam", "full_grad"}:
            scale = float(other.abs().max())
            torch.testing.assert_close(found, other, rtol=1e-3, atol=1e-4 * scale)


def load(net: nn.Module, **changes: Any) -> Any:
    from wsol_bench.models.given import given

    with given({"net": net}):
        return load_classifier(
            "wsol_bench.models.given:net", dataset_classes=None, layer="0.3", input_size=64,
            **changes,
        )  # fmt: skip


def test_a_network_of_other_channels_says_which_numbers_to_give() -> None:
    advice = r"first convolution, '0\.0', takes 1 channel, and .* have 3: give .* 'mean: \[0\.5\]'"
    with pytest.raises(ModelError, match=advice):
        load(gray_net())
    given = load(gray_net(), mean=(0.4,), std=(0.5,))
    assert given.black == (-0.8,)
    two = nn.Sequential(nn.Sequential(nn.Conv2d(2, 4, 3)), nn.Flatten(), nn.LazyLinear(3))
    two(torch.zeros(1, 2, 64, 64))
    with pytest.raises(ModelError, match=r"takes 2 channels, .* images have 1 \(gray\)"):
        load(two)


def test_black_is_opaque() -> None:
    net = OfColors(gray_net())
    from wsol_bench.models.given import given

    with given({"net": net}):
        classifier = load_classifier(
            "wsol_bench.models.given:net", dataset_classes=None, layer="net.0.3", input_size=64,
            mean=(0.5,) * 4, std=(0.5,) * 4,
        )  # fmt: skip
    assert classifier.black == (-1, -1, -1, 1)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), None), ((0.5, 0.5), (0.5, 0.5)), ((0.5,), (0.5, 0.5, 0.5))]
)
def test_mean_and_std_have_a_number_for_each_channel(mean: Any, std: Any) -> None:
    with pytest.raises(ModelError, match=r"1 \(gray\), 3 \(RGB\) or 4 \(RGB and alpha\)"):
        load(gray_net(), mean=mean, std=std)


def test_a_color_of_a_baseline_has_a_number_for_each_channel(tmp_path: Path) -> None:
    methods = [{"name": "integrated_gradients", "steps": 2, "baseline": [0.0, 0.0, 0.0]}]
    with pytest.raises(ConfigError, match="expected a number for each of the input's 1 channels"):
        run([model(gray_net(), 1, "0.")], tmp_path, methods=methods, faithfulness=None)
