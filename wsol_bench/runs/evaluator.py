"""The schedule of an evaluation: a pass yields batches, threads score them, parts become tables.

No files are written here.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from wsol_bench.datasets import Dataset
from wsol_bench.runs.schema import ImageStatus, Tables
from wsol_bench.runs.scorer import Outcome, Passed, ScoredGroup, Scorer

__all__ = ["Evaluator", "Pass"]

# Threads that score maps while the network goes on, and batches that may wait for them.
_SCORERS = min(4, os.cpu_count() or 1)
_WAITING = 2 * _SCORERS

T = TypeVar("T")


@runtime_checkable
class Pass(Protocol):
    """Where maps and boxes come from: a network and its methods, or sources alone."""

    @property
    def name(self) -> str:
        """The model's, in the results."""

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """By position, why an image cannot be evaluated at all."""

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[Passed]:
        """The batches of images, in order, ready to be scored."""


@dataclass(frozen=True)
class Evaluator:
    """A pass and a scorer, ready for parts.

    Attributes:
        source: where maps and boxes come from.
        scorer: what they are worth.
        batch_size: images in a batch.
    """

    source: Pass
    scorer: Scorer
    batch_size: int

    def evaluate(
        self,
        dataset: Dataset,
        parts: Sequence[range],
        advance: Callable[[int], object] = lambda n: None,
    ) -> Iterator[Tables]:
        """Evaluate the images of some parts; the tables of one after the other.

        A batch never crosses parts, so what a part gives does not depend on the others. An image
        whose class the classifier does not know, that cannot be decoded, whose logits are not
        finite, or that no source knows becomes a line of the images table with a status and a
        reason; the others have ``evaluated``.

        Args:
            dataset: all images.
            parts: positions in the data set.
            advance: called with the number of images done since the last call.

        Raises:
            DatasetError: an image that cannot be evaluated, where ``strict``.
            ModelError: the network fails.
            WorkerError: a process that decodes died.
        """
        unknown = self.source.unknown(dataset)
        batches = [self._batches([at for at in part if at not in unknown]) for part in parts]
        passed = self.source.batches(dataset, [one for of_part in batches for one in of_part])

        def steps(pool: ThreadPoolExecutor) -> Iterator[Future[list[ScoredGroup]] | range]:
            for part, of_part in zip(parts, batches, strict=True):
                for _ in of_part:
                    # Handed over as it comes: pixels and maps are not kept while others wait.
                    yield pool.submit(self.scorer.score, next(passed))
                yield part  # ends here

        with ThreadPoolExecutor(_SCORERS) as pool:
            groups: list[ScoredGroup] = []
            for step in _ahead(steps(pool), _WAITING):
                if isinstance(step, range):
                    left_out = [
                        Outcome(at, dataset[at], ImageStatus.UNKNOWN_CLASS, unknown[at])
                        for at in step
                        if at in unknown
                    ]
                    yield self.scorer.tables(left_out, groups)
                    advance(len(left_out))
                    groups = []
                else:
                    scored = step.result()
                    groups += scored
                    advance(sum(len(group.outcomes) for group in scored))

    def _batches(self, indices: list[int]) -> list[list[int]]:
        starts = range(0, len(indices), self.batch_size)
        return [indices[start : start + self.batch_size] for start in starts]


def _ahead(steps: Iterable[T], n: int) -> Iterator[T]:
    """The steps in order, each handed on when ``n`` more have been taken."""
    taken: deque[T] = deque()
    for step in steps:
        taken.append(step)
        if len(taken) > n:
            yield taken.popleft()
    yield from taken
