"""A check that a network is left unchanged, with its hooks and gradients and torch's modes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def traces(net: nn.Module) -> dict[str, Any]:
    """Everything that a careless pass may change on or around a network, except tensors' values."""
    modules = dict(net.named_modules())
    return {
        "modules": modules,
        "training": {name: module.training for name, module in modules.items()},
        "attributes": {name: sorted(vars(module)) for name, module in modules.items()},
        "hooks": {
            (name, kind): list(hooks)
            for name, module in modules.items()
            for kind, hooks in vars(module).items()
            if kind.endswith("_hooks")
        },
        "compiled": {name: module._compiled_call_impl for name, module in modules.items()},
        "requires_grad": {name: value.requires_grad for name, value in net.named_parameters()},
        "grads": {name: value.grad for name, value in net.named_parameters()},
        # A write in place counts even if it is undone.
        "versions": {
            name: value._version for name, value in net.state_dict(keep_vars=True).items()
        },
        "functions": [F.relu, torch.relu, Tensor.relu, F.hardtanh],
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch.overrides._get_current_function_mode_stack(),
        "attention's fast path": torch.backends.mha.get_fastpath_enabled(),
    }


@contextmanager
def unchanged(net: nn.Module) -> Iterator[None]:
    """Check that the body leaves the network as it was, its parameters and buffers bit for bit."""
    before = traces(net)
    values = {name: value.clone() for name, value in net.state_dict().items()}
    yield
    after = traces(net)
    for key, trace in before.items():
        assert after[key] == trace, key
    torch.testing.assert_close(dict(net.state_dict()), values, rtol=0, atol=0, equal_nan=True)


def fail(*_: object) -> None:
    """A hook that raises."""
    raise RuntimeError("out of luck")
