"""Weights files: the state_dict in a checkpoint, read without executing anything in the file."""

import json
import pickletools
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsol_bench.errors import ModelError
from wsol_bench.models.caffe_weights import read_caffemodel
from wsol_bench.models.classes import ClassOrder, distinct_wnids
from wsol_bench.models.names import require_weights_file

__all__ = ["EXTRA_STATE", "StoredWeights", "read_weights"]

# Entries under which a checkpoint holds the state_dict of the network that was trained. Another
# entry is read if it is the only state_dict.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net")
# The end of the keys under which modules keep what is no tensor (``nn.Module.get_extra_state``).
EXTRA_STATE = "_extra_state"


class StoredWeights(NamedTuple):
    """The content of a weights file that is read.

    Attributes:
        state: the state_dict: tensors, and modules' extra state.
        order: the classes that the file lists under "wnids"; None if it lists none.
        path: the file.
        key: the entry that holds the state_dict; "" if the file is the state_dict itself.
        others: entries that hold other state_dicts.
    """

    state: dict[str, Any]
    order: ClassOrder | None
    path: Path
    key: str = ""
    others: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """A text for people that says which part of which file the state is."""
        origin = f"{self.key!r} in {self.path}" if self.key else str(self.path)
        others = ", ".join(map(repr, self.others))
        return f"{origin} (which also holds {others}: 'key:' chooses)" if others else origin


def read_weights(path: Path, key: str | None = None) -> StoredWeights:
    """Read a .safetensors, .caffemodel or torch checkpoint file; nothing in it is executed.

    Args:
        path: the file.
        key: the entry whose state_dict is read, with dots between nested entries. Where the entries
            end, a prefix of keys may follow: only the keys that begin with it are read, without it.

    Raises:
        ModelError: there is no such file, it cannot be read, it holds no state_dict or none of this
            key, or it holds several and ``key`` does not choose one.
    """
    require_weights_file(path)
    content: Mapping[Any, Any]
    if path.suffix == ".safetensors":
        content, listed = _read_safetensors(path)
    elif path.suffix == ".caffemodel":
        content, listed = read_caffemodel(path), None
    else:
        content = _read_checkpoint(path)
        listed = content.get("wnids")
    chosen, state = _named(content, key, path) if key else _default(content, path)
    others = tuple(name for name, _ in _entries(content) if not f"{chosen}.".startswith(f"{name}."))
    return StoredWeights(state, _class_order(listed, path), path, chosen, others)


def _read_safetensors(path: Path) -> tuple[Mapping[str, Tensor], object]:
    """The tensors of a file, and what its metadata lists under "wnids"."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get("wnids", "null")
    except SafetensorError as error:
        raise ModelError(f"weights file {path} is not a safetensors file: {error}") from error
    try:
        return state, json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"weights file {path}: 'wnids' is not JSON: {error}") from error


class _Placeholder:
    """Stands for an object of a checkpoint that is no tensor, such as the options of a training.

    Attributes:
        name: import path of the class or function that the file names, which is not imported.
    """

    name = ""

    def __new__(cls, *args: object) -> "_Placeholder":
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _DictPlaceholder:
    """Stands for an object of a subclass of dict: torch's reader fills in plain ones only."""

    def __new__(cls, *args: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def _placeholder(name: str) -> type:
    """A class of ours that stands for the class or function of an import path."""
    base = _DictPlaceholder if name.lower().endswith(("dict", "cfgnode")) else _Placeholder
    return type(base.__name__, (base,), {"name": name})


def _read_checkpoint(path: Path) -> Mapping[Any, Any]:
    """The mapping that a torch checkpoint holds, with placeholders for what is no tensor."""
    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError:
            if not (foreign := _foreign_names(path)):
                raise
            # Whatever the file names, only classes of this module are called.
            stand_ins: list[Any] = [(_placeholder(name), name) for name in foreign]
            with torch.serialization.safe_globals(stand_ins):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead the reader to errors of any kind
        # Torch's own text is long, and recommends to run the file.
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
        if isinstance(error, OSError):
            raise ModelError(f"weights file {path} cannot be read: {error}") from error
        with path.open("rb") as file:
            begin = file.read(20)
        if not begin:
            reason = "the file is empty"
        elif begin.lstrip().startswith(b"<"):
            reason = f"it begins with {begin.decode(errors='replace')!r}, as a web page does"
        raise ModelError(
            f"weights file {path} cannot be loaded as tensors alone (weights_only=True): "
            f"{(reason or type(error).__name__).rstrip('.')}. Save a state_dict alone, as .pth or "
            ".safetensors"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f"weights file {path}: expected a state_dict or a mapping that holds one, found "
            f"{_kind(content)}; save what 'state_dict()' of the network returns"
        )
    return content


def _foreign_names(path: Path) -> list[str]:
    """The classes and functions that a checkpoint names, maybe with those that make tensors."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # the format of torch before 1.6: three pickles of facts, then the content
        with path.open("rb") as file:
            operations = [next_one for _ in range(4) for next_one in pickletools.genops(file)]
        named = [
            str(argument) for operation, argument, _ in operations if operation.name == "GLOBAL"
        ]
        # Pickles of this format have the name that the module had in Python 2.
        return [name.replace("__builtin__ ", "builtins.").replace(" ", ".") for name in named]


def _kind(value: object) -> str:
    if isinstance(value, _Placeholder):
        return f"a pickled {value.name}"
    return type(value).__name__


def _tensors(content: Mapping[Any, Any]) -> dict[str, Any]:
    """The part of a mapping that a state_dict may hold: tensors, and extra state, by their keys."""
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str)
        and (isinstance(value, Tensor) or key.endswith(EXTRA_STATE))
        and not isinstance(value, _Placeholder)
    }


def _has_weights(content: object) -> bool:
    """Return whether a mapping holds tensors by their keys, besides numbers such as an accuracy."""
    return isinstance(content, Mapping) and any(
        isinstance(value, Tensor) and value.ndim > 0 for value in _tensors(content).values()
    )


def _entries(content: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The entries of a checkpoint that are state_dicts, by name."""
    for name, value in content.items():
        if isinstance(name, str) and _has_weights(value):
            yield name, value


def _default(content: Mapping[Any, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """The state_dict of the trained network, and its entry; "" for the whole file."""
    entries = dict(_entries(content))
    usual = next((name for name in _ENTRIES if name in entries), None)
    if usual is not None:
        return usual, _tensors(entries[usual])
    if _has_weights(content):
        return "", _tensors(content)
    if len(entries) == 1:
        [(name, state)] = entries.items()
        return name, _tensors(state)
    if entries:
        raise ModelError(
            f"weights file {path} holds {len(entries)} state_dicts: {', '.join(entries)}; choose "
            f"one with the model's 'key:', such as 'key: {next(iter(entries))}'"
        )
    found = ", ".join(
        f"{name} ({_kind(value)})" if isinstance(value, _Placeholder) else str(name)
        for name, value in list(content.items())[:8]
    )
    raise ModelError(
        f"weights file {path}: expected a state_dict or a mapping that holds one under "
        f"{' or '.join(_ENTRIES)}, found {f'keys {found}' if found else 'no keys'}; save what "
        "'state_dict()' of the network returns"
    )


def _named(content: Mapping[Any, Any], key: str, path: Path) -> tuple[str, dict[str, Any]]:
    """The state_dict that a key names, and the key."""
    within, rest = content, key
    while rest and (name := _longest_entry(within, rest)):
        within, rest = within[name], rest[len(name) + 1 :]
    prefix = f"{rest}." if rest else ""
    state = {
        name.removeprefix(prefix): value
        for name, value in _tensors(within).items()
        if name.startswith(prefix)
    }
    if not state:
        entries = ", ".join(name for name, _ in _entries(content)) or "none"
        firsts = dict.fromkeys(name.partition(".")[0] for name in _tensors(within))
        where = key[: len(key) - len(rest)].rstrip(".") or "the file"
        begins = f"; the keys in {where!r} begin with: {', '.join(list(firsts)[:8])}"
        raise ModelError(
            f"weights file {path}: no weights under key {key!r}; entries that hold a state_dict: "
            f"{entries}{begins if firsts else ''}"
        )
    return key, state


def _longest_entry(content: Mapping[Any, Any], key: str) -> str:
    """The longest beginning of a dotted key that is an entry with entries; "" for none."""
    parts = key.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if isinstance(content.get(name), Mapping)), "")


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
