"""Tell whether a network's outputs are scores before softmax, or something else."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["findings_of", "noise_images", "single_findings"]

# A sum of a thousand probabilities, in half precision, is this near to one.
_TOLERANCE = 1e-2
# The contrast of the second image: scores of most networks grow with it, probabilities do not.
_CONTRAST = 30.0

# Operations that only move the values of an output, by the beginnings of their names in a graph.
_MOVING = (
    "Cat",
    "Unsqueeze",
    "Squeeze",
    "View",
    "UnsafeView",
    "Select",
    "Slice",
    "Clone",
    "ToCopy",
)

_MEND = (
    "Let the network return its scores before that layer: take the layer out of its forward, or "
    "load the model with a builder that does"
)


def noise_images(size: int) -> Float[Tensor, "2 3 size size"]:
    """Two images of noise, one of high contrast, which are the same in every run.

    A blank image would not do: it can give all classes one score.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, size, size, generator=generator)
    return images * torch.tensor([1.0, _CONTRAST])[:, None, None, None]


def findings_of(outputs: Float[Tensor, "batch n"]) -> tuple[str, ...]:
    """Say what speaks against outputs as scores before softmax, in sentences without their ends.

    Args:
        outputs: the outputs for the images of ``noise_images``.
    """
    values = outputs.detach().double()
    if values.shape[1] < 2 or not values.isfinite().all():
        return ()
    if bool((values == values[:, :1]).all()):
        return (
            "its outputs are the same for all classes, on images of noise: maps of such classes "
            "are zero or arbitrary. Are the weights of its head loaded?",
        )
    total = values.sum(dim=1)
    if bool((values >= 0).all()) and bool(((total / total[0] - 1).abs() < _TOLERANCE).all()):
        words = "one" if abs(float(total[0]) - 1) < _TOLERANCE else f"{float(total[0]):.4g}"
        return (
            f"its outputs sum to {words} for each image, as behind a softmax inside the network: "
            "where it is certain of a class, gradients are near zero, and maps made from them "
            f"are near zero or noise. {_MEND}",
        )
    if bool(((values >= 0) & (values <= 1)).all()):
        return (
            "its outputs all lie between 0 and 1, as behind a sigmoid inside the network: where it "
            "is certain of a class, gradients saturate near zero, and maps made from them are near "
            f"zero or noise. {_MEND}",
        )
    if bool((values <= 0).all()) and bool((values.logsumexp(dim=1).abs() < _TOLERANCE).all()):
        return (
            "its outputs are logarithms of probabilities, as behind a log_softmax inside the "
            "network: a map of one class is then made against all others, and vanishes where the "
            f"network is certain. {_MEND}",
        )
    return ()


def single_findings(module: nn.Module, size: int) -> tuple[str, ...]:
    """Say whether the single output of a network is a probability, in sentences without their ends.

    Values from 0 to 1 would not tell: a logit may lie there. The operation that gave them does.

    Args:
        module: the network, which returns the scores [-y, y] of its single output y.
        size: side in pixels of the images that it takes.
    """
    with torch.enable_grad():
        node = module(noise_images(size).requires_grad_(True)).grad_fn
    while node is not None and node.name().startswith(_MOVING):
        node = node.next_functions[-1][0]
    if node is None or not node.name().startswith(("Sigmoid", "Softmax")):
        return ()
    return (
        "its single output is behind a sigmoid inside the network: where it is certain of a class, "
        "gradients saturate near zero, and maps made from them are near zero or noise; and the "
        f"sigmoid of a probability is no probability. {_MEND}",
    )
