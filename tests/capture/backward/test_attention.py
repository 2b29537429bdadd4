"""Attention is what the network computes; its gradients are differences of logits."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from attention_networks import (
    CLASSES,
    N_CLASSES,
    NETWORKS,
    Masked,
    blocks_of,
    sharp,
    timm_vit,
    torchvision_vit,
    toy_tokens,
)
from networks import images, seeded
from torch import Tensor, nn
from torchvision import models
from traces import unchanged

from wsol_bench.capture.backward.attention import Attention, attentions
from wsol_bench.errors import NotApplicableError
from wsol_bench.models.target_layers import TokenGrid


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


# ---- what is recorded


def test_weights_equal_those_of_the_attention_module() -> None:
    """nn.MultiheadAttention returns its weights if asked; the network does not ask."""
    net, collected = torchvision_vit(), list[Tensor]()

    def ask(module: nn.MultiheadAttention, inputs: tuple[Tensor, ...], output: Any) -> None:
        weights = module.forward(*inputs, need_weights=True, average_attn_weights=False)[1]
        collected.append(weights)

    handles = [block.self_attention.register_forward_hook(ask) for block in blocks_of(net)]
    with torch.no_grad():
        net(images())
    for handle in handles:
        handle.remove()
    for classes in (None, CLASSES):
        recorded = [block.weights for block in attentions(net, images(), classes)]
        torch.testing.assert_close(recorded, collected)
    assert (collected[0].amax(-1) > 0.5).any()  # not uniform: scale and softmax count


@pytest.mark.parametrize("name", ["timm", "timm distilled"])
def test_weights_equal_those_of_an_attention_that_is_not_fused(name: str) -> None:
    net, collected = NETWORKS[name](), list[Tensor]()
    recorded = attentions(net, images())
    for block in blocks_of(net):
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, inputs, y: collected.append(y))
    with torch.no_grad():
        net(images())
    torch.testing.assert_close([block.weights for block in recorded], collected)


def test_the_logits_of_the_network_do_not_change(net: nn.Module) -> None:
    with torch.no_grad():
        expected = net(images())
    seen: list[Tensor] = []
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    for classes in (None, CLASSES):
        attentions(net, images(), classes)
        torch.testing.assert_close(seen[-1][-2:], expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"attn_mask": torch.tensor([[0.0, 1.0, 2.0, -1.0, -math.inf]]).expand(5, 5)},
        {"attn_mask": torch.eye(5).bool() | (torch.arange(5) == 0)},
        {"scale": 0.2},
    ],
    ids=["added", "boolean", "scale"],
)
def test_masks_and_scales_act_as_in_the_fused_function(options: dict[str, Any]) -> None:
    net, seen = Masked(**options), list[Tensor]()
    expected = net(images())
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    recorded = attentions(net, images(), torch.tensor([[0], [1]]))
    torch.testing.assert_close(seen[-1][-2:], expected)
    for block in recorded:
        torch.testing.assert_close(block.weights.sum(-1), torch.ones(2, 1, 5))
        assert not torch.allclose(block.weights, torch.full((2, 1, 5, 5), 0.2), atol=0.1)


class Asks(nn.Module):
    """A network of two blocks of nn.MultiheadAttention that use the returned weights."""

    def __init__(self, *, average: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AskingBlock(average=average) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        tokens = toy_tokens(images)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


class AskingBlock(nn.Module):
    def __init__(self, *, average: bool) -> None:
        super().__init__()
        self.attention, self.average = nn.MultiheadAttention(3, 3, batch_first=True), average

    def forward(self, x: Tensor) -> Tensor:
        mixed, weights = self.attention(x, x, x, average_attn_weights=self.average)
        return x + mixed + (weights if self.average else weights[:, 1]) @ x


@pytest.mark.parametrize("average", [True, False])
def test_a_network_that_asks_for_its_attention_weights_gets_them(average: bool) -> None:
    net, seen = sharp(lambda: Asks(average=average)), list[Tensor]()
    expected = net(images())
    net.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    attentions(net, images(), torch.tensor([[0], [1]]))
    torch.testing.assert_close(seen[-1][-2:], expected)


# ---- gradients


def explicit_logits(
    net: nn.Module, batch: Tensor, taken: list[Tensor], last: int, score: str = "class_token"
) -> Tensor:
    """torchvision's vision transformer written out, up to block ``last``; A goes into ``taken``.

    The head reads the class token, or the mean of all tokens as in the code of LeGrad for CLIP.
    """
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
    return net.heads(net.encoder.ln(x[:, 0] if score == "class_token" else x.mean(1)))


def test_gradients_equal_those_of_an_explicit_network() -> None:
    """In double precision: two orders of the same sums differ by less than the tolerance."""
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
            collected = block.gradients[:, slot].double()  # recorded in float32
            torch.testing.assert_close(collected, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("score", "rows"), [("class_token", 1), ("mean_tokens", 17)])
def test_layer_gradients_equal_those_of_a_network_that_ends_with_the_layer(
    score: Any, rows: int
) -> None:
    net = torchvision_vit()
    recorded = attentions(net, images(), CLASSES, layer_score=score)
    for last, block in enumerate(recorded):
        taken: list[Tensor] = []
        scores = explicit_logits(net, images(), taken, last, score)
        for slot in range(2):
            one = scores.gather(1, CLASSES[:, slot, None]).sum()
            (gradient,) = torch.autograd.grad(one, taken[last], retain_graph=True)
            assert gradient[:, :, :rows].abs().amax((0, 1, 3)).min() > 1e-4
            assert not gradient[:, :, rows:].any()  # the rows that are not recorded
            torch.testing.assert_close(
                block.layer_gradients[:, slot], gradient[:, :, :rows], rtol=1e-4, atol=1e-5
            )


def test_how_a_layer_is_scored_does_not_change_the_gradients_of_the_logits(net: nn.Module) -> None:
    first = attentions(net, images(), CLASSES)
    second = attentions(net, images(), CLASSES, layer_score="mean_tokens")
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.gradients, other.gradients, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(
            one.layer_gradients.sum(-2), other.layer_gradients.sum(-2), atol=1e-3
        )


class Nudge(nn.Module):
    """A module that adds a number to one entry of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.by, self.at = 0.0, (0, 0, 0)

    def forward(self, weights: Tensor) -> Tensor:
        nudged = weights.clone()
        nudged[(slice(None), *self.at)] += self.by
        return nudged


@pytest.mark.parametrize("name", ["timm", "timm distilled", "timm registers"])
def test_gradients_are_differences_of_logits(name: str) -> None:
    net = NETWORKS[name]().double()
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
            actual = block.gradients[(slice(None), slice(None), *at)]
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)
            net.blocks = all_blocks[: number + 1]
            expected = difference(nudge, at)
            if at[1] < n_prefix:
                actual = block.layer_gradients[(slice(None), slice(None), *at)]
                torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)
            else:
                assert not expected.any()


# ---- invariances


def test_an_image_does_not_depend_on_its_batch(net: nn.Module) -> None:
    together = attentions(net, images(), CLASSES)
    for index in range(2):
        alone = attentions(net, images()[index : index + 1], CLASSES[index : index + 1])
        for block_alone, block in zip(alone, together, strict=True):
            for tensor_alone, tensor in zip(block_alone, block, strict=True):
                torch.testing.assert_close(tensor_alone[0], tensor[index], rtol=1e-4, atol=1e-5)


def test_slots_do_not_depend_on_their_order(net: nn.Module) -> None:
    blocks = attentions(net, images(), CLASSES)
    flipped = attentions(net, images(), CLASSES.flip(1))
    for block, turned in zip(blocks, flipped, strict=True):
        torch.testing.assert_close(block.gradients, turned.gradients.flip(1))
        torch.testing.assert_close(block.layer_gradients, turned.layer_gradients.flip(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [torchvision_vit, lambda: Masked()], ids=["conv", "view"])
def test_the_callers_gradient_mode_does_not_matter(
    mode: Callable[[], Any], make: Callable[[], nn.Module]
) -> None:
    net, some = make(), torch.tensor([[0, 2], [2, 1]])
    expected = attentions(net, images(), some)
    with mode():
        batch, classes = images(), some.clone()  # inference tensors, where it applies
        actual = attentions(net, batch, classes)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    torch.testing.assert_close(actual, expected)


def test_the_network_runs_in_evaluation_mode() -> None:
    net = timm_vit(drop_rate=0.5, proj_drop_rate=0.5)
    expected = attentions(net, images(), CLASSES)
    torch.testing.assert_close(attentions(net.train(), images(), CLASSES), expected)


class InPlace(Masked):
    """A network that doubles tokens in place, before each block and before the head."""

    def __init__(self, *, really: bool) -> None:
        super().__init__()
        self.really = really
        for block in self.blocks:
            block.register_forward_pre_hook(lambda module, inputs: (self.doubled(*inputs),))

    def doubled(self, tokens: Tensor) -> Tensor:
        return tokens.mul_(2) if self.really else tokens * 2

    def forward(self, images: Tensor) -> Tensor:
        tokens = 0.1 * toy_tokens(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.doubled(tokens)[:, 0]


@pytest.mark.parametrize("classes", [None, torch.tensor([[0], [1]])], ids=["weights", "gradients"])
def test_work_in_place_does_not_matter(classes: Tensor | None) -> None:
    in_place = attentions(InPlace(really=True), images(), classes)
    out_of_place = attentions(InPlace(really=False), images(), classes)
    torch.testing.assert_close(in_place, out_of_place)


def test_a_frozen_network_has_the_same_gradients() -> None:
    net = timm_vit()
    expected = attentions(net, images(), CLASSES)
    torch.testing.assert_close(attentions(net.requires_grad_(False), images(), CLASSES), expected)


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
def test_the_network_is_left_unchanged(net: nn.Module, classes: Tensor | None) -> None:
    net.train()
    blocks_of(net)[0].eval()
    next(net.parameters()).requires_grad_(False)
    with unchanged(net):
        attentions(net, images(), classes)
    for n in (1, 2):
        if hasattr(net, "heads"):
            net.heads = FailsAt(n)
        else:
            net.head = FailsAt(n)
        net.train()
        with unchanged(net), pytest.raises(RuntimeError, match="the head fails"):
            attentions(net, images(), classes)


# ---- refusals


def timm_swin() -> nn.Module:
    return timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2)


def fused_swin() -> nn.Module:
    net = timm_swin()
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True
    return net


REFUSED: list[tuple[str, Any]] = [
    ("no attention at all", lambda: models.resnet18()),
    ("no attention at all", lambda: models.swin_t()),
    ("for one image: windows", fused_swin),
    ("a head that pools the patch tokens", lambda: timm_vit(global_pool="avg")),
    (
        "16 patches from token 0 on, of 16 tokens",
        lambda: timm_vit(class_token=False, global_pool="avg", no_embed_class=True),
    ),
    (
        "more than one attention a block",
        lambda: seeded(
            lambda: timm.create_model(
                "vit_small_patch16_18x2_224", img_size=64, depth=2, embed_dim=96
            )
        ),
    ),
    ("causal", lambda: Masked(is_causal=True)),
    ("dropout", lambda: Masked(dropout_p=0.5)),
]


@pytest.mark.parametrize(("message", "make"), REFUSED, ids=[message for message, _ in REFUSED])
def test_other_networks_are_refused_with_a_reason(message: str, make: Any) -> None:
    net = make()
    for classes in (None, CLASSES):
        with pytest.raises(NotApplicableError, match=message):
            attentions(net, images(), classes)


class Crossed(nn.Module):
    """A network that uses nn.MultiheadAttention as no vision transformer does."""

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
    with pytest.raises(NotApplicableError, match=f"MultiheadAttention.*{message}"):
        attentions(Crossed(options, call, other=other), images(1))


def test_patches_are_laid_out_row_by_row() -> None:
    block = Attention(torch.empty(0), None, None, TokenGrid(2, 3, 1))
    tokens = torch.tensor([8.0, 0, 1, 2, 3, 4, 5])
    assert block.on_grid(tokens).tolist() == [[0, 1, 2], [3, 4, 5]]
