"""TS-CAM's networks and its map agree with the authors' code.

The numbers in reference/ts_cam.json were made outside of this project by the authors' code
(github.com/vasgaowei/TS-CAM, commit 25aece44, lib/models/deit.py, with timm 1.0 in the place of
timm 0.3.2, of which it takes helpers alone): TSCAM with the sizes of DeiT-T, but 2 blocks, 5
classes and images of 64 x 64 pixels, with the weights and images of support/formula_weights.
"maps" are its `cams` of classes 1 and 2, which it sums over the blocks.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from formula_weights import filled, values
from networks import network
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.attention_rollout import attention_rollout
from wsol_bench.methods.cam import cam
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.le_grad import le_grad
from wsol_bench.methods.transformer_attribution import transformer_attribution
from wsol_bench.methods.ts_cam import ts_cam
from wsol_bench.models.build import build
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.target_layers import target_of

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "ts_cam.json").read_text(encoding="utf-8")
)
SMALL = {"num_classes": 5, "img_size": 64, "depth": 2}
N_BLOCKS = 2


def images() -> Tensor:
    return values((2, 3, 64, 64), 1, 4.0)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return filled(build("ts_cam/deit_tiny", None, SMALL))


@pytest.fixture(scope="module")
def record(net: nn.Module) -> Record:
    classes = torch.tensor([[1, 2], [1, 2]])
    return capture(net, images(), [target_of(net)], Plan(gradients=True), classes=classes)


def test_logits_are_those_of_the_authors(record: Record) -> None:
    torch.testing.assert_close(
        record.logits, torch.tensor(REFERENCE["logits"]), rtol=1e-4, atol=1e-4
    )


def test_maps_are_those_of_the_authors_up_to_the_number_of_blocks(record: Record) -> None:
    expected = torch.tensor(REFERENCE["maps"]) / N_BLOCKS
    torch.testing.assert_close(ts_cam(record), expected, rtol=1e-4, atol=1e-4)


def test_keys_are_those_of_the_authors(net: nn.Module) -> None:
    assert sorted(net.state_dict()) == REFERENCE["keys"]


def test_a_checkpoint_of_the_authors_training_loads(net: nn.Module, tmp_path: Path) -> None:
    """Their training saves these entries, of a network in DataParallel."""
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "best_map": 0.5}, tmp_path / "model_best.pth")
    classifier = load_classifier(
        "ts_cam/deit_tiny",
        weights=str(tmp_path / "model_best.pth"),
        arguments=SMALL,
        dataset_classes=list("abcde"),
        input_size=64,
    )
    assert classifier.weights_from.endswith("all keys without their beginning 'module.'")
    with torch.no_grad():
        torch.testing.assert_close(classifier.module(images()), net(images()))
    assert classifier.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "channels", "heads"), [("tiny", 192, 3), ("small", 384, 6), ("base", 768, 12)]
)
def test_sizes_are_those_of_deit(name: str, channels: int, heads: int) -> None:
    with torch.device("meta"):
        net = build(f"ts_cam/deit_{name}", None, {"img_size": 384})
    assert net.pos_embed.shape == (1, 1 + 24 * 24, channels)
    assert net.head.weight.shape == (1000, channels, 3, 3)
    assert len(net.blocks) == 12
    assert {block.attn.heads for block in net.blocks} == {heads}


def test_cam_is_the_semantic_map_whose_mean_is_the_logit(net: nn.Module, record: Record) -> None:
    semantic = cam(record)
    torch.testing.assert_close(semantic.mean((2, 3)), record.logits[:, 1:3])
    assert semantic.std() > 0.1
    torch.testing.assert_close(grad_cam(record), semantic.relu() / 16)


def test_rollout_applies_though_the_head_does_not_read_the_class_token(record: Record) -> None:
    assert attention_rollout(record).shape == (2, 2, 4, 4)


@pytest.mark.parametrize("method", [le_grad, transformer_attribution], ids=lambda each: each.name)
def test_methods_of_the_class_tokens_score_do_not_apply(record: Record, method: Any) -> None:
    with pytest.raises(NotApplicableError, match="a head that pools the patch tokens"):
        method(record)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (network("ResNet"), "no attention at all"),
        (network("VisionTransformer"), "no head is known that directly follows"),
    ],
    ids=["ResNet", "VisionTransformer"],
)
def test_the_method_does_not_apply_to_other_networks(other: nn.Module, reason: str) -> None:
    classes = torch.tensor([[0], [1]])
    made = capture(other, images(), [target_of(other)], Plan(), classes=classes)
    with pytest.raises(NotApplicableError, match=reason):
        ts_cam(made)
