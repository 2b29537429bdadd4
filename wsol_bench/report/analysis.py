"""Stored runs looked at closely: how sure each number is, what differs, and why boxes failed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.errors import RunError
from wsol_bench.files import write_atomically
from wsol_bench.metrics.breakdown import By, breakdown
from wsol_bench.metrics.failure_modes import failure_counts
from wsol_bench.metrics.localization import GROUP
from wsol_bench.metrics.max_box_acc import V1, V2, unpacked
from wsol_bench.metrics.per_image import OF_MAPS, per_image, per_image_of_sweep
from wsol_bench.metrics.pixel_ap import peak_iou, pixel_average_precision
from wsol_bench.metrics.selection import Selection
from wsol_bench.metrics.statistics import (
    N_RESAMPLES,
    Statistic,
    confidence_intervals,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_statistic,
    statistic_interval,
)
from wsol_bench.progress import progress
from wsol_bench.protocols import Protocol
from wsol_bench.store import RunFolder

__all__ = ["analyze", "for_people", "write_tables"]

_ROWS = ["model", "method", "layer", "protocol", "protocol_hash", "image_id", "rank", "class"]
_ROWS += ["score", "iou", "x0", "y0", "x1", "y1", "peak_x", "peak_y", "energy"]
_ROWS += ["insertion", "deletion", "masked_score", "status"]
_BINS: tuple[By, ...] = ("class", "size", "instances")
# What a screen shows of all numbers, and the columns that name a line.
_SHOWN = (
    *("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "mean_iou"),
    *("max_box_acc", "max_box_acc_v2", "selected_box_acc", "selected_box_acc_v2"),
    *("px_ap", "p_iou"),
)
_NAMES = ("run", "model", "method")
_KINDS = ("foreground", "background")
_QUESTIONS: tuple[Selection, ...] = ("top1", "gt_known")
# Tested as numbers; the others are hits.
_REAL = (
    *("mean_iou", "box_acc_area", "energy_pointing_game", "selected_box_acc_v2"),
    *("insertion", "deletion", "average_drop"),
)
# A resample of pixels' scores is a thousand times the work of one of hits.
_N_PIXEL_RESAMPLES = 1000


class _Contender(NamedTuple):
    """A model and a method in a run.

    Attributes:
        names: the columns ``GROUP``, and ``run`` where there are several.
        values: of ``per_image``.
        curves: hits over thresholds, of a sweep.
        protocol: that it was scored by.
        images: that it was scored on.
        dataset: digest of their ground truth.
    """

    names: dict[str, str]
    values: pd.DataFrame
    curves: pd.DataFrame
    protocol: Protocol
    images: pd.DataFrame
    dataset: str


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
    boxed: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        run.require_finished()
        where = {"run": str(run.path)} if len(runs) > 1 else {}
        dataset = run.manifest["dataset"]["fingerprint"]
        for images, rows, curves, protocol in _by_model(run):
            contenders += _contenders(images, rows, curves, protocol, where, dataset)
            if protocol.scoring and not protocol.sweep:
                iou = protocol.scoring.ious[0]
                for name, table in _boxed(rows, images, iou):
                    boxed.setdefault(name, []).append(table.assign(**where))
    contenders = [one for one in contenders if len(one.curves) or one.values.notna().any(axis=None)]
    if not contenders:
        raise RunError(f"{runs[0].path}: no image was evaluated, there is nothing to compare")
    steps = 2 * len(contenders) - 1
    with progress("resampling", steps, "methods") as advance:
        intervals = []
        for one in contenders:
            intervals += list(_intervals(one, seed))
            advance(1)
        comparisons = []
        for one in contenders[1:]:
            comparisons += list(_comparisons(contenders[0], one, seed))
            advance(1)
    return {
        "intervals": pd.DataFrame(intervals),
        "comparisons": _corrected(pd.DataFrame(comparisons)),
        **{name: pd.concat(tables, ignore_index=True) for name, tables in boxed.items()},
    }


def write_tables(run: RunFolder, tables: dict[str, pd.DataFrame]) -> None:
    """Write tables of ``analyze`` beside the summary of a run."""
    for name, table in tables.items():
        write_atomically(run.path / "tables" / f"{name}.csv", table.to_csv(index=False).encode())


def for_people(tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and text of the tables that fit a screen, in percent; the rest is for files."""
    table = tables["intervals"]
    bounds = zip(table["value"], table["low"], table["high"], strict=True)
    text = [f"{_percent(value)} [{_percent(low)}, {_percent(high)}]" for value, low, high in bounds]
    yield (
        "Numbers in % with 95% intervals (bootstrap over images)",
        _side_by_side(table.assign(text=text), "number", "text", _SHOWN),
    )
    table = tables["comparisons"]
    if len(table):
        table = table[table["number"].isin(_SHOWN)].reset_index(drop=True)
        hits = table["test"].str.startswith("McNemar").to_numpy(bool)
        effect = np.where(hits, _alone(table), _effects(table))
        shown = table[[key for key in (*_NAMES, "against", "number") if key in table]].assign(
            difference=[f"{100 * value:+.2f}" for value in table["difference"]],
            effect=effect,
            n=table["n"],
            p=[f"{value:.2g}" for value in table["p_holm"]],
        )
        yield (
            "Differences in % on the same images; p by Holm's correction; effect: images that "
            "one alone hits, Cohen's d, or the 95% interval of the difference",
            shown.astype(str),
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


def _by_model(
    run: RunFolder,
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Protocol]]:
    """Images, rows, curves of one model after the other, and the protocol."""
    content = {key: value for key, value in run.manifest["protocol"].items() if key != "hash"}
    protocol = Protocol.model_validate(content)
    for numbers in run.parts_by_model().values():
        if not numbers:
            continue
        images = run.read("images", parts=numbers)
        rows = run.read("rows", _ROWS, parts=numbers)
        yield images, rows, run.read("curves", parts=numbers), protocol


def _contenders(
    images: pd.DataFrame,
    rows: pd.DataFrame,
    curves: pd.DataFrame,
    protocol: Protocol,
    where: dict[str, str],
    dataset: str,
) -> Iterator[_Contender]:
    for group, mine in rows.groupby(GROUP, sort=False):
        names = dict(zip(GROUP, map(str, group), strict=True))
        its_curves = curves[
            (curves["method"] == names["method"]) & (curves["layer"] == names["layer"])
        ]
        if protocol.sweep:
            values = per_image_of_sweep(mine, images, its_curves, protocol)
        else:
            iou = protocol.scoring.ious[0] if protocol.scoring else 0.5
            values = per_image(mine, images, iou=iou)
        if protocol.pixels:  # what is left without boxes is what is measured of maps
            of_maps = [name for name in values if str(name) in OF_MAPS]
            values = values[of_maps]
        scored = images.loc[
            ((images["n_label_boxes"] > 0) | (protocol.pixels is not None)) & ~images["held_out"],
            "image_id",
        ]
        its_curves = its_curves[its_curves["image_id"].isin(scored)]
        if protocol.sweep:
            if values.filter(like="box_acc_iou").empty:
                its_curves = its_curves[:0]  # not of all images: there is no number
            # At the threshold that is best for these very images; in each resample it is another.
            oracle = [name for name in values if str(name).startswith("box_acc_iou")]
            values = values.drop(columns=oracle)
        yield _Contender({**where, **names}, values, its_curves, protocol, images, dataset)


def _boxed(
    rows: pd.DataFrame, images: pd.DataFrame, iou: float
) -> Iterator[tuple[str, pd.DataFrame]]:
    counts = [
        failure_counts(rows, images, of=question, iou=iou).assign(of=question)
        for question in _QUESTIONS
    ]
    yield "failure_modes", pd.concat(counts, ignore_index=True)
    for by in _BINS:
        yield f"by_{by}", breakdown(rows, images, by=by, iou=iou)


def _intervals(one: _Contender, seed: int) -> Iterator[dict[str, Any]]:
    columns = [name for name in one.values if one.values[name].notna().any()]
    # Each by itself: hits, of which few are distinct, cost next to nothing.
    for name in columns:
        values = one.values[[name]].to_numpy(np.float64)
        [interval] = confidence_intervals(values, seed=seed)
        yield {**one.names, "number": name, **interval._asdict()}
    for number in _numbers_of_set(one, pd.Index(one.curves["image_id"])):
        interval = statistic_interval(
            number.values, number.statistic, n_resamples=number.n_resamples, seed=seed
        )
        yield {**one.names, "number": number.name, **interval._asdict()}


class _NumberOfSet(NamedTuple):
    """A number that is no mean over images, but made of such means.

    Attributes:
        name: as in the summary.
        values: a row an image, a column a threshold.
        statistic: from means of the columns to the number.
        n_resamples: of the bootstrap.
    """

    name: str
    values: np.ndarray
    statistic: Statistic
    n_resamples: int = N_RESAMPLES


def _numbers_of_set(one: _Contender, image_ids: pd.Index) -> Iterator[_NumberOfSet]:
    """Maxima over thresholds, which are chosen anew in each resample, and what pools pixels."""
    if not len(image_ids):
        return
    curves = one.curves.set_index("image_id").loc[image_ids]
    if one.protocol.pixels:
        kinds = [np.frombuffer(b"".join(curves[kind]), "<u4") for kind in _KINDS]
        counts = np.concatenate([kind.reshape(len(curves), -1) for kind in kinds], axis=1)
        pixels = counts.astype(np.float64)
        yield _NumberOfSet("px_ap", pixels, _of_each(pixel_average_precision), _N_PIXEL_RESAMPLES)
        yield _NumberOfSet("p_iou", pixels, _of_each(_peak), _N_PIXEL_RESAMPLES)
    if not (one.protocol.sweep and one.protocol.scoring and one.protocol.box):
        return
    packed, ious = curves["hits"].tolist(), one.protocol.scoring.ious
    n = len(one.protocol.sweep.thresholds)
    if V1 in ious:
        at = ious.index(V1)
        yield _NumberOfSet("max_box_acc", unpacked(packed, n, slice(at, at + 1))[:, 0], _best)
    # The curves of the protocol's component are the last ones.
    hits = unpacked(packed, n, slice(-len(ious), None))
    for position, iou in enumerate(ious):
        yield _NumberOfSet(f"max_box_acc_iou{100 * iou:g}", hits[:, position], _best)
    if set(V2) <= set(ious) and one.protocol.box.component == "all":
        flat = hits[:, [ious.index(iou) for iou in V2]].reshape(len(hits), -1)
        yield _NumberOfSet("max_box_acc_v2", flat, _mean_of_best)


def _of_each(number: Callable[..., float]) -> Statistic:
    return lambda means: np.array([number(*np.split(line, 2)) for line in means])


def _peak(foreground: np.ndarray, background: np.ndarray) -> float:
    return peak_iou(foreground, background).iou


def _best(means: np.ndarray) -> np.ndarray:
    return np.asarray(means.max(axis=1))


def _mean_of_best(means: np.ndarray) -> np.ndarray:
    return np.asarray(means.reshape(len(means), len(V2), -1).max(axis=2).mean(axis=1))


def _comparisons(first: _Contender, other: _Contender, seed: int) -> Iterator[dict[str, Any]]:
    """Paired tests of a contender with the first one, on the images that count for both."""
    shared = first.values.index.intersection(other.values.index)
    if not len(shared):
        raise RunError("the runs have no image in common: there is nothing to compare")
    if first.dataset != other.dataset:
        _require_one_truth(first.images, other.images, shared)
    names = {
        **{key: other.names[key] for key in ("run", *GROUP) if key in other.names},
        "against": " ".join(first.names[key] for key in _NAMES if key in first.names),
    }
    for name in first.values:
        if name not in other.values:
            continue
        pair = np.column_stack([one.values[name].loc[shared] for one in (other, first)])
        pair = pair[~np.isnan(pair).any(axis=1)]
        if not len(pair):
            continue
        if name in _REAL:
            real = paired_bootstrap(pair[:, 0], pair[:, 1], seed=seed)
            yield {**names, "number": name, "test": "paired bootstrap", **real._asdict()}
            continue
        is_error = str(name).endswith(("_error", "_error_all"))
        hits = mcnemar_exact(*(pair == (0 if is_error else 1)).T)
        found = {
            **hits._asdict(),
            "difference": hits.difference if not is_error else 0 - hits.difference,
        }
        yield {**names, "number": name, "test": "McNemar, exact", **found}
    both = pd.Index(first.curves["image_id"]).intersection(pd.Index(other.curves["image_id"]))
    ours = {number.name: number for number in _numbers_of_set(other, both)}
    for theirs in _numbers_of_set(first, both):
        mine = ours.get(theirs.name)
        if mine is None:
            continue
        found_of_set = paired_statistic(
            mine.values,
            theirs.values,
            theirs.statistic,
            n_resamples=theirs.n_resamples,
            seed=seed,
        )
        yield {
            **names,
            "number": theirs.name,
            "test": "paired bootstrap",
            **found_of_set._asdict(),
        }


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
