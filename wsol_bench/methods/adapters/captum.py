"""Attributions of captum (https://captum.ai): ``captum/<class>``."""

import inspect
from typing import Any

import torch
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

__all__ = ["captum_method"]

# Of the constructor, what the adapter fills; of ``attribute``, also what changes the result's kind.
_NETWORK = frozenset({"self", "forward_func", "model", "layer", "device_ids"})
_CALL = frozenset(
    {"inputs", "target", "additional_forward_args", "return_convergence_delta", "show_progress",
     "return_input_shape", "verbose"}
)  # fmt: skip


def captum_method(called: str) -> MapMethod:
    """The attribution of a class of ``captum.attr``.

    Options are those of its constructor and of ``attribute``, with captum's defaults but one:
    ``relu_attributions`` is true, which captum says makes ``LayerGradCam`` the original algorithm.
    A layer's attribution is a map as it is, or where it has channels their sum, as captum shows
    them: signed. The map of pixel attributions is the largest magnitude over the channels, as
    Simonyan et al. (2014) make it.

    Raises:
        ConfigError: captum is not installed, or has no such class that attributes a class score of
            a network without other functions.
    """
    name = f"captum/{called}"
    attr = library("captum", "captum.attr")
    kind: Any = class_of(
        name,
        {one: found for one in attr.__all__ if _attributes(found := getattr(attr, one), attr)},
    )
    attributed = inspect.signature(kind.attribute).parameters
    takes_layer = "layer" in inspect.signature(kind).parameters
    has_channels = issubclass(kind, attr.LayerAttribution)

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        to_constructor, to_call = split(options, kind)
        arguments: dict[str, Any] = {}
        if takes_layer:
            target, arguments["layer"] = target_layer(record)
            if target.layout != "nchw":
                raise NotApplicableError(f"captum takes no layer of layout {target.layout!r}")
        if "relu_attributions" in attributed:
            to_call.setdefault("relu_attributions", True)

        def make(images: Tensor, classes: list[int]) -> Any:
            attribution = kind(record.probe.model, **arguments, **to_constructor)
            if "target" in attributed:
                to_call["target"] = torch.tensor(classes, device=images.device)
            found = attribution.attribute(images, **to_call)
            if isinstance(found, tuple) and len(found) == 1:
                [found] = found
            if not isinstance(found, Tensor) or found.ndim != 4:
                return found
            return found.sum(dim=1) if has_channels else found.abs().amax(dim=1)

        return by_slot(record, name, make)

    return foreign_method(
        name,
        "captum",
        maps,
        options_of([kind, kind.attribute], _NETWORK | _CALL, relu_attributions=True),
        scope="layer" if takes_layer else "image",
    )


def _attributes(found: Any, attr: Any) -> bool:
    """Whether a class makes an attribution from a network, or a layer of it, and a class alone."""
    if not isinstance(found, type) or not hasattr(found, "attribute"):
        return False
    if not issubclass(found, attr.Attribution) or issubclass(found, attr.NeuronAttribution):
        return False
    parameters = inspect.signature(found).parameters.values()
    return all(one.default is not one.empty or one.name in _NETWORK for one in parameters)
