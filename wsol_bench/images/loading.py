"""Batches of images, which other processes decode ahead of the network."""

import multiprocessing
import multiprocessing.util
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

from wsol_bench.common import archives
from wsol_bench.common.temporary import own
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ImageError, WorkerError
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_image
from wsol_bench.images.preprocess import windows
from wsol_bench.protocols.input_section import InputSection

__all__ = ["BATCHES_AHEAD", "Batch", "Group", "decoded"]

BATCHES_AHEAD = 3  # per process
# A batch that takes longer will not come: the process hangs, or the disk of the files.
_TIMEOUT_S = 600
# Processes are forked on Linux: that is quick, and a script then needs no main guard.
_CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else None)


# An image's position in the data set, the place of the input, and the pixels of all windows.
_Decoded = tuple[int, Placement, list[Tensor]]


class Group(NamedTuple):
    """The images of a batch whose inputs have the same size.

    Attributes:
        indices: positions of the images in the data set.
        placements: place of the input in each image.
        pixels: (n, channels, height, width) from 0 to 255, uint8 or float32.
        further: the same of each further window, as ``InputSection.windows`` lists them.
    """

    indices: list[int]
    placements: list[Placement]
    pixels: Tensor
    further: Sequence[Tensor] = ()

    def pieces(self, n: int) -> Iterator["Group"]:
        """The group in groups of at most ``n`` images, in order."""
        for start in range(0, len(self.indices), n):
            some = slice(start, start + n)
            yield Group(
                self.indices[some],
                self.placements[some],
                self.pixels[some],
                [window[some] for window in self.further],
            )


class Batch(NamedTuple):
    """A batch of decoded images.

    Attributes:
        groups: images by input size; one group unless the protocol's geometry keeps aspect ratios.
        unreadable: position in the data set and reason of each image that cannot be decoded.
    """

    groups: list[Group]
    unreadable: list[tuple[int, str]]


def decoded(
    dataset: Dataset, batches: Sequence[Sequence[int]], section: InputSection, *,
    workers: int, n_channels: int = 3,
) -> Iterator[Batch]:  # fmt: skip
    """Decode batches of images, and yield them in order.

    Args:
        dataset: data set of the images.
        batches: positions of each batch's images in the data set.
        section: the protocol's section ``input``.
        workers: number of processes that decode; 0 decodes in this process, with nothing ahead.
        n_channels: number of channels of the network's input; see ``load_image``.

    Raises:
        WorkerError: a process died (killed, or out of memory) or hangs.
    """
    decoder = _Decoder(dataset.images["path"].tolist(), section, n_channels)
    n_workers = min(workers, len(batches))
    if not n_workers:
        yield from map(decoder, batches)
        return
    # One folder for the sockets of all processes, which this process deletes at its end; they would
    # leave folders of their own when they are killed.
    own(Path(multiprocessing.util.get_temp_dir()))
    earlier_processes = set(multiprocessing.active_children())
    with ProcessPoolExecutor(n_workers, _CONTEXT, _enter, (decoder,)) as pool:
        ahead: deque[Future[Batch]] = deque()
        processes: set[Any] = set()
        try:
            for batch in batches:
                ahead.append(pool.submit(_decode, batch))
                processes = processes or set(multiprocessing.active_children()) - earlier_processes
                if len(ahead) > n_workers * BATCHES_AHEAD:
                    yield ahead.popleft().result(_TIMEOUT_S)
            while ahead:
                yield ahead.popleft().result(_TIMEOUT_S)
        except BrokenProcessPool as error:
            raise WorkerError(
                f"a process that decodes images died ({error}); if memory ran out, decode with "
                "fewer processes: --set workers=1"
            ) from error
        except TimeoutError as error:
            raise WorkerError(
                f"no image was decoded for {_TIMEOUT_S} seconds: a process hangs, or the disk that "
                "holds the images does not answer"
            ) from error
        except (MemoryError, OSError, RuntimeError) as error:
            raise WorkerError(
                f"a process that decodes images could not go on ({error or type(error).__name__}); "
                "shared memory (df /dev/shm) or the limit of open files (ulimit -n) may be too "
                "low, or the name of the folder of temporary files too long (TMPDIR); to decode "
                "without other processes: --set workers=0"
            ) from error
        finally:
            if ahead:  # nobody needs these batches, and a process may hang
                pool.shutdown(wait=False, cancel_futures=True)
                for process in processes:
                    process.kill()


class _Decoder:
    """A function that decodes the batch of images at given positions.

    Args:
        paths: path of every image of the data set; "" for an image without a file.
        section: the protocol's section ``input``.
        n_channels: number of channels of the network's input.
    """

    def __init__(self, paths: list[str], section: InputSection, n_channels: int) -> None:
        self._paths = paths
        self._n_channels = n_channels
        self._section = section
        self._versions = archives.versions()

    def enter(self) -> None:
        """Prepare for another process: archives must be as they are in this one."""
        archives.expect(self._versions)

    def __call__(self, indices: Sequence[int]) -> Batch:
        images: dict[tuple[int, int], list[_Decoded]] = {}
        unreadable = []
        for index in indices:
            try:
                placement, pixels = self._load(self._paths[index])
            except ImageError as error:
                unreadable.append((index, str(error)))
            else:
                images.setdefault(placement.input, []).append((index, placement, pixels))
        return Batch([_group(same_size) for same_size in images.values()], unreadable)

    def _load(self, path: str) -> tuple[Placement, list[Tensor]]:
        if not path:
            raise ImageError("the data set holds no pixels of this image")
        image = load_image(Path(path), self._n_channels)
        try:
            placements = self._section.windows(image.height, image.width)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        return placements[0], windows(image, placements, self._section)


def _group(images: Sequence[_Decoded]) -> Group:
    indices, placements, pixels = zip(*images, strict=True)
    first, *further = (torch.stack(same_window) for same_window in zip(*pixels, strict=True))
    return Group(list(indices), list(placements), first, further)


# The decoder of this process, if this process decodes images.
_decoder: _Decoder


def _enter(decoder: _Decoder) -> None:
    """Prepare a process that decodes."""
    global _decoder
    _decoder = decoder
    decoder.enter()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and what it does at other signals is not ours
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when its parent ends, even if the parent is killed."""
    wait([sentinel])
    os._exit(1)


def _decode(indices: Sequence[int]) -> Batch:
    return _decoder(indices)
