"""Map methods of a plug-in: two are sound, each of the others breaks a clause."""

import contextlib

import torch
from torch import Tensor

from wsol_bench import Plan, Record, cam_method

WITH_GRADIENTS = Plan(gradients=True)


def grad_cam(record: Record) -> Tensor:
    alpha = record.gradients.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()


@cam_method("positive", plan=WITH_GRADIENTS, paper="none")
def positive(record: Record, *, power: float = 1.0, samples: int = 1, seed: int = 0) -> Tensor:
    """Grad-CAM weighted by positive gradients, averaged over noisy images where asked for."""
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
    """The gradient of each position's energy; needs no mode of the caller."""
    activations = record.activations.clone().requires_grad_(True)
    energy = activations.square().sum()
    [slopes] = torch.autograd.grad(energy, activations)
    return grad_cam(record) * slopes.mean(dim=1, keepdim=True)


# ---- the maps


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


# ---- what they must not depend on


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


# ---- what they must leave as found


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
