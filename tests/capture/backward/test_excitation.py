"""Excitation backprop on hand-solved networks, neuron by neuron, and on equivalent networks."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable

import torch
from excitation_networks import (
    N_CLASSES,
    TWO_SLOTS,
    Behind,
    Do,
    Join,
    assert_same,
    at_random,
    head,
    linear,
    mass,
    p_of,
    uniform,
)
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wsol_bench.capture.backward.excitation import excitation

# ---- by hand


PIXELS = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)


def two_layers(bias: float = 0) -> nn.Module:
    """A network with hidden activations (3, 1, 2) for the pixels (1, 2, 3)."""
    hidden = linear([[1, 1, 0], [0, 2, -1], [-1, 0, 1]])
    return Behind(nn.Flatten(), hidden, nn.ReLU(), linear([[1, 1, -1], [0, -1, 1]], bias))


def test_a_neuron_wins_in_proportion_to_weight_times_activation() -> None:
    """Class 0: 3/4 and 1/4 of the hidden neurons, then (1/3, 2/3) of the first, all of x2."""
    p = excitation(two_layers(), PIXELS, torch.tensor([[0, 1]]), "here")
    assert_same(p[0, :, :, 0, 0], torch.tensor([[0.25, 0.75, 0], [0, 0, 1]]))


def test_the_contrast_is_the_class_minus_its_negated_weights() -> None:
    """Class 0 negated: the third hidden neuron, hence x3. Class 1 negated: the second, hence x2."""
    for contrast in ("here", "behind.0", "behind.1", "behind.2"):
        p = excitation(two_layers(), PIXELS, torch.tensor([[0, 1]]), "here", contrast)
        assert_same(p[0, :, :, 0, 0], torch.tensor([[0.25, 0.75, -1], [0, -1, 1]]))


def test_biases_have_no_effect() -> None:
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
    """1 + 0.5 * 6 = 4: the first pixel gets 1/4, and the second pixel 3/4."""
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
    actual = excitation(net, images, torch.arange(N_CLASSES)[None], "here")
    assert_same(actual[0], torch.stack(by_class))


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
    """Behind a sum of two convolutions, batch normalization changes the signs of no weights."""

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


def test_a_relu_in_place_is_a_relu() -> None:
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


def test_an_operation_in_place_behind_a_layer_does_not_change_its_output() -> None:
    def net(*, inplace: bool) -> nn.Module:
        relus = [nn.ReLU(inplace=inplace) for _ in range(2)]
        return at_random(
            Behind(nn.Conv2d(3, 5, 3), relus[0], nn.Conv2d(5, 5, 1), relus[1], *head(5, 4))
        )

    for layers in (("behind.0", None), ("behind.0", "behind.2"), ("here", "behind.2")):
        actual, expected = (
            excitation(net(inplace=inplace), uniform(2, 3, 6, 6), TWO_SLOTS, *layers)
            for inplace in (True, False)
        )
        assert_same(actual, expected)


def test_arguments_may_be_named() -> None:
    convolution = nn.Conv2d(3, 5, 3)

    def named(x: Tensor) -> Tensor:
        weight, bias = convolution.weight, convolution.bias
        return nn.functional.conv2d(input=x, weight=weight, bias=bias, stride=1)

    rest = [nn.ReLU(), *head(5, 4)]
    assert_same(p_of(Behind(Do(named), *rest)), p_of(Behind(convolution, *rest)))


def test_the_difference_of_two_networks_is_taken_at_the_contrast_layer() -> None:
    """c-MWP is p of the network minus p of the network with its last weights negated."""
    net = at_random(
        Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), *head(8, 2))
    )
    negated = copy.deepcopy(net)
    negated.behind[-1].weight.data.neg_()
    expected = p_of(net) - p_of(negated)
    assert (expected < -1e-3).any() and (expected > 1e-3).any()
    for contrast in ("here", "behind.1", "behind.3", "behind.4"):
        assert_same(p_of(net, contrast=contrast), expected)


def test_rectified_and_averaged_class_maps_are_contrasted_by_their_weights() -> None:
    """In SqueezeNet's head, the last layer with weights gives class maps, not logits."""
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
        actual = excitation(net, images, TWO_SLOTS, "behind.0", "behind.1")[b, k]
        assert_same(actual, expected)


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


def test_scaling_the_activations_changes_nothing() -> None:
    """Without biases the net is homogeneous: tiny and huge activations have the same winners."""
    net = at_random(Behind(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), *head(8, 2)))
    images = uniform(2, 3, 6, 6)
    expected = excitation(net, images, TWO_SLOTS, "here")
    for scale in (1e-12, 1e12):
        assert_same(excitation(net, images * scale, TWO_SLOTS, "here"), expected)
