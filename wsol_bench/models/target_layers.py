"""The target-layer table: where each architecture's localization map comes from.

An explicit table, extended by a configuration's ``layer:`` and ``head:``, never a guess in silence:
the last pooling, a permutation or the class layer are the wrong answers that guessing gives.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from wsol_bench.common.vocabulary import Layout
from wsol_bench.errors import ModelError, did_you_mean
from wsol_bench.models.hooks import hooked

__all__ = [
    "Layout",
    "Target",
    "candidate_layers",
    "check_output",
    "find_module",
    "from_grid",
    "target_of",
    "to_grid",
]

# A class token, a distillation token and registers; more is a grid that is not square.
_MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True)
class Target:
    """Where activations and gradients are taken.

    Attributes:
        layer: dotted module name. In the table a position may count from the end (``features.-2``);
            a resolved target holds the plain name.
        then_relu: the activation is what the functional ReLU makes of the module's output, which
            no module holds.
        layout: of the module's output: ``nchw``; ``nhwc``; ``tokens`` (n, prefix + h * w, c) with a
            square grid last.
        head: the linear layer (or 1x1 convolution) of a GAP + linear (or class convolution + GAP)
            head that directly follows the layer: the class weights of CAM. None where the network
            has no such head.
        excitation: map and contrast layer of excitation backprop. None where it is not defined:
            linear bottlenecks, squeeze-excite and LayerNorm have no rule. It is the network's, and
            targets of one layer are equal without it.
    """

    layer: str
    then_relu: bool = False
    layout: Layout = "nchw"
    head: str | None = None
    excitation: tuple[str, str] | None = field(default=None, compare=False)


# Excitation backprop: VGG (pool4, relu7) and ResNet (layer3, pool5) as in TorchRay's benchmark,
# GoogLeNet (pool2, pool5) as in the authors' evaluation. By analogy: AlexNet the last pooling but
# one, as VGG, SqueezeNet its last, of the same stride; Inception the pooling before its first
# block; RegNet the stage before the last. DenseNet's transitions average values of both signs,
# which has no rule: it is left with what lies behind its last block.
_POOL4 = "features.MaxPool2d-2"

# Keyed by package and class name of the model. Activations are post-ReLU where the network has one.
_TARGETS = {
    "torchvision/AlexNet": Target("features.-2", excitation=(_POOL4, "classifier.-2")),
    "torchvision/ConvNeXt": Target("features"),
    "torchvision/DenseNet": Target(
        "features", then_relu=True, head="classifier", excitation=("features", "features")
    ),
    "torchvision/EfficientNet": Target("features", head="classifier.-1"),
    "torchvision/GoogLeNet": Target("inception5b", head="fc", excitation=("maxpool2", "avgpool")),
    "torchvision/Inception3": Target("Mixed_7c", head="fc", excitation=("maxpool2", "avgpool")),
    "torchvision/MNASNet": Target("layers", head="classifier.-1"),
    "torchvision/MaxVit": Target("blocks.-1"),
    "torchvision/MobileNetV2": Target("features", head="classifier.-1"),
    "torchvision/MobileNetV3": Target("features"),
    "torchvision/RegNet": Target(
        "trunk_output", head="fc", excitation=("trunk_output.block3", "avgpool")
    ),
    "torchvision/ResNet": Target("layer4", head="fc", excitation=("layer3", "avgpool")),
    "torchvision/ShuffleNetV2": Target("conv5", head="fc"),
    "torchvision/SqueezeNet": Target(
        "features", head="classifier.1", excitation=("features.MaxPool2d-1", "features")
    ),
    "torchvision/SwinTransformer": Target("norm", layout="nhwc", head="head"),
    "torchvision/VGG": Target("features.-2", excitation=(_POOL4, "classifier.-3")),
    # Patch tokens of the last block's output do not reach the class token; those before its
    # attention do.
    "torchvision/VisionTransformer": Target("encoder.layers.-1.ln_1", layout="tokens"),
    "timm/ConvNeXt": Target("stages"),
    "timm/DenseNet": Target("features", head="classifier", excitation=("features", "global_pool")),
    "timm/EfficientNet": Target("bn2", head="classifier"),
    "timm/MobileNetV3": Target("blocks"),
    "timm/RegNet": Target("final_conv", head="head.fc", excitation=("s3", "head.global_pool")),
    "timm/ResNet": Target("layer4", head="fc", excitation=("layer3", "global_pool")),
    "timm/SwinTransformer": Target("norm", layout="nhwc", head="head.fc"),
    "timm/VGG": Target("features.-2", excitation=(_POOL4, "pre_logits")),
    "timm/VisionTransformer": Target("blocks.-1.norm1", layout="tokens"),
    "wsol_bench/ShapesNet": Target("features", head="fc", excitation=("features.down2", "pool")),
}


def target_of(
    model: nn.Module,
    *,
    layer: str | None = None,
    layout: Layout | None = None,
    head: str | None = None,
) -> Target:
    """The target of a model by the table; ``layer``, ``layout`` and ``head`` override it.

    A layer that is not the table's has the layout of the table's, and no ``head`` unless one is
    given: CAM needs the layer that feeds the head.

    Raises:
        ModelError: an architecture that is not in the table, or a name that is no module of it.
    """
    known = next(
        (
            _TARGETS[key]
            for base in type(model).__mro__
            if (key := f"{base.__module__.partition('.')[0]}/{base.__name__}") in _TARGETS
        ),
        None,
    )
    if known is not None:
        known = replace(
            known,
            layer=_plain_name(model, known.layer),
            head=None if known.head is None else _plain_name(model, known.head),
            excitation=_plain_names(model, known.excitation),
        )
    if layer is None and known is None:
        raise ModelError(
            f"no target layer is known for {type(model).__name__}: name one with 'layer:'. "
            f"Layers with spatial output, last first: {', '.join(candidate_layers(model))}"
        )
    if layer is not None:
        layer = _plain_name(model, layer)
        if known is None or known.layer != layer:
            # A network mostly keeps one layout: a block of a transformer gives tokens, too.
            known = replace(known or Target(layer), layer=layer, then_relu=False, head=None)
    assert known is not None
    if layout is not None:
        known = replace(known, layout=layout)
    return known if head is None else replace(known, head=_plain_name(model, head))


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The module called ``name``; ModelError with the nearest name where there is none."""
    modules = dict(model.named_modules())
    if name not in modules:
        depth = name.count(".")
        near = [known for known in modules if known and known.count(".") <= depth]
        raise ModelError(
            f"{type(model).__name__} has no layer {name!r}; {did_you_mean(name, near)}"
        )
    return modules[name]


def _plain_name(model: nn.Module, name: str) -> str:
    """``features.-2`` as ``features.29``: positions from the end resolved to module names.

    ``MaxPool2d-2`` counts the modules of that class only.
    """
    path: list[str] = []
    for part in name.split("."):
        if found := re.fullmatch(r"([A-Z]\w*)?(-\d+)", part):
            kind, position = found[1], int(found[2])
            children = [
                child
                for child, module in find_module(model, ".".join(path)).named_children()
                if kind is None or type(module).__name__ == kind
            ]
            if -position > len(children):
                what = "children" if kind is None else f"{kind} children"
                raise ModelError(f"{name!r}: {'.'.join(path)} has only {len(children)} {what}")
            part = children[position]
        path.append(part)
    plain = ".".join(path)
    find_module(model, plain)
    return plain


def _plain_names(model: nn.Module, names: tuple[str, str] | None) -> tuple[str, str] | None:
    """Both names resolved; None where an altered network lacks a layer that few methods need."""
    try:
        return names and (_plain_name(model, names[0]), _plain_name(model, names[1]))
    except ModelError:
        return None


@torch.no_grad()
def candidate_layers(model: nn.Module, *, size: int = 224, at_most: int = 12) -> list[str]:
    """Names and shapes of modules with a spatial output, last first: a pass on a blank image."""
    found: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
                found.append(f"{name} {tuple(output.shape[1:])}")

        return hook

    training = [module for module in model.modules() if module.training]
    parameter = next(model.parameters(), torch.zeros(()))
    try:
        with hooked(after=((module, note(name)) for name, module in model.named_modules() if name)):
            model.eval()(parameter.new_zeros(1, 3, size, size))
    except Exception as error:  # a list of candidates is a help, never a second failure
        found.append(f"(the pass stopped: {error})")
    finally:
        for module in training:
            module.training = True
    return found[::-1][:at_most]


def check_output(output: Shaped[Tensor, "..."], target: Target) -> None:
    """Raise ModelError unless a batch's output of the target layer is a grid in its layout."""
    shape = tuple(output.shape)
    fits = len(shape) == (3 if target.layout == "tokens" else 4)
    if fits and target.layout == "tokens":
        fits = shape[1] - math.isqrt(shape[1]) ** 2 <= _MOST_PREFIX_TOKENS
    if not fits:
        expected = {
            "nchw": "(b, c, h, w)",
            "nhwc": "(b, h, w, c)",
            "tokens": f"(b, tokens, c) with a square grid after at most {_MOST_PREFIX_TOKENS}",
        }[target.layout]
        raise ModelError(
            f"layer {target.layer!r} gives {shape}, which is no grid in layout {target.layout!r}: "
            f"expected {expected}; name another with 'layer:', or its layout with 'layout:'"
        )


def to_grid(tensor: Shaped[Tensor, "..."], layout: Layout) -> Shaped[Tensor, "*lead c h w"]:
    """A layer's output (or gradient), any leading dimensions, as channels over a spatial grid."""
    if layout == "tokens":
        side = math.isqrt(tensor.shape[-2])
        patches = tensor[..., -side * side :, :]  # class and register tokens come first
        tensor = patches.unflatten(-2, (side, side))
    if layout != "nchw":
        tensor = tensor.movedim(-1, -3)
    return tensor


def from_grid(
    grid: Shaped[Tensor, "n c h w"], output: Shaped[Tensor, "..."], layout: Layout
) -> Shaped[Tensor, "..."]:
    """A grid as a layer's output: ``to_grid`` undone.

    Args:
        grid: what stands in the place of the output.
        output: of the layer, n images; its class and register tokens stay.
        layout: of the output.
    """
    if layout == "nchw":
        return grid
    last = grid.movedim(-3, -1)
    if layout == "nhwc":
        return last
    patches = last.flatten(-3, -2)
    return torch.cat([output[..., : output.shape[-2] - patches.shape[-2], :], patches], dim=-2)
