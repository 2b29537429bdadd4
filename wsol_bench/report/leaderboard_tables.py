"""A leaderboard as tables, in every format."""

from collections.abc import Iterator, Sequence

import pandas as pd

from wsol_bench.report.formatted_tables import (
    Cell,
    FormattedTable,
    Group,
    TableColumn,
    TableLine,
    Value,
)
from wsol_bench.report.leaderboard import Leaderboard, Place, Ranking
from wsol_bench.report.numbers import title_of
from wsol_bench.report.result_lines import shown_of
from wsol_bench.report.written_tables import text_table
from wsol_bench.statistics.intervals import LEVEL

__all__ = ["for_a_screen", "tables_of"]

_KINDS = {"method": "", "baseline": " (baseline)", "sanity": " (sanity check)"}
_NOT_RANKED = "Not ranked: these are numbers of the papers' own networks, images and protocols."


def tables_of(board: Leaderboard, *, runs_in_comments: bool = False) -> list[FormattedTable]:
    """The tables of a leaderboard: each ranking, and below it the published numbers if any.

    Args:
        board: the leaderboard.
        runs_in_comments: whether the run of each line is named in a comment, and neither its folder
            nor its date in a column.
    """
    return [
        table
        for ranking in board.rankings
        for table in _tables_of_ranking(ranking, runs_in_comments=runs_in_comments)
    ]


def for_a_screen(table: FormattedTable) -> pd.DataFrame:
    """A table of a leaderboard as text, the columns in the order of their importance.

    The number that ranks stands beside the method, since a narrow screen leaves out what is on the
    right.
    """
    text = text_table(table)
    ranks = next(n for n, column in enumerate(table.columns) if column.better is not None)
    first = [n for n, column in enumerate(table.columns) if column.name in ("rank", "method")]
    return text.iloc[:, [*dict.fromkeys((*first, ranks, *range(len(table.columns))))]]


def _tables_of_ranking(ranking: Ranking, *, runs_in_comments: bool) -> Iterator[FormattedTable]:
    lines = [place.line for place in ranking.places]
    of = ranking.of
    title = f"{of.dataset}, {of.protocol}, {of.n_images:,} images"
    names = [ranking.main, *(name for name in shown_of(lines) if name != ranking.main)]
    columns = [
        next(line.numbers[name].column for line in lines if name in line.numbers) for name in names
    ]
    with_layer = any(line.layer for line in lines)
    yield FormattedTable(
        title,
        columns=(
            TableColumn("rank", "rank"),
            TableColumn("model", "model"),
            TableColumn("method", "method"),
            *([TableColumn("layer", "layer")] if with_layer else []),
            *columns,
            *([] if runs_in_comments else [TableColumn("run", "run"), TableColumn("date", "date")]),
        ),
        groups=(
            Group(
                "",
                tuple(
                    _line(place, names, with_layer=with_layer, runs_in_comments=runs_in_comments)
                    for place in ranking.places
                ),
            ),
        ),
        notes=(of.sentence, _rule(ranking)),
    )
    if ranking.published:
        yield _published_table(ranking, title)


def _rule(ranking: Ranking) -> str:
    column = ranking.main_number.column
    return (
        f"Ranked by {column.title} ({column.better} is better), with its {LEVEL:.0%} interval over "
        "images; numbers that read the same share a rank. Baselines and sanity checks are not "
        "ranked."
    )


def _line(
    place: Place, names: Sequence[str], *, with_layer: bool, runs_in_comments: bool
) -> TableLine:
    line = place.line
    cells: list[Cell] = [
        "" if place.rank is None else str(place.rank),
        line.model,
        f"{line.method}{_KINDS[line.kind]}",
        *([line.layer] if with_layer else []),
    ]
    numbers = (line.numbers.get(name) for name in names)
    cells += [None if number is None else number.value for number in numbers]
    if not runs_in_comments:
        date = (line.run.manifest.finished or "")[:10]  # the day of an ISO 8601 time
        cells += [str(line.run.path), date]
    return TableLine(
        tuple(cells),
        line.facts | {"ranked_by": names[0]},
        source=line.source if runs_in_comments else "",
        muted=line.kind != "method",
    )


def _published_table(ranking: Ranking, title: str) -> FormattedTable:
    """The published numbers, one line a model, method and source, by the names of this package."""
    known = {
        name: number.column
        for place in ranking.places
        for name, number in place.line.numbers.items()
    }
    names = dict.fromkeys(paper.number for paper in ranking.published)
    columns = [known.get(name, TableColumn(name, title_of(name), "higher")) for name in names]
    of = ranking.of
    facts = {"kind": "published", "dataset": of.dataset, "protocol": of.protocol}
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for paper in ranking.published:
        rows.setdefault((paper.model, paper.method, paper.cited), {})[paper.number] = paper.value
    lines = []
    for (model, method, cited), values in rows.items():
        numbers: list[Cell] = [
            Value(values[column.name], percent=column.percent) if column.name in values else None
            for column in columns
        ]
        lines.append(TableLine((model, method, *numbers, cited), facts, muted=False))
    return FormattedTable(
        f"Published numbers: {title}",
        columns=(
            TableColumn("model", "model"),
            TableColumn("method", "method"),
            *columns,
            TableColumn("source", "source"),
        ),
        groups=(Group("", tuple(lines)),),
        notes=(_NOT_RANKED,),
    )
