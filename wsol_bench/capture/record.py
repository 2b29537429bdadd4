"""The record of one forward pass, of which map methods are functions, and the plan for it.

A method of one layer reads ``activations``, ``gradients`` and ``class_weights``; a method that
fuses layers reads ``layers``; a method that needs more of the network asks ``probe``.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64
from torch import Tensor

from wsol_bench.capture.cost import Cost
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.models.output_reading import OutputReading, reading_of

if TYPE_CHECKING:
    from wsol_bench.capture.grids import LayerGrid
    from wsol_bench.capture.probe import Probe

__all__ = ["Layer", "Plan", "Record"]


@dataclass(frozen=True)
class Plan:
    """The needs of a map method in the forward pass; plans of several methods merge by ``|``.

    Attributes:
        gradients: whether gradients of the class scores (before softmax) with respect to the
            activations are recorded.
    """

    gradients: bool = False

    def __or__(self, other: "Plan") -> "Plan":
        return Plan(self.gradients or other.gradients)


@dataclass(frozen=True)
class Layer:
    """One target layer's part of a record, in float32; A and g belong to the same tensor.

    Attributes:
        name: dotted module name.
        activations: A, the layer's output over its spatial grid.
        gradients: g, d logits[b, classes[b, k]] / d A[b]; None unless planned.
        class_weights: rows of the head's weights, one for each class slot; None if no GAP + linear
            (or class convolution + GAP) head directly follows the layer.
        no_head: why the class weights are None; "" if the record was made by hand.
        grid: how the activations lie in the layer's output; None if the record was made by hand.
    """

    name: str
    activations: Float[Tensor, "batch c h w"]
    gradients: Float[Tensor, "batch k c h w"] | None = None
    class_weights: Float[Tensor, "batch k c"] | None = None
    no_head: str = ""
    grid: "LayerGrid | None" = None


@dataclass(frozen=True)
class Record:
    """A record of one forward pass over a batch, in float32, on the model's device.

    Attributes:
        logits: scores before softmax.
        classes: output index of each class slot.
        layers: all recorded layers, in the order in which they ran.
        at: position in ``layers`` of this record's layer.
    """

    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    layers: tuple[Layer, ...]
    at: int = 0
    _probe: "Probe | None" = field(default=None, repr=False)
    _shared: Cost = field(default_factory=Cost, repr=False)

    @property
    def layer(self) -> Layer:
        """This record's layer: ``layers[at]``.

        Raises:
            ModelError: the pass recorded no layer.
        """
        if not self.layers:
            raise ModelError("no target layer was recorded: name one with 'layer:'")
        return self.layers[self.at]

    @property
    def activations(self) -> Float[Tensor, "batch c h w"]:
        """A, the output of this record's layer."""
        return self.layer.activations

    @property
    def gradients(self) -> Float[Tensor, "batch k c h w"]:
        """g, the gradients at this record's layer: d logits[b, classes[b, k]] / d A[b].

        Raises:
            ModelError: the plan of the pass had no gradients.
        """
        if self.layer.gradients is None:
            raise ModelError(
                "no gradients were recorded: the method needs plan=Plan(gradients=True)"
            )
        return self.layer.gradients

    @property
    def class_weights(self) -> Float[Tensor, "batch k c"]:
        """Rows of the head's weights, one for each class slot.

        Raises:
            NotApplicableError: no GAP + linear (or class convolution + GAP) head follows the layer.
        """
        if self.layer.class_weights is None:
            raise NotApplicableError(
                "the method needs a GAP + linear (or class convolution + GAP) head directly "
                f"behind {self.layer.name!r}: {self.layer.no_head or 'none was recorded'}; if the "
                "network has one, name it with 'head:'"
            )
        return self.layer.class_weights

    @property
    def probe(self) -> "Probe":
        """The probe that asks the network for what this record does not hold.

        Raises:
            ModelError: the record was made by hand, without a network.
        """
        if self._probe is None:
            raise ModelError(
                "this record was made without a network, so its probe has no network to ask; make "
                "the record with wsol_bench.capture.capture"
            )
        return self._probe

    def cost_for(self, plan: Plan) -> Cost:
        """The cost of the pass for a method with this plan, as if the method were alone.

        The cost is zero for a record that a probe made: the probe has already charged the method
        that asked for the record.
        """
        backward = self._shared.backward if plan.gradients else 0
        return replace(self._shared, backward=backward, spans=list(self._shared.spans))

    def limited_to(self, plan: Plan) -> "Record":
        """The record of a pass with this plan, without what other methods asked for."""
        if plan.gradients:
            return self
        layers = tuple(replace(layer, gradients=None) for layer in self.layers)
        return replace(self, layers=layers)

    def at_layer(self, at: int) -> "Record":
        """The same record seen from another layer, ``layers[at]``."""
        return replace(self, at=at)

    @property
    def reading(self) -> OutputReading:
        """The reading of the network's scores; by default its output is the scores."""
        return OutputReading() if self._probe is None else reading_of(self._probe.model)

    def probabilities(self, scores: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The probabilities of the network's classes from their scores: softmax or sigmoid.

        Raises:
            NotApplicableError: the scores are those of functions of the output, not of classes.
        """
        return self.reading.probabilities_of(scores)

    def head(
        self, activations: Float[Tensor, "n c h w"], image: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n classes"]:
        """Scores before softmax from this record's layer on; see ``Probe.head``."""
        return self.probe.head(activations, image, layer=self.layer.name)

    def select(self, slots: Int64[Tensor, "batch m"]) -> "Record":
        """The record with a selection of each image's class slots.

        Args:
            slots: positions of the selected slots among the record's k class slots.
        """

        def selected(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            index = slots.reshape(*slots.shape, *(1,) * (values.ndim - 2))
            return values.gather(1, index.expand(*slots.shape, *values.shape[2:]))

        layers = tuple(
            replace(
                layer,
                gradients=selected(layer.gradients),
                class_weights=selected(layer.class_weights),
            )
            for layer in self.layers
        )
        return replace(self, classes=self.classes.gather(1, slots), layers=layers)
