"""The small networks that map methods are checked on; nothing is downloaded.

ShapesNet has its trained weights and sees drawings of the embedded data set. Methods that need what
ShapesNet lacks are checked on other networks instead: on a small vision transformer or one whose
head is a class convolution over the patch tokens, both with random weights that are always the
same, or on ShapesNet's features with the two classifiers of ACoL.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from PIL import Image
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.contracts.snapshots import generator_states
from wsol_bench.datasets.shapes.loader import draw_sample
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import MapMethod
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.hooks import hooked
from wsol_bench.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from wsol_bench.models.target_layers import Target, target_of

__all__ = [
    "IMAGE_IDS",
    "MethodCase",
    "ToyNetwork",
    "comes_from_failure",
    "failing",
    "small_convolutional_network",
    "small_network_of_two_branches",
    "small_token_semantic_transformer",
    "small_transformer",
    "with_mixed_states",
]

IMAGE_IDS = ("shapes 0", "shapes 1")
_N_CLASSES = 16


class ToyNetwork(NamedTuple):
    """A small network, and a batch of two images for it.

    Attributes:
        module: the network in evaluation mode; every check gets a copy.
        target: the network's entry in the target-layer table.
        later_target: a layer that runs after ``target``.
        images: normalized images.
        classes: output indices of three class slots of each image. Two slots of the second image
            have one class, as in a run if the label is among the best predictions.
        other_classes: the class of ``classes`` in slot 0, and different classes in the other slots.
    """

    module: nn.Module
    target: Target
    later_target: Target
    images: Float32[Tensor, "2 3 height width"]
    classes: Int64[Tensor, "2 3"]
    other_classes: Int64[Tensor, "2 3"]


class FirstCall(NamedTuple):
    """The first call of a method, with its result and its side effects.

    Attributes:
        record: the record that the method was called on.
        maps: the maps that the method returned.
        copy: a copy of the maps, which nothing else can change.
        changed_generators: names of the global random number generators that the call changed.
    """

    record: Record
    maps: Tensor
    copy: Tensor
    changed_generators: list[str]


@dataclass(frozen=True)
class MethodCase:
    """A map method, and the small network that it is checked on."""

    method: MapMethod
    toy: ToyNetwork

    def network(self) -> nn.Module:
        """A fresh copy of the network."""
        return copy.deepcopy(self.toy.module)

    def record(
        self,
        network: nn.Module | None = None,
        *,
        images: Tensor | None = None,
        ids: Sequence[str] = IMAGE_IDS,
        targets: Sequence[Target] | None = None,
        plan: Plan | None = None,
        classes: Tensor | None = None,
    ) -> Record:
        """The record of a forward pass, as a run makes it; by default, of the whole batch."""
        return capture(
            self.network() if network is None else network,
            self.toy.images.clone() if images is None else images,
            [self.toy.target] if targets is None else targets,
            self.method.plan if plan is None else plan,
            classes=self.toy.classes if classes is None else classes,
            image_ids=ids,
        )

    @cached_property
    def first_call(self) -> FirstCall:
        """The method's first call, on the whole batch."""
        record, before = self.record(), generator_states()
        maps = self.method.maps(record)
        changed = [name for name, state in generator_states().items() if state != before[name]]
        return FirstCall(record, maps, maps.detach().clone(), changed)

    @property
    def maps(self) -> Float[Tensor, "2 3 h w"]:
        """The maps of the first call, with which all other maps are compared."""
        return self.first_call.copy


@cache
def small_convolutional_network() -> ToyNetwork:
    """ShapesNet, with its trained weights."""
    # Height and width differ, and neither is a multiple of the other: a transposed map shows.
    images, labels = _drawings(64, 96)
    network = load_classifier("shapes_net").module
    return ToyNetwork(network, target_of(network), Target("pool"), images, *_class_slots(labels))


@cache
def small_transformer() -> ToyNetwork:
    """A vision transformer of two blocks, with random weights that are always the same."""
    from torchvision.models import VisionTransformer

    images, labels = _drawings(64, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=_N_CLASSES).eval()
        nn.init.normal_(network.heads[-1].weight)  # torchvision's is zero: no score, no gradient
    later = Target("encoder.ln", layout="tokens")
    return ToyNetwork(network, target_of(network), later, images, *_class_slots(labels))


@cache
def small_token_semantic_transformer() -> ToyNetwork:
    """A TS-CAM of two blocks, with random weights that are always the same."""
    from wsol_bench.models.paper_networks.ts_cam import TSCAM

    images, labels = _drawings(64, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TSCAM(32, 2, _N_CLASSES, img_size=64, depth=2).eval()
    later = Target("avgpool")
    return ToyNetwork(network, target_of(network), later, images, *_class_slots(labels))


class _TwoBranches(nn.Module):
    """A ShapesNet whose linear layer is a class convolution before the pooling, and a second one.

    Its logits are those of the ShapesNet. Both branches have the same weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features = network.get_submodule("features")
        state = network.get_submodule("fc").state_dict()
        state["weight"] = state["weight"][:, :, None, None]
        self.classifier_A, self.classifier_B = (nn.Conv2d(128, _N_CLASSES, 1) for _ in range(2))
        self.classifier_A.load_state_dict(state)
        self.classifier_B.load_state_dict(state)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch classes"]:
        maps: Tensor = self.classifier_A(self.features(images))
        return maps.mean(dim=(2, 3))


@cache
def small_network_of_two_branches() -> ToyNetwork:
    """ShapesNet's features, and the two classifiers of ACoL."""
    toy = small_convolutional_network()
    network = _TwoBranches(copy.deepcopy(toy.module)).eval()
    return toy._replace(
        module=network,
        target=Target("features", head="classifier_A"),
        later_target=Target("classifier_A"),
    )


def _drawings(height: int, width: int) -> tuple[Float32[Tensor, "2 3 height width"], list[int]]:
    """Two normalized drawings of the embedded data set, and their labels as output indices."""
    drawn = [draw_sample(0, "val", index) for index in range(len(IMAGE_IDS))]
    resized = [
        np.array(Image.fromarray(drawing.image).resize((width, height))) for _, drawing in drawn
    ]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
    return normalize(pixels, IMAGENET_MEAN, IMAGENET_STD), [label for label, _ in drawn]


def _class_slots(labels: Sequence[int]) -> tuple[Int64[Tensor, "2 3"], Int64[Tensor, "2 3"]]:
    """``classes`` and ``other_classes`` of a ``ToyNetwork``, for the labels of its images."""
    first, second = labels
    beside = [(label + step) % _N_CLASSES for label, step in ((first, 3), (first, 7), (second, 5))]
    classes = torch.tensor([[first, *beside[:2]], [second, second, beside[2]]])
    return classes, torch.cat([classes[:, :1], (classes[:, :1] + torch.tensor([1, 9])) % 16], 1)


def with_mixed_states(network: nn.Module) -> nn.Module:
    """The network with every state that a method might lose: modes, a gradient, a frozen weight."""
    for number, module in enumerate(network.modules()):
        module.training = number % 2 == 0
    first, second, *_ = network.parameters()
    first.grad = torch.ones_like(first)
    second.requires_grad_(False)
    return network


class _FailureError(RuntimeError):
    """The error of a network that is made to fail."""


@contextmanager
def failing(network: nn.Module, *, at: int | None) -> Iterator[list[int]]:
    """Make a network fail at the n-th call of a module without children; None for never.

    Yields:
        A list whose one entry is the number of such calls so far.
    """
    calls = [0]

    def count(module: nn.Module, inputs: Any) -> None:
        calls[0] += 1
        if calls[0] == at:
            raise _FailureError(f"the network fails at call {at}, on purpose")

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    with hooked(before=[(module, count) for module in leaves]):
        yield calls


def comes_from_failure(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, comes from a network made to fail."""
    while error is not None:
        if isinstance(error, _FailureError):
            return True
        error = error.__cause__ or error.__context__
    return False
