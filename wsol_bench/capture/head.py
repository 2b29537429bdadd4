"""The part of a network behind its target layer, run alone on replaced activations."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.forward_pass import RELUS
from wsol_bench.capture.grids import grid_of
from wsol_bench.capture.network import difference, evaluation_mode, logits_of, uncompiled, without
from wsol_bench.errors import NotApplicableError, WsolBenchError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module

__all__ = ["Head"]


class Head:
    """The network from its target layer on.

    One pass notes what the largest modules before the layer return, and the network's input. Later
    passes do not run these modules. If an operation outside of them, or anything that runs behind
    the layer, took a noted tensor (the residual stream around a block's layer norm, the input of a
    downsampling branch beside a block), the module returns it for the images asked for; if only
    other such modules took it, the module returns an empty tensor of the same shape.

    Another pass, of another number of images, shows which dimension of each noted tensor is the
    batch. These are images of noise, so that what modules leave in attributes for others is no
    longer that of the batch. Finally the layer's own activations are replayed, in another order and
    number: the logits must be those of the network.

    Args:
        model: the network.
        images: the batch whose activations are replaced.
        target: the target layer.
        cost: the one pass of the batch is added to it.

    Raises:
        NotApplicableError: the replayed logits are not the network's.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch channels height width"],
        target: Target,
        cost: Cost | None = None,
    ) -> None:
        self._model = model
        self._target = target
        self._layer = find_module(model, target.layer)
        self._tape = self._note(images, cost)
        self._grid = grid_of(model, target, self._tape.output, images)
        n_others = 1 if len(images) > 1 else 2
        noise = torch.Generator().manual_seed(0)
        others = torch.randn((n_others, *images.shape[1:]), generator=noise).to(images)
        self._tape.find_batch(self._note(others, None), self._refuse)
        self._check_replay(len(images))

    @torch.no_grad()
    def _note(
        self, images: Float[Tensor, "batch channels height width"], cost: Cost | None
    ) -> "_Tape":
        """Record what the modules before the layer return, call by call, and the layer's output."""
        tape = _Tape(len(images))
        modules = without(self._model, [self._layer])
        begins = [(module, tape.enter) for module in (*modules, self._layer)]
        ends = [*((module, tape.leave) for module in modules), (self._layer, tape.end)]
        with (
            evaluation_mode(self._model),
            uncompiled(self._model),
            # Before the network's own hooks, which get the noted input again, and may change it.
            self._model.register_forward_pre_hook(tape.begin, prepend=True),
            hooked(before=begins, after=ends),
            tape.used,
        ):
            tape.logits = logits_of(self._model, images, cost)
        return tape

    def _check_replay(self, batch: int) -> None:
        """Raise NotApplicableError unless the layer's own activations give the network's logits."""
        tape = self._tape
        device = tape.output.device
        # In reverse order and once more: a tensor that belongs to another image shows. Their number
        # is never that of the other pass, so that a number that a module kept from it shows.
        image = torch.arange(max(batch, 2), -1, -1, device=device).remainder(batch)
        own = tape.output.relu() if self._target.then_relu else tape.output
        try:
            with torch.no_grad():
                logits = self(self._grid.to_channels(own)[image], image)
        except (WsolBenchError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # code of the network, which gets other shapes than usual
            self._refuse(f"it fails: {error}", error)
        if off := difference(logits, tape.logits[image], self._model):
            self._refuse(f"its logits are off by {off}")

    def _refuse(self, finding: str, cause: Exception | None = None) -> NoReturn:
        raise NotApplicableError(
            f"the part of {type(self._model).__name__} behind layer {self._target.layer!r} cannot "
            f"be run alone: on the layer's own activations, {finding}; name another layer with "
            "'layer:'"
        ) from cause

    def __call__(
        self,
        channels: Float[Tensor, "n c h w"],
        image: Int64[Tensor, " n"],
        cost: Cost | None = None,
    ) -> Float[Tensor, "n classes"]:
        """Logits for activations that replace the layer's output; differentiable.

        Args:
            channels: the activations, over the layer's grid.
            image: position in the batch of the image that each activation belongs to.
            cost: the activations are added to it.
        """
        if cost is not None:
            cost.head += len(channels)
        output = self._tape.output
        replaced = self._grid.to_output(channels.to(output.dtype), output[image])
        with (
            evaluation_mode(self._model),
            uncompiled(self._model),
            self._replaying(image),
            _in_place(self._layer, replaced, then_relu=self._target.then_relu),
        ):
            # No image passes: the network gets its noted input.
            logits: Tensor = self._model(self._tape.input.rows(image))
            return logits

    @contextmanager
    def _replaying(self, image: Int64[Tensor, " n"]) -> Iterator[None]:
        """Modules before the layer return their noted outputs for some images; they do not run."""

        def rows(leaf: Any) -> Any:
            return leaf.rows(image) if isinstance(leaf, _Noted) else leaf

        def stub(module: nn.Module, calls: list[Any]) -> Any:
            remaining = iter(calls)

            def call(*args: Any, **kwargs: Any) -> Any:
                for output in remaining:
                    return tree_map(rows, output)
                return module._call_impl(*args, **kwargs)

            return call

        with ExitStack() as stack:
            for module, calls in self._tape.calls.items():
                stack.enter_context(_called(module, stub(module, calls)))
            yield


class _Tape:
    """The notes of one pass of the network.

    Attributes:
        batch: number of images.
        calls: what each module before the layer returned, call by call, as ``_Noted`` tensors.
        input: the network's input.
        output: the layer's output.
        logits: the network's logits.
        used: the function mode that keeps what is needed of the noted tensors.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.calls: dict[nn.Module, list[Any]] = {}
        self.input: _Noted
        self.output: Tensor
        self.logits: Tensor
        self.used = _Used()

    def begin(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The network begins to run."""
        self.input = self.used.note(inputs[0])

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """A module without the layer, or the layer, begins to run."""
        self.used.depth += 1

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """A module without the layer has run."""
        # What runs within another of these modules, or within the layer, is not replayed.
        if self.used.depth == 1 and not self.used.behind:
            self.calls.setdefault(module, []).append(tree_map(self.used.note, output))
        self.used.depth -= 1

    def end(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """The layer has run; the network goes on with a copy."""
        self.output, copy = output.clone(), output.clone()
        self.used.depth -= 1
        self.used.behind = True
        return copy

    def leaves(self) -> "list[_Noted]":
        """All noted tensors, in an order that two passes of a network share."""
        noted = [leaf for leaf in tree_leaves(list(self.calls.values())) if type(leaf) is _Noted]
        return [self.input, *noted]

    def find_batch(self, other: "_Tape", refuse: Callable[[str], NoReturn]) -> None:
        """Find the dimension of the batch in each noted tensor, by a pass of another batch size.

        Args:
            other: the tape of the other pass.
            refuse: called with what is wrong if a dimension is not that of the batch.
        """
        mine, others = self.leaves(), other.leaves()
        if len(mine) != len(others):
            refuse("what runs depends on the number of images")
        for noted, counterpart in zip(mine, others, strict=True):
            shape, changed = tuple(noted.like.shape), tuple(counterpart.like.shape)
            sizes = list(zip(shape, changed, strict=True)) if len(shape) == len(changed) else []
            dims = [dim for dim, (size, size_then) in enumerate(sizes) if size != size_then]
            if shape == changed:
                continue
            if len(dims) != 1 or (
                shape[dims[0]] * other.batch != changed[dims[0]] * self.batch
                or shape[dims[0]] % self.batch
            ):
                refuse(
                    f"a tensor from before the layer has shape {shape} for {self.batch} images and "
                    f"{changed} for {other.batch}"
                )
            noted.batch_dim, noted.batch = dims[0], self.batch


@contextmanager
def _called(module: nn.Module, call: Callable[..., Any]) -> Iterator[None]:
    """Call a function in the place of a module and its hooks, which have had their say."""
    own = {key: value for key, value in vars(module).items() if key == "_compiled_call_impl"}
    module._compiled_call_impl = call
    try:
        yield
    finally:
        del module._compiled_call_impl
        vars(module).update(own)


class _Noted:
    """A tensor that a module returned; its value is kept only if something that runs takes it.

    Attributes:
        like: a tensor of the same shape, format and device that takes no memory.
        value: the tensor as it was when an operation took it; None until one does.
        batch_dim: the dimension that holds the images, each as several consecutive positions; None
            if the tensor does not depend on the number of images.
        batch: number of images.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.reference = weakref.ref(tensor)
        self.like = torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
        self.value: Tensor | None = None
        self.batch_dim: int | None = None
        self.batch = 1

    def rows(self, image: Int64[Tensor, " n"]) -> Tensor:
        """The tensor for some images of the batch.

        Args:
            image: positions of the images in the batch.
        """
        if self.batch_dim is None:
            return self.like if self.value is None else self.value.clone()
        n_positions = self.like.shape[self.batch_dim] // self.batch
        if self.value is None:
            shape = list(self.like.shape)
            shape[self.batch_dim] = n_positions * len(image)
            return self.like.new_zeros(()).expand(shape)
        within = torch.arange(n_positions, device=image.device)
        index = (image[:, None] * n_positions + within).flatten()
        return self.value.index_select(self.batch_dim, index.to(self.value.device))


class _Used(TorchFunctionMode):
    """Keeps those noted tensors that are taken by operations that a replay runs, too.

    These are the operations outside of noted modules, and all operations behind the layer.

    Attributes:
        depth: number of modules that are running, one within another; 0 is outside of all.
        behind: whether the layer has run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.behind = False
        self._notes_by_id = dict[int, list[_Noted]]()

    def note(self, leaf: Any) -> Any:
        """Wait for operations that take a tensor; other values come back as they are."""
        if not isinstance(leaf, Tensor):
            return leaf
        noted = _Noted(leaf)
        # Several modules may return one tensor: dropout and the module before it.
        self._notes_by_id[id(leaf)] = [*self._notes_of(leaf), noted]
        return noted

    def _notes_of(self, leaf: Any) -> list[_Noted]:
        notes = self._notes_by_id.get(id(leaf), []) if isinstance(leaf, Tensor) else []
        # Another tensor may have taken the address of one that is gone.
        return [noted for noted in notes if noted.reference() is leaf]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replayed = self.behind or not self.depth
        for leaf in tree_leaves((args, kwargs or {})) if replayed else ():
            waiting = [noted for noted in self._notes_of(leaf) if noted.value is None]
            if waiting:
                value = leaf.clone()  # as it is now: the operation may work in place
                for noted in waiting:
                    noted.value = value
        return func(*args, **(kwargs or {}))


@contextmanager
def _in_place(
    layer: nn.Module, replaced: Shaped[Tensor, "..."], *, then_relu: bool
) -> Iterator[None]:
    """Put a tensor in the place of a layer's output, or of the functional ReLU behind it."""
    output = replaced.clone()  # what follows may work in place
    with ExitStack() as stack:
        stack.enter_context(_called(layer, lambda *args, **kwargs: output))
        if then_relu:
            stack.enter_context(_NoRelu(output))
        yield


class _NoRelu(TorchFunctionMode):
    """Leaves out the ReLU of one tensor; all other functions run as they are."""

    def __init__(self, tensor: Shaped[Tensor, "..."]) -> None:
        super().__init__()
        self._tensor = tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS and args and args[0] is self._tensor:
            return self._tensor
        return func(*args, **(kwargs or {}))
