"""The interface of an engine, which evaluates the parts of an experiment."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.schema import Tables

__all__ = ["DEATHS", "Engine"]

# If this many processes die in one part, the run fails.
DEATHS = 3


@runtime_checkable
class Engine(Protocol):
    """Evaluates the parts of an experiment; see ``LocalEngine`` and ``RayEngine``."""

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Say where the work is done, for the record of the session (``Session``)."""

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """Evaluate parts; yield each with its tables, in any order."""
