"""Stored maps scored by another protocol, without the network; no files are read or written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from wsol_bench.boxes.rule import Scores, Truth, score_maps, status_of
from wsol_bench.datasets import MaskFiles
from wsol_bench.errors import RunError
from wsol_bench.evaluate import Tables, curve_columns, score_columns
from wsol_bench.geometry import Placement
from wsol_bench.protocols import MapRule, Protocol
from wsol_bench.sources import Asked, Given, GivenBoxes

__all__ = ["scored_again"]

_MAP_KEYS = ["model", "method", "layer", "image_id", "rank"]
_BOX = ["x0", "y0", "x1", "y1"]


def scored_again(
    tables: Tables,
    protocol: Protocol,
    sources: Mapping[str, Given | None],
    map_rule: MapRule,
    held_out: Collection[str] = (),
) -> Tables:
    """The tables with the scores that a protocol gives to the stored maps.

    Args:
        tables: of one part, as stored.
        protocol: of the same input rule as the one that the maps were made by.
        sources: by name, maps that are not stored, as they are had elsewhere; None for boxes.
        map_rule: that faithfulness was measured by.
        held_out: ids of the images that a threshold is selected on.

    Raises:
        RunError: maps that belong to no row.
    """
    images, rows = tables.images.copy(), tables.rows.copy()
    images["held_out"] = images["image_id"].isin(held_out)
    if not len(rows):
        return tables._replace(images=images)
    rows["protocol"], rows["protocol_hash"] = protocol.name, protocol.hash
    facts = images.set_index("image_id").loc[rows["image_id"].unique()]
    image = facts.index.get_indexer(pd.Index(rows["image_id"]))
    placements = [
        protocol.input.place(height, width)
        for height, width in zip(facts["height"], facts["width"], strict=True)
    ]
    columns = (facts[name] for name in ("boxes", "masks", "ignore"))
    truth = [_truth(*line) for line in zip(*columns, strict=True)]
    own = rows["class"].to_numpy(str) == facts["label"].to_numpy(str)[image]
    asked = Asked(image, rows["rank"].to_numpy(np.int64), rows["class"].to_numpy(object), own)

    scores = Scores.none(len(rows))
    status = rows["status"].to_numpy(object, copy=True)
    for name, given in sources.items():
        mine = np.flatnonzero(rows["method"].to_numpy(str) == name)
        boxes = None if given else rows[_BOX].to_numpy(np.float64)[mine]
        some = Asked(image[mine], asked.rank[mine], asked.label[mine], own[mine], boxes)
        ids = facts.index.tolist()
        source = given or GivenBoxes({}, "", ranked=False)
        theirs, status[mine] = source.score(ids, some, placements, truth, protocol)
        _put(scores, mine, theirs)
    for mine, theirs in _stored(tables, rows, asked, placements, truth, protocol):
        status[mine] = status_of(theirs, protocol)
        _put(scores, mine, theirs)
    for column, values in score_columns(scores).items():
        rows[column] = values
    rows["status"] = status
    if map_rule != protocol.map:  # the network was asked about maps that were upsampled otherwise
        rows[["insertion", "deletion", "masked_score"]] = np.nan
    keys = {key: rows[key].to_numpy(object) for key in _MAP_KEYS}
    curves = pd.DataFrame(curve_columns(keys, scores))
    return tables._replace(images=images, rows=rows, curves=curves)


def _truth(
    boxes: Float64[np.ndarray, " n"] | Sequence[float], masks: Collection[str], ignore: str
) -> Truth:
    """The ground truth of an image, as its line of the images table tells it."""
    files = MaskFiles(tuple(map(Path, masks)), Path(ignore) if ignore else None)
    return Truth(np.asarray(boxes, np.float64).reshape(-1, 4), files if len(masks) else None)


def _stored(
    tables: Tables,
    rows: pd.DataFrame,
    asked: Asked,
    placements: Sequence[Placement],
    truth: Sequence[Truth],
    protocol: Protocol,
) -> Iterator[tuple[Int64[np.ndarray, " m"], Scores]]:
    """The scores of the stored maps and their rows, those of one size at a time."""
    maps = tables.maps
    if not len(maps):
        return
    # A part has one model; maps stand in the order of their rows, but not every row has one.
    row = pd.MultiIndex.from_frame(rows[_MAP_KEYS]).get_indexer(
        pd.MultiIndex.from_frame(maps[_MAP_KEYS])
    )
    if (row < 0).any():
        raise RunError("the stored maps do not belong to the rows")
    inputs = np.array([placement.input for placement in placements])[asked.image[row]]
    shapes = np.column_stack([maps[["height", "width"]].to_numpy(), inputs])
    for shape in np.unique(shapes, axis=0):
        some = np.flatnonzero((shapes == shape).all(axis=1))
        stored = np.frombuffer(b"".join(maps["map"].iloc[some]), np.float16)
        values = stored.reshape(-1, *shape[:2]).astype(np.float32)
        mine = row[some]
        yield (
            mine,
            score_maps(values, asked.image[mine], asked.own[mine], placements, truth, protocol),
        )


def _put(scores: Scores, rows: Int64[np.ndarray, " m"], some: Scores) -> None:
    """Write the scores of some rows in their places."""
    for whole, part in zip(scores[:4], some[:4], strict=True):
        whole[rows] = part
    scores.curves.update((int(rows[index]), curve) for index, curve in some.curves.items())
