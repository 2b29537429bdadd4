"""The evaluator: a method pass yields batches, threads score them, and parts become tables.

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
from wsol_bench.runs.scored_batches import ImageOutcome, ScoredGroup, UnscoredBatch
from wsol_bench.runs.scorer import Scorer

__all__ = ["Evaluator", "MethodPass"]

# The threads that score maps while the network works on, and the batches that may wait for them.
_SCORERS = min(4, os.cpu_count() or 1)
_WAITING = 2 * _SCORERS

T = TypeVar("T")


@runtime_checkable
class MethodPass(Protocol):
    """Makes the maps and boxes of all methods of a model, batch by batch.

    ``NetworkPass`` passes the images through a network; ``NetworkFreePass`` needs none.
    """

    @property
    def name(self) -> str:
        """The model's name in the results."""

    def unknown(self, dataset: Dataset) -> dict[int, str]:
        """The images that cannot be evaluated because of their label: position to reason."""

    def batches(self, dataset: Dataset, batches: Sequence[list[int]]) -> Iterator[UnscoredBatch]:
        """The batches of images, given as positions in the data set, in order."""


@dataclass(frozen=True)
class Evaluator:
    """Evaluates parts of a data set with one model.

    Attributes:
        method_pass: makes the maps and boxes.
        scorer: scores them.
        batch_size: the number of images in a batch.
    """

    method_pass: MethodPass
    scorer: Scorer
    batch_size: int

    def evaluate(
        self,
        dataset: Dataset,
        parts: Sequence[range],
        advance: Callable[[int], object] = lambda n: None,
    ) -> Iterator[Tables]:
        """Evaluate the images of parts; yield the tables of each part, in order.

        A batch never crosses parts, so the tables of a part do not depend on other parts. An image
        whose label the classifier does not know, that cannot be decoded, whose logits are not
        finite, or of which no method has a map or box gets a line in the table ``images`` with a
        status and a reason; every other image has the status ``evaluated``.

        Args:
            dataset: all images.
            parts: the positions of each part's images in the data set.
            advance: called with the number of images done since the last call.

        Raises:
            DatasetError: an image cannot be evaluated, and the scorer is ``strict``.
            ModelError: the network fails.
            WorkerError: a process that decodes images died.
        """
        unknown = self.method_pass.unknown(dataset)
        batches_of_parts = [
            self._batches([position for position in part if position not in unknown])
            for part in parts
        ]
        all_batches = [batch for batches in batches_of_parts for batch in batches]
        unscored = self.method_pass.batches(dataset, all_batches)

        def steps(pool: ThreadPoolExecutor) -> Iterator[Future[list[ScoredGroup]] | range]:
            for part, batches in zip(parts, batches_of_parts, strict=True):
                for _ in batches:
                    # No variable holds the batch: its pixels and maps are freed when it is scored.
                    yield pool.submit(self.scorer.score, next(unscored))
                yield part  # the part ends here

        with ThreadPoolExecutor(_SCORERS) as pool:
            groups: list[ScoredGroup] = []
            for step in _ahead(steps(pool), _WAITING):
                if isinstance(step, range):
                    left_out = [
                        ImageOutcome(
                            position,
                            dataset[position],
                            ImageStatus.UNKNOWN_CLASS,
                            unknown[position],
                        )
                        for position in step
                        if position in unknown
                    ]
                    yield self.scorer.tables(left_out, groups)
                    advance(len(left_out))
                    groups = []
                else:
                    scored = step.result()
                    groups += scored
                    advance(sum(len(group.outcomes) for group in scored))

    def _batches(self, positions: list[int]) -> list[list[int]]:
        starts = range(0, len(positions), self.batch_size)
        return [positions[start : start + self.batch_size] for start in starts]


def _ahead(steps: Iterable[T], n: int) -> Iterator[T]:
    """The steps in order, each yielded when ``n`` more have been taken."""
    taken: deque[T] = deque()
    for step in steps:
        taken.append(step)
        if len(taken) > n:
            yield taken.popleft()
    yield from taken
