"""A paper's table beside the numbers measured here, with known causes of their differences."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from wsol_bench.common.progress import progress
from wsol_bench.papers.published import Published, PublishedNumber, Status
from wsol_bench.report.compared_lines import lines_of
from wsol_bench.report.formatted_tables import (
    Cell,
    FormattedTable,
    Group,
    TableColumn,
    TableLine,
)
from wsol_bench.report.numbers import title_of
from wsol_bench.report.result_lines import ResultLine, read_lines, shown_of
from wsol_bench.report.tables import number_text, points
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.reproduction import Reproduction
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.statistics.intervals import LEVEL

__all__ = ["causes_of", "not_run", "published_table", "reproduction_table", "rows_with_needs"]

_INTERVAL = f"{LEVEL:.0%} interval"
_CLASSIFICATION = ("top1_cls_error", "top5_cls_error")
# The marks behind published numbers that were not read in the paper, and what they mean.
_STATUS_MARKS: Mapping[Status, str] = {"read": "", "quoted": "q", "memory": "m"}
_STATUSES: Mapping[Status, str] = {
    "read": "",
    "quoted": "the number is quoted by another text",
    "memory": "the number is written down from memory, and not checked",
}


def published_table(published: Published) -> FormattedTable:
    """The table as the paper prints it; rows of another source say so."""
    lines: dict[str, list[TableLine]] = {}
    sources = list(dict.fromkeys(number.cited for number in published.numbers))
    for number in published.numbers:
        cells = (
            number.method,
            title_of(number.number),
            _percent(number),
            _mark(number.cited, sources),
        )
        lines.setdefault(number.model, []).append(TableLine(cells))
    titles = ("method", "number", "paper", "source")[: 4 if len(sources) > 1 else 3]
    return FormattedTable(
        published.title,
        tuple(TableColumn(title, title) for title in titles),
        tuple(
            Group(_shown(model), tuple(_kept(line, range(len(titles))) for line in of_model))
            for model, of_model in lines.items()
        ),
        notes=(
            "Numbers in percent. "
            + " ".join(f"Source {_mark(source, sources)}: {source}." for source in sources)
            if len(sources) > 1
            else f"Numbers in percent. Source: {sources[0]}.",
        ),
        group_column="network",
    )


def reproduction_table(reproduction: Reproduction, *, seed: int = 0) -> FormattedTable:
    """The numbers of the runs, each beside the paper's if there is one.

    Of a network that the paper's table has not, the numbers that screens always show.

    Args:
        reproduction: the runs of a table.
        seed: the seed of the bootstrap of intervals.

    Raises:
        RunError: a file of a run is missing or damaged.
    """
    published = reproduction.experiment.published
    papers = [] if published is None else list(published.numbers)
    lines = _read(reproduction.runs, papers, seed)
    groups: dict[str, list[TableLine]] = {}
    at_layers = dict[tuple[str, str], list[ResultLine]]()
    for line in lines:
        at_layers.setdefault((line.model, line.method), []).append(line)
    for paper in papers:  # in the paper's order
        found = at_layers.get((paper.model, paper.method), [])
        for line in found:
            shown = _line(line, paper.number, paper, with_layer=len(found) > 1)
            groups.setdefault(paper.model, []).append(shown)
    of_papers = {paper.model for paper in papers}
    for line in lines:
        if line.model not in of_papers:
            several = len(at_layers[line.model, line.method]) > 1
            groups.setdefault(line.model, []).extend(_without_a_paper(line, with_layer=several))
    columns = (
        TableColumn("method", "method"),
        TableColumn("number", "number"),
        TableColumn("paper", "paper"),
        TableColumn("here", f"here [{_INTERVAL}]"),
        TableColumn("difference", "diff."),
        TableColumn("paper in interval", "paper in interval"),
    )
    kept = range(6) if papers else (0, 1, 3)
    return FormattedTable(
        title="" if published is None else published.title,
        columns=tuple(columns[n] for n in kept),
        groups=tuple(
            Group(_shown(model), tuple(_kept(line, kept) for line in of_model))
            for model, of_model in groups.items()
        ),
        notes=tuple(_notes(lines, papers, seed)),
        group_column="network",
    )


def _read(
    runs: Sequence[StoredRun], papers: Sequence[PublishedNumber], seed: int
) -> list[ResultLine]:
    """The lines of all runs, with intervals of the numbers that are shown."""
    lines: list[ResultLine] = []
    of_papers, published = {paper.model for paper in papers}, {paper.number for paper in papers}
    with progress("reading", sum(run.identity.n_methods for run in runs), "methods") as advance:
        for run in runs:
            wanted = published if of_papers.issuperset(run.identity.models) else None
            lines += _read_run(run, wanted, seed, advance)
    return lines


def _read_run(
    run: StoredRun, wanted: Collection[str] | None, seed: int, advance: Callable[[int], None]
) -> Iterator[ResultLine]:
    """The lines of a run, with intervals of the wanted numbers; of all if wanted is None."""

    def with_interval(names: Collection[str]) -> Collection[str]:
        return names if wanted is None else wanted

    return read_lines(run, intervals=with_interval, seed=seed, advance=advance)


def _line(
    line: ResultLine, name: str, paper: PublishedNumber | None, *, with_layer: bool = False
) -> TableLine:
    """A number of a method, beside the paper's; with its layer where others have other layers."""
    here = line.numbers[name].value if name in line.numbers else None
    method = f"{line.method}, {line.layer}" if with_layer else line.method
    cells: list[Cell] = [method, title_of(name), "-", here or "none", "-", "-"]
    facts = dict(line.facts)
    if paper is not None:
        cells[2] = f"{_percent(paper)} {_STATUS_MARKS[paper.status]}".rstrip()
        facts |= {"source": paper.source, "status": paper.status, "published": _percent(paper)}
    if paper is not None and here is not None:
        inside = here.low <= paper.value <= here.high
        cells[4:] = points(here.value - paper.value), "yes" if inside else "no"
    return TableLine(tuple(cells), facts, line.source)


def _without_a_paper(line: ResultLine, *, with_layer: bool) -> Iterator[TableLine]:
    """The numbers of a method that screens always show; a line also for one that gave none."""
    shown = [name for name in (*_CLASSIFICATION, *shown_of([line])) if name in line.numbers]
    for name in shown:
        yield _line(line, name, None, with_layer=with_layer)
    if not shown:
        cells = (line.method, "-", "-", "not applicable", "-", "-")
        yield TableLine(cells, line.facts, line.source)


def _kept(line: TableLine, places: Collection[int]) -> TableLine:
    return TableLine(tuple(line.cells[n] for n in places), line.facts, line.source)


def _percent(number: PublishedNumber) -> str:
    return number_text(number.value, is_share=True)


def _mark(source: str, sources: Sequence[str]) -> str:
    """The letter of a source: a, b, c, ..."""
    return chr(ord("a") + sources.index(source))


def _shown(model: str) -> str:
    return "no model" if model == NO_MODEL else model


def _notes(
    lines: Sequence[ResultLine], papers: Sequence[PublishedNumber], seed: int
) -> Iterator[str]:
    """The sentences below the table: units, how sure the paper's numbers are, what ours are of."""
    yield f"Numbers in percent. {_INTERVAL}s over images (seed of the bootstrap: {seed})."
    if papers:
        yield "Differences are ours minus the paper's, in percentage points."
    meanings = {paper.status: _STATUSES[paper.status] for paper in papers}
    for status, meaning in meanings.items():
        if meaning:
            yield f"{_STATUS_MARKS[status]}: {meaning}."
    yield from dict.fromkeys(line.of.sentence for line in lines)


# ---- what is missing, and why numbers differ


def not_run(reproduction: Reproduction) -> list[str]:
    """A line for each network and row that was not run: what it lacks, and where to get it."""
    published = reproduction.experiment.published
    missing = {one.model for one in reproduction.missing}
    given = {(line[0], line[1]) for run in reproduction.runs for line in lines_of(run.identity)}
    texts = [
        f"{_shown(one.model)}: {_without_name(one.model, one.reason)}"
        for one in reproduction.missing
    ]
    if texts:
        texts.append("What is missing can be added later: give the same command again.")
    texts += [] if published is None else rows_with_needs(published)
    for row in () if published is None else published.rows:
        if not row.needs and row.model not in missing and (row.model, row.method) not in given:
            texts.append(
                f"{row.model}, {row.method}: the experiment has no such network and method."
            )
    return texts


def rows_with_needs(published: Published) -> list[str]:
    """A line for each thing that some rows need, with these rows."""
    rows: dict[str, list[str]] = {}
    for row in published.rows:
        if row.needs:
            rows.setdefault(row.needs.rstrip("."), []).append(f"{row.model} {row.method}")
    return [f"{', '.join(names)}: needs {what}." for what, names in rows.items()]


def _without_name(model: str, reason: str) -> str:
    return reason.removeprefix(f"{model}: ")


def causes_of(reproduction: Reproduction) -> list[str]:
    """A line for each known reason why numbers differ: its name, the fact, and what is so here."""
    published = reproduction.experiment.published
    if published is None:
        return []
    return [
        *(f"images: {text}" for text in _other_images(reproduction.runs, published)),
        *(
            f"{cause.name}: {' '.join([cause.says, *_here(cause.name, reproduction.runs)])}"
            for cause in published.causes
        ),
        *_not_stated(published),
    ]


def _not_stated(published: Published) -> Iterator[str]:
    if published.leaves_open:
        yield f"not stated by the paper: {' '.join(published.leaves_open)}"


def _other_images(runs: Sequence[StoredRun], published: Published) -> Iterator[str]:
    found = {run.identity.dataset.n_images for run in runs} - {published.n_images}
    if found and published.n_images is not None:
        numbers = " or ".join(f"{n:,}" for n in sorted(found))
        yield f"The paper evaluated {published.n_images:,} images; here are {numbers}."


def _here(cause: str, runs: Sequence[StoredRun]) -> Iterator[str]:
    """Sentences that say what the runs have, if the cause is one that they record."""
    if cause == "weights":
        used = [
            f"{name} {(run.identity.config['models'] or [{}])[0].get('weights', '')} "
            f"(digest {facts.weights})"
            for run in runs
            for name, facts in run.identity.models.items()
            if facts.weights
        ]
        if used:
            yield f"Here: {'; '.join(used)}."
    elif cause == "blacklist":
        counts = {int(run.read("images", ["blacklisted"])["blacklisted"].sum()) for run in runs}
        for count in sorted(counts):
            yield (
                f"Here: blacklisted images that are left out: {count:,}."
                if count
                else "Here: the data holds no blacklist, and no image is left out."
            )
    elif cause == "thresholds":
        selections = {run.identity.protocol.selection for run in runs}
        for selection in selections:
            yield (
                "Here: no image is held out, so it is an oracle, too (box.threshold.select_on)."
                if selection is None
                else "Here: beside it stands the number at a threshold that is chosen on "
                f"{selection.select_on}."
            )
