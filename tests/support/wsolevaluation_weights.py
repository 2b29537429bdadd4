"""Weights, images and labels by a formula, for networks of wsolevaluation and of ours alike."""

import hashlib
import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

N_CLASSES = 7
LABELS = torch.tensor([3, 5])
# Steps in the random numbers of a weight, for each of its dimensions: these share their numbers, so
# that a file of a whole network is small and quickly made.
_STEPS = (11, 17, 1, 3)


def format_of(network: nn.Module) -> str:
    """A digest of the names and shapes of a state_dict."""
    lines = [f"{key} {tuple(value.shape)}\n" for key, value in sorted(network.state_dict().items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def weights_for(network: nn.Module) -> dict[str, Tensor]:
    """A state_dict for a network, each tensor made from its name and shape alone."""
    return {key: _values(key, value.shape) for key, value in network.state_dict().items()}


def _values(key: str, shape: torch.Size) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    steps = _STEPS[: len(shape)] if len(shape) > 1 else (1,)
    length = 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    # A stream that numpy keeps as it is in all versions.
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(length)
    if len(shape) > 1:
        noise *= math.sqrt(2 / math.prod(shape[1:]))
    elif key.endswith("running_var"):
        noise = 1 + 0.2 * np.abs(noise)
    else:
        noise *= 0.1
        # Without the factor at its end, each residual block would double the signal.
        noise += 0.0 if key.endswith(("bias", "mean")) else 0.3 if "bn3" in key else 1.0
    return torch.from_numpy(noise).float().as_strided(tuple(shape), steps)


def two_images() -> Tensor:
    """Two images of noise, (2, 3, 48, 64)."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal((2, 3, 48, 64))).float()


def checkpoint(architecture: str, state: Mapping[str, Tensor]) -> dict[str, object]:
    """What the authors' training saves: see ``_torch_save_model`` in their main.py."""
    momentum = {"momentum_buffer": torch.zeros(3)}
    return {
        "architecture": architecture,
        "epoch": 10,
        "state_dict": dict(state),
        "optimizer": {"state": {0: momentum}, "param_groups": [{"lr": 0.01, "params": [0]}]},
    }
