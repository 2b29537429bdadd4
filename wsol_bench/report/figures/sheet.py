"""A sheet of panels side by side, with titles, captions, a legend, a color bar and a note."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from wsol_bench.report.figures.panel import HALO, LOOKS, Panel, draw_panel, heat_bar
from wsol_bench.report.figures.style import INK, MUTED, WIDTH, dashed, drawing, fitted, plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_PIXELS", "Cell", "Words", "best_columns", "draw_sheet"]

# The longer side of a picture in pixels that is enough for the largest panel.
PICTURE_PIXELS = 600
_GAP, _STRIP_GAP, _MARGIN = 0.06, 0.2, 0.04
_SMALLEST, _LARGEST = 0.85, 2.2  # width of a panel; many panels make a wider sheet
_NARROWEST = 4.6
_TALLEST = 1.3  # height of a panel by its width, where all of a line are of one image
_TITLE, _TITLE_LINE = 7.0, 0.125
_CAPTION, _CAPTION_LINE = 6.0, 0.105
_NOTE, _NOTE_LINE = 6.0, 0.115
_LEGEND_LINE = 0.15
_BAR_WIDTH = 1.35
# The legend's names of the marks.
_NAMES = {
    "truth": "ground truth",
    "hit": "box: hit",
    "miss": "box: miss",
    "not judged": "box: not judged",
    "box": "box",
    "region": "region that gives the box",
    "other regions": "other regions above the threshold",
}
_BLANK = "#767676"
_HEAT_NOTE = (
    'In a panel with "heat ×n" colors are multiplied by n, since 99% of the pixels are below '
    "half of the map's maximum."
)


class Words(NamedTuple):
    """A line of text.

    Attributes:
        text: the text, which may be other people's.
        bold: whether it is bold.
        color: its color.
    """

    text: str
    bold: bool = False
    color: str = INK


@dataclass(frozen=True)
class Cell:
    """A panel of a sheet, or the heading of a row or a column in place of one.

    Attributes:
        panel: the panel; None for a heading.
        titles: the lines above it; the lines of a heading.
        captions: the lines below it; of a heading, lines from the upper left of its place on, which
            may be wider than it.
        at_foot: whether a heading stands at the foot of its place, right above a column; else it
            stands in the middle, beside a row.
    """

    panel: Panel | None
    titles: Sequence[Words] = ()
    captions: Sequence[Words] = ()
    at_foot: bool = False


class _Line(NamedTuple):
    """A line of a sheet: heights in inches."""

    cells: list[Cell]
    titles: float
    panels: float
    captions: float

    @property
    def height(self) -> float:
        return self.titles + self.panels + self.captions


def best_columns(n: int, width: int = 1) -> int:
    """The number of strips side by side that leaves the fewest places of a sheet empty.

    Args:
        n: the number of strips, at least 1.
        width: the number of panels of a strip.
    """
    most = max(1, min(n, 8 // width))
    least = min(most, 4 if width == 1 else 1)

    def cost(columns: int) -> float:
        rows = -(-n // columns)
        empty = (rows * columns - n) / (rows * columns)
        # Panels are a little wider than high; a sheet is best about as high as it is wide.
        return round(empty + 0.08 * abs(math.log(rows / (width * columns))), 6)

    return min(range(least, most + 1), key=lambda columns: (cost(columns), -columns))


def draw_sheet(
    strips: Sequence[Sequence[Cell]], *, notes: Sequence[str], columns: int | None = None
) -> "Figure":
    """Draw strips of panels; all have the same number of panels.

    Args:
        strips: the panels of each strip, at least one.
        notes: paragraphs below the panels.
        columns: the number of strips side by side; by default as many as leave the sheet full.
    """
    from wsol_bench.report.figures.notebook import NotebookFigure

    across = len(strips[0])
    columns = columns or best_columns(len(strips), across)
    strip_gap = _STRIP_GAP if across > 1 else 1.5 * _GAP
    gaps = columns * (across - 1) * _GAP + (columns - 1) * strip_gap
    wide = (WIDTH - 2 * _MARGIN - gaps) / (across * columns)
    wide = max(_SMALLEST, min(_LARGEST, wide))
    used = across * columns * wide + gaps
    width = max(_NARROWEST, used + 2 * _MARGIN)
    tallest = _TALLEST if columns == 1 else 1.0
    lines = [
        _line([cell for strip in strips[start : start + columns] for cell in strip], wide, tallest)
        for start in range(0, len(strips), columns)
    ]
    panels = _panels(strips)
    if any(panel.factor > 1 for panel in panels):
        notes = [*notes[:-1], " ".join([*notes[-1:], _HEAT_NOTE])]
    # About 22.5 characters of the note are an inch.
    noted = [line for note in notes for line in textwrap.wrap(note, int(22.5 * width))]
    marks = list(_marks(panels))
    heated = any(panel.values is not None for panel in panels)
    per_row = 3 if width < 6 or heated else 6
    n_rows = max(-(-len(marks) // per_row), 2 if heated else 0)
    below = 0.06 + n_rows * _LEGEND_LINE + 0.06 + len(noted) * _NOTE_LINE + _MARGIN
    height = sum(line.height for line in lines) + _GAP * (len(lines) - 1) + below + _MARGIN
    with drawing():
        figure = NotebookFigure(figsize=(width, height))
        top = height - _MARGIN
        left = (width - used) / 2
        places = [
            strip * (across * (wide + _GAP) - _GAP + strip_gap) + place * (wide + _GAP)
            for strip in range(columns)
            for place in range(across)
        ]
        for line in lines:
            for cell, x in zip(line.cells, places, strict=False):
                _draw_cell(figure, line, cell, (left + x, top), wide)
            top -= line.height + _GAP
        top -= 0.06 - _GAP
        _draw_legend(figure, marks, top, per_row, heated=heated)
        top -= n_rows * _LEGEND_LINE + 0.06
        for text in noted:
            _write(figure, text, (_MARGIN, top), _NOTE, color=MUTED)
            top -= _NOTE_LINE
    return figure


def _line(cells: Sequence[Cell], wide: float, tallest: float) -> _Line:
    sizes = [cell.panel.size for cell in cells if cell.panel is not None]
    heights = [min(tallest, high / broad) * wide for high, broad in sizes]
    headings = [
        (len(cell.titles) + len(cell.captions)) * _TITLE_LINE + (0.1 if cell.captions else 0)
        for cell in cells
        if cell.panel is None
    ]
    titles = max((len(cell.titles) for cell in cells if cell.panel is not None), default=0)
    captions = max((len(cell.captions) for cell in cells if cell.panel is not None), default=0)
    return _Line(
        list(cells),
        titles * _TITLE_LINE + (0.03 if titles else 0),
        max([*heights, *headings]),
        captions * _CAPTION_LINE + (0.03 if captions else 0),
    )


def _draw_cell(
    figure: "Figure", line: _Line, cell: Cell, corner: tuple[float, float], wide: float
) -> None:
    """Draw a cell of a line below and right of a corner, in inches from the lower left."""
    x, top = corner
    width, height = figure.get_size_inches()
    bottom = top - line.titles - line.panels
    foot = top - line.titles + 0.03
    if cell.panel is None:
        room = 0.0 if cell.at_foot else (line.panels - len(cell.titles) * _TITLE_LINE) / 2
        foot = bottom + room
    for place, words in enumerate(reversed(cell.titles)):
        y = foot + (place + 1) * _TITLE_LINE
        _write_words(figure, words, (x + wide / 2, y), wide, _TITLE)
    if cell.panel is None:
        for place, words in enumerate(cell.captions):
            weight = "bold" if words.bold else "normal"
            y = top - line.titles - place * _TITLE_LINE
            text = plain_text(words.text)
            _write(figure, text, (x, y), _TITLE, color=words.color, weight=weight)
        return
    tall, broad = cell.panel.size
    scale = min(wide / broad, line.panels / tall)
    w, h = broad * scale, tall * scale
    axes = figure.add_axes(((x + (wide - w) / 2) / width, bottom / height, w / width, h / height))
    draw_panel(axes, cell.panel, w)
    y = bottom - 0.025
    for words in cell.captions:
        _write_words(figure, words, (x + wide / 2, y), wide, _CAPTION)
        y -= _CAPTION_LINE


def _write_words(
    figure: "Figure", words: Words, place: tuple[float, float], wide: float, size: float
) -> None:
    room = wide / 1.12 if words.bold else wide  # bold letters are wider
    text, fitting = fitted(plain_text(words.text), room, size)
    weight = "bold" if words.bold else "normal"
    _write(figure, text, place, fitting, color=words.color, weight=weight, ha="center")


def _write(
    figure: "Figure", text: str, place: tuple[float, float], size: float, **style: Any
) -> None:
    """Write a line of text whose upper edge is at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(
        place[0] / width, place[1] / height, text,
        fontsize=size, va="top", parse_math=False, **style,
    )  # fmt: skip


def _panels(strips: Sequence[Sequence[Cell]]) -> list[Panel]:
    """The panels of a sheet."""
    return [cell.panel for strip in strips for cell in strip if cell.panel is not None]


def _marks(panels: Sequence[Panel]) -> Iterator[str]:
    """The marks that panels have, in the order of the legend."""
    regions = [panel.region for panel in panels if panel.region is not None]
    there = {panel.verdict for panel in panels if panel.box is not None} | {
        name
        for name, is_there in (
            ("truth", any(len(panel.truth) or panel.mask is not None for panel in panels)),
            ("region", any(region.component.any() for region in regions)),
            ("other regions", any((r.kept & ~r.component).any() for r in regions)),
        )
        if is_there
    }
    yield from (name for name in _NAMES if name in there)


def _draw_legend(
    figure: "Figure", marks: Sequence[str], top: float, per_row: int, *, heated: bool
) -> None:
    """Draw what the marks and the colors mean, below a height in inches."""
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    room = width - 2 * _MARGIN - (_BAR_WIDTH + 0.35 if heated else 0)
    column = room / per_row
    axes = figure.add_axes((0, 0, 1, 1), zorder=-1)
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    for number, name in enumerate(marks):
        x = _MARGIN + 0.02 + number % per_row * column
        y = top - number // per_row * _LEGEND_LINE - 0.1
        axes.add_patch(Rectangle((x - 0.02, y - 0.025), 0.24, 0.13, facecolor=_BLANK))
        look = LOOKS[name]
        for line, color, dash in ((look.width + 1, HALO, ()), (look.width, look.color, look.dash)):
            axes.add_patch(
                Rectangle(
                    (x + 0.02, y + 0.005), 0.16, 0.07, fill=False, edgecolor=color,
                    linewidth=line, linestyle=dashed(dash), joinstyle="miter",
                )
            )  # fmt: skip
        text, size = fitted(_NAMES[name], column - 0.32, _NOTE)
        _write(figure, text, (x + 0.27, y + 0.087), size)
    if heated:
        x = width - _MARGIN - _BAR_WIDTH - 0.06
        bar = figure.add_axes((x / width, (top - 0.1) / height, _BAR_WIDTH / width, 0.08 / height))
        bar.imshow(heat_bar(256), extent=(0, 1, 0, 1), aspect="auto")
        bar.set_yticks([])
        bar.set_xticks([0, 0.5, 1], ["0", "map / its maximum", "1"], fontsize=5.5)
        bar.tick_params(length=1.5, pad=1.5)
