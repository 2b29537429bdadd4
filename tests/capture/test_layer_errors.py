"""A layer that cannot be recorded is an error that says why."""

import pytest
import torch
from networks import InPlaceBehind, images, network
from torch import Tensor, nn
from traces import unchanged

from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target

GRADIENTS = Plan(gradients=True)


class Twisted(nn.Module):
    """A network with layers that cannot be recorded: no grid, no tensor, or not one run."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.unused = nn.Conv2d(3, 4, 3)
        self.again = nn.ReLU()
        self.pair = Pair()
        self.constant = Constant()
        self.flat = nn.Flatten()
        self.fc = nn.LazyLinear(5)

    def forward(self, batch: Tensor) -> Tensor:
        first, _ = self.pair(self.again(self.again(self.stem(batch))))
        return self.fc(self.flat(first)) + self.constant(first).sum()


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "unused",
            "layer 'unused' did not run in one forward pass, expected once; name another layer "
            "with 'layer:'",
        ),
        (
            "again",
            "layer 'again' ran 2 times in one forward pass, expected once; name another layer "
            "with 'layer:'",
        ),
        ("pair", "layer 'pair' returns tuple, not a tensor; name another layer with 'layer:'"),
        ("gone", "Twisted has no layer 'gone'"),
    ],
)
@pytest.mark.parametrize("plan", [GRADIENTS, Plan()], ids=["tracked", "untracked"])
def test_a_layer_without_exactly_one_output_tensor_is_an_error(
    layer: str, message: str, plan: Plan
) -> None:
    net = Twisted()
    net(images())
    with unchanged(net), pytest.raises(ModelError, match=message):
        capture(net, images(), [Target(layer)], plan)


@pytest.mark.parametrize("plan", [GRADIENTS, Plan()], ids=["tracked", "untracked"])
def test_an_output_that_is_no_grid_is_an_error(plan: Plan) -> None:
    net = network("VisionTransformer")
    with pytest.raises(ModelError, match=r"\(2, 17, 32\), which has not the layout 'nchw'"):
        capture(net, images(), [Target("encoder.ln", layout="nchw")], plan)
    with pytest.raises(ModelError, match=r"'heads' returns \(2, 6\), which is no grid of .*"):
        capture(net, images(), [Target("heads")], plan)


def test_logits_that_do_not_depend_on_the_layer_are_an_error() -> None:
    class Detached(InPlaceBehind):
        def forward(self, batch: Tensor) -> Tensor:
            return self.fc(self.features(batch).detach().mean((2, 3))).detach()

    with pytest.raises(ModelError, match="do not depend on layer 'features'"):
        capture(Detached(), images(), [Target("features")], GRADIENTS)


def test_a_functional_relu_that_never_runs_is_an_error() -> None:
    net = network("ResNet")
    with pytest.raises(ModelError, match="followed by a functional ReLU did not run"):
        capture(net, images(), [Target("layer4", then_relu=True)], GRADIENTS)


def test_a_network_that_returns_no_tensor_is_an_error() -> None:
    class Wrapped(InPlaceBehind):
        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            return {"logits": super().forward(batch)}

    with pytest.raises(
        ModelError, match=r"expected logits of shape \(batch, classes\), found dict"
    ):
        capture(Wrapped(), images(), [Target("features")], GRADIENTS)
