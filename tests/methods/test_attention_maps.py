"""Attention rollout, LeGrad and transformer attribution by hand and on networks."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attention_networks import NETWORKS, name_of_last_norm
from map_methods import assert_correlated
from networks import images
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Plan, Probe, Record, capture
from wsol_bench.capture.backward.attention import Attention
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.attention_rollout import attention_rollout
from wsol_bench.methods.base import MapMethod
from wsol_bench.methods.le_grad import le_grad
from wsol_bench.methods.transformer_attribution import transformer_attribution
from wsol_bench.models.target_layers import Target, TokenGrid

METHODS = (attention_rollout, le_grad, transformer_attribution)


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


# ---- maps by hand


class Known(Probe):
    """A probe whose attention is given."""

    def __init__(self, blocks: list[Attention]) -> None:
        super().__init__(nn.Identity(), torch.zeros(1, 3, 1, 1), [Target("")])
        self.blocks = blocks

    def attention(self, classes: Tensor, *, score: str = "class_token") -> list[Attention]:
        return self.blocks


def record_of(*blocks: Attention, k: int = 1) -> Record:
    return Record(torch.zeros(1, 9), torch.arange(k)[None], (), _probe=Known(list(blocks)))


def block(
    heads: list[Any], gradients: list[Any] | None = None, layer: list[Any] | None = None
) -> Attention:
    """The attention of one image in one block, with the gradients of each slot."""
    return Attention(
        torch.tensor(heads)[None],
        None if gradients is None else torch.tensor(gradients)[None],
        None if layer is None else torch.tensor(layer)[None],
        TokenGrid(height=1, width=1, first=1),
    )


# A class token and one patch; two heads and one head.
FIRST = [[[0.5, 0.5], [0.1, 0.9]], [[0.5, 0.5], [0.3, 0.7]]]

SECOND = [[[0.6, 0.4], [0.0, 1.0]]]


def test_rollout_mixes_with_the_identity_and_multiplies() -> None:
    """A_1' = ((.75, .25), (.1, .9)), A_2' = ((.8, .2), (0, 1)): .8 * .25 + .2 * .9 = .38."""
    maps = attention_rollout(record_of(block(FIRST), block(SECOND), k=2))
    torch.testing.assert_close(maps, torch.full((1, 2, 1, 1), 0.38))


@pytest.mark.parametrize(
    ("fusion", "first"),
    [
        # Fused by the larger weight ((.5, .5), (.3, .9)), by the smaller ((.5, .5), (.1, .7)):
        # then half of that plus half of the identity, rows divided by their sums.
        ("max", [0.25, 0.95 / 1.1]),
        ("min", [0.25, 0.85 / 0.9]),
    ],
)
def test_rollout_normalizes_rows_of_other_fusions(fusion: Any, first: list[float]) -> None:
    maps = attention_rollout.function(record_of(block(FIRST), block(SECOND)), fusion=fusion)
    torch.testing.assert_close(maps, torch.full((1, 1, 1, 1), 0.8 * first[0] + 0.2 * first[1]))


def test_attribution_weighs_attention_by_its_gradient() -> None:
    """A_1' = ((.5, .25), (0, .8)), the mean over heads of what is positive; A_2' = ((0, .8), 0).

    R = (I + A_2') (I + A_1'), of which the class token's row is (1, .8) (I + A_1').
    """
    gradients_1 = [[[[2.0, 1.0], [-1.0, 1.0]], [[0.0, -3.0], [0.0, 1.0]]]]
    gradients_2 = [[[[-1.0, 2.0], [5.0, 0.0]]]]
    made = record_of(block(FIRST, gradients_1), block(SECOND, gradients_2))
    maps = transformer_attribution.function(made, relevance="attention")
    torch.testing.assert_close(maps, torch.full((1, 1, 1, 1), 1 * 0.25 + 0.8 * 1.8))


def test_le_grad_is_the_mean_positive_gradient() -> None:
    """Per block over 2 heads (or 1) and 2 query tokens, then over 2 blocks; slots by themselves."""
    first = [[[[9.0, 4.0]], [[9.0, -6.0]]], [[[0.0, 1.0]], [[0.0, 2.0]]]]
    second = [[[[9.0, 5.0]]], [[[0.0, -1.0]]]]
    maps = le_grad(record_of(block(FIRST, None, first), block(SECOND, None, second), k=2))
    expected = [[[[(4 / 4 + 5 / 2) / 2]], [[(3 / 4 + 0) / 2]]]]
    assert maps.tolist() == expected


def test_le_grad_of_one_block_is_that_of_the_last_block() -> None:
    first, second = [[[[9.0, 4.0]], [[9.0, -6.0]]]], [[[[9.0, 5.0]]]]
    made = record_of(block(FIRST, None, first), block(SECOND, None, second))
    assert le_grad.with_options({"blocks": 1}, "test")(made).tolist() == [[[[5 / 2]]]]
    with pytest.raises(NotApplicableError, match="blocks: expected at most 2, found 3"):
        le_grad.with_options({"blocks": 3}, "test")(made)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("score", ["class_token", "mean_tokens"])
def test_le_grad_agrees_with_torchcam(score: str, blocks: int) -> None:
    """torchcam scores a layer by the mean of its tokens unless it is told otherwise."""
    methods = pytest.importorskip("torchcam.methods")
    net, batch = NETWORKS["torchvision"](), images()
    target = Target(name_of_last_norm(net), layout="tokens")
    made = capture(net, batch, [target], Plan(), classes=torch.tensor([[0], [3]]))
    ours = le_grad.with_options({"score": score, "blocks": blocks}, "test")(made)[:, 0]

    def of_class_token(tokens: Tensor) -> Tensor:
        return net.heads(net.encoder.ln(tokens[:, 0]))

    told = {"score_projection": of_class_token} if score == "class_token" else {}
    with methods.LeGrad(net, list(net.encoder.layers)[-blocks:], **told) as extractor:
        theirs = extractor([0, 3], net(batch), normalized=False)[0].detach()
    assert_correlated(ours, theirs)


# ---- maps of networks


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_maps_have_the_grid_of_patches(net: nn.Module, method: MapMethod) -> None:
    record = capture(
        net,
        images(),
        [Target(name_of_last_norm(net), layout="tokens")],
        Plan(),
        classes=BestClasses(3),
    )
    maps = method(record)
    assert maps.shape == (2, 3, 4, 4)
    assert (maps >= 0).all() and (maps.amax((2, 3)) > 0).all()
    if method is attention_rollout:
        assert all(torch.equal(first, second) for first, second in pairwise(maps.unbind(1)))
        assert (maps.sum((2, 3)) < 1).all()  # the rest is the prefix tokens' share
    else:
        assert not torch.allclose(maps[:, 0], maps[:, 1])


def test_a_map_points_at_the_only_patch_with_attention() -> None:
    """The key of patch 6 answers all queries, and the patch's value makes the logit."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Look(), Look()])

        def forward(self, images: Tensor) -> Tensor:
            tokens = F.pad(F.avg_pool2d(images, 16).flatten(2).transpose(1, 2), (0, 0, 1, 0))
            for block in self.blocks:
                tokens = block(tokens)
            return tokens[:, 0]

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = x[:, None]
            return x + F.scaled_dot_product_attention(torch.ones_like(heads), heads, heads)[:, 0]

    batch = torch.zeros(1, 3, 64, 64)
    batch[:, :, 16:32, 32:48] = 2  # row 1, column 2 of the 4 x 4 patches
    net = Looks()
    record = capture(
        net, batch, [Target("blocks.1", layout="tokens")], Plan(), classes=BestClasses(1)
    )
    for method in METHODS:
        assert method(record).flatten().argmax().item() == 6
