"""Curves of accuracy: over the threshold, and over the IoU from which a box is a hit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wsol_bench.report.figures.style import (
    MUTED,
    WIDTH,
    LineStyle,
    dashed,
    drawing,
    fitted,
    plain_text,
    styles_of,
)
from wsol_bench.report.page.charts import iou_curves, threshold_curves
from wsol_bench.report.page.collection import Collection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves_figure"]

_MOST_ACROSS = 3
_HEIGHT, _HEAD, _FOOT, _LEFT, _GAP, _MARGIN = 1.75, 0.3, 0.36, 0.42, 0.2, 0.05
_COLUMN = 3.45  # width of one of two columns of a paper
_LEGEND_LINE = 0.15
_LEGEND_WIDTH = 1.65  # inches for an entry
# Curves lie upon each other where methods are equal: the first is the widest.
_WIDEST, _THINNEST = 2.2, 0.9
_MARKS = 9


def curves_figure(collection: Collection) -> "Figure | None":
    """Draw the curves that the runs have; None if they have none.

    Runs under a sweep have curves over the threshold, runs under one threshold have curves over the
    IoU. A panel holds the methods of a model.
    """
    from matplotlib.figure import Figure

    panels = _panels(collection)
    if not panels:
        return None
    across = min(len(panels), _MOST_ACROSS)
    down = -(-len(panels) // across)
    styles = styles_of(collection)
    there = {collection.lines[curve["line"]].method for _, curves in panels for curve in curves}
    names = [name for name in styles if name in there]
    width = WIDTH if across > 1 else _COLUMN
    per_row = max(1, int((width - 2 * _MARGIN) / _LEGEND_WIDTH))
    marked = any("thresholds" in curve for _, curves in panels for curve in curves)
    legend = -(-len(names) // per_row) * _LEGEND_LINE + (0.3 if marked else 0.1)
    height = down * (_HEAD + _HEIGHT + _FOOT) + legend
    wide = (width - _LEFT - across * _GAP) / across
    with drawing():
        figure = Figure(figsize=(width, height))
        for number, (title, curves) in enumerate(panels):
            left = _LEFT + number % across * (wide + _GAP)
            bottom = height - (number // across) * (_HEAD + _HEIGHT + _FOOT) - _HEAD - _HEIGHT
            place = (left / width, bottom / height, wide / width, _HEIGHT / height)
            axes = figure.add_axes(place)
            _draw(axes, collection, curves, styles)
            text, size = fitted(plain_text(title), wide / 1.12, 7.0)
            axes.set_title(text, fontsize=size, fontweight="bold", pad=4)
            if number % across:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("images hit, %", fontsize=6.5, labelpad=2)
        _draw_legend(figure, names, styles, legend, per_row)
        note = "A mark on a curve: the best threshold of the method." if marked else ""
        if any(curve.get("selected") is not None for _, curves in panels for curve in curves):
            note += " Hollow: the threshold that is selected on other images."
        figure.text(_MARGIN / width, 0.07 / height, note, fontsize=6, color=MUTED)
    return figure


def _panels(collection: Collection) -> list[tuple[str, list[dict[str, Any]]]]:
    """The curves of each panel, with its title: those of one number of a model."""
    panels: dict[tuple[int, str], list[dict[str, Any]]] = {}
    of_thresholds = threshold_curves(collection)
    if any(curve["number"] == "max_box_acc" for curve in of_thresholds):  # which is the same
        of_thresholds = [c for c in of_thresholds if c["number"] != "max_box_acc_iou50"]
    for curve in (*of_thresholds, *iou_curves(collection)):
        number = curve.get("title", "hits over IoU")
        panels.setdefault((collection.lines[curve["line"]].model, number), []).append(curve)
    several = len(collection.models) > 1
    titled = []
    for (model, number), curves in panels.items():
        named = collection.models[model]
        run = f"{collection.runs[named.run].path.name}, " if len(collection.runs) > 1 else ""
        titled.append((f"{run}{named.name}: {number}" if several else number, curves))
    return titled


def _draw(
    axes: "Axes",
    collection: Collection,
    curves: Sequence[dict[str, Any]],
    styles: dict[str, LineStyle],
) -> None:
    """Draw the curves of a panel."""
    over_ious = "ious" in curves[0]
    n = len(curves)
    for number, curve in enumerate(curves):
        style = styles[collection.lines[curve["line"]].method]
        places = np.array(curve["ious" if over_ious else "thresholds"])
        shares = 100 * np.array(curve["shares"])
        every = max(1, len(places) // _MARKS)
        axes.plot(
            places, shares, color=style.color, linestyle=dashed(style.dash),
            linewidth=_WIDEST - (_WIDEST - _THINNEST) * number / max(1, n - 1),
            marker=style.shape if over_ious else None, markersize=2.8,
            markevery=(number * every // n, every),
        )  # fmt: skip
        for name, filled in (("best", True), ("selected", False)):
            if curve.get(name) is None:
                continue
            nearest = int(np.abs(places - curve[name]).argmin())
            axes.plot(
                places[nearest], shares[nearest], style.shape, markersize=3.5, clip_on=False,
                color=style.color, markerfacecolor=style.color if filled else "white",
                markeredgewidth=0.8,
            )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 100))
    axes.set_xlabel("least IoU of a hit" if over_ious else "threshold", fontsize=6.5, labelpad=1.5)
    axes.tick_params(labelsize=6)
    axes.grid(color="#e2e3e0", linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_legend(
    figure: "Figure",
    names: Sequence[str],
    styles: dict[str, LineStyle],
    top: float,
    per_row: int,
) -> None:
    """Draw the names of the methods with their lines, below a height in inches."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    for number, name in enumerate(names):
        style = styles[name]
        x = _MARGIN + number % per_row * _LEGEND_WIDTH
        y = top - number // per_row * _LEGEND_LINE - 0.08
        figure.add_artist(
            Line2D(
                [(x + part) / width for part in (0, 0.14, 0.28)], [y / height] * 3,
                color=style.color, linestyle=dashed(style.dash), linewidth=1.1, marker=style.shape,
                markersize=2.8, markevery=[1],
            )
        )  # fmt: skip
        text, size = fitted(plain_text(name), _LEGEND_WIDTH - 0.42, 6.5)
        place = ((x + 0.34) / width, y / height)
        figure.text(*place, text, fontsize=size, va="center", parse_math=False)
