"""Map methods and metrics of a plug-in: some keep their contract, each other breaks a clause."""

import contextlib
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from wsol_bench import Plan, Record, cam_method, metric

WITH_GRADIENTS = Plan(gradients=True)


def grad_cam(record: Record) -> Tensor:
    alpha = record.gradients.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()


@cam_method("positive", plan=WITH_GRADIENTS, paper="none")
def positive(record: Record, *, power: float = 1.0, samples: int = 1, seed: int = 0) -> Tensor:
    """Grad-CAM weighted by positive gradients, averaged over noisy images if there are several."""
    slopes = [record.gradients]
    noise = record.probe.noise(seed)
    images = record.probe.images
    for _ in range(samples - 1):
        drawn = torch.stack([torch.randn(images.shape[1:], generator=one) for one in noise])
        noisy = record.probe.record(images + 0.1 * drawn, record.classes)
        slopes.append(noisy.at_layer(record.at).gradients)
    alpha = torch.stack(slopes).mean(0).relu().pow(power).mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations)


@cam_method("by_autograd", plan=WITH_GRADIENTS, paper="none")
def by_autograd(record: Record) -> Tensor:
    """Grad-CAM scaled by the gradient of each position's energy, which it takes itself."""
    activations = record.activations.clone().requires_grad_(True)
    energy = activations.square().sum()
    [slopes] = torch.autograd.grad(energy, activations)
    return grad_cam(record) * slopes.mean(dim=1, keepdim=True)


# ---- methods that break a clause about the maps


@cam_method("raises", plan=Plan())
def raises(record: Record) -> Tensor:
    raise ZeroDivisionError("on purpose")


@cam_method("without_slots", plan=Plan())
def without_slots(record: Record) -> Tensor:
    return record.activations.mean(dim=1)


@cam_method("on_its_side", plan=WITH_GRADIENTS)
def on_its_side(record: Record) -> Tensor:
    return grad_cam(record).mT


@cam_method("double", plan=WITH_GRADIENTS)
def double(record: Record) -> Tensor:
    return grad_cam(record).double()


@cam_method("attached", plan=WITH_GRADIENTS)
def attached(record: Record) -> Tensor:
    return grad_cam(record).requires_grad_(True)


@cam_method("nan", plan=WITH_GRADIENTS)
def nan(record: Record) -> Tensor:
    maps = grad_cam(record)
    return torch.where(maps > 0, maps, torch.nan)


@cam_method("constant", plan=WITH_GRADIENTS)
def constant(record: Record) -> Tensor:
    maps = grad_cam(record)
    return maps.mean((2, 3), keepdim=True).expand_as(maps).clone()


@cam_method("false_claim", plan=WITH_GRADIENTS, generalizes_cam=True)
def false_claim(record: Record) -> Tensor:
    return positive.function(record)


# ---- methods that depend on what they must not depend on


@cam_method("unseeded", plan=WITH_GRADIENTS)
def unseeded(record: Record) -> Tensor:
    maps = grad_cam(record)
    return maps + 0.01 * torch.rand_like(maps)


@cam_method("seeds_the_caller", plan=WITH_GRADIENTS)
def seeds_the_caller(record: Record) -> Tensor:
    torch.manual_seed(0)
    return grad_cam(record)


@cam_method("of_the_batch", plan=WITH_GRADIENTS)
def of_the_batch(record: Record) -> Tensor:
    maps = grad_cam(record)
    return maps / record.activations.amax()


@cam_method("of_the_order", plan=WITH_GRADIENTS)
def of_the_order(record: Record) -> Tensor:
    maps = grad_cam(record)
    return maps * torch.arange(1, 1 + maps.shape[1])[:, None, None]


@cam_method("of_the_neighbors", plan=WITH_GRADIENTS)
def of_the_neighbors(record: Record) -> Tensor:
    maps = grad_cam(record)
    return maps - maps.mean(dim=1, keepdim=True)


@cam_method("of_the_last_layer", plan=WITH_GRADIENTS)
def of_the_last_layer(record: Record) -> Tensor:
    return grad_cam(record.at_layer(-1))


@cam_method("of_parameters", plan=WITH_GRADIENTS)
def of_parameters(record: Record) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        logits = record.head(record.activations, torch.arange(len(record.classes)))
        torch.autograd.grad(logits.sum(), record.probe.model.fc.weight)
    return grad_cam(record)


@cam_method("of_inference_mode", plan=WITH_GRADIENTS)
def of_inference_mode(record: Record) -> Tensor:
    brightness = torch.ones(1, requires_grad=True)
    torch.autograd.grad((brightness * record.probe.images).sum(), brightness)
    return grad_cam(record)


@cam_method("of_memory", plan=WITH_GRADIENTS)
def of_memory(record: Record) -> Tensor:
    flat = record.activations.view(len(record.activations), -1)
    return grad_cam(record) * flat.mean(dim=1)[:, None, None, None]


# ---- methods that change what they must not change


@cam_method("in_place", plan=WITH_GRADIENTS)
def in_place(record: Record) -> Tensor:
    record.gradients.relu_()
    return grad_cam(record)


@cam_method("leaves_a_hook", plan=WITH_GRADIENTS)
def leaves_a_hook(record: Record) -> Tensor:
    record.probe.model.register_forward_hook(lambda module, inputs, output: None)
    return grad_cam(record)


@cam_method("thaws", plan=WITH_GRADIENTS)
def thaws(record: Record) -> Tensor:
    record.probe.model.requires_grad_(True)
    return grad_cam(record)


@cam_method("leaves_grad", plan=WITH_GRADIENTS)
def leaves_grad(record: Record) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        activations = record.activations.clone().requires_grad_(True)
        record.head(activations, torch.arange(len(activations))).sum().backward()
    return grad_cam(record)


@cam_method("leaves_evaluation_mode", plan=WITH_GRADIENTS)
def leaves_evaluation_mode(record: Record) -> Tensor:
    record.probe.model.eval()
    return grad_cam(record)


@cam_method("swaps_a_module", plan=WITH_GRADIENTS)
def swaps_a_module(record: Record) -> Tensor:
    record.probe.model.pool = torch.nn.AdaptiveAvgPool2d(1)
    return grad_cam(record)


@cam_method("spoils_the_images", plan=WITH_GRADIENTS)
def spoils_the_images(record: Record) -> Tensor:
    if not record.probe.images.is_inference():
        record.probe.images.mul_(2)
    return grad_cam(record)


@cam_method("swallows", plan=WITH_GRADIENTS)
def swallows(record: Record) -> Tensor:
    with contextlib.suppress(RuntimeError):
        record.probe.logits(record.probe.images.clone())
    return grad_cam(record)


@cam_method("patches", plan=WITH_GRADIENTS)
def patches(record: Record) -> Tensor:
    pool = record.probe.model.pool
    pool.forward = lambda x: x.mean(dim=(-2, -1), keepdim=True)
    record.probe.logits(record.probe.images.clone())
    del pool.forward
    return grad_cam(record)


# ---- metrics: three keep the contract, each other breaks a clause


@metric("share_above_half", per="map", better="higher", range=(0, 1), paper="none")
def share_above_half(view, *, level: float = 0.5) -> float:
    """Share of the pixels above half of the maximum that are object."""
    above = view.values >= level * view.values.max()
    return float((view.pixels[above] == 1).mean())


@metric("box_height", per="image", better="higher", range=(0, math.inf), needs=("y0", "y1"))
def box_height(images):
    """Mean height of the box of the label, in pixels of the image."""
    return images.of_label("y1") - images.of_label("y0")


def ratio(means):
    return means[:, 0] / means[:, 1]


@metric("shape", per="image", better="higher", range=(0, 9), needs=("y0", "y1"), statistic=ratio)
def shape(images):
    """Mean height over mean width of the boxes of the label; both are above the number's range."""
    height = images.of_label("y1") - images.of_label("y0")
    return np.stack([height, images.of_label("x1") - images.of_label("x0")], axis=1)


def percentage(means):
    return 100 * ratio(means)


percent_of_columns = metric(
    "percent_of_columns", per="image", better="higher", range=(0, 9), needs=("y0", "y1"),
    statistic=percentage,
)(shape.function)  # fmt: skip


@metric("some_hit", per="image", better="higher", range=(0, 1), needs=("hits",), statistic="best")
def some_hit(images):
    """MaxBoxAcc, as a plug-in sees it."""
    return images.hits_at(0.5)


@metric("raises_at_a_map", per="map", better="higher", range=(0, 1))
def raises_at_a_map(view) -> float:
    """Nothing."""
    raise ZeroDivisionError("on purpose")


@metric("infinite", per="image", better="lower", range=(0, math.inf), needs=("iou",))
def infinite(images):
    """An infinite number."""
    return np.full(len(images), np.inf)


@metric("percent", per="map", better="higher", range=(0, 1))
def percent(view) -> float:
    """A share times 100."""
    return 100.0


@metric("of_the_set", per="image", better="higher", range=(0, 1), needs=("iou",))
def of_the_set(images):
    """An image's IoU over the best one of the batch."""
    iou = np.nan_to_num(images.of_label("iou"))
    return iou / max(iou.max(), 1e-9)


@metric("of_the_order_of_images", per="image", better="higher", range=(0, 99))
def of_the_order_of_images(images):
    """An image's position."""
    return np.arange(len(images)) * 1.0


_seen = itertools.count()


@metric("of_memory_of_maps", per="map", better="higher", range=(0, math.inf))
def of_memory_of_maps(view) -> float:
    """How many maps have been seen before."""
    return float(next(_seen))


@metric("writes", per="map", better="higher", range=(-9, 9))
def writes(view) -> float:
    """Zeros in the ground truth."""
    view.truth.boxes[:] = np.maximum(view.truth.boxes - 1, 0)
    return float(view.truth.boxes.sum() > 0)


@metric("upside_down", per="map", better="lower", range=(0, 1))
def upside_down(view) -> float:
    """A share of which more is better, that says the opposite."""
    return share_above_half.function(view)


@metric("too_few", per="image", better="higher", range=(0, 1), needs=("iou",))
def too_few(images):
    """One value less than there are images."""
    return images.of_label("iou")[1:]
