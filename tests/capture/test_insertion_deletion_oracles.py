"""Faithfulness has the numbers of RISE's and torchcam's code, and of networks solved by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from faithfulness_cases import N_CLASSES, SIDE, blurred_by_rise, build, network, world
from torch import Tensor, nn

from wsol_bench.capture.insertion_deletion import faithfulness
from wsol_bench.metrics.confidence import confidence_drops, confidence_increases

# ---- other people's code


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
def test_insertion_and_deletion_equal_rises(steps: int) -> None:
    inputs, maps, classes = world()
    result = faithfulness(network(), inputs, maps, classes, steps=steps, batch_size=7)
    for index, label in enumerate(classes.tolist()):
        of_image = inputs[index], maps[index].numpy(), label, SIDE * SIDE // steps
        assert result.insertion[index] == pytest.approx(rise(*of_image, delete=False), abs=1e-6)
        assert result.deletion[index] == pytest.approx(rise(*of_image, delete=True), abs=1e-6)


def torchcam_extractor() -> Any:
    """Grad-CAM at a layer of the input's size, where nothing is upsampled."""
    methods = pytest.importorskip("torchcam.methods")
    return methods.GradCAM(build().eval(), target_layer="0")


def torchcam_maps(inputs: Tensor, labels: list[int]) -> Tensor:
    """Maps as torchcam's metrics make them: gradients of probabilities, scaled to [0, 1]."""
    with torchcam_extractor() as extractor:
        scores = extractor.model(inputs).softmax(dim=1)
        return extractor(labels, scores, normalized=False)[0].detach()


def test_confidences_equal_torchcams() -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    inputs, _, _ = world()
    # For several classes, some images lose confidence and some gain confidence.
    drops, increases = set(), set()
    for label in range(N_CLASSES):
        labels = [label] * len(inputs)
        maps = torchcam_maps(inputs, labels)
        assert (maps == 0).any()  # Grad-CAM's ReLU: plateaus
        result = faithfulness(network(), inputs, maps, torch.tensor(labels), steps=1)
        with torchcam_extractor() as extractor:
            metric = metrics.ClassificationMetric(extractor, nn.Softmax(dim=1))
            metric.update(inputs, labels)
        reference = metric.summary()
        drop = confidence_drops(result.score, result.masked_score).mean()
        increase = confidence_increases(result.score, result.masked_score).mean()
        assert drop == pytest.approx(reference["avg_drop"], abs=1e-5)
        assert increase == reference["conf_increase"]
        drops.add(drop)
        increases.add(increase)
    assert len(drops) > 1
    assert len(increases) > 1


@pytest.mark.parametrize("curve", ["insertion", "deletion"])
def test_curves_over_plateaus_equal_torchcams(curve: str) -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    inputs, _, classes = world()
    maps = torchcam_maps(inputs, classes.tolist())
    assert (maps == 0).float().mean() > 0.2
    result = faithfulness(network(), inputs, maps, classes, steps=14)
    with torchcam_extractor() as extractor:
        metric = metrics.DeletionInsertionMetric(
            extractor,
            nn.Softmax(dim=1),
            steps=14,
            baseline=blurred_by_rise if curve == "insertion" else None,
        )
        metric.update(inputs, classes.tolist())
    assert getattr(result, curve).mean() == pytest.approx(
        metric.summary()[f"{curve}_auc"], abs=1e-6
    )


# ---- hand-solved: a network that sees one pixel


class OnePixel(nn.Module):
    """A network in which P(class 1) is the logistic function of red at row 9, column 12."""

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, 0, 9, 12]
        return torch.stack([torch.zeros_like(value), value], dim=1)


def logistic(value: float) -> float:
    return 1 / (1 + float(np.exp(-value)))


def spot() -> tuple[Tensor, Tensor]:
    """A black image with value 2 at the decisive pixel, and a map that marks the pixel."""
    inputs = torch.zeros(1, 3, 20, 20)
    inputs[0, 0, 9, 12] = 2.0
    return inputs, (inputs[:, 0] > 0).float()


# The kernel at its center, from the published recipe: an impulse, filtered within 11 x 11 pixels.
CENTER = 0.008832628216191647


def test_the_map_of_the_decisive_pixel_has_the_expected_scores() -> None:
    inputs, best = spot()
    result = faithfulness(OnePixel(), inputs, best, torch.tensor([1]), steps=5)
    seen, gone, blurred = logistic(2), 0.5, logistic(2 * CENTER)
    # insertion rises at the first step: blurred, seen, seen, seen, seen, seen
    assert result.insertion[0] == pytest.approx((blurred / 2 + 4 * seen + seen / 2) / 5, abs=1e-6)
    # deletion falls at the first step: seen, gone, gone, gone, gone, gone
    assert result.deletion[0] == pytest.approx((seen / 2 + 4 * gone + gone / 2) / 5, abs=1e-6)
    assert result.score[0] == pytest.approx(seen, abs=1e-7)
    assert result.masked_score[0] == pytest.approx(seen, abs=1e-7)


def test_the_reversed_map_ranks_the_decisive_pixel_last() -> None:
    inputs, best = spot()
    result = faithfulness(OnePixel(), inputs, -best, torch.tensor([1]), steps=5)
    seen, gone, blurred = logistic(2), 0.5, logistic(2 * CENTER)
    assert result.insertion[0] == pytest.approx(
        (blurred / 2 + 4 * blurred + seen / 2) / 5, abs=1e-6
    )
    assert result.deletion[0] == pytest.approx((seen / 2 + 4 * seen + gone / 2) / 5, abs=1e-6)
    assert result.score[0] == pytest.approx(seen, abs=1e-7)
    assert result.masked_score[0] == pytest.approx(gone, abs=1e-7)


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
        result = faithfulness(OnePixel(), inputs, same, torch.tensor([1]), steps=1)
        assert result.masked_score[0] == pytest.approx(logistic(2 * value), abs=1e-6)


def test_a_faithful_map_beats_its_reverse() -> None:
    """The saliency of a linear network, from its weights, is better in all four numbers."""
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
