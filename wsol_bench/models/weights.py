"""The weights of a network: loaded from a state_dict, all of them or none, and fingerprinted."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.errors import ModelError
from wsol_bench.models.build import sized_by, takes_num_classes
from wsol_bench.models.checkpoints import EXTRA_STATE, StoredWeights

__all__ = ["fingerprint", "load_state"]

# Names that wrappers add to the keys of the modules in them: DataParallel and averaged models,
# torch.compile, FSDP, activation checkpoints, Fabric.
_WRAPPERS = {
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
}  # fmt: skip
# Counters of averaged models (torch, mmengine), which stand beside the network's keys.
_COUNTERS = {"n_averaged", "steps"}
# How keys of auxiliary classifiers begin, which never run in evaluation mode: torchvision's, and
# those of GoogLeNet in Caffe.
_AUXILIARY = ("aux", "loss1.", "loss2.")
# If more keys than this do not fit, more than the head of the network is another one.
_MOST_KEYS_OF_A_HEAD = 8


class _Reading(NamedTuple):
    """A way to read the keys of a state_dict.

    Attributes:
        state: the state_dict with the keys of this reading.
        prefix: what is left out at the beginning of keys, with its dot.
        part: whether keys that do not begin with the prefix are left out.
        unwrapped: whether names of wrappers are left out elsewhere in the keys.
    """

    state: dict[str, Any]
    prefix: str = ""
    part: bool = False
    unwrapped: bool = False

    def __str__(self) -> str:
        said = []
        if self.part:
            said.append(f"as its keys that begin with {self.prefix!r}, which come closest")
        elif self.prefix:
            said.append(f"all keys without their beginning {self.prefix!r}")
        if self.unwrapped:
            said.append("keys without the names of wrappers")
        return "; ".join(said)


def load_state(module: nn.Module, stored: StoredWeights, owner: str) -> str:
    """Load a state_dict into a network.

    If the keys do not fit the network, but do without a prefix that all of them have, or without
    the names of wrappers, they are read so. Auxiliary classifiers in the state are left out, as
    they never run in evaluation mode.

    Args:
        module: the network.
        stored: the state_dict, with its place.
        owner: name of the network, for errors.

    Returns:
        A text for people that says where the weights come from, and how their keys were read.

    Raises:
        ModelError: the weights do not fit the network; nothing is loaded.
    """
    own = module.state_dict()
    readings = sorted(_readings(stored.state), key=lambda reading: reading.unwrapped)
    for reading in readings:
        if not str(_misfits(own, reading.state)):
            state = _completed(own, reading.state)
            try:
                module.load_state_dict({key: state[key] for key in own})
            except Exception as error:  # a user's module takes its extra state by its own code
                raise ModelError(plugin_error(f"weights of {owner}", error)) from error
            return f"{stored.origin}; {reading}" if str(reading) else stored.origin
    parts = [part for reading in readings if not reading.unwrapped for part in _parts(reading)]
    raise ModelError(_misfit_message(own, stored, owner, [*readings, *parts]))


def _readings(state: dict[str, Any]) -> Iterator[_Reading]:
    """The state as it is, then without what all keys begin with, one name after the other.

    Each of them also without names of wrappers anywhere in the keys.
    """
    prefix = ""
    while True:
        yield _Reading(state, prefix)
        unwrapped = {
            ".".join(name for name in key.split(".") if name not in _WRAPPERS): value
            for key, value in state.items()
        }
        if len(unwrapped) == len(state) and unwrapped.keys() != state.keys():
            yield _Reading(unwrapped, prefix, unwrapped=True)
        firsts = {key.partition(".")[0] for key in state if key not in _COUNTERS}
        if len(firsts) != 1 or firsts & state.keys():
            return
        [first] = firsts
        prefix += f"{first}."
        state = {
            key.removeprefix(f"{first}."): value
            for key, value in state.items()
            if key not in _COUNTERS
        }


def _parts(reading: _Reading) -> Iterator[_Reading]:
    """Readings of the keys alone that have one beginning, if not all keys have it."""
    firsts = {key.partition(".")[0] for key in reading.state if "." in key}
    for first in sorted(firsts):
        part = {
            key.removeprefix(f"{first}."): value
            for key, value in reading.state.items()
            if key.startswith(f"{first}.")
        }
        if len(part) < len(reading.state):
            yield _Reading(part, f"{reading.prefix}{first}.", part=True)


def _completed(own: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with the network's own counters of batches where it has none.

    Older files lack this counter, which evaluation never reads.
    """
    return {key: own[key] for key in own if key.endswith("num_batches_tracked")} | dict(state)


class _Misfits(NamedTuple):
    """Keys that do not fit a network.

    Attributes:
        missing: keys of the network that the state lacks.
        extra: keys of the state that the network lacks.
        other: keys whose tensors have another shape, with the shapes.
        n_fitting: number of keys that fit.
    """

    missing: list[str]
    extra: list[str]
    other: list[str]
    n_fitting: int

    def __str__(self) -> str:
        kinds = ("missing", "unexpected", "of another shape")
        return "; ".join(
            f"{len(keys)} {kind} (first: {keys[0]})"
            for keys, kind in zip(self[:3], kinds, strict=True)
            if keys
        )


def _misfits(own: Mapping[str, Any], state: Mapping[str, Any]) -> _Misfits:
    """Find what of a state does not fit a network's own state."""
    completed = _completed(own, state)
    missing = [key for key in own if key not in completed]
    extra = [key for key in state if key not in own and not key.lower().startswith(_AUXILIARY)]
    shapes = {
        key: (_shape(own[key]), _shape(completed[key]))
        for key in own
        if key in completed and not key.endswith(EXTRA_STATE)
    }
    other = [
        f"{key}: expected {expected}, found {found}"
        for key, (expected, found) in shapes.items()
        if expected != found
    ]
    n_fitting = sum(key in own for key in state) - len(other)
    return _Misfits(missing, extra, other, n_fitting)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


def _head_size(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The number of outputs of a state's head, from the tensors of another shape; N if unclear."""
    shapes = [(_shape(own[key]), _shape(state[key])) for key in own if key in state]
    sizes = {found[:1] for expected, found in shapes if found and found != expected}
    return str(*next(iter(sizes))) if len(sizes) == 1 else "N"


def _misfit_message(
    own: Mapping[str, Any], stored: StoredWeights, owner: str, readings: list[_Reading]
) -> str:
    """The message that says what differs in the closest reading, and what may help."""
    closest = max(readings, key=lambda reading: _misfits(own, reading.state).n_fitting)
    misfits = _misfits(own, closest.state)
    entry = f", entry {stored.key!r}" if stored.key else ""
    said = f"weights do not fit {owner}: {stored.path}{entry}"
    fitting = [reading.prefix for reading in readings if not str(_misfits(own, reading.state))]
    if fitting:
        keys = [".".join(filter(None, [stored.key, prefix.rstrip(".")])) for prefix in fitting]
        return (
            f"{said}: of its keys only those that begin with {' or '.join(map(repr, fitting))} do; "
            f"choose with the model's {' or '.join(repr(f'key: {key}') for key in keys)}"
        )
    if str(closest):
        said += f" ({closest})"
    said += f": {misfits}. "
    if misfits.missing and not misfits.extra and not misfits.other:
        said += (
            "Weights are never loaded in part: give a file that holds all of the network, its "
            "classification head included"
        )
    elif sum(map(len, misfits[:3])) > _MOST_KEYS_OF_A_HEAD:
        said += f"These are the weights of another network than {owner}"
    else:
        size = _head_size(own, closest.state)
        said += f"A head of another size is built with {sized_by(owner, size)}" + (
            f" or a file of {size} classes ('classes:')" if takes_num_classes(owner) else ""
        )
    if closest.part:
        firsts = {
            key.removeprefix(closest.prefix).partition(".")[0]
            for key in stored.state
            if not key.startswith(closest.prefix)
        }
        said += f". The file's other keys begin with {', '.join(sorted(firsts)[:8])}"
    if stored.others:
        said += f". The file also holds {', '.join(stored.others)}; 'key:' chooses"
    return said


def fingerprint(module: nn.Module) -> str:
    """A digest of a network's weights, their names included: 16 hexadecimal digits of SHA-256.

    Raises:
        ModelError: a module keeps a state that has no digest.
    """
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        digest.update(_content(value, key))
    return digest.hexdigest()[:16]


def _content(value: Any, key: str) -> bytes:
    """The bytes of a tensor, or of a module's extra state, for a digest."""
    if isinstance(value, Tensor) and value.layout is torch.strided:
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous().view(-1)
        return plain.view(torch.uint8).numpy().tobytes()
    if isinstance(value, Mapping):
        items = [part for item in value.items() for part in item]
        return _joined(value, [_content(item, key) for item in items])
    if isinstance(value, list | tuple):
        return _joined(value, [_content(item, key) for item in value])
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        return _joined(value, [repr(value).encode()])
    raise ModelError(
        f"the network keeps a {type(value).__name__} in its state_dict, under {key!r}, of which a "
        "run can take no digest; let the module's get_extra_state() return tensors, numbers, "
        "strings, or lists and mappings of them"
    )


def _joined(value: object, parts: list[bytes]) -> bytes:
    """Parts with the type of what they belong to and their lengths, so that none is ambiguous."""
    lengths = ",".join(str(len(part)) for part in parts)
    return b"".join([f"{type(value).__name__}:{lengths}:".encode(), *parts])
