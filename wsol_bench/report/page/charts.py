"""The data of the page's charts, over all images of the runs."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.report.numbers import title_of
from wsol_bench.report.page.collection import Collection, Line
from wsol_bench.report.page.outcomes import HIT, NOT_DEFINED
from wsol_bench.report.tables import records

__all__ = ["charts", "iou_curves", "threshold_curves"]

# IoUs of the curves over IoU, and the most thresholds of a curve over thresholds.
_IOUS = np.linspace(0.0, 1.0, 101)
_MOST_THRESHOLDS = 250


def charts(collection: Collection) -> dict[str, Any]:
    """The data of all charts, as ``Charts``."""
    lines = list(enumerate(collection.lines))
    return {
        "thresholds": threshold_curves(collection),
        "ious": iou_curves(collection),
        "by_size": [row for n, line in lines for row in _bins(n, line, "size")],
        "by_instances": [row for n, line in lines for row in _bins(n, line, "instances")],
        "by_class": [
            {**row, "words": collection.words(row["bin"])}
            for n, line in lines
            for row in _bins(n, line, "class")
        ],
        "failure_modes": [row for n, line in lines for row in _failure_modes(n, line)],
        "agreement": [
            pair
            for model in range(len(collection.models))
            for pair in _agreement(collection.lines, collection.lines_of(model))
        ],
    }


def threshold_curves(collection: Collection) -> list[dict[str, Any]]:
    """The curves over the threshold of all lines that have them, as ``ThresholdCurve``."""
    lines = enumerate(collection.lines)
    return [curve for n, line in lines for curve in _threshold_curves(n, line)]


def iou_curves(collection: Collection) -> list[dict[str, Any]]:
    """The curves over the IoU of all lines that have them, as ``IouCurve``."""
    lines = enumerate(collection.lines)
    return [curve for n, line in lines for curve in _iou_curve(n, line)]


def _threshold_curves(number: int, line: Line) -> Iterator[dict[str, Any]]:
    """Each number of a line that is a share of hits at the best of many thresholds."""
    for name, (thresholds, means, chosen, n_images) in line.curves.items():
        step = -(-len(thresholds) // _MOST_THRESHOLDS)
        marked = [means.argmax()] + ([] if chosen is None else [chosen.argmax()])
        shown = np.union1d(np.arange(0, len(thresholds), step), marked)
        yield {
            "line": number,
            "number": name,
            "title": title_of(name),
            "thresholds": _rounded(thresholds[shown]),
            "shares": _rounded(means[shown]),
            "best": None if line.threshold is None else float(thresholds[means.argmax()]),
            "selected": None
            if chosen is None or line.threshold is None
            else float(thresholds[chosen.argmax()]),
            "of": f"{n_images} images",
        }


def _iou_curve(number: int, line: Line) -> Iterator[dict[str, Any]]:
    ious = np.sort(line.iou[line.counted & ~np.isnan(line.iou)].astype(np.float64))
    if not (line.complete and len(ious)):
        return
    # IoUs are held as float32, and so are compared as such.
    below = np.searchsorted(ious, _IOUS.astype(np.float32), side="left")
    shares = 1 - below / len(ious)
    yield {"line": number, "ious": _rounded(_IOUS), "shares": _rounded(shares)}


def _bins(number: int, line: Line, by: str) -> Iterator[dict[str, Any]]:
    table = line.details.get(f"by_{by}", pd.DataFrame())
    errors = ["gt_known_loc_error", "top1_loc_error", "mean_iou"]
    if not len(table):
        return
    chosen = table[["n_images", *errors]].astype({"n_images": int})
    for name, values in zip(table[by].astype(str), records(chosen.round(6)), strict=True):
        yield {"line": number, "bin": name, **values}


def _failure_modes(number: int, line: Line) -> Iterator[dict[str, Any]]:
    table = line.details.get("failure_modes", pd.DataFrame())
    for question, rows in table.groupby("of") if len(table) else ():
        yield {
            "line": number,
            "of": question,
            "n_images": rows["n_images"].tolist(),
            "share": _rounded(rows["share"].to_numpy(np.float64)),
        }


def _agreement(lines: Sequence[Line], of_model: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Each pair of lines of a model, with the numbers of images that they hit."""
    hits = {n: lines[n].gt_known == HIT for n in of_model}
    known = {n: lines[n].counted & (lines[n].gt_known != NOT_DEFINED) for n in of_model}
    compared = [n for n in of_model if lines[n].complete and known[n].any()]
    for a, b in combinations(compared, 2):
        both = known[a] & known[b]
        first, second = hits[a][both], hits[b][both]
        yield {
            "a": a,
            "b": b,
            "both": int((first & second).sum()),
            "only_a": int((first & ~second).sum()),
            "only_b": int((~first & second).sum()),
            "neither": int((~first & ~second).sum()),
        }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
