"""Maps of functions of a network's output, beside plain autograd and pytorch-grad-cam."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from networks import FeaturesAndHead, images, seeded
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import (
    BinaryClassifierOutputTarget,
    SemanticSegmentationTarget,
)
from torch import Tensor, nn
from traces import unchanged

from wsol_bench import localization_maps
from wsol_bench.errors import ConfigError, ModelError, NotApplicableError

LAYER = "features.3"


def features() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 5, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def segmenter() -> nn.Module:
    """Scores of four classes at every position of the layer: (batch, 4, 32, 32)."""
    return seeded(lambda: FeaturesAndHead(features(), nn.Conv2d(5, 4, 5, padding=2)))


def embedder(n: int = 7) -> nn.Module:
    def build() -> nn.Module:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, n), nn.Tanh())
        return FeaturesAndHead(features(), head)

    return seeded(build)


MASK = torch.zeros(32, 32)
MASK[5:20, 3:9] = 1
REFERENCE = torch.linspace(-1, 2, 7)
Target = Callable[[Any], Tensor]
# A network, and a target of its output.
CASES: dict[str, tuple[Callable[[], nn.Module], Target]] = {
    "a class over a mask": (segmenter, lambda scores: (scores[:, 2] * MASK).sum((1, 2))),
    "cosine similarity": (
        embedder,
        lambda embeddings: torch.cosine_similarity(embeddings, REFERENCE, dim=1),
    ),
    "a difference of classes": (embedder, lambda scores: scores[:, 1] - scores[:, 3]),
    "a log probability": (embedder, lambda scores: scores.log_softmax(1)[:, 1]),
    "a norm": (embedder, lambda scores: scores.norm(dim=1)),
}


def by_hand(net: nn.Module, target: Target, batch: Tensor) -> Tensor:
    """Grad-CAM by plain autograd: ReLU of the sum of the channels, weighed by mean gradients."""
    activations = net.features(batch).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(target(net.head(activations)).sum(), activations)
    alpha = gradient.mean((2, 3), keepdim=True)
    return (alpha * activations).sum(1).relu().detach()


@pytest.mark.parametrize("case", CASES)
def test_grad_cam_of_a_function_is_that_of_plain_autograd(case: str) -> None:
    build, target = CASES[case]
    net, batch = build(), images()
    with unchanged(net):
        maps = localization_maps(net, batch, layer=LAYER, targets=target)["grad_cam"]
    expected = by_hand(net, target, batch)
    assert expected.any()
    torch.testing.assert_close(maps, expected[:, None], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_score_cam_and_ablation_cam_of_a_function_are_those_of_their_equations(case: str) -> None:
    build, target = CASES[case]
    net, batch = build(), images(1)
    maps = localization_maps(net, batch, ["score_cam", "ablation_cam"], layer=LAYER, targets=target)
    with torch.no_grad():
        activations = net.features(batch)
        score = target(net(batch))
        drops, masked = [], []
        for channel in range(activations.shape[1]):
            without = activations.clone()
            without[:, channel] = 0
            drops.append((score - target(net.head(without))) / score.abs())
            mask = nn.functional.interpolate(activations[:, channel, None], 64, mode="bilinear")
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            masked.append(target(net(batch * mask)))
    ablation = torch.einsum("cb,bchw->bhw", torch.stack(drops), activations).relu()
    weights = torch.stack(masked).softmax(0)
    scored = torch.einsum("cb,bchw->bhw", weights, activations).relu()
    torch.testing.assert_close(maps["ablation_cam"][:, 0], ablation, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(maps["score_cam"][:, 0], scored, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", ["a class over a mask", "cosine similarity", "one logit"])
def test_grad_cam_is_that_of_pytorch_grad_cam(case: str) -> None:
    """Its maps are scaled to 0..1 by their extrema, at the size of the input."""

    class Similarity:
        def __call__(self, embedding: Tensor) -> Tensor:
            return torch.cosine_similarity(embedding, REFERENCE, dim=0)

    theirs: Any
    target: Any
    if case == "a class over a mask":
        net, theirs = segmenter(), SemanticSegmentationTarget(2, MASK.numpy())
        target = CASES[case][1]
    elif case == "one logit":  # the negative class is explained by -y in both
        net, theirs, target = embedder(1), BinaryClassifierOutputTarget(0), 0
    else:
        net, theirs, target = embedder(), Similarity(), CASES[case][1]
    [image] = images(1)
    [map_] = localization_maps(net, image[None], layer=LAYER, targets=target)["grad_cam"][0]
    with GradCAM(net, [net.features[3]]) as cam:
        [expected] = cam(image[None], [theirs])
    large = nn.functional.interpolate(map_[None, None], 64, mode="bilinear")[0, 0].numpy()
    assert np.corrcoef(large.ravel(), expected.ravel())[0, 1] > 0.99


def test_classes_and_functions_may_be_mixed() -> None:
    net = embedder()
    norm = CASES["a norm"][1]
    mixed = localization_maps(net, images(), layer=LAYER, targets=[3, norm, 0])["grad_cam"]
    classes = localization_maps(net, images(), layer=LAYER, targets=[3, 0])["grad_cam"]
    alone = localization_maps(net, images(), layer=LAYER, targets=norm)["grad_cam"]
    torch.testing.assert_close(mixed, torch.cat([classes[:, :1], alone, classes[:, 1:]], dim=1))


def test_one_class_is_a_target_too() -> None:
    one, listed = (
        localization_maps(embedder(), images(), layer=LAYER, targets=targets)["grad_cam"]
        for targets in (3, [3])
    )
    torch.testing.assert_close(one, listed)


@pytest.mark.parametrize(
    "method",
    [
        "cam",
        "finer_cam",
        "rise",
        "occlusion",
        "score_cam_authors",
        "ts_cam",
        "pytorch_grad_cam/FinerCAM",
    ],
)  # fmt: skip
def test_methods_that_need_classes_do_not_apply_to_a_function(method: str) -> None:
    net = seeded(
        lambda: FeaturesAndHead(
            features(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
        )
    )
    options = {"layer": LAYER, "head": "head.2"}
    with pytest.raises(NotApplicableError, match="a target is a function of the network's output"):
        localization_maps(net, images(), method, targets=lambda scores: scores[:, 0], **options)
    if method != "ts_cam":
        localization_maps(net, images(), method, targets=0, **options)


def test_a_function_of_no_gradient_is_a_target_of_methods_that_need_none() -> None:
    def rounded(scores: Tensor) -> Tensor:
        return scores[:, 0].detach().round(decimals=1)

    maps = localization_maps(embedder(), images(), "score_cam", layer=LAYER, targets=rounded)
    assert maps["score_cam"].any()


PIXELS = torch.ones(2, 32, 32)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda out: out, r"target '<lambda>': expected one number for each image.*found shape"),
        (lambda out: out.sum(), r"of shape \(batch,\), .*found shape \(\)"),
        (lambda out: out[:1, 0, 0, 0], r"found shape \(1,\)"),
        (lambda out: out[:, 0, 0, 0].long(), "found .*int64"),
        (lambda out: 3.0, "found float"),
        (lambda out: out["logits"], r"fails on the network's output.*The output was shape"),
        (lambda out: out[:, 0, 0, 0].detach(), "expected a differentiable function"),
        (lambda out: torch.ones(len(out)), "it ignores the output"),
        (lambda out: torch.ones(len(out), requires_grad=True) * 2, "does not depend on it"),
        (lambda out: out[:, 0].mean((1, 2)) - out[:, 0].mean(), "depend on chance or on the other"),
        (lambda out: (out[:, 0] * PIXELS).sum((1, 2)), "must treat each image by itself"),
    ],
)
def test_a_target_that_cannot_be_used_is_an_error(target: Any, message: str) -> None:
    net = segmenter()
    with unchanged(net), pytest.raises(ModelError, match=f"(?s){message}"):
        localization_maps(net, images(), layer=LAYER, targets=target)


@pytest.mark.parametrize("targets", ["dog", [True], [None], [0, "dog"], [0.5], [7], [], [[0], [1]]])
def test_what_is_no_target_is_an_error(targets: Any) -> None:
    with pytest.raises((ModelError, ConfigError)):
        localization_maps(embedder(), images(3), layer=LAYER, targets=targets)


def test_an_output_of_its_own_is_needed_for_classes_alone() -> None:
    """A function sees what the network returns; a class is read from its logits."""

    class Both(FeaturesAndHead):
        def forward(self, batch: Tensor) -> Any:
            activations = self.features(batch)
            return {"maps": activations, "logits": self.head(activations)}

    plain = embedder()
    net = Both(plain.features, plain.head).eval()

    def brightness(output: Any) -> Tensor:
        return output["maps"].mean((1, 2, 3))

    maps = localization_maps(net, images(), layer=LAYER, targets=brightness)["grad_cam"]
    torch.testing.assert_close(maps[:, 0], net.features(images()).sum(1).detach() / (5 * 32 * 32))
    with pytest.raises(ModelError, match="such as 'output: logits'"):
        localization_maps(net, images(), layer=LAYER, targets=[brightness, 2])
    mixed = localization_maps(net, images(), layer=LAYER, targets=[brightness, 2], output="logits")[
        "grad_cam"
    ]
    torch.testing.assert_close(mixed[:, :1], maps)
    expected = localization_maps(plain, images(), layer=LAYER, targets=2)["grad_cam"]
    torch.testing.assert_close(mixed[:, 1:], expected)
