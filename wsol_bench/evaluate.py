"""Shards: samples of a data set through one classifier to tables. No files are written here."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float16, Float64, Int64
from torch import Tensor

from wsol_bench.boxes.rule import score_maps
from wsol_bench.cams import MapMethod, is_applicable, merged_plan
from wsol_bench.capture import Precision, capture
from wsol_bench.datasets import Dataset, Sample, counts_for
from wsol_bench.errors import DatasetError, ModelError
from wsol_bench.geometry import Boxes, Placement
from wsol_bench.inputs import normalize
from wsol_bench.loading import Group, decoded
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classifiers import Classifier
from wsol_bench.protocols import Protocol

__all__ = ["FAILED", "Evaluator", "Tables", "boxes_of_label", "storable"]

# An image in one of these states would be evaluated, were the file or the network sound.
FAILED = ("unreadable", "not_finite")

# Threads that take boxes from maps while the network goes on, and batches that may wait for them.
_SCORERS = min(4, os.cpu_count() or 1)
_WAITING = 2 * _SCORERS

T = TypeVar("T")


class Tables(NamedTuple):
    """What a run is made of; docs/rows.md describes every column."""

    images: pd.DataFrame
    rows: pd.DataFrame
    maps: pd.DataFrame


class _Scored(NamedTuple):
    """What a batch adds to the tables of its shard: lines by index of their image, and columns."""

    images: dict[int, dict[str, Any]]
    rows: list[dict[str, Any]]
    maps: list[dict[str, Any]]


class _Maps(NamedTuple):
    """What the network and the methods make of a group of images; tensors on the device."""

    indices: list[int]
    placements: list[Placement]
    labels: Int64[Tensor, " batch"]
    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    maps: dict[str, Float[Tensor, "batch k h w"] | None]


@dataclass(frozen=True)
class Evaluator:
    """A classifier, methods and a protocol, ready for shards.

    Attributes:
        classifier: its module lies on ``device``.
        methods: all of them share one forward pass.
        protocol: every choice between map and number.
        batch_size: images in a forward pass.
        workers: processes that decode images; 0 decodes in this one.
        device, precision: of the pass.
        channels_last: whether the input lies in memory channels last, as the module then does.
        strict: whether an image that cannot be evaluated is an error.
    """

    classifier: Classifier
    methods: Sequence[MapMethod]
    protocol: Protocol
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
        whose class the classifier does not know, that cannot be decoded, or whose logits are not
        finite becomes a line of the images table with a status and a reason; the others have
        ``evaluated``.

        Args:
            dataset: all images.
            shards: positions in the data set.
            advance: called with the number of images done since the last call.

        Raises:
            DatasetError: an image that cannot be evaluated, where ``strict``.
            ModelError: the network fails.
            WorkerError: a process that decodes died.
        """
        output_of = {wnid: index for index, wnid in enumerate(self.classifier.classes)}
        outputs = np.array([output_of.get(label, -1) for label in dataset.images["label"]])
        batches = [self._batches(np.array(shard)[outputs[shard] >= 0]) for shard in shards]
        stream = decoded(
            dataset,
            [batch for of_shard in batches for batch in of_shard],
            self.protocol.input,
            workers=self.workers,
        )

        def steps(pool: ThreadPoolExecutor) -> Iterator[Future[_Scored] | range]:
            for shard, of_shard in zip(shards, batches, strict=True):
                for _ in of_shard:
                    batch = next(stream)
                    passed = [self._pass(group, outputs) for group in batch.groups]
                    yield pool.submit(self._score, dataset, batch.unreadable, passed)
                    del batch, passed  # their pixels and maps are not kept while others wait
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

    def _batches(self, indices: Int64[np.ndarray, " n"]) -> list[list[int]]:
        starts = range(0, len(indices), self.batch_size)
        return [indices[start : start + self.batch_size].tolist() for start in starts]

    def _pass(self, group: Group, outputs: Int64[np.ndarray, " n"]) -> _Maps:
        """The network and the methods on one group. A GPU may still be at it when this returns."""
        labels = torch.from_numpy(outputs[group.indices]).to(self.device)
        pinned = self.device.type == "cuda"
        pixels = group.pixels.pin_memory() if pinned else group.pixels
        pixels = pixels.to(self.device, non_blocking=pinned)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        inputs = normalize(pixels, self.classifier.mean, self.classifier.std)
        try:
            record = capture(
                self.classifier.module,
                inputs,
                self.classifier.target,
                merged_plan(self.methods),
                k=TOP_K,
                labels=labels,
                precision=self.precision,
            )
        except (RuntimeError, AssertionError) as error:
            hint = ""
            if isinstance(error, torch.OutOfMemoryError):
                hint = (
                    f"; a batch_size below {self.batch_size} needs less memory, and is another "
                    "run, in another folder"
                )
            raise ModelError(
                f"{self.classifier.name} fails on an input of shape {tuple(inputs.shape)}: "
                f"{error}{hint}"
            ) from error
        maps = {
            method.name: method(record) if is_applicable(method, record) else None
            for method in self.methods
        }
        return _Maps(group.indices, group.placements, labels, record.logits, record.classes, maps)

    def _score(
        self,
        dataset: Dataset,
        unreadable: Sequence[tuple[int, str]],
        passed: Sequence[_Maps],
    ) -> _Scored:
        """Maps to boxes, overlaps and columns; runs beside the next pass."""
        scored = _Scored({}, [], [])
        for index, reason in unreadable:
            scored.images[index] = self._image_line(dataset[index], "unreadable", reason)
        for maps in passed:
            self._score_group(maps, [dataset[index] for index in maps.indices], scored)
        return scored

    def _score_group(self, passed: _Maps, samples: Sequence[Sample], scored: _Scored) -> None:
        slots = _Slots.of(passed.logits, passed.classes, passed.labels, self.classifier.classes)
        for position, (index, sample) in enumerate(zip(passed.indices, samples, strict=True)):
            # The file's own size: annotations may have been made for another.
            height, width = passed.placements[position].original
            sample = sample._replace(height=height, width=width)
            scored.images[index] = (
                self._image_line(
                    sample,
                    "evaluated",
                    "",
                    int(slots.label_rank[position]),
                    float(slots.label_score[position]),
                )
                if slots.finite[position]
                else self._image_line(sample, "not_finite", "the logits are not finite")
            )
        truth = [boxes_of_label(sample) for sample in samples]
        image_ids = np.array([sample.image_id for sample in samples], dtype=object)[slots.image]
        for method, maps in passed.maps.items():
            n = len(image_ids)
            names = {
                "model": np.full(n, self.classifier.name, dtype=object),
                "method": np.full(n, method, dtype=object),
                "layer": np.full(n, self.classifier.target.layer, dtype=object),
            }
            boxes, iou = np.full((n, 4), np.nan), np.full(n, np.nan)
            status = np.full(n, "not_applicable", dtype=object)
            if maps is not None:
                stored, scales = storable(maps[slots.image, slots.slot])
                boxes, iou = score_maps(
                    stored, slots.image, passed.placements, truth, self.protocol
                )
                status = np.where(np.isnan(boxes[:, 0]), "no_box", "box").astype(object)
                scored.maps.append(
                    {
                        **names,
                        "image_id": image_ids,
                        "rank": slots.rank,
                        "scale": scales,
                        "height": np.full(n, stored.shape[1]),
                        "width": np.full(n, stored.shape[2]),
                        "map": np.array([values.tobytes() for values in stored], dtype=object),
                    }
                )
            scored.rows.append(
                {
                    **names,
                    "protocol": np.full(n, self.protocol.name, dtype=object),
                    "protocol_hash": np.full(n, self.protocol.hash, dtype=object),
                    "image_id": image_ids,
                    "rank": slots.rank,
                    "class": slots.wnid,
                    "score": slots.score,
                    **dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)),
                    "iou": iou,
                    "status": status,
                }
            )

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
                    f"{lines[index]['image_id']} cannot be evaluated by {self.classifier.name}: "
                    f"{lines[index]['reason']}; without 'strict' it would be counted and left out"
                )
        return Tables(
            pd.DataFrame([lines[index] for index in shard]),
            _table([columns for part in parts for columns in part.rows]),
            _table([columns for part in parts for columns in part.maps]),
        )

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
            "model": self.classifier.name,
            "image_id": sample.image_id,
            "path": str(sample.path or ""),
            "height": sample.height,
            "width": sample.width,
            "label": sample.label,
            "blacklisted": sample.blacklisted,
            "n_label_boxes": len(boxes),
            "boxes": boxes.ravel().tolist(),
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


def boxes_of_label(sample: Sample) -> Boxes:
    """The ground-truth boxes that can credit a guess of the image's class."""
    return sample.boxes[counts_for(sample.label, np.array(sample.box_labels, dtype=object))]


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
