"""Excitation backprop: hand-solved nets, the formula written out neuron by neuron, equivalences."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision import models

from wsol_bench import localization_maps
from wsol_bench.capture.backward.excitation import excitation
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.shapes_net import ShapesNet
from wsol_bench.models.target_layers import target_of

N_CLASSES = 4
TWO_SLOTS = torch.tensor([[0, 3], [2, 1]])


def uniform(*shape: int, seed: int = 7) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """All weights, biases and statistics at random, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in itertools.chain(net.named_parameters(), net.named_buffers()):
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.5, generator=generator)
    return net.eval()


class Behind(nn.Module):
    """The pixels, which stand for activations, and layers behind them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.here = nn.Identity()
        self.behind = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.here(images))


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Join(nn.Module):
    """What a function makes of two branches."""

    def __init__(self, a: nn.Module, b: nn.Module, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.how = a, b, how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self.a(x), self.b(x))


def linear(rows: list[list[float]], bias: float = 0) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    layer.bias.data = torch.full((len(rows),), float(bias))
    return layer


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def mass(p: Tensor) -> Tensor:
    return p.sum((2, 3, 4))


# ---- by hand

PIXELS = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)


def two_layers(bias: float = 0) -> nn.Module:
    """Hidden activations (3, 1, 2) of the pixels (1, 2, 3)."""
    hidden = linear([[1, 1, 0], [0, 2, -1], [-1, 0, 1]])
    return Behind(nn.Flatten(), hidden, nn.ReLU(), linear([[1, 1, -1], [0, -1, 1]], bias))


def test_a_neuron_wins_in_proportion_to_weight_times_activation() -> None:
    """Class 0: 3/4 and 1/4 of the hidden neurons, then (1/3, 2/3) of the first, all of x2."""
    p = excitation(two_layers(), PIXELS, torch.tensor([[0, 1]]), "here")
    assert_same(p[0, :, :, 0, 0], torch.tensor([[0.25, 0.75, 0], [0, 0, 1]]))


def test_the_contrast_is_the_class_less_its_negated_weights() -> None:
    """Class 0 negated: the third hidden neuron, hence x3. Class 1 negated: the second, hence x2."""
    for contrast in ("here", "behind.0", "behind.1", "behind.2"):
        p = excitation(two_layers(), PIXELS, torch.tensor([[0, 1]]), "here", contrast)
        assert_same(p[0, :, :, 0, 0], torch.tensor([[0.25, 0.75, -1], [0, -1, 1]]))


def test_biases_play_no_part() -> None:
    p = excitation(two_layers(bias=-100), PIXELS, torch.tensor([[0]]), "here")
    assert_same(p[0, 0, :, 0, 0], torch.tensor([0.25, 0.75, 0]))


def test_a_class_that_nothing_excites_has_no_winner() -> None:
    net = Behind(nn.Flatten(), linear([[-1, -1, -1], [1, 0, 0]]))
    p = excitation(net, PIXELS, torch.tensor([[0, 1]]), "here")
    assert_same(p[0, :, :, 0, 0], torch.tensor([[0.0, 0, 0], [1, 0, 0]]))


def test_max_pooling_passes_to_the_winner_and_average_pooling_by_activation() -> None:
    pixels = torch.tensor([[1.0, 3], [4, 2]]).expand(1, 3, 2, 2)
    head = [nn.Flatten(), linear([[1, 0, 0]])]
    first = excitation(Behind(nn.MaxPool2d(2), *head), pixels, torch.tensor([[0]]), "here")
    assert first[0, 0, 0].tolist() == [[0, 0], [1, 0]]
    second = excitation(Behind(nn.AvgPool2d(2), *head), pixels, torch.tensor([[0]]), "here")
    assert_same(second[0, 0, 0], torch.tensor([[0.1, 0.3], [0.4, 0.2]]))
    assert not first[0, 0, 1:].any() and not second[0, 0, 1:].any()


def test_a_sum_is_shared_by_what_each_summand_adds() -> None:
    """x + 3 x = x * 4 of one channel; the other gets from the branch what it adds to the sum."""
    pixels = torch.tensor([1.0, 6.0, 0.0]).reshape(1, 3, 1, 1)
    branch = nn.Sequential(nn.Flatten(), linear([[0, 0.5, 0]]))
    net = Behind(Join(Do(lambda x: x.flatten(1)[:, :1]), branch, torch.add), linear([[1]]))
    p = excitation(net, pixels, torch.tensor([[0]]), "here")
    assert_same(p[0, 0, :, 0, 0], torch.tensor([0.25, 0.75, 0]))


def test_a_negative_summand_gets_nothing() -> None:
    pixels = torch.tensor([1.0, 6.0, 0.0]).reshape(1, 3, 1, 1)
    branch = nn.Sequential(nn.Flatten(), linear([[-0.5, 0.01, 0]]))
    sums = Join(Do(lambda x: x.flatten(1)[:, :1]), branch, torch.add)
    p = excitation(Behind(sums, nn.ReLU(), linear([[1]])), pixels, torch.tensor([[0]]), "here")
    assert_same(p[0, 0, :, 0, 0], torch.tensor([1.0, 0, 0]))


# ---- the formula neuron by neuron


def pass_on(weights: dict[tuple, dict[tuple, float]], x: Tensor, p: dict[tuple, float]) -> dict:
    """p(x_j) = sum_i p(y_i) W+_ij x_j / sum_k W+_ik x_k; ``weights`` are by output, then input."""
    passed: dict[tuple, float] = defaultdict(float)
    for output, inputs in weights.items():
        drive = {at: max(weight, 0) * float(x[at]) for at, weight in inputs.items()}
        total = sum(drive.values())
        for at, part in drive.items():
            passed[at] += p.get(output, 0) * part / total if total > 0 else 0
    return passed


def of_linear(layer: nn.Linear) -> dict:
    return {
        (i,): {(j,): float(layer.weight.data[i, j]) for j in range(layer.in_features)}
        for i in range(layer.out_features)
    }


def of_convolution(layer: nn.Conv2d, x: Tensor, y: Tensor) -> dict:
    """Every output position, its inputs and their weights: stride, padding, dilation, groups."""
    weights: dict[tuple, dict[tuple, float]] = {}
    per_group = layer.in_channels // layer.groups
    for o, u, v in itertools.product(*map(range, y.shape)):
        weights[o, u, v] = {}
        first = o // (layer.out_channels // layer.groups) * per_group
        for c, s, t in itertools.product(*map(range, layer.weight.shape[1:])):
            row = u * layer.stride[0] - layer.padding[0] + s * layer.dilation[0]
            column = v * layer.stride[1] - layer.padding[1] + t * layer.dilation[1]
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                weights[o, u, v][first + c, row, column] = float(layer.weight.data[o, c, s, t])
    return weights


def windows(x: Tensor, y: Tensor, size: int, stride: int) -> dict:
    """Every output position of a pooling and its inputs, all with weight 1."""
    return {
        (c, u, v): {
            (c, u * stride + s, v * stride + t): 1.0 for s in range(size) for t in range(size)
        }
        for c, u, v in itertools.product(*map(range, y.shape))
    }


def unflattened(p: dict, shape: torch.Size) -> dict:
    places = list(itertools.product(*map(range, shape)))
    return {places[at]: value for (at,), value in p.items()}


def test_a_convolutional_net_follows_the_formula_neuron_by_neuron() -> None:
    first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    second = nn.Conv2d(4, 6, (3, 2), padding=(2, 1), dilation=(2, 1), groups=2)
    hidden, classes = nn.Linear(12, 5), nn.Linear(5, N_CLASSES)
    relu = nn.ReLU
    net = at_random(
        Behind(
            nn.MaxPool2d(3, 2), first, relu(), second, relu(inplace=True), nn.AvgPool2d(2, 1),
            nn.Dropout(), nn.Flatten(), hidden, relu(), classes,
        ),
        seed=8,
    )  # fmt: skip
    images = uniform(1, 3, 9, 7)
    x, between = images, []
    with torch.no_grad():
        for layer in net.behind:
            between.append(x[0].clone())
            x = layer(x.clone())
    pixels, pooled, _, rectified, _, to_average, averaged, _, flat, _, features = between
    by_class = []
    for c in range(N_CLASSES):
        p = pass_on(of_linear(classes), features, {(c,): 1.0})
        p = unflattened(pass_on(of_linear(hidden), flat, p), averaged.shape)
        p = pass_on(windows(to_average, averaged, 2, 1), to_average, p)
        p = pass_on(of_convolution(second, rectified, to_average), rectified, p)
        p = pass_on(of_convolution(first, pooled, rectified), pooled, p)
        winners = {  # of max pooling: all weight on the largest input
            output: {max(inputs, key=lambda at: float(pixels[at])): 1.0}
            for output, inputs in windows(pixels, pooled, 3, 2).items()
        }
        p = pass_on(winners, pixels, p)
        expected = torch.zeros(pixels.shape)
        for at, value in p.items():
            expected[at] = value
        assert (expected > 0).sum() > 20
        by_class.append(expected)
    found = excitation(net, images, torch.arange(N_CLASSES)[None], "here")
    assert_same(found[0], torch.stack(by_class))


# ---- equivalent networks


def head(channels: int, side: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(channels * side * side, N_CLASSES)]


def p_of(net: nn.Module, *, side: int = 6, contrast: str | None = None) -> Tensor:
    return excitation(net, uniform(2, 3, side, side), TWO_SLOTS, "here", contrast)


def test_batch_normalization_is_part_of_the_convolution_in_front_of_it() -> None:
    """With scales of both signs: a convolution with these folded into it gives the same."""
    net = at_random(
        Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), *head(8, 4))
    )
    convolution, norm, *rest = net.behind
    assert (norm.weight < 0).any() and (norm.weight > 0).any()
    folded = Behind(fuse_conv_bn_eval(convolution, norm), *rest).eval()
    assert_same(p_of(net), p_of(folded))


def test_batch_normalization_behind_something_else_passes_p_as_it_is() -> None:
    """Behind a sum of two convolutions it changes the signs of neither's weights."""

    def net(*, swapped: bool) -> nn.Module:
        net = at_random(
            Behind(
                Join(nn.Conv2d(3, 9, 1), nn.Conv2d(3, 9, 1), torch.add),
                nn.BatchNorm2d(9), nn.ReLU(), *head(9, 6),
            )
        )  # fmt: skip
        net.behind[1].bias.data.fill_(3.0)  # active, whatever the sign of the scale
        sums = net.behind[0]
        sums.a, sums.b = (sums.b, sums.a) if swapped else (sums.a, sums.b)
        return net

    first, second = net(swapped=False), net(swapped=True)
    assert (first.behind[1].weight < 0).any()
    at_sum, at_norm = (
        excitation(first, uniform(2, 3, 6, 6), TWO_SLOTS, layer)
        for layer in ("behind.0", "behind.1")
    )
    assert torch.equal(at_sum, at_norm) and (at_sum > 0).any()
    assert_same(p_of(first), p_of(second))


def test_a_sum_is_a_layer_with_weights_of_one() -> None:
    def branches() -> tuple[nn.Module, nn.Module]:
        return (
            nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()),
        )

    def with_sum(how: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
        return at_random(Behind(Join(*branches(), how), nn.ReLU(inplace=True), *head(5, 6)))

    class Sum(nn.Conv2d):
        def forward(self, pair: Tensor) -> Tensor:
            eye = torch.eye(5)[:, :, None, None]
            return nn.functional.conv2d(pair, torch.cat([eye, eye], dim=1))

    def cat_and_sum(a: Tensor, b: Tensor) -> Tensor:
        eye = torch.eye(5)[:, :, None, None]
        return nn.functional.conv2d(torch.cat([a, b], 1), torch.cat([eye, eye], dim=1))

    def in_place(a: Tensor, b: Tensor) -> Tensor:
        a += b
        return a

    def in_place_unassigned(a: Tensor, b: Tensor) -> Tensor:
        a.add_(b)
        return a

    expected = p_of(with_sum(cat_and_sum))
    for how in (torch.add, in_place, in_place_unassigned, lambda a, b: a + b):
        assert_same(p_of(with_sum(how)), expected)


def test_averaging_is_a_layer_with_equal_weights() -> None:
    def averaged_by(layer: nn.Module) -> Tensor:
        return p_of(at_random(Behind(nn.Conv2d(3, 5, 1), nn.ReLU(), layer, *head(5, 1))))

    def convolution(x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, torch.ones(5, 1, 6, 6), groups=5)

    expected = averaged_by(Do(convolution))
    for layer in (
        nn.AdaptiveAvgPool2d(1),
        nn.AvgPool2d(6),
        Do(lambda x: x.mean((2, 3))),
        Do(lambda x: torch.mean(x, dim=(-2, -1), keepdim=True)),
        Do(lambda x: nn.functional.adaptive_avg_pool2d(input=x, output_size=1)),
    ):
        assert_same(averaged_by(layer), expected)


def test_rectifying_in_place_is_rectifying() -> None:
    def rectified_by(function: Callable[[Tensor], object]) -> Tensor:
        def run(x: Tensor) -> Tensor:
            result = function(x)
            return x if result is None else result

        return p_of(at_random(Behind(nn.Conv2d(3, 5, 3), Do(run), *head(5, 4))))

    expected = rectified_by(torch.relu)
    for function in (
        torch.relu_,
        Tensor.relu,
        lambda x: x.relu_(),
        lambda x: x.relu_() and None if x.ndim == 0 else (x.relu_(), None)[1],
        lambda x: nn.functional.relu(x, inplace=True),
        lambda x: nn.functional.relu(input=x),
    ):
        assert_same(rectified_by(function), expected)


def test_what_works_in_place_behind_a_layer_leaves_what_was_taken_there() -> None:
    def net(*, inplace: bool) -> nn.Module:
        relus = [nn.ReLU(inplace=inplace) for _ in range(2)]
        return at_random(
            Behind(nn.Conv2d(3, 5, 3), relus[0], nn.Conv2d(5, 5, 1), relus[1], *head(5, 4))
        )

    for layers in (("behind.0", None), ("behind.0", "behind.2"), ("here", "behind.2")):
        found, expected = (
            excitation(net(inplace=inplace), uniform(2, 3, 6, 6), TWO_SLOTS, *layers)
            for inplace in (True, False)
        )
        assert_same(found, expected)


def test_arguments_may_be_named() -> None:
    convolution = nn.Conv2d(3, 5, 3)

    def named(x: Tensor) -> Tensor:
        weight, bias = convolution.weight, convolution.bias
        return nn.functional.conv2d(input=x, weight=weight, bias=bias, stride=1)

    rest = [nn.ReLU(), *head(5, 4)]
    assert_same(p_of(Behind(Do(named), *rest)), p_of(Behind(convolution, *rest)))


def test_the_contrast_layer_is_where_a_difference_is_taken_of_two_networks() -> None:
    """c-MWP is p of the network less p of the network with its last weights negated."""
    net = at_random(
        Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), *head(8, 2))
    )
    negated = copy.deepcopy(net)
    negated.behind[-1].weight.data.neg_()
    expected = p_of(net) - p_of(negated)
    assert (expected < -1e-3).any() and (expected > 1e-3).any()
    for contrast in ("here", "behind.1", "behind.3", "behind.4"):
        assert_same(p_of(net, contrast=contrast), expected)


def test_class_maps_that_are_rectified_and_averaged_are_contrasted_by_their_weights() -> None:
    """SqueezeNet's head: the last layer with weights gives class maps, not logits."""
    net = at_random(
        Behind(
            nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, N_CLASSES, 1), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
        seed=3,
    )  # fmt: skip
    net.behind[2].bias.data.fill_(1.0)
    images = uniform(2, 3, 6, 6)
    x = net.behind[:2](images).detach()
    maps = net.behind[2:4](x).detach()
    weights = net.behind[2].weight.detach()[:, :, 0, 0]
    for b, k in itertools.product(range(2), range(2)):
        c = TWO_SLOTS[b, k]
        at_maps = maps[b, c] / maps[b, c].sum()
        expected = torch.zeros(5, 4, 4)
        for sign in (1, -1):
            drive = (sign * weights[c]).clamp(min=0)[:, None, None] * x[b]
            total = drive.sum(0)
            expected += sign * torch.where(total > 0, at_maps * drive / total, 0)
        found = excitation(net, images, TWO_SLOTS, "behind.0", "behind.1")[b, k]
        assert_same(found, expected)


# ---- probability


def test_probability_is_kept_through_sums_concatenations_and_poolings() -> None:
    def block(i: int, o: int, k: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2), nn.BatchNorm2d(o), nn.ReLU())

    net = at_random(
        Behind(
            block(3, 12, 3),
            Join(block(12, 12, 1), block(12, 12, 3), lambda a, b: torch.cat([a, b], 1)),
            nn.MaxPool2d(2),
            Join(nn.Identity(), nn.Sequential(block(24, 24, 1), block(24, 24, 3)), torch.add),
            nn.AvgPool2d(3, 2, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, N_CLASSES),
        )
    )
    for name, tensor in net.state_dict().items():  # without biases, what is active is excited
        if name.endswith(("bias", "running_mean")):
            tensor.zero_()
    p = p_of(net, side=16)
    assert (p >= 0).all()
    torch.testing.assert_close(mass(p), torch.ones(2, 2), rtol=0, atol=1e-4)
    contrastive = p_of(net, side=16, contrast="behind.5")
    torch.testing.assert_close(mass(contrastive), torch.zeros(2, 2), rtol=0, atol=1e-4)


# ---- real architectures


@cache
def real(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "shapes_net":
        return ShapesNet(N_CLASSES)
    arguments = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return models.get_model(name, weights=None, num_classes=N_CLASSES, **arguments)


LAYERS = {
    "vgg11": ("features.15", "classifier.4"),
    "alexnet": ("features.5", "classifier.5"),
    "googlenet": ("maxpool2", "avgpool"),
    "resnet18": ("layer3", "avgpool"),
    "squeezenet1_1": ("features.8", "features"),
    "densenet121": ("features", "features"),
    "regnet_x_400mf": ("trunk_output.block3", "avgpool"),
    "shapes_net": ("features.down2", "pool"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_real_networks_have_layers_and_keep_probability_above_them(name: str) -> None:
    net = real(name)
    layers = target_of(net).excitation
    assert layers == LAYERS[name]
    classes = torch.tensor([[0, 1, 2]])
    images = normal(1, 3, 96, 96)
    p = excitation(net, images, classes, layers[0])
    c = excitation(net, images, classes, *layers)
    assert p.shape == c.shape and p.shape[:2] == (1, 3)
    assert p.isfinite().all() and c.isfinite().all() and (p >= 0).all()
    # SqueezeNet rectifies its class maps: a class may have none, and then has no winner.
    active = net.eval()(images).detach().gather(1, classes) != 0 if "squeeze" in name else p == p
    active = active.reshape(1, 3, -1).all(-1)
    assert active.any() and (c[active].abs().amax((1, 2, 3)) > 0).all()
    torch.testing.assert_close(mass(p), active.float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(mass(c), torch.zeros(1, 3), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", ("features.23", "classifier.4")),
        ("vgg19_bn", ("features.39", "classifier.4")),
        ("resnext50_32x4d", ("layer3", "avgpool")),
        ("inception_v3", ("maxpool2", "avgpool")),
        ("squeezenet1_0", ("features.11", "features")),
        ("mobilenet_v2", None),
        ("mnasnet0_5", None),
        ("vit_b_16", None),
    ],
)
def test_the_table_knows_pool4_and_what_stands_in_its_place(
    name: str, layer: tuple[str, str] | None
) -> None:
    with torch.device("meta"):
        net = real.__wrapped__(name)
    assert target_of(net).excitation == layer


def test_a_layer_of_the_users_own_leaves_them_and_an_altered_network_has_none() -> None:
    with torch.device("meta"):
        net = models.vgg11(weights=None)
    assert target_of(net, layer="features.10").excitation == LAYERS["vgg11"]
    assert target_of(net, layer="features.10").layer == "features.10"
    net.classifier = nn.Linear(1, 1)
    assert target_of(net).excitation is None


@pytest.mark.parametrize(
    ("name", "layers", "message"),
    [
        ("mobilenet_v2", ("features.13", "features"), r"features\.14\.conv\.0\.0 \(Conv2d\).*>= 0"),
        ("mobilenet_v3_small", ("features.3", "avgpool"), r"features\.4\.block\.0\.0 \(Conv2d\)"),
        ("mobilenet_v3_small", ("features.12", "avgpool"), r"avgpool \(AdaptiveAvgPool2d\).*>= 0"),
        ("efficientnet_b0", ("features.7", "avgpool"), r"features\.8\.0 \(Conv2d\)"),
        ("efficientnet_b0", ("features.7.0.block.0.1", "avgpool"), r"SiLU\).*silu"),
        ("regnet_y_400mf", ("trunk_output.block3", "avgpool"), r"se\.scale_activation \(Sigmoid"),
        ("convnext_tiny", ("features.5", "avgpool"), r"features\.6\.0 \(LayerNorm2d\).*layer_norm"),
        ("vit_b_16", ("conv_proj", "encoder"), r"encoder \(Encoder\).*sum"),
    ],
)  # fmt: skip
def test_networks_without_rules_are_refused_by_the_module_that_has_none(
    name: str, layers: tuple[str, str], message: str
) -> None:
    net = real(name)
    images = normal(1, 3, *([224, 224] if name == "vit_b_16" else [64, 64]))
    for contrast in (None, layers[1]):
        with pytest.raises(NotApplicableError, match=message):
            excitation(net, images, torch.tensor([[0]]), layers[0], contrast)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2, "Tensor.mul"),
        (lambda x: x.mul_(2), "Tensor.mul_"),
        (lambda x: x + 1, "anything but two activations"),
        (lambda x: x + nn.Parameter(torch.ones(x.shape)), "anything but two activations"),
        (lambda x: x + x[:, :1], "a sum with weights or of different shapes"),
        (lambda x: torch.add(x, x, alpha=2), "a sum with weights or of different shapes"),
        (lambda x: x.detach(), "detach"),
        (lambda x: x @ x, "matmul"),
        (lambda x: nn.functional.dropout(x), "dropout at random"),
        (lambda x: nn.functional.softmax(x, 1), "softmax"),
        (lambda x: nn.functional.avg_pool2d(x - x.detach(), 2), "sub|detach"),
        (lambda x: nn.functional.conv2d(x, x[:1]), "weights that depend on the image"),
    ],
)
def test_whatever_has_no_rule_is_refused(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    net = Behind(Do(function), nn.AdaptiveAvgPool2d(1), *head(3, 1))
    with pytest.raises(NotApplicableError, match=rf"behind\.0 \(Do\): .*({message})"):
        p_of(net)


def test_what_runs_in_front_of_the_map_layer_needs_no_rule() -> None:
    net = at_random(
        Behind(Do(lambda x: torch.sigmoid(x * -2) - 0.5), nn.Conv2d(3, 4, 1), *head(4, 6))
    )
    with pytest.raises(NotApplicableError):
        p_of(net)
    with pytest.raises(NotApplicableError, match=r"behind\.3 \(Linear\).*>= 0"):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, "behind.1")
    net.behind[1].bias.data.fill_(9.0)
    p = excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, "behind.1")
    torch.testing.assert_close(mass(p), torch.ones(2, 2), rtol=0, atol=1e-4)


# ---- errors


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("heer", None), "no layer 'heer'"),
        (("behind.2", None), r"layer 'behind.2' gives \(2, 108\), expected \(b, c, h, w\)"),
        (("here", "unused"), "layer 'unused' did not run"),
        (("behind.0.0", None), r"layer 'behind\.0\.0' ran 2 times"),
        (("behind.0", "here"), "contrast layer 'here' does not depend on layer 'behind.0'"),
        (("here", "behind.3"), "no layer with weights stands behind layer 'behind.3'"),
    ],
)
def test_layers_that_cannot_be_meant(layers: tuple[str, str | None], message: str) -> None:
    relu = nn.ReLU()
    net = Behind(nn.Sequential(relu), relu, *head(3, 6))
    net.unused = nn.ReLU()
    with pytest.raises(ModelError, match=message):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, *layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("here", None), "the logits do not depend on layer 'here'"),
        (("behind.0", None), "the logits do not depend on layer 'behind.0'"),
        (("pixels", "behind.0"), "the logits do not depend on layer 'behind.0'"),
    ],
)
def test_logits_that_do_not_depend_on_the_layer(
    layers: tuple[str, str | None], message: str
) -> None:
    class Apart(Behind):
        def forward(self, images: Tensor) -> Tensor:
            x = self.pixels(images)
            self.behind[0](x)
            logits = self.behind[1:](x)
            self.here(images)
            return logits

    net = Apart(nn.ReLU(), *head(3, 6))
    net.pixels = nn.Identity()
    with pytest.raises(ModelError, match=message):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, *layers)


# ---- the model comes back as it was


def state(net: nn.Module) -> list[object]:
    return [
        [module.training for module in net.modules()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in net.parameters()],
        [tensor.clone().tolist() for tensor in net.state_dict().values()],
        [module._compiled_call_impl for module in net.modules()],
    ]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_the_model_comes_back_as_it_was(fails: bool, inference: bool) -> None:
    net = at_random(
        Behind(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Sigmoid() if fails else nn.Dropout(), *head(4, 4),
        )
    )  # fmt: skip
    net.train()
    net.behind[1].eval()
    net.behind[0].weight.requires_grad_(False)
    net.behind[2].compile(backend="eager")
    net.here.register_forward_hook(lambda module, inputs, output: None)
    before, enabled = state(net), torch.is_grad_enabled()
    with torch.inference_mode(inference):
        images = uniform(2, 3, 6, 6)
        if fails:
            with pytest.raises(NotApplicableError, match="Sigmoid"):
                excitation(net, images, TWO_SLOTS, "here", "behind.2")
        else:
            p = excitation(net, images, TWO_SLOTS, "here", "behind.2")
            assert not p.requires_grad and p.dtype == torch.float32
            assert mass(p).abs().max() < 1e-4 and p.abs().max() > 0
    assert state(net) == before and torch.is_grad_enabled() == enabled


def test_a_network_made_in_inference_mode_and_a_pass_under_autocast() -> None:
    with torch.inference_mode():
        net = at_random(Behind(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(4, 4)))
    expected = p_of(at_random(Behind(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(4, 4))))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(p_of(net), expected)


# ---- images and slots


@pytest.mark.parametrize("contrast", [None, "avgpool"])
def test_an_image_alone_is_the_image_in_a_batch_and_slots_are_apart(contrast: str | None) -> None:
    net = real("resnet18")
    images, classes = normal(3, 3, 64, 64), torch.tensor([[0, 1, 3], [2, 2, 0], [1, 0, 3]])
    together = excitation(net, images, classes, "layer3", contrast)
    size = together.abs().max()
    for b in range(3):
        alone = excitation(net, images[[b]], classes[[b]], "layer3", contrast)
        torch.testing.assert_close(together[[b]] / size, alone / size, rtol=0, atol=1e-4)
    for k in range(3):
        alone = excitation(net, images, classes[:, [k]], "layer3", contrast)
        torch.testing.assert_close(together[:, [k]] / size, alone / size, rtol=0, atol=1e-4)
    assert_same(together[1, 0], together[1, 1])
    assert not torch.allclose(together[1, 0], together[1, 2])


def test_scaling_the_activations_changes_nothing() -> None:
    """Without biases the net is homogeneous: tiny and huge activations have the same winners."""
    net = at_random(Behind(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), *head(8, 2)))
    images = uniform(2, 3, 6, 6)
    expected = excitation(net, images, TWO_SLOTS, "here")
    for scale in (1e-12, 1e12):
        assert_same(excitation(net, images * scale, TWO_SLOTS, "here"), expected)


# ---- by the method's name


@pytest.mark.parametrize("method", ["excitation_bp", "c_mwp"])
@pytest.mark.parametrize(
    ("builder", "named"),
    [
        (models.mobilenet_v2, r"features\.1 is a linear bottleneck \(InvertedResidual\)"),
        (models.mobilenet_v3_small, "is a linear bottleneck"),
        (models.convnext_tiny, "is layer normalization"),
    ],
)
def test_an_architecture_without_a_map_layer_is_refused_by_the_module_in_the_way(
    method: str, builder: Callable[..., nn.Module], named: str
) -> None:
    net = builder(num_classes=5).eval()
    with pytest.raises(NotApplicableError, match=named):
        localization_maps(net, torch.randn(1, 3, 64, 64), method)


def test_a_map_layer_can_be_named() -> None:
    """Behind its last block MobileNetV2 is a rectified convolution, an average, a linear layer."""
    net = models.mobilenet_v2(num_classes=5).eval()
    method = cam_methods.get("excitation_bp").with_options({"map_layer": "features"}, "")
    maps = localization_maps(net, torch.randn(1, 3, 64, 64), method, k=2)[method.name]
    assert maps.shape == (1, 2, 2, 2)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 2))
    with pytest.raises(NotApplicableError, match=r"features\.1[0-9]"):
        localization_maps(
            net,
            torch.randn(1, 3, 64, 64),
            cam_methods.get("c_mwp").with_options({"map_layer": "features.10"}, ""),
        )


def test_an_image_that_is_not_a_number_takes_nothing_from_its_neighbors() -> None:
    net = ShapesNet(num_classes=N_CLASSES).eval()
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    alone = localization_maps(net, batch[:1], "excitation_bp", classes=[1])["excitation_bp"]
    batch[1] = torch.nan
    both = localization_maps(net, batch, "excitation_bp", classes=[1])["excitation_bp"]
    torch.testing.assert_close(both[:1], alone)
