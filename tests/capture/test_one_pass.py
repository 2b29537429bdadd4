"""One pass records what plain autograd finds, class by class, and leaves no trace on the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)
N_CLASSES = 12


def images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7))


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(
        image_size=64,
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=N_CLASSES,
    )
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first, and so were every gradient
    return vit


def small_swin() -> nn.Module:
    return models.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[4, 4],
        num_classes=N_CLASSES,
    )


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=N_CLASSES),
    "vgg11": lambda: models.vgg11(num_classes=N_CLASSES, init_weights=False),
    "densenet121": lambda: models.densenet121(num_classes=N_CLASSES),
    "squeezenet1_1": lambda: models.squeezenet1_1(num_classes=N_CLASSES),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=N_CLASSES),
    "vit": small_vit,
    "swin": small_swin,
}


@cache
def network(name: str) -> nn.Module:
    """Built once; tests that change a network build their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name]().eval()


# The oracle of each network: the recorded tensor and the logits by hand where it can be cut in two,
# else the output of a module, by a hook. And how that output becomes (c, h, w).


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
    "resnet18": (hooked("layer4"), as_it_is),
    "vgg11": (hooked("features.19"), as_it_is),
    "densenet121": (cut_densenet, as_it_is),
    "squeezenet1_1": (hooked("features.12"), as_it_is),
    "mobilenet_v2": (hooked("features.18"), as_it_is),
    # 1 class token, then 4 x 4 patches
    "vit": (
        hooked("encoder.layers.encoder_layer_1.ln_1"),
        lambda tokens: tokens[1:].T.reshape(-1, 4, 4),
    ),
    "swin": (hooked("norm"), lambda grid: grid.permute(2, 0, 1)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_activations_and_gradients_are_those_of_plain_autograd_image_by_image_class_by_class(
    name: str,
) -> None:
    net, batch = network(name), images()
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


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vit"])
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    net, batch = network(name), images(3)
    together = capture(net, batch, [target_of(net)], GRADIENTS)
    assert together.gradients is not None
    for b in range(len(batch)):
        alone = capture(net, batch[b : b + 1], [target_of(net)], GRADIENTS)
        assert alone.gradients is not None
        assert together.classes[b].tolist() == alone.classes[0].tolist()
        torch.testing.assert_close(together.logits[b], alone.logits[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.gradients[b], alone.gradients[0], rtol=1e-3, atol=1e-6)


# ---- the model is left as it was found


def no_trace(net: nn.Module) -> dict[str, object]:
    """All that a careless pass changes on a model."""
    return {
        "modes": {name: module.training for name, module in net.named_modules()},
        "requires_grad": {name: value.requires_grad for name, value in net.named_parameters()},
        "grads": {name: value.grad for name, value in net.named_parameters()},
        "state": {name: value.clone() for name, value in net.state_dict().items()},
        "hooks": {
            (name, kind): list(getattr(module, kind))
            for name, module in net.named_modules()
            for kind in vars(module)
            if kind.endswith("_hooks")
        },
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch.overrides._get_current_function_mode_stack(),
    }


@contextmanager
def traceless(net: nn.Module) -> Iterator[None]:
    before = no_trace(net)
    yield
    after = no_trace(net)
    states = before.pop("state"), after.pop("state")
    assert before == after
    torch.testing.assert_close(*states, rtol=0, atol=0)


def as_trained(net: nn.Module) -> None:
    net.train()


def with_frozen_statistics(net: nn.Module) -> None:
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def with_frozen_parameters(net: nn.Module) -> None:
    net.requires_grad_(False)


def with_a_frozen_stem(net: nn.Module) -> None:
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)


CONDITIONS = [as_trained, with_frozen_statistics, with_frozen_parameters, with_a_frozen_stem]


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.__name__)
def test_the_model_is_left_as_found(
    condition: Callable[[nn.Module], None], grad_mode: bool
) -> None:
    net = models.resnet18(num_classes=N_CLASSES)
    condition(net)
    net.layer4.register_forward_hook(lambda module, inputs, output: None)
    with torch.set_grad_enabled(grad_mode), traceless(net):
        capture(net, images(), [target_of(net)], GRADIENTS)


def fail(*_: object) -> None:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("where", ["layer1", "layer4", "avgpool", "fc"])
def test_the_model_is_left_as_found_also_where_it_fails(where: str, grad_mode: bool) -> None:
    net = models.resnet18(num_classes=N_CLASSES)
    with_frozen_statistics(net)
    with_a_frozen_stem(net)
    net.get_submodule(where).register_forward_hook(fail)
    with torch.set_grad_enabled(grad_mode), traceless(net):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="out of luck"):
            capture(net, images(), [target_of(net)], GRADIENTS)


@pytest.mark.parametrize("where", ["features", "classifier"])
def test_the_search_for_a_functional_relu_ends_where_the_model_fails(where: str) -> None:
    net = models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)
    net.get_submodule(where).register_forward_hook(fail)
    with traceless(net), pytest.raises(RuntimeError, match="out of luck"):
        capture(net, images(), [target_of(net)], GRADIENTS)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_frozen_parameters_change_no_gradient(name: str) -> None:
    net = network(name)
    expected = capture(net, images(), [target_of(net)], GRADIENTS).gradients
    frozen = BUILDERS[name]().eval().requires_grad_(False)
    frozen.load_state_dict(net.state_dict())
    torch.testing.assert_close(
        capture(frozen, images(), [target_of(frozen)], GRADIENTS).gradients, expected
    )


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_are_the_same_where_the_caller_has_switched_them_off(
    context: Callable[[], torch.no_grad],
) -> None:
    net, batch = network("resnet18"), images()
    expected = capture(net, batch, [target_of(net)], GRADIENTS).gradients
    with context():
        record = capture(net, batch, [target_of(net)], GRADIENTS)
    torch.testing.assert_close(record.gradients, expected)


# ---- one forward pass, tracked from the layer on


def test_each_module_runs_once_and_nothing_before_the_layer_is_tracked() -> None:
    net = models.resnet18(num_classes=N_CLASSES)
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
    }  # our hook stands behind this one at layer4


def test_without_a_plan_for_gradients_nothing_is_tracked_at_all() -> None:
    net = models.resnet18(num_classes=N_CLASSES)
    tracked = []
    net.fc.register_forward_hook(lambda _, inputs, output: tracked.append(output.requires_grad))
    record = capture(net, images(), [target_of(net)], Plan())
    assert tracked == [False]
    assert record.layer.gradients is None


# ---- class slots


class Lookup(nn.Module):
    """Logits that are the first pixels of an image, by a features layer that adds nothing."""

    def __init__(self, n_classes: int = 8) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.n_classes = n_classes

    def forward(self, batch: Tensor) -> Tensor:
        return self.features(batch)[:, 0, 0, : self.n_classes]


def slots_of(scores: list[list[float]], *, k: int, labels: list[int] | None) -> list[list[int]]:
    batch = torch.zeros(len(scores), 3, 8, 8)
    batch[:, 0, 0, : len(scores[0])] = torch.tensor(scores)
    record = capture(
        Lookup(len(scores[0])),
        batch,
        [Target("features")],
        GRADIENTS,
        classes=BestClasses(k, None if labels is None else torch.tensor(labels)),
    )
    return record.classes.tolist()


def test_the_own_class_takes_one_slot_more_the_last() -> None:
    scores = [[9.0, 8.0, 0.0, 0.0], [0.0, 0.0, 8.0, 9.0]]
    assert slots_of(scores, k=2, labels=[1, 0]) == [[0, 1, 1], [3, 2, 0]]


def test_equal_logits_rank_by_output_index() -> None:
    scores = [[1.0, 2.0, 1.0, 2.0, 1.0, 1.0], [0.0] * 6]
    assert slots_of(scores, k=4, labels=None) == [[1, 3, 0, 2], [0, 1, 2, 3]]


def test_there_are_no_more_slots_than_outputs() -> None:
    assert slots_of([[1.0, 3.0, 2.0]], k=5, labels=None) == [[1, 2, 0]]


def test_the_own_class_has_its_own_gradient() -> None:
    """Logit c is pixel (0, c) of channel 0, so its gradient is one there and zero elsewhere."""
    batch = torch.zeros(2, 3, 8, 8)
    batch[:, 0, 0, 0] = 1.0
    record = capture(
        Lookup(),
        batch,
        [Target("features")],
        GRADIENTS,
        classes=BestClasses(1, torch.tensor([5, 0])),
    )
    expected = torch.zeros(2, 2, 3, 8, 8)
    expected[0, 0, 0, 0, 0] = expected[0, 1, 0, 0, 5] = 1
    expected[1, 0, 0, 0, 0] = expected[1, 1, 0, 0, 0] = 1
    assert record.gradients is not None
    assert torch.equal(record.gradients, expected)


def test_given_classes_take_the_place_of_the_best() -> None:
    classes = torch.tensor([[3, 3], [0, 7]])
    record = capture(
        network("resnet18"),
        images(),
        [target_of(network("resnet18"))],
        Plan(),
        classes=classes,
    )
    assert torch.equal(record.classes, classes)
    assert record.class_weights is not None
    assert torch.equal(record.class_weights, network("resnet18").fc.weight[classes])


# ---- precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_to_full_and_recorded_in_float32(precision: str) -> None:
    net, batch = network("resnet18"), images()
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
    """d logit / d A = 2^-20 / 64 = 2^-26 everywhere; the smallest number of float16 is 2^-24."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)
        nn.init.constant_(self.fc.weight, 2.0**-20)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).mean((2, 3)))


def test_gradients_too_small_for_float16_survive_it() -> None:
    net, batch = TinyGradients(), images(1, side=8)
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


class InPlaceBehind(nn.Module):
    """A convolution, an in-place ReLU, a pooled linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).relu_().mean((2, 3)))


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


def test_densenets_gradient_is_not_cut_where_the_relu_is_zero() -> None:
    """Behind the ReLU there is only an average and a linear layer: one number a channel."""
    net = network("densenet121")
    record = capture(net, images(1), [target_of(net)], GRADIENTS, classes=torch.tensor([[3]]))
    assert record.gradients is not None
    assert record.activations.eq(0).any()
    weights = net.classifier.weight[3].detach()
    torch.testing.assert_close(
        record.gradients[0, 0], (weights / 4)[:, None, None].expand(-1, 2, 2)
    )


# ---- layers that cannot be recorded


class Twisted(nn.Module):
    """A network whose layers are everything but one grid, once."""

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
        ("unused", "layer 'unused' did not run in one forward pass; name another with 'layer:'"),
        ("again", "layer 'again' ran 2 times in one forward pass; name another with 'layer:'"),
        ("pair", "layer 'pair' returns tuple, not a tensor; name another with 'layer:'"),
        ("gone", "Twisted has no layer 'gone'"),
    ],
)
@pytest.mark.parametrize("plan", [GRADIENTS, Plan()], ids=["tracked", "untracked"])
def test_a_layer_that_is_not_one_tensor_once_is_an_error(
    layer: str, message: str, plan: Plan
) -> None:
    net = Twisted()
    net(images())
    with traceless(net), pytest.raises(ModelError, match=message):
        capture(net, images(), [Target(layer)], plan)


@pytest.mark.parametrize("plan", [GRADIENTS, Plan()], ids=["tracked", "untracked"])
def test_an_output_that_is_no_grid_is_an_error(plan: Plan) -> None:
    net = network("vit")
    with pytest.raises(
        ModelError, match=r"\(2, 17, 32\), which is no grid in layout .nchw.*\(b, c, h, w\)"
    ):
        capture(net, images(), [Target("encoder.ln")], plan)


def test_logits_that_do_not_depend_on_the_layer_are_an_error() -> None:
    class Detached(InPlaceBehind):
        def forward(self, batch: Tensor) -> Tensor:
            return self.fc(self.features(batch).detach().mean((2, 3))).detach()

    with pytest.raises(ModelError, match="do not depend on layer 'features'"):
        capture(Detached(), images(), [Target("features")], GRADIENTS)


def test_a_functional_relu_that_never_comes_is_an_error() -> None:
    net = network("resnet18")
    with pytest.raises(ModelError, match="followed by a functional ReLU did not run"):
        capture(net, images(), [Target("layer4", then_relu=True)], GRADIENTS)


def test_a_network_that_returns_no_tensor_is_an_error() -> None:
    class Wrapped(InPlaceBehind):
        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            return {"logits": super().forward(batch)}

    with pytest.raises(ModelError, match=r"expected logits of shape \(b, n\), found dict"):
        capture(Wrapped(), images(), [Target("features")], GRADIENTS)


@pytest.mark.parametrize(
    ("classes", "message"),
    [([[1, N_CLASSES]], "12"), ([[-1, 1]], "-1")],
)
def test_a_class_that_is_no_output_is_an_error(classes: list[list[int]], message: str) -> None:
    net = network("resnet18")
    for plan in (GRADIENTS, Plan()):
        with pytest.raises(ModelError, match=f"has no output {message}; its outputs are 0 to 11"):
            capture(net, images(1), [target_of(net)], plan, classes=torch.tensor(classes))
