"""Weights and images by a formula of integers, which other code can make from the text alone."""

import torch
from torch import Tensor, nn


def values(shape: tuple[int, ...], number: int, scale: float) -> Tensor:
    """Values in ``scale * [-0.5, 0.5)`` that look random: a hash of the position and a number."""
    j = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
    hashed = (j * j * 40503 + j * 2654435761 + 97 * number) % 2**32
    return (scale * (hashed.double() / 2**32 - 0.5)).float().reshape(shape)


def filled(net: nn.Module) -> nn.Module:
    """The network in evaluation mode; a tensor's number is its position among the sorted keys.

    Values of weights of rank 2 and 4 have the scale ``8 / sqrt(fan in)``, all others 1; 1 is added
    to the weights of norms.
    """
    state = net.state_dict()
    for number, (key, value) in enumerate(sorted(state.items())):
        is_matrix = value.ndim in (2, 4)
        scale = 8 / value[0].numel() ** 0.5 if is_matrix else 1.0
        is_norm = "norm" in key and key.endswith("weight")
        state[key] = values(tuple(value.shape), number, scale) + is_norm
    net.load_state_dict(state)
    return net.eval()
