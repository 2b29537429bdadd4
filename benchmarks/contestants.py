"""Grad-CAM by wsol_bench and by its peers captum, grad-cam and torchcam, for benchmarks/maps.py."""

import importlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from wsol_bench import localization_maps

# The number of best classes that each library makes maps of.
TOP_K = 5

MakeMaps = Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]
"""(model, its target layer, images, (batch, k) classes) -> (batch, k, h, w) maps"""


def by_wsol_bench(model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM by wsol_bench, which takes the classes from its one forward pass."""
    return localization_maps(model, images, methods=("grad_cam",), k=TOP_K)["grad_cam"]


def by_captum(model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM by captum: one ``attribute`` for each class, since it takes one target an image."""
    from captum.attr import LayerGradCam

    explainer = LayerGradCam(model, layer)
    maps = [
        explainer.attribute(images, target=target, relu_attributions=True) for target in classes.T
    ]
    return torch.cat(maps, dim=1).detach()


def by_grad_cam(
    model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor, name: str = "GradCAM"
) -> Tensor:
    """Grad-CAM by grad-cam: one call for each class; maps have the input's size, 0 to 1."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer]) as explainer:
        maps = [
            explainer(input_tensor=images, targets=[ClassifierOutputTarget(c) for c in target])
            for target in classes.T.tolist()
        ]
    return torch.from_numpy(np.stack(maps, axis=1))


def by_torchcam(
    model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor, name: str = "GradCAM"
) -> Tensor:
    """Grad-CAM by torchcam: a forward pass, then a backward pass for each class."""
    from torchcam import methods

    with getattr(methods, name)(model, target_layer=layer) as explainer:
        scores = model(images)
        maps = [
            explainer(target, scores, normalized=False, retain_graph=True)[0]
            for target in classes.T.tolist()
        ]
    return torch.stack(maps, dim=1)


# By the name to install; the module to import; how to make the maps.
CONTESTANTS: dict[str, tuple[str, MakeMaps]] = {
    "wsol-bench": ("wsol_bench", by_wsol_bench),
    "captum": ("captum.attr", by_captum),
    "grad-cam": ("pytorch_grad_cam", by_grad_cam),
    "torchcam": ("torchcam.methods", by_torchcam),
}


def missing_peers() -> dict[str, str]:
    """The libraries that cannot be imported, and why."""
    missing = {}
    for name, (module, _) in CONTESTANTS.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a peer does on import must not stop the others
            missing[name] = f"{type(error).__name__}: {error}"
    return missing
