"""What each image contributes to each number: what intervals and paired tests are made of."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from wsol_bench.metrics.box_acc import AREA_FROM
from wsol_bench.metrics.max_box_acc import best_threshold, hits_of, n_hits
from wsol_bench.metrics.pointing import pointing_hits
from wsol_bench.metrics.selection import SCORED
from wsol_bench.protocols import Protocol

__all__ = ["per_image", "per_image_of_sweep"]


def per_image(rows: pd.DataFrame, images: pd.DataFrame, *, iou: float = 0.5) -> pd.DataFrame:
    """One line an image: accuracies whose means are one minus the errors of the summary.

    Args:
        rows: of one model and method; see docs/rows.md.
        images: of the model.
        iou: least IoU that is a hit.

    Returns:
        By image_id, for evaluated images: top1_cls, top5_cls, top1_loc, top5_loc, gt_known (0 or
        1), iou, box_acc_area, and where measured pointing_game (0 or 1), energy, insertion,
        deletion, average_drop, increase_in_confidence (0 or 1). NaN where an image does not count
        in a number.
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

    def within(best: Float64[np.ndarray, " n"], k: int) -> Float64[np.ndarray, " n"]:
        return (best <= k).astype(np.float64)

    known, hit = first(right), first(right & (fit >= iou))
    has_box = evaluated["n_label_boxes"].to_numpy(np.int64) > 0
    counted = has_box & ~evaluated["blacklisted"].to_numpy(bool)
    nothing = np.full(n, np.nan)
    table = pd.DataFrame(index=evaluated.index)
    ranked = bool((rank > 0).any())
    localized = ranked and bool(rows["status"].isin(SCORED).any())
    for k in (1, 5):
        table[f"top{k}_cls"] = within(known, k) if ranked else nothing
    for k in (1, 5):
        table[f"top{k}_loc"] = np.where(counted, within(hit, k), np.nan) if localized else nothing
    own = _first_own(rows, evaluated, place) & rows["status"].isin(SCORED).to_numpy(bool)
    best_iou = nothing.copy()
    best_iou[place[own][::-1]] = fit[own][::-1]  # the first guess of several
    # As in the summary: no number of all images from the boxes of some.
    best_iou[~counted | ~np.isfinite(known[counted]).all()] = np.nan
    table["gt_known"] = np.where(np.isnan(best_iou), np.nan, best_iou >= iou)
    table["iou"] = best_iou
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
        selected on held-out images selected_box_acc_iou50, at those; pointing_game, energy and
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

    def at_best_of(chosen: list[bytes], name: str) -> None:
        sums = n_hits(chosen, n).astype(np.float64)
        for position, iou in enumerate(ious):
            curve = first + position
            at = best_threshold(sums[curve]).threshold
            values = hits_of(hits, n, curve, at).astype(np.float64)
            column = pd.Series(values, index=ids).reindex(table.index)
            table[f"{name}_iou{100 * iou:g}"] = column

    if hits:
        at_best_of(hits, "box_acc")
    if hits and held_out.any():
        at_best_of(mine["hits"][held_out].tolist(), "selected_box_acc")
    rows = rows[rows["image_id"].isin(evaluated.index)]
    place = evaluated.index.get_indexer(pd.Index(rows["image_id"]))
    _add_pointing(table, rows, evaluated, place)
    _add_faithfulness(table, rows, place)
    return table


def _first_own(
    rows: pd.DataFrame, evaluated: pd.DataFrame, place: np.ndarray
) -> Bool[np.ndarray, " r"]:
    """Which rows are an image's first of its own class."""
    right = rows["class"].to_numpy(str) == evaluated["label"].to_numpy(str)[place]
    rank = rows["rank"].to_numpy(np.float64)
    first = np.full(len(evaluated), np.inf)
    np.minimum.at(first, place[right], rank[right])
    return np.asarray(right & (rank == first[place]))


def _add_pointing(
    table: pd.DataFrame, rows: pd.DataFrame, evaluated: pd.DataFrame, place: np.ndarray
) -> None:
    """Add pointing_game and energy, where there are maps."""
    has_map = rows["status"].isin([*SCORED, "swept"]).to_numpy(bool)
    peaks = rows[["peak_x", "peak_y"]].to_numpy(np.float64)
    own = _first_own(rows, evaluated, place) & has_map
    own &= (evaluated["n_label_boxes"].to_numpy(np.int64) > 0)[place]
    if not np.isfinite(peaks[own]).any():
        return
    boxes = [np.asarray(flat, np.float64).reshape(-1, 4) for flat in evaluated["boxes"]]
    hits, energy = np.full((2, len(table)), np.nan)
    where = place[own]
    hits[where] = pointing_hits(peaks[own], [boxes[index] for index in where])
    energy[where] = rows["energy"].fillna(0.0).to_numpy(np.float64)[own]
    table["pointing_game"], table["energy"] = hits, energy


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
        "average_drop": np.maximum(score - masked, 0) / np.where(score > 0, score, 1),
        "increase_in_confidence": np.where(np.isnan(masked), np.nan, masked > score),
    }
    for name, values in columns.items():
        column = np.full(len(table), np.nan)
        column[place[first]] = values
        table[name] = column
