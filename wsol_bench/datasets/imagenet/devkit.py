"""What the ILSVRC devkit says of images: their numbers in its files, and their classes."""

import re

import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.datasets.annotations import read_numbers
from wsol_bench.datasets.base import ROOT_ID, ROOT_SYNSET
from wsol_bench.datasets.imagenet.layout import Pieces
from wsol_bench.errors import DatasetError

__all__ = ["devkit_labels", "official_numbers"]


def official_numbers(
    pieces: Pieces, ids: pd.Series, complete: pd.Index, split: str
) -> Int64[np.ndarray, " n"]:
    """The images' numbers in the devkit's files (1-based line of the ground truth); 0: unknown.

    They stand in the official names, so that a subset of the images keeps its numbers. Only where
    no name carries one do positions count, and only if there is a line for every image.
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
            f"{pieces.ground_truth or pieces.blacklist} counts images by line, but no image id "
            f"ends in '_{split}_' and 8 digits (the first is {complete[0]!r}), and there are "
            f"{len(complete)} images for {lines} lines; devkit= can name a folder without that file"
        )
    return complete.get_indexer(pd.Index(ids)).astype(np.int64) + 1


def devkit_labels(
    pieces: Pieces, known: pd.DataFrame, numbers: Int64[np.ndarray, " n"]
) -> np.ndarray:
    """The wnid of every image by the devkit's ground truth; "" where it does not say."""
    with_id = known[known["ilsvrc_id"] > 0]
    if not pieces.ground_truth or with_id.empty:
        return np.full(len(numbers), "", dtype=object)
    truth = read_numbers(pieces.ground_truth)
    name_of = np.full(
        max(ROOT_ID, int(truth.max(initial=0)), int(with_id["ilsvrc_id"].max())) + 1, None
    )
    name_of[ROOT_ID] = ROOT_SYNSET
    name_of[with_id["ilsvrc_id"]] = with_id["wnid"]
    wnids = name_of[truth]
    unknown = np.flatnonzero(wnids == None)  # noqa: E711 (elementwise)
    if len(unknown):
        raise DatasetError(
            f"{pieces.ground_truth}, line {unknown[0] + 1}: expected an ILSVRC2012_ID of the "
            f"{len(with_id)} in {pieces.meta or pieces.synsets}, found {truth[unknown[0]]}"
        )
    padded = np.concatenate([[""], wnids])
    return padded[np.where(numbers <= len(truth), numbers, 0)]
