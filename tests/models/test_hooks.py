"""Hooks are there within their context only."""

from typing import Any

import pytest
import torch
from torch import nn

from wsol_bench.models.hooks import hooked


def n_hooks(net: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()
    )


def test_hooks_are_called_around_modules_and_what_they_return_goes_on() -> None:
    net, called = nn.Sequential(nn.ReLU(), nn.Flatten()), []

    def before(module: nn.Module, inputs: Any) -> None:
        called.append(("before", type(module).__name__, inputs[0].tolist()))

    def after(module: nn.Module, inputs: Any, output: Any) -> Any:
        called.append(("after", type(module).__name__, output.tolist()))
        return output + 1

    with hooked(before=[(net[0], before), (net[1], before)], after=[(net[0], after)]):
        assert net(torch.tensor([[-1.0]])).tolist() == [[1.0]]
    assert called == [
        ("before", "ReLU", [[-1.0]]),
        ("after", "ReLU", [[0.0]]),
        ("before", "Flatten", [[1.0]]),
    ]
    assert n_hooks(net) == 0
    assert net(torch.tensor([[-1.0]])).tolist() == [[0.0]]


def test_hooks_of_one_module_are_called_in_their_order() -> None:
    net, called = nn.Identity(), []
    with hooked(after=((net, lambda *_, index=index: called.append(index)) for index in range(3))):
        net(torch.zeros(1))
    assert called == [0, 1, 2]


def test_none_is_left_by_an_exception_nor_others_taken_away() -> None:
    net = nn.Sequential(nn.ReLU(), nn.ReLU())
    net[0].register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="within"), hooked(before=[(net[0], print)]):
        assert n_hooks(net) == 2
        raise RuntimeError("within")
    assert n_hooks(net) == 1

    def pairs() -> Any:
        yield net[0], print
        raise RuntimeError("while they are made")

    for kind in ("before", "after"):
        with pytest.raises(RuntimeError, match="while"), hooked(**{kind: pairs()}):
            pytest.fail("nothing runs within")
        assert n_hooks(net) == 1
