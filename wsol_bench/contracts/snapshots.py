"""Snapshots of a record, a network and the global random number generators.

Two snapshots, compared, show what a map method has changed.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from wsol_bench.capture import Record

__all__ = ["generator_states", "generators_restored", "network_snapshot", "record_snapshot"]

# The names of attributes that hold hooks: of one module, and in torch the hooks of all modules.
_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
_GLOBAL_HOOKS = [name for name in vars(torch_module) if name.endswith("_hooks")]


def record_snapshot(record: Record) -> dict[str, Any]:
    """Copies of a record's tensors, by name."""
    state: dict[str, Any] = {"logits": record.logits.clone(), "classes": record.classes.clone()}
    for layer in record.layers:
        for name in ("activations", "gradients", "class_weights"):
            value = getattr(layer, name)
            state[name] = None if value is None else value.clone()
            state[f"{name}.requires_grad"] = None if value is None else value.requires_grad
    return state


def network_snapshot(network: nn.Module, images: Tensor) -> dict[str, Any]:
    """The state of a network, of its input images and of torch's modes, by name.

    The state consists of copies of weights and gradients, flags, hooks, plain attributes and the
    identities of modules.
    """
    state: dict[str, Any] = {
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "function modes": torch._C._len_torch_function_stack(),
        "images": images.detach().clone(),
        "images.requires_grad": images.requires_grad,
        "images.grad": images.grad,
    }
    for name in _GLOBAL_HOOKS:
        state[f"hooks of all modules ({name})"] = _hook_names(getattr(torch_module, name))
    for path, module in network.named_modules():
        place = path or "the network"
        state[f"{place} itself"] = id(module)
        for name, value in vars(module).items():
            if name in _HOOKS:
                state[f"{place}.{name}"] = _hook_names(value)
            elif name == "forward":
                state[f"{place}.forward"] = id(value)
            elif isinstance(value, bool | int | float | str):
                state[f"{place}.{name}"] = value
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        state[name] = value.detach().clone()
        state[f"{name}.requires_grad"] = value.requires_grad
        state[f"{name}.grad"] = None if value.grad is None else value.grad.clone()
    return state


def _hook_names(hooks: Any) -> list[str]:
    """The names of the hooks in a table; tables of options beside them hold plain values."""
    return [getattr(hook, "__qualname__", repr(hook)) for hook in dict(hooks).values()]


def generator_states() -> dict[str, Any]:
    """The states of the global random number generators of torch and NumPy, by library.

    Python's generator is left out: type checks at run time (beartype) draw from it.
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy.random": (name, np.asarray(keys).tolist(), *rest),
    }


@contextmanager
def generators_restored() -> Iterator[None]:
    """Restore the global random number generators of torch, NumPy and Python at the end."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
