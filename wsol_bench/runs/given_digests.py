"""Digests of functions and networks that a script or a notebook gives as objects.

A name says which file holds the code; an object may come from a notebook, or be one of many that
the same code makes. So a digest is made of its code and of the values that it holds.
"""

import re
import types
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from wsol_bench.common.files import digest

__all__ = ["object_digest"]

# How deep values within values are looked at.
_DEPTH = 5
_PLAIN = (str, bytes, int, float, complex, types.NoneType, types.EllipsisType)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def object_digest(value: Any) -> str:
    """Digest of a function, of a callable object, or of a network without its weights.

    It is the same in another process with the same version of Python and the same code.

    Args:
        value: the object. Of a function the code, the defaults, the closure and the plain values
            and functions among its globals count; of a network its text, and the code and the
            plain attributes of its own modules.
    """
    return digest("\n".join(_parts(value, _DEPTH)).encode())


def _parts(value: Any, depth: int) -> Iterator[str]:
    """Yield texts which tell a value from others that do something else."""
    if depth == 0:
        yield type(value).__qualname__
    elif isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, types.MethodType):
        yield from _of_each((value.__func__, value.__self__), depth)
    elif isinstance(value, types.FunctionType):
        cells = list(map(_held, value.__closure__ or ()))
        yield from _of_code(value.__code__, depth)
        yield from _of_each((value.__defaults__, value.__kwdefaults__, cells), depth)
        yield from _of_globals(value, depth)
    elif isinstance(value, partial):
        yield from _of_each((value.func, value.args, value.keywords), depth)
    elif isinstance(value, Mapping):
        yield from _of_each((part for item in value.items() for part in item), depth)
    elif isinstance(value, list | tuple):
        yield from _of_each(value, depth)
    elif isinstance(value, set | frozenset):  # in an order that changes with the process
        yield from sorted("\n".join(_parts(one, depth - 1)) for one in value)
    elif hasattr(value, "detach"):  # a tensor
        yield f"{value.dtype} {tuple(value.shape)}"
        yield digest(value.detach().cpu().contiguous().view(-1).double().numpy().tobytes())
    elif hasattr(value, "tobytes"):  # an array
        yield f"{value.dtype} {value.shape} {digest(value.tobytes())}"
    elif hasattr(value, "named_modules"):
        yield from _of_network(value, depth)
    else:
        yield type(value).__qualname__
        if not isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
            if callable(value):
                yield from _of_each((type(value).__call__,), depth)
            yield from _of_each((getattr(value, "__dict__", None),), depth)


def _held(cell: types.CellType) -> Any:
    """The value of a variable of a closure; None if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _of_each(values: Any, depth: int) -> Iterator[str]:
    for value in values:
        yield from _parts(value, depth - 1)


def _of_code(code: types.CodeType, depth: int) -> Iterator[str]:
    """Yield the instructions of code, and the code within it."""
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant, depth)
        else:
            yield from _parts(constant, depth)


def _names(code: types.CodeType) -> set[str]:
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def _of_globals(function: types.FunctionType, depth: int) -> Iterator[str]:
    """Yield what a function's globals hold that are values or functions beside it."""
    for name in sorted(_names(function.__code__) & {*function.__globals__}):
        value = function.__globals__[name]
        is_near = getattr(value, "__module__", None) == function.__module__
        if isinstance(value, (*_PLAIN, list, tuple)) or is_near or hasattr(value, "detach"):
            yield name
            yield from _parts(value, depth - 1)


def _of_network(network: Any, depth: int) -> Iterator[str]:
    """Yield the text of a network and the code of its own modules; within a function its state."""
    yield _ADDRESS.sub("", repr(network))
    kinds = {type(module) for module in network.modules()}
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        if not kind.__module__.startswith("torch."):
            yield f"{kind.__module__}.{kind.__qualname__}"
            yield from _of_code(kind.forward.__code__, depth)
    for name, module in network.named_modules():
        if not type(module).__module__.startswith("torch."):
            own = {key: value for key, value in vars(module).items() if isinstance(value, _PLAIN)}
            own.pop("training", None)
            yield f"{name} {sorted(own.items())}"
    if depth < _DEPTH:
        yield from _of_each(network.state_dict().values(), depth)
