"""The weights of interpolation, for the page's own upsampling."""

import base64
from collections.abc import Iterable
from typing import Any

from wsol_bench.protocols.sections import MapSection
from wsol_bench.scoring.upsampling import _taps as taps

__all__ = ["encoded_taps"]


def encoded_taps(pairs: Iterable[tuple[int, int]], section: MapSection) -> dict[str, Any]:
    """The taps of axes, as ``Taps`` by "before>after"."""
    encoded = {}
    for before, after in pairs:
        found = taps(before, after, section.upsample, section.align_corners)
        encoded[f"{before}>{after}"] = {
            "n": found.sample.shape[1],
            "sample": base64.b64encode(found.sample.astype("<i4").tobytes()).decode(),
            "weight": base64.b64encode(found.weight.astype("<f4").tobytes()).decode(),
        }
    return encoded
