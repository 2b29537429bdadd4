"""Kinds of networks: wrappers are taken off, and what no map can be made of is refused.

Maps need hooks on modules, gradients, and functions that run where they can be seen. Compiled,
scripted, exported and quantized modules have none of these in part, so some methods fail in them
and others make a wrong map.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import Buffer, is_lazy
from torch.optim.swa_utils import AveragedModel
from torch.utils import checkpoint
from torch.utils.checkpoint import CheckpointFunction

from wsol_bench.errors import ModelError

__all__ = ["direct_checkpoints", "plain_network"]

# Wrappers that run the network in their attribute "module".
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# Where the module that torch.compile returns keeps the module that it was given.
_COMPILED_FROM = "_orig_mod"

_EAGER = "give the network that it was made from"
_FLOAT = "give the network before it was quantized"


def plain_network(model: nn.Module) -> nn.Module:
    """The network in wrappers, after a check that every method can make maps of it.

    Taken off are the wrappers of torch.compile, DataParallel, DistributedDataParallel and averaged
    models; the network in them computes the same.

    Args:
        model: the network, maybe in wrappers; it is not changed.

    Raises:
        ModelError: the network, or a module of it, is scripted, compiled, exported, sharded or
            quantized; or a parameter or buffer has no values, or none that gradients can pass.
    """
    while (inner := _wrapped(model)) is not None:
        model = inner
    for name, module in model.named_modules():
        if finding := _module_finding(module):
            what, advice = finding
            raise ModelError(_message(name or "the network", type(module).__name__, what, advice))
        tensors = {**module._parameters, **module._buffers}
        for tensor_name, tensor in tensors.items():
            if tensor is not None and (finding := _tensor_finding(tensor)):
                what, advice = finding
                place = f"{name}.{tensor_name}" if name else tensor_name
                raise ModelError(_message(place, type(tensor).__name__, what, advice))
    return model


def _wrapped(model: nn.Module) -> nn.Module | None:
    """The network in a wrapper; None if the module is no wrapper."""
    if isinstance(model, _WRAPPERS):
        return model.module
    return dict(model.named_children()).get(_COMPILED_FROM)


def _message(place: str, kind: str, what: str, advice: str) -> str:
    subject = place if place == "the network" else repr(place)
    return f"no maps can be made: {subject} ({kind}) {what}; {advice}"


def _module_finding(module: nn.Module) -> tuple[str, str] | None:
    """Say why maps cannot be made of a module, and what to do; None for a usual module."""
    kind = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return "is TorchScript, which runs unseen by hooks and rules", _EAGER
    forward = getattr(module, "forward", None)
    compiled = hasattr(forward, "_torchdynamo_orig_callable")
    if _COMPILED_FROM in module._modules or (
        compiled and not hasattr(forward, "_torchdynamo_disable")
    ):
        return (
            "is compiled by torch.compile, through which gradients of several classes cannot pass",
            "give the network without it; 'compile: true' in an experiment compiles what can be",
        )
    if kind.__module__.startswith("torch._functorch") or _is_exported(module):
        return "is traced to elementary operations, in which no layer runs", _EAGER
    if kind.__module__.startswith("torch.") and ".quantized." in f"{kind.__module__}.":
        return "is quantized and has no gradients", _FLOAT
    if any(base.__name__ == "FullyShardedDataParallel" for base in kind.__mro__):
        return "holds one shard of the parameters", "load the whole state_dict into a plain network"
    return None


def _is_exported(module: nn.Module) -> bool:
    """Return whether a graph module runs ATen operators (torch.export) in place of modules."""
    return isinstance(module, fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes
    )


def _tensor_finding(tensor: Tensor) -> tuple[str, str] | None:
    """Say why maps cannot be made with a parameter or buffer, and what to do; None if they can."""
    if is_lazy(tensor):
        return "is not initialized", "pass one batch through the network first, then load weights"
    if tensor.is_meta:
        return "is on the meta device and has no values", "load the weights on a real device"
    if tensor.is_quantized:
        return "is quantized and has no gradients", _FLOAT
    if tensor.is_inference():
        return (
            "was made in inference mode, so autograd cannot use it",
            "build the network outside of torch.inference_mode(), or give copy.deepcopy(network), "
            "made outside of it",
        )
    if type(tensor) not in (Tensor, nn.Parameter, Buffer) and hasattr(tensor, "__tensor_flatten__"):
        return "wraps other tensors, as sharded or quantized weights do", (
            "load the whole, unquantized state_dict into a plain network"
        )
    return None


@contextmanager
def direct_checkpoints() -> Iterator[None]:
    """Activation checkpoints run their function directly, within the context.

    ``torch.utils.checkpoint`` keeps no activations and runs the function again when a gradient is
    asked for. By then hooks, rules and replaced activations of this package are gone, so that the
    second run differs. With ``use_reentrant=True`` there is no graph in the first run, and a
    gradient in ``Tensor.backward`` only. Run directly, the function gives the same values.
    """
    global _depth
    with _lock:  # contexts are nested, and those of several threads may overlap
        if not _depth:
            for owner, name, replacement in _PATCHES:
                _restore.callback(_replace(owner, name, replacement))
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                _restore.close()


def _replace(owner: Any, name: str, replacement: Any) -> Callable[[], None]:
    """Give a class or module another attribute; returns the function that undoes it."""
    own = vars(owner).get(name)
    setattr(owner, name, replacement)
    return lambda: delattr(owner, name) if own is None else setattr(owner, name, own)


def _run(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
    """Take the place of ``CheckpointFunction.apply``, the reentrant form."""
    return function(*args)


def _around(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Take the place of what surrounds the function in the form that is not reentrant: nothing."""
    yield


# The second name is that of torch 2.14.
_PATCHES = [(CheckpointFunction, "apply", staticmethod(_run))] + [
    (checkpoint, name, _around)
    for name in (
        "_checkpoint_without_reentrant_generator_impl",
        "_checkpoint_without_reentrant_generator",
    )
    if hasattr(checkpoint, name)
]
_lock = threading.Lock()
_depth = 0
_restore = ExitStack()
