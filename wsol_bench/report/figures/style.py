"""What all figures share: sizes, colors, fonts, text that fits, and how they become files."""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from wsol_bench.common.files import write_atomically
from wsol_bench.common.harmless import printable
from wsol_bench.common.vocabulary import FigureFormat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wsol_bench.report.page.collection import Collection

__all__ = [
    "COLUMN",
    "FORMATS",
    "INK",
    "MUTED",
    "NOTE",
    "NOTE_LINE",
    "WIDTH",
    "LineStyle",
    "dashed",
    "draw_note",
    "drawing",
    "fitted",
    "note_lines",
    "plain_text",
    "save",
    "styles_of",
    "width_of",
]

FORMATS: tuple[FigureFormat, ...] = get_args(FigureFormat)

# The width of the text of a paper in two columns, and of one of its columns, in inches.
WIDTH, COLUMN = 7.16, 3.45
# The size in points of what stands below a figure, and the height of a line of it in inches.
NOTE, NOTE_LINE = 6.0, 0.115
_LETTERS = 22.5  # of a note in an inch
_DPI = 220
INK, MUTED = "#1b1d21", "#5d6470"
# The colors of Okabe and Ito, which color-blind people tell apart; the page has the same.
_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#a34700", "#333333")
_OTHERS = "#777777"
_SHAPES = ("o", "s", "D", "^", "v", "p", "*", "h")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5.0, 2.0), (1.5, 1.5), (6.0, 2.0, 1.0, 2.0))

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, and has the signs of hit and miss
    "font.size": 7,
    "pdf.fonttype": 42,  # text that can be searched, as publishers ask for
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.usetex": False,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "savefig.bbox": None,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


class LineStyle(NamedTuple):
    """The look of a method in charts: the same in all of them."""

    color: str
    shape: str
    dash: tuple[float, ...]


def dashed(dash: tuple[float, ...]) -> Any:
    """The line style of matplotlib for lengths of dashes and gaps; without any, a solid line."""
    return (0, dash) if dash else "-"


def styles_of(collection: "Collection") -> dict[str, LineStyle]:
    """The style of each method: colors for methods, gray for baselines and sanity checks.

    A method has one style, whatever its model and layer. With each round of the eight colors the
    dashes are other ones.
    """
    counts = {True: 0, False: 0}
    styles: dict[str, LineStyle] = {}
    for line in collection.lines:
        if line.method in styles:
            continue
        is_method = line.kind == "method"
        n = counts[is_method]
        counts[is_method] += 1
        shape = _SHAPES[n % len(_SHAPES)]
        dash = _DASHES[n // len(_SERIES) % len(_DASHES) if is_method else 1 + n % 3]
        color = _SERIES[n % len(_SERIES)] if is_method else _OTHERS
        styles[line.method] = LineStyle(color, shape, dash)
    return styles


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the settings of this package, whatever the user's own are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        # A class may be named in a script that the font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def plain_text(text: str) -> str:
    """Text of other people as a figure shows it: on one line, without control characters."""
    return printable(" ".join(text.split()))


def fitted(text: str, width: float, size: float, *, least: float = 5.0) -> tuple[str, float]:
    """The text and the font size in points with which it fits a width.

    Args:
        text: one line.
        width: the width in inches.
        size: the wanted font size.
        least: the smallest font size; a text that is too long even then is cut.
    """
    wide = width_of(text, size)
    if wide <= width or not text:
        return text, size
    if size * width / wide >= least:  # it fits up to the rounding of letters
        return text, size * width / wide
    while len(text) > 1 and width_of(text, least) > width:
        text = f"{text.removesuffix('…')[:-1].rstrip()}…"
    return text, least


def width_of(text: str, size: float) -> float:
    """The width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def note_lines(paragraphs: Sequence[str], width: float) -> list[str]:
    """The lines of paragraphs below a figure of a width in inches."""
    most = int(_LETTERS * width)
    # "(seed 0)" stays on one line.
    joined = (re.sub(r"\((\w+) (\w+)\)", "(\\1\u00a0\\2)", text) for text in paragraphs)
    return [line for text in joined for line in textwrap.wrap(text, most)]


def draw_note(figure: "Figure", lines: Sequence[str], margin: float) -> None:
    """Write the lines of ``note_lines`` at the bottom of a figure, with a margin in inches."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(reversed(lines)):
        y = margin + 0.02 + number * NOTE_LINE  # letters such as "g" reach below the line
        figure.text(margin / width, y / height, line, fontsize=NOTE, color=MUTED, parse_math=False)


@drawing()
def save(figure: "Figure", path: Path, formats: Sequence[FigureFormat]) -> list[Path]:
    """Write a figure as files; returns their paths.

    A PDF embeds its fonts as TrueType, by a setting of ``drawing`` that counts when it is written.

    Args:
        figure: the figure.
        path: the path of the files without their endings.
        formats: the formats of the files.
    """
    written = []
    for file_format in dict.fromkeys(formats):
        content = io.BytesIO()
        # Equal figures are equal files.
        metadata = {"Software": None} if file_format == "png" else {"CreationDate": None}
        figure.savefig(content, format=file_format, dpi=_DPI, metadata=metadata)
        written.append(path.with_name(f"{path.name}.{file_format}"))
        write_atomically(written[-1], content.getvalue())
    return written
