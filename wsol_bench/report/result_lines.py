"""The results of runs as lines: one a method of a run, with its numbers, and what they are of.

Results are comparable if data set, protocol and evaluated images are the same. ``limit``, a shard
or a network of other classes change which images are evaluated, whatever the data set.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsol_bench.common.files import digest
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.number import Number
from wsol_bench.report.analysis import numbers_of
from wsol_bench.report.formatted_tables import TableColumn, Value
from wsol_bench.report.method_kinds import Kind, kind_of
from wsol_bench.report.numbers import SHOWN_NUMBERS, number_info
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.stored_run import StoredRun

__all__ = [
    "ComparableResults",
    "ResultLine",
    "ShownNumber",
    "read_lines",
    "require_number",
    "shown_of",
]


class ComparableResults(NamedTuple):
    """Results that may be compared with each other.

    Attributes:
        dataset: the name of the data set.
        fingerprint: the digest of its ground truth.
        protocol: the name of the protocol.
        protocol_hash: the digest of the protocol.
        images: a digest of the ids of the images that the numbers are made of.
        n_images: the number of these images.
        n_all: the number of images of the data set, up to the experiment's limit.
    """

    dataset: str
    fingerprint: str
    protocol: str
    protocol_hash: str
    images: str
    n_images: int
    n_all: int

    @property
    def sentence(self) -> str:
        """All of it in a sentence."""
        return (
            f"Data set {self.dataset} (fingerprint {self.fingerprint}), protocol {self.protocol} "
            f"({self.protocol_hash}), {self.n_images:,} of {self.n_all:,} images (list "
            f"{self.images})."
        )


class ShownNumber(NamedTuple):
    """A number of a line.

    Attributes:
        column: its column in a table.
        value: the number, with an interval if that was asked for.
    """

    column: TableColumn
    value: Value


@dataclass(frozen=True, eq=False)
class ResultLine:
    """A method of a run.

    Attributes:
        run: the run.
        model, method, layer: the columns of these names.
        kind: whether it is a method, a baseline or a sanity check.
        of: what its numbers are of.
        numbers: its numbers that have a value, by name.
    """

    run: StoredRun
    model: str
    method: str
    layer: str
    kind: Kind
    of: ComparableResults
    numbers: dict[str, ShownNumber]

    @property
    def facts(self) -> dict[str, str]:
        """What identifies it, as columns of a CSV file."""
        return {
            "model": self.model,
            "method": self.method,
            "layer": self.layer,
            "kind": self.kind,
            "dataset": self.of.dataset,
            "fingerprint": self.of.fingerprint,
            "protocol": self.of.protocol,
            "protocol_hash": self.of.protocol_hash,
            "images": str(self.of.n_images),
            "run": str(self.run.path),
            "run_id": self.run.manifest.id,
        }

    @property
    def source(self) -> str:
        """The run's folder and id: the folder may be moved, the id stays."""
        return f"run {self.run.path} (id {self.run.manifest.id[:12]})"


def read_lines(
    run: StoredRun,
    *,
    intervals: Callable[[Collection[str]], Collection[str]],
    seed: int,
    advance: Callable[[int], None],
) -> Iterator[ResultLine]:
    """Read the lines of a run.

    Args:
        run: a finished run.
        intervals: from the names of a line's numbers those that get an interval.
        seed: the seed of the bootstrap of intervals.
        advance: is called with 1 for each method.

    Raises:
        RunError: a file is missing or damaged.
    """
    identity = run.identity
    images = dict[str, str]()
    for method in methods_of(run):
        evaluated = method.scores.evaluated
        model = method.names["model"]
        if model not in images:
            images[model] = _images_digest(evaluated)
        measured = numbers_of(method, run).numbers
        with_interval = intervals(measured)
        yield ResultLine(
            run,
            model,
            method.names["method"],
            method.names["layer"],
            kind_of(identity, method.names["method"]),
            ComparableResults(
                identity.dataset.name,
                identity.dataset.fingerprint,
                identity.protocol.name,
                identity.protocol_hash,
                images[model],
                int((~evaluated.held_out).sum()),
                identity.dataset.n_images,
            ),
            {
                name: _number(number, run, seed if name in with_interval else None)
                for name, number in measured.items()
            },
        )
        advance(1)


def _images_digest(evaluated: EvaluatedImages) -> str:
    """A digest of the ids of the images that enter the numbers, in any order."""
    ids = sorted(evaluated.ids[~evaluated.held_out].tolist())
    return digest("\n".join(ids).encode())


def _number(number: Number, run: StoredRun, seed: int | None) -> ShownNumber:
    """A number with its column, and with its interval if there is a seed."""
    info = number_info(number.name, number, [run])
    column = TableColumn(number.name, info["title"], number.better, info["percent"])
    low = high = np.nan
    value = number.value()
    if seed is not None:
        value, low, high, _ = number.interval(seed=seed)
    return ShownNumber(column, Value(value, low, high, column.percent))


def require_number(name: str, lines: Iterable[ResultLine], option: str) -> None:
    """Raise ConfigError unless a line has the number."""
    known = dict.fromkeys(number for line in lines for number in line.numbers)
    if name not in known:
        raise ConfigError(
            f"{option}: expected a number of the runs, found {name!r}; {did_you_mean(name, known)}"
        )


def shown_of(lines: Sequence[ResultLine]) -> list[str]:
    """The numbers that a table of lines shows unless others are chosen."""
    named = (name for line in lines for name in line.run.identity.named_metrics)
    present = {name for line in lines for name in line.numbers}
    return [name for name in dict.fromkeys((*SHOWN_NUMBERS, *named)) if name in present]
