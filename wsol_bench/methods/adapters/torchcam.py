"""Class activation maps of torchcam (https://github.com/frgfm/torch-cam): ``torchcam/<class>``."""

import inspect
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Record
from wsol_bench.errors import NotApplicableError
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

__all__ = ["torchcam_method"]

_GIVEN = frozenset(
    {"model", "target_layer", "input_shape", "enable_hooks", "reshape_transform", "class_idx",
     "scores", "normalized", "targets", "retain_graph"}
)  # fmt: skip


def torchcam_method(called: str) -> MapMethod:
    """The map of a class of ``torchcam.methods``, at the layer's resolution and not normalized.

    Options are those of its constructor and call. ``CAM`` gets the head of the target-layer table
    as its ``fc_layer``.

    Raises:
        ConfigError: torchcam is not installed, or has no such class.
    """
    name = f"torchcam/{called}"
    methods = library("torchcam", "torchcam.methods")
    classes = {one: found for one, found in vars(methods).items() if _extracts(found)}
    kind: Any = class_of(name, classes)
    constructor = inspect.signature(kind).parameters
    takes_layout = any(one.kind is one.VAR_KEYWORD for one in constructor.values())

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        to_constructor, to_call = split(options, kind)
        target, _ = target_layer(record)
        if target.layout != "nchw" and takes_layout:
            to_constructor["reshape_transform"] = partial(to_grid, layout=target.layout)
        if "fc_layer" in constructor and target.head is not None:
            to_constructor.setdefault("fc_layer", target.head)
        elif "fc_layer" in constructor and "fc_layer" not in options:
            raise NotApplicableError(f"no head is known behind {target.layer!r}; name 'fc_layer'")

        def make(images: Tensor, classes: list[int]) -> Any:
            with kind(record.probe.model, target.layer, **to_constructor) as extractor:
                scores = record.probe.model(images)
                found = extractor(classes, scores, normalized=False, **to_call)
            return found[0] if isinstance(found, list) else found

        return by_slot(record, name, make)

    return foreign_method(
        name, "torchcam", maps, options_of([kind, kind.__call__], _GIVEN), scope="layer"
    )


def _extracts(found: Any) -> bool:
    if not isinstance(found, type) or found.__name__.startswith("_"):
        return False
    return "target_layer" in inspect.signature(found).parameters
