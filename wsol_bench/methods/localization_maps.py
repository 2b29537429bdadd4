"""``localization_maps``: the maps of several methods for a batch of images, in one call."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Precision, capture
from wsol_bench.capture.network import uncompiled
from wsol_bench.common.registry import uniquely_named
from wsol_bench.errors import ConfigError, ModelError
from wsol_bench.methods.base import MapMethod, cam_methods, merged_plan
from wsol_bench.models.network_kinds import plain_network
from wsol_bench.models.target_layers import target_of

__all__ = ["localization_maps"]

ClassIndices = (
    Int64[Tensor, "batch k"] | Int64[Tensor, " k"] | Sequence[int] | Sequence[Sequence[int]]
)


def localization_maps(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    methods: str | MapMethod | Sequence[str | MapMethod] = ("grad_cam",),
    *,
    layer: str | None = None,
    classes: ClassIndices | None = None,
    k: int = 5,
    precision: Precision = "fp32",
) -> dict[str, Float[Tensor, "batch k h w"]]:
    """The localization maps of several methods, from one forward pass of a network.

    Args:
        model: a network that maps images to (batch, n) logits; it is unchanged afterwards. The
            wrappers of torch.compile and DataParallel are taken off, and no compiled code runs.
        images: normalized input, on the model's device.
        methods: one method or several, as names (``wsol-bench list methods``), import paths
            (``my_module:my_cam``), or the objects that ``@cam_method`` returns.
        layer: dotted name of the target layer; by default the one in the target-layer table
            (``wsol_bench.models.target_layers``).
        classes: output indices to make maps for: (batch, k), or (k,) for all images. By default the
            k best classes of each image, best first.
        k: number of best classes.
        precision: numeric format of the forward pass; ``bf16`` and ``fp16`` use autocast.

    Returns:
        The maps by method name, in float32: each as its paper defines it, at the layer's
        resolution.

    Raises:
        ConfigError: a method is unknown, or listed twice.
        ModelError: the architecture is not in the table and ``layer`` is not given; ``classes`` are
            no output indices for these images; or the network is scripted, quantized or the like
            (see ``models.network_kinds``).
        NotApplicableError: the network lacks what a method needs.
    """
    listed = [methods] if isinstance(methods, str | MapMethod) else methods
    resolved = uniquely_named(
        method if isinstance(method, MapMethod) else cam_methods.get(method) for method in listed
    )
    for method in resolved:
        if method.is_randomized:
            raise ConfigError(
                f"{method.name} needs a network with permuted weights, which only an experiment "
                "makes: set 'sanity: randomized_weights' there"
            )
    network = plain_network(model)
    target = target_of(network, layer=layer)
    slots = BestClasses(k) if classes is None else _class_slots(classes, images)
    plan = merged_plan(resolved)
    with uncompiled(network):
        record = capture(network, images, [target], plan, classes=slots, precision=precision)
        return {method.name: method(record).detach().float() for method in resolved}


def _class_slots(
    classes: ClassIndices, images: Float[Tensor, "batch 3 height width"]
) -> Int64[Tensor, "batch k"]:
    """The output index of each class slot of each image."""
    try:
        slots = torch.as_tensor(classes, device=images.device)
    except (TypeError, ValueError) as error:
        raise ModelError(f"classes: expected output indices, found {classes!r}: {error}") from error
    if slots.is_floating_point():
        raise ModelError(f"classes: expected output indices, found {classes}")
    slots = slots.long()
    slots = slots.expand(len(images), -1) if slots.ndim == 1 else slots
    if slots.ndim != 2 or len(slots) != len(images):
        raise ModelError(
            f"classes: expected (k,) or (batch, k) output indices for {len(images)} images, "
            f"found {tuple(slots.shape)}"
        )
    return slots
