"""What the map methods see of a network: a Record of the one pass, and a Probe to ask it again."""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wsol_bench.capture.backward.attention import Attention, attentions
from wsol_bench.capture.backward.excitation import excitation, without_rule
from wsol_bench.capture.backward.guided import Rule, backward_rule
from wsol_bench.capture.backward.relevance import relevances
from wsol_bench.capture.cost import Cost, Timestamp
from wsol_bench.capture.cotangents import gradients, one_hot
from wsol_bench.capture.head import Head
from wsol_bench.capture.network import (
    Precision,
    autocast,
    evaluation_mode,
    logits_of,
    uncompiled,
)
from wsol_bench.capture.one_pass import forward
from wsol_bench.common.progress import within
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module, to_grid

__all__ = ["Layer", "Plan", "Probe", "Record", "capture"]

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a map method needs of the forward pass; plans of several methods merge by ``|``.

    Attributes:
        gradients: of the class scores (before softmax) with respect to the activations.
    """

    gradients: bool = False

    def __or__(self, other: "Plan") -> "Plan":
        return Plan(self.gradients or other.gradients)


@dataclass(frozen=True)
class Layer:
    """What the pass left of one layer, in float32; A and g belong to the same tensor.

    Attributes:
        name: dotted module name.
        activations: A, its output over its spatial grid.
        gradients: g, d logits[b, classes[b, k]] / d A[b]; None unless planned.
        class_weights: rows of the head's weights for each class slot; None where no GAP + linear
            (or class convolution + GAP) head directly follows the layer.
    """

    name: str
    activations: Float[Tensor, "batch c h w"]
    gradients: Float[Tensor, "batch k c h w"] | None = None
    class_weights: Float[Tensor, "batch k c"] | None = None


class Probe:
    """Asks the network what the one pass did not record; counts what that costs.

    The network comes back as it was after each question, also after an exception (mode, hooks,
    ``requires_grad``, ``.grad``). It runs in evaluation mode; gradients are tracked where said.

    Attributes:
        model: the network.
        images: the batch, normalized.
        image_ids: of the batch.
        targets: the layers that are recorded.
        cost: of what has been asked since ``metered`` began.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        targets: Sequence[Target],
        *,
        precision: Precision = "fp32",
        image_ids: Sequence[str] | None = None,
    ) -> None:
        self.model = model
        self.images = images
        self.targets = tuple(targets)
        self.precision: Precision = precision
        self.cost = Cost()
        self._image_ids = image_ids
        self._kept = dict[Hashable, tuple[Any, Cost]]()
        self._paid = set[Hashable]()

    @property
    def image_ids(self) -> Sequence[str]:
        """Of the batch; where nobody gave any, digests of the images."""
        if self._image_ids is None:
            pixels = self.images.detach().float().cpu().contiguous().numpy()
            self._image_ids = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
        return self._image_ids

    @contextmanager
    def metered(self) -> Iterator[Cost]:
        """The cost of what is asked within, time included."""
        outer, self.cost = self.cost, Cost()
        paid, self._paid = self._paid, set()
        cost, begin = self.cost, Timestamp(self.images.device)
        try:
            yield cost
        finally:
            cost.spans.append((begin, Timestamp(self.images.device)))
            self.cost, self._paid = outer, paid | self._paid
            # Work within is work of what stands around it, whose own span covers the time.
            outer += replace(cost, spans=[])

    def noise(self, seed: int) -> list[torch.Generator]:
        """A random generator an image, keyed by (seed, image id), on the CPU.

        What an image draws depends neither on its batch nor on the device.
        """
        digests = (
            hashlib.sha256(f"{seed} {image_id}".encode()).digest() for image_id in self.image_ids
        )
        return [
            torch.Generator().manual_seed(int.from_bytes(digest[:8], "big")) for digest in digests
        ]

    def chunks(self, n: int, what: str) -> Iterator[slice]:
        """The numbers 0 to ``n`` in slices of at most the batch's size (or 16), with progress.

        Args:
            n: of images, or activations, that are to pass the network.
            what: they are, for people.
        """
        # An image alone would pass one by one, several times as slow. Without gradients 16 take
        # less memory than one with them.
        size = max(16, len(self.images))
        with within(what, n) as advance:
            for start in range(0, n, size):
                yield slice(start, min(start + size, n))
                advance(min(size, n - start))

    @contextmanager
    def _running(self, *, compiled: bool = False) -> Iterator[None]:
        tracked = torch.is_grad_enabled()
        with (
            torch.inference_mode(False),  # which switches gradients on
            torch.set_grad_enabled(tracked),
            evaluation_mode(self.model),
            autocast(self.images.device, self.precision),
            nullcontext() if compiled else uncompiled(self.model),
        ):
            yield

    def logits(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n classes"]:
        """Scores before softmax of other images, in one pass and in float32."""
        with torch.no_grad(), self._running(compiled=True):
            return logits_of(self.model, images, self.cost).float()

    def head(
        self, activations: Float[Tensor, "n c h w"], of: Int64[Tensor, " n"], *, layer: str = ""
    ) -> Float[Tensor, "n classes"]:
        """Scores before softmax from a target layer on, for activations in the place of its own.

        Differentiable where gradients are enabled.

        Args:
            activations: over the layer's grid.
            of: the image in the batch that each belongs to.
            layer: name of the target layer; the first one recorded where it is "".
        """
        target = next(one for one in self.targets if not layer or one.layer == layer)
        with self._running():
            head = self._once(
                ("head", target.layer), lambda: Head(self.model, self.images, target, self.cost)
            )
            return head(activations, of, self.cost).float()

    def record(
        self, images: Float[Tensor, "batch 3 height width"], classes: Int64[Tensor, "batch k"]
    ) -> "Record":
        """A Record of other images with gradients, of the same layers."""
        other = Probe(self.model, images, self.targets, precision=self.precision)
        other.cost = self.cost  # what is asked of it is asked here
        return other.capture(Plan(gradients=True), classes=classes)

    def pixel_gradients(
        self,
        classes: Int64[Tensor, "batch k"],
        *,
        images: Float[Tensor, "batch 3 height width"] | None = None,
        rule: Rule = "plain",
    ) -> Float[Tensor, "batch k 3 height width"]:
        """Gradients of the class scores (before softmax) with respect to the normalized input.

        Args:
            classes: of each image.
            images: other ones; by default the batch, whose gradients are found once for all
                methods.
            rule: how rectifiers pass the gradient.
        """
        if images is not None:
            return self._pixel_gradients(classes, images, rule)
        key = ("pixels", rule, *classes.flatten().tolist())
        return self._once(key, lambda: self._pixel_gradients(classes, self.images, rule))

    def _pixel_gradients(
        self, classes: Int64[Tensor, "batch k"], images: Float[Tensor, "n 3 h w"], rule: Rule
    ) -> Float[Tensor, "n k 3 h w"]:
        return self._through(classes, images, {}, rule)[0]

    def gradients_at(
        self, modules: Sequence[str], classes: Int64[Tensor, "batch k"]
    ) -> dict[str, tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch k ..."]]]:
        """Outputs of modules by dotted name, and the gradients of the class scores there.

        Of a module that runs several times in a pass, the last time.
        """
        layers = {name: find_module(self.model, name) for name in modules}
        outputs = dict[str, Tensor]()
        _, *found = self._through(classes, self.images, layers, "plain", outputs)
        return {
            name: (outputs[name].detach().float(), gradient)
            for name, gradient in zip(outputs, found, strict=True)
        }

    def _through(
        self,
        classes: Int64[Tensor, "batch k"],
        images: Float[Tensor, "n 3 h w"],
        layers: dict[str, nn.Module],
        rule: Rule,
        outputs: dict[str, Tensor] | None = None,
    ) -> list[Float[Tensor, "n k ..."]]:
        """Gradients at the pixels, then at modules' outputs, by a graph of the whole network."""
        taken = {} if outputs is None else outputs

        def note(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
                taken[name] = output
                return output.clone()  # what follows may work in place

            return hook

        hooks = ((module, note(name)) for name, module in layers.items())
        with hooked(after=hooks), self._running(), torch.enable_grad(), backward_rule(rule):
            pixels = images.detach().clone().requires_grad_(True)
            logits = logits_of(self.model, pixels, self.cost)
        cotangents = one_hot(classes, logits)
        at, names = [pixels, *taken.values()], ["the input", *taken]
        # Slot by slot: all of them at once would hold the whole network's gradients k times.
        slots = [
            gradients(
                logits,
                at,
                cotangents[:, [slot]],
                names,
                self.model,
                cost=self.cost,
                retain=True,
            )
            for slot in range(classes.shape[1])
        ]
        return [torch.cat(of_slots, dim=1) for of_slots in zip(*slots, strict=True)]

    def attention(self, classes: Int64[Tensor, "batch k"] | None) -> list[Attention]:
        """Of each block of a vision transformer, its attention; with classes their gradients.

        Raises:
            NotApplicableError: the network is no such transformer.
        """

        def make() -> list[Attention]:
            with self._running():
                return attentions(self.model, self.images, classes, cost=self.cost)

        return self._once(
            ("attention", *([] if classes is None else classes.flatten().tolist())), make
        )

    def relevance(
        self, classes: Int64[Tensor, "batch k"]
    ) -> list[Float[Tensor, "batch k heads n n"]]:
        """Of each block of a vision transformer, the relevance of its attention to the classes.

        Raises:
            NotApplicableError: the network is no such transformer, or computes what has no rule.
        """
        with self._running():
            return relevances(self.model, self.images, classes, cost=self.cost)

    def excitation(
        self,
        classes: Int64[Tensor, "batch k"],
        *,
        contrastive: bool = False,
        map_layer: str | None = None,
    ) -> Float[Tensor, "batch k c h w"]:
        """Marginal winning probabilities at a map layer.

        Args:
            classes: of each image.
            contrastive: whether those of the negated class are subtracted at the contrast layer.
            map_layer: dotted name; by default that of the network's table entry.

        Raises:
            NotApplicableError: what runs behind the map layer has no rule, or none is known.
        """
        layers = self.targets[0].excitation
        if map_layer is not None:
            # Below the last layer p is linear: where the two are subtracted changes no map.
            layers = map_layer, map_layer
        if layers is None:
            reason = without_rule(self.model) or "the table knows no map layer of its architecture"
            raise NotApplicableError(f"{reason}; name a layer behind it with 'map_layer'")
        at, contrast = layers if contrastive else (layers[0], None)
        with self._running():
            try:
                return excitation(self.model, self.images, classes, at, contrast, cost=self.cost)
            except ModelError as error:
                if map_layer is None or isinstance(error, NotApplicableError):
                    raise
                raise NotApplicableError(f"map_layer {map_layer!r}: {error}") from error

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, kept for the batch. Each who asks is charged as if alone: once."""
        if key not in self._kept:
            with self.metered() as cost:
                made = make()
            self._kept[key] = (made, cost)
        elif key not in self._paid:
            self.cost += self._kept[key][1]
        self._paid.add(key)
        value: T = self._kept[key][0]
        return value

    @torch.inference_mode(False)  # a caller's inference mode forbids gradients for good
    def capture(
        self,
        plan: Plan,
        *,
        k: int = 5,
        labels: Int64[Tensor, " batch"] | None = None,
        classes: Int64[Tensor, "batch k"] | None = None,
    ) -> "Record":
        """The one pass; see ``capture``."""
        logits, taken = forward(
            self.model,
            self.images,
            self.targets,
            track=plan.gradients,
            precision=self.precision,
            cost=self.cost,
        )
        scores = logits.detach().float()
        if classes is None:
            classes = _class_slots(scores, k, labels)
        elif bool((wrong := (classes < 0) | (classes >= scores.shape[1])).any()):
            raise ModelError(
                f"classes: {type(self.model).__name__} has no output {classes[wrong][0]}; its "
                f"outputs are 0 to {scores.shape[1] - 1}"
            )
        found: list[Any] = [None] * len(taken)
        if plan.gradients:
            names = [target.layer for target, _ in taken]
            outputs = [output for _, output in taken]
            cotangents = one_hot(classes, logits)
            found = gradients(logits, outputs, cotangents, names, self.model, cost=self.cost)
        layers = []
        for (target, output), gradient in zip(taken, found, strict=True):
            grid = to_grid(output.detach().float(), target.layout)
            layers.append(
                Layer(
                    target.layer,
                    grid,
                    None if gradient is None else to_grid(gradient, target.layout),
                    self._class_weights(target, classes, scores, grid),
                )
            )
        return Record(scores, classes, tuple(layers), len(layers) - 1, self)

    def _class_weights(
        self,
        target: Target,
        classes: Int64[Tensor, "batch k"],
        logits: Float[Tensor, "batch n"],
        grid: Float[Tensor, "batch c h w"],
    ) -> Float[Tensor, "batch k c"] | None:
        if target.head is None:
            return None
        head = find_module(self.model, target.head)
        weight = getattr(head, "weight", None)
        if not isinstance(weight, Tensor) or weight.flatten(1).shape[1] != weight.shape[1]:
            raise ModelError(
                f"the head {type(head).__name__} is neither linear nor a 1x1 convolution"
            )
        weight = weight.detach().flatten(1).float()
        if weight.shape != (logits.shape[1], grid.shape[1]):
            raise ModelError(
                f"head {target.head!r} has weights {tuple(weight.shape)}, but CAM at "
                f"{target.layer!r} needs one row an output and one column a channel, "
                f"{(logits.shape[1], grid.shape[1])}; name another with 'head:'"
            )
        return weight[classes]


@dataclass(frozen=True)
class Record:
    """What one forward pass left, in float32, on the model's device.

    Attributes:
        logits: scores before softmax.
        classes: output index of each class slot.
        layers: all that were recorded, in the order in which they ran.
        at: position of this record's own layer among them.
    """

    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    layers: tuple[Layer, ...]
    at: int = 0
    _probe: Probe | None = field(default=None, repr=False)
    _shared: Cost = field(default_factory=Cost, repr=False)

    @property
    def layer(self) -> Layer:
        """This record's own layer."""
        return self.layers[self.at]

    @property
    def activations(self) -> Float[Tensor, "batch c h w"]:
        """A, of this record's layer."""
        return self.layer.activations

    @property
    def gradients(self) -> Float[Tensor, "batch k c h w"]:
        """g, of this record's layer: d logits[b, classes[b, k]] / d A[b]."""
        if self.layer.gradients is None:
            raise ModelError(
                "no gradients were recorded: the method needs plan=Plan(gradients=True)"
            )
        return self.layer.gradients

    @property
    def class_weights(self) -> Float[Tensor, "batch k c"]:
        """Rows of the head's weights for each class slot.

        Raises:
            NotApplicableError: no GAP + linear (or class convolution + GAP) head follows the layer.
        """
        if self.layer.class_weights is None:
            raise NotApplicableError(
                "it needs a GAP + linear (or class convolution + GAP) head directly behind "
                f"{self.layer.name!r}; name one with 'head:' where the network has it"
            )
        return self.layer.class_weights

    @property
    def probe(self) -> Probe:
        """Asks the network again."""
        if self._probe is None:
            raise ModelError("this record is not of a network")
        return self._probe

    def cost_for(self, plan: Plan) -> Cost:
        """What the pass costs a method with this plan, as if it were alone.

        Nothing where the record was asked of a probe, which has charged whoever asked.
        """
        backward = self._shared.backward if plan.gradients else 0
        return replace(self._shared, backward=backward, spans=list(self._shared.spans))

    def at_layer(self, at: int) -> "Record":
        """The record of another of its layers."""
        return replace(self, at=at)

    def head(
        self, activations: Float[Tensor, "n c h w"], of: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n classes"]:
        """Scores from this record's layer on; see ``Probe.head``."""
        return self.probe.head(activations, of, layer=self.layer.name)

    def select(self, slots: Int64[Tensor, "batch m"]) -> "Record":
        """The record of some class slots of each image."""

        def of(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            index = slots.reshape(*slots.shape, *(1,) * (values.ndim - 2))
            return values.gather(1, index.expand(*slots.shape, *values.shape[2:]))

        layers = tuple(
            replace(layer, gradients=of(layer.gradients), class_weights=of(layer.class_weights))
            for layer in self.layers
        )
        return replace(self, classes=self.classes.gather(1, slots), layers=layers)


def capture(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    targets: Sequence[Target],
    plan: Plan,
    *,
    k: int = 5,
    labels: Int64[Tensor, " batch"] | None = None,
    classes: Int64[Tensor, "batch k"] | None = None,
    precision: Precision = "fp32",
    image_ids: Sequence[str] | None = None,
) -> Record:
    """Run the model once on a batch and record what ``plan`` asks for.

    The model comes back as it was (mode, hooks, ``requires_grad``, ``.grad``), also after an
    exception; it runs in evaluation mode.

    Args:
        model: maps images to (batch, n) logits.
        images: normalized input, on the model's device.
        targets: the layers to record, at least one.
        plan: what to record of them.
        k: number of class slots, at least 1: the k best classes of each image, best first.
        labels: output index of each image's own class, which then is one slot more, the last.
        classes: the class slots themselves, instead of the k best.
        precision: ``bf16`` and ``fp16`` run the model under autocast.
        image_ids: key the random numbers of stochastic methods; by default digests of the images.

    Raises:
        ModelError: a layer did not run, ran twice, or its output is no spatial grid; the model
            returns no logits; ``classes`` holds what is no output.
        ValueError: ``k`` is less than 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    probe = Probe(model, images, targets, precision=precision, image_ids=image_ids)
    with probe.metered() as shared:
        record = probe.capture(plan, k=k, labels=labels, classes=classes)
    probe.cost = Cost()  # nobody has asked yet
    return replace(record, _shared=shared)


def _class_slots(
    logits: Float[Tensor, "batch n"], k: int, labels: Int64[Tensor, " batch"] | None
) -> Int64[Tensor, "batch k"]:
    # A stable sort: equal logits rank by output index, on every device and in every batch.
    best = logits.sort(dim=1, descending=True, stable=True).indices[:, :k]
    # Always, though most images have it among the best: to look would be to wait for the GPU.
    return best if labels is None else torch.cat([best, labels[:, None]], dim=1)
