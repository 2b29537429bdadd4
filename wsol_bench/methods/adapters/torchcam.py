"""Maps of torchcam (https://github.com/frgfm/torch-cam) as map methods: ``torchcam/<class>``."""

import inspect
from typing import Any

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Record
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.adapters.lent_network import maps_by_slot, target_layer
from wsol_bench.methods.adapters.peer_method import (
    import_library,
    library_class,
    library_method,
    options_of,
    split_options,
)
from wsol_bench.methods.base import MapMethod

__all__ = ["torchcam_method"]

# Parameters that the adapter fills, which therefore are no options.
_FILLED = frozenset(
    {"model", "target_layer", "input_shape", "enable_hooks", "reshape_transform", "class_idx",
     "scores", "normalized", "targets", "retain_graph"}
)  # fmt: skip


def torchcam_method(class_name: str) -> MapMethod:
    """The map of a class of ``torchcam.methods`` as a map method.

    The map has the layer's resolution and is not normalized. Options are those of the class's
    constructor and call. ``CAM`` gets the head in the target-layer table as its ``fc_layer``.

    Raises:
        ConfigError: torchcam is not installed, or has no such class.
    """
    name = f"torchcam/{class_name}"
    methods = import_library("torchcam", "torchcam.methods")
    classes = {key: value for key, value in vars(methods).items() if _makes_maps(value)}
    extractor_class: Any = library_class(name, classes)
    constructor = inspect.signature(extractor_class).parameters
    takes_layout = any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in constructor.values()
    )

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        to_constructor, to_call = split_options(options, extractor_class)
        target, _, grid = target_layer(record)
        if grid.layout != "nchw" and takes_layout:
            to_constructor["reshape_transform"] = grid.to_channels
        if "fc_layer" in constructor and target.head is not None:
            to_constructor.setdefault("fc_layer", target.head)
        elif "fc_layer" in constructor and "fc_layer" not in options:
            raise NotApplicableError(
                f"no head is known behind {target.layer!r}; set the option 'fc_layer'"
            )

        def make(images: Tensor, classes: list[int]) -> Any:
            model = record.probe.model
            with extractor_class(model, target.layer, **to_constructor) as extractor:
                scores = model(images)
                maps = extractor(classes, scores, normalized=False, **to_call)
            return maps[0] if isinstance(maps, list) else maps

        return maps_by_slot(record, name, make)

    options = options_of([extractor_class, extractor_class.__call__], _FILLED)
    return library_method(name, "torchcam", maps, options, scope="layer")


def _makes_maps(candidate: Any) -> bool:
    """Return whether a class makes maps of a target layer."""
    if not isinstance(candidate, type) or candidate.__name__.startswith("_"):
        return False
    return "target_layer" in inspect.signature(candidate).parameters
