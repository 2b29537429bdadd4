"""The part of a network behind its target layer, run alone on replaced activations."""

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.forward_pass import RELUS
from wsol_bench.capture.network import evaluation_mode, logits_of, uncompiled, without
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module, from_grid

__all__ = ["Head"]


class Head:
    """The network from its target layer on.

    One pass notes what the largest modules before the layer return. Later passes do not run these
    modules. If an operation outside of such modules took a module's output (the residual stream
    around a block's layer norm), the module returns its noted output for the images asked for; if
    only other such modules took the output, the module returns an empty tensor of the same shape.
    Views are not tracked: if a tensor is changed in place after an operation has taken a view of
    it, only one of the two is changed.

    Args:
        model: the network.
        images: the batch whose activations are replaced.
        target: the target layer.
        cost: the one pass is added to it.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        target: Target,
        cost: Cost | None = None,
    ) -> None:
        self._model = model
        self._images = images
        self._target = target
        self._layer = find_module(model, target.layer)
        self._noted, self._output = self._note(cost)

    @torch.no_grad()
    def _note(self, cost: Cost | None) -> tuple[dict[nn.Module, list[Any]], Tensor]:
        """Record the outputs of each module before the layer, call by call, and of the layer."""
        noted: dict[nn.Module, list[Any]] = {}
        outputs: list[Tensor] = []
        used = _Used()

        def enter(module: nn.Module, inputs: Any) -> None:
            used.depth += 1

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            # What runs within another of these modules, or within the layer, is not replayed.
            if not outputs and used.depth == 1:
                noted.setdefault(module, []).append(tree_map(used.note, output))
            used.depth -= 1

        def end(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs.append(output.clone())
            used.depth -= 1

        modules = without(self._model, [self._layer])
        begins = [(module, enter) for module in (*modules, self._layer)]
        ends = [*((module, leave) for module in modules), (self._layer, end)]
        with (
            hooked(before=begins, after=ends),
            evaluation_mode(self._model),
            uncompiled(self._model),
            used,
        ):
            logits_of(self._model, self._images, cost)
        return noted, outputs[0]

    def __call__(
        self,
        grid: Float[Tensor, "n c h w"],
        image: Int64[Tensor, " n"],
        cost: Cost | None = None,
    ) -> Float[Tensor, "n classes"]:
        """Logits for activations that replace the layer's output; differentiable.

        Args:
            grid: the activations.
            image: position in the batch of the image that each activation belongs to.
            cost: the activations are added to it.
        """
        if cost is not None:
            cost.head += len(grid)
        replaced = from_grid(grid, self._output[image], self._target.layout)
        # A batch of the right size: no module that runs reads its values.
        images = self._images.new_zeros(()).expand(len(image), *self._images.shape[1:])
        with (
            evaluation_mode(self._model),
            uncompiled(self._model),
            self._replaying(image),
            _in_place(self._layer, replaced, then_relu=self._target.then_relu),
        ):
            return logits_of(self._model, images, None)  # no image passes

    @contextmanager
    def _replaying(self, image: Int64[Tensor, " n"]) -> Iterator[None]:
        """Modules before the layer return their noted outputs for some images; they do not run."""

        def rows(leaf: Any) -> Any:
            return leaf.rows(image, len(self._images)) if isinstance(leaf, _Noted) else leaf

        def stub(module: nn.Module, calls: list[Any]) -> Any:
            remaining = iter(calls)
            own = module.forward

            def forward(*args: Any, **kwargs: Any) -> Any:
                for output in remaining:
                    return tree_map(rows, output)
                return own(*args, **kwargs)

            return forward

        with ExitStack() as stack:
            for module, calls in self._noted.items():
                stack.enter_context(_forward(module, stub(module, calls)))
            yield


@contextmanager
def _forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Give a module another forward function, and restore its former one at the end."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.forward = own


class _Noted:
    """A tensor that a module returned; its value is kept only if an operation took it.

    Attributes:
        like: a tensor of the same shape, format and device that takes no memory.
        value: the tensor as it was when an operation took it; None until one does.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.reference = weakref.ref(tensor)
        self.like = torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
        self.value: Tensor | None = None

    def rows(self, image: Int64[Tensor, " n"], batch: int) -> Tensor:
        """The tensor's rows for some images of the batch.

        Args:
            image: positions of the images in the batch.
            batch: number of images in the batch.
        """
        if self.like.ndim == 0:
            return self.like if self.value is None else self.value
        if len(self.like) != batch:
            shape = tuple(self.like.shape)
            raise ModelError(
                "a module before the target layer: expected a tensor whose first dimension is the "
                f"batch of {batch} images, found shape {shape}"
            )
        if self.value is None:
            return self.like[:1].expand(len(image), *self.like.shape[1:])
        return self.value[image]


class _Used(TorchFunctionMode):
    """Keeps those outputs of modules that operations outside of the modules take.

    Attributes:
        depth: number of modules that are running, one within another; 0 is outside of all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
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
        for leaf in tree_leaves((args, kwargs or {})) if not self.depth else ():
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
        stack.enter_context(_forward(layer, lambda *args, **kwargs: output))
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
