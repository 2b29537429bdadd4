"""Equations of other libraries whose maps differ from ours, computed from our records."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from agreement import Network, Pair
from torch import Tensor

from wsol_bench.capture import Record
from wsol_bench.methods.base import cam_methods
from wsol_bench.methods.full_grad import spatial_bias
from wsol_bench.methods.grad_cam import grad_cam

EQUATIONS: dict[str, Callable[[Network, Pair, Tensor], Tensor]] = {}


def equation(function: Callable[[Network, Pair, Tensor], Tensor]) -> None:
    """Register a function ``(network, pair, peer's maps)`` that returns maps by the equation."""
    EQUATIONS[function.__name__] = function


def _combined(weights: Tensor, record: Record) -> Tensor:
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()


@equation
def cubes(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    return _combined(net.record.gradients.relu().pow(3).sum((-2, -1)), net.record)


@equation
def epsilon(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    g, totals = net.record.gradients, net.record.activations.sum((-2, -1))[:, None, :, None, None]
    alpha = torch.where(g == 0, 0.0, g**2 / (2 * g**2 + totals * g**3 + 1e-6))
    return _combined((alpha * g.relu()).sum((-2, -1)), net.record)


@equation
def cube_inside_the_sum(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    g, A = net.record.gradients, net.record.activations[:, None]
    alpha = g**2 / (2 * g**2 + (A * g**3).sum((-2, -1), keepdim=True) + 1e-8)
    return _combined((alpha * g.relu()).sum((-2, -1)), net.record)


@equation
def either_sign(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    """The centered map or its negative: the one that is more like the peer's map."""
    options = {"centered": True}
    ours = cam_methods.get(pair.method).with_options(options, "agreement.yaml")(net.record)
    large = F.interpolate(ours, theirs.shape[-2:], mode="bilinear", align_corners=False)
    fits = [((sign * large).relu() * theirs).sum((-2, -1), keepdim=True) for sign in (1, -1)]
    return torch.where(fits[0] >= fits[1], ours, -ours)


@equation
def turned_signs(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    """The weights (y - y_k) / y, of channels that are set to zero one after the other."""
    record, drops = net.record, []
    scores = record.logits.gather(1, record.classes)
    assert (scores < 0).all()
    images = torch.arange(len(record.activations))
    for channel in range(record.activations.shape[1]):
        without = record.activations.index_fill(1, torch.tensor(channel), 0.0)
        with torch.no_grad():
            drops.append(scores - record.head(without, images).gather(1, record.classes))
    return _combined(torch.stack(drops, dim=2) / scores[:, :, None], record)


@equation
def scaled_before_resizing(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(_scaled(net.record.activations), net, align_corners=False)
    return _score_weighted(net, [masks])


@equation
def corners_aligned(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(net.record.activations, net, align_corners=True)
    return _score_weighted(net, [_scaled(masks)])


@equation
def one_more_step(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(_scaled(net.record.activations), net, align_corners=False)
    n = pair.options["steps"]
    return _score_weighted(net, [i * (i + 1) / 2 / n * masks for i in range(1, n + 1)])


def _scaled(channels: Tensor) -> Tensor:
    low, high = channels.amin((-2, -1), keepdim=True), channels.amax((-2, -1), keepdim=True)
    return (channels - low) / (high - low + 1e-8)


def _resized(channels: Tensor, net: Network, *, align_corners: bool) -> Tensor:
    side = net.images.shape[-2:]
    return F.interpolate(channels, side, mode="bilinear", align_corners=align_corners)


def _score_weighted(net: Network, masks: list[Tensor]) -> Tensor:
    """Score-CAM with masks (batch, c, height, width); several masks give their mean score."""
    record = net.record
    with torch.no_grad():
        of_images = [
            torch.stack(
                [
                    net.model(mask[b, :, None] * net.images[b])[:, record.classes[b]].T
                    for b in range(len(net.images))
                ]
            )
            for mask in masks
        ]
    return _combined(torch.stack(of_images).mean(0).softmax(-1), record)


@equation
def each_channel_scaled(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    def part(products: Tensor) -> Tensor:
        sizes = products.abs()
        sizes = sizes - sizes.amin((-2, -1), keepdim=True)
        sizes = sizes / (sizes.amax((-2, -1), keepdim=True) + 1e-7)
        summed = sizes.sum(2)
        return F.interpolate(summed, theirs.shape[-2:], mode="bilinear", align_corners=False)

    probe, classes = net.record.probe, net.record.classes
    maps = part(probe.pixel_gradients(classes) * net.images[:, None])
    biases = {name: spatial_bias(module) for name, module in net.model.named_modules()}
    biases = {name: bias for name, bias in biases.items() if bias is not None}
    for name, (_, slopes) in probe.gradients_at(list(biases), classes).items():
        maps = maps + part(slopes * biases[name][:, None, None])
    return maps


@equation
def plain_gradient_times_grad_cam(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    maps = net.record.probe.pixel_gradients(net.record.classes).abs().amax(2)
    return maps * _resized(grad_cam(net.record), net, align_corners=False)
