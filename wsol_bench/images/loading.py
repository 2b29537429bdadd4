"""Batches of decoded images, made by processes that stay ahead of the network."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.multiprocessing  # tensors then travel by shared memory
from torch import Tensor

from wsol_bench.datasets import Dataset
from wsol_bench.errors import ImageError, WorkerError
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import window
from wsol_bench.protocols.model import InputSection

__all__ = ["Batch", "Group", "decoded"]

# Sides of an input, longer to shorter: a thin file would fill the memory where its shape is kept.
_LONGEST = 16
_BATCHES_AHEAD = 3  # of each process
# A batch that takes longer will not come: its process hangs, or the disk that the files are on.
_TIMEOUT_S = 600
# Forked where that is safe: it is quick, and a script then needs no main guard.
_CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else None)


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
    dataset: Dataset, batches: Sequence[Sequence[int]], rule: InputSection, *, workers: int
) -> Iterator[Batch]:
    """Decode the batches, in order.

    Args:
        dataset: where the images are.
        batches: indices of the images of each.
        rule: the protocol's, from file to input.
        workers: processes that decode; 0 decodes in this one, with nothing ahead.

    Raises:
        WorkerError: a process died (killed, or out of memory) or hangs.
    """
    decoder = _Decoder(dataset.images["path"].tolist(), rule)
    n_workers = min(workers, len(batches))
    if not n_workers:
        yield from map(decoder, batches)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(n_workers, _CONTEXT, _enter, (decoder,)) as pool:
        ahead: deque[Future[Batch]] = deque()
        ours: set[Any] = set()
        try:
            for batch in batches:
                ahead.append(pool.submit(_decode, batch))
                ours = ours or set(multiprocessing.active_children()) - others
                if len(ahead) > n_workers * _BATCHES_AHEAD:
                    yield ahead.popleft().result(_TIMEOUT_S)
            while ahead:
                yield ahead.popleft().result(_TIMEOUT_S)
        except BrokenProcessPool as error:
            raise WorkerError(f"a process that decodes images died ({error})") from error
        except TimeoutError as error:
            raise WorkerError(f"no image was decoded for {_TIMEOUT_S} seconds") from error
        except (MemoryError, OSError, RuntimeError) as error:
            raise WorkerError(
                f"a process that decodes images could not go on ({error or type(error).__name__}); "
                "if shared memory or open files are too few, see df /dev/shm and ulimit -n, or "
                "decode without processes: --set workers=0"
            ) from error
        finally:
            if ahead:  # nobody waits for them any more, nor for a process that hangs
                pool.shutdown(wait=False, cancel_futures=True)
                for process in ours:
                    process.kill()


class _Decoder:
    """Decodes batches.

    Args:
        paths: of all images; "" for none.
        rule: from file to input.
    """

    def __init__(self, paths: list[str], rule: InputSection) -> None:
        self._paths = paths
        self._rule = rule

    def __call__(self, indices: Sequence[int]) -> Batch:
        images: dict[tuple[int, int], list[tuple[int, Placement, Tensor]]] = {}
        unreadable = []
        for index in indices:
            try:
                placement, pixels = self._load(self._paths[index])
            except ImageError as error:
                unreadable.append((index, str(error)))
            else:
                images.setdefault(placement.input, []).append((index, placement, pixels))
        return Batch([_group(of_size) for of_size in images.values()], unreadable)

    def _load(self, path: str) -> tuple[Placement, Tensor]:
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


# The decoder of a process that decodes.
_decoder: _Decoder


def _enter(decoder: _Decoder) -> None:
    """Begin a process that decodes."""
    global _decoder
    _decoder = decoder
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when its parent does, however that ends."""
    wait([sentinel])
    os._exit(1)


def _decode(indices: Sequence[int]) -> Batch:
    return _decoder(indices)
