"""Maps and boxes that need no network: baselines, and what other tools made."""

from wsol_bench.sources.base import Given, Source, source, sources
from wsol_bench.sources.given import Asked, GivenBoxes, GivenMaps, Guess

__all__ = [
    "Asked",
    "Given",
    "GivenBoxes",
    "GivenMaps",
    "Guess",
    "Source",
    "source",
    "sources",
]
