"""The network's part of an evaluation: decoded images in, batches of maps out.

Nothing is scored here, and nothing is waited for: a GPU may still be at a batch when it is handed
on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float64, Int64
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Cost, Precision, Record, autocast, capture
from wsol_bench.capture.faithfulness import Faithfulness, faithfulness
from wsol_bench.datasets import Dataset, Sample
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ModelError, NotApplicableError
from wsol_bench.geometry import Placement
from wsol_bench.images.loading import Group, decoded
from wsol_bench.images.preprocess import normalize
from wsol_bench.methods.base import MapMethod, merged_plan
from wsol_bench.methods.network_free import MapsOrBoxes
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classifiers import Classifier
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.runs.scorer import (
    CostLine,
    Outcome,
    Passed,
    ScoredGroup,
    ScoredMethod,
    StoredMaps,
)
from wsol_bench.scoring import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.upsampling import upsample

__all__ = ["ClassSlots", "NetworkPass", "storable"]


@dataclass(frozen=True)
class NetworkPass:
    """A classifier and the methods that share its forward pass.

    Attributes:
        classifier: its module lies on ``device``.
        methods: all of them share one forward pass.
        randomized: the classifier's network with permuted weights, for methods that ask for it.
        sources: maps and boxes from elsewhere, beside the methods.
        protocol: from image to map.
        faithfulness_steps: of insertion and deletion, on the maps of the first predictions; None
            where faithfulness is not measured.
        batch_size: images in a forward pass.
        workers: processes that decode images; 0 decodes in this one.
        device, precision: of the pass.
        channels_last: whether the input lies in memory channels last, as the module then does.
    """

    classifier: Classifier
    methods: Sequence[MapMethod]
    randomized: nn.Module | None
    sources: dict[str, MapsOrBoxes]
    protocol: Protocol
    faithfulness_steps: int | None
    batch_size: int
    workers: int
    device: torch.device
    precision: Precision
    channels_last: bool = False

    @property
    def name(self) -> str:
        """The model's, in the results."""
        return self.classifier.name

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """By position, why an image cannot be evaluated: the network has no output of its class."""
        known = set(self.classifier.classes)
        return {
            index: f"the classifier has no class {label}"
            for index, label in enumerate(dataset.images["label"].tolist())
            if label not in known
        }

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[Passed]:
        """The batches of images, decoded ahead and passed through the network in order.

        Args:
            dataset: all images.
            batches: positions of images of known classes.

        Raises:
            ModelError: the network fails.
            WorkerError: a process that decodes died.
        """
        output_of = {wnid: index for index, wnid in enumerate(self.classifier.classes)}
        for read in decoded(dataset, batches, self.protocol.input, workers=self.workers):
            unreadable = [
                Outcome(index, dataset[index], ImageStatus.UNREADABLE, reason)
                for index, reason in read.unreadable
            ]
            yield Passed(
                unreadable, [self._pass(group, dataset, output_of) for group in read.groups]
            )

    def _pass(self, group: Group, dataset: Dataset, output_of: dict[str, int]) -> "_NetworkGroup":
        """The network and the methods on one group. A GPU may still be at it when this returns."""
        # The file's own size: annotations may have been made for another.
        samples = [
            dataset[index]._replace(height=placement.original[0], width=placement.original[1])
            for index, placement in zip(group.indices, group.placements, strict=True)
        ]
        labels = torch.tensor([output_of[sample.label] for sample in samples], device=self.device)
        inputs = self._inputs(group)
        ids = [sample.image_id for sample in samples]
        targets, own = self.classifier.targets, [m for m in self.methods if not m.is_of_randomized]
        with self._blaming(self.name, inputs):
            record = capture(
                self.classifier.module, inputs, targets, merged_plan(own),
                classes=BestClasses(TOP_K, labels), precision=self.precision, image_ids=ids,
            )  # fmt: skip
        made = self._maps(own, record, inputs)
        if self.randomized is not None:
            others = [method for method in self.methods if method.is_of_randomized]
            with self._blaming(self.name, inputs):
                of_randomized = capture(
                    self.randomized, inputs, targets, merged_plan(others),
                    classes=record.classes, precision=self.precision, image_ids=ids,
                )  # fmt: skip
            made |= self._maps(others, of_randomized, inputs)
        in_order = [
            made[method.name, layer] for method in self.methods for layer in self._layers_of(method)
        ]
        faithful: list[Faithfulness | None] = [None] * len(in_order)
        if self.faithfulness_steps is not None:
            with self._blaming(self.name, inputs):
                faithful = [
                    self._faithfulness(one, record, inputs, self.faithfulness_steps)
                    for one in in_order
                ]
        return _NetworkGroup(
            self, group.indices, samples, group.placements, labels, record.logits, record.classes,
            in_order, faithful,
        )  # fmt: skip

    def _inputs(self, group: Group) -> Tensor:
        pinned = self.device.type == "cuda"
        pixels = group.pixels.pin_memory() if pinned else group.pixels
        pixels = pixels.to(self.device, non_blocking=pinned)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return normalize(pixels, self.classifier.mean, self.classifier.std)

    def _maps(
        self, methods: Sequence[MapMethod], record: Record, inputs: Tensor
    ) -> dict[tuple[str, str], "_MethodMaps"]:
        """By method and layer, the maps of methods of one network's record."""
        made = {}
        for method in methods:
            for layer in self._layers_of(method):
                with self._blaming(f"{method.name} on {self.name}", inputs):
                    made[method.name, layer] = _make(method, layer, record)
        return made

    def _layers_of(self, method: MapMethod) -> list[str]:
        """Where a method's maps are taken: at each target layer, or "" of the whole image."""
        if method.scope == "image":
            return [""]
        return [target.layer for target in self.classifier.targets]

    @contextmanager
    def _blaming(self, who: str, inputs: Tensor) -> Iterator[None]:
        """What goes wrong in the network is an error that names it and how to mend it."""
        try:
            yield
        except (RuntimeError, AssertionError) as error:
            hint = ""
            if isinstance(error, torch.OutOfMemoryError):
                hint = (
                    f"; a batch_size below {self.batch_size} needs less memory, and is another "
                    "run, in another folder"
                )
            raise ModelError(
                f"{who} fails on an input of shape {tuple(inputs.shape)}: {error}{hint}"
            ) from error
        except Exception as error:
            error.add_note(f"in {who}")
            raise

    def _faithfulness(
        self, made: "_MethodMaps", record: Record, inputs: Tensor, steps: int
    ) -> Faithfulness | None:
        """Of the first predictions' maps as they are stored, upsampled by the protocol's rule.

        None where the method made none of these.
        """
        if made.maps is None or made.maps.shape[1] != record.classes.shape[1]:
            return None
        stored, _ = storable(made.maps[:, 0])
        size = (inputs.shape[2], inputs.shape[3])
        large = upsample(stored.astype(np.float32), size, self.protocol.map)
        with autocast(inputs.device, self.precision):
            return faithfulness(
                self.classifier.module,
                inputs,
                torch.from_numpy(large).to(inputs.device),
                record.classes[:, 0],
                steps=steps,
                batch_size=self.batch_size,
            )


class _MethodMaps(NamedTuple):
    """What a method made of a group at a layer.

    Attributes:
        method, layer: names in the results.
        maps: of all class slots, or of the last alone; None where the method is not applicable.
        cost: of the shared pass and of the method's own work.
        reason: why the method is not applicable.
    """

    method: str
    layer: str
    maps: Float[Tensor, "batch k h w"] | None
    cost: Cost
    reason: str


@dataclass(frozen=True, eq=False)
class _NetworkGroup:
    """Images of one input size that passed the network; tensors on the device."""

    network: NetworkPass
    indices: list[int]
    samples: list[Sample]
    placements: list[Placement]
    labels: Int64[Tensor, " batch"]
    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    made: list[_MethodMaps]
    faithfulness: list[Faithfulness | None]

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """The methods' maps, and the sources' for the same classes; waits for the device."""
        images = ImageBatch(
            tuple(sample.image_id for sample in self.samples),
            tuple(map(ImageTruth.of, self.samples)),
            tuple(self.placements),
        )
        slots = ClassSlots.of(
            images, self.logits, self.classes, self.labels, self.network.classifier.classes
        )
        broken = scoring.broken(images)
        kept = np.flatnonzero(~np.isin(slots.rows.image, list(broken)))
        rows, slot = slots.rows.take(kept), slots.slot[kept]
        methods = [
            self._scored_method(made, faithful, rows, slot, scoring)
            for made, faithful in zip(self.made, self.faithfulness, strict=True)
        ]
        methods += [
            ScoredMethod(source, "", rows, given.score(rows, scoring), CostLine(len(images)))
            for source, given in self.network.sources.items()
        ]
        return ScoredGroup(self._outcomes(slots, broken), methods)

    def _outcomes(self, slots: "ClassSlots", broken: dict[int, str]) -> list[Outcome]:
        outcomes = []
        for position, (index, sample) in enumerate(zip(self.indices, self.samples, strict=True)):
            if position in broken:
                outcome = Outcome(index, sample, ImageStatus.UNREADABLE, broken[position])
            elif not slots.finite[position]:
                reason = "the logits are not finite"
                outcome = Outcome(index, sample, ImageStatus.NOT_FINITE, reason)
            else:
                rank, score = slots.label_rank[position], slots.label_score[position]
                outcome = Outcome(index, sample, ImageStatus.EVALUATED, "", int(rank), float(score))
            outcomes.append(outcome)
        return outcomes

    def _scored_method(
        self,
        made: _MethodMaps,
        faithful: Faithfulness | None,
        rows: RowBatch,
        slot: Int64[np.ndarray, " r"],
        scoring: Scoring,
    ) -> ScoredMethod:
        only_label = self._makes_label_alone(made.method)
        mine = np.flatnonzero(rows.own) if only_label else np.arange(len(rows))
        its = rows.take(mine)
        cost = CostLine(
            len(self.samples),
            made.cost.forward,
            made.cost.backward,
            made.cost.head,
            made.cost.seconds(),
            made.reason,
        )
        if made.maps is None:
            scores = scoring.not_applicable(len(its))
            return ScoredMethod(made.method, made.layer, its, scores, cost)
        # The own class alone is the last slot of each image, and the one slot of these maps.
        chosen = np.zeros(len(its), np.int64) if only_label else slot
        stored, scale = storable(made.maps[its.image, chosen])
        scores = scoring.score_maps(stored.astype(np.float32), its)
        return ScoredMethod(
            made.method, made.layer, its, scores, cost, StoredMaps(stored, scale),
            {} if faithful is None else _of_first_rows(faithful, its),
        )  # fmt: skip

    def _makes_label_alone(self, method: str) -> bool:
        return next(one for one in self.network.methods if one.name == method).classes == "label"


def _of_first_rows(faithful: Faithfulness, rows: RowBatch) -> dict[str, Float64[np.ndarray, " r"]]:
    """The columns that faithfulness measures, in each image's row of rank 1; NaN elsewhere."""
    first = rows.rank == 1
    columns = {}
    for name in (column.name for column in FAITHFULNESS):
        columns[name] = np.full(len(rows), np.nan)
        columns[name][first] = getattr(faithful, name)[rows.image[first]]
    return columns


def _make(method: MapMethod, layer: str, record: Record) -> _MethodMaps:
    """A method's maps, and their cost: that of the pass that all share, and its own."""
    names = [one.name for one in record.layers]
    slots = None
    if method.classes == "label":
        slots = torch.full_like(record.classes[:, :1], record.classes.shape[1] - 1)
    reason = ""
    with record.probe.metered() as cost:
        maps: Tensor | None = None
        try:
            maps = method(record.at_layer(names.index(layer)) if layer else record, slots).detach()
        except NotApplicableError as error:
            reason = str(error)
    cost += record.cost_for(method.plan)
    return _MethodMaps(method.name, layer, maps, cost, reason)


@dataclass(frozen=True, eq=False)
class ClassSlots:
    """The (image, class) pairs of a batch that become rows: the k best, and the image's own class.

    Where the own class is among the k best of one image but not of another, the record's last slot
    repeats it for the first; a pair is a row once. Logits that are not finite have no order: such
    an image has no rows.

    Attributes:
        rows: the pairs.
        slot: of the record, in which each pair's map is.
        finite: whether an image's logits are.
        label_rank, label_score: of each image's own class, among all outputs.
    """

    rows: RowBatch
    slot: Int64[np.ndarray, " r"]
    finite: Bool[np.ndarray, " batch"]
    label_rank: Int64[np.ndarray, " batch"]
    label_score: Float64[np.ndarray, " batch"]

    @classmethod
    def of(
        cls,
        images: ImageBatch,
        logits: Float[Tensor, "batch n"],
        slots: Int64[Tensor, "batch k"],
        labels: Int64[Tensor, " batch"],
        names: Sequence[str],
    ) -> "ClassSlots":
        """The pairs of a record.

        Args:
            images: of the batch.
            logits: of all outputs.
            slots: output of each class slot: the k best, best first, and the image's own class.
            labels: output of each image's own class.
            names: wnid of each output.
        """
        own = logits.gather(1, labels[:, None])
        # The rank in the stable descending order that the slots were cut from.
        ahead = (logits > own) | (
            (logits == own) & (torch.arange(logits.shape[1], device=own.device) < labels[:, None])
        )
        label_rank = 1 + ahead.sum(dim=1)
        k = min(TOP_K, logits.shape[1])
        ranks = torch.arange(1, slots.shape[1] + 1, device=own.device)
        rank = ranks.expand_as(slots).clone()
        rank[:, k:] = label_rank[:, None]
        is_row = torch.ones_like(rank, dtype=torch.bool)
        is_row[:, k:] = (label_rank > k)[:, None]
        finite = logits.isfinite().all(dim=1)
        is_row &= finite[:, None]
        image, slot = is_row.nonzero(as_tuple=True)
        probability = logits.double().softmax(dim=1)
        classes = slots[image, slot]
        rows = RowBatch(
            images,
            image.cpu().numpy(),
            rank[image, slot].cpu().numpy(),
            np.array([names[index] for index in classes.tolist()], dtype=object),
            probability[image, classes].cpu().numpy(),
        )
        return cls(
            rows=rows,
            slot=slot.cpu().numpy(),
            finite=finite.cpu().numpy(),
            label_rank=label_rank.cpu().numpy(),
            label_score=probability.gather(1, labels[:, None])[:, 0].cpu().numpy(),
        )


def storable(
    maps: Float[Tensor, "n h w"],
) -> tuple[Float16[np.ndarray, "n h w"], Float64[np.ndarray, " n"]]:
    """Maps as they are stored: scaled by their maximum and rounded to float16, and the scales.

    Boxes are taken from these, so that scoring stored maps again gives the same boxes. The scale is
    the maximum where it is positive (so a map and its ReLU round alike), else the largest
    magnitude. A value that is not finite stays so.
    """
    flat = maps.detach().float().flatten(1)
    highest = flat.amax(dim=1)
    scale = torch.where(highest > 0, highest, flat.abs().amax(dim=1))
    scale = torch.where((scale > 0) & scale.isfinite(), scale, 1.0)
    # Far below the maximum a value no longer decides anything: it is cut at float16's range.
    limit = torch.finfo(torch.float16).max
    scaled = maps / scale[:, None, None]
    half = torch.where(scaled.isfinite(), scaled.clamp(-limit, limit), scaled).half()
    return half.cpu().numpy(), scale.double().cpu().numpy()
