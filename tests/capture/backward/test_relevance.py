"""Relevance by LRP through a transformer, against the rules written out layer by layer."""

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from attention_networks import (
    CLASSES,
    N_CLASSES,
    NETWORKS,
    Masked,
    blocks_of,
    name_of_last_norm,
    timm_vit,
    torchvision_vit,
)
from networks import images
from torch import Tensor, nn
from torchvision import models
from traces import unchanged

from wsol_bench.capture import Plan, capture
from wsol_bench.capture.backward.relevance import relevances
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.transformer_attribution import transformer_attribution
from wsol_bench.models.target_layers import Target


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


# ---- relevance


def divided(a: Tensor, b: Tensor) -> Tensor:
    return a / (b.clamp(min=1e-9) + b.clamp(max=1e-9))


def by_product(R: Tensor, function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """x * dz / dx by autograd, as the authors write it."""
    leaves = [each.detach().requires_grad_() for each in inputs]
    z = function(*leaves)
    gradients = torch.autograd.grad(z, leaves, divided(R, z.detach()))
    return [x.detach() * g for x, g in zip(leaves, gradients, strict=True)]


def by_linear(R: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Each positive product takes its share of the sum of positive products, one by one."""
    products = (x[..., None, :] * weight).clamp(min=0)
    return (products * divided(R, products.sum(-1))[..., None]).sum(-2)


def by_sum(R: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    a, b = by_product(R, torch.add, x, y)
    both = a.sum().abs() + b.sum().abs()
    return [part * (part.sum().abs() / both * R.sum() / part.sum()) for part in (a, b)]


@torch.no_grad()
def explicit_relevance(net: nn.Module, image: Tensor, target: int) -> list[Tensor]:
    """Relevance written out layer by layer, for one image and one class."""
    tokens = net.conv_proj(image).flatten(2).transpose(1, 2)
    x = torch.cat([net.class_token, tokens], dim=1) + net.encoder.pos_embedding
    passed = []
    for block in blocks_of(net):
        attention, n1 = block.self_attention, block.ln_1(x)
        qkv = F.linear(n1, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = qkv.reshape(17, 3, 2, 8).permute(1, 2, 0, 3)
        A = torch.softmax(q @ k.mT / 8**0.5, dim=-1)
        mixed = (A @ v).transpose(0, 1).reshape(1, 17, 16)
        o = attention.out_proj(mixed)
        n2 = block.ln_2(x + o)
        hidden = block.mlp[1](block.mlp[0](n2))
        f = block.mlp[3](hidden)
        passed.append((block, x, n1, q, k, v, A, mixed, o, n2, hidden, f))
        x = x + o + f
    R = torch.zeros_like(x)
    one_hot = F.one_hot(torch.tensor(target), N_CLASSES).to(x)
    R[:, 0] = by_linear(one_hot, net.encoder.ln(x)[0, 0], net.heads.head.weight)
    collected = []
    with torch.enable_grad():
        for block, x, n1, q, k, v, A, mixed, o, n2, hidden, f in reversed(passed):
            R, part = by_sum(R, x + o, f)
            R = R + by_linear(by_linear(part, hidden, block.mlp[3].weight), n2, block.mlp[0].weight)
            R, part = by_sum(R, x, o)
            part = by_linear(part, mixed, block.self_attention.out_proj.weight)
            part = part.reshape(17, 2, 8).transpose(0, 1)
            of_A, of_v = (each / 2 for each in by_product(part, torch.matmul, A, v))
            collected.append(of_A)
            of_q, of_k = (each / 2 for each in by_product(of_A, lambda q, k: q @ k.mT, q, k))
            of_qkv = torch.stack([of_q, of_k, of_v]).permute(2, 0, 1, 3).reshape(1, 17, 48)
            R = R + by_linear(of_qkv, n1, block.self_attention.in_proj_weight)
    return collected[::-1]


def test_relevance_equals_that_of_an_explicit_network() -> None:
    net, batch = torchvision_vit().double(), images().double()
    recorded = relevances(net, batch, CLASSES)
    for index in range(2):
        for slot in range(2):
            expected = explicit_relevance(net, batch[index, None], int(CLASSES[index, slot]))
            for actual, relevance in zip(recorded, expected, strict=True):
                assert relevance.abs().max() > 1e-3
                torch.testing.assert_close(
                    actual[index, slot], relevance.float(), rtol=1e-4, atol=1e-6
                )


def test_attribution_by_relevance_uses_relevance_in_place_of_attention(net: nn.Module) -> None:
    layer = Target(name_of_last_norm(net), layout="tokens")
    record = capture(net, images(), [layer], Plan(), classes=CLASSES)
    maps = transformer_attribution.function(record, relevance="lrp")
    rollout = torch.eye(record.probe.attention(CLASSES)[0].weights.shape[-1])
    for block, relevance in zip(
        record.probe.attention(CLASSES), relevances(net, images(), CLASSES), strict=True
    ):
        rollout = rollout + (block.gradients * relevance).clamp(min=0).mean(2) @ rollout
    assert (maps.amax((2, 3)) > 0).all()
    torch.testing.assert_close(maps, rollout[:, :, 0, -16:].unflatten(-1, (4, 4)))
    assert not torch.allclose(maps, transformer_attribution.function(record, relevance="attention"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: timm_vit(act_layer=nn.SiLU), "silu, which has no rule"),
        (lambda: timm_vit(mlp_layer=timm.layers.GluMlp), "has no rule"),
        (lambda: Masked(attn_mask=torch.zeros(5, 5)), "a mask, which has no rule"),
        (models.resnet18, "no attention at all"),
    ],
    ids=["silu", "gated", "mask", "no attention"],
)
def test_an_operation_without_a_rule_of_relevance_is_refused_by_name(
    make: Callable[[], nn.Module], message: str
) -> None:
    net = make()
    with unchanged(net), pytest.raises(NotApplicableError, match=message):
        relevances(net, images(), CLASSES)
