"""Lends the network of a record to another library, and takes it back unchanged."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.capture import Record
from wsol_bench.capture.grids import LayerGrid
from wsol_bench.capture.network import autocast, evaluation_mode, uncompiled
from wsol_bench.errors import ModelError, WsolBenchError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module

__all__ = ["maps_by_slot", "target_layer"]

# ``(images, classes)``: maps of one class for each image.
MakeMaps = Callable[[Float[Tensor, "batch channels height width"], list[int]], Any]


def target_layer(record: Record) -> tuple[Target, nn.Module, LayerGrid]:
    """The target layer of a record, its module, and the grid of the module's output."""
    probe, name = record.probe, record.layer.name
    target = next(target for target in probe.targets if target.layer == name)
    assert record.layer.grid is not None  # a record with a probe has its layers' grids
    return target, find_module(probe.model, name), record.layer.grid


def maps_by_slot(record: Record, name: str, make: MakeMaps) -> Float[Tensor, "batch k h w"]:
    """The maps that a library makes, one class slot after the other.

    While the library has the network, the network is in evaluation mode and all operations are out
    of place: tensors that the library's hooks keep would be overwritten by a ReLU behind them.
    Gradients are tracked, and random numbers are seeded by the ids of the batch's images. All
    changes to modules are undone. Images that pass the network, and gradients that reach its
    output, count as the method's cost.

    Args:
        record: the record whose network is lent.
        name: the method's name, for messages.
        make: ``(images, classes)``; returns maps (batch, h, w), of one class for each image.

    Raises:
        ModelError: the library fails, or returns something else than maps of that shape.
    """
    probe = record.probe
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
        redirect_stdout(io.StringIO()),  # some libraries print remarks on their arguments
    ):
        maps = [
            _maps_of_slot(record, name, make, classes.tolist())
            for classes in record.classes.unbind(1)
        ]
    return torch.stack(maps, dim=1)


def _maps_of_slot(
    record: Record, name: str, make: MakeMaps, classes: list[int]
) -> Float[Tensor, "batch h w"]:
    model = type(record.probe.model).__name__
    images = record.probe.images.detach().clone().requires_grad_(True)
    try:
        maps = make(images, classes)
    except (WsolBenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a library may raise any error on a network that it does not know
        raise ModelError(
            f"{name} fails on {model}: {type(error).__name__}: {error}. Give the method other "
            "options, or take the method out of 'methods'"
        ) from error
    if isinstance(maps, np.ndarray):
        maps = torch.from_numpy(maps)
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != len(images):
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ModelError(
            f"{name} on {model}: expected one map for each image, of shape ({len(images)}, h, w), "
            f"found {found}"
        )
    return maps.detach().float().to(images.device)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Restore the network's modules at the end: hooks, children, attributes and weights.

    Inside, the modules have copies of their weights, since captum's LRP writes into them. All of
    them require gradients: the graphs of some methods begin at parameters.
    """
    modules = [
        (vars(module), dict(vars(module)), _tables(vars(module))) for module in model.modules()
    ]
    try:
        _copy_weights(model)
        yield
    finally:
        for attributes, before, tables in modules:
            attributes.clear()
            attributes.update(before)
            for name, table in tables.items():
                attributes[name].clear()  # the same object: handles of hooks refer to it
                attributes[name].update(table)


def _copy_weights(model: nn.Module) -> None:
    """Give the modules copies of their parameters and buffers; what was shared stays shared."""
    copies: dict[int, Any] = {}  # by the identity of what is copied
    for module in model.modules():
        for name, weights in module._parameters.items():
            if weights is not None:
                copied = copies.get(id(weights))
                if copied is None:
                    copied = nn.Parameter(weights.detach().clone(), weights.is_floating_point())
                module._parameters[name] = copies[id(weights)] = copied
        for name, values in module._buffers.items():
            if values is not None:
                module._buffers[name] = copies.setdefault(id(values), values.detach().clone())


def _tables(attributes: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    """Copies of a module's attributes that are dictionaries, such as its hooks and children."""
    return {name: dict(value) for name, value in attributes.items() if isinstance(value, dict)}


def _counted(record: Record) -> AbstractContextManager[None]:
    """Count as cost the images that pass the network, and the gradients that reach its output."""
    probe = record.probe

    def count_backward(gradient: Tensor) -> None:
        probe.cost.backward += len(gradient)

    def count_forward(module: nn.Module, inputs: Any, output: Any) -> None:
        probe.cost.forward += len(output)
        if output.requires_grad:
            output.register_hook(count_backward)

    return hooked(after=[(probe.model, count_forward)])


@contextmanager
def _seeded(record: Record) -> Iterator[None]:
    """Seed the global generators by the batch alone, and restore their states at the end."""
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
    """Makes operations that are asked to work in place return a new tensor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("inplace") is True:
            kwargs = {**kwargs, "inplace": False}
        return func(*args, **kwargs)
