"""Hooks on modules: there within a context, and gone afterwards."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

__all__ = ["hooked"]

Hooks = Iterable[tuple[nn.Module, Callable[..., Any]]]


@contextmanager
def hooked(*, before: Hooks = (), after: Hooks = ()) -> Iterator[None]:
    """Functions are called whenever modules run within; none is left, also after an exception.

    Args:
        before: modules, and what is called with ``(module, inputs)`` before each runs.
        after: modules, and what is called with ``(module, inputs, output)`` when each has run. What
            it returns takes the place of the output, unless it is None.
    """
    with ExitStack() as stack:
        for module, hook in before:
            stack.enter_context(module.register_forward_pre_hook(hook))
        for module, hook in after:
            stack.enter_context(module.register_forward_hook(hook))
        yield
