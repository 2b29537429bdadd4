"""The table of a paper: methods by model, their numbers, and the run that each came from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from wsol_bench.common.progress import progress
from wsol_bench.errors import RunError
from wsol_bench.report.formatted_tables import (
    Cell,
    FormattedTable,
    Group,
    Mark,
    TableColumn,
    TableLine,
    marks_of,
)
from wsol_bench.report.result_lines import ResultLine, read_lines, require_number, shown_of
from wsol_bench.report.written_tables import TableFormat, written
from wsol_bench.runs.facts import ModelFacts
from wsol_bench.runs.findings import shard_findings
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.statistics.intervals import LEVEL

__all__ = ["paper_table"]


def paper_table(
    runs: Sequence[StoredRun],
    *,
    table_format: TableFormat = "markdown",
    numbers: Sequence[str] | None = None,
    intervals: bool = False,
    seed: int = 0,
) -> str:
    """A table of runs for a paper, as text of a format.

    Lines are methods, those of one model together. Methods of several runs stand together if
    everything but the method is the same: model and weights, data set, protocol and evaluated
    images. Among them the best of each number is marked (bold), and the second best (underlined) if
    another one is worse: of two methods only the best is marked. Numbers that read the same are
    equal. Baselines and sanity checks stand below and have no mark.

    Args:
        runs: finished runs.
        table_format: ``markdown``, ``csv`` or ``latex``. The first line of LaTeX
            names the packages that it needs.
        numbers: the names of the numbers, each a column; by default those that ``analyze`` shows.
        intervals: whether each number has its 95% interval over images.
        seed: the seed of the bootstrap of intervals.

    Raises:
        ConfigError: no run has one of the numbers.
        RunError: a run is not finished or is given twice, a file of it is missing or damaged, or no
            run has an evaluated image.
    """
    lines = _read(runs, numbers, intervals=intervals, seed=seed)
    for name in numbers or ():
        require_number(name, lines, "numbers")
    shown = list(dict.fromkeys(numbers or shown_of(lines)))
    columns = {
        name: next(line.numbers[name].column for line in lines if name in line.numbers)
        for name in shown
    }
    models = _by_model(lines)
    table = FormattedTable(
        title="",
        columns=(TableColumn("method", "method"), *columns.values()),
        groups=tuple(
            Group(heading, _table_lines(model, columns))
            for heading, model in zip(_headings(models), models, strict=True)
        ),
        notes=_notes(models, seed=seed if intervals else None),
        group_column="model",
    )
    return written([table], table_format)


def _read(
    runs: Sequence[StoredRun], numbers: Collection[str] | None, *, intervals: bool, seed: int
) -> list[ResultLine]:
    """The lines of all runs."""
    seen = dict[str, StoredRun]()
    for run in runs:
        run.require_finished()
        other = seen.setdefault(run.manifest.id, run)
        if other is not run:
            raise RunError(f"{run.path}: expected each run once, found that of {other.path} again")

    def with_interval(names: Collection[str]) -> Collection[str]:
        return (names if numbers is None else numbers) if intervals else ()

    lines: list[ResultLine] = []
    with progress("reading", sum(run.identity.n_methods for run in runs), "methods") as advance:
        for run in runs:
            lines += read_lines(run, intervals=with_interval, seed=seed, advance=advance)
    if not any(line.numbers for line in lines):
        raise RunError(f"{runs[0].path}: no image was evaluated, so there is nothing to show")
    return lines


def _by_model(lines: Sequence[ResultLine]) -> list[list[ResultLine]]:
    """The lines whose methods are compared: those of one model on the same images."""
    models: dict[object, list[ResultLine]] = {}
    for line in lines:
        network = _facts(line).model_dump_json(exclude={"layers", "findings"})
        models.setdefault((line.of, line.model, network), []).append(line)
    return list(models.values())


def _facts(line: ResultLine) -> ModelFacts:
    return line.run.identity.models[line.model]


def _headings(models: Sequence[list[ResultLine]]) -> list[str]:
    """The name of each model, with as much more as tells it from the others."""
    first = [model[0] for model in models]
    headings = ["no model" if line.model == NO_MODEL else line.model for line in first]
    for texts in (
        [f"{line.of.dataset} {line.of.fingerprint}" for line in first],
        [f"{line.of.protocol} {line.of.protocol_hash}" for line in first],
        [f"{line.of.n_images} images" for line in first],
    ):
        if len(set(texts)) > 1:
            headings = [f"{heading}, {text}" for heading, text in zip(headings, texts, strict=True)]
    for texts in (
        [f"weights {_facts(line).weights}" for line in first],
        [str(line.run.path) for line in first],
    ):
        headings = _told_apart(headings, [f", {text}" for text in texts])
    return headings


def _table_lines(
    lines: Sequence[ResultLine], columns: Mapping[str, TableColumn]
) -> tuple[TableLine, ...]:
    """The lines of one model: methods in their order, below them baselines and sanity checks."""
    ranked = [line for line in lines if line.kind == "method"]
    others = [line for line in lines if line.kind != "method"]
    marks = {name: _marks(ranked, name, column) for name, column in columns.items()}
    table_lines = []
    for line, name in zip([*ranked, *others], _names([*ranked, *others]), strict=True):
        cells: list[Cell] = [name]
        for number in columns:
            found = line.numbers.get(number)
            cells.append(found and replace(found.value, mark=marks[number].get(id(line))))
        first_of_others = bool(ranked and others) and line is others[0]
        table_lines.append(TableLine(tuple(cells), line.facts, line.source, first_of_others))
    return tuple(table_lines)


def _marks(lines: Sequence[ResultLine], name: str, column: TableColumn) -> dict[int, Mark | None]:
    """The marks of a number, by the identity of the line."""
    having = [line for line in lines if name in line.numbers]
    marks = marks_of([line.numbers[name].value for line in having], column.better or "higher")
    return {id(line): mark for line, mark in zip(having, marks, strict=True)}


def _names(lines: Sequence[ResultLine]) -> list[str]:
    """The name of each method, with its layer and its run where that tells it from others."""
    names = [line.method for line in lines]
    names = _told_apart(names, [f" {line.layer}" for line in lines])
    return _told_apart(names, [f" ({line.run.path})" for line in lines])


def _told_apart(names: Sequence[str], more: Sequence[str]) -> list[str]:
    """The names; those that are there several times with more text, where that differs."""
    texts: dict[str, set[str]] = {}
    for name, text in zip(names, more, strict=True):
        texts.setdefault(name, set()).add(text)
    return [
        name + text if len(texts[name]) > 1 else name
        for name, text in zip(names, more, strict=True)
    ]


def _notes(models: Sequence[list[ResultLine]], *, seed: int | None) -> tuple[str, ...]:
    """The sentences that belong to the table: what it is of, marks, intervals, findings."""
    notes = [line_of.sentence for line_of in dict.fromkeys(model[0].of for model in models)]
    notes.append(
        "Best in bold, second best underlined if another is worse, among the methods of a model; "
        "baselines and sanity checks are not compared."
    )
    if seed is not None:
        notes.append(f"{LEVEL:.0%} intervals over images (seed of the bootstrap: {seed}).")
    for model in models:
        for line in model:
            shard = shard_findings(line.run.identity, line.of.n_images)
            notes += [f"{line.run.path}: {finding.text}." for finding in shard]
    return tuple(dict.fromkeys(notes))
