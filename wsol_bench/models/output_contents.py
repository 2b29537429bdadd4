"""What a network returns: its parts by their paths, and which of its tensors can be scores."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.errors import ModelError

__all__ = ["contents", "part_at", "require_batch", "require_scores", "shape_of", "tensors_in"]

# The number of tensors that an error lists, and how deep they are looked for.
_LISTED, _DEPTH = 12, 4
# The number of places for scores that an error offers.
_OFFERED = 3

_MEND = (
    "name the scores with the model's 'output:', an index (0), a key or an attribute (logits), a "
    "path of these (0.logits), or the import path of a function of the output "
    "(my_module:scores)"
)


def part_at(output: Any, how: int | str, name: str) -> Any:
    """The part of a network's output at an index, a key or an attribute, or a path of these.

    Args:
        output: what the network returns.
        how: the index, the key, the attribute, or the path, joined by dots.
        name: name of the network, for errors.

    Raises:
        ModelError: the output has no such part; the error lists what there is.
    """
    value = output
    parts, n = str(how).split("."), 0
    while n < len(parts):
        # A key may hold dots itself, so the longest one counts.
        for end in range(len(parts), n, -1):
            if found := _part_of(value, ".".join(parts[n:end])):
                break
        else:
            before = f" at {'.'.join(parts[:n])!r}" if n else ""
            raise ModelError(
                f"{name}: expected {parts[n]!r} of 'output: {how}' in the network's output, found "
                f"{contents(value)}{before}; "
                f"{_advice(value, '.'.join(parts[:n]), output)}"
            )
        [value], n = found, end
    return value


def _part_of(value: Any, part: str) -> list[Any]:
    """The value at a key, an index or an attribute, in a list; the list is empty if it has none."""
    number = int(part) if re.fullmatch(r"-?\d{1,9}", part) else None
    if isinstance(value, Mapping):
        for key in (part, number):
            if key is not None and key in value:
                return [value[key]]
    if isinstance(value, Tensor):
        return []
    if isinstance(value, list | tuple) and number is not None:
        return [value[number]] if -len(value) <= number < len(value) else []
    return [getattr(value, part)] if part.isidentifier() and hasattr(value, part) else []


def require_scores(
    value: Any, name: str, where: str = "", output: Any = None
) -> Float[Tensor, "batch n"]:
    """The value, after a check that it is scores of shape (batch, n).

    Args:
        value: what a network returns, or what was read from it.
        name: name of the network, for errors.
        where: the ``output:`` that it was read with; "" for none.
        output: what the network returned, if the value was read from it.

    Raises:
        ModelError: it is something else; the error lists what there is.
    """
    if isinstance(value, Tensor) and _is_like_scores(value):
        return value
    kind = "floating-point logits" if _is_whole(value) else "logits"
    at = f" at 'output: {where}'" if where else ""
    raise ModelError(
        f"{name}: expected {kind} of shape (batch, classes), found "
        f"{contents(value)}{at}; {_advice(value, where, output)}"
    )


def require_batch(scores: Float[Tensor, "m n"], n_images: int, name: str) -> None:
    """Raise ModelError unless scores are those of as many images as a network was given."""
    if len(scores) != n_images:
        raise ModelError(
            f"{name}: expected logits of shape (batch, classes) for a batch of {n_images}, found "
            f"{contents(scores)}; the first dimension must be that of the images"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_floating_point()


def _advice(value: Any, where: str, output: Any) -> str:
    """The first tensors that can be scores, as ``output:`` names them, for an error."""
    for base, whole in ((where, value), ("", output)):
        found = [
            f"'output: {path}'"
            for path, tensor in tensors_in(whole, base)
            if path != base and _is_like_scores(tensor)
        ]
        if found:
            return f"{_MEND}, such as {' or '.join(found[:_OFFERED])}"
    if isinstance(value, Tensor) and value.ndim > 2 and value.shape[2:].numel() == 1:
        return f"{_MEND}. Such a function may take the last dimensions away: flatten(1)"
    return _MEND


def _is_like_scores(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.shape[1] > 0 and tensor.is_floating_point()


def tensors_in(value: Any, path: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested sequences, mappings and objects, with their paths."""
    if isinstance(value, Tensor):
        yield path, value
        return
    if depth == 0 or isinstance(value, str | bytes | type | nn.Module):
        return
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    elif hasattr(value, "__dict__"):
        items = [item for item in vars(value).items() if not item[0].startswith("_")]
    for key, item in items:
        yield from tensors_in(item, f"{path}.{key}" if path else str(key), depth - 1)


def contents(value: Any) -> str:
    """A value in words: its shape if it is a tensor, else its kind and the tensors in it."""
    if isinstance(value, Tensor):
        return shape_of(value)
    tensors = list(tensors_in(value))
    listed = [f"{path!r} of {shape_of(tensor)}" for path, tensor in tensors[:_LISTED]]
    more = f" and {len(tensors) - _LISTED} more" if len(tensors) > _LISTED else ""
    kind = type(value).__name__
    return f"{kind} with {', '.join(listed)}{more}" if listed else f"{kind} without tensors"


def shape_of(tensor: Tensor) -> str:
    """The shape of a tensor in words, and its type if it holds no floating-point numbers."""
    kind = f" and {tensor.dtype}" if _is_whole(tensor) else ""
    return f"shape {tuple(tensor.shape)}{kind}"
