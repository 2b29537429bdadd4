"""The guard around a map method: what other methods read is as it was when the method is done.

All methods of a run share one record, the results that its probe keeps, and the network. A method
that writes into any of them would change the numbers of the methods behind it in the list.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from wsol_bench.capture import Record
from wsol_bench.capture.marks import Mark, mark
from wsol_bench.errors import NotApplicableError, PluginError

__all__ = ["isolated"]

_ADVICE = (
    "The other methods of the pass read it, too: work on a copy (tensor.clone()), take gradients "
    "with torch.autograd.grad, and undo what is changed in the network"
)

# The names of attributes that hold hooks: of one module, and in torch the hooks of all modules.
_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
_GLOBAL_HOOKS = [
    table for name, table in vars(torch_module).items()
    if name.endswith("_hooks") and isinstance(table, dict)
]  # fmt: skip

# The methods whose writes past torch were looked for on a network, by network.
_examined: WeakKeyDictionary[nn.Module, set[Hashable]] = WeakKeyDictionary()


@contextmanager
def isolated(name: str, function: Hashable, record: Record) -> Iterator[None]:
    """Raise an error if the method that runs within changes what other methods read.

    Operations in place, and changes to the network's parts, modes, hooks and gradients, are always
    noticed. Writes past torch (``.data``, ``.numpy()``) show in the values alone: some thousand
    values of each tensor are compared in the method's first call on a network. On the CPU, where
    nothing is waited for, those of the record are compared in every call.

    Args:
        name: the method's name.
        function: the method's function.
        record: the record that is given to the method.

    Raises:
        PluginError: something was changed; the message names the method and what was changed.
    """
    model = None if record._probe is None else record.probe.model
    first = _is_first_call(model, (function, record.at))
    values = first or record.logits.device.type == "cpu"
    shared = [
        (what, tensor, mark(tensor, values=values)) for what, tensor in _shared_tensors(record)
    ]
    before = None if model is None else _NetworkState.of(model, values=first)
    attributes = _attributes(record)

    def require_unchanged() -> None:
        changes = [
            f"{what} {change}"
            for what, tensor, made in (*shared, *_kept_results(record))
            if (change := made.change(tensor, values=values))
        ]
        if _attributes(record) != attributes:
            changes.append("an attribute of record.probe was replaced")
        if model is not None and before is not None:
            changes += before.changes(model, values=first)
        if changes:
            raise PluginError(f"map method {name!r}: {_in_words(changes)}. {_ADVICE}")

    try:
        yield
    except NotApplicableError:  # the run goes on with the other methods
        require_unchanged()
        raise
    require_unchanged()


def _is_first_call(model: nn.Module | None, method: Hashable) -> bool:
    """Return whether a method has not been watched on a network before."""
    if model is None:
        return True
    methods = _examined.setdefault(model, set())
    first = method not in methods
    methods.add(method)
    return first


def _in_words(changes: list[str]) -> str:
    more = f", and {len(changes) - 3} more changes" if len(changes) > 3 else ""
    return f"{', '.join(changes[:3])}{more}"


def _shared_tensors(record: Record) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a record and of its batch, each with its name."""
    yield "record.logits", record.logits
    yield "record.classes", record.classes
    for layer in record.layers:
        for part in ("activations", "gradients", "class_weights"):
            if (tensor := getattr(layer, part)) is not None:
                yield f"record.{part} at layer {layer.name!r}", tensor
    if record._probe is not None:
        yield "record.probe.images", record.probe.images


def _attributes(record: Record) -> list[int]:
    """The identities of what a probe asks and is asked about."""
    probe = record._probe
    if probe is None:
        return []
    return [id(value) for value in (probe.model, probe.images, probe.targets, probe.precision)]


def _kept_results(record: Record) -> Iterator[tuple[str, Tensor, Mark]]:
    """The results that the probe keeps for all methods, each with the mark of its making."""
    for tensor, made in () if record._probe is None else record.probe.kept_results:
        yield "a result of record.probe", tensor, made


class _NetworkState(NamedTuple):
    """The parts of a network, and settings of torch, that decide what a pass returns.

    Attributes:
        torch: the default float format, the number of function modes, the hooks of all modules.
        modules: identity, mode, hooks and own ``forward`` of each module.
        tensors: the mark of each parameter and buffer.
    """

    torch: tuple[Any, ...]
    modules: list[tuple[Any, ...]]
    tensors: list[Mark]

    @classmethod
    def of(cls, model: nn.Module, *, values: bool) -> "_NetworkState":
        """The state of a network; ``values`` marks some values of its tensors, too."""
        of_torch = (
            torch.get_default_dtype(),
            torch._C._len_torch_function_stack(),
            [tuple(table) for table in _GLOBAL_HOOKS],
        )
        modules = []
        for module in model.modules():
            own = vars(module)
            hooks = tuple(tuple(own[table]) for table in _HOOKS)
            modules.append((id(module), module.training, hooks, id(own.get("forward"))))
        tensors = chain(model.parameters(), model.buffers())
        return cls(of_torch, modules, [mark(tensor, values=values) for tensor in tensors])

    def changes(self, model: nn.Module, *, values: bool) -> list[str]:
        """Compare with the network as it is now, and say each difference in words."""
        now = _NetworkState.of(model, values=False)
        changes = ["torch's modes or global hooks were changed"] if now.torch != self.torch else []
        names = [path for path, _ in (*model.named_parameters(), *model.named_buffers())]
        tensors = [*model.parameters(), *model.buffers()]
        if [line[0] for line in now.modules] != [line[0] for line in self.modules]:
            changes.append("a module of the network was replaced")
        elif now.modules != self.modules:
            paths = (path or "the network" for path, _ in model.named_modules())
            for path, *pair in zip(paths, self.modules, now.modules, strict=True):
                changes += [
                    f"{what} of {path} was changed"
                    for what, old, new in zip(_OF_A_MODULE, *pair, strict=True)
                    if old != new
                ]
        if len(tensors) != len(self.tensors):
            return [*changes, "the network has other parameters or buffers"]
        for path, tensor, made in zip(names, tensors, self.tensors, strict=True):
            if change := made.change(tensor, values=values):
                changes.append(f"{path} of the network {change}")
        return changes


# The entries of a line of ``_NetworkState.modules`` in words.
_OF_A_MODULE = ("identity", "training mode", "a hook", "forward")
