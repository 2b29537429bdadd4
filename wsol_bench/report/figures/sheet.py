"""A sheet of panels side by side, with titles, captions, a legend, a color bar and a note."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from wsol_bench.report.figures.layout import best_columns
from wsol_bench.report.figures.panel import HALO, LOOKS, Panel, draw_panel, heat_bar
from wsol_bench.report.figures.style import (
    COLUMN,
    INK,
    NOTE,
    NOTE_LINE,
    WIDTH,
    dashed,
    draw_note,
    drawing,
    fitted,
    note_lines,
    plain_text,
    width_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_PIXELS", "Cell", "Words", "draw_sheet"]

# The longer side of a picture in pixels that is enough for the largest panel.
PICTURE_PIXELS = 700
_GAP, _STRIP_GAP, _MARGIN = 0.06, 0.2, 0.04
_SMALLEST = 0.82  # width of a panel; many panels make a wider sheet
_MOST_OF_A_COLUMN = 2  # panels across of a sheet for one of two columns of a paper
_TALLEST = 1.3  # height of a panel by its width, where all of a line are of one image
_TITLE, _TITLE_LINE = 7.0, 0.125
_CAPTION, _CAPTION_LINE = 6.0, 0.105
# Text that is too wide becomes smaller down to this share of its size, or else two lines.
_SHRUNK = 0.9
_PIECES = re.compile(r"[^ _/.-]*[ _/.-]?")
_LEGEND_LINE, _SAMPLE_WIDTH, _LEGEND_GAP = 0.15, 0.27, 0.22
_BAR_WIDTH = 1.35
_BOLD = 1.12  # how much wider bold letters are
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


@drawing()
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
    page = COLUMN if across * columns <= _MOST_OF_A_COLUMN else WIDTH
    wide = max(_SMALLEST, (page - 2 * _MARGIN - gaps) / (across * columns))
    used = across * columns * wide + gaps
    width = max(page, used + 2 * _MARGIN)
    tallest = _TALLEST if columns == 1 else 1.0
    lines = [
        _line([cell for strip in strips[start : start + columns] for cell in strip], wide, tallest)
        for start in range(0, len(strips), columns)
    ]
    noted = note_lines(notes, width)
    panels = [cell.panel for strip in strips for cell in strip if cell.panel is not None]
    heated = any(panel.values is not None for panel in panels)
    legend = _Legend.of(list(_marks(panels)), width, heated=heated)
    below = 0.06 + legend.n_lines * _LEGEND_LINE + 0.06 + len(noted) * NOTE_LINE + _MARGIN
    height = sum(line.height for line in lines) + _GAP * (len(lines) - 1) + below + _MARGIN
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
    _draw_legend(figure, legend, top)
    draw_note(figure, noted, _MARGIN)
    return figure


def _line(cells: Sequence[Cell], wide: float, tallest: float) -> _Line:
    cells = [
        replace(
            cell,
            titles=[part for words in cell.titles for part in _broken(words, wide, _TITLE)],
            captions=cell.captions
            if cell.panel is None
            else [part for words in cell.captions for part in _broken(words, wide, _CAPTION)],
        )
        for cell in cells
    ]
    sizes = [cell.panel.size for cell in cells if cell.panel is not None]
    heights = [min(tallest, high / broad) * wide for high, broad in sizes]
    heights += [
        (len(cell.titles) + len(cell.captions)) * _TITLE_LINE + (0.1 if cell.captions else 0)
        for cell in cells
        if cell.panel is None
    ]
    titles = max((len(cell.titles) for cell in cells if cell.panel is not None), default=0)
    captions = max((len(cell.captions) for cell in cells if cell.panel is not None), default=0)
    return _Line(
        list(cells),
        titles * _TITLE_LINE + (0.03 if titles else 0),
        max(heights),
        captions * _CAPTION_LINE + (0.03 if captions else 0),
    )


def _broken(words: Words, wide: float, size: float) -> list[Words]:
    """Words as one line, or as two of about the same length where one is too wide."""

    def needed(text: str) -> float:
        return width_of(text.strip(), size) * (_BOLD if words.bold else 1)

    text = plain_text(words.text)
    pieces = [piece for piece in _PIECES.findall(text) if piece]
    if _SHRUNK * needed(text) <= wide or len(pieces) < 2:
        return [words]
    both = min(
        (("".join(pieces[:n]), "".join(pieces[n:])) for n in range(1, len(pieces))),
        key=lambda parts: max(map(needed, parts)),
    )
    return [words._replace(text=part.strip()) for part in both]


def _draw_cell(
    figure: "Figure", line: _Line, cell: Cell, corner: tuple[float, float], wide: float
) -> None:
    """Draw a cell of a line below and right of a corner, in inches from the lower left."""
    x, top = corner
    width, height = figure.get_size_inches()
    bottom = top - line.titles - line.panels
    foot = top - line.titles + 0.03
    if cell.panel is None:
        foot = bottom
        if not cell.at_foot:
            foot += (line.panels - len(cell.titles) * _TITLE_LINE) / 2
    for place, words in enumerate(reversed(cell.titles)):
        y = foot + (place + 1) * _TITLE_LINE
        _write_words(figure, words, (x + wide / 2, y), wide, _TITLE)
    if cell.panel is None:
        for place, words in enumerate(cell.captions):
            y = top - line.titles - place * _TITLE_LINE
            weight = "bold" if words.bold else "normal"
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
    room = wide / _BOLD if words.bold else wide
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


class _Legend(NamedTuple):
    """The legend of a sheet.

    Attributes:
        lines: its lines: the names of marks, each with its place from the left in inches.
        heated: whether there is a color bar.
        beside: whether the bar is right of the marks, and not below them.
    """

    lines: list[list[tuple[str, float]]]
    heated: bool
    beside: bool

    @classmethod
    def of(cls, marks: Sequence[str], width: float, *, heated: bool) -> "_Legend":
        """Place marks one behind the other, in as many lines as a sheet's width in inches needs."""
        beside = heated and width > COLUMN
        room = width - 2 * _MARGIN - (_BAR_WIDTH + 0.35 if beside else 0)
        lines: list[list[tuple[str, float]]] = [[]]
        end = 0.0
        for name in marks:
            wide = _SAMPLE_WIDTH + width_of(_NAMES[name], NOTE)
            if lines[-1] and end + wide > room:
                lines.append([])
                end = 0.0
            lines[-1].append((name, _MARGIN + end))
            end += wide + _LEGEND_GAP
        return cls(lines, heated, beside)

    @property
    def n_lines(self) -> int:
        """The number of lines that it takes; a color bar takes two."""
        if self.beside:
            return max(len(self.lines), 2)
        return len(self.lines) + (2 if self.heated else 0)


def _draw_legend(figure: "Figure", legend: _Legend, top: float) -> None:
    """Draw what the marks and the colors mean, below a height in inches."""
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), zorder=-1)
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    for number, line in enumerate(legend.lines):
        y = top - number * _LEGEND_LINE - 0.1
        for name, x in line:
            axes.add_patch(Rectangle((x, y - 0.025), 0.24, 0.13, facecolor=_BLANK))
            look = LOOKS[name]
            halo = (look.width + 1, HALO, ())
            for stroke, color, dash in (halo, (look.width, look.color, look.dash)):
                axes.add_patch(
                    Rectangle(
                        (x + 0.04, y + 0.005), 0.16, 0.07, fill=False, edgecolor=color,
                        linewidth=stroke, linestyle=dashed(dash), joinstyle="miter",
                    )
                )  # fmt: skip
            _write(figure, _NAMES[name], (x + _SAMPLE_WIDTH + 0.01, y + 0.087), NOTE)
    if legend.heated:
        x = width - _MARGIN - _BAR_WIDTH - 0.06 if legend.beside else _MARGIN + 0.04
        y = top - 0.1 - (0 if legend.beside else len(legend.lines) * _LEGEND_LINE + 0.03)
        bar = figure.add_axes((x / width, y / height, _BAR_WIDTH / width, 0.08 / height))
        bar.imshow(heat_bar(256), extent=(0, 1, 0, 1), aspect="auto")
        bar.set_yticks([])
        bar.set_xticks([0, 0.5, 1], ["0", "map / its maximum", "1"], fontsize=5.5)
        bar.tick_params(length=1.5, pad=1.5)
