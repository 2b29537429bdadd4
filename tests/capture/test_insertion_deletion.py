"""Faithfulness: the inputs that a map changes, and the order and number of the network's passes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from faithfulness_cases import N_CLASSES, SIDE, blurred_by_rise, build, close, network, world
from torch import Tensor, nn

from wsol_bench.capture.insertion_deletion import Faithfulness, faithfulness
from wsol_bench.errors import ModelError

# ---- what the network is shown


class Witness(nn.Module):
    """A network that keeps its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return images.flatten(1)[:, :2]


def removed_in_order(maps: Tensor, *, steps: int, batch_size: int) -> list[list[list[int]]]:
    """For each image, the sorted positions that each step of deletion sets to zero."""
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
    steps_of_images = []
    for of_image in gone.all(dim=2):
        before = torch.zeros_like(of_image[0])
        added = []
        for after in of_image:
            assert (after | ~before).all()  # a removed pixel stays removed
            added.append((after & ~before).nonzero()[:, 0].tolist())
            before = after
        steps_of_images.append(added)
    return steps_of_images


def test_equal_pixels_are_ranked_in_raster_order() -> None:
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


def test_neither_the_batch_size_nor_other_images_change_results() -> None:
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
    result = faithfulness(witness, inputs[:0], maps[:0], classes[:0])
    assert [len(values) for values in result] == [0, 0, 0, 0]
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
    result = faithfulness(network(), inputs, spoiled, classes, steps=7)
    assert np.isfinite(result.score).all()
    for values in (result.insertion, result.deletion, result.masked_score):
        assert np.isnan(values).tolist() == [False, False, True, False, False]
    others = [0, 1, 3, 4]
    assert close(
        Faithfulness(*(values[others] for values in result)),
        Faithfulness(*(values[others] for values in sound)),
    )


def test_a_map_without_a_positive_value_still_ranks() -> None:
    inputs, maps, classes = world()
    result = faithfulness(network(), inputs, maps, classes, steps=7)
    below = faithfulness(network(), inputs, (maps - maps.max()) / 2, classes, steps=7)
    assert close(result, below)


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


def test_the_network_runs_in_evaluation_mode_and_is_left_unchanged() -> None:
    inputs, maps, classes = world()
    net = partly_training()
    before = state(net)
    originals = [tensor.clone() for tensor in (inputs, maps, classes)]
    tracked = maps.clone().requires_grad_()
    result = faithfulness(net, inputs, tracked, classes, steps=7)
    assert tracked.requires_grad
    assert state(net) == before
    assert all(map(torch.equal, (inputs, tracked, classes), originals))
    assert close(result, faithfulness(network(), inputs, maps, classes, steps=7))


def test_an_error_reaches_the_caller_and_the_network_is_left_unchanged() -> None:
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
    """A network that makes a tensor in its first pass, and multiplies by it in every pass."""

    kept: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.ones_like(images[:1])
        return (images * self.kept).flatten(1)[:, :2]


def test_tensors_that_a_module_keeps_can_be_differentiated_later() -> None:
    inputs, maps, classes = world()
    net = Remembering()
    faithfulness(net, inputs, maps, classes % 2, steps=1)
    net(inputs.clone().requires_grad_()).sum().backward()


# ---- errors


def test_maps_of_another_size_are_an_error() -> None:
    inputs, maps, classes = world()
    with pytest.raises(
        ValueError, match=r"\(28, 28\), the inputs' size.*found \(5, 7, 7\).*upsample"
    ):
        faithfulness(network(), inputs, maps[:, :7, :7], classes)


@pytest.mark.parametrize("steps", [0, SIDE * SIDE + 1])
def test_steps_out_of_range_are_an_error(steps: int) -> None:
    inputs, maps, classes = world()
    with pytest.raises(ValueError, match=f"steps: expected 1 to 784.*found {steps}"):
        faithfulness(network(), inputs, maps, classes, steps=steps)


def test_a_batch_size_of_zero_is_an_error() -> None:
    inputs, maps, classes = world()
    with pytest.raises(ValueError, match="batch_size: expected at least 1, found 0"):
        faithfulness(network(), inputs, maps, classes, batch_size=0)


@pytest.mark.parametrize("wrong", [-1, N_CLASSES])
def test_a_class_that_is_no_output_is_an_error(wrong: int) -> None:
    inputs, maps, classes = world()
    classes = classes.clone()
    classes[3] = wrong
    with pytest.raises(
        ModelError, match=f"Sequential has no output {wrong}; its outputs are 0 to 3"
    ):
        faithfulness(network(), inputs, maps, classes)


def test_a_network_without_logits_is_an_error() -> None:
    inputs, maps, classes = world()
    with pytest.raises(
        ModelError, match=r"Identity: expected logits.*found shape \(5, 3, 28, 28\)"
    ):
        faithfulness(nn.Identity(), inputs, maps, classes)


# ---- devices


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_results() -> None:
    inputs, maps, classes = world()
    maps = maps.round()  # plateaus
    cpu = faithfulness(network(), inputs, maps, classes)
    gpu = faithfulness(build().eval().cuda(), inputs.cuda(), maps, classes)
    assert close(cpu, gpu, within=1e-3)
