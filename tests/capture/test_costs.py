"""Each question to a probe is charged the passes that an observer outside the package counts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from networks import N_CLASSES, images, seeded, small_vit
from torch import Tensor, nn

from wsol_bench.capture import Cost, Plan, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.target_layers import target_of

CLASSES = torch.tensor([[4, 1], [0, 5]])  # two slots of two images


class Tiny(nn.Module):
    """The smallest network with all parts of a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU())
        self.features = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, N_CLASSES)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(self.stem(batch))).flatten(1))


def tanh_net() -> nn.Module:
    """A network without a rectifier."""
    net = Tiny()
    net.stem[1] = net.features[1] = nn.Tanh()
    return net


def vit() -> nn.Module:
    """A vision transformer of three blocks."""
    return small_vit(image_size=32, num_layers=3, hidden_dim=8, mlp_dim=16)


@cache
def network(build: Callable[[], nn.Module]) -> nn.Module:
    return seeded(build)


def record_of(build: Callable[[], nn.Module] = Tiny, plan: Plan = Plan()) -> Record:  # noqa: B008
    net = network(build)
    target = target_of(net, **({} if build is vit else {"layer": "features", "head": "fc"}))
    return capture(net, images(2, 32), [target], plan, classes=CLASSES)


class Seen:
    """Counts made without the package: rows of the network's input, cotangents of autograd."""

    rows = 0
    pairs = 0


@contextmanager
def watched(net: nn.Module) -> Iterator[Seen]:
    seen, own, inside = Seen(), torch.autograd.grad, [False]

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.rows += len(inputs[0])

    def grad(outputs: Tensor, inputs: Any, grad_outputs: Any = None, **options: Any) -> Any:
        if not inside[0] and grad_outputs is not None:  # not those that run inside of a rule
            n = grad_outputs.shape[0]
            seen.pairs += n * grad_outputs.shape[1] if options.get("is_grads_batched") else n
        outer, inside[0] = inside[0], True
        try:
            return own(outputs, inputs, grad_outputs, **options)
        finally:
            inside[0] = outer

    with pytest.MonkeyPatch.context() as patch, net.register_forward_pre_hook(count):
        patch.setattr(torch.autograd, "grad", grad)
        yield seen


class Question(NamedTuple):
    """What is asked, what it is charged (forward, backward, head), and what is seen.

    Seen are the rows that pass the network: images, activations behind the layer, and the one
    image that tells whether a network has attention. And (image, cotangent) pairs that autograd
    gets, at the logits and further down.
    """

    ask: Callable[[Record], object]
    charged: tuple[int, int, int]
    rows: int
    pairs: int
    build: Callable[[], nn.Module] = Tiny


OF = torch.tensor([0, 1, 1, 0, 1])


QUESTIONS = {
    "logits": Question(lambda record: record.probe.logits(images(3, 32)), (3, 0, 0), 3, 0),
    "record": Question(
        lambda record: record.probe.record(images(3, 32), CLASSES[[0, 0, 1]]), (3, 6, 0), 3, 6
    ),
    "pixel_gradients": Question(
        lambda record: record.probe.pixel_gradients(CLASSES), (2, 4, 0), 2, 4
    ),
    "pixel_gradients of others": Question(
        lambda record: record.probe.pixel_gradients(torch.tensor([[2]] * 3), images=images(3, 32)),
        (3, 3, 0), 3, 3,
    ),
    "guided": Question(
        lambda record: record.probe.pixel_gradients(CLASSES, rule="guided"), (2, 4, 0), 2, 4
    ),
    "gradients_at": Question(
        lambda record: record.probe.gradients_at(["stem", "features"], CLASSES), (2, 4, 0), 2, 4
    ),
    # Not counted: an image that shows the dimension of the batch, and 3 activations as a check.
    "head": Question(
        lambda record: record.head(record.activations[OF], OF), (2, 0, 5), 2 + 1 + 3 + 5, 0
    ),
    "head, twice": Question(
        lambda record: [record.head(record.activations[OF], OF) for _ in range(2)],
        (2, 0, 10), 2 + 1 + 3 + 10, 0,
    ),
    "excitation": Question(
        lambda record: record.probe.excitation(CLASSES, map_layer="stem"), (2, 4, 0), 2, 4
    ),
    # One pass down from the class and one from its negation; from there on one pass for both.
    "contrastive excitation": Question(
        lambda record: record.probe.excitation(CLASSES, map_layer="stem", contrastive=True),
        (2, 8, 0), 2, 8 + 4,
    ),
    "attention": Question(lambda record: record.probe.attention(None), (2, 0, 0), 1 + 2, 0, vit),
    # From the logits of three blocks to their tokens, then to all blocks, then within each.
    "attention of classes": Question(
        lambda record: record.probe.attention(CLASSES), (2, 4, 0), 1 + 2, 3 * 4 + 4 + 3 * 4, vit
    ),
    "relevance": Question(
        lambda record: record.probe.relevance(CLASSES), (2, 4, 0), 1 + 2, 4, vit
    ),
    "finer_cam": Question(cam_methods.get("finer_cam"), (2, 4, 2), 2 + 1 + 3 + 2, 4),
    "shapley_cam": Question(cam_methods.get("shapley_cam"), (2, 8, 2), 2 + 1 + 3 + 2, 8),
    "captum": Question(cam_methods.get("captum/LayerGradCam"), (4, 4, 0), 4, 0),
}  # fmt: skip


def counts(cost: Cost) -> tuple[int, int, int]:
    return cost.forward, cost.backward, cost.head


@pytest.fixture(autouse=True)
def sound_network() -> None:
    """Find the recorded logits sound before a test: this is done once, and not counted."""
    for plan in (Plan(), Plan(gradients=True)):
        record_of(plan=plan)


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_is_charged_the_passes_that_it_runs(name: str) -> None:
    question = QUESTIONS[name]
    if name == "captum":
        pytest.importorskip("captum")
    record = record_of(question.build)
    with watched(record.probe.model) as seen:
        before = time.perf_counter()
        with record.probe.metered() as cost:
            begin = time.perf_counter()
            question.ask(record)
            least = time.perf_counter() - begin
        most = time.perf_counter() - before
    assert counts(cost) == question.charged
    assert (seen.rows, seen.pairs) == (question.rows, question.pairs)
    assert least <= cost.seconds() <= most
    # The same question asked again is charged the same, although its answer was kept.
    with record.probe.metered() as again:
        question.ask(record)
    assert counts(again) == question.charged
    assert counts(record.probe.cost) == tuple(2 * n for n in question.charged)


# A question that turns out not to be applicable is charged the passes until then.
FAILURES = {
    "attention": Question(lambda record: record.probe.attention(CLASSES), (0, 0, 0), 1, 0),
    "guided": Question(
        lambda record: record.probe.pixel_gradients(CLASSES, rule="guided"),
        (2, 0, 0),
        2,
        0,
        tanh_net,
    ),
    "excitation": Question(
        lambda record: record.probe.excitation(CLASSES, map_layer="stem"), (2, 0, 0), 2, 0, tanh_net
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_question_that_is_not_applicable_is_charged_the_passes_before_its_end(name: str) -> None:
    question = FAILURES[name]
    record = record_of(question.build)
    net, probe = record.probe.model, record.probe
    with watched(net) as seen, probe.metered() as cost, pytest.raises(NotApplicableError):
        question.ask(record)
    assert counts(cost) == question.charged
    assert (seen.rows, seen.pairs) == (question.rows, question.pairs)


def test_the_shared_pass_is_charged_by_the_plan() -> None:
    with watched(network(Tiny)) as seen:
        record = record_of(plan=Plan(gradients=True))
    assert (seen.rows, seen.pairs) == (2, 4)
    assert counts(record.cost_for(Plan(gradients=True))) == (2, 4, 0)
    assert counts(record.cost_for(Plan())) == (2, 0, 0)  # as if the method were alone
    assert counts(record_of().cost_for(Plan())) == (2, 0, 0)
    assert counts(record.probe.cost) == (0, 0, 0)
    for derived in (record.at_layer(0), record.select(torch.tensor([[1], [0]]))):
        assert counts(derived.cost_for(Plan(gradients=True))) == (2, 4, 0)
    seconds = record.cost_for(Plan()).seconds()
    assert 0 < seconds == record.cost_for(Plan(gradients=True)).seconds()
    # A change of the returned cost does not change the record.
    cost = record.cost_for(Plan())
    cost += record.cost_for(Plan(gradients=True))
    assert counts(cost) == (4, 4, 0)
    assert cost.seconds() == pytest.approx(2 * seconds)
    assert counts(record.cost_for(Plan())) == (2, 0, 0)
    assert record.cost_for(Plan()).seconds() == seconds


def test_a_record_of_other_images_is_charged_to_the_method_that_asked() -> None:
    probe = record_of().probe
    with probe.metered() as cost:
        other = probe.record(images(3, 32), torch.tensor([[0, 1]] * 3))
        assert counts(cost) == (3, 6, 0)
        other.probe.pixel_gradients(torch.tensor([[0]] * 3))
    assert counts(cost) == (6, 9, 0)
    assert counts(other.cost_for(Plan(gradients=True))) == (0, 0, 0)


def test_a_record_made_by_hand_costs_no_pass() -> None:
    record = Record(torch.zeros(1, 2), torch.zeros(1, 1, dtype=torch.long), ())
    assert counts(record.cost_for(Plan())) == (0, 0, 0)
    assert record.cost_for(Plan()).seconds() == 0
