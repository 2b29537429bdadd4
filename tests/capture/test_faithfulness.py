"""Faithfulness: what the network says of inputs that a map changes."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from wsol_bench.capture.faithfulness import Faithfulness, faithfulness
from wsol_bench.errors import ModelError
from wsol_bench.metrics.confidence import confidence_drops, confidence_increases

N_CLASSES = 4
SIDE = 28


def build() -> nn.Module:
    """Its layer "0" sees the whole input at full size; dropout and batch norm tell the modes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(144, N_CLASSES),
        )
        # Confident enough that a changed input is another probability.
        nn.init.normal_(net[-1].weight, std=1.0)
        net[1].running_mean += torch.randn(8) / 4
    return net


@cache
def network() -> nn.Module:
    return build().eval()


@cache
def world(n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with structure (so that a blur changes them), maps without ties, and classes."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.randn(n, 3, 7, 7, generator=generator)
    inputs = F.interpolate(coarse, (SIDE, SIDE)) + torch.randn(
        n, 3, SIDE, SIDE, generator=generator
    )
    maps = torch.randn(n, SIDE, SIDE, generator=generator)
    classes = torch.randint(N_CLASSES, (n,), generator=generator)
    return inputs, maps, classes


def close(one: Faithfulness, other: Faithfulness, *, within: float = 1e-6) -> bool:
    return all(
        np.allclose(a, b, rtol=0, atol=within, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


# ---- oracles


def blurred_by_rise(image: Tensor) -> Tensor:
    """RISE's substrate of insertion: a Gaussian-filtered impulse of 11 x 11 as the kernel."""
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(impulse, 5)).float()
    weight = torch.zeros(3, 3, 11, 11)
    for channel in range(3):
        weight[channel, channel] = kernel
    return F.conv2d(image, weight, padding=5)


def rise(image: Tensor, explanation: np.ndarray, label: int, step: int, *, delete: bool) -> float:
    """RISE's CausalMetric: one image, one network call a step, pixels copied one by one."""
    model = nn.Sequential(network(), nn.Softmax(dim=1))
    current = image[None].clone()
    final = torch.zeros_like(current)
    if not delete:
        current, final = blurred_by_rise(current), image[None].clone()
    order = np.argsort(explanation.reshape(-1))[::-1]
    scores = []
    n_steps = (SIDE * SIDE + step - 1) // step
    for i in range(n_steps + 1):
        with torch.no_grad():
            scores.append(float(model(current)[0, label]))
        for position in order[step * i : step * (i + 1)]:
            y, x = divmod(int(position), SIDE)
            current[0, :, y, x] = final[0, :, y, x]
    return (sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)


@pytest.mark.parametrize("steps", [1, 4, 28])
def test_insertion_and_deletion_are_those_of_rise(steps: int) -> None:
    inputs, maps, classes = world()
    found = faithfulness(network(), inputs, maps, classes, steps=steps, batch_size=7)
    for index, label in enumerate(classes.tolist()):
        of_image = inputs[index], maps[index].numpy(), label, SIDE * SIDE // steps
        assert found.insertion[index] == pytest.approx(rise(*of_image, delete=False), abs=1e-6)
        assert found.deletion[index] == pytest.approx(rise(*of_image, delete=True), abs=1e-6)


def torchcam_extractor() -> Any:
    """Grad-CAM at a layer of the input's size, where nothing is upsampled."""
    methods = pytest.importorskip("torchcam.methods")
    return methods.GradCAM(build().eval(), target_layer="0")


def torchcam_maps(inputs: Tensor, labels: list[int]) -> Tensor:
    """As the metrics make them: gradients of the probabilities, and then scaled to [0, 1]."""
    with torchcam_extractor() as extractor:
        scores = extractor.model(inputs).softmax(dim=1)
        return extractor(labels, scores, normalized=False)[0].detach()


def test_confidences_are_those_of_torchcam() -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    inputs, _, _ = world()
    # Of several classes some images lose confidence and some gain.
    drops, increases = set(), set()
    for label in range(N_CLASSES):
        labels = [label] * len(inputs)
        maps = torchcam_maps(inputs, labels)
        assert (maps == 0).any()  # Grad-CAM's ReLU: plateaus
        found = faithfulness(network(), inputs, maps, torch.tensor(labels), steps=1)
        with torchcam_extractor() as extractor:
            metric = metrics.ClassificationMetric(extractor, nn.Softmax(dim=1))
            metric.update(inputs, labels)
        theirs = metric.summary()
        drop = confidence_drops(found.score, found.masked_score).mean()
        increase = confidence_increases(found.score, found.masked_score).mean()
        assert drop == pytest.approx(theirs["avg_drop"], abs=1e-5)
        assert increase == theirs["conf_increase"]
        drops.add(drop)
        increases.add(increase)
    assert len(drops) > 1
    assert len(increases) > 1


@pytest.mark.parametrize("curve", ["insertion", "deletion"])
def test_curves_over_plateaus_are_those_of_torchcam(curve: str) -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    inputs, _, classes = world()
    maps = torchcam_maps(inputs, classes.tolist())
    assert (maps == 0).float().mean() > 0.2
    found = faithfulness(network(), inputs, maps, classes, steps=14)
    with torchcam_extractor() as extractor:
        metric = metrics.DeletionInsertionMetric(
            extractor,
            nn.Softmax(dim=1),
            steps=14,
            baseline=blurred_by_rise if curve == "insertion" else None,
        )
        metric.update(inputs, classes.tolist())
    assert getattr(found, curve).mean() == pytest.approx(metric.summary()[f"{curve}_auc"], abs=1e-6)


# ---- hand-solved: a network that sees one pixel


class OnePixel(nn.Module):
    """P(class 1) is the logistic function of the red value at row 9, column 12."""

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, 0, 9, 12]
        return torch.stack([torch.zeros_like(value), value], dim=1)


def logistic(value: float) -> float:
    return 1 / (1 + float(np.exp(-value)))


def spot() -> tuple[Tensor, Tensor]:
    """An image that is nothing but that pixel, of value 2, and the map that knows it."""
    inputs = torch.zeros(1, 3, 20, 20)
    inputs[0, 0, 9, 12] = 2.0
    return inputs, (inputs[:, 0] > 0).float()


# The kernel at its center, from the published recipe: an impulse, filtered within 11 x 11 pixels.
CENTER = 0.008832628216191647


def test_the_map_that_knows_the_pixel() -> None:
    inputs, best = spot()
    found = faithfulness(OnePixel(), inputs, best, torch.tensor([1]), steps=5)
    seen, gone, blurred = logistic(2), 0.5, logistic(2 * CENTER)
    # insertion rises at the first step: blurred, seen, seen, seen, seen, seen
    assert found.insertion[0] == pytest.approx((blurred / 2 + 4 * seen + seen / 2) / 5, abs=1e-6)
    # deletion falls at the first step: seen, gone, gone, gone, gone, gone
    assert found.deletion[0] == pytest.approx((seen / 2 + 4 * gone + gone / 2) / 5, abs=1e-6)
    assert found.score[0] == pytest.approx(seen, abs=1e-7)
    assert found.masked_score[0] == pytest.approx(seen, abs=1e-7)


def test_its_reverse_sees_the_pixel_last() -> None:
    inputs, best = spot()
    found = faithfulness(OnePixel(), inputs, -best, torch.tensor([1]), steps=5)
    seen, gone, blurred = logistic(2), 0.5, logistic(2 * CENTER)
    assert found.insertion[0] == pytest.approx((blurred / 2 + 4 * blurred + seen / 2) / 5, abs=1e-6)
    assert found.deletion[0] == pytest.approx((seen / 2 + 4 * seen + gone / 2) / 5, abs=1e-6)
    assert found.score[0] == pytest.approx(seen, abs=1e-7)
    assert found.masked_score[0] == pytest.approx(gone, abs=1e-7)


def test_every_number_is_of_the_class_that_is_asked_for() -> None:
    inputs, best = spot()
    yes = faithfulness(OnePixel(), inputs, best, torch.tensor([1]), steps=5)
    no = faithfulness(OnePixel(), inputs, best, torch.tensor([0]), steps=5)
    assert all(a + b == pytest.approx(1) for a, b in zip(yes, no, strict=True))


@pytest.mark.parametrize("value", [0.25, 0.5])
def test_the_input_is_multiplied_by_the_map_between_its_minimum_and_maximum(value: float) -> None:
    inputs, _ = spot()
    maps = torch.zeros(1, 20, 20)
    maps[0, 0, 0], maps[0, 9, 12] = 1.0, value
    for same in (maps, 8 * maps, maps - 3):
        found = faithfulness(OnePixel(), inputs, same, torch.tensor([1]), steps=1)
        assert found.masked_score[0] == pytest.approx(logistic(2 * value), abs=1e-6)


def test_a_map_that_knows_beats_its_reverse() -> None:
    """Saliency of a linear network, from its own weights, in every one of the four senses."""
    inputs, _, _ = world()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    difference = (linear[1].weight[1] - linear[1].weight[0]).view(3, SIDE, SIDE)
    best = (inputs * difference).sum(dim=1).detach()
    ones = torch.ones(len(inputs), dtype=torch.int64)
    good = faithfulness(linear, inputs, best, ones)
    bad = faithfulness(linear, inputs, -best, ones)
    assert (good.insertion > bad.insertion).all()
    assert (good.deletion < bad.deletion).all()
    assert (good.masked_score > bad.masked_score).all()
    assert (good.masked_score > good.score).all()  # only what speaks for the class is left


# ---- what the network is shown


class Witness(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return images.flatten(1)[:, :2]


def removed_in_order(maps: Tensor, *, steps: int, batch_size: int) -> list[list[list[int]]]:
    """For each image the positions that each step of deletion turns to zero, sorted."""
    n, height, width = maps.shape
    witness = Witness()
    inputs = torch.arange(1.0, n * 3 * height * width + 1).view(n, 3, height, width)
    faithfulness(
        witness, inputs, maps, torch.zeros(n, dtype=torch.int64), steps=steps, batch_size=batch_size
    )
    shown = torch.cat(witness.shown)
    assert torch.equal(shown[:n], inputs)
    gone = shown[n : n + n * steps].view(n, steps, 3, -1) == 0
    assert torch.equal(gone.all(dim=2), gone.any(dim=2))  # all channels of a pixel at once
    found = []
    for of_image in gone.all(dim=2):
        before = torch.zeros_like(of_image[0])
        added = []
        for after in of_image:
            assert (after | ~before).all()  # what is gone stays gone
            added.append((after & ~before).nonzero()[:, 0].tolist())
            before = after
        found.append(added)
    return found


def test_equal_pixels_go_in_raster_order() -> None:
    maps = torch.tensor([[[0.0, 2.0, 0.0], [1.0, 0.0, 2.0]]])
    assert removed_in_order(maps, steps=6, batch_size=64) == [[[1], [5], [3], [0], [2], [4]]]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_order_does_not_depend_on_the_batch(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(2)
    maps = torch.randint(3, (4, 24, 24), generator=generator).float()
    by_hand = [
        [sorted(step) for step in np.array_split(np.argsort(-values.ravel(), kind="stable"), 24)]
        for values in maps.numpy()
    ]
    assert removed_in_order(maps, steps=24, batch_size=batch_size) == by_hand


def test_steps_that_do_not_divide_differ_by_a_pixel_at_most() -> None:
    maps = torch.arange(35.0).view(1, 5, 7)
    (steps,) = removed_in_order(maps, steps=4, batch_size=64)
    assert [len(step) for step in steps] == [8, 9, 9, 9]


def test_insertion_copies_into_the_blurred_input() -> None:
    witness = Witness()
    inputs, maps, _ = world()
    faithfulness(witness, inputs[:1], maps[:1], torch.tensor([0]), steps=2)
    *_, start, half, _ = torch.cat(witness.shown)
    blurred = blurred_by_rise(inputs[:1])[0]
    assert torch.allclose(start, blurred, atol=1e-6)
    entered = maps[0] > maps[0].median()
    assert torch.equal(half[:, entered], inputs[0][:, entered])
    assert torch.equal(half[:, ~entered], start[:, ~entered])


# ---- batches


def test_neither_batch_size_nor_company_changes_results() -> None:
    inputs, maps, classes = world()
    whole = faithfulness(network(), inputs, maps, classes, steps=7)
    for batch_size in (1, 5, 1000):
        other = faithfulness(network(), inputs, maps, classes, steps=7, batch_size=batch_size)
        assert close(whole, other)
    turned = faithfulness(
        network(), inputs.flip(0), maps.flip(0), classes.flip(0), steps=7, batch_size=4
    )
    assert close(whole, Faithfulness(*(values[::-1] for values in turned)))


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_the_cost_is_2_steps_and_2_inputs_an_image_in_bounded_batches(batch_size: int) -> None:
    inputs, maps, classes = world()
    witness = Witness()
    faithfulness(witness, inputs, maps, classes % 2, steps=7, batch_size=batch_size)
    sizes = [len(shown) for shown in witness.shown]
    assert sum(sizes) == len(inputs) * (2 * 7 + 2)
    assert max(sizes) == min(batch_size, 7 * len(inputs))


def test_no_images_cost_nothing() -> None:
    inputs, maps, classes = world()
    witness = Witness()
    found = faithfulness(witness, inputs[:0], maps[:0], classes[:0])
    assert [len(values) for values in found] == [0, 0, 0, 0]
    assert not witness.shown


# ---- maps that rank nothing


def put(value: float) -> Callable[[Tensor], Tensor]:
    def change(values: Tensor) -> Tensor:
        values = values.clone()
        values[4, 4] = value
        return values

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        torch.zeros_like,
        torch.ones_like,
        put(float("nan")),
        put(float("inf")),
        put(-float("inf")),
    ],
    ids=["zeros", "ones", "nan", "inf", "-inf"],
)
def test_a_map_that_ranks_no_pixels_has_only_a_score(
    spoil: Callable[[Tensor], Tensor],
) -> None:
    inputs, maps, classes = world()
    sound = faithfulness(network(), inputs, maps, classes, steps=7)
    spoiled = maps.clone()
    spoiled[2] = spoil(maps[2])
    found = faithfulness(network(), inputs, spoiled, classes, steps=7)
    assert np.isfinite(found.score).all()
    for values in (found.insertion, found.deletion, found.masked_score):
        assert np.isnan(values).tolist() == [False, False, True, False, False]
    others = [0, 1, 3, 4]
    assert close(
        Faithfulness(*(values[others] for values in found)),
        Faithfulness(*(values[others] for values in sound)),
    )


def test_a_map_without_a_positive_value_still_ranks() -> None:
    inputs, maps, classes = world()
    found = faithfulness(network(), inputs, maps, classes, steps=7)
    below = faithfulness(network(), inputs, (maps - maps.max()) / 2, classes, steps=7)
    assert close(found, below)


# ---- the module comes back as it was


def state(net: nn.Module) -> list[Any]:
    return [
        [module.training for module in net.modules()],
        [len(module._forward_hooks) for module in net.modules()],
        [(p.requires_grad, p.grad) for p in net.parameters()],
        [value.tolist() for value in net.state_dict().values()],
        torch.is_grad_enabled(),
    ]


def partly_training() -> nn.Module:
    net = build().train()
    net[3].eval()
    net[0].weight.requires_grad_(False)
    return net


def test_it_runs_in_evaluation_mode_and_leaves_no_trace() -> None:
    inputs, maps, classes = world()
    net = partly_training()
    before = state(net)
    given = [tensor.clone() for tensor in (inputs, maps, classes)]
    tracked = maps.clone().requires_grad_()
    found = faithfulness(net, inputs, tracked, classes, steps=7)
    assert tracked.requires_grad
    assert state(net) == before
    assert all(map(torch.equal, (inputs, tracked, classes), given))
    assert close(found, faithfulness(network(), inputs, maps, classes, steps=7))


def test_a_failure_comes_through_and_leaves_no_trace() -> None:
    inputs, maps, classes = world()
    net = partly_training()
    calls = 0

    def fail(module: nn.Module, args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("no memory left")

    net[3].register_forward_pre_hook(fail)
    before = state(net)
    with pytest.raises(RuntimeError, match="no memory left"):
        faithfulness(net, inputs, maps, classes, steps=7, batch_size=8)
    assert calls == 3
    assert state(net) == before


class Remembering(nn.Module):
    """Makes a tensor in its first pass and multiplies by it from then on."""

    kept: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.ones_like(images[:1])
        return (images * self.kept).flatten(1)[:, :2]


def test_what_a_module_keeps_of_the_pass_is_good_for_gradients() -> None:
    inputs, maps, classes = world()
    net = Remembering()
    faithfulness(net, inputs, maps, classes % 2, steps=1)
    net(inputs.clone().requires_grad_()).sum().backward()


# ---- errors


def test_maps_of_another_size_are_no_maps_of_these_inputs() -> None:
    inputs, maps, classes = world()
    with pytest.raises(
        ValueError, match=r"\(28, 28\), the inputs' size.*found \(5, 7, 7\).*upsample"
    ):
        faithfulness(network(), inputs, maps[:, :7, :7], classes)


@pytest.mark.parametrize("steps", [0, SIDE * SIDE + 1])
def test_steps_out_of_range(steps: int) -> None:
    inputs, maps, classes = world()
    with pytest.raises(ValueError, match=f"steps: expected 1 to 784.*found {steps}"):
        faithfulness(network(), inputs, maps, classes, steps=steps)


def test_a_batch_holds_an_input() -> None:
    inputs, maps, classes = world()
    with pytest.raises(ValueError, match="batch_size: expected at least 1, found 0"):
        faithfulness(network(), inputs, maps, classes, batch_size=0)


@pytest.mark.parametrize("wrong", [-1, N_CLASSES])
def test_a_class_that_the_network_does_not_have(wrong: int) -> None:
    inputs, maps, classes = world()
    classes = classes.clone()
    classes[3] = wrong
    with pytest.raises(
        ModelError, match=f"Sequential has no output {wrong}; its outputs are 0 to 3"
    ):
        faithfulness(network(), inputs, maps, classes)


def test_a_network_without_logits() -> None:
    inputs, maps, classes = world()
    with pytest.raises(ModelError, match=r"Identity: expected logits.*found \(5, 3, 28, 28\)"):
        faithfulness(nn.Identity(), inputs, maps, classes)


# ---- devices


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same() -> None:
    inputs, maps, classes = world()
    maps = maps.round()  # plateaus
    cpu = faithfulness(network(), inputs, maps, classes)
    gpu = faithfulness(build().eval().cuda(), inputs.cuda(), maps, classes)
    assert close(cpu, gpu, within=1e-3)
