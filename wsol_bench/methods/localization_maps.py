"""Localization maps of a batch, for use in other people's code."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wsol_bench.capture import Precision, capture
from wsol_bench.common.registry import uniquely_named
from wsol_bench.errors import ConfigError, ModelError
from wsol_bench.methods.base import MapMethod, cam_methods, merged_plan
from wsol_bench.models.target_layers import target_of

__all__ = ["localization_maps"]


def localization_maps(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    methods: str | MapMethod | Sequence[str | MapMethod] = ("grad_cam",),
    *,
    layer: str | None = None,
    classes: Int64[Tensor, "batch k"]
    | Int64[Tensor, " k"]
    | Sequence[int]
    | Sequence[Sequence[int]]
    | None = None,
    k: int = 5,
    precision: Precision = "fp32",
) -> dict[str, Float[Tensor, "batch k h w"]]:
    """Maps of several methods from one forward pass.

    Args:
        model: maps images to (batch, n) logits; it comes back as it was.
        images: normalized input, on the model's device.
        methods: names (``wsol-bench list methods``), import paths, or what ``@cam_method`` made;
            one or several.
        layer: target layer; by default the table's (``wsol_bench.models.target_layers``).
        classes: output indices a map is made for: (batch, k), or (k,) for all images. By default
            the k best of each image, best first.
        k: number of best classes.
        precision: ``bf16`` and ``fp16`` run the model under autocast.

    Returns:
        By method name, each map as its paper defines it, at the layer's resolution, in float32.

    Raises:
        ConfigError: an unknown method, or one that is listed twice.
        ModelError: an architecture without a known layer; ``classes`` that do not fit.
        NotApplicableError: a method that the network has not got what it takes for.
    """
    listed = [methods] if isinstance(methods, str | MapMethod) else methods
    chosen = uniquely_named(
        method if isinstance(method, MapMethod) else cam_methods.get(method) for method in listed
    )
    for method in chosen:
        if method.is_of_randomized:
            raise ConfigError(f"{method.name} is of a permuted network, which an experiment makes")
    target = target_of(model, layer=layer)
    slots = None
    if classes is not None:
        try:
            slots = torch.as_tensor(classes, device=images.device)
        except (TypeError, ValueError) as error:
            raise ModelError(f"classes: expected output indices: {error}") from error
        if slots.is_floating_point():
            raise ModelError(f"classes: expected output indices, found {classes}")
        slots = slots.long()
        slots = slots.expand(len(images), -1) if slots.ndim == 1 else slots
        if slots.ndim != 2 or len(slots) != len(images):
            raise ModelError(
                f"classes: expected (k,) or (batch, k) output indices for {len(images)} images, "
                f"found {tuple(slots.shape)}"
            )
    record = capture(
        model, images, [target], merged_plan(chosen), k=k, classes=slots, precision=precision
    )
    return {method.name: method(record).detach().float() for method in chosen}
