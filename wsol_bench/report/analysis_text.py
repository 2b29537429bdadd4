"""The tables of an analysis as text for a screen, in percent: the short form, and all of it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from wsol_bench.report.comparisons import RUN_NAMES
from wsol_bench.report.numbers import SHOWN_NUMBERS, main_number, title_of
from wsol_bench.report.tables import number_text, p_value, percent, points

__all__ = ["in_full", "in_short"]

_LEVEL = 0.05
_QUESTIONS = {
    "gt_known": "the label's box (GT-known)",
    "top1": "the first prediction's box (top-1)",
}
_BINS = {
    "size": "area of the largest box (fraction of the image)",
    "instances": "number of instances",
}


def in_short(
    tables: dict[str, pd.DataFrame], named: Sequence[str] = ()
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The title and the text of a table that ranks the methods of each model by one number.

    There is a table for each such number, of which runs under several protocols may have several.

    Args:
        tables: tables of ``analyze``.
        named: numbers that are shown in addition to those of ``SHOWN_NUMBERS``.
    """
    intervals, comparisons = tables["intervals"], tables["comparisons"]
    groups = [key for key in ("run", "model") if key in intervals]
    ranked: dict[str, list[pd.DataFrame]] = {}
    for _, lines in intervals.groupby(groups, sort=False):
        main = main_number(set(lines["number"]))
        shown = [main, *(name for name in _shown(named) if name != main)]
        if main:
            ranked.setdefault(main, []).append(_ranked(lines, comparisons, shown))
    for main, tables_of_models in ranked.items():
        share = bool(intervals.loc[intervals["number"] == main, "is_share"].iloc[0])
        tests = comparisons[comparisons["number"] == main]
        yield _title(main, tests, share), _without_empty(pd.concat(tables_of_models))


def in_full(
    tables: dict[str, pd.DataFrame], named: Sequence[str] = ()
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The title and the text of each table that fits a screen; other tables are only in files.

    Args:
        tables: tables of ``analyze``.
        named: numbers that are shown in addition to those of ``SHOWN_NUMBERS``.
    """
    shown = _shown(named)
    table = tables["intervals"]
    table = table.assign(text=_with_interval(table), title=table["number"].map(title_of))
    yield (
        "Numbers with 95% intervals over images; shares in %",
        _side_by_side(table, "title", "text", [title_of(number) for number in shown]),
    )
    table = tables["comparisons"]
    if len(table):
        tests = table[table["number"].isin(shown)].reset_index(drop=True)
        yield _paired_tests(tests, tables["intervals"])
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


def _shown(named: Sequence[str]) -> list[str]:
    return [*SHOWN_NUMBERS, *(name for name in dict.fromkeys(named) if name not in SHOWN_NUMBERS)]


def _title(main: str, comparisons: pd.DataFrame, is_share: bool) -> str:
    """The explanation of the columns of the short form.

    Args:
        main: the number that methods are ranked by.
        comparisons: the tests of that number.
        is_share: whether it is a share, which is shown in percent.
    """
    unit, points_of = (" in %", "in percentage points ") if is_share else ("", "")
    title = f"{title_of(main)}{unit}, with its 95% interval over images; best first (*: the best)."
    if not len(comparisons):
        return title
    methods = set(_references(comparisons))
    against = methods.pop() if len(methods) == 1 else "the first method of the model"
    return (
        f"{title} better by: against {against}, {points_of}on the same images; + is better. A p "
        f"(with Holm's correction within a model) of {_LEVEL:g} or more is no evidence of a "
        "difference"
    )


def _ranked(lines: pd.DataFrame, comparisons: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """The methods of a model as text, best first."""
    main = shown[0]
    keys = [key for key in (*RUN_NAMES, "layer") if key in lines]
    table = lines[lines["number"] == main]
    sign = -1 if (table["better"] == "lower").all() else 1
    table = table.sort_values("value", ascending=sign < 0, kind="stable")
    is_share = bool(table["is_share"].all())
    text = table[keys].copy()
    values = np.array([number_text(value, is_share=is_share) for value in table["value"]], object)
    # Equal is what reads the same, and only methods are ranked, as in tables for papers.
    ranked = values[(table["kind"] == "method").to_numpy(bool)]
    best = (values == ranked[0]) if len(set(ranked)) > 1 else np.zeros(len(values), np.bool_)
    best &= (table["kind"] == "method").to_numpy(bool)
    text[title_of(main)] = values + np.where(best, "*", " ")
    text["95% interval"] = _interval(table)
    if len(comparisons):
        tests = comparisons[comparisons["number"] == main]
        found = table[keys].merge(tests, on=keys, how="left")
        text["better by"] = [_gain(sign * value, is_share) for value in found["difference"]]
        text["p"] = [p_value(value) for value in found["p_holm"]]
    for number in shown[1:]:
        others = table[keys].merge(lines[lines["number"] == number], on=keys, how="left")
        text[title_of(number)] = [
            number_text(value, is_share=share is not False)
            for value, share in zip(others["value"], others["is_share"], strict=True)
        ]
    return text


def _without_empty(text: pd.DataFrame) -> pd.DataFrame:
    """The table without columns that hold no number."""
    empty = [name for name in text if text[name].isin(["-", ""]).all() and name not in RUN_NAMES]
    return text.drop(columns=empty)


def _gain(difference: float, is_share: bool) -> str:
    """A difference with its sign; that of a share in percentage points."""
    if is_share or np.isnan(difference):
        return points(difference)
    return f"{difference:+.4g}"


def _paired_tests(comparisons: pd.DataFrame, intervals: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The title and the text of comparisons, one line a method and number."""
    text = _differences(comparisons, intervals)
    same = {name: text[name].iloc[0] for name in ("against", "n") if text[name].nunique() == 1}
    against = f" against {same['against']}" if "against" in same else ""
    images = f"the same {same['n']} images" if "n" in same else "the images of both methods"
    title = (
        f"Paired tests{against} on {images}: + is better; shares in percentage points. p: "
        "corrected by Holm within a model. gained, lost: the images that only this method, and "
        "that only the other one, gets right. d: Cohen's, for numbers that are no hits"
    )
    empty = [name for name in ("gained", "lost", "d") if (text[name] == "-").all()]
    return title, text.drop(columns=[*same, *empty])


def _references(comparisons: pd.DataFrame) -> list[str]:
    """The method that each is compared with, without its model, which is the same."""
    pairs = zip(comparisons["against"], comparisons["model"], strict=True)
    return [text.removeprefix(f"{model} ") for text, model in pairs]


def _differences(comparisons: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """The comparisons as text."""
    signs = _is_lower(comparisons["number"], intervals)
    facts = intervals.drop_duplicates("number").set_index("number")
    shares = facts["is_share"].reindex(comparisons["number"]).tolist()
    ends = np.sort(signs[:, None] * comparisons[["low", "high"]].to_numpy(np.float64), axis=1)
    keys = [key for key in RUN_NAMES if key in comparisons]
    columns = comparisons[keys].assign(
        number=[title_of(number) for number in comparisons["number"]],
        **{
            "better by": [
                _gain(value, is_share)
                for value, is_share in zip(signs * comparisons["difference"], shares, strict=True)
            ],
            "95% interval": [
                "-" if np.isnan(low) else f"[{_gain(low, is_share)}, {_gain(high, is_share)}]"
                for (low, high), is_share in zip(ends, shares, strict=True)
            ],
        },
        p=[p_value(value) for value in comparisons["p_holm"]],
        gained=_numbers(comparisons, "n10", ".0f"),
        lost=_numbers(comparisons, "n01", ".0f"),
        d=_numbers(comparisons, "effect_size", "+.2f", signs),
        n=comparisons["n"],
        against=_references(comparisons),
    )
    return columns.astype(str)


def _is_lower(names: "pd.Series[str]", intervals: pd.DataFrame) -> np.ndarray:
    """-1 for each number of which lower values are better, 1 for the others."""
    better = intervals.drop_duplicates("number").set_index("number")["better"]
    return np.where(better.reindex(names) == "lower", -1, 1)


def _interval(table: pd.DataFrame) -> list[str]:
    bounds = zip(table["low"], table["high"], table["is_share"], strict=True)
    return [
        f"[{number_text(low, is_share=share)}, {number_text(high, is_share=share)}]"
        for low, high, share in bounds
    ]


def _with_interval(table: pd.DataFrame) -> list[str]:
    values = zip(table["value"], table["is_share"], _interval(table), strict=True)
    return [f"{number_text(value, is_share=share)} {interval}" for value, share, interval in values]


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
    keys = [key for key in (*RUN_NAMES, "layer") if key in table]
    kinds = [
        str(kind) for kind in dict.fromkeys(table[columns]) if chosen is None or kind in chosen
    ]
    lines = []
    for names, method_lines in table.groupby(keys, sort=False):
        by_kind = dict(zip(method_lines[columns].astype(str), method_lines[values], strict=True))
        method_names = dict(zip(keys, names, strict=True))
        lines.append(method_names | {kind: by_kind.get(kind, "-") for kind in kinds})
    return pd.DataFrame(lines).astype(str)


def _numbers(
    table: pd.DataFrame, column: str, form: str, signs: np.ndarray | float = 1.0
) -> list[str]:
    """The numbers of a column, which a table may lack, as text; "-" for none."""
    if column not in table:
        return ["-"] * len(table)
    values = signs * table[column].to_numpy(np.float64)
    return ["-" if np.isnan(value) else format(value, form) for value in values]
