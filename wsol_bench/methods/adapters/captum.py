"""Attributions of captum (https://captum.ai) as map methods: ``captum/<class>``."""

import inspect
from typing import Any

import torch
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

__all__ = ["captum_method"]

# Parameters that are no options: the adapter fills them, or they change the kind of the result.
_OF_CONSTRUCTOR = frozenset({"self", "forward_func", "model", "layer", "device_ids"})
_OF_CALL = frozenset(
    {"inputs", "target", "additional_forward_args", "return_convergence_delta", "show_progress",
     "return_input_shape", "verbose"}
)  # fmt: skip


def captum_method(class_name: str) -> MapMethod:
    """The attribution of a class of ``captum.attr`` as a map method.

    Options are those of the class's constructor and of ``attribute``, with captum's defaults but
    one: ``relu_attributions`` is true, which captum says makes ``LayerGradCam`` the original
    algorithm. A layer's attribution is the map; if the attribution has channels, the map is their
    sum, signed, as captum shows it. The map of pixel attributions is the largest magnitude over the
    channels, as Simonyan et al. (2014) make it.

    Raises:
        ConfigError: captum is not installed, or has no such class; or the class needs more than a
            network, a layer and an output class.
    """
    name = f"captum/{class_name}"
    attr = import_library("captum", "captum.attr")
    exported = {key: getattr(attr, key) for key in attr.__all__}
    attributing = {key: value for key, value in exported.items() if _attributes(value, attr)}
    attribution_class: Any = library_class(name, attributing)
    attributed = inspect.signature(attribution_class.attribute).parameters
    takes_layer = "layer" in inspect.signature(attribution_class).parameters
    has_channels = issubclass(attribution_class, attr.LayerAttribution)

    def maps(record: Record, **options: Any) -> Float[Tensor, "batch k h w"]:
        to_constructor, to_call = split_options(options, attribution_class)
        arguments: dict[str, Any] = {}
        if takes_layer:
            _, arguments["layer"], grid = target_layer(record)
            if grid.layout != "nchw":
                raise NotApplicableError(
                    f"captum takes no layer of layout {grid.layout!r}, expected 'nchw'; name "
                    "another layer with 'layer:'"
                )
        if "relu_attributions" in attributed:
            to_call.setdefault("relu_attributions", True)

        def make(images: Tensor, classes: list[int]) -> Any:
            attribution = attribution_class(record.probe.model, **arguments, **to_constructor)
            if "target" in attributed:
                to_call["target"] = torch.tensor(classes, device=images.device)
            values = attribution.attribute(images, **to_call)
            if isinstance(values, tuple) and len(values) == 1:
                [values] = values
            if not isinstance(values, Tensor) or values.ndim != 4:
                return values
            return values.sum(dim=1) if has_channels else values.abs().amax(dim=1)

        return maps_by_slot(record, name, make)

    callables = [attribution_class, attribution_class.attribute]
    return library_method(
        name,
        "captum",
        maps,
        options_of(callables, _OF_CONSTRUCTOR | _OF_CALL, relu_attributions=True),
        scope="layer" if takes_layer else "image",
    )


def _attributes(candidate: Any, attr: Any) -> bool:
    """Return whether a captum class needs only a network (or a layer) and an output class."""
    if not isinstance(candidate, type) or not hasattr(candidate, "attribute"):
        return False
    if not issubclass(candidate, attr.Attribution) or issubclass(candidate, attr.NeuronAttribution):
        return False
    parameters = inspect.signature(candidate).parameters.values()
    return all(
        parameter.default is not parameter.empty or parameter.name in _OF_CONSTRUCTOR
        for parameter in parameters
    )
