"""Attention is what the network computes, its gradients are differences; maps from it by hand."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Plan, Probe, Record, capture
from wsol_bench.capture.backward.attention import Attention, attentions, on_grid
from wsol_bench.capture.backward.relevance import relevances
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.attention_rollout import attention_rollout
from wsol_bench.methods.base import MapMethod
from wsol_bench.methods.le_grad import le_grad
from wsol_bench.methods.transformer_attribution import transformer_attribution
from wsol_bench.models.target_layers import Target

N_CLASSES = 7
METHODS = (attention_rollout, le_grad, transformer_attribution)


def images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7))


CLASSES = torch.tensor([[0, 3], [5, 1]])


def seeded(make: Callable[[], nn.Module], scale: float = 3.0) -> nn.Module:
    """With weights so large that attention is far from uniform, and a head that is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make().eval()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if parameter.ndim == 2:
                    nn.init.normal_(parameter, std=scale / parameter.shape[1] ** 0.5)
                elif name.endswith(("class_token", "cls_token", "dist_token", "pos_embed")):
                    nn.init.normal_(parameter)
                elif name.endswith("bias"):
                    nn.init.normal_(parameter, std=0.1)
    return net


def torchvision_vit() -> nn.Module:
    return seeded(
        lambda: models.VisionTransformer(
            image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
            num_classes=N_CLASSES,
        )
    )  # fmt: skip


def timm_vit(name: str = "vit_tiny_patch16_224", depth: int = 2, **options: Any) -> nn.Module:
    small = {"img_size": 64, "embed_dim": 16, "num_heads": 2, "depth": depth}
    return seeded(lambda: timm.create_model(name, num_classes=N_CLASSES, **small, **options))


def timm_deit() -> nn.Module:
    return timm_vit("deit_tiny_distilled_patch16_224")


NETWORKS = {
    "torchvision": torchvision_vit,
    "timm": timm_vit,
    "timm distilled": timm_deit,
    "timm registers": lambda: timm_vit(reg_tokens=4, depth=3),
    "timm one block": lambda: timm_vit(depth=1),
}


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


def blocks_of(net: nn.Module) -> list[nn.Module]:
    return list(net.encoder.layers if hasattr(net, "encoder") else net.blocks)


# ---- what is recorded


def test_weights_are_those_of_the_attention_module() -> None:
    """nn.MultiheadAttention returns them when asked; its network does not ask."""
    net, found = torchvision_vit(), list[Tensor]()

    def ask(module: nn.MultiheadAttention, inputs: tuple[Tensor, ...], output: Any) -> None:
        weights = module.forward(*inputs, need_weights=True, average_attn_weights=False)[1]
        found.append(weights)

    handles = [block.self_attention.register_forward_hook(ask) for block in blocks_of(net)]
    with torch.no_grad():
        net(images())
    for handle in handles:
        handle.remove()
    for classes in (None, CLASSES):
        recorded = [block.weights for block in attentions(net, images(), classes)]
        torch.testing.assert_close(recorded, found)
    assert (found[0].amax(-1) > 0.5).any()  # not uniform: scale and softmax count


@pytest.mark.parametrize("make", [timm_vit, timm_deit])
def test_weights_are_those_of_an_attention_that_is_not_fused(
    make: Callable[[], nn.Module],
) -> None:
    net, found = make(), list[Tensor]()
    recorded = attentions(net, images())
    for block in blocks_of(net):
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, inputs, y: found.append(y))
    with torch.no_grad():
        net(images())
    torch.testing.assert_close([block.weights for block in recorded], found)


def test_the_network_computes_the_logits_it_always_does(net: nn.Module) -> None:
    with torch.no_grad():
        expected = net(images())
    seen: list[Tensor] = []
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    for classes in (None, CLASSES):
        attentions(net, images(), classes)
        torch.testing.assert_close(seen[-1][-2:], expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


class Masked(nn.Module):
    """Two blocks of bare attention under a mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Bare(options), Bare(options)])

    def forward(self, images: Tensor) -> Tensor:
        tokens = images[:, :, 0, :5].transpose(1, 2)  # 5 tokens of 3 channels
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


class Bare(nn.Module):
    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens[:, None]
        mixed = F.scaled_dot_product_attention(heads, 2 * heads, heads, **self.options)
        return tokens + mixed[:, 0]


@pytest.mark.parametrize(
    "options",
    [
        {"attn_mask": torch.tensor([[0.0, 1.0, 2.0, -1.0, -math.inf]]).expand(5, 5)},
        {"attn_mask": torch.eye(5).bool() | (torch.arange(5) == 0)},
        {"scale": 0.2},
    ],
    ids=["added", "boolean", "scale"],
)
def test_masks_and_scales_are_those_of_the_fused_function(options: dict[str, Any]) -> None:
    net, seen = Masked(**options), list[Tensor]()
    expected = net(images())
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    recorded = attentions(net, images(), torch.tensor([[0], [1]]))
    torch.testing.assert_close(seen[-1][-2:], expected)
    for block in recorded:
        torch.testing.assert_close(block.weights.sum(-1), torch.ones(2, 1, 5))
        assert not torch.allclose(block.weights, torch.full((2, 1, 5, 5), 0.2), atol=0.1)


class Asks(nn.Module):
    """Two blocks of nn.MultiheadAttention that make use of the weights it returns."""

    def __init__(self, *, average: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AskingBlock(average=average) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        tokens = images[:, 0, :5, :4]
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


class AskingBlock(nn.Module):
    def __init__(self, *, average: bool) -> None:
        super().__init__()
        self.attention, self.average = nn.MultiheadAttention(4, 2, batch_first=True), average

    def forward(self, x: Tensor) -> Tensor:
        mixed, weights = self.attention(x, x, x, average_attn_weights=self.average)
        return x + mixed + (weights if self.average else weights[:, 1]) @ x


@pytest.mark.parametrize("average", [True, False])
def test_a_network_that_asks_for_the_weights_gets_them(average: bool) -> None:
    net, seen = seeded(lambda: Asks(average=average)), list[Tensor]()
    expected = net(images())
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    attentions(net, images(), torch.tensor([[0], [1]]))
    torch.testing.assert_close(seen[-1][-2:], expected)


# ---- gradients


def explicit_logits(net: nn.Module, batch: Tensor, taken: list[Tensor], last: int) -> Tensor:
    """torchvision's vision transformer from its weights, up to block ``last``; A is taken."""
    tokens = net.conv_proj(batch).flatten(2).transpose(1, 2)
    first = net.class_token.expand(len(batch), -1, -1)
    x = torch.cat([first, tokens], dim=1) + net.encoder.pos_embedding
    for block in blocks_of(net)[: last + 1]:
        attention, normed = block.self_attention, block.ln_1(x)
        q, k, v = (
            (normed @ weight.T + bias).reshape(len(batch), -1, 2, 8).transpose(1, 2)
            for weight, bias in zip(
                attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
            )
        )
        taken.append(torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / 8**0.5, dim=-1))
        mixed = torch.einsum("bhij,bhjd->bihd", taken[-1], v).flatten(2)
        x = x + attention.out_proj(mixed)
        x = x + block.mlp(block.ln_2(x))
    return net.heads(net.encoder.ln(x)[:, 0])


def test_gradients_are_those_of_an_explicit_network() -> None:
    """In double precision, so that the two orders of the same sums differ by less than is asked."""
    net, taken = torchvision_vit().double(), list[Tensor]()
    inputs = images().double()
    logits = explicit_logits(net, inputs, taken, last=1)
    torch.testing.assert_close(logits, net(inputs), rtol=1e-9, atol=1e-9)
    recorded = attentions(net, inputs, CLASSES)
    for slot in range(2):
        score = logits.gather(1, CLASSES[:, slot, None]).sum()
        expected = torch.autograd.grad(score, taken, retain_graph=True)
        for block, gradient in zip(recorded, expected, strict=True):
            assert gradient.abs().max() > 0.01
            found = block.gradients[:, slot].double()  # recorded in float32
            torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-7)


def test_layer_gradients_are_those_of_a_network_that_ends_with_the_layer() -> None:
    net = torchvision_vit()
    recorded = attentions(net, images(), CLASSES)
    for last, block in enumerate(recorded):
        taken: list[Tensor] = []
        scores = explicit_logits(net, images(), taken, last)
        for slot in range(2):
            score = scores.gather(1, CLASSES[:, slot, None]).sum()
            (gradient,) = torch.autograd.grad(score, taken[last], retain_graph=True)
            assert gradient[:, :, :1].abs().max() > 0.01
            assert not gradient[:, :, 1:].any()  # the rows that are not recorded
            torch.testing.assert_close(
                block.layer_gradients[:, slot], gradient[:, :, :1], rtol=1e-4, atol=1e-5
            )


class Nudge(nn.Module):
    """Adds to one entry of what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.by, self.at = 0.0, (0, 0, 0)

    def forward(self, weights: Tensor) -> Tensor:
        nudged = weights.clone()
        nudged[(slice(None), *self.at)] += self.by
        return nudged


@pytest.mark.parametrize("make", [timm_vit, timm_deit, NETWORKS["timm registers"]])
def test_gradients_are_differences_of_logits(make: Callable[[], nn.Module]) -> None:
    net = make().double()
    n_prefix = net.num_prefix_tokens
    recorded = attentions(net, images().double(), CLASSES)
    all_blocks = net.blocks
    nudges = [Nudge() for _ in all_blocks]
    for block, nudge in zip(all_blocks, nudges, strict=True):
        block.attn.fused_attn, block.attn.attn_drop = False, nudge

    def difference(nudge: Nudge, at: tuple[int, int, int]) -> Tensor:
        scores, nudge.at = [], at
        with torch.no_grad():
            for nudge.by in (1e-5, -1e-5):
                scores.append(net(images().double()).gather(1, CLASSES))
        nudge.by = 0.0
        return ((scores[0] - scores[1]) / 2e-5).float()

    for number, (block, nudge) in enumerate(zip(recorded, nudges, strict=True)):
        for at in [(0, 0, 0), (1, 0, n_prefix), (1, 0, 9), (0, n_prefix - 1, 4), (1, 7, 3)]:
            net.blocks = all_blocks
            expected = difference(nudge, at)
            found = block.gradients[(slice(None), slice(None), *at)]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
            net.blocks = all_blocks[: number + 1]
            expected = difference(nudge, at)
            if at[1] < n_prefix:
                found = block.layer_gradients[(slice(None), slice(None), *at)]
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
            else:
                assert not expected.any()


# ---- invariances


def test_an_image_does_not_depend_on_its_batch(net: nn.Module) -> None:
    together = attentions(net, images(), CLASSES)
    for index in range(2):
        alone = attentions(net, images()[index : index + 1], CLASSES[index : index + 1])
        for one, both in zip(alone, together, strict=True):
            for part, whole in zip(one, both, strict=True):
                torch.testing.assert_close(part[0], whole[index], rtol=1e-4, atol=1e-5)


def test_slots_do_not_depend_on_their_order(net: nn.Module) -> None:
    there, back = (attentions(net, images(), classes) for classes in (CLASSES, CLASSES.flip(1)))
    for one, other in zip(there, back, strict=True):
        torch.testing.assert_close(one.gradients, other.gradients.flip(1))
        torch.testing.assert_close(one.layer_gradients, other.layer_gradients.flip(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [torchvision_vit, lambda: Masked()], ids=["conv", "view"])
def test_the_callers_gradient_mode_does_not_matter(
    mode: Callable[[], Any], make: Callable[[], nn.Module]
) -> None:
    net, some = make(), torch.tensor([[0, 2], [2, 1]])
    expected = attentions(net, images(), some)
    with mode():
        batch, classes = images(), some.clone()  # inference tensors, where it applies
        found = attentions(net, batch, classes)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    torch.testing.assert_close(found, expected)


def test_it_runs_in_evaluation_mode() -> None:
    net = timm_vit(drop_rate=0.5, proj_drop_rate=0.5)
    expected = attentions(net, images(), CLASSES)
    torch.testing.assert_close(attentions(net.train(), images(), CLASSES), expected)


class InPlace(Masked):
    """Doubles tokens in place, before each block and before the head."""

    def __init__(self, *, really: bool) -> None:
        super().__init__()
        self.really = really
        for block in self.blocks:
            block.register_forward_pre_hook(lambda module, inputs: (self.doubled(*inputs),))

    def doubled(self, tokens: Tensor) -> Tensor:
        return tokens.mul_(2) if self.really else tokens * 2

    def forward(self, images: Tensor) -> Tensor:
        tokens = 0.1 * images[:, :, 0, :5].transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.doubled(tokens)[:, 0]


@pytest.mark.parametrize("classes", [None, torch.tensor([[0], [1]])], ids=["weights", "gradients"])
def test_work_in_place_does_not_matter(classes: Tensor | None) -> None:
    there, here = (attentions(InPlace(really=it), images(), classes) for it in (True, False))
    torch.testing.assert_close(there, here)


def test_a_frozen_network_has_gradients_too() -> None:
    net = timm_vit()
    expected = attentions(net, images(), CLASSES)
    torch.testing.assert_close(attentions(net.requires_grad_(False), images(), CLASSES), expected)


# ---- the network comes back as it was


def state_of(net: nn.Module) -> list[Any]:
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in net.modules()
    ]
    parameters = [(p.requires_grad, p.grad is None, p.clone()) for p in net.parameters()]
    flags = [torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()]
    n_modes = torch._C._len_torch_function_stack()
    return [modules, flags, n_modes, *(part for each in parameters for part in each)]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


class FailsAt(nn.Module):
    """A head that fails the n-th time."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def forward(self, tokens: Tensor) -> Tensor:
        self.left -= 1
        if not self.left:
            raise RuntimeError("the head fails")
        return tokens[:, :N_CLASSES]


@pytest.mark.parametrize("classes", [None, CLASSES], ids=["weights", "gradients"])
def test_the_network_comes_back_as_it_was(net: nn.Module, classes: Tensor | None) -> None:
    net.train()
    blocks_of(net)[0].eval()
    next(net.parameters()).requires_grad_(False)
    before = state_of(net)
    attentions(net, images(), classes)
    assert same(state_of(net), before)
    for n in (1, 2):
        if hasattr(net, "heads"):
            net.heads = FailsAt(n)
        else:
            net.head = FailsAt(n)
        net.train()
        before = state_of(net)
        with pytest.raises(RuntimeError, match="the head fails"):
            attentions(net, images(), classes)
        assert same(state_of(net), before)


# ---- refusals


def small_swin() -> nn.Module:
    return timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2)


def fused_swin() -> nn.Module:
    net = small_swin()
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True
    return net


REFUSED = {
    "ResNet: .*no attention at all": lambda: models.resnet18(),
    "SwinTransformer: .*no attention at all": lambda: models.swin_t(),
    "SwinTransformer: .*for one image: windows": fused_swin,
    "VisionTransformer: .*a head that pools the patch tokens": lambda: timm_vit(global_pool="avg"),
    "VisionTransformer: .*not a square number": lambda: timm_vit(
        class_token=False, global_pool="avg", no_embed_class=True
    ),
    "VisionTransformer: .*more than one attention a block": lambda: seeded(
        lambda: timm.create_model("vit_small_patch16_18x2_224", img_size=64, depth=2, embed_dim=96)
    ),
    "Masked: .*causal": lambda: Masked(is_causal=True),
    "Masked: .*dropout": lambda: Masked(dropout_p=0.5),
}


@pytest.mark.parametrize("message", REFUSED)
def test_other_networks_are_refused_by_name(message: str) -> None:
    net = REFUSED[message]()
    for classes in (None, CLASSES):
        with pytest.raises(NotApplicableError, match=message):
            attentions(net, images(), classes)


class Crossed(nn.Module):
    """nn.MultiheadAttention as no vision transformer uses it."""

    def __init__(self, options: dict[str, Any], call: dict[str, Any], *, other: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)
        self.call, self.other = call, other

    def forward(self, images: Tensor) -> Tensor:
        tokens = images[:, 0, :5, :4]
        keys = tokens + 1 if self.other else tokens
        return self.attention(tokens, keys, keys, **self.call)[0][:, 0]


@pytest.mark.parametrize(
    ("options", "call", "other", "message"),
    [
        ({}, {}, True, "different queries, keys and values"),
        ({"add_bias_kv": True}, {}, False, "a key or value bias"),
        ({"add_zero_attn": True}, {}, False, "add_zero_attn"),
        ({"kdim": 4, "vdim": 4}, {"attn_mask": torch.zeros(5, 5)}, False, "with attn_mask"),
        ({}, {"key_padding_mask": torch.zeros(1, 5)}, False, "with key_padding_mask"),
    ],
)
def test_other_forms_of_multihead_attention_are_refused_by_name(
    options: dict[str, Any], call: dict[str, Any], other: bool, message: str
) -> None:
    with pytest.raises(NotApplicableError, match=f"Crossed: .*MultiheadAttention.*{message}"):
        attentions(Crossed(options, call, other=other), images(1))


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
    """Each positive product takes its part of all positive products, one by one."""
    products = (x[..., None, :] * weight).clamp(min=0)
    return (products * divided(R, products.sum(-1))[..., None]).sum(-2)


def by_sum(R: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    a, b = by_product(R, torch.add, x, y)
    both = a.sum().abs() + b.sum().abs()
    return [part * (part.sum().abs() / both * R.sum() / part.sum()) for part in (a, b)]


@torch.no_grad()
def explicit_relevance(net: nn.Module, image: Tensor, target: int) -> list[Tensor]:
    """Layer by layer through torchvision's vision transformer, of one image and one class."""
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
    found = []
    with torch.enable_grad():
        for block, x, n1, q, k, v, A, mixed, o, n2, hidden, f in reversed(passed):
            R, part = by_sum(R, x + o, f)
            R = R + by_linear(by_linear(part, hidden, block.mlp[3].weight), n2, block.mlp[0].weight)
            R, part = by_sum(R, x, o)
            part = by_linear(part, mixed, block.self_attention.out_proj.weight)
            part = part.reshape(17, 2, 8).transpose(0, 1)
            of_A, of_v = (each / 2 for each in by_product(part, torch.matmul, A, v))
            found.append(of_A)
            of_q, of_k = (each / 2 for each in by_product(of_A, lambda q, k: q @ k.mT, q, k))
            of_qkv = torch.stack([of_q, of_k, of_v]).permute(2, 0, 1, 3).reshape(1, 17, 48)
            R = R + by_linear(of_qkv, n1, block.self_attention.in_proj_weight)
    return found[::-1]


def test_relevance_is_that_of_an_explicit_network() -> None:
    net, batch = torchvision_vit().double(), images().double()
    recorded = relevances(net, batch, CLASSES)
    for index in range(2):
        for slot in range(2):
            expected = explicit_relevance(net, batch[index, None], int(CLASSES[index, slot]))
            for found, relevance in zip(recorded, expected, strict=True):
                assert relevance.abs().max() > 1e-3
                torch.testing.assert_close(
                    found[index, slot], relevance.float(), rtol=1e-4, atol=1e-6
                )


def test_attribution_by_relevance_takes_it_in_the_place_of_attention(net: nn.Module) -> None:
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
        (lambda: timm_vit(act_layer=nn.SiLU), "VisionTransformer: .*silu, which has no rule"),
        (lambda: timm_vit(mlp_layer=timm.layers.GluMlp), "VisionTransformer: .*has no rule"),
        (lambda: Masked(attn_mask=torch.zeros(5, 5)), "Masked: .*a mask, which has no rule"),
        (models.resnet18, "ResNet: .*no attention at all"),
    ],
)
def test_what_has_no_rule_of_relevance_is_refused_by_name(
    make: Callable[[], nn.Module], message: str
) -> None:
    net = make()
    before = state_of(net)
    with pytest.raises(NotApplicableError, match=message):
        relevances(net, images(), CLASSES)
    assert same(state_of(net), before)


# ---- maps by hand


class Known(Probe):
    """Knows what the attention is."""

    def __init__(self, blocks: list[Attention]) -> None:
        super().__init__(nn.Identity(), torch.zeros(1, 3, 1, 1), [Target("")])
        self.blocks = blocks

    def attention(self, classes: Tensor) -> list[Attention]:
        return self.blocks


def record_of(*blocks: Attention, k: int = 1) -> Record:
    return Record(torch.zeros(1, 9), torch.arange(k)[None], (), _probe=Known(list(blocks)))


def block(
    heads: list[Any], gradients: list[Any] | None = None, layer: list[Any] | None = None
) -> Attention:
    """One image; gradients of each slot."""
    return Attention(
        torch.tensor(heads)[None],
        None if gradients is None else torch.tensor(gradients)[None],
        None if layer is None else torch.tensor(layer)[None],
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
        # half of it and half of the identity, rows in units of their sums.
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


def test_patches_come_last_in_rows_of_the_image() -> None:
    assert on_grid(torch.tensor([8.0, 9.0, 0, 1, 2, 3])).tolist() == [[0, 1], [2, 3]]


# ---- maps of networks


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_maps_stand_on_the_grid_of_patches(net: nn.Module, method: MapMethod) -> None:
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
        assert all(torch.equal(one, other) for one, other in pairwise(maps.unbind(1)))
        assert (maps.sum((2, 3)) < 1).all()  # the rest is the prefix tokens' share
    else:
        assert not torch.allclose(maps[:, 0], maps[:, 1])


def name_of_last_norm(net: nn.Module) -> str:
    return next(
        name
        for name, module in net.named_modules()
        if module is (blocks_of(net)[-1].ln_1 if hasattr(net, "encoder") else net.blocks[-1].norm1)
    )


def test_a_map_points_at_the_one_patch_that_is_looked_at() -> None:
    """Keys of patch 6 answer to each query, and its value makes the logit."""

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
