"""The pass of a model and its methods, from decoded images to batches of maps.

Nothing is scored here, and nothing waits for the device: a GPU may still work on a batch when it is
handed on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Cost, Plan, Precision, Record, autocast, capture
from wsol_bench.capture.insertion_deletion import Faithfulness, faithfulness
from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.common.vocabulary import KeptMaps
from wsol_bench.datasets import Dataset, Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ModelError, WsolBenchError
from wsol_bench.geometry import Placement
from wsol_bench.images.loading import Group, decoded
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import MapMethod, merged_plan
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classes import few
from wsol_bench.models.classifiers import Classifier
from wsol_bench.models.output_reading import reading_of
from wsol_bench.protocols.input_section import View
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.class_slots import ClassSlots
from wsol_bench.runs.facts import PassSettings
from wsol_bench.runs.kept_maps import kept_rows
from wsol_bench.runs.map_storage import storable
from wsol_bench.runs.method_maps import MethodMaps, maps_of, mean_over_views
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.runs.scored_batches import (
    CostLine,
    ImageOutcome,
    ScoredGroup,
    ScoredMethod,
    StoredMaps,
    UnscoredBatch,
)
from wsol_bench.runs.views import Capture, Predictions, Views, naming_scale
from wsol_bench.runs.within_memory import within_memory
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.upsampling import upsample

__all__ = ["NetworkPass"]


@dataclass(frozen=True)
class NetworkPass:
    """A classifier and the methods that share its forward pass; a ``MethodPass``.

    Attributes:
        classifier: the classifier; its module is on ``device``.
        methods: the map methods, which share one forward pass.
        randomized: the network with permuted weights, for methods that ask for it; None if no
            method does.
        network_free: the maps or boxes of each network-free method, by its name in the results.
        protocol: every choice between image and number.
        faithfulness_steps: the number of steps of insertion and deletion, on the maps of the first
            predictions; None if faithfulness is not measured.
        settings: how many images pass at once, how they are decoded, and the memory format of input
            and module.
        device, precision: the device and the precision of the pass.
        halved: called with the new number of images that pass at once, each time that the memory
            of the GPU ran out and fewer pass from then on; None if that is an error.
        kept_maps: the maps that are kept when they are scored.
    """

    classifier: Classifier
    methods: Sequence[MapMethod]
    randomized: nn.Module | None
    network_free: dict[str, MapsOrBoxes]
    protocol: Protocol
    faithfulness_steps: int | None
    settings: PassSettings
    device: torch.device
    precision: Precision
    halved: Callable[[int], None] | None = None
    kept_maps: KeptMaps = "all"

    @property
    def name(self) -> str:
        """The model's name in the results."""
        return self.classifier.name

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """The images whose label the network has no output for: position to reason."""
        classes = set(self.classifier.classes)
        known = f"its outputs are {few(self.classifier.classes)}"
        return {
            index: f"the classifier has no class {label}; {known}"
            for index, label in enumerate(dataset.images["label"].tolist())
            if label not in classes
        }

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[UnscoredBatch]:
        """The batches of images, decoded ahead and passed through the network in order.

        Args:
            dataset: all images.
            batches: the positions of the images of each batch; their labels are outputs of the
                network.

        Raises:
            ModelError: the network fails.
            WorkerError: a process that decodes images died.
        """
        output_of = {wnid: index for index, wnid in enumerate(self.classifier.classes)}
        at_once, workers = self.settings.at_once, self.settings.workers
        for read in decoded(
            dataset, batches, self.protocol.input, workers=workers,
            n_channels=self.classifier.n_channels,
        ):  # fmt: skip
            unreadable = [
                ImageOutcome(index, dataset[index], ImageStatus.UNREADABLE, reason)
                for index, reason in read.unreadable
            ]
            passed: list[_NetworkGroup] = []
            for group in read.groups:
                pieces, at_once = within_memory(
                    lambda piece: self._pass(piece, dataset, output_of), group, at_once, self.halved
                )
                passed += pieces
            yield UnscoredBatch(unreadable, passed)

    def _pass(self, group: Group, dataset: Dataset, output_of: dict[str, int]) -> "_NetworkGroup":
        """Pass one group through the network and the methods, without waiting for the device."""
        # The size is the image file's: annotations may have been made for another size.
        samples = [
            dataset[index]._replace(height=placement.original[0], width=placement.original[1])
            for index, placement in zip(group.indices, group.placements, strict=True)
        ]
        labels = torch.tensor([output_of[sample.label] for sample in samples], device=self.device)
        windows = [self._normalized(pixels) for pixels in (group.pixels, *group.further)]
        views, ids = Views(self.protocol.input, windows), [sample.image_id for sample in samples]
        trained = [method for method in self.methods if not method.is_randomized]
        capture_trained = self._capturing(self.classifier.module, ids)
        predictions = views.predict(
            capture_trained, merged_plan(trained), BestClasses(TOP_K, labels)
        )
        maps = self._maps(trained, views, capture_trained, predictions)
        if self.randomized is not None:
            randomized = [method for method in self.methods if method.is_randomized]
            capture_randomized = self._capturing(self.randomized, ids)
            given = Predictions(predictions.logits, predictions.classes, Cost(), None)
            maps |= self._maps(randomized, views, capture_randomized, given)
        in_order = [
            maps[method.name, layer] for method in self.methods for layer in self._layers_of(method)
        ]
        faithful: list[Faithfulness | None] = [None] * len(in_order)
        if self.faithfulness_steps is not None:
            inputs, steps = views.inputs, self.faithfulness_steps
            with self._blaming(self.name, inputs):
                faithful = [
                    self._faithfulness(method_maps, predictions.classes, inputs, steps)
                    for method_maps in in_order
                ]
        return _NetworkGroup(
            self, group.indices, samples, group.placements, labels, predictions.logits,
            predictions.classes, in_order, faithful,
        )  # fmt: skip

    def _normalized(self, pixels: Tensor) -> Tensor:
        pinned = self.device.type == "cuda"
        pixels = pixels.pin_memory() if pinned else pixels
        pixels = pixels.to(self.device, non_blocking=pinned)
        if self.settings.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return normalize(pixels, self.classifier.mean, self.classifier.std)

    def _capturing(self, module: nn.Module, image_ids: Sequence[str]) -> Capture:
        """A function that runs a network once on images with these ids."""

        def run(inputs: Tensor, plan: Plan, classes: BestClasses | Tensor) -> Record:
            with self._blaming(self.name, inputs):
                return capture(
                    module, inputs, self.classifier.targets, plan, classes=classes,
                    precision=self.precision, image_ids=image_ids, black=self.classifier.black,
                )  # fmt: skip

        return run

    def _maps(
        self,
        methods: Sequence[MapMethod],
        views: Views,
        run: Capture,
        predictions: Predictions,
    ) -> dict[tuple[str, str], MethodMaps]:
        """The maps of methods, the means over all views, by method and layer."""
        pairs = [(method, layer) for method in methods for layer in self._layers_of(method)]
        if not pairs:
            return {}
        of_views: list[list[tuple[View, MethodMaps]]] = [[] for _ in pairs]
        for view, record in views.records(run, merged_plan(methods), predictions):
            for (method, layer), of_pair in zip(pairs, of_views, strict=True):
                culprit, inputs = f"{method.name} on {self.name}", record.probe.images
                with naming_scale(view), self._blaming(culprit, inputs):
                    of_pair.append((view, maps_of(method, layer, record)))
        size = (views.inputs.shape[2], views.inputs.shape[3])
        return {
            (method.name, layer): mean_over_views(of_pair, size, predictions.cost)
            for (method, layer), of_pair in zip(pairs, of_views, strict=True)
        }

    def _layers_of(self, method: MapMethod) -> list[str]:
        """The layers of a method's maps: each target layer, or "" for maps of the whole image."""
        if method.scope == "image":
            return [""]
        return [target.layer for target in self.classifier.targets]

    @contextmanager
    def _blaming(self, culprit: str, inputs: Tensor) -> Iterator[None]:
        """Turn a failure of the network into a ModelError with the culprit and advice."""
        failed = f"{culprit} fails on an input of shape {tuple(inputs.shape)}"
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{failed}: {error}; a batch_size below {len(inputs)} needs less memory, but "
                "belongs to the identity of the run, so choose another folder, too"
            ) from error
        except WsolBenchError:
            raise
        except Exception as error:  # a network of a user can raise any error
            raise ModelError(plugin_error(failed, error)) from error

    def _faithfulness(
        self,
        method_maps: MethodMaps,
        classes: Int64[Tensor, "batch k"],
        inputs: Tensor,
        steps: int,
    ) -> Faithfulness | None:
        """The faithfulness of the first predictions' maps, as they are stored and upsampled.

        None if the method made no maps of these classes.
        """
        maps = method_maps.maps
        if maps is None or maps.shape[1] != classes.shape[1]:
            return None
        stored, _ = storable(maps[:, 0])
        size = (inputs.shape[2], inputs.shape[3])
        large = upsample(stored.astype(np.float32), size, self.protocol.map)
        with autocast(inputs.device, self.precision):
            return faithfulness(
                self.classifier.module,
                inputs,
                torch.from_numpy(large).to(inputs.device),
                classes[:, 0],
                steps=steps,
                batch_size=self.settings.batch_size,
            )


@dataclass(frozen=True, eq=False)
class _NetworkGroup:
    """Images of one input size that passed the network; the tensors are on the device."""

    network: NetworkPass
    indices: list[int]
    samples: list[Sample]
    placements: list[Placement]
    labels: Int64[Tensor, " batch"]
    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    method_maps: list[MethodMaps]
    faithfulness: list[Faithfulness | None]

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """Score the methods' maps, and the network-free methods on the same rows.

        This waits for the device.
        """
        images = ImageBatch(
            tuple(sample.image_id for sample in self.samples),
            tuple(map(ImageTruth.of, self.samples)),
            tuple(self.placements),
        )
        classifier = self.network.classifier
        slots = ClassSlots.of(
            images, reading_of(classifier.module), self.logits, self.classes, self.labels,
            classifier.classes,
        )  # fmt: skip
        broken = scoring.broken(images)
        kept = np.flatnonzero(~np.isin(slots.rows.image, list(broken)))
        rows, slot = slots.rows.take(kept), slots.slot[kept]
        methods = [
            self._scored_method(method_maps, faithful, rows, slot, scoring)
            for method_maps, faithful in zip(self.method_maps, self.faithfulness, strict=True)
        ]
        methods += [
            ScoredMethod(
                method, "", rows, maps_or_boxes.score(rows, scoring), CostLine(len(images))
            )
            for method, maps_or_boxes in self.network.network_free.items()
        ]
        return ScoredGroup(self._outcomes(slots, broken), methods)

    def _outcomes(self, slots: "ClassSlots", broken: dict[int, str]) -> list[ImageOutcome]:
        outcomes = []
        for position, (index, sample) in enumerate(zip(self.indices, self.samples, strict=True)):
            if position in broken:
                outcome = ImageOutcome(index, sample, ImageStatus.UNREADABLE, broken[position])
            elif not slots.finite[position]:
                reason = "the logits are not finite"
                outcome = ImageOutcome(index, sample, ImageStatus.NOT_FINITE, reason)
            else:
                rank, score = slots.label_rank[position], slots.label_score[position]
                outcome = ImageOutcome(
                    index, sample, ImageStatus.EVALUATED, "", int(rank), float(score)
                )
            outcomes.append(outcome)
        return outcomes

    def _scored_method(
        self,
        method_maps: MethodMaps,
        faithful: Faithfulness | None,
        rows: RowBatch,
        slot: Int64[np.ndarray, " r"],
        scoring: Scoring,
    ) -> ScoredMethod:
        """Score the maps of one method.

        Args:
            method_maps: the maps.
            faithful: their faithfulness; None if it was not measured.
            rows: the rows of the group.
            slot: the class slot of each row.
            scoring: the scoring of the protocol.
        """
        method, layer, maps, values, cost, reason = method_maps
        only_label = self._makes_label_alone(method)
        if only_label:
            rows = rows.take(np.flatnonzero(rows.is_label))
            # These maps have one slot.
            slot = np.zeros(len(rows), np.int64)
        line = CostLine(
            len(self.samples), cost.forward, cost.backward, cost.head, cost.seconds(), reason
        )
        if maps is None:
            return ScoredMethod(method, layer, rows, scoring.not_applicable(len(rows)), line)
        stored, scale = storable(maps[rows.image, slot])
        scores = scoring.score_maps(stored.astype(np.float32), rows)
        measured = {} if faithful is None else _of_first_rows(faithful, rows)
        for name, of_slots in values.items():
            measured[name] = of_slots[rows.image, slot].double().cpu().numpy()
        kept = kept_rows(rows, self.network.kept_maps)
        maps_kept = StoredMaps(kept, stored[kept], scale[kept])
        return ScoredMethod(method, layer, rows, scores, line, maps_kept, measured)

    def _makes_label_alone(self, name: str) -> bool:
        """Return whether a method makes the map of the label alone."""
        [classes] = [method.classes for method in self.network.methods if method.name == name]
        return classes == "label"


def _of_first_rows(faithful: Faithfulness, rows: RowBatch) -> dict[str, Float64[np.ndarray, " r"]]:
    """The columns of faithfulness, in each image's row of rank 1; NaN in the other rows."""
    first = rows.rank == 1
    columns = {}
    for name in (column.name for column in FAITHFULNESS):
        columns[name] = np.full(len(rows), np.nan)
        columns[name][first] = getattr(faithful, name)[rows.image[first]]
    return columns
