"""Prediction files: read and score what the official tools read and write.

    devkit   line i is image i of the data set: groups of ``label xmin ymin xmax ymax``, label the
             ILSVRC2012_ID (1..1000)
    kaggle   ``ImageId,PredictionString``: by image id, groups of ``wnid xmin ymin xmax ymax``
    boxes    ``image_id,xmin,ymin,xmax,ymax``: by image id, the image's one class-agnostic box; or
             ``image_id,x0,y0,x1,y1``, half-open

Corners are 0-based inclusive. Predictions are never clipped, rounded or reordered. No prediction is
rejected for its geometry, because the official tools take any number; but a class-agnostic box must
be finite.

``written_predictions`` writes the first two formats.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.text_files import read_lines
from wsol_bench.common.vocabulary import PredictionFormat
from wsol_bench.datasets import ROOT_ID, ROOT_SYNSET, Dataset
from wsol_bench.datasets.box_frames import all_are_shares
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import PredictionError
from wsol_bench.geometry import HALF_OPEN, INCLUSIVE, Convention
from wsol_bench.metrics.base import metrics
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.schema import GROUP, ImageStatus, boxes_of
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.summary import MethodResults

__all__ = [
    "NO_CLASS",
    "OtherImagesError",
    "Predictions",
    "Readable",
    "read_predictions",
    "score_predictions",
]

Readable = Literal[PredictionFormat, "boxes"]

_INCLUSIVE_HEADER = ["image_id", "xmin", "ymin", "xmax", "ymax"]
_HALF_OPEN_HEADER = ["image_id", "x0", "y0", "x1", "y1"]

# The lines that the format is looked for in.
_HEAD = 1000
# The class of a label that names no class (in the devkit, 0 is "no prediction"); never right.
NO_CLASS = ""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions in a file.

    Attributes:
        table: one line for each prediction: image_id, rank, class (wnid), x0, y0, x1, y1
            (half-open). A class-agnostic box has rank 0 and class "".
        image_ids: the images that the file covers, with predictions or without.
        ranked: whether the predictions name classes, and are ranked.
    """

    table: pd.DataFrame
    image_ids: tuple[str, ...]
    ranked: bool


class OtherImagesError(PredictionError):
    """A devkit file has not one line for each image of the data set."""


class _ImagePredictions(NamedTuple):
    """The predictions of one image in a file, best first.

    Attributes:
        classes: wnid of each prediction; "" for no class.
        corners: xyxy pixels as they stand in the file, four numbers for each prediction.
    """

    classes: list[str]
    corners: list[float]


class _Read(NamedTuple):
    """The content of a file: the predictions of each image, and the convention of their corners."""

    by_image: dict[str, _ImagePredictions]
    convention: Convention


def read_predictions(
    path: Path, dataset: Dataset, *, format: Readable | None = None
) -> Predictions:
    """Read a prediction file.

    Args:
        path: the file.
        dataset: the data set that the file predicts; gives the images' order and the classes' IDs.
        format: the file's format; by default the first line decides.

    Raises:
        PredictionError: the file has another format; the message names the line, what was expected
            there and what was found. Or no box is in pixels.
    """
    lines: Iterator[str] = (line.rstrip("\r\n") for line in read_lines(path, PredictionError))
    if format is None:
        head = list(islice(lines, _HEAD))
        format = _format_of(path, head)
        lines = chain(head, lines)
    read = {"kaggle": _read_kaggle, "devkit": _read_devkit, "boxes": _read_boxes}[format]
    by_image, convention = read(path, lines, dataset)
    images = by_image.values()
    ranked = format != "boxes"
    counts = np.array([len(image.classes) for image in images], np.int64)
    ranks = [rank if ranked else 0 for count in counts for rank in range(1, count + 1)]
    corners = np.array(list(chain.from_iterable(image.corners for image in images)), np.float64)
    table = pd.DataFrame(
        {
            "image_id": np.repeat(np.array(list(by_image), dtype=object), counts),
            "rank": np.array(ranks, dtype=np.int64),
            "class": list(chain.from_iterable(image.classes for image in images)),
        }
    )
    corners = corners.reshape(-1, 4)
    boxes = convention.to_half_open(corners)
    written = corners[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    if all_are_shares(written):
        raise PredictionError(
            f"{path}: expected boxes in pixels of the images, found shares of their sides: no "
            f"coordinate is above {written.max():g}; multiply x by the width and y by the height"
        )
    table[["x0", "y0", "x1", "y1"]] = boxes
    return Predictions(table, tuple(by_image), ranked)


def _format_of(path: Path, lines: list[str]) -> Readable:
    """The format of a file, by its first line; PredictionError if it has none of the formats."""
    first = lines[0].lstrip('" ') if lines else ""
    if first.startswith("ImageId"):
        return "kaggle"
    if first.startswith("image_id"):
        return "boxes"
    line = next((line for line in lines if line.strip()), "")
    if not all(map(_is_number, line.split())) or not lines:
        found = repr(line[:60]) if lines else "an empty file"
        raise PredictionError(
            f"{path}: this is no prediction file: expected groups of five numbers, label xmin ymin "
            "xmax ymax (devkit), or the header ImageId,PredictionString (Kaggle), or the header "
            f"{','.join(_INCLUSIVE_HEADER)} (boxes); found {found}"
        )
    return "devkit"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_devkit(path: Path, lines: Iterator[str], dataset: Dataset) -> _Read:
    if not (dataset.classes["ilsvrc_id"] > 0).any():
        raise PredictionError(
            f"{path}: a devkit file names classes by ILSVRC2012_ID, which the data set "
            f"{dataset.name} does not hold; for ImageNet point at a devkit (meta.mat or "
            "synsets.csv) with --option devkit=DIR, and for other classes name them in a Kaggle "
            "file (ImageId,PredictionString)"
        )
    wnid_of = dict(zip(dataset.classes["ilsvrc_id"], dataset.classes["wnid"], strict=True))
    wnid_of[ROOT_ID] = ROOT_SYNSET
    of_images = list(islice(lines, len(dataset)))
    others = (number for number, line in enumerate(lines, len(dataset) + 1) if line.strip())
    n_lines = max(others, default=len(of_images))  # empty lines may follow
    if n_lines != len(dataset):
        raise OtherImagesError(
            f"{path}: expected one line for each image, {len(dataset)} in the data set, "
            f"found {n_lines}; name a subset of the data set with --option subset=FILE "
            "(image ids, one per line)"
        )
    image_ids = dataset.images["image_id"].tolist()
    by_image = {
        image_id: _predictions_in(line.split(), f"{path}:{number}", wnid_of)
        for number, (image_id, line) in enumerate(zip(image_ids, of_images, strict=True), start=1)
    }
    return _Read(by_image, INCLUSIVE)


def _read_kaggle(path: Path, lines: Iterator[str], dataset: Dataset) -> _Read:
    records = _records(path, lines)
    header = [name.strip() for name in next(records, [])]
    if header != ["ImageId", "PredictionString"]:
        raise PredictionError(
            f"{path}:1: expected the header ImageId,PredictionString, found {','.join(header)!r}"
        )
    by_image = {
        image_id: _predictions_in(text.split(), place, None)
        for place, image_id, (text,) in _image_records(path, records, 2, dataset)
    }
    named = {name for image in by_image.values() for name in image.classes}
    known = dataset.classes["wnid"].tolist()
    if named and named.isdisjoint({*known, ROOT_SYNSET}):
        raise PredictionError(
            f"{path}: expected classes of the data set {dataset.name} ({_first_names(known)}), "
            f"found none of them: {_first_names(sorted(named))}"
        )
    return _Read(by_image, INCLUSIVE)


def _first_names(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])])


def _read_boxes(path: Path, lines: Iterator[str], dataset: Dataset) -> _Read:
    records = _records(path, lines)
    header = [name.strip() for name in next(records, [])]
    if header not in (_INCLUSIVE_HEADER, _HALF_OPEN_HEADER):
        expected = f"{','.join(_INCLUSIVE_HEADER)} or {','.join(_HALF_OPEN_HEADER)}"
        raise PredictionError(f"{path}:1: expected the header {expected}, found {','.join(header)}")
    predictions = {}
    for place, image_id, fields in _image_records(path, records, len(header), dataset):
        try:
            corners = [float(field) for field in fields]
        except ValueError as error:
            raise PredictionError(f"{place}: expected 4 numbers, found {fields}") from error
        if not all(map(math.isfinite, corners)):
            raise PredictionError(f"{place}: expected 4 finite numbers, found {fields}")
        predictions[image_id] = _ImagePredictions([NO_CLASS], corners)
    return _Read(predictions, INCLUSIVE if header == _INCLUSIVE_HEADER else HALF_OPEN)


def _records(path: Path, lines: Iterator[str]) -> Iterator[list[str]]:
    """The records of a CSV file."""
    try:
        yield from csv.reader(lines)
    except csv.Error as error:
        raise PredictionError(f"{path}: {error}") from error


def _image_records(
    path: Path, records: Iterator[list[str]], n_columns: int, dataset: Dataset
) -> Iterator[tuple[str, str, list[str]]]:
    """The records behind the header of a CSV file: place in the file, image id, other fields.

    Raises:
        PredictionError: a record has another number of columns, its image is not in the data set,
            or two records have the same image.
    """
    image_ids = set(dataset.images["image_id"])
    earlier_ids: set[str] = set()
    for number, record in enumerate(records, start=2):
        if not record:
            continue
        place = f"{path}:{number}"
        if len(record) != n_columns:
            raise PredictionError(f"{place}: expected {n_columns} columns, found {len(record)}")
        image_id = record[0].strip()
        if image_id in earlier_ids:
            raise PredictionError(f"{place}: image {image_id!r} has two lines, expected one")
        if image_id not in image_ids:
            raise PredictionError(f"{place}: image {image_id!r} is not in data set {dataset.name}")
        earlier_ids.add(image_id)
        yield place, image_id, record[1:]


def _predictions_in(
    fields: Sequence[str], place: str, wnid_of: dict[int, str] | None
) -> _ImagePredictions:
    """The predictions on a line: groups of a label and four corners.

    Args:
        fields: the line, split at white space.
        place: file and line, for messages.
        wnid_of: the wnid of each label that is a number; None if labels are wnids.
    """
    if len(fields) % 5:
        raise PredictionError(
            f"{place}: expected groups of 5 (label xmin ymin xmax ymax), found {len(fields)} fields"
        )
    predictions = _ImagePredictions([], [])
    for start in range(0, len(fields), 5):
        try:
            corners = [float(field) for field in fields[start + 1 : start + 5]]
            label = fields[start]
            if wnid_of is not None:
                number = float(label)  # matlab writes 1e2 for 100
                label = wnid_of.get(int(number), NO_CLASS) if number.is_integer() else NO_CLASS
        except (ValueError, OverflowError) as error:
            expected = "an ILSVRC2012_ID" if wnid_of else "the name of a class"
            raise PredictionError(
                f"{place}: expected {expected} and 4 numbers, found "
                f"{' '.join(fields[start : start + 5])!r}"
            ) from error
        predictions.classes.append(label)
        predictions.corners.extend(corners)
    return predictions


def score_predictions(predictions: Predictions, dataset: Dataset, *, name: str) -> pd.DataFrame:
    """The summary of a file's predictions, scored as ILSVRC does.

    Args:
        predictions: the predictions. Images that they do not cover are counted in ``n_skipped``.
        dataset: the ground truth.
        name: the name of the predictions in the summary.

    Raises:
        PredictionError: no image is predicted, or the boxes have no classes.
    """
    if not predictions.ranked:
        raise PredictionError(
            f"{name}: expected predictions of classes, found boxes without a class, for which only "
            "GT-known localization is defined; score them in an experiment, with "
            "methods: [{name: boxes_from, path: FILE}]"
        )
    image_ids = dataset.images["image_id"]
    covered = image_ids.isin(predictions.image_ids).to_numpy()
    if not covered.any():
        raise PredictionError(f"{name}: no image is predicted; expected at least one prediction")
    table = predictions.table
    # ILSVRC's rule for boxes: IoU 0.5 in pixels of the image. No map is made by this protocol.
    protocol = load_protocol("gradcam-2017").model_copy(update={"name": "ilsvrc-clsloc"})
    truth = ImageTruth.of_all(dataset)
    sizes = dataset.images[["height", "width"]].itertuples(index=False)
    placements = tuple(protocol.input.place(int(height), int(width)) for height, width in sizes)
    rows = RowBatch(
        ImageBatch(tuple(image_ids), tuple(truth), placements),
        pd.Index(image_ids).get_indexer(table["image_id"]).astype(np.int64),
        table["rank"].to_numpy(np.int64),
        table["class"].to_numpy(object),
        np.full(len(table), np.nan),
    )
    scoring = scoring_of(protocol, [metrics.get("mean_iou"), metrics.get("box_acc_area")])
    scores = scoring.score_boxes(boxes_of(table), rows, rows.is_label)
    images = pd.DataFrame(
        {
            "model": name,
            "image_id": image_ids,
            "label": dataset.images["label"],
            "blacklisted": dataset.images["blacklisted"],
            "n_label_boxes": [len(of_image.boxes) for of_image in truth],
            "held_out": False,
            "status": np.where(
                covered, ImageStatus.EVALUATED.value, ImageStatus.NOT_PREDICTED.value
            ),
        }
    )
    keys = dict(zip(GROUP, (name, "predictions", "", protocol.name, ""), strict=True))
    scored = table[["image_id", "rank", "class"]].assign(**scores.rows, status=scores.status)
    results = MethodResults(keys, EvaluatedImages.of(images), scored, None, scoring)
    return pd.DataFrame([results.line()])
