"""The layers of excitation backprop: the map layer, and the contrast layer of c-MWP."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.target_layers import excitation_layers

__all__ = ["map_and_contrast_layer", "named_map_layer"]

# By class name, modules that have no rule: they make up the architectures without a map layer.
_WITHOUT_RULE = {
    "InvertedResidual": "a linear bottleneck",
    "_InvertedResidual": "a linear bottleneck",
    "MBConv": "a linear bottleneck",
    "DepthwiseSeparableConv": "a linear bottleneck",
    "SqueezeExcitation": "squeeze-excite",
    "SqueezeExcite": "squeeze-excite",
    "LayerNorm": "layer normalization",
    "LayerNorm2d": "layer normalization",
}


def map_and_contrast_layer(
    model: nn.Module, map_layer: str | None, *, contrastive: bool
) -> tuple[str, str | None]:
    """The map layer and the contrast layer; the latter is None unless asked for.

    Args:
        model: the network.
        map_layer: dotted name of the map layer; None for the one in the table.
        contrastive: whether there is a contrast layer.

    Raises:
        NotApplicableError: the table has no map layer for the network, and none is named.
    """
    layers = excitation_layers(model)
    if map_layer is not None:
        # Below the last layer p is linear: the layer of the subtraction changes no map.
        layers = map_layer, map_layer
    if layers is None:
        reason = _without_rule(model) or (
            "the target-layer table has no map layer for this architecture"
        )
        raise NotApplicableError(
            f"{reason}; with 'map_layer', name a layer behind which all operations have a rule"
        )
    return layers if contrastive else (layers[0], None)


@contextmanager
def named_map_layer(map_layer: str | None) -> Iterator[None]:
    """If a map layer is named, its errors are those of an option that does not fit the network."""
    try:
        yield
    except ModelError as error:
        if map_layer is None or isinstance(error, NotApplicableError):
            raise
        raise NotApplicableError(f"map_layer {map_layer!r}: {error}") from error


def _without_rule(model: nn.Module) -> str:
    """A sentence that names the first module without a rule; "" if no such module is known."""
    for name, module in model.named_modules():
        if kind := _WITHOUT_RULE.get(type(module).__name__):
            return f"{name} is {kind} ({type(module).__name__}), which has no rule"
    return ""
