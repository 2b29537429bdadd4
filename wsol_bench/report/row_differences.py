"""Two runs, row by row: how many stored results differ, and by how much.

A number can be equal although results differ, and results differ by float noise although no number
does. So rows and curves are compared as they are stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from wsol_bench.common.progress import progress
from wsol_bench.runs.schema import BOX_COLUMNS, GROUP, METHOD_KEYS
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["row_differences"]

# The bytes of rows and curves of one run that are read at a time: those of several methods, so that
# each file is read a few times only.
_AT_A_TIME = 2**27
# The largest differences that are reported, and their columns.
_LARGEST = {
    "coordinate": [column.name for column in BOX_COLUMNS],
    "iou": ["iou"],
    "score": ["score"],
}
# What names a row. A method or layer may have another name in each run.
_NAMES = ["image_id", "class", "method", "layer"]
_COLUMNS = (
    *METHOD_KEYS,
    *("n_rows", "n_differ", "n_beyond", "n_of_one_run"),
    *_LARGEST,
    *("n_curves", "n_curves_differ", "n_images_differ"),
)

# The model, the method and the layer of a line in each run.
_Pair = tuple[tuple[str, str, str], tuple[str, str, str]]


def row_differences(
    a: StoredRun,
    b: StoredRun,
    pairs: Sequence[_Pair],
    shared: Mapping[str, pd.Index],
    tolerance: float,
) -> tuple[pd.DataFrame, set[str]]:
    """Compare the stored rows and curves of lines of two runs.

    A row is compared with the row of the same image and class (if there are several, in their
    order), by all columns that both runs have. NaN equals NaN. A curve is equal or not.

    Args:
        a, b: the runs.
        pairs: the lines that are compared, with their names in both runs.
        shared: by model of run A, the ids of the images that both runs evaluated.
        tolerance: the largest difference of a value that does not count as one.

    Returns:
        A table with one line a pair, and the ids of the images of which a row or a curve differs
        by more than the tolerance. The columns of the table: names in run A; ``n_rows``, the number
        of rows that both have; ``n_differ`` of them that differ at all, ``n_beyond`` by more than
        the tolerance; ``n_of_one_run``, the number of rows that only one run has; ``coordinate``
        (in pixels), ``iou`` and ``score``, the largest difference of each where both runs have a
        value (NaN if none has); ``n_curves`` of both and ``n_curves_differ``; ``n_images_differ``.

    Raises:
        RunError: a file of a run is missing or damaged.
    """
    lines = list[dict[str, Any]]()
    moved = set[str]()
    with progress("comparing rows", 2 * len(pairs), "tables") as advance:
        for table in ("rows", "curves"):
            found = _of_table(table, a, b, pairs)
            for number, (line_a, of_a, of_b) in enumerate(found):
                ids = shared[line_a[0]]
                of_a, of_b = (of[of["image_id"].isin(ids)] for of in (of_a, of_b))
                if table == "rows":
                    counts, differing = _compared_rows(of_a, of_b, tolerance)
                    lines.append({**dict(zip(METHOD_KEYS, line_a, strict=True)), **counts})
                    lines[-1]["images"] = differing
                else:
                    counts, differing = _compared_curves(of_a, of_b)
                    lines[number] |= counts
                    lines[number]["images"] |= differing
                advance(1)
    for line in lines:
        images = line.pop("images")
        line["n_images_differ"] = len(images)
        moved |= images
    return pd.DataFrame(lines, columns=list(_COLUMNS)), moved


def _of_table(
    table: str, a: StoredRun, b: StoredRun, pairs: Sequence[_Pair]
) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame, pd.DataFrame]]:
    """The lines of a table of both runs, pair by pair, a few methods at a time."""
    by_models: dict[tuple[str, str], list[_Pair]] = {}
    for pair in pairs:
        by_models.setdefault((pair[0][0], pair[1][0]), []).append(pair)
    for models, of_models in by_models.items():
        parts = [run.parts_by_model()[name] for run, name in zip((a, b), models, strict=True)]
        at_once = min(
            _count_at_a_time(run, table, numbers, model)
            for run, numbers, model in zip((a, b), parts, models, strict=True)
        )
        for start in range(0, len(of_models), at_once):
            chosen = of_models[start : start + at_once]
            read = [
                _read(run, table, numbers, {pair[side][1] for pair in chosen})
                for side, (run, numbers) in enumerate(zip((a, b), parts, strict=True))
            ]
            for pair in chosen:
                of_a, of_b = (
                    one[(one["method"] == names[1]) & (one["layer"] == names[2])]
                    for one, names in zip(read, pair, strict=True)
                )
                yield pair[0], of_a, of_b


def _count_at_a_time(run: StoredRun, table: str, parts: Sequence[int], model: str) -> int:
    """The number of methods whose lines are read at a time."""
    n_bytes = run.arrow(table, parts=parts[:1]).nbytes * len(parts)
    n_methods = len(list(run.identity.groups(model)))
    return max(1, int(_AT_A_TIME * n_methods / max(1, n_bytes)))


def _read(run: StoredRun, table: str, parts: Sequence[int], methods: set[str]) -> pd.DataFrame:
    """The lines of some methods, without the columns that are equal in all of them."""
    same = {"model", *GROUP} - {"method", "layer"}
    columns = [name for name in run.tables[table].names if name not in same]
    where = pc.field("method").isin(sorted(methods))
    frame: pd.DataFrame = run.arrow(table, columns, parts=parts, where=where).to_pandas()
    return frame


def _compared_rows(
    a: pd.DataFrame, b: pd.DataFrame, tolerance: float
) -> tuple[dict[str, Any], set[str]]:
    """The counts and largest differences of the rows of a line, and the images that differ."""
    at_a, at_b = _aligned(a, b, ["image_id", "class"])
    differs = np.zeros(len(at_a), np.bool_)
    beyond = differs.copy()
    largest = dict[str, float]()
    for name in a.columns.intersection(b.columns).difference(_NAMES):
        first, second = a[name].to_numpy()[at_a], b[name].to_numpy()[at_b]
        if not pd.api.types.is_numeric_dtype(a[name]):
            apart = np.asarray(first != second, np.bool_)
            differs |= apart
            beyond |= apart
            continue
        first, second = first.astype(np.float64), second.astype(np.float64)
        apart = ~((first == second) | (np.isnan(first) & np.isnan(second)))
        distance = np.abs(first - second)
        differs |= apart
        beyond |= apart & ~(distance <= tolerance)
        if not np.isnan(distance).all():
            largest[name] = float(np.nanmax(distance))
    images = a["image_id"].to_numpy(object)
    alone = np.concatenate(
        [
            np.delete(images, at_a),
            np.delete(b["image_id"].to_numpy(object), at_b),
        ]
    )
    counts: dict[str, Any] = {
        "n_rows": len(at_a),
        "n_differ": int(differs.sum()),
        "n_beyond": int(beyond.sum()),
        "n_of_one_run": len(alone),
    }
    for title, names in _LARGEST.items():
        counts[title] = max((largest[name] for name in names if name in largest), default=np.nan)
    return counts, {*images[at_a][beyond], *alone}


def _compared_curves(a: pd.DataFrame, b: pd.DataFrame) -> tuple[dict[str, int], set[str]]:
    """The counts of the curves of a line, and the images whose curves differ."""
    names = a.columns.intersection(b.columns).difference(_NAMES)
    if not len(names):  # one of the protocols has none, or another kind
        return {"n_curves": 0, "n_curves_differ": 0}, set()
    at_a, at_b = _aligned(a, b, ["image_id"])
    differs = np.zeros(len(at_a), np.bool_)
    for name in names:
        differs |= a[name].to_numpy(object)[at_a] != b[name].to_numpy(object)[at_b]
    images = a["image_id"].to_numpy(object)[at_a][differs]
    return {"n_curves": len(at_a), "n_curves_differ": int(differs.sum())}, set(images)


def _aligned(
    a: pd.DataFrame, b: pd.DataFrame, keys: Sequence[str]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The positions of the lines of both tables that have equal keys."""
    if len(a) == len(b) and all(_same(a[key], b[key]).all() for key in keys):
        return np.arange(len(a)), np.arange(len(a))
    first, second = (
        pd.MultiIndex.from_arrays(
            [*(table[key] for key in keys), table.groupby(list(keys)).cumcount()]
        )
        for table in (a, b)
    )
    place = second.get_indexer(first)
    found = np.flatnonzero(place >= 0)
    return found, place[found].astype(np.int64)


def _same(first: "pd.Series[str]", second: "pd.Series[str]") -> Bool[np.ndarray, " n"]:
    return np.asarray(first.to_numpy(object) == second.to_numpy(object), np.bool_)
