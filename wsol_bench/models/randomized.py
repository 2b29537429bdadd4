"""A network whose weights are permuted, for the sanity check of map methods."""

import copy

import torch
from torch import nn

__all__ = ["randomized"]


@torch.no_grad()
def randomized(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of a network in which the values of each weight tensor are permuted.

    Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018, section 3) initialize the
    layers anew. A permutation leaves every tensor its distribution, so that the activations of any
    architecture keep their scale. Biases, normalizations and tokens (fewer than two axes longer
    than 1) stay.

    Args:
        module: the network; the copy is on its device.
        seed: seed of the permutations, which are the same on all devices.
    """
    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    for parameter in copied.parameters():
        if sum(length > 1 for length in parameter.shape) > 1:
            order = torch.randperm(parameter.numel(), generator=generator)
            values = parameter.flatten()[order.to(parameter.device)]
            parameter.copy_(values.view(parameter.shape))
    return copied
