"""The tables of ``wsol-bench analyze``: how sure each number is, what differs, why boxes failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from wsol_bench.common.files import write_atomically
from wsol_bench.common.harmless import csv_text
from wsol_bench.common.progress import progress
from wsol_bench.errors import RunError
from wsol_bench.metrics.number import Number
from wsol_bench.report.comparisons import (
    MethodNumbers,
    corrected,
    line_names,
    paired_test,
    pairs_of,
    references_of,
)
from wsol_bench.report.method_kinds import kind_of
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.summary import MethodResults

__all__ = ["analyze", "details_of", "numbers_of", "write_tables"]


def analyze(
    runs: Sequence[StoredRun], *, seed: int = 0, against: str | None = None
) -> dict[str, pd.DataFrame]:
    """The numbers of runs with intervals, paired tests between methods, and failure modes.

    Args:
        runs: finished runs.
        seed: seed of the resamples and of the random signs of paired tests.
        against: the method that the other methods of its model are compared with, on the images
            that both have; by default the first method of each model.

    Returns:
        Tables by name: ``intervals`` (each number with its 95% interval over images),
        ``comparisons`` (paired tests, with Holm's correction), and, if a protocol chooses one box,
        ``failure_modes``, ``by_class``, ``by_size``, ``by_instances``. Fractions in [0, 1].

    Raises:
        RunError: a run is not finished, or no run has an evaluated image.
        ConfigError: no run has the method to compare with.
    """
    for run in runs:
        run.require_finished()
    methods, details = _read_methods(runs)
    if not methods:
        raise RunError(f"{runs[0].path}: no image was evaluated, so there is nothing to analyze")
    compared = [
        (reference, method, list(pairs_of(reference, method)))
        for reference, method in zip(references_of(methods, against), methods, strict=True)
        if reference is not None
    ]
    intervals = []
    comparisons = []
    with progress("testing", len(methods) + len(compared), "methods") as advance:
        for method in methods:
            intervals += [
                {
                    **method.names,
                    "number": name,
                    "kind": method.kind,
                    "better": number.better,
                    "is_share": number.range == (0.0, 1.0),
                    **number.interval(seed=seed)._asdict(),
                }
                for name, number in method.numbers.items()
            ]
            advance(1)
        for reference, method, pairs in compared:
            names = line_names(reference, method)
            comparisons += [{**names, **paired_test(pair, seed)} for pair in pairs]
            advance(1)
    return {
        "intervals": pd.DataFrame(intervals),
        "comparisons": corrected(pd.DataFrame(comparisons)),
        **{name: pd.concat(tables, ignore_index=True) for name, tables in details.items()},
    }


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables of ``analyze`` as CSV files; OSError if the folder cannot be written to."""
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", csv_text(table).encode())


def _read_methods(
    runs: Sequence[StoredRun],
) -> tuple[list[MethodNumbers], dict[str, list[pd.DataFrame]]]:
    """The methods of all runs that have numbers, and the tables of why boxes failed, by name."""
    methods: list[MethodNumbers] = []
    details: dict[str, list[pd.DataFrame]] = {}
    n_methods = sum(run.identity.n_methods for run in runs)
    with progress("reading", n_methods, "methods") as advance:
        for run in runs:
            run_name = {"run": str(run.path)} if len(runs) > 1 else {}
            for method, tables in _methods_of_run(run, run_name):
                methods += [method] if method.numbers else []
                for name, table in tables.items():
                    details.setdefault(name, []).append(table.assign(**run_name))
                advance(1)
    return methods, details


def _methods_of_run(
    run: StoredRun, run_name: dict[str, str]
) -> Iterator[tuple[MethodNumbers, dict[str, pd.DataFrame]]]:
    """Each method of a run, with the tables of why its boxes failed."""
    for method in methods_of(run):
        numbers = numbers_of(method, run, run_name)
        tables = details_of(method, run, numbers)
        yield numbers, {name: _with_names(table, method.names) for name, table in tables.items()}


def numbers_of(
    method: MethodResults, run: StoredRun, run_name: Mapping[str, str] = MappingProxyType({})
) -> MethodNumbers:
    """The numbers of a method that have a value, those at selected thresholds among them.

    Args:
        method: the method's stored results.
        run: the run that it belongs to.
        run_name: the column that names the run among several.
    """
    numbers: dict[str, Number] = {}
    for measured in method.numbers():
        for number in filter(None, (measured, measured.selected())):
            if not np.isnan(number.value()):
                numbers[number.name] = _compact(number)
    fingerprint = run.identity.dataset.fingerprint
    names = {**run_name, **method.names}
    kind = kind_of(run.identity, method.names["method"])
    return MethodNumbers(names, numbers, method.scores.images, fingerprint, kind)


def details_of(
    method: MethodResults, run: StoredRun, numbers: MethodNumbers
) -> dict[str, pd.DataFrame]:
    """The tables of why and where a method's boxes fail, by name; see ``Scoring.details``."""
    # Metrics are averaged by class, size and instances, too; the errors are there anyway.
    metric_values = {
        name: number.contributions()
        for name, number in numbers.numbers.items()
        if name in run.identity.metrics and number.is_mean
    }
    return run.scoring.details(method.scores, metric_values)


def _with_names(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A table of a method, with the columns that name the method in front."""
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def _compact(number: Number) -> Number:
    """The number with its hits as float16, since the hits of many methods are in memory at once."""
    if not (number.is_mean and number.hits):
        return number
    return replace(number, values=np.asarray(number.values, np.float16))
