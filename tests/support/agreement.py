"""Pairs of our map methods and other libraries' methods, and how alike their maps are.

tests/reference/agreement.yaml lists the pairs and the tolerance; agreement_page writes
docs/agreement.md.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from networks import calibrate, seeded, small_vit
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from wsol_bench.models.target_layers import Target, target_of

REPOSITORY = Path(__file__).resolve().parents[2]

SPECIFICATION: dict[str, Any] = yaml.safe_load(
    (REPOSITORY / "tests/reference/agreement.yaml").read_text()
)

LIBRARIES = {
    "captum": "captum",
    "pytorch_grad_cam": "grad-cam",
    "torchcam": "torchcam",
}  # name of the module: name to install


@dataclass(frozen=True)
class Pair:
    """A variant of ours, and a class of another library or authors' code, on a network.

    ``instead_of`` names the method whose defaults one would expect in the variant's place.
    """

    method: str
    peer: str
    network: str
    options: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    read: str = "map"
    instead_of: str | None = None

    @property
    def ours(self) -> str:
        return called(self.method, self.options)

    @property
    def theirs(self) -> str:
        return called(self.peer, {**self.arguments, **self.call})

    @property
    def key(self) -> str:
        return f"{self.ours} = {self.theirs} on {self.network}"

    @property
    def explained(self) -> dict[str, Any] | None:
        """The entry that explains why the maps differ; None if the maps must agree."""
        return next(
            (
                entry
                for entry in SPECIFICATION.get("explained", [])
                if (entry["method"], entry["peer"]) == (self.method, self.peer)
                and self.network in entry["correlation"]
                and self.options == entry.get("options", self.options)
                and self.arguments == entry.get("arguments", self.arguments)
            ),
            None,
        )


def called(name: str, arguments: dict[str, Any]) -> str:
    listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{name}({listed})" if listed else name


def all_pairs() -> list[Pair]:
    return [
        Pair(
            entry["method"],
            network=network,
            options=entry.get("options", {}),
            instead_of=entry.get("instead_of"),
            **peer,
        )
        for entry in SPECIFICATION["pairs"]
        for peer in entry["peers"]
        for network in entry["networks"]
    ]


class Agreement(NamedTuple):
    """The agreement of two methods' maps over all images and class slots; each map from 0 to 1.

    Attributes:
        correlation: the lowest correlation of two maps.
        difference: the largest difference of two maps at a position.
    """

    correlation: float
    difference: float

    @property
    def holds(self) -> bool:
        limits = SPECIFICATION["tolerance"]
        return self.correlation >= limits["correlation"] and self.difference <= limits["difference"]


@dataclass(frozen=True)
class Network:
    """A network with the images of the specification as its input, and k classes of each."""

    model: nn.Module
    images: Tensor
    target: Target
    record: Record


VIT = {"num_layers": 4, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}


@cache
def network(data: Path, name: str) -> Network:
    entry = SPECIFICATION["networks"][name]
    if entry["model"] == "resnet18":
        model = seeded(lambda: resnet18(num_classes=10))
    elif entry["model"] == "vit":
        model = seeded(lambda: small_vit(10, **VIT, image_size=entry["side"]))
    else:
        weights = entry["weights"]
        weights = "random" if weights == "random" else str(data / weights)
        classes = [f"class {number:03}" for number in range(1000)]
        model = load_classifier(entry["model"], weights=weights, dataset_classes=classes).module
    if entry.get("relu") == "gelu":
        for parent in list(model.modules()):
            for child, module in parent.named_children():
                if isinstance(module, nn.ReLU):
                    setattr(parent, child, nn.GELU())
    if not entry.get("last_relu", True):
        model.classifier[2] = nn.Identity()
    target = target_of(model, layer=entry.get("layer"))
    folder = data / "ilsvrc-mini/ILSVRC/Data/CLS-LOC/val"
    size = (entry["side"], entry["side"])
    pixels = torch.stack(
        [
            torch.from_numpy(
                np.array(
                    load_image(folder / f"{stem}.JPEG").resize(size, Image.Resampling.BILINEAR)
                )
            ).permute(2, 0, 1)
            for stem in SPECIFICATION["images"][: entry.get("images")]
        ]
    )
    images = normalize(pixels, IMAGENET_MEAN, IMAGENET_STD).contiguous()
    if entry["model"] == "resnet18":
        model = seeded(lambda: calibrate(model, images))
    classes: Any = BestClasses(SPECIFICATION["k"])
    if entry.get("classes") == "lowest":
        with torch.no_grad():
            classes = model(images).topk(SPECIFICATION["k"], largest=False).indices
    record = capture(model, images, [target], Plan(gradients=True), classes=classes)
    return Network(model, images, target, record)


def default_maps(pair: Pair, net: Network) -> Tensor:
    """The maps that one would expect in the place of the pair's variant."""
    assert pair.instead_of is not None
    return cam_methods.get(pair.instead_of)(net.record)


def our_maps(pair: Pair, net: Network) -> Tensor:
    method = cam_methods.get(pair.method).with_options(pair.options, "agreement.yaml")
    return method(net.record)


def compare(ours: Tensor, theirs: Tensor, pair: Pair) -> Agreement:
    """The agreement of maps (batch, k, h, w); ours are first resized as their maker does."""
    resizes = ("pytorch_grad_cam/", "haofanwang/Score-CAM")
    if pair.peer.startswith(resizes) and ours.shape != theirs.shape:
        ours = F.interpolate(ours.relu(), theirs.shape[-2:], mode="bilinear", align_corners=False)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    both = [_unit_range(maps.double().flatten(2)) for maps in (ours, theirs)]
    centered = [maps - maps.mean(2, keepdim=True) for maps in both]
    correlation = F.cosine_similarity(*centered, dim=2)
    # A constant map has no correlation; two constant maps agree.
    flat = [maps.amax(2) == 0 for maps in both]
    correlation = torch.where(flat[0] & flat[1], 1.0, correlation)
    return Agreement(float(correlation.min()), float((both[0] - both[1]).abs().max()))


def _unit_range(maps: Tensor) -> Tensor:
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)
