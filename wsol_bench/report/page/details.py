"""Everything that the page shows of one image: its rows, boxes and stored maps."""

import base64
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float16, Float32

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import DatasetError, ImageError
from wsol_bench.geometry import Placement
from wsol_bench.images.masks import mask_of
from wsol_bench.protocols.model import (
    BoxSweepProtocol,
    OneBoxProtocol,
    PixelProtocol,
    Protocol,
)
from wsol_bench.protocols.sections import OneBoxScoring, OneBoxSection
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.encoding import finite
from wsol_bench.report.page.outcomes import NOT_DEFINED
from wsol_bench.report.page.recent_parts import RecentParts
from wsol_bench.report.page.taps import encoded_taps
from wsol_bench.runs.kept_maps import why_no_map
from wsol_bench.runs.schema import ROW_KEYS
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.frames import truth_in_frame
from wsol_bench.scoring.one_box import OneBox

__all__ = ["Choice", "Details", "JudgedRow", "LabelMap", "StoredMap", "every_map"]

_NOT_IN_FILE = "This map is too large for the file; wsol-bench view shows it."


@dataclass(frozen=True, eq=False)
class StoredMap:
    """A stored map, or a smaller picture of it.

    Attributes:
        values: the map divided by ``scale``.
        scale: its maximum in the method's unit.
        is_label: whether its class is the image's label.
        reduced: whether ``values`` are a smaller picture, which shows heat but gives no box.
    """

    values: Float16[np.ndarray, "h w"]
    scale: float
    is_label: bool
    reduced: bool = False


# Chooses the maps of an image that the page gets, which may be smaller; None for one that it lacks.
Choice = Callable[[Sequence[StoredMap]], Sequence[StoredMap | None]]


def every_map(maps: Sequence[StoredMap]) -> Sequence[StoredMap | None]:
    """All maps, as they are stored."""
    return maps


class JudgedRow(NamedTuple):
    """The row of an image's label by which a line is judged on the image.

    Attributes:
        json: the row as ``DetailRow``; under a sweep with its box at the line's threshold.
        map: the map of the label as it is stored; None for none.
        truth: the ground truth of the image.
        placement: the place of the network's input in the image; None if it has none.
    """

    json: dict[str, Any]
    map: StoredMap | None
    truth: ImageTruth
    placement: Placement | None


class LabelMap(NamedTuple):
    """The stored map of an image's label, ready to be scored.

    Attributes:
        line: the position of its line.
        maps: the map, as it is stored.
        batch: its row.
    """

    line: int
    maps: Float32[np.ndarray, "1 h w"]
    batch: RowBatch


@dataclass(eq=False)
class _Row:
    """A row of the page, with its map.

    Attributes:
        json: the row as ``DetailRow``.
        stored: the map as it is stored; None for none.
        shown: the map that the page gets; None for none.
    """

    json: dict[str, Any]
    stored: StoredMap | None
    shown: StoredMap | None = None


class Details:
    """Reads everything of one image at a time; several threads can ask at once.

    Args:
        collection: the runs.
        choice: the maps of an image that the page gets.
        deflate: level from 0 to 9 by which maps are deflated. It takes most of the time, and values
            of float16 shrink by a seventh only.
    """

    def __init__(
        self,
        collection: Collection,
        choice: Choice = every_map,
        *,
        deflate: int = 6,
    ) -> None:
        self._collection = collection
        self._choice = choice
        self._deflate = deflate
        self._parts = RecentParts(collection.runs)
        self._line = {
            (line.model, line.method, line.layer): n for n, line in enumerate(collection.lines)
        }

    def of(
        self,
        image: int,
        *,
        no_picture: str = "",
        watch: Callable[[int, LabelMap], object] | None = None,
    ) -> dict[str, Any]:
        """Everything of an image, as ``Detail``.

        Args:
            image: the position of the image on the page.
            no_picture: why there is no picture of it; "" if there is one.
            watch: called with the position of the image and each stored map of its label.

        Raises:
            RunError: a file of a run is missing or damaged.
        """
        runs = self._collection.runs
        truth, placements, rows = self._read(image, watch)
        chosen = self._choice([row.stored for row in rows if row.stored is not None])
        for row, shown in zip([row for row in rows if row.stored], chosen, strict=True):
            row.shown = shown
        return {
            "image": image,
            "boxes": truth.boxes.tolist(),
            "placements": [None if place is None else vars(place) for place in placements],
            "truth": [
                None if place is None else _truth(run.identity.protocol, truth, place)
                for run, place in zip(runs, placements, strict=True)
            ],
            "masks": [
                None if place is None else _mask(run.identity.protocol, truth, place)
                for run, place in zip(runs, placements, strict=True)
            ],
            "pack": _packed(rows, self._deflate),
            "rows": [row.json for row in rows],
            "taps": self._taps(rows, placements),
            "no_picture": no_picture,
        }

    def judged(self, image: int) -> dict[int, JudgedRow]:
        """The row by which each line that has one is judged on an image, by the line's position.

        Raises:
            RunError: a file of a run is missing or damaged.
        """
        truth, placements, rows = self._read(image)
        return {
            row.json["line"]: JudgedRow(
                row.json, row.stored, truth, placements[self._run_of(row.json["line"])]
            )
            for row in rows
            if row.json["is_judged"]
        }

    def _read(
        self, image: int, watch: Callable[[int, LabelMap], object] | None = None
    ) -> tuple[ImageTruth, list[Placement | None], list[_Row]]:
        """The ground truth, the placement in each run and the rows of an image; see ``of``."""
        runs = self._collection.runs
        truth = self._truth(image)
        placements = [self._placement(run, image) for run in range(len(runs))]
        rows = [row for n in range(len(self._collection.models)) for row in self._rows(n, image)]
        for row in rows:
            if row.stored is None or not row.stored.is_label:
                continue
            run = self._run_of(row.json["line"])
            placement = placements[run]
            if placement is not None:
                map = _label_map(row, row.stored, truth, placement)
                self._add_box_of_sweep(row, map, runs[run].identity.protocol)
                if watch is not None:
                    watch(image, map)
        return truth, placements, rows

    def _run_of(self, line: int) -> int:
        return self._collection.models[self._collection.lines[line].model].run

    def _placement(self, run: int, image: int) -> Placement | None:
        """The place of the network's input in an image; None if the run does not hold the image."""
        models = (model for model in self._collection.models if model.run == run)
        if not any(model.evaluated[image] for model in models):
            return None
        height, width = self._collection.images.size[image].tolist()
        try:
            protocol = self._collection.runs[run].identity.protocol
            return protocol.input.place(height, width)
        except ImageError:  # a method without a network needs no input
            return None

    def _rows(self, model: int, image: int) -> Iterator[_Row]:
        """The rows of a model, in the order of the run."""
        collection = self._collection
        run, part = collection.models[model].run, int(collection.models[model].part[image])
        if part < 0:
            return
        image_id = collection.images.ids[image]
        label = collection.classes[collection.images.label[image]][0]
        maps = {
            (line["method"], line["layer"], line["rank"]): line
            for line in self._lines(run, "maps", part, image_id)
        }
        lines = self._lines(run, "rows", part, image_id)
        # A prediction file may name the label several times: its first row by rank is judged.
        of_label = [n for n, line in enumerate(lines) if line["class"] == label]
        judged: dict[tuple[str, str], int] = {}
        for n in sorted(of_label, key=lambda n: lines[n]["rank"]):
            judged.setdefault((lines[n]["method"], lines[n]["layer"]), n)
        for n, line in enumerate(lines):
            is_label = line["class"] == label
            is_judged = n in judged.values()
            stored = maps.get((line["method"], line["layer"], line["rank"]))
            yield _Row(
                self._json(image, model, line, is_label, is_judged),
                None if stored is None else _stored_map(stored, is_label),
            )

    def _lines(self, run: int, table: str, part: int, image_id: str) -> list[dict[str, Any]]:
        whole = self._parts.table(run, table, part)
        lines: list[dict[str, Any]] = whole.filter(
            pc.equal(whole["image_id"], image_id)
        ).to_pylist()
        return lines

    def _json(
        self, image: int, model: int, line: dict[str, Any], is_label: bool, is_judged: bool
    ) -> dict[str, Any]:
        """A line of the table ``rows`` as ``DetailRow``, without its map."""
        box = [line[name] for name in _BOX]
        measured = line.items() if is_label else ()
        values = {
            name: value
            for name, value in measured
            if name not in _NO_VALUES and isinstance(value, float) and finite(value) is not None
        }
        number = self._line[model, line["method"], line["layer"]]
        identity = self._collection.runs[self._run_of(number)].identity
        has_box = finite(box[0]) is not None
        results = self._collection.lines[number]
        outcomes = results.gt_known if is_judged else results.top1
        has_outcome = (is_judged or line["rank"] == 1) and outcomes[image] != NOT_DEFINED
        return {
            "line": number,
            "rank": line["rank"],
            "class": line["class"],
            "words": self._collection.words(line["class"]),
            "is_label": is_label,
            "is_judged": is_judged,
            "score": finite(line["score"]),
            "status": line["status"],
            "outcome": int(outcomes[image]) if has_outcome else None,
            "box": box if all(finite(edge) is not None for edge in box) else None,
            "iou": finite(line.get("iou", np.nan)),
            "map": None,
            "no_map": why_no_map(identity, line["method"], is_label=is_label, has_box=has_box),
            "values": values,
        }

    def _truth(self, image: int) -> ImageTruth:
        images = self._collection.images
        label = self._collection.classes[images.label[image]][0]
        return ImageTruth(label, images.boxes[image], images.masks[image])

    def _add_box_of_sweep(self, row: _Row, map: LabelMap, protocol: Protocol) -> None:
        """Take the box of a label's map at its line's threshold, which a sweep does not keep."""
        threshold = self._collection.lines[map.line].threshold
        if threshold is None or not isinstance(protocol, BoxSweepProtocol):
            return
        scores = OneBox(_one_box(protocol, threshold), ()).score_maps(map.maps, map.batch)
        box = [float(scores.rows[name][0]) for name in _BOX]
        row.json["box"] = None if finite(box[0]) is None else box
        row.json["iou"] = float(scores.rows["iou"][0])

    def _taps(
        self, rows: Sequence[_Row], placements: Sequence[Placement | None]
    ) -> list[dict[str, Any]]:
        """The weights that the maps are upsampled with, run by run."""
        needed: list[set[tuple[int, int]]] = [set() for _ in placements]
        for row in rows:
            run = self._run_of(row.json["line"])
            placement = placements[run]
            if row.shown is not None and not row.shown.reduced and placement is not None:
                needed[run] |= set(zip(row.shown.values.shape, placement.input, strict=True))
        return [
            encoded_taps(sorted(pairs), run.identity.protocol.map)
            for run, pairs in zip(self._collection.runs, needed, strict=True)
        ]


_BOX = ["x0", "y0", "x1", "y1"]
_NO_VALUES = {*ROW_KEYS.names, *_BOX, "iou"}


def _stored_map(line: dict[str, Any], is_label: bool) -> StoredMap:
    values = np.frombuffer(line["map"], "<f2").reshape(line["height"], line["width"])
    return StoredMap(values.astype(np.float16), line["scale"], is_label)


def _label_map(row: _Row, stored: StoredMap, truth: ImageTruth, placement: Placement) -> LabelMap:
    batch = RowBatch(
        ImageBatch(("",), (truth,), (placement,)),
        np.zeros(1, np.int64),
        np.array([row.json["rank"]], np.int64),
        np.array([truth.label], dtype=object),
        np.full(1, np.nan),
    )
    return LabelMap(row.json["line"], stored.values[None].astype(np.float32), batch)


def _packed(rows: Sequence[_Row], deflate: int) -> str:
    """All maps that the page gets, deflated and in base64; each row is told its map's place."""
    content = []
    first = 0
    for row in rows:
        if row.stored is None:
            continue
        row.json["no_map"] = "" if row.shown is not None else _NOT_IN_FILE
        if row.shown is None:
            continue
        values = row.shown.values
        row.json["map"] = {
            "first": first,
            "height": values.shape[0],
            "width": values.shape[1],
            "scale": finite(row.shown.scale),
            "reduced": row.shown.reduced,
        }
        content.append(values.astype("<f2").tobytes())
        first += values.size
    return base64.b64encode(zlib.compress(b"".join(content), deflate)).decode()


def _truth(protocol: Protocol, truth: ImageTruth, placement: Placement) -> list[list[float]] | None:
    """The ground-truth boxes in the protocol's frame; None under a protocol of pixels."""
    if not isinstance(protocol, OneBoxProtocol | BoxSweepProtocol):
        return None
    boxes: list[list[float]] = truth_in_frame(truth, placement, protocol.scoring.frame).tolist()
    return boxes


def _mask(protocol: Protocol, truth: ImageTruth, placement: Placement) -> dict[str, Any] | None:
    """The mask that a protocol of pixels scores by, as ``Mask``; None under other protocols."""
    if not isinstance(protocol, PixelProtocol) or truth.mask is None:
        return None
    height, width = placement.input
    try:
        mask = mask_of(truth.mask, placement)
    except (DatasetError, OSError) as error:
        return {"height": height, "width": width, "pack": "", "problem": str(error)}
    pack = base64.b64encode(zlib.compress(mask.tobytes(), 6)).decode()
    return {"height": height, "width": width, "pack": pack, "problem": ""}


def _one_box(protocol: BoxSweepProtocol, threshold: float) -> OneBoxProtocol:
    """A sweep's protocol at one of its thresholds."""
    choices = protocol.box.model_dump(exclude={"threshold", "component"})
    return OneBoxProtocol(
        name=protocol.name,
        input=protocol.input,
        map=protocol.map,
        box=OneBoxSection(threshold=threshold, component="largest", **choices),
        scoring=OneBoxScoring(iou=protocol.scoring.ious[0], frame=protocol.scoring.frame),
    )
