"""The summary as a table for people: errors in percent, as papers print them."""

import pandas as pd

__all__ = ["columns_for_people", "markdown", "records"]

_COLUMNS = {
    "model": "model",
    "method": "method",
    "layer": "layer",
    "n_images": "images",
    "cls": "cls error top-1/top-5",
    "loc": "loc error top-1/top-5",
    "gt_known": "GT-known loc error",
}


def columns_for_people(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as text: one column a kind of error, percent with two decimals."""
    table = summary.assign(
        cls=_pair(summary, "top1_cls_error", "top5_cls_error"),
        loc=_pair(summary, "top1_loc_error", "top5_loc_error"),
        gt_known=[_percent(value) for value in summary["gt_known_loc_error"]],
    )
    skipped = table["status"] == "not_applicable"
    table.loc[skipped, "loc"] = "not applicable"
    columns = dict(_COLUMNS)
    for count, name in (
        ("n_skipped", "skipped"),
        ("n_blacklisted", "blacklisted"),
        ("n_without_box", "without box"),
    ):
        if (summary[count] > 0).any():
            columns[count] = name
    return table[list(columns)].rename(columns=columns).astype(str)


def markdown(summary: pd.DataFrame) -> str:
    """The summary as a Markdown table, with the protocol and its hash."""
    table = columns_for_people(summary)
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    body = "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )
    protocols = summary[["protocol", "protocol_hash"]].drop_duplicates().to_numpy().tolist()
    stamp = ", ".join(f"{name} ({digest})" for name, digest in protocols)
    return f"{body}\n\nErrors in %. Protocol: {stamp}.\n"


def records(summary: pd.DataFrame) -> list[dict[str, object]]:
    """The summary as JSON-ready records: fractions in [0, 1], null where there is no number."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in line.items()}
        for line in summary.to_dict(orient="records")
    ]


def _pair(summary: pd.DataFrame, first: str, second: str) -> list[str]:
    return [
        f"{_percent(a)}/{_percent(b)}" for a, b in zip(summary[first], summary[second], strict=True)
    ]


def _percent(fraction: float) -> str:
    return "-" if pd.isna(fraction) else f"{100 * fraction:.2f}"
