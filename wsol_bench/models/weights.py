"""The weights of a network: read from a file without executing it, loaded, and fingerprinted."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsol_bench.errors import ModelError
from wsol_bench.models.classes import ClassOrder, distinct_wnids

__all__ = ["StoredWeights", "fingerprint", "load_state", "read_weights", "weights_file"]

_SUFFIXES = {".pth", ".pt", ".safetensors", ".tar", ".bin"}
# Keys under which a checkpoint may hold its state_dict.
_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "net")


class StoredWeights(NamedTuple):
    """The content of a weights file.

    Attributes:
        state: the state_dict.
        order: the classes that the file lists under "wnids"; None if it lists none.
    """

    state: dict[str, Tensor]
    order: ClassOrder | None


def weights_file(weights: str) -> Path | None:
    """The path that a model's ``weights`` names; None if it names published or random weights."""
    path = Path(weights)
    return path if path.suffix in _SUFFIXES or path.is_file() else None


def read_weights(path: Path) -> StoredWeights:
    """Read a .safetensors file or a torch checkpoint. Nothing in the file is executed.

    Raises:
        ModelError: there is no such file, it cannot be read, or it holds no state_dict.
    """
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist; correct the model's 'weights:'")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)


def _read_safetensors(path: Path) -> StoredWeights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get("wnids", "null")
    except SafetensorError as error:
        raise ModelError(f"weights file {path} is not a safetensors file: {error}") from error
    try:
        return StoredWeights(state, _class_order(json.loads(text), path))
    except json.JSONDecodeError as error:
        raise ModelError(f"weights file {path}: 'wnids' is not JSON: {error}") from error


def _read_checkpoint(path: Path) -> StoredWeights:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead the reader to errors of any kind
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"weights file {path} cannot be loaded as tensors alone (weights_only=True): {reason} "
            "Save a state_dict, as .pth or .safetensors"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f"weights file {path}: expected a state_dict or a mapping that holds one, found "
            f"{type(content).__name__}"
        )
    nested = next(
        (content[key] for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), content
    )
    state = {
        key: value
        for key, value in nested.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if all(key.startswith("module.") for key in state):  # saved from a DataParallel
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if not state:
        raise ModelError(
            f"weights file {path}: expected a state_dict or a mapping that holds one under "
            f"{' or '.join(_NESTED_KEYS)}, found keys {', '.join(map(str, list(content)[:8]))}"
        )
    return StoredWeights(state, _class_order(content.get("wnids"), path))


def _class_order(listed: object, path: Path) -> ClassOrder | None:
    """The classes that a weights file lists; None if it lists none."""
    if listed is None:
        return None
    if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
        raise ModelError(
            f"weights file {path}: expected 'wnids' to be a list of names in the order of the "
            f"outputs, found {listed!r:.80}"
        )
    origin = f"'wnids' in {path}"
    return ClassOrder(distinct_wnids(listed, origin), origin)


def load_state(module: nn.Module, state: dict[str, Tensor], owner: str) -> None:
    """Load a state_dict into a network.

    Auxiliary classifiers in the state are left out, as they never run in evaluation mode.

    Args:
        module: the network.
        state: the state_dict.
        owner: name of the network and the file, for errors.

    Raises:
        ModelError: the weights do not fit the network.
    """
    own = module.state_dict()
    extra = [key for key in state if key not in own and not key.lower().startswith("aux")]
    # Older files lack this counter, which evaluation never reads.
    state = {key: own[key] for key in own if key.endswith("num_batches_tracked")} | state
    missing = [key for key in own if key not in state]
    other = [
        f"{key}: expected {tuple(own[key].shape)}, found {tuple(state[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    problems = [
        f"{len(keys)} {kind} (first: {keys[0]})"
        for kind, keys in (("missing", missing), ("unexpected", extra), ("of another shape", other))
        if keys
    ]
    if problems:
        raise ModelError(
            f"weights do not fit {owner}: {'; '.join(problems)}. A head of another size is built "
            "with 'arguments: {num_classes: N}' or a class list"
        )
    module.load_state_dict({key: state[key] for key in own})


def fingerprint(module: nn.Module) -> str:
    """A digest of a network's weights, their names included: 16 hexadecimal digits of SHA-256."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
