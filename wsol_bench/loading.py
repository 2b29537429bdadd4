"""Batches of decoded images, made by processes that stay ahead of the network."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wsol_bench.datasets import Dataset
from wsol_bench.errors import ImageError, WorkerError
from wsol_bench.geometry import Placement
from wsol_bench.inputs import load_image, window
from wsol_bench.protocols import InputRule

__all__ = ["Batch", "Group", "decoded", "is_worker_death"]

# Sides of an input, longer to shorter: a thin file would fill the memory where its shape is kept.
_LONGEST = 16
_BATCHES_AHEAD = 3


class Group(NamedTuple):
    """Images of a batch whose inputs have one size, and so stack.

    Attributes:
        indices: of the images in the data set.
        placements: where the input lies in each image.
        pixels: (n, 3, height, width) RGB from 0 to 255, uint8 or float32.
    """

    indices: list[int]
    placements: list[Placement]
    pixels: Tensor


class Batch(NamedTuple):
    """A decoded batch.

    Attributes:
        groups: one, unless the input geometry keeps aspect ratios.
        unreadable: index in the data set and reason of each image that cannot be decoded.
    """

    groups: list[Group]
    unreadable: list[tuple[int, str]]


def decoded(
    dataset: Dataset,
    batches: Sequence[list[int]],
    rule: InputRule,
    *,
    workers: int,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Decode the batches, in order.

    Args:
        dataset: where the images are.
        batches: indices of the images of each.
        rule: the protocol's, from file to input.
        workers: processes that decode; 0 decodes in this one, with nothing ahead.
        pin_memory: for faster copies to a GPU.

    Raises:
        WorkerError: a process died (killed, or out of memory).
    """
    if not batches:
        return
    n_workers = min(workers, len(batches))
    with warnings.catch_warnings():
        # Of more processes than cores: where files come over a network they pay.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: DataLoader[Any] = DataLoader(
            _Decoder(dataset, rule),
            batch_sampler=batches,
            num_workers=n_workers,
            collate_fn=_as_it_is,
            prefetch_factor=_BATCHES_AHEAD if n_workers else None,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # not the caller's: nothing here is random
        )
        started = iter(loader)
    try:
        yield from started
    except RuntimeError as error:
        if is_worker_death(error):
            raise WorkerError(f"a process that decodes images died: {error}") from error
        raise


def is_worker_death(error: RuntimeError) -> bool:
    """Whether an error says that a decoding process died; it may be raised at any point."""
    return str(error).startswith("DataLoader worker")


class _Decoder(TorchDataset[Batch]):
    """What the processes do."""

    def __init__(self, dataset: Dataset, rule: InputRule) -> None:
        # No tables: these are copied to each process where processes are not forked.
        self._paths = dataset.images["path"].tolist()
        self._rule = rule

    def __len__(self) -> int:
        return len(self._paths)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        images: dict[tuple[int, int], list[tuple[int, Placement, Tensor]]] = {}
        unreadable = []
        for index in indices:
            try:
                placement, pixels = self._decode(index)
            except ImageError as error:
                unreadable.append((index, str(error)))
            else:
                images.setdefault(placement.input, []).append((index, placement, pixels))
        groups = [
            Group(
                [i for i, _, _ in group],
                [p for _, p, _ in group],
                torch.stack([x for _, _, x in group]),
            )
            for group in images.values()
        ]
        return Batch(groups, unreadable)

    def _decode(self, index: int) -> tuple[Placement, Tensor]:
        path = self._paths[index]
        if not path:
            raise ImageError("the data set holds no pixels of this image")
        image = load_image(Path(path))
        placement = self._rule.place(image.height, image.width)
        if max(placement.input) > _LONGEST * self._rule.size:
            raise ImageError(
                f"{path}: {image.width} x {image.height} pixels would become an input of "
                f"{placement.input[1]} x {placement.input[0]}"
            )
        return placement, window(image, placement, self._rule)


def _group(images: Sequence[tuple[int, Placement, Tensor]]) -> Group:
    indices, placements, pixels = zip(*images, strict=True)
    return Group(list(indices), list(placements), torch.stack(pixels))


def _as_it_is(batch: Any) -> Any:
    return batch
