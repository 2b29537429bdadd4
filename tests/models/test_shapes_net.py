"""The shipped classifier: small, linear after its features, and as good as it says."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from wsol_bench.datasets.shapes.loader import draw_sample
from wsol_bench.datasets.shapes.scene import CLASSES
from wsol_bench.models.shapes_net import WEIGHTS, ShapesNet, shapes_net


@pytest.fixture(scope="module")
def trained() -> ShapesNet:
    net = shapes_net()
    net.load_state_dict(load_file(WEIGHTS), strict=True)
    return net.eval()


def test_the_weights_are_small_and_name_their_classes() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    with safe_open(WEIGHTS, "pt") as file:
        wnids = json.loads(file.metadata()["wnids"])
    assert wnids == [wnid for wnid, _ in CLASSES]


def test_features_are_not_negative_and_of_stride_16(trained: ShapesNet) -> None:
    with torch.inference_mode():
        features = trained.features(torch.randn(2, 3, 224, 224))
    assert features.shape == (2, 128, 14, 14)
    assert features.min() >= 0
    assert features.max() > 0


def test_the_head_is_linear_in_the_average_of_the_features(trained: ShapesNet) -> None:
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        average = trained.features(images).mean((2, 3))
        expected = average @ trained.fc.weight.T + trained.fc.bias
        torch.testing.assert_close(trained(images), expected)


def test_the_gradient_at_the_features_is_the_weight_everywhere(trained: ShapesNet) -> None:
    """Hence Grad-CAM = CAM / 196 before the ReLU."""
    features = trained.features(torch.randn(1, 3, 224, 224)).detach().requires_grad_()
    trained.fc(trained.pool(features).flatten(1))[0, 5].backward()
    assert features.grad is not None
    expected = trained.fc.weight[5].detach()[:, None, None].expand(128, 14, 14) / 196
    torch.testing.assert_close(features.grad[0], expected)


def test_the_number_of_classes_is_free() -> None:
    assert shapes_net(3).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.slow
def test_the_task_is_neither_solved_nor_hopeless(trained: ShapesNet) -> None:
    """On the 300 validation images: top-1 error between 5% and 30%, top-5 error below it."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    ranks = []
    for i in range(300):
        label, drawing = draw_sample(0, "val", i)
        small = Image.fromarray(drawing.image).resize((224, 224), Image.Resampling.BILINEAR)
        image = torch.tensor((np.asarray(small) / 255 - mean) / deviation).float()
        with torch.inference_mode():
            logits = trained(image.permute(2, 0, 1)[None])[0]
        ranks.append(int((logits > logits[label]).sum()))
    top1, top5 = np.mean(np.array(ranks) >= 1), np.mean(np.array(ranks) >= 5)
    assert 0.05 <= top1 <= 0.30
    assert top5 < top1
