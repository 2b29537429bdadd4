"""Prediction files that official tools read, written from the rows of a run.

The formats are those of ``prediction_files``, which reads them back.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common.files import write_atomically
from wsol_bench.common.harmless import csv_text
from wsol_bench.common.vocabulary import PredictionFormat
from wsol_bench.datasets import ROOT_ID, ROOT_SYNSET
from wsol_bench.errors import PredictionError
from wsol_bench.geometry import to_inclusive
from wsol_bench.methods.imported.prediction_files import NO_CLASS
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.runs.schema import ImageStatus, boxes_of

__all__ = ["image_list_of", "write_image_list", "write_predictions"]

# What a file holds for a prediction without a class, and for one without a box: an inclusive box
# without a pixel.
_NO_LABEL = "0"
_NO_BOX = "0 0 -1 -1"


def write_predictions(
    path: Path,
    rows: pd.DataFrame,
    images: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    format: PredictionFormat,
) -> None:
    """Write the first five predictions of each evaluated image.

    A prediction without a box keeps its class and gets a box without a pixel, which overlaps
    nothing. A row without a rank or a class is no prediction; if a prediction of a class follows,
    the row keeps its place, with the label 0. A rank without a row keeps its place in the same way:
    a method that makes only the label's map leaves such ranks.

    Args:
        path: the file.
        rows: the rows of one model x method x layer.
        images: the images of the model, in the data set's order.
        classes: the columns wnid and ilsvrc_id.
        format: devkit or kaggle.

    Raises:
        PredictionError: the format is devkit, and a class has no ILSVRC2012_ID; or it is kaggle,
            and the name of a class has blanks.
    """
    if format == "kaggle":
        _require_no_blanks(rows["class"])
    ids = {ROOT_SYNSET: ROOT_ID, **dict(zip(classes["wnid"], classes["ilsvrc_id"], strict=True))}
    evaluated = images.loc[images["status"] == ImageStatus.EVALUATED, "image_id"].tolist()
    predictions: dict[str, list[str]] = {image_id: [] for image_id in evaluated}
    best = rows[rows["rank"].between(1, TOP_K)].sort_values("rank", kind="stable")
    last = best["rank"].where(best["class"] != NO_CLASS).groupby(best["image_id"]).transform("max")
    best = best[best["rank"] <= last]  # NaN if an image has no prediction of a class
    boxes = to_inclusive(boxes_of(best))
    lines_of = zip(best["image_id"], best["rank"], best["class"], boxes, strict=True)
    for image_id, rank, wnid, box in lines_of:
        of_image = predictions[image_id]
        of_image += [f"{_NO_LABEL} {_NO_BOX}"] * (rank - 1 - len(of_image))
        # repr is the shortest text that reads back as the same number.
        corners = _NO_BOX if np.isnan(box).any() else " ".join(map(repr, box.tolist()))
        label = wnid if format == "kaggle" and wnid != NO_CLASS else _devkit_label(wnid, ids)
        of_image.append(f"{label} {corners}")
    lines = [" ".join(predictions[image_id]) for image_id in evaluated]
    if format == "kaggle":
        text = csv_text(pd.DataFrame({"ImageId": evaluated, "PredictionString": lines}))
    else:
        text = "".join(f"{line}\n" for line in lines)
    write_atomically(path, text.encode())


def image_list_of(path: Path) -> Path:
    """The list of images that lies beside an exported devkit file."""
    return path.with_name(f"{path.name.removesuffix('.txt')}.images.txt")


def write_image_list(path: Path, evaluated: "pd.Series[str]") -> Path:
    """Write the list of images beside a devkit file, whose line i is image i; return its path.

    Raises:
        PredictionError: an image id has several lines, so a list cannot hold it.
    """
    for image_id in evaluated:
        if image_id.splitlines() != [image_id]:
            raise PredictionError(
                f"the list of images has one id a line, so it cannot hold the image {image_id!r}; "
                "rename the file, or export with --format kaggle"
            )
    listing = image_list_of(path)
    write_atomically(listing, ("\n".join(evaluated) + "\n").encode())
    return listing


def _require_no_blanks(names: Iterable[str]) -> None:
    """Raise PredictionError for a class whose name a Kaggle file would take for several values."""
    for name in dict.fromkeys(names):
        if name.split() not in ([name], []):
            raise PredictionError(
                f"a Kaggle file separates its values by blanks, so it cannot name the class "
                f"{name!r}; rename the class, or export with --format devkit"
            )


def _devkit_label(wnid: str, ids: Mapping[str, int]) -> str:
    """The ILSVRC2012_ID of a class; the label 0 of no class."""
    if wnid == NO_CLASS:
        return _NO_LABEL
    if not ids.get(wnid):
        raise PredictionError(
            "a devkit file names classes by ILSVRC2012_ID, and the run's data set held no ID for "
            f"{wnid}; give a devkit (meta.mat or synsets.csv) with --devkit DIR, or export with "
            "--format kaggle"
        )
    return str(ids[wnid])
