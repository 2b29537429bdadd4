"""Bars of numbers with their 95% intervals, a panel for each number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wsol_bench.report.figures.caption import facts_of
from wsol_bench.report.figures.style import (
    INK,
    MUTED,
    NOTE_LINE,
    WIDTH,
    LineStyle,
    draw_note,
    drawing,
    fitted,
    note_lines,
    plain_text,
    styles_of,
)
from wsol_bench.report.numbers import number_info
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.overview import numbers_of_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars_figure"]

_ROW, _HEAD, _FOOT = 0.145, 0.3, 0.28
_NAMES_WIDTH, _GAP, _MARGIN = 1.35, 0.22, 0.05
_MOST_ACROSS = 5
_MOST_TICKS = 6
_BOLD = 1.12  # how much wider bold letters are
# All methods of a model have the same classification errors.
_OF_THE_MODEL = "_cls_error"


def bars_figure(collection: Collection) -> "Figure | None":
    """Draw the numbers that the page shows at once, with their intervals; None if there are none.

    The rows are the methods of the models that have a number.
    """
    from matplotlib.figure import Figure

    bands = _bands(collection)
    if not bands:
        return None
    shown = {model for band in bands for model in band.models}
    marks = "Whiskers: 95% intervals over images. Hatched: baselines and sanity checks."
    notes = note_lines([" ".join(facts_of(collection, shown)), marks], WIDTH)
    height = sum(band.height for band in bands) + len(notes) * NOTE_LINE + 2 * _MARGIN
    styles = styles_of(collection)
    with drawing():
        figure = Figure(figsize=(WIDTH, height))
        top = height
        for band in bands:
            wide = (WIDTH - _NAMES_WIDTH - band.across * _GAP) / band.across
            for number, info in enumerate(band.infos):
                left = _NAMES_WIDTH + number * (wide + _GAP)
                bottom = top - band.height + _FOOT
                size = (wide / WIDTH, len(band.rows) * _ROW / height)
                axes = figure.add_axes((left / WIDTH, bottom / height, *size))
                _draw(axes, collection, info, band.rows, styles)
                # Percentages of a band share a scale.
                alike = [one for one in band.infos if one["percent"]] if info["percent"] else [info]
                _set_scale(axes, _ends(collection, alike, band.rows))
                text, points = fitted(plain_text(info["title"]), wide / _BOLD, 7.5)
                axes.set_title(text, fontsize=points, fontweight="bold", pad=4)
                if not number:
                    _label(axes, band.rows)
            top -= band.height
        draw_note(figure, notes, _MARGIN)
    return figure


# The position of a line, or None for a row with the name of a model; and the text of the row.
_Row = tuple[int | None, str]


class _Band(NamedTuple):
    """Panels side by side that share their rows.

    Attributes:
        models: the positions of the models that have the numbers.
        infos: the numbers, as ``NumberInfo``.
        rows: the rows.
        across: the number of panels for which there is room.
    """

    models: tuple[int, ...]
    infos: list[dict[str, Any]]
    rows: list[_Row]
    across: int

    @property
    def height(self) -> float:
        """The height in inches."""
        return _HEAD + len(self.rows) * _ROW + _FOOT


def _bands(collection: Collection) -> list[_Band]:
    """The numbers, band by band; those of a band are numbers of the same models."""
    infos: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for name, number in numbers_of_lines(collection):
        info = number_info(name, number, collection.runs)
        if info["shown"] and not name.endswith(_OF_THE_MODEL):
            having = {line.model for line in collection.lines if name in line.intervals}
            infos.setdefault(tuple(sorted(having)), []).append(info)
    bands = []
    for models, of_models in infos.items():
        rows = _rows(collection, models)
        n = len(of_models)
        # As few bands as there is room for, and all of about the same length.
        across = -(-n // -(-n // _MOST_ACROSS))
        starts = range(0, n, across)
        bands += [
            _Band(models, of_models[start : start + across], rows, across) for start in starts
        ]
    return bands


def _rows(collection: Collection, models: Sequence[int]) -> list[_Row]:
    rows: list[_Row] = []
    for number in models:
        model, lines = collection.models[number], collection.lines_of(number)
        if len(collection.models) > 1:
            run = f"{collection.runs[model.run].path.name}: " if len(collection.runs) > 1 else ""
            rows.append((None, plain_text(f"{run}{model.name}")))
        several = len({collection.lines[line].method for line in lines}) < len(lines)
        for line in lines:
            shown = collection.lines[line]
            layer = f" {shown.layer}" if several else ""
            rows.append((line, plain_text(f"{shown.method}{layer}")))
    return rows


def _draw(
    axes: "Axes",
    collection: Collection,
    info: dict[str, Any],
    rows: list[_Row],
    styles: dict[str, LineStyle],
) -> None:
    """Draw the bars of a number."""
    scale = 100 if info["percent"] else 1
    for place, (number, _) in enumerate(rows):
        line = None if number is None else collection.lines[number]
        interval = None if line is None else line.intervals.get(info["name"])
        if line is None or interval is None or np.isnan(interval.value):
            if line is not None:
                axes.text(0, place, " none", va="center", fontsize=5.5, color=MUTED)
            continue
        color = styles[line.method].color
        plain: dict[str, Any] = (
            {} if line.kind == "method" else {"hatch": "//////", "facecolor": "white"}
        )
        axes.barh(
            place, scale * interval.value, height=0.62, color=color, edgecolor=color,
            linewidth=0.5, alpha=0.75, **plain,
        )  # fmt: skip
        low, high = (
            np.nan_to_num(one, nan=interval.value) for one in (interval.low, interval.high)
        )
        axes.plot([scale * low, scale * high], [place, place], color=INK, linewidth=0.9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_linewidth(0.6)
    axes.tick_params(axis="x", labelsize=6)
    arrow = "higher" if info["better"] == "higher" else "lower"
    unit = "%, " if info["percent"] else ""
    axes.set_xlabel(f"{unit}{arrow} is better", fontsize=6, color=MUTED, labelpad=1.5)


def _ends(
    collection: Collection, infos: Sequence[dict[str, Any]], rows: Sequence[_Row]
) -> list[float]:
    """The values of numbers and the ends of their intervals, as they are drawn."""
    lines = [collection.lines[line] for line, _ in rows if line is not None]
    ends = [
        (100 if info["percent"] else 1) * end
        for info in infos
        for line in lines
        if (found := line.intervals.get(info["name"])) is not None
        for end in (found.value, found.low, found.high)
    ]
    return [end for end in ends if np.isfinite(end)]


def _set_scale(axes: "Axes", ends: Sequence[float]) -> None:
    """Let a scale begin at 0 and end with a tick, so that its ticks cover all values."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(_MOST_TICKS - 1, steps=[1, 2, 2.5, 5, 10])
    ticks = locator.tick_values(min(0.0, *ends, 0.0), round(max(0.0, *ends, 0.0), 6) or 1.0)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(ticks[0], ticks[-1])


def _label(axes: "Axes", rows: list[_Row]) -> None:
    """Write the names of the rows left of the axes."""
    for place, (number, text) in enumerate(rows):
        room = (_NAMES_WIDTH - 0.12) / (_BOLD if number is None else 1)
        words, size = fitted(text, room, 7.0)
        axes.annotate(
            words, (0, place), (-4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=size,
            fontweight="bold" if number is None else "normal", parse_math=False,
        )  # fmt: skip
