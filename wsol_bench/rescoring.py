"""Stored maps scored by another protocol, without the network; no files are read or written."""

import numpy as np
import pandas as pd

from wsol_bench.boxes.rule import score_maps
from wsol_bench.errors import RunError
from wsol_bench.evaluate import Tables
from wsol_bench.protocols import Protocol

__all__ = ["scored_again"]

_BOX = ["x0", "y0", "x1", "y1"]
_MAP_KEYS = ["model", "method", "layer", "image_id", "rank"]


def scored_again(tables: Tables, protocol: Protocol) -> pd.DataFrame:
    """The rows with the boxes that a protocol takes from the stored maps.

    Args:
        tables: of one part, as stored.
        protocol: of the same input rule as the one that the maps were made by.

    Raises:
        RunError: maps that belong to no row.
    """
    rows, maps = tables.rows.copy(), tables.maps
    if not len(rows):
        return rows
    rows["protocol"], rows["protocol_hash"] = protocol.name, protocol.hash
    if not len(maps):
        return rows
    images = tables.images.set_index("image_id")
    # A part has one model; maps stand in the order of their rows, but not every row has one.
    row_of = pd.MultiIndex.from_frame(rows[_MAP_KEYS]).get_indexer(
        pd.MultiIndex.from_frame(maps[_MAP_KEYS])
    )
    if (row_of < 0).any():
        raise RunError("the stored maps do not belong to the rows")
    sizes = images.loc[maps["image_id"].unique(), ["height", "width", "boxes"]]
    placements = [
        protocol.input.place(height, width)
        for height, width in zip(sizes["height"], sizes["width"], strict=True)
    ]
    truth = [np.asarray(flat, np.float64).reshape(-1, 4) for flat in sizes["boxes"]]
    image = sizes.index.get_indexer(pd.Index(maps["image_id"]))
    boxes, iou = np.full((len(maps), 4), np.nan), np.zeros(len(maps))
    inputs = pd.DataFrame([placement.input for placement in placements])[[0, 1]].to_numpy()[image]
    shapes = np.column_stack([maps[["height", "width"]].to_numpy(), inputs])
    for shape in np.unique(shapes, axis=0):
        some = np.flatnonzero((shapes == shape).all(axis=1))
        stored = np.frombuffer(b"".join(maps["map"].iloc[some]), np.float16)
        boxes[some], iou[some] = score_maps(
            stored.reshape(-1, *shape[:2]), image[some], placements, truth, protocol
        )
    rows.loc[row_of, _BOX] = boxes
    rows.loc[row_of, "iou"] = iou
    rows.loc[row_of, "status"] = np.where(np.isnan(boxes[:, 0]), "no_box", "box")
    return rows
