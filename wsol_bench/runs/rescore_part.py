"""Score the stored maps and boxes of one part by another protocol, or for other metrics."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from wsol_bench.datasets import MaskFiles
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import RunError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes, score_image_boxes
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.schema import MAP_KEYS, RowStatus, Tables, boxes_of
from wsol_bench.runs.scorer import curve_columns
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import ImageBatch, RowBatch, by_shape
from wsol_bench.scoring.measured_columns import NOTHING_MEASURED, MeasuredColumns
from wsol_bench.scoring.scores import Scores

__all__ = ["rescore_part"]


def rescore_part(
    tables: Tables,
    protocol: Protocol,
    scoring: Scoring,
    network_free: Mapping[str, MapsOrBoxes | None],
    made_by: Protocol,
    held_out: Collection[str] = (),
    measured: MeasuredColumns = NOTHING_MEASURED,
) -> Tables:
    """The tables of a part, with the scores that another protocol gives to its maps and boxes.

    Args:
        tables: the tables of the part as they are stored.
        protocol: the new protocol; its input section is that of ``made_by``.
        scoring: the scoring of the new protocol, with its metrics.
        network_free: the maps of each network-free method, by its name; None for a method of
            boxes, whose boxes are in the stored rows.
        made_by: the protocol that the part was made by.
        held_out: the ids of the images that a threshold is selected on.
        measured: the columns that the run's network pass has filled.

    Raises:
        RunError: a stored map belongs to no row.
    """
    images, rows = tables.images.copy(), tables.rows
    images["held_out"] = images["image_id"].isin(held_out)
    if not len(rows):
        return tables._replace(images=images, curves=scoring.curves_table.frame([]))
    batch = _batch(images, rows, protocol)
    scores = _scores(tables, batch, scoring, network_free)
    keys = {key: rows[key].to_numpy(object) for key in MAP_KEYS}
    n = len(rows)
    columns = {
        **keys,
        **{name: rows[name].to_numpy() for name in ("class", "score")},
        "protocol": np.full(n, protocol.name, dtype=object),
        "protocol_hash": np.full(n, protocol.hash, dtype=object),
        "status": scores.status,
        **scores.rows,
        **_measured(rows, measured, same_maps=made_by.map == protocol.map),
    }
    table = scoring.rows_table.with_columns(measured.all)
    lines = [curve_columns(keys, scores)] if scoring.curve_columns else []
    return tables._replace(
        images=images, rows=table.frame([columns]), curves=scoring.curves_table.frame(lines)
    )


def _scores(
    tables: Tables,
    batch: RowBatch,
    scoring: Scoring,
    network_free: Mapping[str, MapsOrBoxes | None],
) -> Scores:
    """The scores of all rows of a part; a row without map or box has nothing to score."""
    rows = tables.rows
    made = rows["status"] != RowStatus.NOT_APPLICABLE
    status = np.where(made, RowStatus.NOT_KEPT.value, RowStatus.NOT_APPLICABLE.value).astype(object)
    scores = scoring.scores_of(status, np.full((len(rows), 4), np.nan))
    for name, maps in network_free.items():
        places = np.flatnonzero(rows["method"].to_numpy(str) == name)
        method_rows = batch.take(places)
        if maps is None:
            method_scores = score_image_boxes(boxes_of(rows)[places], method_rows, scoring)
        else:
            method_scores = maps.score(method_rows, scoring)
        scores = scores.put(places, method_scores)
    for places, map_scores in _scores_of_stored_maps(tables, batch, scoring):
        scores = scores.put(places, map_scores)
    return scores


def _measured(
    rows: pd.DataFrame, measured: MeasuredColumns, *, same_maps: bool
) -> dict[str, Float64[np.ndarray, " r"]]:
    """The columns that the network pass has filled, by name.

    Args:
        rows: the table ``rows``.
        measured: the columns.
        same_maps: whether the maps are upsampled as they were when faithfulness was measured; if
            not, its columns are NaN.
    """
    columns = {column.name: rows[column.name].to_numpy(np.float64) for column in measured.all}
    if not same_maps:
        columns |= {column.name: np.full(len(rows), np.nan) for column in measured.faithfulness}
    return columns


def _batch(images: pd.DataFrame, rows: pd.DataFrame, protocol: Protocol) -> RowBatch:
    """The rows of a part as a batch, with the ground truth that the run has stored."""
    lines = images.set_index("image_id").loc[rows["image_id"].unique()]
    sizes = zip(lines["height"], lines["width"], strict=True)
    columns = (lines[name] for name in ("label", "boxes", "masks", "ignore"))
    batch = ImageBatch(
        tuple(lines.index.tolist()),
        tuple(_truth(*values) for values in zip(*columns, strict=True)),
        tuple(protocol.input.place(height, width) for height, width in sizes),
    )
    return RowBatch(
        batch,
        lines.index.get_indexer(pd.Index(rows["image_id"])).astype(np.int64),
        rows["rank"].to_numpy(np.int64),
        rows["class"].to_numpy(object),
        rows["score"].to_numpy(np.float64),
    )


def _truth(
    label: str,
    boxes: Float64[np.ndarray, " n"] | Sequence[float],
    masks: Collection[str],
    ignore: str,
) -> ImageTruth:
    """The ground truth of an image, from its line of the table ``images``."""
    flat = np.asarray(boxes, np.float64)
    return ImageTruth(label, flat.reshape(-1, 4), MaskFiles.of_names(masks, ignore))


def _scores_of_stored_maps(
    tables: Tables, batch: RowBatch, scoring: Scoring
) -> Iterator[tuple[Int64[np.ndarray, " m"], Scores]]:
    """The positions and the scores of the rows with stored maps, one size of maps at a time."""
    maps = tables.maps
    if not len(maps):
        return
    # A part has one model. Maps are in the order of their rows, but not every row has a map.
    row = pd.MultiIndex.from_frame(tables.rows[MAP_KEYS]).get_indexer(
        pd.MultiIndex.from_frame(maps[MAP_KEYS])
    )
    if (row < 0).any():
        raise RunError(
            "the stored maps do not belong to the stored rows: a map has no row of its model, "
            "method, layer, image and rank; run the experiment again"
        )
    inputs = [batch.images.placements[image].input for image in batch.image[row].tolist()]
    shapes = list(zip(maps["height"].tolist(), maps["width"].tolist(), inputs, strict=True))
    for chosen in by_shape(shapes):
        height, width, _ = shapes[chosen[0]]
        stored = np.frombuffer(b"".join(maps["map"].iloc[chosen]), np.float16)
        values = stored.reshape(-1, height, width).astype(np.float32)
        places = row[chosen].astype(np.int64)
        yield places, scoring.score_maps(values, batch.take(places))
