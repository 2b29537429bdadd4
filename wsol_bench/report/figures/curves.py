"""Curves of accuracy: over the threshold, and over the IoU from which a box is a hit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wsol_bench.report.figures.caption import facts_of
from wsol_bench.report.figures.style import (
    COLUMN,
    MUTED,
    NOTE_LINE,
    WIDTH,
    LineStyle,
    dashed,
    draw_note,
    drawing,
    fitted,
    note_lines,
    plain_text,
    styles_of,
)
from wsol_bench.report.page.charts import iou_curves, threshold_curves
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.sample_curves import SAMPLED, curves_of_sample
from wsol_bench.runs.kept_maps import no_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CurvesFigure", "curves_figure"]

_ACROSS = (3, 2)
_HEIGHT, _HEAD, _FOOT, _LEFT, _GAP, _MARGIN = 1.75, 0.22, 0.36, 0.42, 0.2, 0.05
_MODEL_HEAD = 0.12  # more, where the name of a model stands above the title
_LEGEND_LINE = 0.15
_LEGEND_WIDTH = 1.65  # inches for an entry
# Curves lie upon each other where methods are equal: the first is the widest.
_WIDEST, _THINNEST = 2.2, 0.9
_MARKS = 9
# Images whose maps are cut at every threshold, for runs under one: a second or two for ten methods.
_SWEPT_IMAGES = 200


class CurvesFigure(NamedTuple):
    """Curves.

    Attributes:
        figure: the figure; None if the runs have no curves.
        remark: which curves there are not, and why; "" for nothing.
    """

    figure: "Figure | None"
    remark: str


def curves_figure(collection: Collection, seed: int = 0) -> CurvesFigure:
    """Draw the curves that the runs have.

    Runs under a sweep have curves over the threshold. Runs under one threshold have curves over the
    IoU, and those over the threshold of some images, whose maps are cut at all thresholds. A panel
    holds the methods of a model.

    Args:
        collection: the runs.
        seed: seed of the draw of these images.

    Raises:
        RunError: a file of a run is missing or damaged.
    """
    over_ious = iou_curves(collection)
    swept = curves_of_sample(collection, Details(collection), _SWEPT_IMAGES, seed)
    panels = _panels(collection, [*threshold_curves(collection), *swept, *over_ious])
    if not panels:
        return CurvesFigure(None, "No curves: these protocols count no hits of boxes.")
    marks = "A mark on a curve over thresholds: the best threshold of the method."
    notes = [" ".join(facts_of(collection, {panel.model for panel in panels}))]
    curves = [curve for panel in panels for curve in panel.curves]
    if any(curve.get("selected") is not None for curve in curves):
        marks += " Hollow: the threshold that is selected on other images."
    if over_ious:
        marks += " Marks on curves over IoU only tell the methods apart."
    if swept:
        which = " or ".join(dict.fromkeys(str(curve["of"]) for curve in swept))
        drawn = f" (seed {seed})" if "random" in which else ""
        marks += f" Box accuracy: of {which}{drawn}. Dotted line: the protocol's threshold."
    if any("thresholds" in curve for curve in curves):
        notes.append(marks)
    remark = ""
    if over_ious and not swept:
        reasons = dict.fromkeys(no_maps(run.identity) for run in collection.runs)
        remark = " ".join(filter(None, reasons)) or "The methods give boxes, and no maps to cut."
        remark = f"No curve over thresholds. {remark}"
    return CurvesFigure(_drawn(collection, panels, notes), remark)


class _Panel(NamedTuple):
    """Curves of one number of a model.

    Attributes:
        model: the position of the model.
        name: its name; "" if there is no other one.
        title: the title of the number.
        curves: the curves.
    """

    model: int
    name: str
    title: str
    curves: list[dict[str, Any]]


def _drawn(collection: Collection, panels: Sequence[_Panel], notes: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    # The models of a number stand side by side, in lines of equal length if that is possible.
    n = len({panel.model for panel in panels if panel.name}) or len(panels)
    across = min(n, next((k for k in _ACROSS if n % k == 0), _ACROSS[0]))
    down = -(-len(panels) // across)
    head = _HEAD + (_MODEL_HEAD if panels[0].name else 0)
    row = head + _HEIGHT + _FOOT
    styles = styles_of(collection)
    there = {collection.lines[curve["line"]].method for panel in panels for curve in panel.curves}
    names = [name for name in styles if name in there]
    width = WIDTH if across > 1 else COLUMN
    per_row = max(1, int((width - 2 * _MARGIN) / _LEGEND_WIDTH))
    noted = note_lines(notes, width)
    legend = -(-len(names) // per_row) * _LEGEND_LINE
    below = legend + 0.06 + len(noted) * NOTE_LINE + _MARGIN
    height = down * row + below
    wide = (width - _LEFT - across * _GAP) / across
    with drawing():
        figure = Figure(figsize=(width, height))
        for number, panel in enumerate(panels):
            left = _LEFT + number % across * (wide + _GAP)
            bottom = height - (number // across) * row - head - _HEIGHT
            place = (left / width, bottom / height, wide / width, _HEIGHT / height)
            axes = figure.add_axes(place)
            _draw(axes, collection, panel.curves, styles)
            text, size = fitted(panel.title, wide / 1.12, 7.0)
            axes.set_title(text, fontsize=size, fontweight="bold", pad=4)
            name, size = fitted(plain_text(panel.name), wide, 7.0)
            above = ((left + wide / 2) / width, (bottom + _HEIGHT + _HEAD - 0.03) / height)
            figure.text(*above, name, fontsize=size, color=MUTED, ha="center", parse_math=False)
            if number % across:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("images hit, %", fontsize=6.5, labelpad=2)
        _draw_legend(figure, names, styles, below, per_row)
        draw_note(figure, noted, _MARGIN)
    return figure


def _panels(collection: Collection, curves: Sequence[dict[str, Any]]) -> list[_Panel]:
    """The curves of each panel: those of one number of a model."""
    if any(curve.get("number") == "max_box_acc" for curve in curves):  # which is the same
        curves = [c for c in curves if c.get("number") != "max_box_acc_iou50"]
    panels: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for curve in curves:
        of_number = panels.setdefault(curve.get("title", "hits over IoU"), {})
        of_number.setdefault(collection.lines[curve["line"]].model, []).append(curve)
    names = [""]
    if len(collection.models) > 1:
        several = len(collection.runs) > 1
        runs = [f"{run.path.name}, " if several else "" for run in collection.runs]
        names = [f"{runs[model.run]}{model.name}" for model in collection.models]
    return [
        _Panel(model, names[model], title, of_model)
        for title, models in panels.items()
        for model, of_model in models.items()
    ]


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
    threshold = collection.lines[curves[0]["line"]].threshold
    if curves[0].get("number") == SAMPLED and threshold is not None:
        axes.axvline(threshold, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
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
