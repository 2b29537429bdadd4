"""The summary as a table for people: numbers in percent, as papers print them."""

import math
from collections.abc import Sequence

import pandas as pd

__all__ = ["columns_for_people", "footer", "markdown", "markdown_table", "records"]

_COUNTS = {
    "n_skipped": "skipped",
    "n_blacklisted": "blacklisted",
    "n_without_box": "without box",
    "n_missing": "missing",
    "n_held_out": "held out",
}
# Pairs stand in one column, as top-1/top-5 do in papers.
_ERRORS = {
    "cls error top-1/top-5": ("top1_cls_error", "top5_cls_error"),
    "loc error top-1/top-5": ("top1_loc_error", "top5_loc_error"),
    "GT-known loc error": ("gt_known_loc_error",),
}
_ACCURACIES = {
    "MaxBoxAcc": ("max_box_acc",),
    "at selected threshold": ("selected_box_acc",),
    "MaxBoxAccV2": ("max_box_acc_v2",),
    "V2 at selected thresholds": ("selected_box_acc_v2",),
    "IoU .3/.5/.7": ("max_box_acc_iou30", "max_box_acc_iou50", "max_box_acc_iou70"),
    "PxAP": ("px_ap",),
    "pIoU": ("p_iou",),
}
_FAITHFULNESS = {
    "insertion/deletion": ("insertion", "deletion"),
    "average drop/increase": ("average_drop", "increase_in_confidence"),
}


def columns_for_people(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as text: one column a kind of number, percent with two decimals."""
    table = summary[["model", "method", "layer"]].copy()
    table["images"] = summary["n_images"]
    for title, names in {**_ERRORS, **_ACCURACIES, **_FAITHFULNESS}.items():
        if set(names) <= set(summary.columns):
            table[title] = _percents(summary, names)
    inapplicable = summary["status"] == "not_applicable"
    for title in ("loc error top-1/top-5", *_ACCURACIES):
        if title in table:
            table.loc[inapplicable, title] = "not applicable"
    for name, title in _COUNTS.items():
        if name in summary and (summary[name] > 0).any():
            table[title] = summary[name]
    return table.astype(str)


def footer(summary: pd.DataFrame) -> str:
    """What the numbers are, and by which protocols."""
    kind = "Errors" if "top1_loc_error" in summary else "Accuracies"
    protocols = summary[["protocol", "protocol_hash"]].drop_duplicates().to_numpy().tolist()
    stamp = ", ".join(f"{name} ({digest})" if digest else name for name, digest in protocols)
    return f"{kind} in %. Protocol: {stamp}."


def markdown(summary: pd.DataFrame) -> str:
    """The summary as a Markdown table, with the protocol and its hash."""
    return f"{markdown_table(columns_for_people(summary))}\n\n{footer(summary)}\n"


def markdown_table(table: pd.DataFrame) -> str:
    """Any table of text in Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def records(summary: pd.DataFrame) -> list[dict[str, object]]:
    """The summary as JSON-ready records: fractions in [0, 1], null where there is no number."""
    return [
        {
            str(key): None if pd.isna(value) or value in (math.inf, -math.inf) else value
            for key, value in line.items()
        }
        for line in summary.to_dict(orient="records")
    ]


def _percents(summary: pd.DataFrame, names: Sequence[str]) -> list[str]:
    columns = [[_percent(value) for value in summary[name]] for name in names]
    return ["/".join(cells) for cells in zip(*columns, strict=True)]


def _percent(fraction: float) -> str:
    return "-" if pd.isna(fraction) else f"{100 * fraction:.2f}"
