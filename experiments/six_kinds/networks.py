"""Networks of the experiment six_kinds: a single logit, and scores of several labels.

Both are made from the trained shapes_net, so that their maps say something, by identities of the
logistic function: their probabilities are those of shapes_net.
"""

import torch
from safetensors.torch import load_file
from torch import nn

from wsol_bench.models.shapes_net import WEIGHTS, shapes_net


def single_logit(first: int = 0, second: int = 1) -> nn.Module:
    """A network with one output y, for two of the classes of shapes_net.

    y is the difference of their scores: sigmoid(y) is the probability of the second class among
    the two.
    """
    network = _trained()
    weight, bias = network.fc.weight.detach(), network.fc.bias.detach()
    network.fc = nn.Linear(weight.shape[1], 1)
    with torch.no_grad():
        network.fc.weight.copy_(weight[second, None] - weight[first, None])
        network.fc.bias.copy_(bias[second, None] - bias[first, None])
    return network


class MultiLabel(nn.Module):
    """Sixteen scores of their own, of which any number may be positive."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _trained()

    def forward(self, images):
        """A dict, as many trainers return it, with the log-odds of each class as "scores".

        Their sigmoid is the softmax of shapes_net.
        """
        logits = self.network(images)
        own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
        others = logits[:, None].masked_fill(own, -torch.inf).logsumexp(dim=2)
        return {"scores": logits - others}


def _trained() -> nn.Module:
    network = shapes_net()
    network.load_state_dict(load_file(WEIGHTS))
    return network
