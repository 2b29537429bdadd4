"""The probe, which asks a network again after its one pass, and ``capture``, which makes both."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wsol_bench.capture.backward.attention import Attention, attentions
from wsol_bench.capture.backward.excitation import excitation
from wsol_bench.capture.backward.guided import Rule, backward_rule
from wsol_bench.capture.backward.map_layer import map_and_contrast_layer, named_map_layer
from wsol_bench.capture.backward.relevance import relevances
from wsol_bench.capture.backward.tail import LayerScore
from wsol_bench.capture.backward.winning_probability import Residual
from wsol_bench.capture.cost import Cost, Timestamp
from wsol_bench.capture.cotangents import gradients, one_hot
from wsol_bench.capture.forward_pass import BestClasses, one_pass
from wsol_bench.capture.head import Head
from wsol_bench.capture.marks import Mark, marked
from wsol_bench.capture.network import (
    Precision,
    autocast,
    evaluation_mode,
    logits_of,
    uncompiled,
)
from wsol_bench.capture.record import Plan, Record
from wsol_bench.common.progress import second_bar
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, TokenGrid, find_module

__all__ = ["Probe", "capture"]

T = TypeVar("T")


class Probe:
    """Asks the network what the one pass did not record, and counts what that costs.

    After each question the network is as it was before (mode, hooks, ``requires_grad``, ``.grad``),
    also after an exception. It runs in evaluation mode. Gradients are tracked only in methods that
    say so.

    Args:
        model: maps images to (n, classes) logits.
        images: the batch, normalized, on the model's device.
        targets: the layers that are recorded.
        precision: ``bf16`` and ``fp16`` run the model under autocast.
        image_ids: one for each image; the noise depends on them. By default digests of the images.
        black: the color of black in the normalized input; None if it is not known.

    Attributes:
        cost: the work done since the innermost ``metered`` began.
        kept_results: the tensors that are kept for all methods, with the marks of their making.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch channels height width"],
        targets: Sequence[Target],
        *,
        precision: Precision = "fp32",
        image_ids: Sequence[str] | None = None,
        black: tuple[float, ...] | None = None,
    ) -> None:
        self.model = model
        # Half precision is for the network, not for the noise and the masks of the methods.
        self.images = images if images.dtype == torch.float64 else images.float()
        self.targets = tuple(targets)
        self.precision: Precision = precision
        self.black = black
        self.cost = Cost()
        self._image_ids = image_ids
        self._kept = dict[Hashable, tuple[Any, Cost]]()
        self.kept_results = list[tuple[Tensor, Mark]]()
        self._paid = set[Hashable]()

    @property
    def image_ids(self) -> Sequence[str]:
        """The id of each image; if no ids were given, SHA-256 digests of the images."""
        if self._image_ids is None:
            pixels = self.images.detach().float().cpu().contiguous().numpy()
            self._image_ids = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
        return self._image_ids

    @contextmanager
    def metered(self) -> Iterator[Cost]:
        """Yield a new cost that counts the questions asked within the context, and their time."""
        outer, self.cost = self.cost, Cost()
        paid, self._paid = self._paid, set()
        cost, begin = self.cost, Timestamp(self.images.device)
        try:
            yield cost
        finally:
            cost.spans.append((begin, Timestamp(self.images.device)))
            self.cost, self._paid = outer, paid | self._paid
            # Counts also belong to the enclosing context; its own span covers the time.
            outer += replace(cost, spans=[])

    def noise(self, seed: int) -> list[torch.Generator]:
        """A random generator for each image, keyed by (seed, image id), on the CPU.

        What is drawn for an image depends neither on its batch nor on the device.
        """
        digests = (
            hashlib.sha256(f"{seed} {image_id}".encode()).digest() for image_id in self.image_ids
        )
        return [
            torch.Generator().manual_seed(int.from_bytes(digest[:8], "big")) for digest in digests
        ]

    def chunks(self, n: int, description: str) -> Iterator[slice]:
        """Slices of ``range(n)``, each at most as long as the batch (or 16), with a progress bar.

        Args:
            n: number of images, or activations, that are to pass the network.
            description: text of the progress bar.
        """
        # For a batch of one image, slices of one would be several times as slow. Without gradients,
        # 16 images take less memory than one image with gradients.
        size = max(16, len(self.images))
        with second_bar(description, n) as advance:
            for start in range(0, n, size):
                yield slice(start, min(start + size, n))
                advance(min(size, n - start))

    @contextmanager
    def _running(self, *, compiled: bool = False) -> Iterator[None]:
        """Prepare the network for a question; gradients are enabled if the caller enabled them."""
        tracked = torch.is_grad_enabled()
        with (
            torch.inference_mode(False),  # which switches gradients on
            torch.set_grad_enabled(tracked),
            evaluation_mode(self.model),
            autocast(self.images.device, self.precision),
            nullcontext() if compiled else uncompiled(self.model),
        ):
            yield

    def logits(self, images: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """Scores before softmax of other images, in one pass and in float32."""
        with torch.no_grad(), self._running(compiled=True):
            return logits_of(self.model, images, self.cost).float()

    def head(
        self, activations: Float[Tensor, "n c h w"], image: Int64[Tensor, " n"], *, layer: str = ""
    ) -> Float[Tensor, "n classes"]:
        """Scores before softmax, from activations that replace the output of a target layer.

        Differentiable if gradients are enabled.

        Args:
            activations: over the layer's grid.
            image: position in the batch of the image that each activation belongs to.
            layer: name of the target layer; "" for the first one recorded.
        """
        target = next(target for target in self.targets if not layer or target.layer == layer)
        with self._running():
            head = self._once(
                ("head", target.layer), lambda: Head(self.model, self.images, target, self.cost)
            )
            return head(activations, image, self.cost).float()

    def record(
        self,
        images: Float[Tensor, "batch channels height width"],
        classes: Int64[Tensor, "batch k"],
    ) -> Record:
        """A record of other images, with gradients, at the same layers.

        Args:
            images: normalized.
            classes: output index of each class slot.
        """
        other = Probe(self.model, images, self.targets, precision=self.precision, black=self.black)
        other.cost = self.cost  # questions to the other probe are charged here
        record = one_pass(
            self.model, images, self.targets, Plan(gradients=True), classes,
            precision=self.precision, cost=self.cost,
        )  # fmt: skip
        return replace(record, _probe=other)

    def pixel_gradients(
        self,
        classes: Int64[Tensor, "batch k"],
        *,
        images: Float[Tensor, "batch channels height width"] | None = None,
        rule: Rule = "plain",
    ) -> Float[Tensor, "batch k channels height width"]:
        """Gradients of the class scores (before softmax) with respect to the normalized input.

        Args:
            classes: output index of each class slot.
            images: other images; by default the batch, whose gradients are computed once and
                shared by all methods.
            rule: how rectifiers pass the gradient; see ``backward_rule``.
        """
        if images is not None:
            return self._gradients(classes, images, {}, rule)[0]
        key = ("pixels", rule, *classes.flatten().tolist())
        return self._once(key, lambda: self._gradients(classes, self.images, {}, rule)[0])

    def gradients_at(
        self, modules: Iterable[str] | Mapping[str, int], classes: Int64[Tensor, "batch k"]
    ) -> dict[str, tuple[Float[Tensor, "_ ..."], Float[Tensor, "_ k ..."]]]:
        """The outputs of modules, and the gradients of the class scores (before softmax) there.

        Args:
            modules: dotted names; as a mapping, with the number of dimensions of the output: others
                are left out, as are modules that do not run. The last run of a module counts.
                Gradients are 0 where no path leads to the scores.
            classes: output index of each class slot.

        Returns:
            By module name, the output and its gradients, in float32.
        """
        layers = {name: find_module(self.model, name) for name in modules}
        n_dims = modules if isinstance(modules, Mapping) else {}
        return self._gradients(classes, self.images, layers, "plain", n_dims)[1]

    def _gradients(
        self,
        classes: Int64[Tensor, "batch k"],
        images: Float[Tensor, "n channels h w"],
        layers: dict[str, nn.Module],
        rule: Rule,
        n_dims: Mapping[str, int] = MappingProxyType({}),
    ) -> tuple[Float[Tensor, "n k channels h w"], dict[str, tuple[Tensor, Tensor]]]:
        """Gradients at the pixels, and modules' outputs with the gradients there, by name.

        The graph is that of the whole network.
        """
        outputs: dict[str, Tensor] = {}

        def note(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
                if output.ndim != n_dims.get(name, output.ndim):
                    return None
                outputs[name] = output
                return output.clone()  # what follows may work in place

            return hook

        hooks = ((module, note(name)) for name, module in layers.items())
        with self._running(), hooked(after=hooks), torch.enable_grad(), backward_rule(rule):
            pixels = images.detach().clone().requires_grad_(True)
            logits = logits_of(self.model, pixels, self.cost)
        cotangents = one_hot(classes, logits)
        tensors, names = [pixels, *outputs.values()], ["the input", *outputs]
        # Slot by slot: all of them at once would hold the whole network's gradients k times.
        slots = [
            gradients(
                logits, tensors, cotangents[:, [slot]], names, self.model, cost=self.cost,
                retain=True, n_required=1,
            )
            for slot in range(classes.shape[1])
        ]  # fmt: skip
        at_pixels, *at_layers = (
            torch.cat(of_slots, dim=1) for of_slots in zip(*slots, strict=True)
        )
        return at_pixels, {
            name: (output.detach().float(), gradient)
            for (name, output), gradient in zip(outputs.items(), at_layers, strict=True)
        }

    def attention(
        self, classes: Int64[Tensor, "batch k"] | None, *, score: LayerScore = "class_token"
    ) -> list[Attention]:
        """The attention of each block of a vision transformer, first block to last.

        Args:
            classes: output index of each class slot, for gradients; None for the weights alone.
            score: the token that a layer's own score is made of.

        Raises:
            NotApplicableError: the network is not a vision transformer of the kind that
                ``attentions`` takes.
        """

        def compute() -> list[Attention]:
            with self._running():
                return attentions(
                    self.model, self.images, classes, layer_score=score, grid=self._token_grid,
                    cost=self.cost,
                )  # fmt: skip

        slots = [] if classes is None else classes.flatten().tolist()
        return self._once(("attention", score, *slots), compute)

    def relevance(
        self, classes: Int64[Tensor, "batch k"]
    ) -> list[Float[Tensor, "batch k heads n n"]]:
        """The relevance of each attention matrix of a vision transformer to the class slots.

        Args:
            classes: output index of each class slot.

        Returns:
            One tensor for each block, first to last.

        Raises:
            NotApplicableError: the network is not a vision transformer of the kind that
                ``attentions`` takes, or runs an operation that has no rule of relevance.
        """
        grid = self._token_grid
        with self._running():
            return relevances(self.model, self.images, classes, grid=grid, cost=self.cost)

    @property
    def _token_grid(self) -> TokenGrid | None:
        # The grid that was given with a target layer.
        return next((target.token_grid for target in self.targets if target.token_grid), None)

    def excitation(
        self,
        classes: Int64[Tensor, "batch k"],
        *,
        contrastive: bool = False,
        map_layer: str | None = None,
        residual: Residual = "positive",
    ) -> Float[Tensor, "batch k c h w"]:
        """Marginal winning probabilities at a map layer.

        Args:
            classes: output index of each class slot.
            contrastive: whether the probabilities of the negated class are subtracted, at the
                contrast layer.
            map_layer: dotted name; by default the map layer in the target-layer table.
            residual: how a sum shares out probability; see ``winning_probability.shares``.

        Raises:
            NotApplicableError: an operation behind the map layer has no rule, or the table has no
                map layer for the network.
        """
        at, contrast = map_and_contrast_layer(self.model, map_layer, contrastive=contrastive)
        with self._running(), named_map_layer(map_layer):
            return excitation(
                self.model, self.images, classes, at, contrast, residual=residual, cost=self.cost
            )

    def _once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of ``compute``, kept for the batch; each caller is charged as if alone."""
        if key not in self._kept:
            with self.metered() as cost:
                result = compute()
            self._kept[key] = (result, cost)
            self.kept_results += marked(result)
        elif key not in self._paid:
            self.cost += self._kept[key][1]
        self._paid.add(key)
        kept: T = self._kept[key][0]
        return kept


def capture(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    targets: Sequence[Target],
    plan: Plan,
    *,
    classes: Int64[Tensor, "batch k"] | BestClasses | None = None,
    precision: Precision = "fp32",
    image_ids: Sequence[str] | None = None,
    black: tuple[float, ...] | None = None,
) -> Record:
    """Run the model once on a batch and record what ``plan`` asks for.

    The model comes back as it was (mode, hooks, ``requires_grad``, ``.grad``), also after an
    exception; it runs in evaluation mode.

    Args:
        model: maps images to (batch, n) logits.
        images: normalized input, on the model's device.
        targets: the layers to record, at least one.
        plan: what to record of them.
        classes: output index of each class slot; or ``BestClasses(k, labels)``, the k best classes
            of each image and its label. By default the five best, best first.
        precision: ``bf16`` and ``fp16`` run the model under autocast.
        image_ids: keys of the random numbers of stochastic methods; by default digests of the
            images.
        black: the color of black in the normalized input, for methods that start from it.

    Raises:
        ModelError: a layer did not run, ran twice, or its output is no spatial grid; the model
            returns no logits; or it has no output of an index in ``classes``.
    """
    probe = Probe(model, images, targets, precision=precision, image_ids=image_ids, black=black)
    slots = BestClasses() if classes is None else classes
    with probe.metered() as shared:
        record = one_pass(model, images, targets, plan, slots, precision=precision, cost=shared)
    probe.cost = Cost()  # no method has asked the probe yet
    return replace(record, _probe=probe, _shared=shared)
