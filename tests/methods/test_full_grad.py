"""FullGrad: the decomposition is complete, and the sum equals that of the authors' code."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gradient_worlds import gap_head, network_with, record_of, relu_head
from networks import images, seeded
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from wsol_bench.capture import Plan, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.full_grad import full_grad, spatial_bias
from wsol_bench.models.target_layers import Target

# ---- FullGrad


@pytest.mark.parametrize("head", [gap_head, relu_head])
def test_gradients_of_input_and_biases_add_up_to_the_score(head: Any) -> None:
    """The completeness of the decomposition (eq. 4), linear layers' biases included."""
    net, batch = network_with(head), images(2, 8)
    of = record_of(net, batch)
    total = (of.probe.pixel_gradients(of.classes) * batch[:, None]).sum((2, 3, 4))
    for name, module in net.named_modules():
        bias = module.bias.detach() if isinstance(module, nn.Linear) else spatial_bias(module)
        if bias is not None:
            _, slopes = of.probe.gradients_at([name], of.classes)[name]
            total += torch.einsum("bkc...,c->bk", slopes, bias)
    scores = of.logits.gather(1, of.classes)
    torch.testing.assert_close(total, scores, rtol=1e-4, atol=1e-5)
    _, values = full_grad.measured(of)
    torch.testing.assert_close(values["logit"], scores)
    torch.testing.assert_close(
        values["completeness_gap"], torch.zeros_like(scores), rtol=0, atol=1e-4
    )


class _Saturating(nn.Module):
    """Weights of one pixel: 3 x + 1, cut at 6; 2 of it and 0.5 for class 0, -1 for class 1.

    The linear layer ``unused`` has no share in the scores.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU6())
        self.head, self.unused = nn.Linear(1, 2), nn.Linear(1, 2)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.tensor([3.0, 0, 0]).view(1, 3, 1, 1))
            self.features[0].bias.fill_(1)
            self.head.weight.copy_(torch.tensor([[2.0], [-1.0]]))
            self.head.bias.copy_(torch.tensor([0.5, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        self.unused(pooled)
        head: Tensor = self.head(pooled)
        return head


def test_what_a_saturated_rectifier_adds_is_the_gap_of_completeness() -> None:
    """By hand: of four pixels 1, 1, 4, 4 the last two reach 6, of whose share no term knows."""
    batch = torch.zeros(1, 3, 2, 2)
    batch[0, 0] = torch.tensor([[1.0, 1.0], [4.0, 4.0]])
    of = capture(_Saturating(), batch, [Target("features")], Plan(), classes=torch.tensor([[0, 1]]))
    _, values = full_grad.measured(of)
    # The mean is (4 + 4 + 6 + 6) / 4 = 5; half of the pixels, at 6, are 3 of it.
    assert values["logit"].tolist() == [[10.5, -5.0]]
    torch.testing.assert_close(values["completeness_gap"], torch.tensor([[6.0, 3.0]]))


def test_full_grad_sums_rescaled_layers_at_the_size_of_the_image() -> None:
    """As the authors' code does it, one image and layer at a time."""
    net, batch = network_with(relu_head), images(2, 8)
    of = record_of(net, batch)
    maps = full_grad(of)
    assert maps.shape == (2, 3, 8, 8)

    def psi(product: Tensor) -> Tensor:
        size = product.abs() - product.abs().min()
        return size / size.max()

    names = ["features.0", "features.1", "features.4", "head.0"]
    actual = of.probe.gradients_at(names, of.classes)
    pixels = of.probe.pixel_gradients(of.classes)
    for b in range(2):
        for slot in range(3):
            expected = psi(pixels[b, slot] * batch[b]).sum(0)
            for name in names:
                bias = spatial_bias(net.get_submodule(name))
                assert bias is not None
                of_layer = psi(actual[name][1][b, slot] * bias[:, None, None])
                resized = F.interpolate(of_layer[None], (8, 8), mode="bilinear", align_corners=True)
                expected = expected + resized[0].sum(0)
            torch.testing.assert_close(maps[b, slot], expected, rtol=1e-4, atol=1e-4)


class _WithNorms(nn.Module):
    """A normalization of timm with a ReLU in it, and one of vectors, as in heads of fastai."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8), nn.Conv2d(8, 8, 3))
        self.norm, self.fc = nn.BatchNorm1d(8), nn.Linear(8, 5)
        for norm in (self.features[1], self.norm):
            for values in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(values)

    def forward(self, images: Tensor) -> Tensor:
        head: Tensor = self.fc(self.norm(self.features(images).relu().mean((2, 3))))
        return head


def test_normalizations_with_an_activation_add_their_bias_before_it() -> None:
    """timm's class derives from BatchNorm2d, and its output comes after the ReLU."""
    net = seeded(_WithNorms)
    of = capture(net, images(2, 12), [Target("features")], Plan())
    _, values = full_grad.measured(of)
    gap = values["completeness_gap"]
    torch.testing.assert_close(gap, torch.zeros_like(gap), rtol=0, atol=1e-5)


def test_a_normalization_whose_output_is_not_known_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    net = seeded(_WithNorms)
    net.features[1] = Own(8)
    of = capture(net, images(2, 12), [Target("features")], Plan())
    with pytest.raises(NotApplicableError, match=r"features\.1 is a Own, .* adds its bias"):
        full_grad(of)


class _Windows(_WithNorms):
    """The rows of the features, two at a time, pass a convolution as if they were images."""

    def __init__(self) -> None:
        super().__init__()
        self.windowed = nn.Conv2d(8, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        windows = self.features(images).unflatten(2, (-1, 2)).movedim(2, 1).flatten(0, 1)
        inner: Tensor = self.windowed(windows).mean((2, 3))
        head: Tensor = self.fc(inner.unflatten(0, (len(images), -1)).mean(1))
        return head


def test_a_convolution_of_windows_is_refused() -> None:
    of = capture(seeded(_Windows), images(2, 12), [Target("features")], Plan())
    with pytest.raises(NotApplicableError, match="windowed sees windows of an image"):
        full_grad(of)


def test_a_module_adds_its_bias_to_each_channel() -> None:
    norm = nn.BatchNorm2d(1).eval()
    norm.running_mean = torch.tensor([3.0])
    norm.running_var = torch.tensor([4.0 - norm.eps])
    nn.init.constant_(norm.weight, 5)
    nn.init.constant_(norm.bias, 7)
    bias = spatial_bias(norm)
    assert bias is not None
    assert bias.tolist() == [7 - 3 * 5 / 2]
    assert spatial_bias(nn.Conv2d(1, 1, 1, bias=False)) is None
    assert spatial_bias(nn.Linear(1, 1)) is None
    assert spatial_bias(nn.BatchNorm2d(1, track_running_stats=False)) is None


def test_full_grad_does_not_depend_on_the_scale_of_the_scores() -> None:
    """No epsilon beside ranges as small as the gradients are."""
    net, batch = network_with(relu_head), images(2, 8)
    of = record_of(net, batch)
    expected = full_grad(of)
    with torch.no_grad():
        net.get_submodule("head.5").weight *= 1e-6
    torch.testing.assert_close(
        full_grad(record_of(net, batch, of.classes)), expected, rtol=1e-3, atol=1e-3
    )
