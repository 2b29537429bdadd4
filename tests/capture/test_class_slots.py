"""The class slots are the best classes and the label, or the classes that the caller gives."""

import pytest
import torch
from networks import images, network
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)
N_CLASSES = 12


class Lookup(nn.Module):
    """A network whose logits are the first pixels of an image, behind a layer without effect."""

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


def test_the_label_takes_one_more_slot_the_last() -> None:
    scores = [[9.0, 8.0, 0.0, 0.0], [0.0, 0.0, 8.0, 9.0]]
    assert slots_of(scores, k=2, labels=[1, 0]) == [[0, 1, 1], [3, 2, 0]]


def test_equal_logits_rank_by_output_index() -> None:
    scores = [[1.0, 2.0, 1.0, 2.0, 1.0, 1.0], [0.0] * 6]
    assert slots_of(scores, k=4, labels=None) == [[1, 3, 0, 2], [0, 1, 2, 3]]


def test_slots_are_at_most_as_many_as_outputs() -> None:
    assert slots_of([[1.0, 3.0, 2.0]], k=5, labels=None) == [[1, 2, 0]]


def test_the_slot_of_the_label_has_the_labels_gradient() -> None:
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
        network("ResNet", N_CLASSES),
        images(),
        [target_of(network("ResNet", N_CLASSES))],
        Plan(),
        classes=classes,
    )
    assert torch.equal(record.classes, classes)
    assert record.class_weights is not None
    assert torch.equal(record.class_weights, network("ResNet", N_CLASSES).fc.weight[classes])


@pytest.mark.parametrize(
    ("classes", "message"),
    [([[1, N_CLASSES]], "12"), ([[-1, 1]], "-1")],
)
def test_a_class_that_is_no_output_is_an_error(classes: list[list[int]], message: str) -> None:
    net = network("ResNet", N_CLASSES)
    for plan in (GRADIENTS, Plan()):
        with pytest.raises(ModelError, match=f"has no output {message}; its outputs are 0 to 11"):
            capture(net, images(1), [target_of(net)], plan, classes=torch.tensor(classes))


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_best_class_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: expected at least 1, found {k}"):
        BestClasses(k)
