"""Small networks for excitation backprop, whose input pixels serve as activations."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wsol_bench.capture.backward.excitation import excitation

N_CLASSES = 4

TWO_SLOTS = torch.tensor([[0, 3], [2, 1]])


def uniform(*shape: int, seed: int = 7) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights, biases and statistics of a network at random, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in itertools.chain(net.named_parameters(), net.named_buffers()):
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.5, generator=generator)
    return net.eval()


class Behind(nn.Module):
    """Layers behind the map layer `here`, whose activations are the pixels."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.here = nn.Identity()
        self.behind = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.here(images))


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Join(nn.Module):
    """A function of the outputs of two branches."""

    def __init__(self, a: nn.Module, b: nn.Module, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.how = a, b, how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self.a(x), self.b(x))


def linear(rows: list[list[float]], bias: float = 0) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    layer.bias.data = torch.full((len(rows),), float(bias))
    return layer


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def mass(p: Tensor) -> Tensor:
    return p.sum((2, 3, 4))


# ---- equivalent networks


def head(channels: int, side: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(channels * side * side, N_CLASSES)]


def p_of(net: nn.Module, *, side: int = 6, contrast: str | None = None) -> Tensor:
    return excitation(net, uniform(2, 3, side, side), TWO_SLOTS, "here", contrast)
