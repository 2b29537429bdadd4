"""What each image contributes to each number: what intervals and paired tests are made of."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.metrics.box_acc import AREA_FROM
from wsol_bench.metrics.faithfulness import drops, increases
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.metrics.max_box_acc import V1, V2, best_threshold, hits_of, n_hits
from wsol_bench.metrics.pointing import TOLERANCE, pointing_hits
from wsol_bench.metrics.selection import SCORED, first_rows
from wsol_bench.protocols import Protocol

__all__ = ["OF_MAPS", "per_image", "per_image_of_sweep"]

# What is measured of maps, whatever the protocol.
OF_MAPS = (
    *("pointing_game", "pointing_game_15px", "energy_pointing_game"),
    *("insertion", "deletion", "average_drop", "increase_in_confidence"),
)


def per_image(rows: pd.DataFrame, images: pd.DataFrame, *, iou: float = 0.5) -> pd.DataFrame:
    """One line an image: accuracies whose means are one minus the errors of the summary.

    Args:
        rows: of one model and method; see docs/rows.md.
        images: of the model.
        iou: least IoU that is a hit.

    Returns:
        By image_id, for evaluated images, columns that are called as in the summary, and whose
        means are its numbers: errors (0 or 1), mean_iou, box_acc_area, and where measured the
        pointing games and faithfulness. NaN where an image does not count in a number.
    """
    evaluated = images[images["status"] == "evaluated"].set_index("image_id")
    rows = rows[rows["image_id"].isin(evaluated.index)]
    place = evaluated.index.get_indexer(pd.Index(rows["image_id"]))
    n = len(evaluated)
    label = evaluated["label"].to_numpy(str)
    right = rows["class"].to_numpy(str) == label[place]
    fit = rows["iou"].to_numpy(np.float64)
    rank = rows["rank"].to_numpy(np.float64)

    def first(chosen: Bool[np.ndarray, " r"]) -> Float64[np.ndarray, " n"]:
        best = np.full(n, np.inf)
        np.minimum.at(best, place[chosen], rank[chosen])
        return best

    def beyond(best: Float64[np.ndarray, " n"], k: int) -> Float64[np.ndarray, " n"]:
        return (best > k).astype(np.float64)

    known, hit = first(right), first(right & (fit >= iou))
    has_box = evaluated["n_label_boxes"].to_numpy(np.int64) > 0
    counted = has_box & ~evaluated["blacklisted"].to_numpy(bool)
    nothing = np.full(n, np.nan)
    table = pd.DataFrame(index=evaluated.index)
    ranked = bool((rank > 0).any())
    localized = ranked and bool(rows["status"].isin(SCORED).any())
    for k in range(1, TOP_K + 1):
        table[f"top{k}_cls_error"] = beyond(known, k) if ranked else nothing
    for k in range(1, TOP_K + 1):
        of_all = np.where(has_box, beyond(hit, k), np.nan) if localized else nothing
        table[f"top{k}_loc_error"] = np.where(counted, of_all, np.nan)
        if k in (1, TOP_K):
            table[f"top{k}_loc_error_all"] = of_all
    own = _first_own(rows, evaluated, place)
    own = own[rows["status"].isin(SCORED).to_numpy(bool)[own]]
    best_iou = nothing.copy()
    best_iou[place[own]] = fit[own]
    # As in the summary: no number of all images from the boxes of some.
    best_iou[~counted | ~np.isfinite(known[counted]).all()] = np.nan
    table["gt_known_loc_error"] = np.where(np.isnan(best_iou), np.nan, best_iou < iou)
    table["mean_iou"] = best_iou
    table["box_acc_area"] = np.maximum(best_iou - AREA_FROM, 0) / (1 - AREA_FROM)
    _add_pointing(table, rows, evaluated, place)
    _add_faithfulness(table, rows, place)
    return table


def per_image_of_sweep(
    rows: pd.DataFrame, images: pd.DataFrame, curves: pd.DataFrame, protocol: Protocol
) -> pd.DataFrame:
    """The same under a sweep: hits at the threshold that is best for all scored images.

    Args:
        rows, curves: of one model and method.
        images: of the model.
        protocol: whose sweep it is.

    Returns:
        By image_id: box_acc_iou50 and so on for each least IoU (0 or 1), and where thresholds are
        selected on held-out images selected_box_acc_iou50, selected_box_acc and
        selected_box_acc_v2, at those; pointing games and
        faithfulness as in ``per_image``. NaN where an image does not count, as held-out ones.
    """
    if not (protocol.sweep and protocol.box and protocol.scoring):
        raise ValueError(f"expected a protocol with a sweep, found {protocol.name}")
    evaluated = images[images["status"] == "evaluated"].set_index("image_id")
    table = pd.DataFrame(index=evaluated.index)
    ious, n = protocol.scoring.ious, len(protocol.sweep.thresholds)
    first = len(ious) if protocol.box.component == "all" else 0
    counted = evaluated[evaluated["n_label_boxes"] > 0]
    mine = curves[curves["image_id"].isin(counted.index)]
    if len(mine) < len(counted):
        mine = mine[:0]  # as in the summary: a share of some images is another number
    held_out = counted["held_out"].loc[mine["image_id"]].to_numpy(bool)
    hits = mine["hits"][~held_out].tolist()
    ids = mine["image_id"][~held_out]

    held_hits = mine["hits"][held_out].tolist()
    oracle = n_hits(hits, n) if hits else None
    selected = n_hits(held_hits, n) if held_hits else None

    def at_best_of(sums: Int64[np.ndarray, "c t"], curve: int) -> "pd.Series[float]":
        values = hits_of(hits, n, curve, best_threshold(sums[curve].astype(np.float64)).threshold)
        return pd.Series(values.astype(np.float64), index=ids).reindex(table.index)

    if oracle is not None:
        for curve, iou in enumerate(ious, first):
            table[f"box_acc_iou{100 * iou:g}"] = at_best_of(oracle, curve)
    if oracle is not None and selected is not None:
        for curve, iou in enumerate(ious, first):
            table[f"selected_box_acc_iou{100 * iou:g}"] = at_best_of(selected, curve)
        if V1 in ious:
            table["selected_box_acc"] = at_best_of(selected, ious.index(V1))
        if set(V2) <= set(ious) and first:
            columns = [f"selected_box_acc_iou{100 * iou:g}" for iou in V2]
            table["selected_box_acc_v2"] = table[columns].mean(axis=1, skipna=False)
    rows = rows[rows["image_id"].isin(evaluated.index)]
    place = evaluated.index.get_indexer(pd.Index(rows["image_id"]))
    _add_pointing(table, rows, evaluated, place)
    _add_faithfulness(table, rows, place)
    table[evaluated["held_out"].to_numpy(bool)] = np.nan
    return table


def _first_own(
    rows: pd.DataFrame, evaluated: pd.DataFrame, place: Int64[np.ndarray, " r"]
) -> Int64[np.ndarray, " n"]:
    """Positions of the rows that are an image's first of its own class."""
    right = rows["class"].to_numpy(str) == evaluated["label"].to_numpy(str)[place]
    return first_rows(place, right, rows["rank"].to_numpy(np.float64))


def _add_pointing(
    table: pd.DataFrame, rows: pd.DataFrame, evaluated: pd.DataFrame, place: np.ndarray
) -> None:
    """Add the pointing games, where there are maps."""
    if "peak_x" not in rows:  # of a prediction file
        return
    has_map = rows["status"].isin([*SCORED, "swept"]).to_numpy(bool)
    has_box = evaluated["n_label_boxes"].to_numpy(np.int64) > 0
    peaks = rows[["peak_x", "peak_y"]].to_numpy(np.float64)
    own = _first_own(rows, evaluated, place)
    own = own[(has_map & has_box[place])[own]]
    if not np.isfinite(peaks[own]).any():
        return
    boxes = [np.asarray(flat, np.float64).reshape(-1, 4) for flat in evaluated["boxes"]]
    where = place[own]
    truth = [boxes[index] for index in where]
    columns = {
        "pointing_game": pointing_hits(peaks[own], truth),
        "pointing_game_15px": pointing_hits(peaks[own], truth, tolerance=TOLERANCE),
        "energy_pointing_game": rows["energy"].fillna(0.0).to_numpy(np.float64)[own],
    }
    for name, values in columns.items():
        column = np.full(len(table), np.nan)
        column[where] = values
        table[name] = column


def _add_faithfulness(table: pd.DataFrame, rows: pd.DataFrame, place: np.ndarray) -> None:
    """Add the numbers of each image's first prediction, where the network was asked for them."""
    if "insertion" not in rows or not rows["insertion"].notna().any():
        return
    first = (rows["rank"] == 1).to_numpy(bool)
    asked = rows.loc[first]
    score, masked = (asked[name].to_numpy(np.float64) for name in ("score", "masked_score"))
    columns = {
        "insertion": asked["insertion"].to_numpy(np.float64),
        "deletion": asked["deletion"].to_numpy(np.float64),
        "average_drop": drops(score, masked),
        "increase_in_confidence": increases(score, masked),
    }
    for name, values in columns.items():
        column = np.full(len(table), np.nan)
        column[place[first]] = values
        table[name] = column
