"""The images of a report: a sample in which the hits and misses of every method are."""

import numpy as np
from jaxtyping import Int64

from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.outcomes import HIT, NOT_DEFINED, OUTCOMES

__all__ = ["sampled"]


def sampled(collection: Collection, n_images: int, seed: int) -> Int64[np.ndarray, " n"]:
    """The positions of at most ``n_images`` images, ascending.

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
    if n <= n_images:
        return np.arange(n)
    coarse, fine = [], []
    for line in collection.lines:
        outcome = line.gt_known[order]
        coarse += [outcome == HIT, (outcome != HIT) & (outcome != NOT_DEFINED)]
        fine += [outcome == code for code in range(len(OUTCOMES)) if code != HIT]
        fine += [line.top1[order] == OUTCOMES.index("wrong_class")]
    chosen = np.zeros(n, np.bool_)  # in the random order
    for strata in (coarse, fine):
        _fill(chosen, strata, (n_images + int(chosen.sum())) // 2)
    rest = np.flatnonzero(~chosen)[: n_images - chosen.sum()]
    chosen[rest] = True
    return np.sort(order[chosen])


def _fill(chosen: np.ndarray, strata: list[np.ndarray], most: int) -> None:
    """Choose images so that each stratum has one, two, ... of them, up to a number of all."""
    places = [np.flatnonzero(stratum) for stratum in strata if stratum.any()]
    for turn in range(max((len(place) for place in places), default=0)):
        for place in places:
            if chosen.sum() >= most:
                return
            # The images that are chosen for others count for this stratum, too.
            if chosen[place].sum() <= turn:
                chosen[place[~chosen[place]][:1]] = True
