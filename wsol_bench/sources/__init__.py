"""Maps and boxes that need no network: baselines, and what other tools made."""

from wsol_bench.sources.base import Given, Source, source, sources
from wsol_bench.sources.given import GivenBoxes, GivenMaps, Guess

__all__ = [
    "Given",
    "GivenBoxes",
    "GivenMaps",
    "Guess",
    "Source",
    "source",
    "sources",
]
