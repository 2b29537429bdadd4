"""One shard: samples of a data set through one classifier to tables. No files are written here."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float16, Float64, Int64
from torch import Tensor

from wsol_bench.boxes.rule import boxes_of_maps
from wsol_bench.cams import MapMethod, is_applicable, merged_plan
from wsol_bench.capture import Precision, Record, capture
from wsol_bench.datasets import Dataset, Sample, counts_for
from wsol_bench.errors import ImageError, ModelError
from wsol_bench.geometry import Boxes, Placement, pairwise_iou
from wsol_bench.inputs import load_image, prepare
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.classifiers import Classifier
from wsol_bench.protocols import Protocol

__all__ = ["Evaluator", "Tables", "boxes_of_label", "storable"]


# Sides of an input, longer to shorter: a thin file would fill the memory where its shape is kept.
_LONGEST = 16


class Tables(NamedTuple):
    """What a run is made of; docs/rows.md describes every column."""

    images: pd.DataFrame
    rows: pd.DataFrame
    maps: pd.DataFrame


@dataclass(frozen=True)
class _Loaded:
    """An image that is ready for the network."""

    sample: Sample
    placement: Placement
    pixels: Float[Tensor, "3 height width"]


@dataclass(frozen=True)
class Evaluator:
    """A classifier, methods and a protocol, ready for shards.

    Attributes:
        classifier: its module lies on ``device``.
        methods: all of them share one forward pass.
        protocol: every choice between map and number.
        batch_size: images in a forward pass.
        workers: threads that decode images.
        device, precision: of the pass.
    """

    classifier: Classifier
    methods: Sequence[MapMethod]
    protocol: Protocol
    batch_size: int
    workers: int
    device: torch.device
    precision: Precision

    def evaluate(
        self, dataset: Dataset, advance: Callable[[int], object] = lambda n: None
    ) -> Tables:
        """Evaluate all images of a shard.

        An image whose class the classifier does not know, that cannot be decoded, or whose logits
        are not finite becomes a line of the images table with a status and a reason; the others
        have ``evaluated``.

        Args:
            dataset: the shard.
            advance: called with the number of images done since the last call.
        """
        output_of = {wnid: index for index, wnid in enumerate(self.classifier.classes)}
        images: list[dict[str, Any]] = []
        rows: list[pd.DataFrame] = []
        maps: list[pd.DataFrame] = []
        known: list[Sample] = []
        for sample in dataset:
            if sample.label in output_of:
                known.append(sample)
            else:
                reason = f"the classifier has no class {sample.label}"
                images.append(self._image_line(sample, "unknown_class", reason))
        advance(len(images))
        for batch in self._batches(known):
            images += [
                self._image_line(sample, "unreadable", reason)
                for sample, reason in batch.unreadable
            ]
            for group in _by_input_size(batch.loaded):
                lines, its_rows, its_maps = self._evaluate_batch(group, output_of)
                images += lines
                rows += its_rows
                maps += its_maps
            advance(len(batch.loaded) + len(batch.unreadable))
        order = {name: index for index, name in enumerate(dataset.images["image_id"])}
        images.sort(key=lambda line: order[line["image_id"]])
        return Tables(pd.DataFrame(images), _concat(rows), _concat(maps))

    def _batches(self, samples: Sequence[Sample]) -> Iterator["_Batch"]:
        """Batches in order, decoded by threads that stay a few batches ahead."""
        waiting = iter(samples)
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: deque[tuple[Sample, Future[_Loaded]]] = deque()
            while True:
                for sample in islice(waiting, 3 * self.batch_size - len(ahead)):
                    ahead.append((sample, pool.submit(self._load, sample)))
                if not ahead:
                    return
                batch = _Batch([], [])
                for _ in range(min(self.batch_size, len(ahead))):
                    sample, future = ahead.popleft()
                    try:
                        batch.loaded.append(future.result())
                    except ImageError as error:
                        batch.unreadable.append((sample, str(error)))
                yield batch

    def _load(self, sample: Sample) -> _Loaded:
        if sample.path is None:
            raise ImageError(f"{sample.image_id}: the data set holds no pixels")
        image = load_image(sample.path)
        rule = self.protocol.input
        placement = rule.place(image.height, image.width)
        if max(placement.input) > _LONGEST * rule.size:
            raise ImageError(
                f"{sample.path}: {image.width} x {image.height} pixels would become an input of "
                f"{placement.input[1]} x {placement.input[0]}"
            )
        pixels = prepare(image, placement, rule, mean=self.classifier.mean, std=self.classifier.std)
        return _Loaded(sample, placement, pixels)

    def _evaluate_batch(
        self, batch: Sequence[_Loaded], output_of: dict[str, int]
    ) -> tuple[list[dict[str, Any]], list[pd.DataFrame], list[pd.DataFrame]]:
        labels = torch.tensor([output_of[item.sample.label] for item in batch], device=self.device)
        inputs = torch.stack([item.pixels for item in batch]).to(self.device)
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
            raise ModelError(
                f"{self.classifier.name} fails on an input of shape {tuple(inputs.shape)}: {error}"
            ) from error
        slots = _Slots.of(record, labels, self.classifier.classes)
        lines = [
            self._image_line(item.sample, "evaluated", "", int(rank), float(score))
            if finite
            else self._image_line(item.sample, "not_finite", "the logits are not finite")
            for item, finite, rank, score in zip(
                batch, slots.finite, slots.label_rank, slots.label_score, strict=True
            )
        ]
        rows, maps = [], []
        for method in self.methods:
            its_rows = slots.table([item.sample.image_id for item in batch])
            its_rows.insert(0, "model", self.classifier.name)
            its_rows.insert(1, "method", method.name)
            its_rows.insert(2, "layer", self.classifier.target.layer)
            its_rows.insert(3, "protocol", self.protocol.name)
            its_rows.insert(4, "protocol_hash", self.protocol.hash)
            if is_applicable(method, record):
                stored, scales = storable(method(record)[slots.image, slots.slot])
                boxes, iou = self._score(stored, slots, batch)
                status = np.where(np.isnan(boxes[:, 0]), "no_box", "box")
                maps.append(_map_table(its_rows, stored, scales))
            else:
                boxes, iou = np.full((len(its_rows), 4), np.nan), np.full(len(its_rows), np.nan)
                status = np.full(len(its_rows), "not_applicable")
            its_rows[["x0", "y0", "x1", "y1"]] = boxes
            its_rows["iou"] = iou
            its_rows["status"] = status
            rows.append(its_rows)
        return lines, rows, maps

    def _score(
        self, stored: Float16[np.ndarray, "r h w"], slots: "_Slots", batch: Sequence[_Loaded]
    ) -> tuple[Float64[np.ndarray, "r 4"], Float64[np.ndarray, " r"]]:
        """Boxes in original pixels, and their best IoU with the boxes of the image's class."""
        size = batch[0].placement.input
        maps = torch.from_numpy(stored).to(self.device).float()
        boxes = boxes_of_maps(maps, size, self.protocol.map, self.protocol.box)
        iou = np.zeros(len(boxes))
        for index, item in enumerate(batch):
            mine = slots.image == index
            boxes[mine] = item.placement.to_original(boxes[mine])
            overlaps = pairwise_iou(boxes[mine], boxes_of_label(item.sample))
            iou[mine] = overlaps.max(axis=1, initial=0.0)
        return boxes, iou

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


class _Batch(NamedTuple):
    loaded: list[_Loaded]
    unreadable: list[tuple[Sample, str]]


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
    wnid: list[str]
    finite: Bool[np.ndarray, " batch"]
    label_rank: Int64[np.ndarray, " batch"]
    label_score: Float64[np.ndarray, " batch"]

    @classmethod
    def of(cls, record: Record, labels: Int64[Tensor, " batch"], names: Sequence[str]) -> "_Slots":
        logits = record.logits
        own = logits.gather(1, labels[:, None])
        # The rank in the stable descending order that the slots were cut from.
        ahead = (logits > own) | (
            (logits == own) & (torch.arange(logits.shape[1], device=own.device) < labels[:, None])
        )
        label_rank = 1 + ahead.sum(dim=1)
        k = min(TOP_K, logits.shape[1])
        ranks = torch.arange(1, record.classes.shape[1] + 1, device=own.device)
        rank = ranks.expand_as(record.classes).clone()
        rank[:, k:] = label_rank[:, None]
        is_row = torch.ones_like(rank, dtype=torch.bool)
        is_row[:, k:] = (label_rank > k)[:, None]
        finite = logits.isfinite().all(dim=1)
        is_row &= finite[:, None]
        image, slot = is_row.nonzero(as_tuple=True)
        probability = logits.double().softmax(dim=1)
        classes = record.classes[image, slot]
        return cls(
            image=image.cpu().numpy(),
            slot=slot.cpu().numpy(),
            rank=rank[image, slot].cpu().numpy(),
            score=probability[image, classes].cpu().numpy(),
            wnid=[names[index] for index in classes.tolist()],
            finite=finite.cpu().numpy(),
            label_rank=label_rank.cpu().numpy(),
            label_score=probability.gather(1, labels[:, None])[:, 0].cpu().numpy(),
        )

    def table(self, image_ids: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "image_id": [image_ids[index] for index in self.image],
                "rank": self.rank,
                "class": self.wnid,
                "score": self.score,
            }
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


def _map_table(
    rows: pd.DataFrame, stored: Float16[np.ndarray, "r h w"], scales: Float64[np.ndarray, " r"]
) -> pd.DataFrame:
    table = rows[["model", "method", "layer", "image_id", "rank"]].copy()
    table["scale"] = scales
    table["height"], table["width"] = stored.shape[1:]
    table["map"] = [values.tobytes() for values in stored]
    return table


def _by_input_size(batch: Sequence[_Loaded]) -> list[list[_Loaded]]:
    """A batch in groups that stack; one group unless the geometry keeps aspect ratios."""
    groups: dict[tuple[int, int], list[_Loaded]] = {}
    for item in batch:
        groups.setdefault(item.placement.input, []).append(item)
    return list(groups.values())


def _concat(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
