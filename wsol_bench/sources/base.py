"""What a source is: maps or boxes of images, by their ids, without a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wsol_bench.datasets import Dataset
from wsol_bench.registry import SOURCES, Registry, bind_options
from wsol_bench.sources.given import GivenBoxes, GivenMaps
from wsol_bench.vocabulary import Gives

__all__ = ["Given", "Source", "source", "sources"]

Given = GivenMaps | GivenBoxes
Opener = Callable[..., Given]


@dataclass(frozen=True)
class Source:
    """A source of maps or boxes.

    Attributes:
        name: in configurations and results.
        opener: ``(dataset, **options)``: what it holds. Maps do not depend on the data set: where
            stored results are scored again it is None.
        paper: where it is defined.
        gives: maps, which any protocol can score again, or boxes.
        options: keyword-only ones of the opener.
    """

    name: str
    opener: Opener
    paper: str
    gives: Gives
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, dataset: Dataset | None) -> Given:
        """What it holds; ConfigError or PredictionError where that cannot be read."""
        return self.opener(dataset, **self.options)

    def with_options(self, options: Mapping[str, Any], where: str) -> "Source":
        """The source with its options bound; ConfigError where they do not fit."""
        bound = bind_options(self.opener, options, where)
        name = "+".join([self.name, *(f"{key}={value}" for key, value in options.items())])
        return replace(self, name=name, options=bound)


sources: Registry[Source] = Registry(Source, SOURCES)


def source(name: str, *, gives: Gives, paper: str = "") -> Callable[[Opener], Source]:
    """Register the opener of a source under ``name``; its keyword-only parameters are options."""

    def register(opener: Opener) -> Source:
        return sources.register(name, Source(name, opener, paper, gives))

    return register
