"""Panels of stored runs, with the verdicts of the page, and sheets of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from wsol_bench.errors import DatasetError, ImageError
from wsol_bench.images.decode import load_image
from wsol_bench.images.masks import mask_of
from wsol_bench.protocols.model import BoxSweepProtocol, OneBoxProtocol, PixelProtocol
from wsol_bench.report.figures.caption import facts_of
from wsol_bench.report.figures.choice import Choice, chosen_images, chosen_lines
from wsol_bench.report.figures.layout import best_columns, images_of_a_page
from wsol_bench.report.figures.panel import Panel, Verdict
from wsol_bench.report.figures.sheet import PICTURE_PIXELS, Cell, Words, draw_sheet
from wsol_bench.report.figures.style import MUTED, plain_text
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details, JudgedRow
from wsol_bench.report.page.outcomes import HIT, MEANINGS, NOT_DEFINED, OUTCOMES
from wsol_bench.report.page.overview import least_iou
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.kept_maps import no_maps
from wsol_bench.runs.schema import RowStatus
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.region import region_of
from wsol_bench.scoring.upsampling import upsample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HEAT_NOTE", "ImagesFigure", "cut_rule", "figure_of_image", "images_figure"]

_HIT_TEXT, _MISS_TEXT = "#0b6b3a", "#b3261e"

HEAT_NOTE = (
    'In a panel with "heat ×n" colors are multiplied by n, since 99% of the pixels are below '
    "half of the map's maximum."
)


class ImagesFigure(NamedTuple):
    """A sheet of images.

    Attributes:
        figure: the figure.
        name: the name of its file, without an ending.
        n_images: the number of images.
        without_picture: why each image whose file cannot be read has no picture.
        remark: what a person should know of the choice; "" for nothing.
    """

    figure: "Figure"
    name: str
    n_images: int
    without_picture: list[str]
    remark: str


def images_figure(collection: Collection, choice: Choice) -> ImagesFigure:
    """Draw a sheet: a row an image, a column a method, with the image itself in the first column.

    The panels of one method alone flow over several columns.

    Raises:
        ConfigError: the choice names what the runs do not have, or finds no image.
        RunError: a file of a run is missing or damaged.
    """
    lines, n_lines = chosen_lines(collection, choice)
    n = images_of_a_page(len(lines)) if choice.n is None else choice.n
    chosen = chosen_images(collection, choice, lines, n)
    cells = _Cells(collection, lines)
    name = ""
    if len(lines) == 1:
        columns = best_columns(len(chosen.images))
        strips = [cells.alone(image) for image in chosen.images]
        name = f"{cells.name(lines[0])}: "
    else:
        columns = best_columns(len(chosen.images), 1 + len(lines))
        strips = [
            cells.strip(image, with_titles=number < columns)
            for number, image in enumerate(chosen.images)
        ]
    shown, *notes = cells.notes(strips)
    notes = [f"{name}{shown} {chosen.rule}", *notes]
    remark = ""
    if len(lines) < n_lines and choice.methods is None:
        remark = f"{len(lines)} of {n_lines} methods are shown; --methods A,B chooses others."
    remark = " ".join(dict.fromkeys(filter(None, (remark, *map(cells.no_maps_of, lines)))))
    figure = draw_sheet(strips, notes=notes, columns=columns)
    return ImagesFigure(
        figure, f"images_{chosen.name}", len(chosen.images), cells.without_picture, remark
    )


def figure_of_image(
    run: StoredRun,
    image_id: str,
    *,
    methods: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
) -> "Figure":
    """Draw one image of a run: the image with its ground truth, then a panel for each method.

    Args:
        run: a finished run.
        image_id: the image's id.
        methods, models: names of methods and models; None for all.

    Raises:
        ConfigError: the run has no such image, method or model.
        RunError: the run is not finished, or a file of it is missing or damaged.
    """
    collection = Collection([run])
    choice = Choice(ids=[image_id], methods=methods, models=models)
    lines, _ = chosen_lines(collection, choice, most=None)
    [image] = chosen_images(collection, choice, lines, 1).images
    cells = _Cells(collection, lines)
    panels = cells.strip(image, with_titles=True)
    shown, *notes = cells.notes([panels])
    notes = [f"Image {plain_text(image_id)}: {shown}", *notes]
    return draw_sheet([[cell] for cell in panels], notes=notes)


class _Cells:
    """Makes the cells of images.

    Args:
        collection: the runs.
        lines: the lines that are shown.

    Attributes:
        without_picture: why each image whose file cannot be read has no picture.
    """

    def __init__(self, collection: Collection, lines: Sequence[int]) -> None:
        self._collection = collection
        self._lines = lines
        self._details = Details(collection)
        self.without_picture: list[str] = []

    def strip(self, image: int, *, with_titles: bool) -> list[Cell]:
        """The cells of an image: the image itself, then one for each line."""
        rows, picture = self._read(image)
        titles = self._titles() if with_titles else [()] * (1 + len(self._lines))
        panels = [self._panel(image, line, rows.get(line), picture) for line in self._lines]
        alone = replace(panels[0], values=None, region=None, box=None, note="")
        mask = next((panel.mask for panel in panels if panel.mask is not None), None)
        if picture is None:
            alone = replace(alone, note="image file not found")
        models = [self._collection.lines[line].model for line in self._lines]
        several = len(set(models)) > 1
        captions = [self._true(image), *([] if several else self._guess(image, models[0]))]
        cells = [Cell(replace(alone, mask=mask), titles[0], captions)]
        for place, (line, panel) in enumerate(zip(self._lines, panels, strict=True)):
            captions = self._verdict(image, line, rows.get(line))
            if several and models[place] not in models[:place]:
                captions += self._guess(image, models[place])
            cells.append(Cell(panel, titles[1 + place], captions))
        return cells

    def alone(self, image: int) -> list[Cell]:
        """The cell of an image in a sheet of one line."""
        rows, picture = self._read(image)
        [line] = self._lines
        panel = self._panel(image, line, rows.get(line), picture)
        if picture is None:
            panel = replace(panel, note=panel.note or "image file not found")
        captions = [
            self._true(image),
            *self._guess(image, self._collection.lines[line].model),
            *self._verdict(image, line, rows.get(line)),
        ]
        return [Cell(panel, (), captions)]

    def name(self, line: int) -> str:
        """The method of a line, and its layer, in words."""
        shown = self._collection.lines[line]
        layer = f" at {plain_text(shown.layer)}" if shown.layer else ""
        return f"{plain_text(shown.method)}{layer}"

    def notes(self, strips: Sequence[Sequence[Cell]]) -> list[str]:
        """Say what is shown, what hits and outlines are, and what the heat of the strips is."""
        runs = {self._run(line) for line in self._lines}
        models = {self._collection.lines[line].model for line in self._lines}
        facts = facts_of(self._collection, models)
        hashes = {self._collection.runs[run].identity.protocol_hash for run in runs}
        notes = []
        for run in sorted(runs):
            protocol = self._collection.runs[run].identity.protocol
            where = f" ({plain_text(protocol.name)}, {protocol.hash})" if len(hashes) > 1 else ""
            iou = least_iou(self._collection.runs[run])
            if isinstance(protocol, PixelProtocol):
                notes.append(f"The protocol scores pixels, so no box is a hit or a miss{where}.")
                continue
            notes.append(
                f"Hit: the box of the image's true class has an IoU of at least {iou:g} with a "
                f"ground-truth box{where}. Outline: {cut_rule(protocol)}"
            )
            if protocol.selection is not None:
                notes[-1] += " Images that the threshold is selected on are not judged."
        panels = [cell.panel for strip in strips for cell in strip if cell.panel is not None]
        if any(panel.values is not None for panel in panels):
            grainy = any(panel.factor > 1 for panel in panels)
            notes.append(f"Heat: the map of the true class.{f' {HEAT_NOTE}' if grainy else ''}")
        notes += filter(None, map(self.no_maps_of, self._lines))
        return [" ".join(facts), *dict.fromkeys(notes)]

    def no_maps_of(self, line: int) -> str:
        """Say why a run has no map of a line's network; "" if it has, or there is no network."""
        identity = self._collection.runs[self._run(line)].identity
        return no_maps(identity) if self._collection.lines[line].method in identity.methods else ""

    def _run(self, line: int) -> int:
        return self._collection.models[self._collection.lines[line].model].run

    def _read(self, image: int) -> tuple[dict[int, JudgedRow], Image.Image | None]:
        """The rows of an image by line, and its picture; None if its file cannot be read."""
        rows = self._details.judged(image)
        path = self._collection.images.paths[image]
        try:
            if not path:
                raise ImageError("The run names no file of this image.")
            picture = load_image(Path(path))
        except (DatasetError, OSError) as error:
            self.without_picture.append(str(error))
            return rows, None
        picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS), Image.Resampling.LANCZOS)
        return rows, picture

    def _panel(
        self, image: int, line: int, row: JudgedRow | None, picture: Image.Image | None
    ) -> Panel:
        """The panel of a line, which may have no row of the image."""
        images = self._collection.images
        height, width = images.size[image].tolist()
        panel = Panel((height, width), picture, truth=images.boxes[image])
        if row is None:
            return replace(panel, note="not evaluated")
        protocol = self._collection.runs[self._run(line)].identity.protocol
        threshold = self._collection.lines[line].threshold
        panel = replace(panel, placement=row.placement, verdict=_verdict_of(row))
        if row.json["box"] is not None:
            panel = replace(panel, box=np.array(row.json["box"], np.float64))
        if isinstance(protocol, PixelProtocol) and row.placement and row.truth.mask:
            panel = replace(panel, truth=(), mask=_mask(row))
        if row.map is None or row.placement is None:
            note = _why_nothing(row) if panel.box is None else ""
            is_applicable = row.json["status"] != RowStatus.NOT_APPLICABLE
            kept = not (is_applicable and self.no_maps_of(line))
            return replace(panel, note=note if kept else "no map is kept")
        values = row.map.values.astype(np.float32)
        if not isinstance(protocol, OneBoxProtocol | BoxSweepProtocol) or threshold is None:
            [large] = upsample(values[None], row.placement.input, protocol.map)
            return replace(panel, values=large)
        region = region_of(values, row.placement.input, protocol.map, protocol.box, threshold)
        return replace(panel, values=region.values, region=region)

    def _titles(self) -> list[list[Words]]:
        """The titles of the columns: the method, and what else tells a line from the others."""
        lines = [self._collection.lines[line] for line in self._lines]
        several_models = len({line.model for line in lines}) > 1
        at_layers = {(line.model, line.method) for line in lines}
        titles = []
        for line in lines:
            model = self._collection.models[line.model].name
            words = [Words(model, color=MUTED)] if several_models else []
            words.append(Words(line.method, bold=True))
            if len(at_layers) < len(lines) and line.layer:
                words.append(Words(line.layer, color=MUTED))
            protocol = self._collection.runs[self._collection.models[line.model].run]
            if isinstance(protocol.identity.protocol, BoxSweepProtocol) and line.threshold:
                words.append(Words(f"threshold {line.threshold:.3g}", color=MUTED))
            titles.append(words)
        most = max(map(len, titles))
        return [[Words("image", bold=True)], *titles] if most else []

    def _true(self, image: int) -> Words:
        wnid, _ = self._collection.classes[self._collection.images.label[image]]
        return Words(_first_word(self._collection.words(wnid)), bold=True)

    def _guess(self, image: int, model: int) -> list[Words]:
        """The first prediction of a model; none if there is no model."""
        shown = self._collection.models[model]
        code = int(shown.top1[image])
        if shown.name == NO_MODEL or code < 0:
            return []
        right = code == self._collection.images.label[image]
        words = _first_word(self._collection.words(self._collection.classes[code][0]))
        return [Words(f"pred. {'✓' if right else '✗'} {words}", color=_color(bool(right)))]

    def _verdict(self, image: int, line: int, row: JudgedRow | None) -> list[Words]:
        """Say how the protocol judges a line's box on an image; nothing if it judges no boxes."""
        results = self._collection.lines[line]
        code = int(results.gt_known[image])
        iou = None if row is None else row.json["iou"]
        before = "" if iou is None else f"IoU {iou:.2f}, "
        if row is None:
            return [Words("not evaluated", color=MUTED)]
        if isinstance(self._collection.runs[self._run(line)].identity.protocol, PixelProtocol):
            return []
        if code == NOT_DEFINED:
            return [Words(f"{before}not judged", color=MUTED)]
        title, _ = MEANINGS[OUTCOMES[code]]
        sign = "✓" if code == HIT else "✗"
        return [Words(f"{sign} {before}{title}", color=_color(code == HIT))]


def cut_rule(protocol: OneBoxProtocol | BoxSweepProtocol) -> str:
    """The sentence that says which pixels are outlined."""
    box = protocol.box
    of = "maximum" if box.of == "maximum" else "range"
    than = "above" if box.comparison == "above" else "of at least"
    if isinstance(box.threshold, float):
        return f"pixels {than} {100 * box.threshold:g}% of the map's {of}."
    return (
        f"pixels {than} the threshold, as a share of the map's {of}, that is best for the method "
        "over all images."
    )


def _verdict_of(row: JudgedRow) -> Verdict:
    code = row.json["outcome"]
    if code is None:
        return "not judged"
    return "hit" if code == HIT else "miss"


def _why_nothing(row: JudgedRow) -> str:
    """A few words on why a method has neither map nor box of an image."""
    status = row.json["status"]
    known = {RowStatus.NOT_APPLICABLE: "not applicable", RowStatus.MISSING: "missing"}
    return known.get(status, "no map is stored")


def _mask(row: JudgedRow) -> np.ndarray | None:
    """The ground-truth mask of the network's input; None if a file cannot be read."""
    assert row.placement is not None
    try:
        return mask_of(row.truth.mask, row.placement)
    except (DatasetError, OSError):
        return None


def _color(right: bool) -> str:
    return _HIT_TEXT if right else _MISS_TEXT


def _first_word(words: str) -> str:
    """The first of several names of a class."""
    return words.split(",")[0]
