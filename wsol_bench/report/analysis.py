"""Stored runs looked at closely: how sure each number is, what differs, and why boxes failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.common.files import write_atomically
from wsol_bench.common.progress import progress
from wsol_bench.errors import RunError
from wsol_bench.metrics.number import Number
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import GROUP
from wsol_bench.statistics.correction import holm
from wsol_bench.statistics.intervals import statistic_interval
from wsol_bench.statistics.paired_tests import mcnemar_exact, paired_statistic
from wsol_bench.statistics.resampler import Resampler

__all__ = ["analyze", "for_people", "write_tables"]

# What a screen shows of all numbers, and the columns that name a line.
_SHOWN = (
    *("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "mean_iou"),
    *("max_box_acc", "max_top1_loc", "max_top5_loc", "max_box_acc_v2"),
    *("selected_box_acc", "selected_top1_loc", "selected_top5_loc", "selected_box_acc_v2"),
    *("px_ap", "p_iou"),
)
_NAMES = ("run", "model", "method")


@dataclass(frozen=True, eq=False)
class _Contender:
    """A model and a method in a run.

    Attributes:
        names: the columns ``GROUP``, and ``run`` where there are several.
        numbers: of the method that have a value, by name.
        images: that it was scored on.
        dataset: digest of their ground truth.
    """

    names: dict[str, str]
    numbers: dict[str, Number]
    images: pd.DataFrame
    dataset: str

    @property
    def image_ids(self) -> np.ndarray:
        """Of the images that were evaluated."""
        return self.images["image_id"].to_numpy(object)


class _Pair(NamedTuple):
    """A number of two contenders on the images that count for both.

    Attributes:
        mine, theirs: of the contender, and of the first one, on the same images in one order.
    """

    mine: Number
    theirs: Number


def analyze(runs: Sequence[RunFolder], *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Tables of what runs say, with how sure they are.

    Args:
        runs: finished ones. The first model and method of the first run is what the others are
            compared with, on the images that both have.
        seed: of the bootstrap.

    Returns:
        By name: ``intervals`` (each number with its 95% bootstrap interval over images),
        ``comparisons`` (paired tests, with Holm's correction), and, where a protocol chooses one
        box, ``failure_modes``, ``by_class``, ``by_size``, ``by_instances``. Fractions in [0, 1].

    Raises:
        RunError: a run that is not finished, none that has an evaluated image, or runs of different
            data sets.
    """
    contenders: list[_Contender] = []
    details: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        run.require_finished()
    n_methods = sum(run.identity.n_methods for run in runs)
    with progress("reading", n_methods, "methods") as advance:
        for run in runs:
            where = {"run": str(run.path)} if len(runs) > 1 else {}
            for contender, tables in _contenders(run, where):
                contenders += [contender] if contender.numbers else []
                for name, table in tables.items():
                    details.setdefault(name, []).append(table.assign(**where))
                advance(1)
    if not contenders:
        raise RunError(f"{runs[0].path}: no image was evaluated, there is nothing to compare")
    # The means of many numbers are resampled at once, in one matrix product.
    resampler = Resampler(seed=seed)
    pairs = [list(_pairs(contenders[0], one)) for one in contenders[1:]]
    for one in contenders:
        for number in one.numbers.values():
            if number.is_mean:
                resampler.add(_values(number))
    for of_one in pairs:
        for pair in of_one:
            if pair.mine.is_mean and not pair.mine.hits:
                resampler.add_pair(_values(pair.mine), _values(pair.theirs))
    with progress("resampling", len(resampler), "numbers") as advance:
        resampler.run(advance)
    steps = 2 * len(contenders) - 1
    with progress("testing", steps, "methods") as advance:
        intervals = []
        for one in contenders:
            intervals += [
                {**one.names, "number": name, **_interval(number, resampler, seed)}
                for name, number in one.numbers.items()
            ]
            advance(1)
        comparisons = []
        for one, of_one in zip(contenders[1:], pairs, strict=True):
            names = _against(contenders[0], one)
            comparisons += [{**names, **_comparison(pair, resampler, seed)} for pair in of_one]
            advance(1)
    return {
        "intervals": pd.DataFrame(intervals),
        "comparisons": _corrected(pd.DataFrame(comparisons)),
        **{name: pd.concat(tables, ignore_index=True) for name, tables in details.items()},
    }


def write_tables(run: RunFolder, tables: dict[str, pd.DataFrame]) -> None:
    """Write tables of ``analyze`` beside the summary of a run."""
    for name, table in tables.items():
        write_atomically(run.path / "tables" / f"{name}.csv", table.to_csv(index=False).encode())


def for_people(
    tables: dict[str, pd.DataFrame], named: Sequence[str] = ()
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and text of the tables that fit a screen, in percent; the rest is for files.

    Args:
        tables: of ``analyze``.
        named: numbers that are shown besides those that always are.
    """
    shown = (*_SHOWN, *(name for name in dict.fromkeys(named) if name not in _SHOWN))
    table = tables["intervals"]
    bounds = zip(table["value"], table["low"], table["high"], strict=True)
    text = [f"{_percent(value)} [{_percent(low)}, {_percent(high)}]" for value, low, high in bounds]
    yield (
        "Numbers in % with 95% intervals (bootstrap over images)",
        _side_by_side(table.assign(text=text), "number", "text", shown),
    )
    table = tables["comparisons"]
    if len(table):
        table = table[table["number"].isin(shown)].reset_index(drop=True)
        hits = table["test"].str.startswith("McNemar").to_numpy(bool)
        effect = np.where(hits, _alone(table), _effects(table))
        columns = table[[key for key in (*_NAMES, "against", "number") if key in table]].assign(
            difference=[f"{100 * value:+.2f}" for value in table["difference"]],
            effect=effect,
            n=table["n"],
            p=[f"{value:.2g}" for value in table["p_holm"]],
        )
        yield (
            "Differences in % on the same images; p by Holm's correction; effect: images that "
            "one alone hits, Cohen's d, or the 95% interval of the difference",
            columns.astype(str),
        )
    for question, title in (("gt_known", "of the own class's box"), ("top1", "of the first guess")):
        if "failure_modes" in tables:
            table = tables["failure_modes"]
            table = table[table["of"] == question]
            text = [_percent(value) for value in table["share"]]
            yield (
                f"Failure modes {title}, % of images",
                _side_by_side(table.assign(text=text), "failure_mode", "text"),
            )
    for by, title in (("size", "area of the largest box"), ("instances", "number of instances")):
        if f"by_{by}" in tables:
            table = tables[f"by_{by}"]
            text = [_percent(value) for value in table["gt_known_loc_error"]]
            yield (
                f"GT-known error in % by {title}",
                _side_by_side(table.assign(text=text), by, "text"),
            )


def _side_by_side(
    table: pd.DataFrame, columns: str, values: str, chosen: Sequence[str] | None = None
) -> pd.DataFrame:
    """One line a model and method, one column a kind of number."""
    keys = [key for key in _NAMES if key in table]
    kinds = [
        str(kind) for kind in dict.fromkeys(table[columns]) if chosen is None or kind in chosen
    ]
    lines = []
    for names, mine in table.groupby(keys, sort=False):
        by_kind = dict(zip(mine[columns].astype(str), mine[values], strict=True))
        named = dict(zip(keys, names, strict=True))
        lines.append(named | {kind: by_kind.get(kind, "-") for kind in kinds})
    return pd.DataFrame(lines).astype(str)


def _effects(table: pd.DataFrame) -> list[str]:
    """Cohen's d, or the interval of the difference where there is no d."""
    columns = (_column(table, name) for name in ("effect_size", "low", "high"))
    return [
        f"[{100 * low:+.2f}, {100 * high:+.2f}]" if np.isnan(d) else f"d {d:.2f}"
        for d, low, high in zip(*columns, strict=True)
    ]


def _alone(table: pd.DataFrame) -> list[str]:
    pairs = zip(_column(table, "n10"), _column(table, "n01"), strict=True)
    return [f"{first:.0f} : {second:.0f}" for first, second in pairs]


def _column(table: pd.DataFrame, name: str) -> list[float]:
    return table[name].tolist() if name in table else [float("nan")] * len(table)


def _percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.2f}"


def _contenders(
    run: RunFolder, where: dict[str, str]
) -> Iterator[tuple[_Contender, dict[str, pd.DataFrame]]]:
    """Each method of a run, with the tables of why its boxes failed."""
    for method in methods_of(run):
        numbers: dict[str, Number] = {}
        for number in method.numbers():
            for one in filter(None, (number, number.selected())):
                if not one.is_mean or not np.isnan(_values(one)).all():
                    numbers[one.name] = _compact(one)
        # Metrics by class, size and instances; the errors stand there by themselves.
        measured = {
            name: _values(number)
            for name, number in numbers.items()
            if name in run.identity.metrics and number.is_mean
        }
        contender = _Contender(
            {**where, **method.names},
            numbers,
            method.scores.images,
            run.identity.dataset.fingerprint,
        )
        details = run.scoring.details(method.scores, measured)
        named = {name: _named(table, method.names) for name, table in details.items()}
        yield contender, named


def _named(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A table of a method behind the columns that name the method."""
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def _compact(number: Number) -> Number:
    """A number whose hits take two bytes an image: those of many methods are kept at once."""
    if not (number.is_mean and number.hits):
        return number
    return replace(number, values=_values(number).astype(np.float16))


def _values(number: Number) -> Float64[np.ndarray, " n"]:
    """The values of a number that is a mean; NaN where an image does not count."""
    return np.asarray(number.values, np.float64)


def _interval(number: Number, resampler: Resampler, seed: int) -> dict[str, Any]:
    if number.is_mean:
        return resampler.interval(_values(number))._asdict()
    return statistic_interval(
        number.columns, number.of_means, n_resamples=number.n_resamples, seed=seed
    )._asdict()


def _pairs(first: _Contender, other: _Contender) -> Iterator[_Pair]:
    """The numbers that both contenders have, on the images that count for both."""
    shared = pd.Index(first.image_ids).intersection(pd.Index(other.image_ids))
    if not len(shared):
        raise RunError("the runs have no image in common: there is nothing to compare")
    if first.dataset != other.dataset:
        _require_one_truth(first.images, other.images, shared)
    for name, theirs in first.numbers.items():
        mine = other.numbers.get(name)
        if mine is None:
            continue
        if mine.image_ids is not theirs.image_ids and not np.array_equal(
            mine.image_ids, theirs.image_ids
        ):
            both = pd.Index(theirs.image_ids).intersection(pd.Index(mine.image_ids))
            mine, theirs = (
                one.take(pd.Index(one.image_ids).get_indexer(both)) for one in (mine, theirs)
            )
        if len(mine) and (not mine.is_mean or _counts_for_both(mine, theirs).any()):
            yield _Pair(mine, theirs)


def _counts_for_both(mine: Number, theirs: Number) -> np.ndarray:
    return ~np.isnan(_values(mine)) & ~np.isnan(_values(theirs))


def _against(first: _Contender, other: _Contender) -> dict[str, str]:
    return {
        **{key: other.names[key] for key in ("run", *GROUP) if key in other.names},
        "against": " ".join(first.names[key] for key in _NAMES if key in first.names),
    }


def _comparison(pair: _Pair, resampler: Resampler, seed: int) -> dict[str, Any]:
    """The paired test of a number."""
    mine, theirs = pair
    if mine.is_mean and mine.hits:
        both = _counts_for_both(mine, theirs)
        right = 1.0 if mine.better == "higher" else 0.0
        hits = mcnemar_exact(_values(mine)[both] == right, _values(theirs)[both] == right)
        difference = hits.difference if mine.better == "higher" else 0 - hits.difference
        found = {**hits._asdict(), "difference": difference}
        return {"number": mine.name, "test": "McNemar, exact", **found}
    if mine.is_mean:
        real = resampler.paired_difference(_values(mine), _values(theirs))
        return {"number": mine.name, "test": "paired bootstrap", **real._asdict()}
    of_set = paired_statistic(
        mine.columns, theirs.columns, theirs.of_means, n_resamples=theirs.n_resamples, seed=seed
    )
    return {"number": mine.name, "test": "paired bootstrap", **of_set._asdict()}


def _require_one_truth(first: pd.DataFrame, other: pd.DataFrame, shared: pd.Index) -> None:
    """Raise RunError where runs on other data sets do not agree on the images they share."""
    tables = [images.set_index("image_id").loc[shared] for images in (first, other)]
    for image_id, *lines in zip(
        shared, *(zip(table["label"], table["boxes"], strict=True) for table in tables), strict=True
    ):
        (label, boxes), (other_label, other_boxes) = lines
        if label != other_label or not np.array_equal(boxes, other_boxes):
            raise RunError(
                f"the runs differ in the ground truth of {image_id}: are the data sets one?"
            )


def _corrected(comparisons: pd.DataFrame) -> pd.DataFrame:
    """With p values adjusted for the number of comparisons of each number."""
    if not len(comparisons):  # columns all the same, for who reads the file
        names = (*GROUP, "against", "number", "test", "n", "difference", "p", "p_holm")
        return pd.DataFrame(columns=list(names))
    adjusted = comparisons.groupby("number", sort=False)["p"].transform(
        lambda p: holm(p.to_numpy(np.float64))
    )
    return comparisons.assign(p_holm=adjusted)
