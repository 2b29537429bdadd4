"""Class slots: which (image, class) pairs of a forward pass become rows, and their ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from wsol_bench.metrics.localization import TOP_K
from wsol_bench.models.output_reading import OutputReading
from wsol_bench.scoring.batches import ImageBatch, RowBatch

__all__ = ["ClassSlots"]


@dataclass(frozen=True, eq=False)
class ClassSlots:
    """The (image, class) pairs of a batch that become rows: the k best classes and the label.

    A record's last class slot is the label. For an image whose label is among its k best classes
    that slot repeats one of them, and the pair becomes one row. Logits that are not finite have no
    order, so an image with such logits has no rows.

    Attributes:
        rows: the pairs.
        slot: the class slot of the record that holds each pair's map.
        finite: whether all logits of each image are finite.
        label_rank: the rank of each image's label among all outputs, from 1.
        label_score: the probability of each image's label.
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
        reading: OutputReading,
        logits: Float[Tensor, "batch n"],
        slots: Int64[Tensor, "batch k"],
        labels: Int64[Tensor, " batch"],
        names: Sequence[str],
    ) -> "ClassSlots":
        """The class slots of a batch that passed the network.

        Args:
            images: the images of the batch.
            reading: how the network's logits were read, which says how they become probabilities.
            logits: the logits of all outputs.
            slots: the output of each class slot: the k best, best first, then the label.
            labels: the output of each image's label.
            names: the wnid of each output.
        """
        label_logits = logits.gather(1, labels[:, None])
        # The rank in the stable descending order that the slots were cut from.
        outputs = torch.arange(logits.shape[1], device=logits.device)
        ahead = (logits > label_logits) | ((logits == label_logits) & (outputs < labels[:, None]))
        label_rank = 1 + ahead.sum(dim=1)
        k = min(TOP_K, logits.shape[1])
        ranks = torch.arange(1, slots.shape[1] + 1, device=logits.device)
        rank = ranks.expand_as(slots).clone()
        rank[:, k:] = label_rank[:, None]
        is_row = torch.ones_like(rank, dtype=torch.bool)
        is_row[:, k:] = (label_rank > k)[:, None]
        finite = logits.isfinite().all(dim=1)
        is_row &= finite[:, None]
        image, slot = is_row.nonzero(as_tuple=True)
        probability = reading.probabilities_of(logits.double())
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
