"""Class activation maps of pytorch-grad-cam (package grad-cam): ``pytorch_grad_cam/<class>``."""

import inspect
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Record
from wsol_bench.common.vocabulary import Scope
from wsol_bench.methods.adapters.foreign import (
    by_slot,
    class_of,
    foreign_method,
    library,
    options_of,
    split,
    target_layer,
)
from wsol_bench.methods.base import MapMethod
from wsol_bench.models.target_layers import to_grid

__all__ = ["pytorch_grad_cam_method"]

_GIVEN = frozenset(
    {"model", "target_layers", "reshape_transform", "ablation_layer", "input_tensor", "targets",
     "target_idx", "compute_input_gradient", "uses_gradients", "detach"}
)  # fmt: skip


def pytorch_grad_cam_method(called: str) -> MapMethod:
    """The map of a class of ``pytorch_grad_cam``: of the input's size, from 0 to 1.

    The library gives no other. Options are those of its constructor and call, such as
    ``aug_smooth``. A layer of tokens, or with channels last, is laid out as a grid.

    Raises:
        ConfigError: the library is not installed, or has no such class.
    """
    name = f"pytorch_grad_cam/{called}"
    package = library("pytorch_grad_cam", "pytorch_grad_cam")
    classes = {one: found for one, found in vars(package).items() if _makes_maps(found)}
    kind: Any = class_of(name, classes)
    constructor = inspect.signature(kind).parameters
    call = kind.__call__
    if any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(call).parameters.values()):
        call = kind.forward  # what it passes everything on to
    # Finer-CAM makes its own targets, of one class for all images.
    one_by_one = "target_idx" in inspect.signature(call).parameters

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        to_constructor, to_call = split(options, kind)
        target, layer = target_layer(record)
        is_grid = target.layout == "nchw"
        if not is_grid:
            to_constructor["reshape_transform"] = partial(to_grid, layout=target.layout)
        if "ablation_layer" in constructor:
            ablation = package.AblationLayer if is_grid else package.AblationLayerVit
            to_constructor["ablation_layer"] = ablation()

        def make(images: Tensor, classes: list[int]) -> Any:
            extractor = kind(record.probe.model, [layer], **to_constructor)
            if one_by_one:
                pairs = zip(images.detach().split(1), classes, strict=True)
                maps = [
                    extractor(image.requires_grad_(True), target_idx=index, **to_call)
                    for image, index in pairs
                ]
                return np.concatenate(maps)
            scores = [package.utils.model_targets.ClassifierOutputTarget(one) for one in classes]
            return extractor(images, scores, **to_call)

        return by_slot(record, name, make)

    # FullGrad takes all layers with a bias, whichever it is given.
    scope: Scope = "image" if called == "FullGrad" else "layer"
    return foreign_method(name, "grad-cam", maps, options_of([kind, call], _GIVEN), scope=scope)


def _makes_maps(found: Any) -> bool:
    """Whether a class makes maps; some that take layers are parts of others."""
    if not isinstance(found, type) or not hasattr(found, "forward"):
        return False
    return "target_layers" in inspect.signature(found).parameters
