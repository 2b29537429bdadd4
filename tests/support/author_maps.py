"""The algorithms of authors' code, written out step by step from what that code computes.

Each is a plain loop over the network, in double precision where that matters, and uses nothing of
wsol_bench. A name is that of the authors' repository.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Asked(Protocol):
    """What is asked of the authors: a network, its layer, images, one class of each image."""

    model: nn.Module
    layer: nn.Module
    images: Tensor
    classes: Sequence[int]


AUTHORS: dict[str, Callable[..., Tensor]] = {}


def authors(repository: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a function ``(asked, **arguments)`` that returns maps (batch, h, w)."""

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        AUTHORS[repository] = function
        return function

    return register


@contextmanager
def output_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of a layer in the passes within the context, each in the graph of its pass."""
    outputs: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # what follows may work in place

    handle = layer.register_forward_hook(note)
    try:
        yield outputs
    finally:
        handle.remove()


@authors("haofanwang/Score-CAM")
def score_cam(asked: Asked) -> Tensor:
    """Resized channels, weighted by the probability of the image under the rescaled channel."""
    maps = []
    for image, output in zip(asked.images, asked.classes, strict=True):
        with torch.no_grad(), output_of(asked.layer) as outputs:
            asked.model(image[None])
        total = torch.zeros(image.shape[1:])
        for channel in outputs[0][0]:
            large = F.interpolate(channel[None, None], image.shape[1:], mode="bilinear")[0, 0]
            spread = large.max() - large.min()
            if spread == 0:
                continue
            with torch.no_grad():
                logits = asked.model((image * (large - large.min()) / spread)[None])
            total += logits.softmax(1)[0, output] * large
        maps.append(total.clamp(min=0))
    return torch.stack(maps)


@authors("adityac94/Grad_CAM_plus_plus")
def grad_cam_pp(asked: Asked) -> Tensor:
    """Coefficients of eq. 19, divided by their sum over the positions of positive gradient."""
    maps = []
    for image, output in zip(asked.images, asked.classes, strict=True):
        with output_of(asked.layer) as outputs:
            score = asked.model(image[None])[0, output]
        (slopes,) = torch.autograd.grad(score, outputs[0])
        g, A = slopes[0].double(), outputs[0][0].detach().double()
        first, second, third = (score.detach().double().exp() * g**power for power in (1, 2, 3))
        below = 2 * second + third * A.sum((1, 2), keepdim=True)
        alpha = second / torch.where(below == 0, 1.0, below)
        positive = first.clamp(min=0)
        whole = torch.where(positive > 0, alpha, 0.0).sum((1, 2), keepdim=True)
        alpha = alpha / torch.where(whole == 0, 1.0, whole)
        weights = (alpha * positive).sum((1, 2))
        maps.append(torch.einsum("c,chw->hw", weights, A).clamp(min=0))
    return torch.stack(maps).float()


@authors("caihuaiguang/pytorch-shapley-cam")
def shapley_cam(asked: Asked) -> Tensor:
    """g - H A / 2 over all tokens that the layer returns; the class token is cut off behind."""
    maps = []
    for image, output in zip(asked.images, asked.classes, strict=True):
        with sdpa_kernel(SDPBackend.MATH), output_of(asked.layer) as outputs:
            score = asked.model(image[None].requires_grad_(True))[0, output]
            (slopes,) = torch.autograd.grad(score, outputs[0], create_graph=True)
            (curved,) = torch.autograd.grad(slopes, outputs[0], outputs[0].detach())
        tokens = outputs[0][0, 1:].detach()
        weights = (slopes.detach() - curved / 2)[0, 1:].mean(0)
        side = round(len(tokens) ** 0.5)
        maps.append((tokens @ weights).reshape(side, side).clamp(min=0))
    return torch.stack(maps)


@authors("facebookresearch/TorchRay")
def torchray(asked: Asked, *, contrastive: bool) -> Tensor:
    """Excitation backprop, whose sums share out p by a / (a + b)."""
    return excitation_of_resnet(asked, "signed", contrastive=contrastive)


@authors("jimmie33/Caffe-ExcitationBP")
def caffe(asked: Asked, *, contrastive: bool) -> Tensor:
    """As TorchRay, since April 2017, though the README still says that shortcuts are ignored."""
    return excitation_of_resnet(asked, "signed", contrastive=contrastive)


@authors("jimmie33/Caffe-ExcitationBP/tree/a28023a5")
def caffe_before(asked: Asked, *, contrastive: bool) -> Tensor:
    """Sums give all p to the branch, as the README says."""
    return excitation_of_resnet(asked, "branch", contrastive=contrastive)


def excitation_of_resnet(asked: Asked, residual: str, *, contrastive: bool) -> Tensor:
    """Excitation backprop from the logits of a ResNet of basic blocks down to layer3.

    Batch normalization has positive scales, and passes p as it is.
    """
    p = p_of_resnet(asked.model, asked.images, asked.classes, residual, contrastive=contrastive)
    return p.sum(1).clamp(min=0) if contrastive else p.sum(1)


def p_of_resnet(
    net: Any, batch: Tensor, classes: Sequence[int], residual: str, *, contrastive: bool = False
) -> Tensor:
    """The winning probabilities (batch, c, h, w) at layer3."""
    with torch.no_grad():
        x = net.layer2(net.layer1(net.maxpool(net.bn1(net.conv1(batch).clone()).relu())))
        x = net.layer3(x)
        seen = []
        for block in net.layer4:
            hidden = block.bn1(block.conv1(x)).relu()
            branch = block.bn2(block.conv2(hidden))
            shortcut = x if block.downsample is None else block.downsample(x)
            seen.append((block, x, hidden, branch, shortcut))
            x = (branch + shortcut).relu()
    start = F.one_hot(torch.tensor(classes), net.fc.out_features).float()
    p = _marginal(net.fc, net.fc.weight, x.mean((2, 3)), start)
    if contrastive:
        p = p - _marginal(net.fc, -net.fc.weight, x.mean((2, 3)), start)
    p = x * (p / x.sum((2, 3)).clamp(min=1e-12))[:, :, None, None]
    for block, below, hidden, branch, shortcut in reversed(seen):
        if residual == "signed":
            whole = branch + shortcut
            safe = torch.where(whole == 0, 1.0, whole)
            of_branch, of_shortcut = (p * term / safe for term in (branch, shortcut))
        else:
            of_branch, of_shortcut = p, torch.zeros_like(p)
        if block.downsample is not None:
            one = block.downsample[0]
            of_shortcut = _marginal(one, one.weight, below, of_shortcut)
        of_hidden = _marginal(block.conv2, block.conv2.weight, hidden, of_branch)
        p = _marginal(block.conv1, block.conv1.weight, below, of_hidden) + of_shortcut
    return p


def _marginal(layer: Any, weight: Tensor, x: Tensor, p: Tensor) -> Tensor:
    """p of the inputs: x_j sum_i W+_ij p_i / (W+ x)_i, where the sum is over excited outputs."""
    x = x.clone().requires_grad_(True)
    positive = weight.detach().clamp(min=0)
    if isinstance(layer, nn.Linear):
        excited = F.linear(x, positive)
    else:
        excited = F.conv2d(x, positive, None, layer.stride, layer.padding)
    safe = torch.where(excited == 0, 1.0, excited)
    (passed,) = torch.autograd.grad(excited, x, torch.where(excited == 0, 0.0, p / safe))
    return x.detach() * passed
