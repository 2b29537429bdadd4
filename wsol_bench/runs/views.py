"""The views in which a network sees images: the input, at other scales, mirrored, and as ten crops.

The protocol's section ``input`` lists them. Without its fields ``scales``, ``flip`` and
``ten_crop`` there is one view, the input, and one pass gives predictions and maps.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from wsol_bench.capture import BestClasses, Cost, Plan, Record
from wsol_bench.errors import ModelError
from wsol_bench.models.output_reading import OutputReading
from wsol_bench.protocols.input_section import InputSection, View

__all__ = ["Capture", "Predictions", "Views", "naming_scale"]

# Runs a network once on a batch: normalized images, what to record, and the class slots.
Capture = Callable[[Tensor, Plan, "BestClasses | Tensor"], Record]

_INPUT = View()


class Predictions(NamedTuple):
    """The classes that a network predicts for a batch.

    Attributes:
        logits: scores whose softmax (or sigmoid) is the probability of each output.
        classes: output index of each class slot.
        cost: the cost of the passes that were made for the predictions alone.
        record: the record of the input, if its pass is also that of a view; else None.
    """

    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    cost: Cost
    record: Record | None


@dataclass(frozen=True, eq=False)
class Views:
    """The pixels of a batch of images in all views.

    Attributes:
        section: the protocol's section ``input``.
        windows: normalized (batch, 3, height, width) each, as ``InputSection.windows`` lists them.
    """

    section: InputSection
    windows: Sequence[Tensor]

    @property
    def inputs(self) -> Float[Tensor, "batch 3 height width"]:
        """The network's input, which is the first window."""
        return self.windows[0]

    def predict(
        self, capture: Capture, plan: Plan, best: BestClasses | Int64[Tensor, "batch k"]
    ) -> Predictions:
        """The predictions, from the input or, under ``ten_crop``, from the crops.

        Args:
            capture: runs the network.
            plan: what methods need of a view's pass; that of the input may be one.
            best: which of the predicted classes get class slots; or the output index of each slot.
        """
        if self.section.ten_crop is not None:
            return self._ten_crop(capture, best)
        is_view = _INPUT in self.section.views
        record = capture(self.inputs, plan if is_view else Plan(), best)
        if is_view:
            return Predictions(record.logits, record.classes, Cost(), record)
        return Predictions(record.logits, record.classes, record.cost_for(Plan()), None)

    def records(
        self, capture: Capture, plan: Plan, predictions: Predictions
    ) -> Iterator[tuple[View, Record]]:
        """A record of each view whose maps are averaged, for the predicted classes.

        Args:
            capture: runs the network.
            plan: what methods need.
            predictions: the predictions; their record, if there is one, is that of the input.
        """
        for view in self.section.views:
            if view == _INPUT and predictions.record is not None:
                yield view, predictions.record
                continue
            with naming_scale(view):
                record = capture(self._pixels(view), plan, predictions.classes)
            yield view, record

    def _pixels(self, view: View) -> Float[Tensor, "batch 3 _ _"]:
        pixels = self.windows[view.window]
        return pixels.flip(-1) if view.mirrored else pixels

    def _ten_crop(
        self, capture: Capture, best: BestClasses | Int64[Tensor, "batch k"]
    ) -> Predictions:
        """The predictions by the mean of the probabilities over the ten crops."""
        cost, logits = Cost(), []
        for view in self.section.crops:
            record = capture(self._pixels(view), Plan(), best)
            cost += record.cost_for(Plan())
            logits.append(record.logits)
        scores = _score_of_mean(torch.stack(logits), record.reading)
        classes = best.slots(scores) if isinstance(best, BestClasses) else best
        return Predictions(scores, classes, cost, None)


def _score_of_mean(
    logits: Float[Tensor, "crops batch n"], reading: OutputReading
) -> Float[Tensor, "batch n"]:
    """Scores whose probabilities are the means of those of several logits, in float64.

    Behind a softmax they are the logarithms of the mean probabilities p; behind a sigmoid,
    ``log p - log (1 - p)``. Neither underflows. They are NaN for an image that has a logit that is
    not finite, as such an image has no prediction.
    """
    reading.require_classes("probabilities, of which the protocol's ten_crop takes the mean")
    wide = logits.double()
    if reading.meaning == "softmax":
        mean = wide.log_softmax(dim=2).logsumexp(dim=0) - log(len(logits))
    else:
        mean = logsigmoid(wide).logsumexp(dim=0) - logsigmoid(-wide).logsumexp(dim=0)
    finite = logits.isfinite().all(dim=2).all(dim=0)
    return torch.where(finite[:, None], mean, torch.nan)


@contextmanager
def naming_scale(view: View) -> Iterator[None]:
    """Add to a ModelError that the view is at another scale than the input, if it is."""
    try:
        yield
    except ModelError as error:
        if view.scale == 1:
            raise
        raise ModelError(
            f"{error} (in the view at {view.scale:g} times the input's size, of the protocol's "
            "input.scales; a network that takes one size only needs a protocol without it)"
        ) from error
