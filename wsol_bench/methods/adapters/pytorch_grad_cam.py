"""Maps of pytorch-grad-cam (package grad-cam) as map methods: ``pytorch_grad_cam/<class>``."""

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Record
from wsol_bench.common.vocabulary import Scope
from wsol_bench.methods.adapters.lent_network import maps_by_slot, target_layer
from wsol_bench.methods.adapters.peer_method import (
    import_library,
    library_class,
    library_method,
    options_of,
    split_options,
)
from wsol_bench.methods.base import MapMethod

__all__ = ["pytorch_grad_cam_method"]

# Parameters that the adapter fills, which therefore are no options.
_FILLED = frozenset(
    {"model", "target_layers", "reshape_transform", "ablation_layer", "input_tensor", "targets",
     "target_idx", "compute_input_gradient", "uses_gradients", "detach"}
)  # fmt: skip


def pytorch_grad_cam_method(class_name: str) -> MapMethod:
    """The map of a class of ``pytorch_grad_cam`` as a map method.

    The library returns maps of the input's size from 0 to 1, and no others. Options are those of
    the class's constructor and call, such as ``aug_smooth``. A layer of tokens, or with channels
    last, is laid out as a grid.

    Raises:
        ConfigError: the library is not installed, or has no such class.
    """
    name = f"pytorch_grad_cam/{class_name}"
    package = import_library("pytorch_grad_cam", "pytorch_grad_cam")
    classes = {key: value for key, value in vars(package).items() if _makes_maps(value)}
    extractor_class: Any = library_class(name, classes)
    constructor = inspect.signature(extractor_class).parameters
    call = extractor_class.__call__
    parameters = inspect.signature(call).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        call = extractor_class.forward  # ``__call__`` passes everything on to it
    # Finer-CAM makes its own targets, of one class for all images.
    image_by_image = "target_idx" in inspect.signature(call).parameters

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        if image_by_image:
            record.reading.require_classes("the scores of other classes")
        to_constructor, to_call = split_options(options, extractor_class)
        _, layer, grid = target_layer(record)
        is_grid = grid.layout == "nchw"
        if not is_grid:
            to_constructor["reshape_transform"] = grid.to_channels
        if "ablation_layer" in constructor:
            ablation = package.AblationLayer if is_grid else package.AblationLayerVit
            to_constructor["ablation_layer"] = ablation()

        def make(images: Tensor, classes: list[int]) -> Any:
            extractor = extractor_class(record.probe.model, [layer], **to_constructor)
            if image_by_image:
                pairs = zip(images.detach().split(1), classes, strict=True)
                maps = [
                    extractor(image.requires_grad_(True), target_idx=index, **to_call)
                    for image, index in pairs
                ]
                return np.concatenate(maps)
            score_of = package.utils.model_targets.ClassifierOutputTarget
            return extractor(images, [score_of(index) for index in classes], **to_call)

        return maps_by_slot(record, name, make)

    # FullGrad takes all layers with a bias, and ignores the target layer.
    scope: Scope = "image" if class_name == "FullGrad" else "layer"
    options = options_of([extractor_class, call], _FILLED)
    return library_method(name, "grad-cam", maps, options, scope=scope)


def _makes_maps(candidate: Any) -> bool:
    """Return whether a class makes maps; classes without ``forward`` are parts of other classes."""
    if not isinstance(candidate, type) or not hasattr(candidate, "forward"):
        return False
    return "target_layers" in inspect.signature(candidate).parameters
