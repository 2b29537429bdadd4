"""Excitation backprop: the probability of each neuron to win, from a class down to a layer.

Marginal winning probabilities p travel down the network as gradients do, but by other rules
(``winning_probability``). A function mode puts these rules in the place of the functions that run
between the map layer and the logits; a function that has no rule is refused by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from wsol_bench.capture.backward.winning_probability import (
    MarginalLayer,
    Residual,
    SharedSum,
    Unchanged,
    Weights,
    shares,
)
from wsol_bench.capture.cost import Cost
from wsol_bench.capture.cotangents import one_hot, pulled_back
from wsol_bench.capture.forward_pass import RELUS
from wsol_bench.capture.network import evaluation_mode, logits_of, uncompiled
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import find_module

__all__ = ["excitation"]


@torch.inference_mode(False)  # gradients cannot be enabled within a caller's inference mode
def excitation(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    classes: Int64[Tensor, "batch k"],
    map_layer: str,
    contrast_layer: str | None = None,
    *,
    residual: Residual = "positive",
    cost: Cost | None = None,
) -> Float[Tensor, "batch k c h w"]:
    """Marginal winning probabilities at a layer (Zhang et al., ECCV 2016, arXiv:1608.00507).

    From ``p = 1`` at the logit of the class, ``p'_j = x_j * sum_i W+_ij p_i / (W+ x)_i`` through a
    layer ``y = W x + b`` with inputs x >= 0; W+ is max(W, 0), and b is left out. Max pooling passes
    p to the winner, average pooling is a layer with equal weights, ReLU and batch normalization
    pass p as it is, and a sum shares it out by what each summand adds. Two points on which
    implementations differ:

    * W of a convolution takes the signs of the scales of the batch normalization directly behind
      it, as the authors rewrite a network: with a negative scale, what excites inhibits. (TorchRay
      takes W as it is.)
    * A sum shares p out as ``residual`` says: by default, a negative summand adds nothing and gets
      nothing.

    The sum over the layer is 1 if every neuron that gets a share is excited, W+ x > 0.

    Args:
        model: runs in evaluation mode and float32, and comes back as it was, also after an
            exception.
        images: normalized input, on the model's device.
        classes: output index of each class slot.
        map_layer: dotted name; its output has shape (batch, c, h, w).
        contrast_layer: the map layer or one behind it. With it p is contrastive (c-MWP): what the
            negated weights of the last layer give is subtracted there, so that p may be negative.
        residual: how a sum shares out p: ``positive``, ``signed`` or ``branch``; see ``shares``.
        cost: the passes are added to it; c-MWP passes down from the logits twice.

    Raises:
        NotApplicableError: an operation between the map layer and the logits has no rule, or a
            layer with weights has negative inputs there.
        ModelError: a layer did not run, ran twice, or its output has another shape; or the logits
            do not depend on the layer.
    """
    mode = _Rules(model, map_layer, contrast_layer, residual)
    by_slot = []
    with torch.autocast(images.device.type, enabled=False):
        with evaluation_mode(model), uncompiled(model), torch.no_grad(), mode.watching():
            logits = logits_of(model, images, cost)
        outputs = mode.taken()
        at_map, at_top = outputs[0], outputs[-1]
        layer = contrast_layer or map_layer
        for start in one_hot(classes, logits).to(logits.dtype).unbind(1):
            p = _down(logits, start, at_top, layer, cost)
            if contrast_layer is not None:
                with mode.last_weights_negated():
                    p = p - _down(logits, start, at_top, layer, cost)
                p = _down(at_top, p, at_map, map_layer, None)
            by_slot.append(p.float())
    return torch.stack(by_slot, dim=1)


def _down(
    upper: Shaped[Tensor, "..."],
    p: Shaped[Tensor, "..."],
    lower: Shaped[Tensor, "..."],
    name: str,
    cost: Cost | None,
) -> Shaped[Tensor, "..."]:
    """The p of a lower tensor, from the p of an upper one; the graph stays for the next class.

    Args:
        upper: a tensor in the graph.
        p: its marginal winning probabilities.
        lower: a tensor on which it depends.
        name: name of the layer whose output ``lower`` is, for errors.
        cost: see ``pulled_back``.
    """
    lower_p: Tensor | None
    (lower_p,) = pulled_back(upper, [lower], p, cost, retain=True, allow_unused=True)
    if lower_p is None:
        raise ModelError(f"the logits do not depend on layer {name!r} by differentiable operations")
    return lower_p


class _Rules(TorchFunctionMode):
    """Puts the rules in place behind the map layer, and knows the module that is running."""

    def __init__(
        self, model: nn.Module, map_layer: str, contrast_layer: str | None, residual: Residual
    ) -> None:
        super().__init__()
        self.residual: Residual = residual
        self._model = model
        self._names = [map_layer] if contrast_layer is None else [map_layer, contrast_layer]
        self._taken: list[list[Tensor]] = [[] for _ in self._names]
        self._running: list[str] = []
        # The output of the last layer with weights, and its weights.
        self._last: tuple[Tensor, Weights] | None = None

    # -- the pass

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Put the rules in place for a pass; all hooks are gone afterwards."""
        begins = [(module, self._entering(name)) for name, module in self._model.named_modules()]
        ends = [(module, self._leaving) for module in self._model.modules()]
        for position, name in enumerate(self._names):
            ends.append((find_module(self._model, name), self._taking(position)))
        with hooked(before=begins, after=ends), self:
            yield

    def _entering(self, name: str) -> Any:
        return lambda module, inputs: self._running.append(name)

    def _leaving(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop()

    def _taking(self, position: int) -> Any:
        def take(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor):
                raise ModelError(
                    f"layer {self._names[position]!r} returns {type(output).__name__}, not a tensor"
                )
            if position == 0 and not self._taken[0]:
                # From here on, what depends on the output is tracked. The enclosing no_grad
                # restores the mode when the pass is over, also by an exception.
                output = output.detach().clone().requires_grad_(True)
                torch.set_grad_enabled(True)
            self._taken[position].append(output)
            self._last = None
            # The network goes on with a copy: what follows may work in place.
            return output.clone()

        return take

    def taken(self) -> list[Tensor]:
        """The output of the map layer, and that of the contrast layer if it is named.

        Raises:
            ModelError: a layer did not run exactly once, or its output cannot be used.
        """
        for name, outputs in zip(self._names, self._taken, strict=True):
            if len(outputs) != 1:
                times = f"ran {len(outputs)} times" if outputs else "did not run"
                raise ModelError(f"layer {name!r} {times} in one forward pass, expected once")
        if self._taken[0][0].ndim != 4:
            shape = tuple(self._taken[0][0].shape)
            raise ModelError(
                f"layer {self._names[0]!r}: expected an output of shape (b, c, h, w), found {shape}"
            )
        if not self._taken[-1][0].requires_grad:
            raise ModelError(
                f"contrast layer {self._names[-1]!r} does not depend on layer {self._names[0]!r}"
            )
        return [outputs[0] for outputs in self._taken]

    @contextmanager
    def last_weights_negated(self) -> Iterator[None]:
        """Let the layer that gives the logits pass p by (-W)+ in the place of W+."""
        if self._last is None:
            raise ModelError(f"no layer with weights stands behind layer {self._names[-1]!r}")
        _, weights = self._last
        weights.value = -weights.value
        try:
            yield
        finally:
            weights.value = -weights.value

    # -- for the rules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors([args, kwargs]))
        if not tensors:  # a switch such as set_grad_enabled
            return func(*args, **kwargs)
        if not any(self.tracked(tensor) for tensor in tensors):
            with torch.no_grad():
                return func(*args, **kwargs)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        if func in _RULES:
            return _RULES[func](self, func, *args, **kwargs)
        with torch.no_grad():
            result = func(*args, **kwargs)
        if any(tensor.is_floating_point() for tensor in _tensors(result)):
            self.refuse(f"{resolve_name(func) or func.__name__} has no rule")
        return result  # a shape, a comparison: nothing that p could take

    def tracked(self, value: Any) -> bool:
        """Return whether a value depends on the map layer; a parameter has no history."""
        return isinstance(value, Tensor) and (
            value.grad_fn is not None or any(value is output for output in self._taken[0])
        )

    def refuse(self, reason: str) -> NoReturn:
        """Raise NotApplicableError, with the name of the module that is running."""
        name = self._running[-1] if self._running else ""
        kind = type(self._model.get_submodule(name)).__name__
        where = f"{name} ({kind})" if name else f"{kind}.forward"
        raise NotApplicableError(
            f"excitation backprop is not defined between layer {self._names[0]!r} of "
            f"{type(self._model).__name__} and the logits: {where}: {reason}"
        )

    def check_inputs(self, x: Shaped[Tensor, "..."]) -> None:
        """Raise NotApplicableError if an input is negative; NaN counts as 0."""
        least = x.detach().nan_to_num(0.0).amin().item()
        if least < 0:
            self.refuse(f"the rule needs inputs >= 0, found {least:.3g}")

    def remember(self, output: Shaped[Tensor, "..."], weights: "Weights") -> None:
        """Note that a layer with these weights gave this output."""
        self._last = output, weights

    def weights_of(self, output: Shaped[Tensor, "..."]) -> "Weights | None":
        """The weights that gave this output; None if another layer with weights ran since."""
        return self._last[1] if self._last is not None and self._last[0] is output else None


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


# ---- the rule of each function


def _weighted(
    mode: _Rules,
    func: Any,
    /,
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    if mode.tracked(weight) or mode.tracked(bias):
        mode.refuse("weights that depend on the image have no rule")
    mode.check_inputs(x)
    weights = Weights(weight.detach(), lambda x, w: func(x, w, None, *args, **kwargs))
    output = MarginalLayer.apply(
        x, lambda x: func(x, weight, bias, *args, **kwargs), weights.excite
    )
    mode.remember(output, weights)
    return output


def _averaged(mode: _Rules, func: Any, /, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    mode.check_inputs(x)

    def layer(x: Tensor) -> Tensor:
        return func(x, *args, **kwargs)

    return MarginalLayer.apply(x, layer, layer)


def _scaled(
    mode: _Rules, func: Any, /, x: Tensor, mean: Any, var: Any, weight: Any = None, *args: Any,
    **kwargs: Any,
) -> Tensor:  # fmt: skip
    weights = mode.weights_of(x)
    if weights is not None and weight is not None:
        negative = weight.detach().reshape(-1, *[1] * (weights.value.ndim - 1)) < 0
        weights.value = torch.where(negative, -weights.value, weights.value)
    return Unchanged.apply(x, lambda x: func(x, mean, var, weight, *args, **kwargs))


def _rectified(mode: _Rules, func: Any, /, x: Tensor, inplace: bool = False) -> Tensor:
    output = Unchanged.apply(x, F.relu)
    return x.copy_(output) if inplace or func in _IN_PLACE else output


def _dropped(
    mode: _Rules,
    func: Any,
    /,
    x: Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    if training:
        mode.refuse("dropout at random has no rule")
    return x


def _added(mode: _Rules, func: Any, /, x: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    for term in (x, other):  # a parameter of any shape is a bias
        if not isinstance(term, Tensor) or isinstance(term, nn.Parameter):
            mode.refuse("a sum of anything but two activations has no rule")
    if x.shape != other.shape or alpha != 1:
        mode.refuse("a sum with weights or of different shapes has no rule")
    of_both = shares(x, other, mode.residual)
    if of_both is None:
        mode.refuse(
            "'residual: branch' needs one summand behind more layers with weights than the other"
        )
    output = SharedSum.apply(x, other, *of_both)
    return x.copy_(output) if func in _IN_PLACE else output


def _plain(mode: _Rules, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **kwargs)


_IN_PLACE = {torch.relu_, Tensor.relu_, Tensor.add_, Tensor.__iadd__}

_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys([F.conv2d, F.linear], _weighted),
    **dict.fromkeys([F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean, Tensor.mean], _averaged),
    F.batch_norm: _scaled,
    **dict.fromkeys(RELUS, _rectified),
    **dict.fromkeys([F.dropout, F.dropout2d], _dropped),
    **dict.fromkeys(
        [
            torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__,
        ],
        _added,
    ),
    # If values are only chosen or moved, the gradient carries p as it is.
    **dict.fromkeys(
        [
            F.max_pool2d, torch.max_pool2d, F.adaptive_max_pool2d, F.pad, torch.flatten,
            Tensor.flatten, Tensor.unflatten, torch.reshape, Tensor.reshape, Tensor.view,
            torch.permute, Tensor.permute, torch.transpose, Tensor.transpose, torch.squeeze,
            Tensor.squeeze, torch.unsqueeze, Tensor.unsqueeze, torch.cat, torch.chunk, Tensor.chunk,
            torch.split, Tensor.split, Tensor.__getitem__, Tensor.contiguous, torch.clone,
            Tensor.clone,
        ],
        _plain,
    ),
}  # fmt: skip
