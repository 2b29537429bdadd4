"""Prediction files: read, score and write what the official tools read and write.

    devkit   line i is image i of the data set: groups of ``label xmin ymin xmax ymax``, label the
             ILSVRC2012_ID (1..1000)
    kaggle   ``ImageId,PredictionString``: by image id, groups of ``wnid xmin ymin xmax ymax``
    boxes    ``image_id,xmin,ymin,xmax,ymax``: by image id, the image's one box, whatever its class;
             or ``image_id,x0,y0,x1,y1``, half-open

Corners are 0-based inclusive. Predictions are never clipped, rounded or reordered. None is rejected
for its geometry, but a box whatever the class must be finite: the official tools take any number.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.files import write_atomically
from wsol_bench.datasets import ROOT_ID, ROOT_SYNSET, Dataset
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import PredictionError
from wsol_bench.geometry import from_inclusive, to_inclusive
from wsol_bench.metrics.base import metrics
from wsol_bench.metrics.image_scores import EvaluatedImages
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.runs.schema import GROUP, ImageStatus, boxes_of
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.summary import MethodResults

__all__ = [
    "Format",
    "Predictions",
    "Readable",
    "read_predictions",
    "score_predictions",
    "write_predictions",
]

Format = Literal["devkit", "kaggle"]
Readable = Literal["devkit", "kaggle", "boxes"]

_BOX_HEADERS = (
    ["image_id", "xmin", "ymin", "xmax", "ymax"],
    ["image_id", "x0", "y0", "x1", "y1"],
)

# A label that names no class (0 is "no guess" to the devkit) is never right.
_NO_CLASS = ""
_NO_LABEL = "0"

# Inclusive corners of a box without a pixel: what stands in a file where a guess has no box.
_NO_BOX = "0 0 -1 -1"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The guesses of a prediction file.

    Attributes:
        table: one line a guess: image_id, rank, class (wnid), x0, y0, x1, y1 (half-open). A box
            whatever the class has the rank 0 and the class "".
        image_ids: of the images that the file covers, with guesses or without.
        ranked: whether its boxes are guesses of classes.
    """

    table: pd.DataFrame
    image_ids: tuple[str, ...]
    ranked: bool


class _Guesses(NamedTuple):
    """Guesses of several images, flat: one entry a guess."""

    image: list[int]
    rank: list[int]
    label: list[str]
    box: list[list[float]]


def read_predictions(
    path: Path, dataset: Dataset, *, format: Readable | None = None
) -> Predictions:
    """The guesses of a file.

    Args:
        path: of the file.
        dataset: what it predicts; gives the images' order and the classes' IDs.
        format: by default told from the first line.

    Raises:
        PredictionError: with the line, what was expected and what was found.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionError(f"{path}: {error}") from error
    if format is None:
        format = _told(lines[0].lstrip('" ') if lines else "")
    read = {"kaggle": _read_kaggle, "devkit": _read_devkit, "boxes": _read_boxes}[format]
    ids, guesses = read(path, lines, dataset)
    boxes = from_inclusive(np.array(guesses.box, dtype=np.float64).reshape(-1, 4))
    table = pd.DataFrame(
        {
            "image_id": np.array(ids, dtype=object)[guesses.image],
            "rank": np.array(guesses.rank, dtype=np.int64),
            "class": guesses.label,
        }
    )
    table[["x0", "y0", "x1", "y1"]] = boxes
    return Predictions(table, tuple(ids), ranked=format != "boxes")


def _told(first_line: str) -> Readable:
    """The format of a file, by its first line."""
    if first_line.startswith("ImageId"):
        return "kaggle"
    return "boxes" if first_line.startswith("image_id") else "devkit"


def _read_devkit(path: Path, lines: list[str], dataset: Dataset) -> tuple[list[str], _Guesses]:
    if not (dataset.classes["ilsvrc_id"] > 0).any():
        raise PredictionError(
            f"{path}: a devkit file names classes by ILSVRC2012_ID, which the data set's root does "
            "not hold; point at a devkit (meta.mat or synsets.csv) with --option devkit=DIR"
        )
    wnid_of = dict(zip(dataset.classes["ilsvrc_id"], dataset.classes["wnid"], strict=True))
    wnid_of[ROOT_ID] = ROOT_SYNSET
    while len(lines) > len(dataset) and not lines[-1].strip():
        lines.pop()
    if len(lines) != len(dataset):
        raise PredictionError(
            f"{path}: expected one line an image, {len(dataset)} in the data set, "
            f"found {len(lines)}; a part of the data set is named with --option subset=FILE "
            "(image ids, one a line)"
        )
    guesses = _Guesses([], [], [], [])
    for index, line in enumerate(lines):
        _append(guesses, index, line.split(), f"{path}:{index + 1}", wnid_of)
    return dataset.images["image_id"].tolist(), guesses


def _read_kaggle(path: Path, lines: list[str], dataset: Dataset) -> tuple[list[str], _Guesses]:
    header, *records = _records(path, lines)
    if header != ["ImageId", "PredictionString"]:
        raise PredictionError(
            f"{path}:1: expected the header ImageId,PredictionString, found {','.join(header)!r}"
        )
    known = set(dataset.images["image_id"])
    ids: list[str] = []
    seen: set[str] = set()
    guesses = _Guesses([], [], [], [])
    for number, record in enumerate(records, start=2):
        if not record:
            continue
        where = f"{path}:{number}"
        if len(record) != 2:
            raise PredictionError(f"{where}: expected 2 columns, found {len(record)}")
        image_id, text = record[0].strip(), record[1]
        if image_id in seen:
            raise PredictionError(f"{where}: image {image_id!r} has two lines")
        if image_id not in known:
            raise PredictionError(f"{where}: image {image_id!r} is not in data set {dataset.name}")
        seen.add(image_id)
        _append(guesses, len(ids), text.split(), where, None)
        ids.append(image_id)
    return ids, guesses


def _read_boxes(path: Path, lines: list[str], dataset: Dataset) -> tuple[list[str], _Guesses]:
    header, *records = _records(path, lines)
    if header not in _BOX_HEADERS:
        expected = " or ".join(",".join(names) for names in _BOX_HEADERS)
        raise PredictionError(f"{path}:1: expected the header {expected}, found {','.join(header)}")
    last = 0.0 if header == _BOX_HEADERS[0] else 1.0
    known = set(dataset.images["image_id"])
    ids: list[str] = []
    seen: set[str] = set()
    guesses = _Guesses([], [], [], [])
    for number, record in enumerate(records, start=2):
        if not record:
            continue
        where = f"{path}:{number}"
        if len(record) != len(header):
            raise PredictionError(f"{where}: expected {len(header)} columns, found {len(record)}")
        image_id = record[0].strip()
        if image_id in seen:
            raise PredictionError(f"{where}: image {image_id!r} has two lines")
        if image_id not in known:
            raise PredictionError(f"{where}: image {image_id!r} is not in data set {dataset.name}")
        try:
            x0, y0, x1, y1 = map(float, record[1:])
        except ValueError as error:
            raise PredictionError(f"{where}: expected 4 numbers, found {record[1:]}") from error
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            raise PredictionError(f"{where}: expected 4 finite numbers, found {record[1:]}")
        seen.add(image_id)
        guesses.image.append(len(ids))
        guesses.rank.append(0)
        guesses.label.append(_NO_CLASS)
        guesses.box.append([x0, y0, x1 - last, y1 - last])
        ids.append(image_id)
    return ids, guesses


def _records(path: Path, lines: list[str]) -> list[list[str]]:
    """The records of a CSV file, its header first and stripped."""
    try:
        header, *records = list(csv.reader(lines)) or [[]]
    except csv.Error as error:
        raise PredictionError(f"{path}: {error}") from error
    return [[name.strip() for name in header], *records]


def _append(
    guesses: _Guesses, image: int, fields: Sequence[str], where: str, wnid_of: dict[int, str] | None
) -> None:
    """Add a line's groups of five; ``wnid_of`` translates labels that are numbers."""
    if len(fields) % 5:
        raise PredictionError(
            f"{where}: expected groups of 5 (label xmin ymin xmax ymax), found {len(fields)} fields"
        )
    for start in range(0, len(fields), 5):
        try:
            box = [float(field) for field in fields[start + 1 : start + 5]]
            label = fields[start]
            if wnid_of is not None:
                number = float(label)  # matlab writes 1e2 for 100
                label = wnid_of.get(int(number), _NO_CLASS) if number.is_integer() else _NO_CLASS
        except (ValueError, OverflowError) as error:
            expected = "an ILSVRC2012_ID" if wnid_of else "a wnid"
            raise PredictionError(
                f"{where}: expected {expected} and 4 numbers, found "
                f"{' '.join(fields[start : start + 5])!r}"
            ) from error
        guesses.image.append(image)
        guesses.rank.append(start // 5 + 1)
        guesses.label.append(label)
        guesses.box.append(box)


def score_predictions(predictions: Predictions, dataset: Dataset, *, name: str) -> pd.DataFrame:
    """The summary of guesses from a file, as ILSVRC scores them.

    Args:
        predictions: the images that they cover are scored, the others counted in ``n_skipped``.
        dataset: the ground truth.
        name: of the predictions in the table.

    Raises:
        PredictionError: no image is predicted, or boxes are of no class.
    """
    if not predictions.ranked:
        raise PredictionError(
            f"{name}: these boxes are of no class: there is no error to count but GT-known; "
            "score them as an experiment, methods: [{name: boxes_from, path: FILE}]"
        )
    image_ids = dataset.images["image_id"]
    covered = image_ids.isin(predictions.image_ids).to_numpy()
    if not covered.any():
        raise PredictionError(f"{name}: no image is predicted")
    guesses = predictions.table
    protocol = _clsloc()
    truth = ImageTruth.of_all(dataset)
    sizes = dataset.images[["height", "width"]].itertuples(index=False)
    places = tuple(protocol.input.place(int(height), int(width)) for height, width in sizes)
    rows = RowBatch(
        ImageBatch(tuple(image_ids), tuple(truth), places),
        pd.Index(image_ids).get_indexer(guesses["image_id"]).astype(np.int64),
        guesses["rank"].to_numpy(np.int64),
        guesses["class"].to_numpy(object),
        np.full(len(guesses), np.nan),
    )
    scoring = scoring_of(protocol, [metrics.get("mean_iou"), metrics.get("box_acc_area")])
    scores = scoring.score_boxes(boxes_of(guesses), rows, rows.is_label)
    images = pd.DataFrame(
        {
            "model": name,
            "image_id": image_ids,
            "label": dataset.images["label"],
            "blacklisted": dataset.images["blacklisted"],
            "n_label_boxes": [len(one.boxes) for one in truth],
            "held_out": False,
            "status": np.where(
                covered, ImageStatus.EVALUATED.value, ImageStatus.NOT_PREDICTED.value
            ),
        }
    )
    names = dict(zip(GROUP, (name, "predictions", "", protocol.name, ""), strict=True))
    table = guesses[["image_id", "rank", "class"]].assign(**scores.rows, status=scores.status)
    results = MethodResults(names, EvaluatedImages.of(images), table, None, scoring)
    return pd.DataFrame([results.line()])


def _clsloc() -> OneBoxProtocol:
    """ILSVRC's rule for boxes: IoU 0.5 in pixels of the image; no map is made by it."""
    protocol = load_protocol("gradcam-2017")
    assert isinstance(protocol, OneBoxProtocol)
    return protocol.model_copy(update={"name": "ilsvrc-clsloc"})


def write_predictions(
    path: Path,
    rows: pd.DataFrame,
    images: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    format: Format,
) -> None:
    """Write the first five guesses of each evaluated image.

    A guess without a box keeps its class and gets a box without a pixel, which overlaps nothing. A
    row without a rank or a class is no guess; before a guess of a class it keeps its place, with
    the label 0. So does a rank without a row (a method that made the map of the own class alone).

    Args:
        path: of the file.
        rows: of one model x method x layer.
        images: of the model, in the data set's order.
        classes: wnid, ilsvrc_id.
        format: devkit or kaggle.

    Raises:
        PredictionError: devkit format without ILSVRC2012_IDs.
    """
    ids = {ROOT_SYNSET: ROOT_ID, **dict(zip(classes["wnid"], classes["ilsvrc_id"], strict=True))}

    def name_of(wnid: str) -> str:
        if wnid == _NO_CLASS:
            return _NO_LABEL
        if format == "kaggle":
            return wnid
        if not ids.get(wnid):
            raise PredictionError(
                "a devkit file names classes by ILSVRC2012_ID, and the run's data set held none "
                f"for {wnid}: give a devkit (meta.mat or synsets.csv) with --devkit DIR, or export "
                "--format kaggle"
            )
        return str(ids[wnid])

    evaluated = images.loc[images["status"] == ImageStatus.EVALUATED, "image_id"].tolist()
    guesses: dict[str, list[str]] = {image_id: [] for image_id in evaluated}
    best = rows[rows["rank"].between(1, TOP_K)].sort_values("rank", kind="stable")
    last = best["rank"].where(best["class"] != _NO_CLASS).groupby(best["image_id"]).transform("max")
    best = best[best["rank"] <= last]  # which is NaN where an image has no guess of a class
    boxes = to_inclusive(boxes_of(best))
    lines_of = zip(best["image_id"], best["rank"], best["class"], boxes, strict=True)
    for image_id, rank, wnid, box in lines_of:
        its = guesses[image_id]
        its += [f"{_NO_LABEL} {_NO_BOX}"] * (rank - 1 - len(its))
        # repr is the shortest text that reads back as the same number.
        corners = _NO_BOX if np.isnan(box).any() else " ".join(map(repr, box.tolist()))
        its.append(f"{name_of(wnid)} {corners}")
    lines = [[" ".join(guesses[image_id])] for image_id in evaluated]
    text = io.StringIO()
    if format == "kaggle":
        table = [[image_id, *line] for image_id, line in zip(evaluated, lines, strict=True)]
        csv.writer(text, lineterminator="\n").writerows([["ImageId", "PredictionString"], *table])
    else:
        text.writelines(f"{line}\n" for [line] in lines)
    write_atomically(path, text.getvalue().encode())
