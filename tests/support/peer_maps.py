"""Maps that other libraries and authors' code make of the networks in agreement.yaml."""

import copy
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from agreement import (
    Network,
    Pair,
)
from author_maps import AUTHORS
from torch import Tensor, nn

from wsol_bench.models.target_layers import Target, find_module


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and warnings of other libraries."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def their_maps(pair: Pair, net: Network) -> Tensor:
    """The peer's maps (batch, k, h, w); each class slot gets a separate copy of the network."""
    library, _, called = pair.peer.partition("/")
    libraries = {"torchcam": _torchcam, "captum": _captum, "pytorch_grad_cam": _pytorch_grad_cam}
    make = libraries.get(library, _authors)
    maps = []
    for classes in net.record.classes.T.tolist():
        model, images = copy.deepcopy(net.model), net.images.clone().requires_grad_(True)
        with quiet():
            attribution = make(pair, called, model, net.target, images, classes)
        maps.append(_READ[pair.read](torch.as_tensor(attribution).detach()))
    return torch.stack(maps, dim=1)


_READ: dict[str, Callable[[Tensor], Tensor]] = {
    "map": lambda maps: maps,
    "strongest": lambda maps: maps.abs().amax(1),
    "size_of_sum": lambda maps: maps.sum(1).abs(),
    "relu_of_sum": lambda maps: maps.sum(1).relu(),
    "sum_of_relu": lambda maps: maps.relu().sum(1),
    "any_color": lambda maps: maps[:, 0],
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
        if arguments.pop("target_layer", None) == "the last 2 blocks":
            layer = layer[-2:]
        if arguments.pop("score_projection", None) == "class token":
            arguments["score_projection"] = lambda tokens: model.heads(
                model.encoder.ln(tokens)[:, 0]
            )
    with kind(model, layer, **arguments) as extractor:
        scores = model(images)
        attribution: Tensor = extractor(classes, scores, normalized=False, **pair.call)[0]
    return attribution


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
    attribution: Tensor = explainer.attribute(images, target=classes, **arguments)
    return attribution[:, 0] if called == "LayerGradCam" else attribution


def _authors(
    pair: Pair, called: str, model: nn.Module, target: Target, images: Tensor, classes: list[int]
) -> Tensor:
    asked = SimpleNamespace(
        model=model, layer=find_module(model, target.layer), images=images.detach(), classes=classes
    )
    return AUTHORS[pair.peer](asked, **pair.call)
