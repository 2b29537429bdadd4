"""Eigen-CAM and Eigen-Grad-CAM against a full decomposition, and against another library."""

from typing import Any

import numpy as np
import pytest
import torch
from gradient_worlds import ACTIVATIONS, network_with, record, record_of, relu_head
from map_methods import assert_correlated, named, with_options
from networks import images
from torch import Tensor

from wsol_bench.methods.base import MapMethod
from wsol_bench.methods.eigen_cam import eigen_cam
from wsol_bench.methods.eigen_grad_cam import eigen_grad_cam

# ---- principal components


def test_eigen_cam_of_proportional_channels_is_their_common_map() -> None:
    """Channels 3 u and 4 u: v = (3, 4) / 5, O v = 5 u; for all classes."""
    u = ACTIVATIONS[:, :1]
    maps = eigen_cam(record(torch.cat([3 * u, 4 * u], dim=1)))
    torch.testing.assert_close(maps, 5 * u.expand(1, 2, 2, 2))


def by_full_svd(channels: Tensor, centered: bool) -> np.ndarray[Any, Any]:
    """The first left singular vector times its singular value, (c, h, w) to (h, w), of any sign."""
    rows = channels.flatten(1).T.double().numpy()
    rows = rows - rows.mean(axis=0) if centered else rows
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    first = left[:, 0] * values[0]
    first = first if (first * rows.sum(axis=1)).sum() > 0 else -first
    return first.reshape(channels.shape[1:])


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("n_channels", [5, 40], ids=["fewer channels", "fewer positions"])
def test_the_gram_matrix_gives_the_component_of_a_full_svd(n_channels: int, centered: bool) -> None:
    draw = torch.Generator().manual_seed(3)
    activations = torch.randn(2, n_channels, 3, 4, generator=draw) + 0.3
    slopes = torch.randn(2, 3, n_channels, 3, 4, generator=draw) * 1e-7
    of = record(activations, slopes)
    for b in range(2):
        expected = torch.from_numpy(by_full_svd(activations[b], centered)).float()
        maps = with_options(eigen_cam, centered=centered)(of)
        torch.testing.assert_close(maps[b], expected.expand(3, 3, 4), rtol=0, atol=1e-4)
        for slot in range(3):
            product = slopes[b, slot] * activations[b]
            expected = torch.from_numpy(by_full_svd(product, centered)).float()
            maps = with_options(eigen_grad_cam, centered=centered)(of)
            torch.testing.assert_close(maps[b, slot], expected, rtol=0, atol=1e-11)


def test_eigen_cam_is_positive_behind_a_relu() -> None:
    """Also if its correlation with the mean activation is negative."""
    activations = torch.rand(8, 30, 3, 3, generator=torch.Generator().manual_seed(0))
    assert (eigen_cam(record(activations, None)) > 0).all()
    # One strong, almost flat channel; many weak channels that vary against it.
    flat, weak = torch.tensor([[[10.0, 10.5]]]), torch.tensor([[[0.1, 0.0]]]).expand(20, 1, 2)
    maps = eigen_cam(record(torch.cat([flat, weak])[None], None))[0, 0, 0]
    assert maps.min() > 0
    assert maps[1] > maps[0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("method", [eigen_cam, eigen_grad_cam], ids=named)
def test_an_image_that_is_not_finite_does_not_change_other_maps(
    method: MapMethod, value: float
) -> None:
    draw = torch.Generator().manual_seed(1)
    activations, slopes = (
        torch.randn(2, 3, 2, 2, generator=draw),
        torch.randn(2, 2, 3, 2, 2, generator=draw),
    )
    alone = method(record(activations[1:], slopes[1:]))
    activations[0, 0, 0, 0] = value
    maps = method(record(activations, slopes))
    assert maps[0].isnan().all()
    torch.testing.assert_close(maps[1:], alone)


@pytest.mark.parametrize(
    ("method", "peer_name"), [(eigen_cam, "EigenCAM"), (eigen_grad_cam, "EigenGradCAM")]
)
def test_centered_components_are_those_of_pytorch_grad_cam(
    method: MapMethod, peer_name: str
) -> None:
    """Up to the sign, which pytorch-grad-cam leaves to the decomposition."""
    svd = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    of = record_of(network_with(relu_head), images(3, 8))
    products = of.gradients[:, 0] * of.activations
    channels = of.activations if method is eigen_cam else products
    maps = torch.from_numpy(svd.get_2d_projection(channels.numpy()))
    actual = with_options(method, centered=True)(of)[:, 0]
    signs = (maps * actual).sum((1, 2), keepdim=True).sign()
    assert_correlated(actual, maps * signs)
