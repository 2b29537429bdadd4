"""The numbers and labels that the ILSVRC devkit gives to images."""

import re

import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.datasets.base import ROOT_ID, ROOT_SYNSET
from wsol_bench.datasets.formats.lists import read_numbers
from wsol_bench.datasets.imagenet.layout import Pieces
from wsol_bench.errors import DatasetError

__all__ = ["devkit_labels", "official_numbers"]


def official_numbers(
    pieces: Pieces, ids: pd.Series, complete: pd.Index, split: str
) -> Int64[np.ndarray, " n"]:
    """The number of each image in the devkit's files (1-based line of the ground truth), or 0.

    An official name holds the image's number, so a subset of the images keeps its numbers. If no
    name has a number, positions count, provided that the file has a line for every image.

    Args:
        pieces: places of the devkit's files.
        ids: image ids.
        complete: ids of all images of the split, sorted.
        split: name of the split.

    Raises:
        DatasetError: no name has a number, and the file does not have one line for every image.
    """
    if not (pieces.ground_truth or pieces.blacklist):
        return np.zeros(len(ids), np.int64)
    pattern = rf"_{re.escape(split)}_[0-9]{{8}}$"
    if complete.str.contains(pattern).any():
        last = ids.str[-8:].where(ids.str.contains(pattern), "0")
        return last.astype(np.int64).to_numpy()
    lines = len(read_numbers(pieces.ground_truth)) if pieces.ground_truth else 0
    if lines != len(complete):
        raise DatasetError(
            f"{pieces.ground_truth or pieces.blacklist} numbers images by line: expected image ids "
            f"that end in '_{split}_' and 8 digits, or one line an image, found image ids such as "
            f"{complete[0]!r} and {len(complete)} images for {lines} lines; to do without this "
            "file, name a folder that does not hold it with the option devkit="
        )
    return complete.get_indexer(pd.Index(ids)).astype(np.int64) + 1


def devkit_labels(
    pieces: Pieces, classes: pd.DataFrame, numbers: Int64[np.ndarray, " n"]
) -> np.ndarray:
    """The wnid of every image in the devkit's ground truth; "" if it has none.

    Args:
        pieces: places of the devkit's files.
        classes: table of ``read_class_table``.
        numbers: number of each image, of ``official_numbers``.

    Raises:
        DatasetError: the ground truth has an ID that no class has.
    """
    with_id = classes[classes["ilsvrc_id"] > 0]
    if not pieces.ground_truth or with_id.empty:
        return np.full(len(numbers), "", dtype=object)
    truth = read_numbers(pieces.ground_truth)
    wnid_of = np.full(
        max(ROOT_ID, int(truth.max(initial=0)), int(with_id["ilsvrc_id"].max())) + 1, None
    )
    wnid_of[ROOT_ID] = ROOT_SYNSET
    wnid_of[with_id["ilsvrc_id"]] = with_id["wnid"]
    wnids = wnid_of[truth]
    unknown = np.flatnonzero(wnids == None)  # noqa: E711 (elementwise)
    if len(unknown):
        raise DatasetError(
            f"{pieces.ground_truth}, line {unknown[0] + 1}: expected an ILSVRC2012_ID of the "
            f"{len(with_id)} in {pieces.meta or pieces.synsets}, found {truth[unknown[0]]}"
        )
    padded = np.concatenate([[""], wnids])
    return padded[np.where(numbers <= len(truth), numbers, 0)]
