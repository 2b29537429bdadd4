"""The tables of an analysis as text for a screen, in percent."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from wsol_bench.report.comparisons import RUN_NAMES
from wsol_bench.report.tables import percent

__all__ = ["SHOWN_NUMBERS", "for_people"]

# The numbers that a screen always shows.
SHOWN_NUMBERS = (
    *("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "mean_iou"),
    *("max_box_acc", "max_top1_loc", "max_top5_loc", "max_box_acc_v2"),
    *("selected_box_acc", "selected_top1_loc", "selected_top5_loc", "selected_box_acc_v2"),
    *("px_ap", "p_iou"),
)
_QUESTIONS = {
    "gt_known": "the label's box (GT-known)",
    "top1": "the first prediction's box (top-1)",
}
_BINS = {
    "size": "area of the largest box (fraction of the image)",
    "instances": "number of instances",
}


def for_people(
    tables: dict[str, pd.DataFrame], named: Sequence[str] = ()
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The title and the text of each table that fits a screen; other tables are only in files.

    Args:
        tables: tables of ``analyze``.
        named: numbers that are shown in addition to those of ``SHOWN_NUMBERS``.
    """
    shown = (*SHOWN_NUMBERS, *(name for name in dict.fromkeys(named) if name not in SHOWN_NUMBERS))
    table = tables["intervals"]
    bounds = zip(table["value"], table["low"], table["high"], strict=True)
    text = [f"{percent(value)} [{percent(low)}, {percent(high)}]" for value, low, high in bounds]
    yield (
        "Numbers in %, with 95% intervals over images",
        _side_by_side(table.assign(text=text), "number", "text", shown),
    )
    table = tables["comparisons"]
    if len(table):
        yield (
            "Differences to the first method in percentage points, on the images of both. "
            "p: corrected by Holm. effect: number of images that only this method gets right : "
            "that only the first method gets right, or Cohen's d, or the 95% interval of the "
            "difference",
            _differences(table[table["number"].isin(shown)].reset_index(drop=True)),
        )
    if "failure_modes" in tables:
        for question, title in _QUESTIONS.items():
            table = tables["failure_modes"]
            table = table[table["of"] == question]
            text = [percent(value) for value in table["share"]]
            yield (
                f"Failure modes of {title}, in % of images",
                _side_by_side(table.assign(text=text), "failure_mode", "text"),
            )
    for by, title in _BINS.items():
        if f"by_{by}" in tables:
            table = tables[f"by_{by}"]
            text = [percent(value) for value in table["gt_known_loc_error"]]
            yield (
                f"GT-known error in % by {title}",
                _side_by_side(table.assign(text=text), by, "text"),
            )


def _differences(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons as text, one line a method and number."""
    hits = comparisons["test"].str.startswith("McNemar").to_numpy(bool)
    effect = np.where(hits, _only_one_right(comparisons), _effects(comparisons))
    keys = [key for key in (*RUN_NAMES, "against", "number") if key in comparisons]
    columns = comparisons[keys].assign(
        difference=[f"{100 * value:+.2f}" for value in comparisons["difference"]],
        effect=effect,
        n=comparisons["n"],
        p=["-" if np.isnan(value) else f"{value:.2g}" for value in comparisons["p_holm"]],
    )
    return columns.astype(str)


def _side_by_side(
    table: pd.DataFrame, columns: str, values: str, chosen: Sequence[str] | None = None
) -> pd.DataFrame:
    """The table with one line a method.

    Args:
        table: table with one line a method and kind of number.
        columns: the column of the kinds of number, each of which becomes a column.
        values: the column of the text of each number.
        chosen: the kinds that are kept; None for all.
    """
    keys = [key for key in RUN_NAMES if key in table]
    kinds = [
        str(kind) for kind in dict.fromkeys(table[columns]) if chosen is None or kind in chosen
    ]
    lines = []
    for names, method_lines in table.groupby(keys, sort=False):
        by_kind = dict(zip(method_lines[columns].astype(str), method_lines[values], strict=True))
        method_names = dict(zip(keys, names, strict=True))
        lines.append(method_names | {kind: by_kind.get(kind, "-") for kind in kinds})
    return pd.DataFrame(lines).astype(str)


def _effects(table: pd.DataFrame) -> list[str]:
    """Cohen's d, or the interval of the difference if d is not defined."""
    columns = (_column(table, name) for name in ("effect_size", "low", "high"))
    return [
        f"[{100 * low:+.2f}, {100 * high:+.2f}]" if np.isnan(d) else f"d {d:.2f}"
        for d, low, high in zip(*columns, strict=True)
    ]


def _only_one_right(table: pd.DataFrame) -> list[str]:
    """The numbers of images that only the method, and only the first method, gets right."""
    pairs = zip(_column(table, "n10"), _column(table, "n01"), strict=True)
    return [f"{n10:.0f} : {n01:.0f}" for n10, n01 in pairs]


def _column(table: pd.DataFrame, name: str) -> list[float]:
    return table[name].tolist() if name in table else [float("nan")] * len(table)
