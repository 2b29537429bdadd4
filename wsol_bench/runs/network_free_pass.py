"""The pass of an experiment without a model: only network-free methods; no pixels are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wsol_bench.datasets import Dataset, Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ImageError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.runs.scored_batches import (
    CostLine,
    ImageOutcome,
    ScoredGroup,
    ScoredMethod,
    UnscoredBatch,
)
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch

__all__ = ["NetworkFreePass"]


@dataclass(frozen=True)
class NetworkFreePass:
    """The network-free methods of an experiment without a model; a ``MethodPass``.

    Attributes:
        maps_or_boxes: the maps or boxes of each method, by the method's name in the results.
        protocol: the protocol; its input section says which area of an image the maps cover.
    """

    maps_or_boxes: Mapping[str, MapsOrBoxes]
    protocol: Protocol

    @property
    def name(self) -> str:
        """The name that stands for the model in the results."""
        return NO_MODEL

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """Return no image: every class can be evaluated, since there is no classifier."""
        return {}

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[UnscoredBatch]:
        """The batches of images, given as positions in the data set."""
        for positions in batches:
            failed: list[ImageOutcome] = []
            usable: list[tuple[int, Sample]] = []
            for position in positions:
                sample = dataset[position]
                if not any(
                    maps_or_boxes.covers(sample.image_id)
                    for maps_or_boxes in self.maps_or_boxes.values()
                ):
                    reason = "there is neither a map nor a box for it"
                    outcome = ImageOutcome(position, sample, ImageStatus.NOT_PREDICTED, reason)
                    failed.append(outcome)
                elif not (sample.height and sample.width):
                    reason = "neither an image file nor a table tells its size"
                    outcome = ImageOutcome(position, sample, ImageStatus.UNREADABLE, reason)
                    failed.append(outcome)
                elif reason := _too_long(sample, self.protocol):
                    outcome = ImageOutcome(position, sample, ImageStatus.UNREADABLE, reason)
                    failed.append(outcome)
                else:
                    usable.append((position, sample))
            yield UnscoredBatch(failed, [_NetworkFreeGroup(self, usable)] if usable else [])


@dataclass(frozen=True, eq=False)
class _NetworkFreeGroup:
    """Images of which a method has a map or a box, each with its position in the data set."""

    network_free: NetworkFreePass
    samples: list[tuple[int, Sample]]

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """Score the maps or boxes of each method."""
        samples = [sample for _, sample in self.samples]
        images = _image_batch(samples, self.network_free.protocol)
        broken = scoring.broken(images)
        outcomes = [
            ImageOutcome(position, sample, ImageStatus.UNREADABLE, broken[index])
            if index in broken
            else ImageOutcome(position, sample, ImageStatus.EVALUATED)
            for index, (position, sample) in enumerate(self.samples)
        ]
        images = images.take([index for index in range(len(images)) if index not in broken])
        if not len(images):
            return ScoredGroup(outcomes, [])
        methods = []
        for method, maps_or_boxes in self.network_free.maps_or_boxes.items():
            rows, scores = maps_or_boxes.score_without_model(images, scoring)
            methods.append(ScoredMethod(method, "", rows, scores, CostLine(len(images))))
        return ScoredGroup(outcomes, methods)


def _too_long(sample: Sample, protocol: Protocol) -> str:
    """Why the protocol has no input for an image of this shape; "" if it has one."""
    try:
        protocol.input.place(sample.height, sample.width)
    except ImageError as error:
        return str(error)
    return ""


def _image_batch(samples: Sequence[Sample], protocol: Protocol) -> ImageBatch:
    return ImageBatch(
        tuple(sample.image_id for sample in samples),
        tuple(map(ImageTruth.of, samples)),
        tuple(protocol.input.place(sample.height, sample.width) for sample in samples),
    )
