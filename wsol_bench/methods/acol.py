"""ACoL: the class maps of two branches, the second of which sees what the first has not found."""

from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record, autocast, evaluation_mode
from wsol_bench.capture.network import difference, logits_of, uncompiled
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_method
from wsol_bench.models.hooks import hooked

__all__ = ["acol"]

_BRANCHES = ("classifier_A", "classifier_B")


@cam_method("acol", plan=Plan(), scope="image", paper="arXiv:1804.06962")
def acol(
    record: Record, *, threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
) -> Float[Tensor, "batch k h w"]:
    """Adversarial complementary learning, ACoL (Zhang et al., CVPR 2018), for networks of it.

    ``max(n(A_c), n(B_c))``, where ``A_c``, (h, w), is the map of class c that branch A makes of the
    features, and ``B_c`` that of branch B, which sees the features with zeros where ``n(A_c)`` is
    at least the threshold; n scales a map by its minimum and maximum to 0..1 (0 everywhere if it is
    constant). So each class slot has its own erasing, as in the evaluation of wsolevaluation, which
    gives the image's label to both branches. ``cam`` gives ``A_c`` without its bias.

    The network's modules ``classifier_A`` and ``classifier_B`` are the branches: both return a map
    of each class, and the means of the maps of A are the logits.

    Cost: one forward pass, and one pass of branch B for each class.

    Args:
        record: a record of any layer.
        threshold: the paper's delta. It must be that of the training, which no weights file holds.

    Raises:
        NotApplicableError: the network has no such branches.
    """
    probe = record.probe
    model = probe.model
    modules = dict(model.named_children())
    if missing := [name for name in _BRANCHES if name not in modules]:
        raise NotApplicableError(
            f"it has no module {missing[0]!r}, as networks of ACoL have (wsolevaluation/vgg16_acol)"
        )
    branch_a, branch_b = (modules[name] for name in _BRANCHES)
    with (
        torch.no_grad(),
        evaluation_mode(model),
        uncompiled(model),
        autocast(probe.images.device, probe.precision),
    ):
        features, maps_a = _of_branch_a(record, branch_a)
        maps = []
        for classes in record.classes.unbind(1):
            found = _of_class(maps_a, classes)
            erased = features * (found < threshold)[:, None]
            probe.cost.head += len(erased)
            maps.append(torch.maximum(found, _of_class(branch_b(erased).float(), classes)))
    return torch.stack(maps, dim=1)


def _of_branch_a(
    record: Record, branch: nn.Module
) -> tuple[Float[Tensor, "batch c h w"], Float[Tensor, "batch n h w"]]:
    """The features that branch A is given, and its map of each class."""
    probe = record.probe
    seen = list[tuple[Any, Any]]()

    def take(module: nn.Module, inputs: Any, output: Any) -> None:
        # What follows may work in place.
        seen.append((inputs[0].clone(), output.float()))

    with hooked(after=[(branch, take)]):
        logits = logits_of(probe.model, probe.images, probe.cost)
    features, maps = seen[0] if len(seen) == 1 else (logits, logits)
    if (
        maps.ndim != 4
        or maps.shape[:2] != logits.shape  # a single logit, or targets in the place of classes
        or difference(maps.mean(dim=(2, 3)), logits, probe.model, precision=probe.precision)
    ):
        raise NotApplicableError(
            f"the means of what {_BRANCHES[0]!r} returns are not the network's logits"
        )
    return features, maps


def _of_class(
    maps: Float[Tensor, "batch n h w"], classes: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch h w"]:
    """The map of one class of each image, scaled to 0..1."""
    chosen = maps[torch.arange(len(maps), device=maps.device), classes]
    above = chosen - chosen.amin(dim=(1, 2), keepdim=True)
    maxima = above.amax(dim=(1, 2), keepdim=True)
    return above / torch.where(maxima == 0, 1.0, maxima)
