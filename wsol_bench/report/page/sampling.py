"""The images of a report: a sample in which the hits and misses of every method are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.outcomes import HIT, NOT_DEFINED, OUTCOMES

__all__ = ["Sample", "sampled"]


class Sample(NamedTuple):
    """The images of a report.

    Attributes:
        images: the positions of the images in the collection, ascending.
        unbiased: whether each was drawn without regard to outcomes. Shares of images may be
            estimated from these alone.
        complete: whether each line has a hit and a miss among the images, if it has one at all.
    """

    images: Int64[np.ndarray, " n"]
    unbiased: Bool[np.ndarray, " n"]
    complete: bool


def sampled(collection: Collection, n_images: int, seed: int) -> Sample:
    """Draw at most ``n_images`` images.

    The images are drawn in a random order. Half of the places go to images that give each line hits
    and misses, in turn; half of the others to those that give it its other outcomes; and the rest
    to the images that are drawn first.

    Args:
        collection: the runs.
        n_images: the largest number of images.
        seed: seed of the random order.
    """
    n = len(collection.images)
    order = np.random.default_rng(seed).permutation(n)
    coarse, fine = [], []
    for line in collection.lines:
        outcome = line.gt_known[order]
        coarse += [outcome == HIT, (outcome != HIT) & (outcome != NOT_DEFINED)]
        fine += [outcome == code for code in range(len(OUTCOMES)) if code != HIT]
        fine += [line.top1[order] == OUTCOMES.index("wrong_class")]
    chosen = np.full(n, n <= n_images)  # in the random order
    for strata in (coarse, fine):
        _fill(chosen, strata, (n_images + int(chosen.sum())) // 2)
    chosen[np.flatnonzero(~chosen)[: max(0, n_images - int(chosen.sum()))]] = True
    # Up to the first image that is not chosen, every image is, whatever its outcomes.
    n_unbiased = n if chosen.all() else int(np.argmin(chosen))
    places = np.argsort(order[chosen])
    return Sample(
        order[chosen][places],
        (np.arange(int(chosen.sum())) < n_unbiased)[places],
        all(chosen[stratum].any() for stratum in coarse if stratum.any()),
    )


def _fill(chosen: Bool[np.ndarray, " n"], strata: list[np.ndarray], most: int) -> None:
    """Choose images so that each stratum has one, two, ... of them, up to a number of all."""
    places = [np.flatnonzero(stratum) for stratum in strata if stratum.any()]
    for turn in range(max((len(place) for place in places), default=0)):
        for place in places:
            if chosen.sum() >= most:
                return
            # The images that are chosen for others count for this stratum, too.
            if chosen[place].sum() <= turn:
                chosen[place[~chosen[place]][:1]] = True
