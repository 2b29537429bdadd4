"""The weights of interpolation, with which the page upsamples maps as Python does."""

import base64
from collections.abc import Iterable
from typing import Any

from wsol_bench.protocols.sections import MapSection
from wsol_bench.scoring.upsampling import taps

__all__ = ["encoded_taps"]


def encoded_taps(pairs: Iterable[tuple[int, int]], section: MapSection) -> dict[str, Any]:
    """The taps of axes, as ``Taps`` of assets/types.d.ts, by "before>after".

    Args:
        pairs: numbers of samples of a map and of the network's input along an axis.
        section: says how maps are interpolated.
    """
    encoded = {}
    for before, after in pairs:
        sample, weight = taps(before, after, section)
        encoded[f"{before}>{after}"] = {
            "n": sample.shape[1],
            "sample": base64.b64encode(sample.astype("<i4").tobytes()).decode(),
            "weight": base64.b64encode(weight.astype("<f4").tobytes()).decode(),
        }
    return encoded
