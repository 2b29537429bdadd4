"""A comparison of two runs as text for a screen: a verdict, what differs, and short tables."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from wsol_bench.report.numbers import main_number, title_of
from wsol_bench.report.page.outcomes import MEANINGS, OUTCOMES, WRONG_CLASS
from wsol_bench.report.run_comparison import RunComparison
from wsol_bench.report.tables import number_text, p_value, points
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.schema import METHOD_KEYS

__all__ = ["paragraphs_of", "tables_for_people", "verdict"]

# Lines of a table in the short form.
_SHOWN = 10
# What only one run may have, by its ``kind``.
_KINDS = {"line": "method", "number": "number", "image": "image"}


def verdict(found: RunComparison) -> str:
    """The first sentences: the runs have equal numbers, or what differs."""
    n_numbers, n_differ = len(found.numbers), int(found.numbers["differs"].sum())
    within = f" (up to {found.tolerance:g})" if found.tolerance else ""
    if n_differ:
        first = f"The runs differ in {n_differ:,} of {n_numbers:,} numbers{within}"
    else:
        first = f"The runs have equal numbers{within}"
    if found.n_moved:
        join = "and in" if n_differ else "but differ in"
        first = f"{first} {join} the results of {found.n_moved:,} of {_images(found.n_images)}"
    elif n_differ:
        first = f"{first}, but in the stored results of no image"
    elif len(found.images):
        n_images = found.images["image_id"].nunique()
        first = f"{first}, but other outcomes of {_images(n_images)}"
    else:
        first = f"{first} and equal results of {_images(found.n_images)}"
    alone = [
        f"{count:,} {_KINDS[kind]}{'' if count == 1 else 's'}"
        for kind, names in (("line", METHOD_KEYS), ("number", ["name"]), ("image", ["name"]))
        if (count := len(found.unmatched[found.unmatched["kind"] == kind][names].drop_duplicates()))
    ]
    return f"{first}. Only one of them has {' and '.join(alone)}." if alone else f"{first}."


def paragraphs_of(found: RunComparison, *, everything: bool = False) -> Iterator[str]:
    """Yield what the runs are, what they were made with, and what differs, a line each."""
    yield f"A: {found.a}"
    yield f"B: {found.b}"
    if len(found.settings):
        lines = [f"{what}: {a} in A, {b} in B" for _, what, a, b in found.settings.to_numpy()]
        shown = lines if everything else lines[:_SHOWN]
        yield "What they were made with differs:"
        yield from (f"  {line}" for line in shown)
        if len(lines) > len(shown):
            yield f"  and {len(lines) - len(shown)} more (--all)"
    else:
        yield "What they were made with does not differ, as far as the runs record it."
    for line in found.lines.to_dict(orient="records"):
        a, b = ([line[f"{key}{suffix}"] for key in METHOD_KEYS] for suffix in ("", "_b"))
        if a != b:
            yield f"Compared: {_name(a)} of A with {_name(b)} of B."
    yield from _only_one(found.unmatched, everything=everything)
    yield _row_sentence(found.rows)
    yield from _differing_numbers(found)


def tables_for_people(
    found: RunComparison, *, everything: bool = False
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The title and the text of each table; none of equal runs unless everything is asked for.

    Args:
        found: the comparison.
        everything: all numbers, classes and images, instead of the main number of each line and
            those classes and images that moved most.
    """
    if found.equal and not everything:
        return
    numbers = found.numbers if everything else _main_numbers(found.numbers)
    if len(numbers):
        one = numbers["number"].nunique() == 1
        name = f"{title_of(numbers['number'].iloc[0])} in %." if one else "Numbers; shares in %."
        yield (
            f"{name} better by: in points on the images of both, + if B is better, with its paired "
            "95% interval. gained, lost: images that only B, only A, gets right. p: corrected by "
            "Holm within a model",
            _number_text(numbers, with_names=not one),
        )
    if len(text := _class_text(found.classes, everything=everything)):
        what = "Classes" if everything else "Classes that moved most"
        names = ", ".join(dict.fromkeys(map(title_of, found.classes["number"])))
        yield f"{what}: {names} in %; + if B is better", text
    images = found.images if everything else found.images.head(_SHOWN)
    if len(images):
        shown = "" if len(images) == len(found.images) else f", of which {len(images)} are shown"
        yield (
            f"Outcomes of the label's box that changed: {len(found.images):,}{shown} "
            f"({_moved(found.images)}). *: the first prediction is of another class",
            _image_text(images),
        )
    if everything:
        yield "Stored rows that differ, and the largest differences", _row_text(found.rows)


def _main_numbers(numbers: pd.DataFrame) -> pd.DataFrame:
    """The main number of each line."""
    keys = [numbers[key] for key in METHOD_KEYS]
    mains = numbers["number"].groupby(keys, sort=False).transform(lambda of: main_number(list(of)))
    return numbers[(numbers["number"] == mains).to_numpy(bool)]


def _differing_numbers(found: RunComparison) -> Iterator[str]:
    """The names of the numbers that differ, by the number of methods in which they do."""
    differing = found.numbers[found.numbers["differs"].to_numpy(bool)]
    counts = differing["number"].value_counts(sort=False)
    for count in sorted(set(counts), reverse=True):
        names = ", ".join(map(str, counts.index[counts == count]))
        methods = f" in {count} of {len(found.lines)} methods" if len(found.lines) > 1 else ""
        yield f"Numbers that differ{methods}: {names}."


def _number_text(numbers: pd.DataFrame, *, with_names: bool) -> pd.DataFrame:
    """The numbers as text, one line each."""
    lines = []
    for line in numbers.to_dict(orient="records"):
        sign, is_share = (1 if line["better"] == "higher" else -1), line["is_share"]
        ends = sorted((sign * line["low"], sign * line["high"]))
        interval = ", ".join(_gain(end, is_share=is_share) for end in ends)
        lines.append(
            {
                **{key: line[key] for key in METHOD_KEYS},
                **({"number": line["number"]} if with_names else {}),
                "A": number_text(line["a"], is_share=is_share),
                "B": number_text(line["b"], is_share=is_share),
                "better by": _gain(sign * line["difference"], is_share=is_share),
                "95% interval": "-" if np.isnan(ends[0]) else f"[{interval}]",
                "p": p_value(line["p_holm"]),
                "gained": _count(line["n10"]),
                "lost": _count(line["n01"]),
                "images": str(line["n"]),
            }
        )
    return _without_empty(pd.DataFrame(lines))


def _class_text(classes: pd.DataFrame, *, everything: bool) -> pd.DataFrame:
    """The classes as text; without ``everything`` the first of those that moved."""
    if not everything:
        classes = _by_model(classes[(classes["difference"] != 0).to_numpy(bool)].head(_SHOWN))
    sign = np.where(classes["better"] == "higher", 1, -1)
    gains = (sign * classes["difference"]).tolist()
    return pd.DataFrame(
        {
            **{key: classes[key] for key in ("model", "method", "layer")},
            "class": _class_names(classes),
            "A": [number_text(value, is_share=True) for value in classes["a"]],
            "B": [number_text(value, is_share=True) for value in classes["b"]],
            "better by": [_gain(gain, is_share=True) for gain in gains],
            "images": classes["n"].astype(str),
        }
    )


def _image_text(images: pd.DataFrame) -> pd.DataFrame:
    """The images as text, without columns of which the protocols have nothing."""
    images = _by_model(images)
    text = images[METHOD_KEYS].assign(image=images["image_id"])
    for side in ("a", "b"):
        wrong = images[f"top1_{side}"] == OUTCOMES[WRONG_CLASS]
        titles = images[f"gt_known_{side}"].map(lambda word: MEANINGS[word][0])
        text[side.upper()] = titles + np.where(wrong, "*", "")
    for side in ("a", "b"):
        values = images[f"iou_{side}"]
        text[f"IoU {side.upper()}"] = ["-" if np.isnan(iou) else f"{iou:.3f}" for iou in values]
    text["class"] = _class_names(images)
    return _without_empty(text)


def _moved(images: pd.DataFrame) -> str:
    """Count the outcomes that were gained and lost, in words."""
    return "; ".join(
        f"{title}: {(images[name] == 'gained').sum():,} gained, "
        f"{(images[name] == 'lost').sum():,} lost"
        for name, title in (("gt_known", "GT-known"), ("top1", "top-1"))
    )


def _without_empty(text: pd.DataFrame) -> pd.DataFrame:
    """The table without columns that hold no value."""
    return text.drop(columns=[name for name in text if (text[name] == "-").all()])


def _by_model(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of each model together, otherwise in their order."""
    return table.iloc[np.argsort(pd.factorize(table["model"])[0], kind="stable")]


def _row_text(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of differing rows as text."""
    text = rows[METHOD_KEYS].copy()
    text["rows"] = rows["n_rows"].astype(str)
    text["differ"] = rows["n_differ"].astype(str)
    for name in ("coordinate", "iou", "score"):
        text[name] = [_magnitude(value) for value in rows[name]]
    text["in one run"] = rows["n_of_one_run"].astype(str)
    text["curves"] = rows["n_curves"].astype(str)
    text["curves differ"] = rows["n_curves_differ"].astype(str)
    return text


def _row_sentence(rows: pd.DataFrame) -> str:
    """A sentence that says how many stored rows differ, and whether by more than float noise."""
    n_rows, n_differ = int(rows["n_rows"].sum()), int(rows["n_differ"].sum())
    sentence = f"Of {n_rows:,} stored rows (boxes, IoUs, scores) {n_differ:,} differ"
    if n_differ:
        kinds = {"coordinate": "pixels of a coordinate", "iou": "of an IoU", "score": "of a score"}
        largest = [
            f"{_magnitude(rows[name].max())} {of}"
            for name, of in kinds.items()
            if rows[name].max() > 0
        ]
        sentence += f", by up to {' and '.join(largest)}" if largest else ""
    n_curves, n_other = int(rows["n_curves"].sum()), int(rows["n_curves_differ"].sum())
    if n_curves:
        sentence += f"; of {n_curves:,} curves over thresholds {n_other:,}"
    alone = int(rows["n_of_one_run"].sum())
    return f"{sentence}; {alone:,} rows are in one run only." if alone else f"{sentence}."


def _only_one(unmatched: pd.DataFrame, *, everything: bool) -> Iterator[str]:
    """Sentences, one a kind, about the lines, numbers and images that only one run has."""
    for (run, kind), lines in unmatched.groupby(["run", "kind"], sort=False):
        if kind == "line":
            names = [_name(line) for line in lines[METHOD_KEYS].to_numpy().tolist()]
        else:
            names = list(dict.fromkeys(lines["name"]))
        n_shown = len(names) if everything else 3 if kind == "image" else _SHOWN
        shown, left = ", ".join(names[:n_shown]), len(names) - n_shown
        plural = f"{_KINDS[str(kind)]}{'' if len(names) == 1 else 's'}"
        yield f"Only {run} has the {plural} {shown}{f' and {left:,} more' if left > 0 else ''}."


def _class_names(table: pd.DataFrame) -> list[str]:
    """The first word of each class, or its name if it has none."""
    pairs = zip(table["words"], table["class"], strict=True)
    return [words.partition(",")[0] or name for words, name in pairs]


def _gain(value: float, *, is_share: bool) -> str:
    """A difference with its sign: of a share in percentage points."""
    return points(value) if is_share else "" if np.isnan(value) else f"{value + 0.0:+.4g}"


def _magnitude(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _count(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.0f}"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _name(line: Sequence[str]) -> str:
    """The model, the method and the layer of a line, as far as it has them."""
    return " ".join(name for name in line if name not in ("", NO_MODEL))
