"""One forward pass records the activations and gradients of plain autograd, class by class."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import InPlaceBehind, build_network, images, network
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)
N_CLASSES = 12


def cut_densenet(net: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    activation = F.relu(net.features(image))
    return activation, net.classifier(activation.mean((2, 3)))


def hooked(layer: str) -> Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]:
    def cut(net: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
        taken = []
        handle = net.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output: taken.append(output)
        )
        logits = net(image)
        handle.remove()
        return taken[0], logits

    return cut


def as_it_is(grid: Tensor) -> Tensor:
    return grid


ORACLES = {
    "ResNet": (hooked("layer4"), as_it_is),
    "VGG": (hooked("features.19"), as_it_is),
    "DenseNet": (cut_densenet, as_it_is),
    "SqueezeNet": (hooked("features.12"), as_it_is),
    "MobileNetV2": (hooked("features.18"), as_it_is),
    # 1 class token, then 4 x 4 patches
    "VisionTransformer": (
        hooked("encoder.layers.encoder_layer_1.ln_1"),
        lambda tokens: tokens[1:].T.reshape(-1, 4, 4),
    ),
    "SwinTransformer": (hooked("norm"), lambda grid: grid.permute(2, 0, 1)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_activations_and_gradients_are_those_of_plain_autograd_image_by_image_class_by_class(
    name: str,
) -> None:
    net, batch = network(name, N_CLASSES), images()
    cut, to_chw = ORACLES[name]
    record = capture(net, batch, [target_of(net)], GRADIENTS, classes=BestClasses(3))
    assert record.gradients is not None
    for b in range(len(batch)):
        activation, logits = cut(net, batch[b : b + 1])
        torch.testing.assert_close(record.logits[b], logits[0].detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            record.activations[b], to_chw(activation[0].detach()), rtol=1e-4, atol=1e-5
        )
        assert record.classes[b].tolist() == logits[0].argsort(descending=True)[:3].tolist()
        for slot, output in enumerate(record.classes[b]):
            (oracle,) = torch.autograd.grad(logits[0, output], activation, retain_graph=True)
            size = oracle.abs().max()
            assert size > 0
            torch.testing.assert_close(
                record.gradients[b, slot] / size, to_chw(oracle[0]) / size, rtol=0, atol=1e-4
            )


@pytest.mark.parametrize("name", ["ResNet", "DenseNet", "VisionTransformer"])
def test_a_batch_gives_the_same_as_its_images_one_by_one(name: str) -> None:
    net, batch = network(name, N_CLASSES), images(3)
    together = capture(net, batch, [target_of(net)], GRADIENTS)
    assert together.gradients is not None
    for b in range(len(batch)):
        alone = capture(net, batch[b : b + 1], [target_of(net)], GRADIENTS)
        assert alone.gradients is not None
        assert together.classes[b].tolist() == alone.classes[0].tolist()
        torch.testing.assert_close(together.logits[b], alone.logits[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.gradients[b], alone.gradients[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["ResNet", "DenseNet"])
def test_frozen_parameters_change_no_gradient(name: str) -> None:
    net = network(name, N_CLASSES)
    expected = capture(net, images(), [target_of(net)], GRADIENTS).gradients
    frozen = build_network(name, N_CLASSES).requires_grad_(False)
    frozen.load_state_dict(net.state_dict())
    torch.testing.assert_close(
        capture(frozen, images(), [target_of(frozen)], GRADIENTS).gradients, expected
    )


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_are_the_same_if_the_caller_has_switched_gradients_off(
    context: Callable[[], torch.no_grad],
) -> None:
    net, batch = network("ResNet", N_CLASSES), images()
    expected = capture(net, batch, [target_of(net)], GRADIENTS).gradients
    with context():
        record = capture(net, batch, [target_of(net)], GRADIENTS)
    torch.testing.assert_close(record.gradients, expected)


# ---- one forward pass, tracked from the layer on


def test_each_module_runs_once_and_gradients_are_tracked_only_from_the_layer_on() -> None:
    net = models.resnet18(num_classes=N_CLASSES)
    capture(net, images(), [target_of(net)], GRADIENTS)  # the first time, one image passes again
    tracked: dict[str, list[bool]] = {}
    for name, module in net.named_children():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: tracked.setdefault(name, []).append(
                output.requires_grad
            )
        )
    capture(net, images().requires_grad_(), [target_of(net)], GRADIENTS)
    assert tracked == {
        **{name: [False] for name in ("conv1", "bn1", "relu", "maxpool")},
        **{name: [False] for name in ("layer1", "layer2", "layer3", "layer4")},
        **{name: [True] for name in ("avgpool", "fc")},
    }  # at layer4, the recorder's hook runs after this one


def test_without_a_plan_for_gradients_nothing_is_tracked_at_all() -> None:
    net = models.resnet18(num_classes=N_CLASSES)
    capture(net, images(), [target_of(net)], Plan())  # the first time, one image passes again
    tracked = []
    net.fc.register_forward_hook(lambda _, inputs, output: tracked.append(output.requires_grad))
    record = capture(net, images(), [target_of(net)], Plan())
    assert tracked == [False]
    assert record.layer.gradients is None


# ---- precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_to_full_and_recorded_in_float32(precision: str) -> None:
    net, batch = network("ResNet", N_CLASSES), images()
    classes = torch.tensor([[0, 4], [9, 2]])
    full, half = (
        capture(net, batch, [target_of(net)], GRADIENTS, classes=classes, precision=each)
        for each in ("fp32", precision)
    )
    for name in ("logits", "activations", "gradients"):
        exact, rounded = getattr(full, name), getattr(half, name)
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded), "autocast did nothing"
        correlation = torch.corrcoef(torch.stack([exact.flatten(), rounded.flatten()]))[0, 1]
        assert correlation > 0.999


class TinyGradients(nn.Module):
    """A network with d logit / d A = 2^-20 / 64 = 2^-26; the least number of float16 is 2^-24."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)
        nn.init.constant_(self.fc.weight, 2.0**-20)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).mean((2, 3)))


def test_gradients_too_small_for_float16_are_recorded() -> None:
    net, batch = TinyGradients(), images(1, 8)
    activation = net.features(batch).half().detach().requires_grad_()
    with torch.autocast("cpu", torch.float16):
        naive = torch.autograd.grad(net.fc(activation.mean((2, 3)))[0, 1], activation)[0]
    assert naive.eq(0).all(), "the premise: this network underflows without scaling"
    record = capture(net, batch, [Target("features")], GRADIENTS, precision="fp16")
    assert record.gradients is not None
    torch.testing.assert_close(
        record.gradients, torch.full((1, 2, 4, 8, 8), 2.0**-26), rtol=0, atol=0
    )


# ---- what the network does with the tensor


@pytest.mark.parametrize("plan", [GRADIENTS, Plan()], ids=["tracked", "untracked"])
def test_work_in_place_behind_the_layer_does_not_reach_the_record(plan: Plan) -> None:
    torch.manual_seed(0)
    net, batch = InPlaceBehind(), images()
    before_relu = net.features(batch).detach()
    assert before_relu.min() < 0
    record = capture(net, batch, [Target("features")], plan)
    torch.testing.assert_close(record.activations, before_relu)


def test_the_gradient_belongs_to_the_tensor_before_the_work_in_place() -> None:
    torch.manual_seed(0)
    net, batch = InPlaceBehind(), images(1)
    record = capture(net, batch, [Target("features")], GRADIENTS, classes=torch.tensor([[1]]))
    assert record.gradients is not None
    passed = (net.features(batch)[0] > 0).float()
    expected = passed * net.fc.weight[1][:, None, None] / passed[0].numel()
    torch.testing.assert_close(record.gradients[0, 0], expected.detach())


def test_densenets_gradient_is_kept_where_the_relu_is_zero() -> None:
    """Only an average and a linear layer follow the ReLU: the gradient is one number a channel."""
    net = network("DenseNet", N_CLASSES)
    record = capture(net, images(1), [target_of(net)], GRADIENTS, classes=torch.tensor([[3]]))
    assert record.gradients is not None
    assert record.activations.eq(0).any()
    weights = net.classifier.weight[3].detach()
    torch.testing.assert_close(
        record.gradients[0, 0], (weights / 64)[:, None, None].expand(-1, 8, 8)
    )
