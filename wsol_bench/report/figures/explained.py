"""The maps and boxes of a photograph, and their figure: a row a method, a column a class."""

from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float16, Float64
from PIL import Image

from wsol_bench.common.harmless import printable
from wsol_bench.geometry import Placement
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.report.figures.images import HEAT_NOTE, cut_rule
from wsol_bench.report.figures.panel import Panel
from wsol_bench.report.figures.sheet import PICTURE_PIXELS, Cell, Words, draw_sheet
from wsol_bench.report.figures.style import MUTED, plain_text
from wsol_bench.scoring.region import region_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explained"]


@dataclass(frozen=True, eq=False)
class Explained:
    """The maps and boxes of a photograph.

    Attributes:
        path: the image file.
        picture: the image, right way up.
        classes: the names of the best classes, best first; or of the targets, in their order.
        probabilities: the probability of each of them; NaN if a target is a function.
        scores: the score of each of them, before softmax.
        maps: by the name of the method, the map of each class divided by its maximum, at the
            resolution of the layer. Boxes are taken from these values, as in a run.
        boxes: by the name of the method, the box of each class, half-open xyxy pixels of
            ``picture``; NaN for none.
        not_applicable: by the name of the method, why the network does not allow it.
        model: the name of the network.
        protocol: the rule by which boxes are taken from maps.
        placement: the place of the network's input in ``picture``.
    """

    path: Path
    picture: Image.Image
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    scores: tuple[float, ...]
    maps: dict[str, Float16[np.ndarray, "k h w"]]
    boxes: dict[str, Float64[np.ndarray, "k 4"]]
    not_applicable: dict[str, str]
    model: str
    protocol: OneBoxProtocol
    placement: Placement

    def __repr__(self) -> str:
        """The photograph, the network, its best classes, and what to call next."""
        best = ", ".join(" ".join(pair) for pair in self._named)
        return printable(
            f"<Explained: {self.path} by {self.model}: {best}; "
            f"methods {', '.join((*self.maps, *self.not_applicable))}; .figure() draws it>"
        )

    @property
    def _named(self) -> list[tuple[str, str]]:
        """Each class by its first name, with its probability; a function with its score."""
        columns = zip(self.classes, self.probabilities, self.scores, strict=True)
        return [
            (_first_name(words), f"{score:.3g}" if isnan(share) else f"{100 * share:.1f}%")
            for words, share, score in columns
        ]

    @property
    def _columns(self) -> str:
        """A phrase for what the columns of the figure are."""
        if any(map(isnan, self.probabilities)):
            return "the targets, with their scores"
        if list(self.probabilities) != sorted(self.probabilities, reverse=True):
            return "the given classes, with their probabilities"
        return "the best classes, with their probabilities"

    def _repr_png_(self) -> Any:
        """The figure, which a notebook shows."""
        return self.figure()._repr_png_()  # type: ignore[attr-defined]

    def figure(self) -> "Figure":
        """Draw the maps and boxes: a row for each method, a column for each class."""
        picture = self.picture.copy()
        picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS), Image.Resampling.LANCZOS)
        plain = Panel(self.placement.original, picture, self.placement, verdict="box")
        headings = [[Words(name, True), Words(share, color=MUTED)] for name, share in self._named]
        methods = (*self.maps, *self.not_applicable)
        rows = [[self._cell(name, k, plain) for k in range(len(headings))] for name in methods]
        photograph, network = plain_text(self.path.name), plain_text(self.model)
        grainy = any(cell.panel.factor > 1 for cells in rows for cell in cells if cell.panel)
        notes = [f"{_rule_of(self.protocol, self._columns)}{f' {HEAT_NOTE}' if grainy else ''}"]
        if len(rows) == 1:  # the photograph stands in the row
            named = [
                replace(cell, titles=lines) for cell, lines in zip(rows[0], headings, strict=True)
            ]
            notes.insert(
                0,
                f"Photograph: {photograph}. Network: {network}. Method: {plain_text(methods[0])}.",
            )
            return draw_sheet([[Cell(plain), *named]], notes=notes, columns=1)
        head = [Cell(None, lines, at_foot=True) for lines in headings]
        head[0] = replace(head[0], captions=[Words(photograph, True), Words(network, color=MUTED)])
        strips = [[Cell(plain), *head]]
        for name, cells in zip(methods, rows, strict=True):
            strips.append([Cell(None, [Words(name, True)]), *cells])
        return draw_sheet(strips, notes=notes, columns=1)

    def _cell(self, method: str, k: int, plain: Panel) -> Cell:
        """The cell of a method and a class."""
        if method in self.not_applicable:
            return Cell(replace(plain, picture=None, note="not applicable"))
        protocol = self.protocol
        region = region_of(
            self.maps[method][k].astype(np.float32),
            self.placement.input,
            protocol.map,
            protocol.box,
            protocol.box.threshold,
        )
        box = self.boxes[method][k]
        has_box = bool(np.isfinite(box).all())
        panel = replace(plain, values=region.values, region=region, box=box if has_box else None)
        return Cell(panel if has_box else replace(panel, note="no box"))


def _rule_of(protocol: OneBoxProtocol, columns: str) -> str:
    """The sentences that say what a column is, and what boxes and outlines are."""
    return (
        f"Columns: {columns}. "
        f"Outline: {cut_rule(protocol)} The box is that of the largest region "
        f"({plain_text(protocol.name)}, {protocol.hash})."
    )


def _first_name(words: str) -> str:
    """The first of several names of a class."""
    return words.split(",")[0]
