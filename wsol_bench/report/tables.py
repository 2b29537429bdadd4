"""A summary as a text table, with numbers in percent as papers print them."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from wsol_bench.common.harmless import markdown_text
from wsol_bench.metrics.seeds import over_seeds
from wsol_bench.runs.schema import METHOD_KEYS, MethodStatus

__all__ = [
    "SEEDS_TITLE",
    "columns_for_people",
    "footer",
    "markdown",
    "markdown_table",
    "number_text",
    "p_value",
    "percent",
    "points",
    "records",
    "seeds_for_people",
]

# The counts of images that are shown if they are not 0: their titles, and what they are.
_COUNTS = {
    "n_skipped": ("skipped", "images without results, such as those of a class that the network "
                  "does not know; doctor, and the column status of the table images, say why"),
    "n_blacklisted": ("blacklisted", "images that are in no localization error, as in ILSVRC"),
    "n_without_box": ("without box", "images that are in no localization error, since no box of "
                      "their class is annotated"),
    "n_missing": ("missing", "images of whose label there is neither a map nor a box; each is a "
                  "miss"),
    "n_held_out": ("held out", "images that thresholds are selected on, and that are in no number"),
}  # fmt: skip
# Pairs stand in one column, as top-1/top-5 do in papers.
_ERRORS = {
    "cls error top-1/top-5": ("top1_cls_error", "top5_cls_error"),
    "loc error top-1/top-5": ("top1_loc_error", "top5_loc_error"),
    "GT-known loc error": ("gt_known_loc_error",),
}
_ACCURACIES = {
    "MaxBoxAcc (GT-known)": ("max_box_acc",),
    "at selected threshold": ("selected_box_acc",),
    "max top-1/top-5 loc": ("max_top1_loc", "max_top5_loc"),
    "at selected thresholds": ("selected_top1_loc", "selected_top5_loc"),
    "MaxBoxAccV2": ("max_box_acc_v2",),
    "V2 at selected thresholds": ("selected_box_acc_v2",),
    "IoU .3/.5/.7": ("max_box_acc_iou30", "max_box_acc_iou50", "max_box_acc_iou70"),
    "PxAP": ("px_ap",),
    "pIoU": ("p_iou",),
}
# Numbers whose spread over seeds is shown; the table of all numbers is a file.
_SPREAD = ("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "max_box_acc_v2", "px_ap")
SEEDS_TITLE = "Mean and standard deviation over seeds, in %"
_FAITHFULNESS = {
    "insertion/deletion": ("insertion", "deletion"),
    "average drop/increase": ("average_drop", "increase_in_confidence"),
}


_SHOWN_ANYWAY = {
    name for names in {**_ERRORS, **_ACCURACIES, **_FAITHFULNESS}.values() for name in names
}


def columns_for_people(
    summary: pd.DataFrame, named: Mapping[str, bool] = MappingProxyType({})
) -> pd.DataFrame:
    """The summary as text: one column a kind of number, in percent with two decimals.

    Args:
        summary: summary of a run.
        named: for each metric that the experiment names, whether it is a share, which is shown in
            percent.
    """
    table = summary[METHOD_KEYS].copy()
    table["images"] = summary["n_images"]
    for title, names in {**_ERRORS, **_ACCURACIES, **_FAITHFULNESS}.items():
        if set(names) <= set(summary.columns) and _has_numbers(summary, names):
            table[title] = _percents(summary, names)
    for name, is_share in named.items():
        if name in summary and name not in _SHOWN_ANYWAY:
            table[name] = [number_text(value, is_share=is_share) for value in summary[name]]
    inapplicable = summary["status"] == MethodStatus.NOT_APPLICABLE
    for title in ("loc error top-1/top-5", *_ACCURACIES):
        if title in table:
            table.loc[inapplicable, title] = "not applicable"
    if "seconds" in summary and summary["seconds"].notna().any():
        table["passes fwd/bwd"] = _numbers(summary, ("forward_passes", "backward_passes"), ".4g")
        table["s/image"] = _numbers(summary, ("seconds",), ".2g")
    for name, title, _ in _counts(summary):
        table[title] = ["-" if pd.isna(n) else f"{n:.0f}" for n in summary[name]]
    return table.astype(str)


def _has_numbers(summary: pd.DataFrame, names: Sequence[str]) -> bool:
    """Return whether some method has one of the numbers, or none is applicable."""
    inapplicable = bool((summary["status"] == MethodStatus.NOT_APPLICABLE).any())
    return inapplicable or bool(summary[list(names)].notna().to_numpy().any())


def _counts(summary: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The names, titles and meanings of the counts of images that are not 0 for all methods."""
    return [
        (name, title, meaning)
        for name, (title, meaning) in _COUNTS.items()
        if name in summary and (summary[name] > 0).any()
    ]


def footer(summary: pd.DataFrame, findings: Sequence[str] = ()) -> list[str]:
    """The paragraphs below a summary: unit, protocols, why methods do not apply, findings."""
    kind = "Errors" if "top1_loc_error" in summary else "Accuracies"
    if kind == "Accuracies" and "top1_cls_error" in summary:
        kind += " and classification errors"
    protocols = summary[["protocol", "protocol_hash"]].drop_duplicates().to_numpy().tolist()
    stamp = ", ".join(f"{name} ({digest})" if digest else name for name, digest in protocols)
    lines = [f"{kind} in %. Protocol: {stamp}."]
    if "reason" in summary:
        lines += sorted({f"{reason}." for reason in summary["reason"].dropna() if reason})
    lines += [f"{title}: {meaning}." for _, title, meaning in _counts(summary)]
    lines += [
        f"{finding.rstrip('.?')}{'?' if finding[-1:] == '?' else '.'}" for finding in findings
    ]
    return lines


def markdown(
    summary: pd.DataFrame,
    named: Mapping[str, bool] = MappingProxyType({}),
    findings: Sequence[str] = (),
) -> str:
    """The summary as a Markdown table, with its protocols, findings and the spread over seeds."""
    spread = seeds_for_people(summary)
    seeds = f"\n{SEEDS_TITLE}:\n\n{_as_it_is(spread)}\n" if len(spread) else ""
    table = _as_it_is(columns_for_people(summary, named))
    below = "\n\n".join(map(markdown_text, footer(summary, findings)))
    return f"{table}\n\n{below}\n{seeds}"


def seeds_for_people(summary: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds as text; no line if no method has several seeds."""
    table = over_seeds(summary)
    table = table[table["number"].isin(_SPREAD)]
    if table.empty:
        return pd.DataFrame()
    bounds = zip(table["mean"], table["sd"], strict=True)
    text = [f"{100 * mean:.2f} ± {100 * sd:.2f}" for mean, sd in bounds]
    shown = table[METHOD_KEYS].assign(
        seeds=table["n_seeds"].astype(str), number=table["number"], text=text
    )
    wide = shown.pivot_table(
        index=[*METHOD_KEYS, "seeds"], columns="number", values="text", aggfunc="first", sort=False
    )
    return wide.reset_index().fillna("-").rename_axis(columns=None)


def markdown_table(table: pd.DataFrame, right: Sequence[bool] = ()) -> str:
    """A table as Markdown, whose cells are Markdown, too.

    Args:
        table: the table.
        right: for each column, whether it is aligned to the right; none is by default.
    """
    rules = ["---:" if aligned else "---" for aligned in right or [False] * table.shape[1]]
    lines = [list(table.columns), rules, *table.astype(str).to_numpy().tolist()]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def _as_it_is(table: pd.DataFrame) -> str:
    """A table as Markdown, whose cells and titles are text."""
    return markdown_table(table.map(markdown_text).rename(columns=markdown_text))


def records(summary: pd.DataFrame) -> list[dict[str, object]]:
    """A table as records for JSON: fractions in [0, 1], None if there is no number."""
    return [
        {
            str(key): None if pd.isna(value) or value in (math.inf, -math.inf) else value
            for key, value in line.items()
        }
        for line in summary.to_dict(orient="records")
    ]


def _numbers(summary: pd.DataFrame, names: Sequence[str], form: str) -> list[str]:
    """Numbers in a format, the columns joined by slashes."""
    columns = [
        ["-" if pd.isna(value) else f"{value:{form}}" for value in summary[name]] for name in names
    ]
    return ["/".join(cells) for cells in zip(*columns, strict=True)]


def _percents(summary: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Fractions in percent, the columns joined by slashes."""
    columns = [[percent(value) for value in summary[name]] for name in names]
    return ["/".join(cells) for cells in zip(*columns, strict=True)]


def number_text(value: float, *, is_share: bool) -> str:
    """A number as tables show it: a share in percent, another number with four digits."""
    if is_share:
        return percent(value)
    return "-" if pd.isna(value) else f"{value:.4g}"


def percent(fraction: float) -> str:
    """A fraction in percent with two decimals; "-" for NaN."""
    return "-" if pd.isna(fraction) else f"{100 * fraction:.2f}"


def points(fraction: float) -> str:
    """A difference in percentage points, with its sign; "" for none, with an exponent if tiny."""
    if math.isnan(fraction):
        return ""
    difference = 100 * fraction
    tiny = 0 < abs(difference) < 0.005  # which is no 0.00
    return f"{difference:+.0e}" if tiny else f"{round(difference, 2) + 0.0:+.2f}"


def p_value(p: float) -> str:
    """A p value with as many digits as matter."""
    return "-" if pd.isna(p) else "<1e-4" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"
