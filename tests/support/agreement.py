"""Maps of other libraries beside ours, by tests/reference/agreement.yaml.

Imported by tests/test_agreement.py; run by scripts/agreement, writes docs/agreement.md.
"""

import copy
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import cam_methods
from wsol_bench.methods.full_grad import spatial_bias
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.models.classifiers import IMAGENET_MEAN, IMAGENET_STD, load_classifier
from wsol_bench.models.target_layers import Target, find_module, target_of
from wsol_bench.report.tables import markdown_table

REPOSITORY = Path(__file__).resolve().parents[2]
SPECIFICATION: dict[str, Any] = yaml.safe_load(
    (REPOSITORY / "tests/reference/agreement.yaml").read_text()
)
LIBRARIES = {
    "captum": "captum",
    "pytorch_grad_cam": "grad-cam",
    "torchcam": "torchcam",
}  # name of the module: name to install

# ---- what is compared


@dataclass(frozen=True)
class Pair:
    """A method of ours, and a class of another library, on a network."""

    method: str
    peer: str
    network: str
    options: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    read: str = "map"

    @property
    def ours(self) -> str:
        return _called(self.method, self.options)

    @property
    def theirs(self) -> str:
        return _called(self.peer, {**self.arguments, **self.call})

    @property
    def key(self) -> str:
        return f"{self.ours} = {self.theirs} on {self.network}"

    @property
    def explained(self) -> dict[str, Any] | None:
        """The entry that explains why the maps differ; None where they have to agree."""
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


def _called(name: str, arguments: dict[str, Any]) -> str:
    listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{name}({listed})" if listed else name


def all_pairs() -> list[Pair]:
    return [
        Pair(entry["method"], network=network, options=entry.get("options", {}), **peer)
        for entry in SPECIFICATION["pairs"]
        for peer in entry["peers"]
        for network in entry["networks"]
    ]


class Agreement(NamedTuple):
    """Of the maps of all images and slots, each from 0 to 1."""

    correlation: float
    difference: float

    @property
    def holds(self) -> bool:
        limits = SPECIFICATION["tolerance"]
        return self.correlation >= limits["correlation"] and self.difference <= limits["difference"]


# ---- images and networks


@dataclass(frozen=True)
class Network:
    """A network with the images of the specification as its input, and k classes of each."""

    model: nn.Module
    images: Tensor
    target: Target
    record: Record


@cache
def network(data: Path, name: str) -> Network:
    entry = SPECIFICATION["networks"][name]
    if entry["model"] == "vit":
        model = _vit(entry["side"])
    else:
        weights = entry["weights"]
        weights = "random" if weights == "random" else str(data / weights)
        classes = [f"class {number}" for number in range(1000)]
        model = load_classifier(entry["model"], weights=weights, dataset_classes=classes).module
    if entry.get("relu") == "gelu":
        for parent in list(model.modules()):
            for child, module in parent.named_children():
                if isinstance(module, nn.ReLU):
                    setattr(parent, child, nn.GELU())
    target = target_of(model, layer=entry.get("layer"))
    folder = data / "ilsvrc-mini/ILSVRC/Data/CLS-LOC/val"
    size = (entry["side"], entry["side"])
    pixels = torch.stack(
        [
            torch.from_numpy(
                np.array(load_image(folder / f"{one}.JPEG").resize(size, Image.Resampling.BILINEAR))
            ).permute(2, 0, 1)
            for one in SPECIFICATION["images"][: entry.get("images")]
        ]
    )
    images = normalize(pixels, IMAGENET_MEAN, IMAGENET_STD).contiguous()
    record = capture(
        model, images, [target], Plan(gradients=True), classes=BestClasses(SPECIFICATION["k"])
    )
    return Network(model, images, target, record)


def _vit(side: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(side, 16, 4, 4, 64, 128, num_classes=10)
        nn.init.normal_(model.heads.head.weight)  # torchvision's is zero, and so were all maps
    return model.eval()


# ---- their maps


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and warnings of others."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def their_maps(pair: Pair, net: Network) -> Tensor:
    """(batch, k, h, w) maps of the peer; each class has a copy of the network of its own."""
    library, _, called = pair.peer.partition("/")
    make = {"torchcam": _torchcam, "captum": _captum, "pytorch_grad_cam": _pytorch_grad_cam}
    maps = []
    for classes in net.record.classes.T.tolist():
        model, images = copy.deepcopy(net.model), net.images.clone().requires_grad_(True)
        with quiet():
            found = make[library](pair, called, model, net.target, images, classes)
        maps.append(_READ[pair.read](torch.as_tensor(found).detach()))
    return torch.stack(maps, dim=1)


_READ: dict[str, Callable[[Tensor], Tensor]] = {
    "map": lambda found: found,
    "strongest": lambda found: found.abs().amax(1),
    "size_of_sum": lambda found: found.sum(1).abs(),
    "relu_of_sum": lambda found: found.sum(1).relu(),
    "sum_of_relu": lambda found: found.relu().sum(1),
    "any_color": lambda found: found[:, 0],
}


def _torchcam(
    pair: Pair, called: str, model: nn.Module, target: Target, images: Tensor, classes: list[int]
) -> Tensor:
    kind = getattr(importlib.import_module("torchcam.methods"), called)
    layer: Any = target.layer
    arguments = dict(pair.arguments)
    if called == "CAM":
        arguments["fc_layer"] = target.head
    if called == "LeGrad":
        layer = list(model.encoder.layers)
        if arguments.pop("score_projection", None) == "class token":
            arguments["score_projection"] = lambda tokens: model.heads(
                model.encoder.ln(tokens)[:, 0]
            )
    with kind(model, layer, **arguments) as extractor:
        scores = model(images)
        found: Tensor = extractor(classes, scores, normalized=False, **pair.call)[0]
    return found


def _pytorch_grad_cam(
    pair: Pair, called: str, model: nn.Module, target: Target, images: Tensor, classes: list[int]
) -> Tensor:
    library = importlib.import_module("pytorch_grad_cam")
    kind = getattr(library, called)
    if called == "GuidedBackpropReLUModel":
        # One image a call, channels last.
        pixels = [
            kind(copy.deepcopy(model))(image[None].detach(), index)
            for image, index in zip(images, classes, strict=True)
        ]
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    layers = [find_module(model, target.layer)]
    if called == "FinerCAM":  # one class for all images of a call
        return torch.cat(
            [
                torch.from_numpy(kind(model, layers)(image[None], target_idx=index, **pair.call))
                for image, index in zip(images.detach(), classes, strict=True)
            ]
        )
    scores = [library.utils.model_targets.ClassifierOutputTarget(index) for index in classes]
    with kind(model, layers, **pair.arguments) as extractor:
        return torch.from_numpy(extractor(images, scores, **pair.call))


def _captum(
    pair: Pair, called: str, model: nn.Module, target: Target, images: Tensor, classes: list[int]
) -> Tensor:
    library = importlib.import_module("captum.attr")
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in pair.call.items()
    }
    if called == "Occlusion":
        explainer = library.Occlusion(lambda inputs: model(inputs).softmax(1))
    elif called == "NoiseTunnel of Saliency":
        explainer = library.NoiseTunnel(library.Saliency(model))
    elif "Layer" in called or called == "GuidedGradCam":
        explainer = getattr(library, called)(model, find_module(model, target.layer))
    else:
        explainer = getattr(library, called)(model)
    found: Tensor = explainer.attribute(images, target=classes, **arguments)
    return found[:, 0] if called == "LayerGradCam" else found


# ---- agreement


def our_maps(pair: Pair, net: Network) -> Tensor:
    method = cam_methods.get(pair.method).with_options(pair.options, "agreement.yaml")
    return method(net.record)


def compare(ours: Tensor, theirs: Tensor, pair: Pair) -> Agreement:
    """Of (batch, k, h, w) maps; of pytorch_grad_cam's, what is made of ours as they are made."""
    if pair.peer.startswith("pytorch_grad_cam") and ours.shape != theirs.shape:
        ours = F.interpolate(ours.relu(), theirs.shape[-2:], mode="bilinear", align_corners=False)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    both = [_unit_range(maps.double().flatten(2)) for maps in (ours, theirs)]
    centered = [maps - maps.mean(2, keepdim=True) for maps in both]
    correlation = F.cosine_similarity(*centered, dim=2)
    # Of a constant map nothing can be said, unless both are.
    flat = [maps.amax(2) == 0 for maps in both]
    correlation = torch.where(flat[0] & flat[1], 1.0, correlation)
    return Agreement(float(correlation.min()), float((both[0] - both[1]).abs().max()))


def _unit_range(maps: Tensor) -> Tensor:
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


# ---- the equations of peers that differ, on our record

EQUATIONS: dict[str, Callable[[Network, Pair, Tensor], Tensor]] = {}


def equation(function: Callable[[Network, Pair, Tensor], Tensor]) -> None:
    """Register what makes a peer's maps: of (network, pair, the peer's maps)."""
    EQUATIONS[function.__name__] = function


def _combined(weights: Tensor, record: Record) -> Tensor:
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()


@equation
def cubes(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    return _combined(net.record.gradients.relu().pow(3).sum((-2, -1)), net.record)


@equation
def epsilon(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    g, totals = net.record.gradients, net.record.activations.sum((-2, -1))[:, None, :, None, None]
    alpha = torch.where(g == 0, 0.0, g**2 / (2 * g**2 + totals * g**3 + 1e-6))
    return _combined((alpha * g.relu()).sum((-2, -1)), net.record)


@equation
def cube_inside_the_sum(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    g, A = net.record.gradients, net.record.activations[:, None]
    alpha = g**2 / (2 * g**2 + (A * g**3).sum((-2, -1), keepdim=True) + 1e-8)
    return _combined((alpha * g.relu()).sum((-2, -1)), net.record)


@equation
def either_sign(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    """The centered map or its negative, whichever the peer's is more like."""
    options = {"centered": True}
    ours = cam_methods.get(pair.method).with_options(options, "agreement.yaml")(net.record)
    large = F.interpolate(ours, theirs.shape[-2:], mode="bilinear", align_corners=False)
    fits = [((sign * large).relu() * theirs).sum((-2, -1), keepdim=True) for sign in (1, -1)]
    return torch.where(fits[0] >= fits[1], ours, -ours)


@equation
def weighed_by_probability(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    record, alpha = net.record, pair.call["alpha"]
    maps = []
    for classes in record.classes.T:
        activations = record.activations.clone().requires_grad_(True)
        with torch.enable_grad():
            logits = record.head(activations, torch.arange(len(activations)))
            own = logits.gather(1, classes[:, None])
            near = (logits - own).abs().detach().argsort(1)[:, 1:4]
            shares = logits.softmax(1).gather(1, near)
            score = shares * (own - alpha * logits.gather(1, near))
            (slopes,) = torch.autograd.grad(
                (score.sum(1) / (shares.sum(1) + 1e-9)).sum(), activations
            )
        maps.append(_combined(slopes.mean((-2, -1))[:, None], record)[:, 0])
    return torch.stack(maps, dim=1)


@equation
def scaled_before_resizing(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(_scaled(net.record.activations), net, align_corners=False)
    return _score_weighted(net, [masks])


@equation
def corners_aligned(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(net.record.activations, net, align_corners=True)
    return _score_weighted(net, [_scaled(masks)])


@equation
def one_more_step(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    masks = _resized(_scaled(net.record.activations), net, align_corners=False)
    n = pair.options["steps"]
    return _score_weighted(net, [i * (i + 1) / 2 / n * masks for i in range(1, n + 1)])


def _scaled(channels: Tensor) -> Tensor:
    low, high = channels.amin((-2, -1), keepdim=True), channels.amax((-2, -1), keepdim=True)
    return (channels - low) / (high - low + 1e-8)


def _resized(channels: Tensor, net: Network, *, align_corners: bool) -> Tensor:
    side = net.images.shape[-2:]
    return F.interpolate(channels, side, mode="bilinear", align_corners=align_corners)


def _score_weighted(net: Network, masks: list[Tensor]) -> Tensor:
    """Score-CAM with masks (batch, c, height, width); of several, the mean score."""
    record = net.record
    with torch.no_grad():
        of_images = [
            torch.stack(
                [
                    net.model(one[b, :, None] * net.images[b])[:, record.classes[b]].T
                    for b in range(len(net.images))
                ]
            )
            for one in masks
        ]
    return _combined(torch.stack(of_images).mean(0).softmax(-1), record)


@equation
def each_channel_scaled(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    def part(products: Tensor) -> Tensor:
        sizes = products.abs()
        sizes = sizes - sizes.amin((-2, -1), keepdim=True)
        sizes = sizes / (sizes.amax((-2, -1), keepdim=True) + 1e-7)
        summed = sizes.sum(2)
        return F.interpolate(summed, theirs.shape[-2:], mode="bilinear", align_corners=False)

    probe, classes = net.record.probe, net.record.classes
    maps = part(probe.pixel_gradients(classes) * net.images[:, None])
    biases = {name: spatial_bias(module) for name, module in net.model.named_modules()}
    biases = {name: bias for name, bias in biases.items() if bias is not None}
    for name, (_, slopes) in probe.gradients_at(list(biases), classes).items():
        maps = maps + part(slopes * biases[name][:, None, None])
    return maps


@equation
def plain_gradient(net: Network, pair: Pair, theirs: Tensor) -> Tensor:
    maps = net.record.probe.pixel_gradients(net.record.classes).abs().amax(2)
    if pair.method == "guided_grad_cam":
        maps = maps * _resized(grad_cam(net.record), net, align_corners=False)
    return maps


# ---- the page

PAGE = """\
# Agreement with other libraries

    WSOL_BENCH_DATA=<folder of the real data> scripts/agreement

writes this page. Every built-in map method that {libraries} has, too, on the same
real images and networks. Images, networks, arguments and tolerance are fixed in
[tests/reference/agreement.yaml](../tests/reference/agreement.yaml), which was written before the
first comparison (its head says what has changed since); `tests/test_agreement.py` holds every line.

Each map goes from 0 to 1. The correlation is the lowest, and the difference the largest, of
{images} images and the {k} best classes of each (of {fewer} images on `small` networks). Maps agree
where the correlation is at least {correlation} and the difference at most {difference}. Where a
method draws random numbers it is compared without noise.

Networks: {networks}.

{table}

## What differs, and why

A test holds that these differ as they did (but for the sign of singular vectors, which depends on
the machine), and, but for LeGrad, that the other library's equation on our record of the network
gives its map, within the same tolerance. g is the gradient of the class score y^c at the
activation A.

{explained}

## Methods that none of the three has

{alone}
"""


def page(data: Path) -> str:
    lines = []
    for pair in all_pairs():
        net = network(data, pair.network)
        found = compare(our_maps(pair, net), their_maps(pair, net), pair)
        entry = pair.explained
        verdict = (
            "agrees" if found.holds else f"differs: {entry['why'] if entry else 'unexplained'}"
        )
        lines.append(
            {
                "method": f"`{pair.ours}`",
                "peer": f"`{pair.theirs}`",
                "network": pair.network,
                "correlation": f"{_rounded(found.correlation, np.floor):.4f}",
                "difference": f"{_rounded(found.difference, np.ceil):.4f}",
                "verdict": verdict,
            }
        )
        print(" | ".join(lines[-1].values()), file=sys.stderr, flush=True)
    networks = SPECIFICATION["networks"]
    return PAGE.format(
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES.values())
        + f" (torch {version('torch')})",
        images=len(SPECIFICATION["images"]),
        k=SPECIFICATION["k"],
        fewer=min(entry.get("images", 99) for entry in networks.values()),
        **SPECIFICATION["tolerance"],
        networks="; ".join(_described(name) for name in networks),
        table=markdown_table(pd.DataFrame(lines)),
        explained="\n".join(_explanation(entry) for entry in SPECIFICATION["explained"]),
        alone="\n".join(f"- `{n}`: {why}" for n, why in SPECIFICATION["without_a_peer"].items()),
    )


def _rounded(value: float, to_worse: Any) -> float:
    """Four digits, never better than it is, but for what rounding of float32 does."""
    return float(to_worse(round(value, 5) * 1e4) / 1e4)


def _described(name: str) -> str:
    entry = SPECIFICATION["networks"][name]
    weights = "random weights" if entry["weights"] == "random" else "trained"
    layer = f", layer `{entry['layer']}`" if "layer" in entry else ""
    relu = ", GELU for each ReLU" if "relu" in entry else ""
    return f"{name} ({weights}, {entry['side']} pixels{layer}{relu})"


def _explanation(entry: dict[str, Any]) -> str:
    ours = _called(entry["method"], entry.get("options", {}))
    return (
        f"- `{ours}` and `{entry['peer']}`: {entry['why']}. Ours: {entry['ours']}. "
        f"Theirs: {entry['theirs']}."
    )


if __name__ == "__main__":
    if "WSOL_BENCH_DATA" not in os.environ:
        sys.exit("set WSOL_BENCH_DATA to the folder of real data")
    text = page(Path(os.environ["WSOL_BENCH_DATA"]))
    (REPOSITORY / "docs/agreement.md").write_text(text)
