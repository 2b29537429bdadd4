"""The numbers of a run, one line a model x method x layer x protocol."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.metrics.localization import GROUP, TOP_K, clsloc_errors
from wsol_bench.metrics.max_box_acc import V1, V2, best_threshold, n_hits
from wsol_bench.metrics.per_image import OF_MAPS, per_image
from wsol_bench.metrics.pixel_ap import peak_iou, pixel_average_precision
from wsol_bench.protocols import Protocol

__all__ = ["summarize"]


def summarize(
    rows: pd.DataFrame,
    images: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    *,
    protocol: Protocol | None = None,
    groups: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One line of numbers a model x method x layer x protocol, in order of appearance.

    Args:
        rows, images, curves, costs: of a run; see docs/rows.md. Images that were not evaluated are
            counted in ``n_skipped`` and enter no number. Of the rows those of the own class and of
            rank 1 matter.
        protocol: that the rows were made by; by default ILSVRC's least IoU of 0.5.
        groups: the lines to make (columns ``GROUP``), whether they have rows or not; by default
            those that have.

    Returns:
        The columns of ``GROUP``, status, counts, and the numbers that the protocol defines
        (docs/metrics.md).
    """
    if groups is None:
        groups = rows[GROUP].drop_duplicates()
    lines = []
    for group in groups[GROUP].to_dict(orient="records"):
        of_model = images[images["model"] == group["model"]]
        evaluated = of_model[of_model["status"] == "evaluated"]
        mine = _of_group(rows, group)
        known = mine["status"].ne("not_applicable")
        status = "ok" if len(evaluated) else "no_images"
        if len(mine) and not known.all():  # a number of some images is not the method's
            status = "not_applicable"
        line: dict[Any, Any] = {
            **group,
            "status": status,
            "n_images": len(evaluated),
            "n_skipped": len(of_model) - len(evaluated),
            "n_missing": _n_missing(mine, evaluated),
        }
        iou = protocol.scoring.ious[0] if protocol and protocol.scoring else 0.5
        scored = evaluated
        if protocol is not None and protocol.sweep:
            scored = evaluated[~evaluated["held_out"].to_numpy(bool)]
        of_images = per_image(mine, scored, iou=iou)
        if protocol is None or (protocol.box and not protocol.sweep):
            line |= _one_box(mine, evaluated, iou, applicable=status != "not_applicable")
            line |= {name: float(of_images[name].mean()) for name in ("mean_iou", "box_acc_area")}
        elif curves is not None:
            its_curves = _of_group(curves, {key: group[key] for key in GROUP[:3]})
            facts = its_curves.merge(
                evaluated[["image_id", "n_label_boxes", "held_out"]], on="image_id"
            )
            n_counted = int((evaluated["n_label_boxes"] > 0).sum())
            line |= (
                _pixels(facts, protocol) if protocol.pixels else _sweep(facts, n_counted, protocol)
            )
        line |= {name: float(of_images[name].mean()) for name in OF_MAPS if name in of_images}
        if costs is not None:
            line |= _cost(_of_group(costs, {key: group[key] for key in GROUP[:3]}))
        lines.append(line)
    return pd.DataFrame(lines)


def _cost(costs: pd.DataFrame) -> dict[str, float | str]:
    """Of an image, on average; and why a method is not applicable, or ""."""
    n_images = costs["n_images"].sum() or np.nan
    names = {"forward": "forward_passes", "backward": "backward_passes", "head": "head_passes"}
    names["seconds"] = "seconds"
    reason = next((one for one in costs["reason"] if one), "")
    means = {name: float(costs[column].sum() / n_images) for column, name in names.items()}
    return {**means, "reason": reason}


def _n_missing(rows: pd.DataFrame, evaluated: pd.DataFrame) -> int:
    """Images of which there is neither map nor box for their own class, or nothing at all."""
    missing = rows[rows["status"] == "missing"]
    own = missing.merge(evaluated[["image_id", "label"]], on="image_id")
    return int(own.loc[(own["class"] == own["label"]) | (own["class"] == ""), "image_id"].nunique())


def _of_group(table: pd.DataFrame, group: dict[Any, Any]) -> pd.DataFrame:
    for column, value in group.items():
        table = table[table[column] == value]
    return table


def _one_box(
    rows: pd.DataFrame, evaluated: pd.DataFrame, iou: float, *, applicable: bool
) -> dict[str, Any]:
    """ILSVRC's errors, and GT-known."""
    errors = clsloc_errors(rows, evaluated, iou=iou)
    if len(rows) and (rows["rank"] == 0).all():  # nobody has classified
        errors = errors._replace(
            cls=np.full(TOP_K, np.nan), loc=np.full(TOP_K, np.nan), loc_all=np.full(TOP_K, np.nan)
        )
    if not applicable:
        nothing = np.full(TOP_K, np.nan)
        errors = errors._replace(loc=nothing, loc_all=nothing, gt_known=float("nan"))
    return {
        "n_blacklisted": int(evaluated["blacklisted"].sum()),
        "n_without_box": int((evaluated["n_label_boxes"] == 0).sum()),
        **{f"top{k}_cls_error": errors.cls[k - 1] for k in range(1, TOP_K + 1)},
        **{f"top{k}_loc_error": errors.loc[k - 1] for k in range(1, TOP_K + 1)},
        "gt_known_loc_error": errors.gt_known,
        "top1_loc_error_all": errors.loc_all[0],
        "top5_loc_error_all": errors.loc_all[TOP_K - 1],
    }


def _sweep(facts: pd.DataFrame, n_counted: int, protocol: Protocol) -> dict[str, Any]:
    """MaxBoxAcc and MaxBoxAccV2, at the oracle thresholds, and at selected ones where asked.

    Images without a box of their class are not counted; blacklisted ones are, as by the authors.
    There is no number unless each of the ``n_counted`` images has a map or a box of its class.
    """
    assert protocol.box and protocol.scoring and protocol.sweep
    thresholds, ious = protocol.sweep.thresholds, protocol.scoring.ious
    facts = facts[facts["n_label_boxes"] > 0]
    if len(facts) < n_counted:
        return {"n_scored": 0}  # a share of the others would be another number
    held_out = facts["held_out"].to_numpy(bool)
    hits = facts["hits"]
    scored = _accuracy(hits[~held_out].tolist(), len(thresholds), len(ious))
    line: dict[str, Any] = {"n_scored": int((~held_out).sum())}
    if scored is None:
        return line
    every = protocol.box.component == "all"
    kinds = {"largest": scored[0]} | ({"all": scored[1]} if every else {})
    curves = dict(zip(ious, kinds["all" if every else "largest"], strict=True))
    if V1 in ious:
        best = best_threshold(kinds["largest"][ious.index(V1)])
        line["max_box_acc"] = best.accuracy
        line["max_box_acc_threshold"] = float(thresholds[best.threshold])
    if every and set(V2) <= set(ious):
        line["max_box_acc_v2"] = float(
            np.mean([best_threshold(curves[iou]).accuracy for iou in V2])
        )
    for iou, curve in curves.items():
        best = best_threshold(curve)
        line[f"max_box_acc_iou{100 * iou:g}"] = best.accuracy
        line[f"threshold_iou{100 * iou:g}"] = float(thresholds[best.threshold])
    if protocol.sweep.select_on is None:
        return line
    line["n_held_out"] = int(held_out.sum())
    chosen = _accuracy(hits[held_out].tolist(), len(thresholds), len(ious))
    if chosen is None:
        return line
    for position, iou in enumerate(ious):
        kind, name = (1 if every else 0), f"iou{100 * iou:g}"
        at = best_threshold(chosen[kind][position]).threshold
        line[f"selected_box_acc_{name}"] = float(scored[kind][position][at])
        line[f"selected_threshold_{name}"] = float(thresholds[at])
        line[f"gap_{name}"] = line[f"max_box_acc_{name}"] - line[f"selected_box_acc_{name}"]
    if V1 in ious:
        position = ious.index(V1)
        at = best_threshold(chosen[0][position]).threshold
        line["selected_box_acc"] = float(scored[0][position][at])
        line["gap"] = line["max_box_acc"] - line["selected_box_acc"]
    if "max_box_acc_v2" in line:
        selected = [line[f"selected_box_acc_iou{100 * iou:g}"] for iou in V2]
        line["selected_box_acc_v2"] = float(np.mean(selected))
        line["gap_v2"] = line["max_box_acc_v2"] - line["selected_box_acc_v2"]
    return line


def _accuracy(
    hits: list[bytes], n_thresholds: int, n_ious: int
) -> Float64[np.ndarray, "kinds ious t"] | None:
    """BoxAcc of each kind of component, least IoU and threshold; None of no image."""
    if not hits:
        return None
    return (n_hits(hits, n_thresholds) / len(hits)).reshape(-1, n_ious, n_thresholds)


def _pixels(facts: pd.DataFrame, protocol: Protocol) -> dict[str, Any]:
    """PxAP and peak IoU over all pixels of the set."""
    assert protocol.pixels
    thresholds = np.append(protocol.pixels.thresholds, 1.0)
    counts = [
        np.frombuffer(b"".join(facts[name]), "<u4").reshape(-1, len(thresholds)).sum(axis=0)
        for name in ("foreground", "background")
    ]
    foreground, background = (count.astype(np.int64) for count in counts)
    peak = peak_iou(foreground, background)
    best = float("nan") if np.isnan(peak.iou) else float(thresholds[peak.threshold])
    return {
        "n_scored": len(facts),
        "px_ap": pixel_average_precision(foreground, background),
        "p_iou": peak.iou,
        "p_iou_threshold": best,
    }
