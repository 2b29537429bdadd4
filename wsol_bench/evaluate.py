"""Shards: samples of a data set through one classifier to tables. No files are written here."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float16, Float64, Int64
from torch import Tensor, nn

from wsol_bench.boxes.rule import (
    Curve,
    Scores,
    Truth,
    mask_of,
    score_maps,
    status_of,
    upsample,
)
from wsol_bench.cams import MapMethod, merged_plan
from wsol_bench.capture import Cost, Mark, Precision, Record, autocast, capture
from wsol_bench.datasets import Dataset, Sample, counts_for
from wsol_bench.errors import DatasetError, ImageError, ModelError, NotApplicableError
from wsol_bench.faithfulness import Faithfulness, faithfulness
from wsol_bench.geometry import Boxes, Placement
from wsol_bench.inputs import normalize
from wsol_bench.loading import Group, decoded
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classifiers import Classifier
from wsol_bench.protocols import Protocol
from wsol_bench.sources import Asked, Given

__all__ = [
    "FAILED",
    "NO_MODEL",
    "Evaluator",
    "Tables",
    "boxes_of_label",
    "curve_columns",
    "score_columns",
    "storable",
]

# The name of the model where there is none: maps and boxes from elsewhere alone.
NO_MODEL = "-"

# An image in one of these states would be evaluated, were the file or the network sound.
FAILED = ("unreadable", "not_finite")

# Threads that take boxes from maps while the network goes on, and batches that may wait for them.
_SCORERS = min(4, os.cpu_count() or 1)
_WAITING = 2 * _SCORERS

# What the lines of a cost table add up.
_COSTS = ("n_images", "forward", "backward", "head", "seconds")

T = TypeVar("T")


class Tables(NamedTuple):
    """What a part of a run is made of; docs/rows.md describes every column."""

    images: pd.DataFrame
    rows: pd.DataFrame
    maps: pd.DataFrame
    curves: pd.DataFrame
    costs: pd.DataFrame


class _Scored(NamedTuple):
    """What a batch adds to the tables of its shard: lines by index of their image, and columns."""

    images: dict[int, dict[str, Any]]
    rows: list[dict[str, Any]]
    maps: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    costs: list[dict[str, Any]]


class _Made(NamedTuple):
    """What a method made of a group at a layer: maps of all class slots, or of the last alone.

    There are none where the network has not got what the method needs, for a reason.
    """

    maps: Float[Tensor, "batch k h w"] | None
    cost: Cost
    reason: str = ""


class _Maps(NamedTuple):
    """What the network and the methods make of a group of images; tensors on the device."""

    indices: list[int]
    placements: list[Placement]
    labels: Int64[Tensor, " batch"]
    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    made: dict[tuple[str, str], _Made]
    faithfulness: dict[tuple[str, str], Faithfulness]


@dataclass(frozen=True)
class Evaluator:
    """A classifier, methods and a protocol, ready for shards.

    Attributes:
        classifier: its module lies on ``device``; None where sources alone are scored, which takes
            no pixels.
        methods: all of them share one forward pass.
        randomized: the classifier's network with permuted weights, for methods that ask for it.
        sources: maps and boxes from elsewhere, by their names in the results.
        protocol: every choice between map and number.
        faithfulness_steps: of insertion and deletion, on the maps of the first predictions; None:
            faithfulness is not measured.
        batch_size: images in a forward pass.
        workers: processes that decode images; 0 decodes in this one.
        device, precision: of the pass.
        channels_last: whether the input lies in memory channels last, as the module then does.
        strict: whether an image that cannot be evaluated is an error.
    """

    classifier: Classifier | None
    methods: Sequence[MapMethod]
    randomized: nn.Module | None
    sources: Mapping[str, Given]
    protocol: Protocol
    faithfulness_steps: int | None
    batch_size: int
    workers: int
    device: torch.device
    precision: Precision
    channels_last: bool = False
    strict: bool = False

    def evaluate(
        self,
        dataset: Dataset,
        shards: Sequence[range],
        advance: Callable[[int], object] = lambda n: None,
    ) -> Iterator[Tables]:
        """Evaluate the images of some shards; the tables of one after the other.

        A batch never crosses shards, so what a shard gives does not depend on the others. An image
        whose class the classifier does not know, that cannot be decoded, whose logits are not
        finite, or that no source knows becomes a line of the images table with a status and a
        reason; the others have ``evaluated``.

        Args:
            dataset: all images.
            shards: positions in the data set.
            advance: called with the number of images done since the last call.

        Raises:
            DatasetError: an image that cannot be evaluated, where ``strict``.
            ModelError: the network fails.
            WorkerError: a process that decodes died.
        """
        outputs = self._outputs(dataset)
        batches = [self._batches(np.array(shard)[outputs[shard] >= 0]) for shard in shards]
        passed = self._passed(dataset, [one for of_shard in batches for one in of_shard], outputs)

        def steps(pool: ThreadPoolExecutor) -> Iterator[Future[_Scored] | range]:
            for shard, of_shard in zip(shards, batches, strict=True):
                for _ in of_shard:
                    # Handed over as it comes: pixels and maps are not kept while others wait.
                    yield pool.submit(self._score, dataset, *next(passed))
                yield shard  # ends here

        with ThreadPoolExecutor(_SCORERS) as pool:
            parts: list[_Scored] = []
            for step in _ahead(steps(pool), _WAITING):
                if isinstance(step, range):
                    yield self._tables(dataset, step, outputs, parts)
                    advance(len(step) - sum(len(part.images) for part in parts))
                    parts = []
                else:
                    parts.append(step.result())
                    advance(len(parts[-1].images))

    def _outputs(self, dataset: Dataset) -> Int64[np.ndarray, " n"]:
        """The output of each image's class; -1 where the classifier has none."""
        if self.classifier is None:
            return np.zeros(len(dataset), np.int64)
        output_of = {wnid: index for index, wnid in enumerate(self.classifier.classes)}
        return np.array([output_of.get(label, -1) for label in dataset.images["label"]], np.int64)

    def _batches(self, indices: Int64[np.ndarray, " n"]) -> list[list[int]]:
        starts = range(0, len(indices), self.batch_size)
        return [indices[start : start + self.batch_size].tolist() for start in starts]

    def _passed(
        self, dataset: Dataset, batches: Sequence[list[int]], outputs: Int64[np.ndarray, " n"]
    ) -> Iterator[tuple[Sequence[tuple[int, str]], Sequence[_Maps], list[int]]]:
        """Of each batch: what cannot be read, what passed the network, what needs none."""
        if self.classifier is None:
            for batch in batches:
                yield [], [], batch
            return
        for read in decoded(dataset, batches, self.protocol.input, workers=self.workers):
            passed = [self._pass(self.classifier, dataset, group, outputs) for group in read.groups]
            yield read.unreadable, passed, []

    def _pass(
        self,
        classifier: Classifier,
        dataset: Dataset,
        group: Group,
        outputs: Int64[np.ndarray, " n"],
    ) -> _Maps:
        """The network and the methods on one group. A GPU may still be at it when this returns."""
        labels = torch.from_numpy(outputs[group.indices]).to(self.device)
        pinned = self.device.type == "cuda"
        pixels = group.pixels.pin_memory() if pinned else group.pixels
        pixels = pixels.to(self.device, non_blocking=pinned)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        inputs = normalize(pixels, classifier.mean, classifier.std)
        ids = dataset.images["image_id"].iloc[group.indices].tolist()
        with self._blaming(classifier.name, inputs):
            begin = Mark(self.device)
            plan = merged_plan(method for method in self.methods if not method.is_of_randomized)
            record = capture(
                classifier.module,
                inputs,
                classifier.targets,
                plan,
                k=TOP_K,
                labels=labels,
                precision=self.precision,
                image_ids=ids,
            )
            shared = {False: (record, (begin, Mark(self.device)))}
            if self.randomized is not None:
                begin = Mark(self.device)
                plan = merged_plan(method for method in self.methods if method.is_of_randomized)
                of_randomized = capture(
                    self.randomized,
                    inputs,
                    classifier.targets,
                    plan,
                    classes=record.classes,
                    precision=self.precision,
                    image_ids=ids,
                )
                shared[True] = of_randomized, (begin, Mark(self.device))
        made = {}
        for method in self.methods:
            of, span = shared[method.is_of_randomized]
            for layer in self._layers_of(method):
                with self._blaming(f"{method.name} on {classifier.name}", inputs):
                    made[method.name, layer] = _make(method, layer, of, span)
        with self._blaming(classifier.name, inputs):
            faithfulness = {
                key: self._faithfulness(classifier, inputs, one.maps[:, 0], record.classes[:, 0])
                for key, one in made.items()
                if self.faithfulness_steps is not None
                and one.maps is not None
                and one.maps.shape[1] == record.classes.shape[1]
            }
        return _Maps(
            group.indices,
            group.placements,
            labels,
            record.logits,
            record.classes,
            made,
            faithfulness,
        )

    def _layers_of(self, method: MapMethod) -> list[str]:
        """Where a method's maps are taken: at each target layer, or "" of the whole image."""
        if self.classifier is None or method.scope == "image":
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
        self,
        classifier: Classifier,
        inputs: Float[Tensor, "batch 3 height width"],
        maps: Float[Tensor, "batch h w"],
        classes: Int64[Tensor, " batch"],
    ) -> Faithfulness:
        """Of the maps as they are stored, upsampled by the protocol's rule."""
        stored, _ = storable(maps)
        size = (inputs.shape[2], inputs.shape[3])
        large = upsample(stored.astype(np.float32), size, self.protocol.map)
        with autocast(inputs.device, self.precision):
            return faithfulness(
                classifier.module,
                inputs,
                torch.from_numpy(large).to(inputs.device),
                classes,
                steps=self.faithfulness_steps or 1,
                batch_size=self.batch_size,
            )

    def _score(
        self,
        dataset: Dataset,
        unreadable: Sequence[tuple[int, str]],
        passed: Sequence[_Maps],
        unseen: Sequence[int],
    ) -> _Scored:
        """Maps to boxes, overlaps and columns; runs beside the next pass."""
        scored = _Scored({}, [], [], [], [])
        for index, reason in unreadable:
            scored.images[index] = self._image_line(dataset[index], "unreadable", reason)
        for maps in passed:
            # The file's own size: annotations may have been made for another.
            sizes = [placement.original for placement in maps.placements]
            samples = [
                dataset[index]._replace(height=height, width=width)
                for index, (height, width) in zip(maps.indices, sizes, strict=True)
            ]
            self._score_maps(maps, samples, scored)
        if unseen:
            self._score_unseen(unseen, [dataset[index] for index in unseen], scored)
        return scored

    def _score_maps(self, passed: _Maps, samples: Sequence[Sample], scored: _Scored) -> None:
        """What passed the network: the methods' maps, and the sources' for the same classes."""
        assert self.classifier is not None
        name = self.classifier.name
        slots = _Slots.of(passed.logits, passed.classes, passed.labels, self.classifier.classes)
        broken = self._broken_masks(samples, passed.placements)
        slots = slots.without(broken)
        for position, (index, sample) in enumerate(zip(passed.indices, samples, strict=True)):
            if position in broken:
                line = self._image_line(sample, "unreadable", broken[position])
            elif not slots.finite[position]:
                line = self._image_line(sample, "not_finite", "the logits are not finite")
            else:
                rank, score = slots.label_rank[position], slots.label_score[position]
                line = self._image_line(sample, "evaluated", "", int(rank), float(score))
            scored.images[index] = line
        labels = np.array([sample.label for sample in samples], dtype=object)
        own = slots.wnid == labels[slots.image]
        asked = Asked(slots.image, slots.rank, slots.wnid, own)
        truth = _truth(samples)
        for (method, layer), (maps, cost, reason) in passed.made.items():
            # The own class alone is the last slot of each image.
            of_label = self._only_label[method]
            rows = np.flatnonzero(own) if of_label else np.arange(len(own))
            its, n = asked.take(rows), len(rows)
            scores, status = Scores.none(n), np.full(n, "not_applicable", dtype=object)
            columns = self._keys(name, method, layer, samples, its)
            if maps is not None:
                slot = np.zeros(n, np.int64) if of_label else slots.slot
                stored, scales = storable(maps[its.image, slot])
                scores = score_maps(
                    stored.astype(np.float32),
                    its.image,
                    its.own,
                    passed.placements,
                    truth,
                    self.protocol,
                )
                status = status_of(scores, self.protocol)
                scored.maps.append(
                    {
                        **columns,
                        "scale": scales,
                        "height": np.full(n, stored.shape[1]),
                        "width": np.full(n, stored.shape[2]),
                        "map": np.array([values.tobytes() for values in stored], dtype=object),
                    }
                )
            of_first = passed.faithfulness.get((method, layer))
            self._add(columns, its, slots.score[rows], scores, status, scored, of_first)
            line = _cost_line(name, method, layer, len(samples))
            line |= {"forward": cost.forward, "backward": cost.backward, "head": cost.head}
            scored.costs.append({**line, "seconds": cost.seconds(), "reason": reason})
        ids = [sample.image_id for sample in samples]
        for source, given in self.sources.items():
            scores, status = given.score(ids, asked, passed.placements, truth, self.protocol)
            columns = self._keys(name, source, "", samples, asked)
            self._add(columns, asked, slots.score, scores, status, scored)
            scored.costs.append(_cost_line(name, source, "", len(samples)))

    @property
    def _only_label(self) -> dict[str, bool]:
        """By name, whether a method makes maps of the own class alone."""
        return {method.name: method.classes == "label" for method in self.methods}

    def _score_unseen(
        self, indices: Sequence[int], samples: Sequence[Sample], scored: _Scored
    ) -> None:
        """Sources alone."""
        known: list[Sample] = []
        for index, sample in zip(indices, samples, strict=True):
            status, reason = "evaluated", ""
            if not any(given.has(sample.image_id) for given in self.sources.values()):
                status, reason = "not_predicted", "there is neither a map nor a box for it"
            elif not (sample.height and sample.width):
                status, reason = "unreadable", "neither an image file nor a table tells its size"
            else:
                placement = self.protocol.input.place(sample.height, sample.width)
                if broken := self._broken_masks([sample], [placement]):
                    status, reason = "unreadable", broken[0]
                else:
                    known.append(sample)
            scored.images[index] = self._image_line(sample, status, reason)
        if not known:
            return
        ids, labels = [one.image_id for one in known], [one.label for one in known]
        placements = [self.protocol.input.place(one.height, one.width) for one in known]
        truth = _truth(known)
        for source, given in self.sources.items():
            asked = given.asked(ids, labels)
            scores, states = given.score(ids, asked, placements, truth, self.protocol)
            columns = self._keys(NO_MODEL, source, "", known, asked)
            self._add(columns, asked, np.full(len(asked.image), np.nan), scores, states, scored)
            scored.costs.append(_cost_line(NO_MODEL, source, "", len(known)))

    def _broken_masks(
        self, samples: Sequence[Sample], placements: Sequence[Placement]
    ) -> dict[int, str]:
        """By position, why an image's mask cannot be read, where masks are needed."""
        reasons = {}
        if self.protocol.pixels:
            for position, (sample, placement) in enumerate(zip(samples, placements, strict=True)):
                try:
                    mask_of(sample.mask, placement)
                except ImageError as error:
                    reasons[position] = str(error)
        return reasons

    def _keys(
        self, model: str, method: str, layer: str, samples: Sequence[Sample], asked: Asked
    ) -> dict[str, Any]:
        """The columns that name a row."""
        n = len(asked.image)
        ids = np.array([sample.image_id for sample in samples], dtype=object)
        names = {"model": model, "method": method, "layer": layer}
        return {
            **{key: np.full(n, value, dtype=object) for key, value in names.items()},
            "image_id": ids[asked.image],
            "rank": asked.rank,
        }

    def _add(
        self,
        keys: Mapping[str, Any],
        asked: Asked,
        score: Float64[np.ndarray, " r"],
        scores: Scores,
        status: np.ndarray,
        scored: _Scored,
        of_first: Faithfulness | None = None,
    ) -> None:
        """Rows of one method, and their curves; ``of_first`` is of each image's row of rank 1."""
        n = len(asked.image)
        faithful = {name: np.full(n, np.nan) for name in ("insertion", "deletion", "masked_score")}
        if of_first is not None:
            first = asked.rank == 1
            for name, values in faithful.items():
                values[first] = getattr(of_first, name)[asked.image[first]]
        scored.rows.append(
            {
                **keys,
                "protocol": np.full(n, self.protocol.name, dtype=object),
                "protocol_hash": np.full(n, self.protocol.hash, dtype=object),
                "class": asked.label,
                "score": score,
                **score_columns(scores),
                **faithful,
                "status": status,
            }
        )
        scored.curves.append(curve_columns(keys, scores))

    def _tables(
        self,
        dataset: Dataset,
        shard: range,
        outputs: Int64[np.ndarray, " n"],
        parts: Sequence[_Scored],
    ) -> Tables:
        lines = {index: line for part in parts for index, line in part.images.items()}
        for index in shard:
            if outputs[index] < 0:
                sample = dataset[index]
                reason = f"the classifier has no class {sample.label}"
                lines[index] = self._image_line(sample, "unknown_class", reason)
        for index in shard:
            if self.strict and lines[index]["status"] in FAILED:
                raise DatasetError(
                    f"{lines[index]['image_id']} cannot be evaluated by {self._name}: "
                    f"{lines[index]['reason']}; without 'strict' it would be counted and left out"
                )
        return Tables(
            pd.DataFrame([lines[index] for index in shard]),
            _table([columns for part in parts for columns in part.rows]),
            _table([columns for part in parts for columns in part.maps]),
            _table([columns for part in parts for columns in part.curves]),
            _summed([line for part in parts for line in part.costs]),
        )

    @property
    def _name(self) -> str:
        return self.classifier.name if self.classifier else NO_MODEL

    def _image_line(
        self,
        sample: Sample,
        status: str,
        reason: str,
        label_rank: int = 0,
        label_score: float = float("nan"),
    ) -> dict[str, Any]:
        boxes = boxes_of_label(sample)
        return {
            "model": self._name,
            "image_id": sample.image_id,
            "path": str(sample.path or ""),
            "height": sample.height,
            "width": sample.width,
            "label": sample.label,
            "blacklisted": sample.blacklisted,
            "n_label_boxes": len(boxes),
            "boxes": boxes.ravel().tolist(),
            "masks": [str(path) for path in sample.mask.foreground] if sample.mask else [],
            "ignore": str(sample.mask.ignore or "") if sample.mask else "",
            "held_out": sample.held_out,
            "status": status,
            "reason": reason,
            "label_rank": label_rank,
            "label_score": label_score,
        }


@dataclass(frozen=True)
class _Slots:
    """The (image, class) pairs of a batch that become rows: the k best, and the image's own class.

    Where the own class is among the k best of one image but not of another, the record's last slot
    repeats it for the first; a pair is a row once. Logits that are not finite have no order: such
    an image has no rows.
    """

    image: Int64[np.ndarray, " r"]
    slot: Int64[np.ndarray, " r"]
    rank: Int64[np.ndarray, " r"]
    score: Float64[np.ndarray, " r"]
    wnid: np.ndarray
    finite: Bool[np.ndarray, " batch"]
    label_rank: Int64[np.ndarray, " batch"]
    label_score: Float64[np.ndarray, " batch"]

    def without(self, images: Collection[int]) -> "_Slots":
        """Those of the other images."""
        kept = ~np.isin(self.image, list(images))
        names = ("image", "slot", "rank", "score", "wnid")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, "batch n"],
        slots: Int64[Tensor, "batch k"],
        labels: Int64[Tensor, " batch"],
        names: Sequence[str],
    ) -> "_Slots":
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
        return cls(
            image=image.cpu().numpy(),
            slot=slot.cpu().numpy(),
            rank=rank[image, slot].cpu().numpy(),
            score=probability[image, classes].cpu().numpy(),
            wnid=np.array([names[index] for index in classes.tolist()], dtype=object),
            finite=finite.cpu().numpy(),
            label_rank=label_rank.cpu().numpy(),
            label_score=probability.gather(1, labels[:, None])[:, 0].cpu().numpy(),
        )


def _make(method: MapMethod, layer: str, record: Record, shared: tuple[Mark, Mark]) -> _Made:
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
    cost.forward += len(record.classes)
    cost.backward += record.classes.numel() if method.plan.gradients else 0
    cost.spans.append(shared)
    return _Made(maps, cost, reason)


def _summed(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Costs of batches as those of their shard, one line a method and layer."""
    sums = dict[tuple[str, str], dict[str, Any]]()
    for line in lines:
        its = sums.setdefault((line["method"], line["layer"]), {**line, **dict.fromkeys(_COSTS, 0)})
        for name in _COSTS:
            its[name] += line[name]
        its["reason"] = its["reason"] or line["reason"]
    return pd.DataFrame(list(sums.values()))


def _cost_line(model: str, method: str, layer: str, n_images: int) -> dict[str, Any]:
    """A line of costs: nothing so far."""
    names = {"model": model, "method": method, "layer": layer}
    return {**names, **dict.fromkeys(_COSTS, 0), "n_images": n_images, "reason": ""}


def _truth(samples: Sequence[Sample]) -> list[Truth]:
    return [Truth(boxes_of_label(sample), sample.mask) for sample in samples]


def boxes_of_label(sample: Sample) -> Boxes:
    """The ground-truth boxes that can credit a guess of the image's class."""
    return sample.boxes[counts_for(sample.label, np.array(sample.box_labels, dtype=object))]


def score_columns(scores: Scores) -> dict[str, Float64[np.ndarray, " r"]]:
    """The columns of rows that scores fill."""
    return {
        **dict(zip(("x0", "y0", "x1", "y1"), scores.boxes.T, strict=True)),
        "iou": scores.iou,
        "peak_x": scores.peak[:, 0],
        "peak_y": scores.peak[:, 1],
        "energy": scores.energy,
    }


def curve_columns(keys: Mapping[str, Any], scores: Scores) -> dict[str, Any]:
    """The columns of curves: those that name a row, and what its map is worth."""
    rows = np.array(sorted(scores.curves), np.int64)
    curves = [scores.curves[row] for row in rows.tolist()]
    names = ("model", "method", "layer", "image_id")
    columns = {key: keys[key][rows] for key in names}
    for position, field in enumerate(Curve._fields):
        columns[field] = np.array([curve[position] for curve in curves], dtype=object)
    return columns


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


def _table(parts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A table of what the parts hold in each column, one after the other."""
    names = parts[0] if parts else ()
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in names})


def _ahead(steps: Iterable[T], n: int) -> Iterator[T]:
    """The steps in order, each handed on when ``n`` more have been taken."""
    taken: deque[T] = deque()
    for step in steps:
        taken.append(step)
        if len(taken) > n:
            yield taken.popleft()
    yield from taken
