"""Hooks on modules that last for a context and are removed afterwards."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

__all__ = ["hooked"]

Hooks = Iterable[tuple[nn.Module, Callable[..., Any]]]


@contextmanager
def hooked(*, before: Hooks = (), after: Hooks = ()) -> Iterator[None]:
    """Call functions whenever modules run within the context.

    The hooks are removed at its end, also after an exception.

    Args:
        before: pairs of a module and a function, called with ``(module, inputs)`` before it runs.
        after: pairs of a module and a function, called with ``(module, inputs, output)`` after it
            has run. The function's result replaces the output, unless it is None.
    """
    with ExitStack() as stack:
        for module, hook in before:
            stack.enter_context(module.register_forward_pre_hook(hook))
        for module, hook in after:
            stack.enter_context(module.register_forward_hook(hook))
        yield
