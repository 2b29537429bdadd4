"""Passes that fit the memory of a GPU: a group of images that does not passes in halves."""

import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import torch

from wsol_bench.errors import ModelError
from wsol_bench.images.loading import Group

__all__ = ["within_memory"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


def within_memory(
    passed: Callable[[Group], T],
    group: Group,
    at_once: int,
    halved: Callable[[int], None] | None,
) -> tuple[list[T], int]:
    """Pass a group of images, in pieces of half the size each time that a GPU's memory runs out.

    Args:
        passed: passes images through the network.
        group: the decoded images.
        at_once: the most images that pass at once.
        halved: called with the new number of images that pass at once; None if memory that runs out
            is an error.

    Returns:
        The results of the pieces in order, and the number of images that pass at once from now on.

    Raises:
        ModelError: the network fails, or the memory does not hold one image.
    """
    results, waiting = [], deque([group])
    while waiting:
        piece = waiting.popleft()
        n_images = len(piece.indices)
        if n_images > at_once:
            waiting.extendleft(reversed(list(piece.pieces(at_once))))
            continue
        try:
            results.append(passed(piece))
            continue
        except (ModelError, torch.OutOfMemoryError) as error:
            if halved is None or n_images == 1 or not _is_of_memory(error):
                raise
        # Only here, behind the handler, is the memory of the pass that failed free again.
        torch.cuda.empty_cache()
        at_once = n_images // 2
        logger.warning(
            "the memory of the GPU ran out with %d images in a pass; %d pass at once from now on",
            n_images,
            at_once,
        )
        halved(at_once)
        waiting.appendleft(piece)
    return results, at_once


def _is_of_memory(error: BaseException | None) -> bool:
    """Return whether an error comes from a GPU whose memory ran out."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__cause__
    return error is not None
