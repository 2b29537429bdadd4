"""The target layers of a network: those of the table, or those that a configuration names.

The table (``target_table``) is explicit, and ``layer:`` and ``head:`` extend it. Nothing is
guessed: guessing finds the last pooling, a permutation or the class layer, which are wrong.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from wsol_bench.common.vocabulary import Layout, TokenGrid
from wsol_bench.errors import ModelError, did_you_mean
from wsol_bench.geometry import keeps_aspect
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_table import LAST_BLOCKS, TARGETS, Target

__all__ = [
    "Layout",
    "Target",
    "TokenGrid",
    "candidate_layers",
    "excitation_layers",
    "find_module",
    "is_known_layer",
    "target_of",
    "targets_of",
]


def target_of(
    model: nn.Module,
    *,
    layer: str | nn.Module | None = None,
    layout: Layout | None = None,
    head: str | None = None,
    token_grid: TokenGrid | None = None,
) -> Target:
    """The target layer of a model: that of the table, or a named one.

    A named layer has no head unless ``head`` is given, too: CAM needs the layer that feeds the
    head. Its layout is asked of the network unless ``layout`` or ``token_grid`` is given.

    Args:
        model: the network.
        layer: dotted module name, whose positions may count from the end (``features.-2``); or one
            of the model's modules.
        layout: layout of the layer's output.
        head: dotted module name of the linear layer (or 1x1 convolution) behind the layer.
        token_grid: rows, columns and index of the first patch token, in layout ``tokens``.

    Raises:
        ModelError: the architecture is not in the table and no layer is named; the model has no
            module of a given name; or ``layout`` and ``token_grid`` contradict each other.
    """
    token_grid = token_grid and TokenGrid(*token_grid)
    if token_grid is not None and layout not in (None, "tokens"):
        raise ModelError(
            f"'token_grid:' belongs to a layer of layout 'tokens', found layout {layout!r}"
        )
    try:
        known = _of_table(model)
    except ModelError:  # an altered network lacks the table's layer
        if layer is None:
            raise
        known = None
    if layer is None and known is None:
        raise ModelError(
            f"no target layer is known for {type(model).__name__}: name one with 'layer:'. "
            f"Layers with spatial output, last first: {', '.join(candidate_layers(model))}"
        )
    if layer is None:
        name = known.layer if known is not None else ""
    else:
        name = _plain_name(model, layer) if isinstance(layer, str) else _name_of(model, layer)
    if known is None or known.layer != name:
        known = Target(name, excitation=None if known is None else known.excitation)
    return replace(
        known,
        layout=layout or (known.layout if token_grid is None else "tokens"),
        token_grid=token_grid,
        head=known.head if head is None else _plain_name(model, head),
    )


def targets_of(
    model: nn.Module,
    layers: Sequence[str | nn.Module] = (),
    *,
    layout: Layout | None = None,
    head: str | None = None,
    token_grid: TokenGrid | None = None,
    required: bool = True,
) -> tuple[Target, ...]:
    """The target layers of a model: those of given names, or the one of the table.

    Args:
        model: the network.
        layers: names or modules, each once; none for the layer of the table.
        layout, token_grid: of all layers; see ``target_of``.
        head: the head behind the last layer.
        required: whether a method needs a layer; if not, an architecture that the table lacks has
            no target layer.

    Raises:
        ModelError: as ``target_of``, or a layer is listed twice.
    """
    if not layers:
        if not required and _of_table(model) is None:
            return ()
        return (target_of(model, layout=layout, head=head, token_grid=token_grid),)
    heads = [None] * (len(layers) - 1) + [head]
    targets = tuple(
        target_of(model, layer=layer, layout=layout, head=head_of_layer, token_grid=token_grid)
        for layer, head_of_layer in zip(layers, heads, strict=True)
    )
    names = [target.layer for target in targets]
    if len(set(names)) < len(names):
        raise ModelError(f"layers: expected each layer once, found {', '.join(names)}")
    return targets


def is_known_layer(model: nn.Module, layer: str) -> bool:
    """Return whether a layer is the table's for the model, so that its grid is known."""
    try:
        target = _of_table(model)
    except ModelError:
        return False
    return target is not None and target.layer == layer


def excitation_layers(model: nn.Module) -> tuple[str, str] | None:
    """Map layer and contrast layer of excitation backprop; None if the table has none."""
    target = _of_table(model)
    return None if target is None else target.excitation


def _of_table(model: nn.Module) -> Target | None:
    """The table's target of a model, with plain names; None if the table lacks the architecture."""
    keys = (f"{base.__module__.partition('.')[0]}/{base.__name__}" for base in type(model).__mro__)
    target = next((TARGETS[key] for key in keys if key in TARGETS), None)
    if target is None:
        return None
    layer = target.layer
    if layer in LAST_BLOCKS and _reads_class_token(model):
        layer = f"{layer}.{LAST_BLOCKS[layer]}"
    return replace(
        target,
        layer=_plain_name(model, layer),
        head=_plain_name_or_none(model, target.head),
        excitation=_plain_names(model, target.excitation),
    )


def _reads_class_token(model: nn.Module) -> bool:
    """Return whether a transformer says that its head reads the class token: timm's, or BEiT."""
    config = getattr(model, "config", None)
    pools = getattr(config, "use_mean_pooling", True)
    return getattr(model, "global_pool", "") == "token" or pools is False


def _name_of(model: nn.Module, layer: nn.Module) -> str:
    """The name of one of a model's modules.

    Raises:
        ModelError: it is none of them, or the whole model.
    """
    name = next((name for name, module in model.named_modules() if module is layer), "")
    if not name:
        raise ModelError(
            f"layer: expected a module within {type(model).__name__}, or its dotted name, found "
            f"{type(layer).__name__} that is not within it"
        )
    return name


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The module called ``name``.

    Raises:
        ModelError: the model has no such module; the message has the nearest name.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        depth = name.count(".")
        candidates = [module for module in modules if module and module.count(".") <= depth]
        raise ModelError(
            f"{type(model).__name__} has no layer {name!r}; {did_you_mean(name, candidates)}"
        )
    return modules[name]


def _plain_name(model: nn.Module, name: str) -> str:
    """A module name without positions from the end: ``features.29`` for ``features.-2``.

    ``MaxPool2d-2`` counts the modules of that class only.

    Raises:
        ModelError: the model has no such module.
    """
    path: list[str] = []
    for part in name.split("."):
        if match := re.fullmatch(r"([A-Z]\w*)?(-\d+)", part):
            kind, position = match[1], int(match[2])
            children = [
                child
                for child, module in find_module(model, ".".join(path)).named_children()
                if kind is None or type(module).__name__ == kind
            ]
            if -position > len(children):
                noun = "children" if kind is None else f"{kind} children"
                parent = ".".join(path) or type(model).__name__
                raise ModelError(f"{name!r}: {parent} has only {len(children)} {noun}")
            part = children[position]
        path.append(part)
    plain = ".".join(path)
    find_module(model, plain)
    return plain


def _plain_name_or_none(model: nn.Module, name: str | None) -> str | None:
    """The name without positions; None if an altered network lacks the module."""
    try:
        return name and _plain_name(model, name)
    except ModelError:
        return None


def _plain_names(model: nn.Module, names: tuple[str, str] | None) -> tuple[str, str] | None:
    """Both names without positions; None if an altered network lacks one of the layers."""
    first, second = (_plain_name_or_none(model, name) for name in names or (None, None))
    return (first, second) if first and second else None


@torch.no_grad()
def candidate_layers(model: nn.Module, *, at_most: int = 12) -> list[str]:
    """Modules with a spatial output, as "name (c, h, w)" or so, the last to run first.

    Args:
        model: passes two blank images of the size and number of channels that it says it takes, in
            evaluation mode; its modes and hooks stay as they were.
        at_most: length of the list.
    """
    candidates: list[str] = []
    channels, *size = _input_shape(model)

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != 2:
                return
            shape = tuple(output.shape[1:])
            if len(shape) == 3:
                grids = [shape[1:], shape[:2]]
                is_grid = any(min(grid) > 1 and keeps_aspect(*grid, *size) for grid in grids)
            else:
                is_grid = shape[0] > 1
            if is_grid:
                candidates.append(f"{name} {shape}")

        return hook

    training = [module for module in model.modules() if module.training]
    parameter = next(model.parameters(), torch.zeros(()))
    try:
        with hooked(after=((module, note(name)) for name, module in model.named_modules() if name)):
            model.eval()(parameter.new_zeros(2, channels, *size))
    except Exception as error:  # a list of candidates is a help, never a second failure
        candidates.append(f"(the pass stopped: {error})")
    finally:
        for module in training:
            module.training = True
    return candidates[::-1][:at_most]


def _input_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model says it takes; else (3, 224, 224).

    timm's models say it in their ``pretrained_cfg``, torchvision's transformers by ``image_size``,
    and the first convolution has the number of channels.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    size = getattr(model, "image_size", None)
    embedded = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if isinstance(embedded, tuple) and len(embedded) == 2:
        height, width = embedded
    elif isinstance(size, int):
        height = width = size
    else:
        _, height, width = config.get("input_size", (3, 224, 224))
    return channels, height, width
