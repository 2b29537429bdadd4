"""What the adapters share: a class of a library, its options, and a network that is lent to it."""

import hashlib
import importlib
import inspect
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from importlib.metadata import version
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.network import autocast, evaluation_mode, uncompiled
from wsol_bench.common.vocabulary import Scope
from wsol_bench.errors import ConfigError, ModelError, WsolBenchError, did_you_mean
from wsol_bench.methods.base import MapFunction, MapMethod
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module

__all__ = [
    "by_slot",
    "class_of",
    "foreign_method",
    "library",
    "options_of",
    "split",
    "target_layer",
]

_VALUES = (bool, int, float, str, NoneType, Ellipsis)
_CONTAINERS = (Union, UnionType, tuple, list)


def library(name: str, module: str) -> ModuleType:
    """A module of a library, imported; ConfigError with the way to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"the methods {name}/... need a library that cannot be imported ({error}); "
            "pip install 'wsol-bench[peers]'"
        ) from error


def class_of(name: str, classes: Mapping[str, type]) -> type:
    """The class that a method's name ends in; ConfigError with the nearest one."""
    called = name.partition("/")[2]
    if called not in classes:
        raise ConfigError(f"unknown map method {name!r}; {did_you_mean(called, classes)}")
    return classes[called]


def options_of(
    callables: Sequence[Callable[..., Any]], given: Collection[str], **defaults: Any
) -> dict[str, inspect.Parameter]:
    """The options of a library's constructor and call, by their own signatures.

    Args:
        callables: whose parameters are options.
        given: parameters that the adapter fills.
        defaults: other ones than the library's.
    """
    found: dict[str, inspect.Parameter] = {}
    for function in callables:
        for name, parameter in inspect.signature(function).parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and name not in found and name not in given and name != "self":
                found[name] = parameter.replace(
                    kind=inspect.Parameter.KEYWORD_ONLY,
                    annotation=parameter.annotation if _is_plain(parameter.annotation) else Any,
                    default=defaults.get(name, parameter.default),
                )
    return found


def _is_plain(kind: Any) -> bool:
    """Whether a type is one of values that a configuration can hold; others are not checked."""
    inner = get_args(kind)
    if get_origin(kind) in _CONTAINERS and inner:
        return all(_is_plain(one) for one in inner)
    return any(kind is value for value in _VALUES)


def split(
    options: Mapping[str, Any], first: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that a function has parameters for, and the others."""
    names = inspect.signature(first).parameters
    its = {name: value for name, value in options.items() if name in names}
    return its, {name: value for name, value in options.items() if name not in names}


def foreign_method(
    name: str,
    distribution: str,
    function: MapFunction,
    options: Mapping[str, inspect.Parameter],
    *,
    scope: Scope,
) -> MapMethod:
    """A map method that is checked against a library's options instead of its function's own.

    Args:
        name: ``library/class``.
        distribution: of the library, on the package index.
        function: ``(record, **options)``.
        options: what ``options_of`` found.
        scope: as ``MapMethod``'s.
    """
    record = inspect.Parameter("record", inspect.Parameter.POSITIONAL_ONLY)
    # What ``inspect.signature`` answers, and so what options are bound by.
    function.__signature__ = inspect.Signature([record, *options.values()])  # type: ignore[attr-defined]
    return MapMethod(
        name,
        function,
        Plan(),
        f"{distribution} {version(distribution)}",
        scope=scope,
        classes="label",  # a pass a class, or many
    )


def target_layer(record: Record) -> tuple[Target, nn.Module]:
    """The layer of a record: where it is, and the module."""
    probe, name = record.probe, record.layer.name
    target = next(target for target in probe.targets if target.layer == name)
    return target, find_module(probe.model, name)


def by_slot(
    record: Record,
    name: str,
    make: Callable[[Float[Tensor, "batch 3 height width"], list[int]], Any],
) -> Float[Tensor, "batch k h w"]:
    """Maps of one class slot after the other.

    While a library has it the network is in evaluation mode, gradients are tracked, and nothing
    works in place: hooks of other libraries share memory with what a ReLU behind them overwrites.
    Random numbers are seeded by the ids of the batch's images. Whatever the library does to modules
    is undone. Images that pass the network are counted, and gradients that come to its output.

    Args:
        record: of the network.
        name: of the method.
        make: ``(images, classes)``, maps of shape (batch, h, w) of one class an image.

    Raises:
        ModelError: the library fails, or makes no such maps.
    """
    probe = record.probe
    maps = []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluation_mode(probe.model),
        uncompiled(probe.model),
        _restored(probe.model),
        _counted(record),
        _seeded(record),
        autocast(probe.images.device, probe.precision),
        _OutOfPlace(),
        redirect_stdout(io.StringIO()),  # some print what they think of their arguments
    ):
        for classes in record.classes.unbind(1):
            images = probe.images.detach().clone().requires_grad_(True)
            try:
                made = make(images, classes.tolist())
            except (WsolBenchError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # whatever a library raises of a network it does not know
                raise ModelError(
                    f"{name} fails on {type(probe.model).__name__}: {type(error).__name__}: "
                    f"{error}. Give it other options, or take it out of 'methods'"
                ) from error
            if isinstance(made, np.ndarray):
                made = torch.from_numpy(made)
            if not isinstance(made, Tensor) or made.ndim != 3 or len(made) != len(images):
                found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise ModelError(
                    f"{name} on {type(probe.model).__name__}: expected a map an image, of shape "
                    f"({len(images)}, h, w), found {found}"
                )
            maps.append(made.detach().float().to(images.device))
    return torch.stack(maps, dim=1)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """The network's modules come back as they are: hooks, parts, attributes and gradients.

    Within, all parameters require gradients: some methods begin a graph at them.
    """
    modules = [
        (vars(module), dict(vars(module)), _tables(vars(module))) for module in model.modules()
    ]
    parameters = [(one, one.requires_grad, one.grad) for one in model.parameters()]
    try:
        for parameter, _, _ in parameters:
            parameter.grad = None
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        yield
    finally:
        for attributes, before, tables in modules:
            attributes.clear()
            attributes.update(before)
            for name, table in tables.items():
                attributes[name].clear()  # the same one: handles of hooks refer to it
                attributes[name].update(table)
        for parameter, requires_grad, gradient in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


def _tables(attributes: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    return {name: dict(value) for name, value in attributes.items() if isinstance(value, dict)}


def _counted(record: Record) -> AbstractContextManager[None]:
    """What a library passes through the network, and back from its output, is added to the cost."""
    probe = record.probe

    def back(gradient: Tensor) -> None:
        probe.cost.backward += len(gradient)

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        probe.cost.forward += len(output)
        if output.requires_grad:
            output.register_hook(back)

    return hooked(after=[(probe.model, count)])


@contextmanager
def _seeded(record: Record) -> Iterator[None]:
    """Random numbers that depend on the batch alone; the generators' own states come back."""
    names = "\n".join(record.probe.image_ids).encode()
    seed = int.from_bytes(hashlib.sha256(names).digest()[:4], "big")
    state = np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            np.random.seed(seed)
            yield
    finally:
        np.random.set_state(state)


class _OutOfPlace(TorchFunctionMode):
    """What is asked to work in place makes a tensor of its own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("inplace") is True:
            kwargs = {**kwargs, "inplace": False}
        return func(*args, **kwargs)
