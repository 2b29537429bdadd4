"""``localization_maps``: the maps of several methods for a batch of images, in one call.

``localization_maps`` is longer than other functions because its docstring is its documentation.
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, get_args, overload

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Precision, Record, capture
from wsol_bench.capture.network import exclusively, uncompiled
from wsol_bench.common.registry import uniquely_named
from wsol_bench.common.vocabulary import Layout, Probabilities, TokenGrid
from wsol_bench.errors import ConfigError, ModelError
from wsol_bench.methods.base import MapMethod, cam_methods, merged_plan
from wsol_bench.models.network_kinds import plain_network
from wsol_bench.models.output_reading import OutputReading, read_with, scored_targets
from wsol_bench.models.target_layers import targets_of

__all__ = ["localization_maps"]

ClassIndices = (
    Int64[Tensor, "batch k"] | Int64[Tensor, " k"] | Sequence[int] | Sequence[Sequence[int]]
)
Score = Callable[[Any], Any]
# A class or a function of what the network returns, several of these, or the classes of each image.
Targets = int | Score | Sequence[int | Score] | ClassIndices
# Anything else is refused with advice on how to make a batch of it.
Images = Float[Tensor, "batch 3 height width"] | Any
Methods = str | MapMethod | Sequence[str | MapMethod]
Layers = list[str | nn.Module] | tuple[str | nn.Module, ...]
Maps = dict[str, Float[Tensor, "batch k h w"]]


@overload
def localization_maps(
    model: nn.Module,
    images: Images,
    methods: Methods = ...,
    *,
    layer: str | nn.Module | None = ...,
    layout: Layout | None = ...,
    head: str | None = ...,
    token_grid: TokenGrid | tuple[int, int, int] | None = ...,
    targets: Targets | None = ...,
    k: int = ...,
    output: int | str | Score | None = ...,
    probabilities: Probabilities | None = ...,
    precision: Precision = ...,
) -> Maps: ...


@overload
def localization_maps(
    model: nn.Module,
    images: Images,
    methods: Methods = ...,
    *,
    layer: Layers,
    layout: Layout | None = ...,
    head: str | None = ...,
    token_grid: TokenGrid | tuple[int, int, int] | None = ...,
    targets: Targets | None = ...,
    k: int = ...,
    output: int | str | Score | None = ...,
    probabilities: Probabilities | None = ...,
    precision: Precision = ...,
) -> dict[str, Maps]: ...


def localization_maps(
    model: nn.Module,
    images: Images,
    methods: Methods = ("grad_cam",),
    *,
    layer: str | nn.Module | Layers | None = None,
    layout: Layout | None = None,
    head: str | None = None,
    token_grid: TokenGrid | tuple[int, int, int] | None = None,
    targets: Targets | None = None,
    k: int = 5,
    output: int | str | Score | None = None,
    probabilities: Probabilities | None = None,
    precision: Precision = "fp32",
) -> Maps | dict[str, Maps]:
    """The localization maps of several methods, from one forward pass of a network.

    Args:
        model: a network that maps images to (batch, n) logits, or to something that holds these
            (see ``output``); it is unchanged afterwards, and so are the images. Wrappers such as
            those of torch.compile and DataParallel are taken off, and no compiled code runs.
        images: normalized input, on the model's device.
        methods: one method or several, as names (``wsol-bench list methods``), import paths
            (``my_module:my_cam``), or the objects that ``@cam_method`` returns.
        layer: the target layer, as a dotted name or a module of the network; by default the one in
            the target-layer table (``wsol_bench.models.target_layers``). A list names several.
        layout: layout of the layer's output: ``nchw``, ``nhwc`` or ``tokens``; by default it is
            asked of the network.
        head: name of the linear layer (or 1x1 convolution) of a GAP + linear head that directly
            follows the (last) layer; only ``cam`` needs it.
        token_grid: rows and columns of patches, and index of the first patch token, for a layer of
            tokens; by default it is asked of the network.
        targets: what maps are made of: an output index (a class), or a function that maps what the
            network returns for a batch to one number an image, of shape (batch,); a list of
            these, for all images; or output indices (batch, k). By default the k best classes of
            each image, best first. Methods that need all classes, their probabilities or their
            weights do not apply to a function.
        k: number of best classes.
        output: where the logits are in what the network returns: an index of a tuple (``0``), a key
            or an attribute (``"logits"``), a path of these (``"0.logits"``), or a function of it;
            by default it is the logits. A single logit y, of shape (batch, 1) or (batch,), is read
            as ``[-y, y]``, the scores of the classes 0 and 1.
        probabilities: ``softmax`` if the classes exclude each other, or ``sigmoid``, for methods
            that use probabilities; by default ``softmax``, and ``sigmoid`` for a single logit.
        precision: numeric format of the forward pass; ``bf16`` and ``fp16`` use autocast, ``fp32``
            that of the network's parameters.

    Returns:
        The maps by method name, in float32: each as its paper defines it, at the layer's
        resolution. If ``layer`` is a list, the maps of a method are a dictionary by layer
        name; the one map of a method of the whole image is there under "".

    Raises:
        ConfigError: a method is unknown, or listed twice, or an argument has a value that it cannot
            have.
        ModelError: the model is no network; the images are no batch; the architecture is not in the
            table, ``layer`` is not given, and a method needs one; the network does not tell the
            layer's grid; the network returns no logits, or not where ``output`` says; ``targets``
            are no output indices for these images, or a function among them does not give one
            number an image that depends on the network's output; or the network is scripted,
            quantized or of another kind that ``models.network_kinds`` refuses.
        NotApplicableError: the network lacks what a method needs.

    Examples:
        >>> import torch, torchvision
        >>> model = torchvision.models.resnet18(num_classes=10)
        >>> images = torch.randn(2, 3, 64, 64)
        >>> maps = localization_maps(model, images, ["grad_cam", "layer_cam"], layer="layer4")
        >>> maps["grad_cam"].shape
        torch.Size([2, 5, 2, 2])
    """
    _require_network(model)
    _require_choice("layout", layout, (None, *get_args(Layout)))
    _require_choice("precision", precision, get_args(Precision))
    network = plain_network(model)
    _require_batch(network, images)
    resolved = _resolved(methods)
    several = isinstance(layer, list | tuple)
    layers = list(layer) if isinstance(layer, list | tuple) else [] if layer is None else [layer]
    target_layers = targets_of(
        network, layers, layout=layout, head=head,
        token_grid=_token_grid(token_grid),
        required=any(method.scope == "layer" for method in resolved),
    )  # fmt: skip
    _require_choice("probabilities", probabilities, (None, *get_args(Probabilities)))
    scored = scored_targets(targets)
    reading = OutputReading(output, probabilities, scored)
    slots = _best_classes(k) if targets is None else _class_slots(targets, scored, images)
    with exclusively(network), uncompiled(network), read_with(network, reading):
        record = capture(
            network, images, target_layers, merged_plan(resolved), classes=slots,
            precision=precision,
        )  # fmt: skip
        return {method.name: _maps(method, record, by_layer=several) for method in resolved}


def _maps(method: MapMethod, record: Record, *, by_layer: bool) -> Any:
    """The maps of a method; by the name of their layer if this is asked for."""
    if not by_layer:
        return method(record).detach().float()
    layers = [layer.name for layer in record.layers]
    places = [(record.at, "")] if method.scope == "image" else list(enumerate(layers))
    return {name: method(record.at_layer(at)).detach().float() for at, name in places}


def _resolved(methods: Methods) -> list[MapMethod]:
    """The methods that are listed; ConfigError if one is unknown, or cannot be asked for here."""
    listed = [methods] if isinstance(methods, str | MapMethod) else methods
    if not isinstance(listed, Sequence):
        raise ConfigError(
            f"methods: expected a method's name or a list of them, found {type(methods).__name__}"
        )
    resolved = uniquely_named(
        method if isinstance(method, MapMethod) else cam_methods.get(method) for method in listed
    )
    for method in resolved:
        if method.is_randomized:
            raise ConfigError(
                f"{method.name} needs a network with permuted weights, which only an experiment "
                "makes: set 'sanity: randomized_weights' there"
            )
    return list(resolved)


def _require_network(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model: expected a network, a torch.nn.Module, found {type(model).__name__}"
        )


def _require_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ConfigError unless the value of an argument is one of its choices."""
    if value not in choices:
        raise ConfigError(f"{name}: expected {' or '.join(map(repr, choices))}, found {value!r}")


def _best_classes(k: Any) -> BestClasses:
    if k is True or not isinstance(k, Integral) or k < 1:
        raise ConfigError(f"k: expected a number of classes, at least 1, found {k!r}")
    return BestClasses(int(k))


def _token_grid(given: Any) -> TokenGrid | None:
    """The grid of tokens that is given; ConfigError if it is none."""
    if given is None:
        return None
    numbers = given if isinstance(given, tuple | list) else ()
    if len(numbers) != 3 or not all(isinstance(number, Integral) for number in numbers):
        raise ConfigError(
            "token_grid: expected three numbers, (rows, columns, index of the first patch token), "
            f"found {given!r}"
        )
    return TokenGrid(*map(int, numbers))


def _require_batch(model: nn.Module, images: Any) -> None:
    """Raise ModelError unless the images are a batch that the network can take."""
    expected = "expected normalized images as a tensor of shape (batch, 3, height, width), found"
    if not isinstance(images, Tensor):
        hint = "; torch.from_numpy makes a tensor of an array" if hasattr(images, "shape") else ""
        raise ModelError(f"images: {expected} {type(images).__name__}{hint}")
    if images.ndim != 4 or 0 in images.shape:
        hint = "; images[None] is a batch of one image" if images.ndim == 3 else ""
        raise ModelError(f"images: {expected} shape {tuple(images.shape)}{hint}")
    if images.shape[3] == 3 != images.shape[1]:
        hint = "; images.permute(0, 3, 1, 2) has the channels before rows and columns"
        raise ModelError(f"images: {expected} shape {tuple(images.shape)}{hint}")
    if not images.is_floating_point():
        raise ModelError(
            f"images: {expected} {images.dtype}; scale pixels to 0..1 and normalize them as the "
            "network was trained"
        )
    parameter = next(model.parameters(), images)
    if parameter.device != images.device:
        raise ModelError(
            f"images: expected them on the network's device {parameter.device}, found "
            f"{images.device}"
        )


def _class_slots(
    targets: Any,
    scored: tuple[int | Score, ...] | None,
    images: Float[Tensor, "batch 3 height width"],
) -> Int64[Tensor, "batch k"]:
    """The score index of each slot of each image.

    Args:
        targets: as in ``localization_maps``.
        scored: what the network's scores are of, one slot each; None for the classes.
        images: the batch.
    """
    try:
        slots = torch.as_tensor(
            targets if scored is None else range(len(scored)), device=images.device
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            "targets: expected output indices, or functions of the network's output, found "
            f"{targets!r}: {error}"
        ) from error
    if slots.is_floating_point() or slots.dtype == torch.bool:
        raise ModelError(f"targets: expected output indices, found {targets}")
    slots = slots.long()
    slots = slots[None] if slots.ndim == 0 else slots
    slots = slots.expand(len(images), -1) if slots.ndim == 1 else slots
    if slots.ndim != 2 or len(slots) != len(images):
        raise ModelError(
            "targets: expected one output index, (k,) or (batch, k) output indices for "
            f"{len(images)} images, found {tuple(slots.shape)}"
        )
    return slots
