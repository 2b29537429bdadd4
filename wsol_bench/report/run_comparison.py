"""Two runs, number by number and image by image: which numbers a change moved, and by which images.

The lines of the two runs (a method of a model at a layer) are matched by name. Numbers are compared
on the images that count in both runs, so the runs may differ in their limits and protocols.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.progress import progress
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.analysis import numbers_of
from wsol_bench.report.comparisons import (
    MethodNumbers,
    NumberPair,
    corrected,
    paired_test,
    pairs_of,
)
from wsol_bench.report.page.numbers import main_number
from wsol_bench.report.page.outcomes import NOT_DEFINED, OUTCOMES, Outcomes, outcomes_of
from wsol_bench.report.row_differences import row_differences
from wsol_bench.runs.differences import known_differing
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import BOX_COLUMNS, METHOD_KEYS
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.summary import MethodResults
from wsol_bench.statistics.bootstrap import bootstrap_bias
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import hit_difference_interval

__all__ = ["LinePair", "RunComparison", "compare"]

# A model's name, a method's name, and a layer.
_Line = tuple[str, str, str]
_LOCATED = [column.name for column in BOX_COLUMNS]


class LinePair(NamedTuple):
    """A line of run A and the line of run B that it is compared with.

    Attributes:
        a, b: the model, the method and the layer of each.
    """

    a: _Line
    b: _Line

    @property
    def names(self) -> dict[str, str]:
        """The columns that name the line in tables: the names of run A."""
        return dict(zip(METHOD_KEYS, self.a, strict=True))


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two runs in comparison; all differences are those of run B from run A.

    Fractions are in [0, 1], boxes in pixels of the original image. Lines bear the names of run A.

    Attributes:
        a, b: the folders of the runs.
        tolerance: the largest difference that does not count as one.
        n_images: the number of images that both runs evaluated.
        n_moved: the number of these images of which some stored result differs by more than the
            tolerance.
        settings: what the runs were made of that differs: ``key`` in the run's identity, the key in
            words (``what``), and the values ``a`` and ``b``.
        lines: the lines that are compared, with the names of both runs.
        unmatched: what only one run has: ``run`` (A or B), ``kind`` (line, number or image), the
            line, and the ``name`` of the number or image.
        numbers: each number that both runs have, on the images that count in both: the values ``a``
            and ``b``, ``difference`` with its 95% interval (``low``, ``high``), ``b_is`` (better,
            worse or equal), ``differs`` (by more than the tolerance), the paired test with ``p``
            and ``p_holm``, the number ``n`` of images; for hits the number of images that only B
            (``n10``) and only A (``n01``) gets right.
        classes: the main number of each line by class, the largest change first.
        images: the images whose outcome changed, with outcome, IoU and box in both runs.
        rows: the number of stored rows and curves of each line that differ, and the largest
            difference of a coordinate, an IoU and a score; see ``row_differences``.
    """

    a: str
    b: str
    tolerance: float
    n_images: int
    n_moved: int
    settings: pd.DataFrame
    lines: pd.DataFrame
    unmatched: pd.DataFrame
    numbers: pd.DataFrame
    classes: pd.DataFrame
    images: pd.DataFrame
    rows: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        names = ("settings", "lines", "unmatched", "numbers", "classes", "images", "rows")
        return {name: getattr(self, name) for name in names}

    @property
    def equal(self) -> bool:
        """Return whether the results of the runs are equal, up to the tolerance."""
        moved = self.n_moved or len(self.images) or self.numbers["differs"].any()
        return not (moved or len(self.unmatched))


def compare(a: StoredRun, b: StoredRun, *, seed: int = 0, tolerance: float = 0.0) -> RunComparison:
    """Compare two finished runs.

    Args:
        a: the run before a change.
        b: the run after it.
        seed: seed of the resamples and of the random signs of paired tests.
        tolerance: the largest difference of a number, an IoU, a score or a coordinate (in pixels)
            that does not count as a difference.

    Raises:
        RunError: a run is not finished or damaged, no line of one run is one of the other, or the
            runs have no image in common or differ in the ground truth of one.
        ConfigError: the tolerance is negative or no number.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance: expected a number of at least 0, found {tolerance}")
    for run in (a, b):
        run.require_finished()
    pairs = _matched(a, b)
    unmatched = [
        {"run": name, "kind": "line", **dict(zip(METHOD_KEYS, line, strict=True)), "name": ""}
        for name, run, side in (("A", a, 0), ("B", b, 1))
        for line in _lines_of(run.identity)
        if line not in {pair[side] for pair in pairs}
    ]
    words = dict(a.read("classes", ["wnid", "words"]).to_numpy().tolist())
    numbers, classes, images = list[dict[str, Any]](), list[pd.DataFrame](), list[pd.DataFrame]()
    shared = dict[str, pd.Index]()
    with progress("comparing", len(pairs), "methods") as advance:
        for pair, result_a, result_b in _results(a, b, pairs):
            line = _ComparedLine.of(pair, (a, result_a), (b, result_b))
            if pair.a[0] not in shared:
                shared[pair.a[0]] = line.shared
                unmatched += line.other_images()
            unmatched += line.other_numbers()
            numbers += [{**pair.names, **_compared(of_both, seed)} for of_both in line.numbers]
            classes.append(line.classes(words))
            images.append(line.moved_images(words))
            advance(1)
    rows, moved = row_differences(a, b, [(p.a, p.b) for p in pairs], shared, tolerance)
    table = corrected(pd.DataFrame(numbers))
    by_class = pd.concat(classes, ignore_index=True)
    changes = by_class["difference"].abs().sort_values(ascending=False, kind="stable")
    return RunComparison(
        a=str(a.path),
        b=str(b.path),
        tolerance=tolerance,
        n_images=len(set().union(*shared.values())),
        n_moved=len(moved),
        settings=_settings(a.identity, b.identity),
        lines=pd.DataFrame([{**p.names, **_of_b(p.b)} for p in pairs]),
        unmatched=pd.DataFrame(unmatched, columns=["run", "kind", *METHOD_KEYS, "name"]),
        numbers=table.assign(differs=table["difference"].abs() > tolerance),
        classes=by_class.loc[changes.index].reset_index(drop=True),
        images=pd.concat(images, ignore_index=True),
        rows=rows,
    )


def _of_b(line: _Line) -> dict[str, str]:
    return {f"{key}_b": name for key, name in zip(METHOD_KEYS, line, strict=True)}


# ---- which lines are compared


def _lines_of(identity: Identity) -> list[_Line]:
    """The lines of a run's summary."""
    return [
        (model, method, layer)
        for model in identity.models
        for method, layer in identity.groups(model)
    ]


def _matched(a: StoredRun, b: StoredRun) -> list[LinePair]:
    """The lines that are compared, in the order of run A.

    Lines of the same names belong together. Those that are left are matched by fewer names, if no
    other line of their runs has these: the model and the method (at other layers); the model (of
    one line in each run); and in runs of one model each also without the model's name.

    Raises:
        RunError: no line is matched.
    """
    lines_a, lines_b = (_lines_of(run.identity) for run in (a, b))
    chosen = [(0, 1, 2), (0, 1), (0,)]
    if len(a.identity.models) == len(b.identity.models) == 1:
        chosen += [(1, 2), (1,), ()]
    partner = dict[_Line, _Line]()
    for places in chosen:
        of_a, of_b = _unique(lines_a, places), _unique(lines_b, places)
        for key, line in of_a.items():
            if line not in partner and key in of_b and of_b[key] not in partner.values():
                partner[line] = of_b[key]
    if not partner:
        listed = [
            ", ".join(" ".join(filter(None, line)) for line in ls) for ls in (lines_a, lines_b)
        ]
        raise RunError(
            f"{a.path} and {b.path} have no model, method and layer in common, so there is nothing "
            f"to compare; A has: {listed[0]}; B has: {listed[1]}"
        )
    return [LinePair(line, partner[line]) for line in lines_a if line in partner]


def _unique(lines: Sequence[_Line], places: Sequence[int]) -> dict[tuple[str, ...], _Line]:
    """The lines that are the only ones with some of their names, by these."""
    named: dict[tuple[str, ...], list[_Line]] = {}
    for line in lines:
        named.setdefault(tuple(line[place] for place in places), []).append(line)
    return {key: found[0] for key, found in named.items() if len(found) == 1}


def _results(
    a: StoredRun, b: StoredRun, pairs: Sequence[LinePair]
) -> Iterator[tuple[LinePair, MethodResults, MethodResults]]:
    """The results of both runs for each pair; of runs with one order, a pair at a time is kept."""
    partner = {pair.a: pair for pair in pairs}
    wanted = {pair.b for pair in pairs}
    waiting = dict[_Line, MethodResults]()
    of_b = methods_of(b)
    for result in methods_of(a):
        pair = partner.get(_line_of(result))
        if pair is None:
            continue
        while pair.b not in waiting:
            other = next(of_b)
            if _line_of(other) in wanted:
                waiting[_line_of(other)] = other
        yield pair, result, waiting.pop(pair.b)


def _line_of(result: MethodResults) -> _Line:
    model, method, layer = (result.names[key] for key in METHOD_KEYS)
    return model, method, layer


# ---- one line of both runs


@dataclass(frozen=True, eq=False)
class _ComparedLine:
    """A line of both runs.

    Attributes:
        pair: its names.
        runs: run A and run B.
        results: the stored results of both.
        measured: the numbers of both.
        numbers: the numbers that both have, on the images that count in both.
        shared: the ids of the images that both evaluated.
    """

    pair: LinePair
    runs: tuple[StoredRun, StoredRun]
    results: tuple[MethodResults, MethodResults]
    measured: tuple[MethodNumbers, MethodNumbers]
    numbers: list[NumberPair]
    shared: pd.Index

    @classmethod
    def of(
        cls,
        pair: LinePair,
        a: tuple[StoredRun, MethodResults],
        b: tuple[StoredRun, MethodResults],
    ) -> "_ComparedLine":
        """Read the numbers of a line of both runs; RunError unless the runs share images."""
        measured = numbers_of(a[1], a[0]), numbers_of(b[1], b[0])
        first, second = (pd.Index(of_run.image_ids) for of_run in measured)
        return cls(
            pair,
            (a[0], b[0]),
            (a[1], b[1]),
            measured,
            list(pairs_of(*measured)),
            first.intersection(second),
        )

    def other_numbers(self) -> list[dict[str, str]]:
        """The lines of ``unmatched`` for numbers that only one run has."""
        both = {pair.number.name for pair in self.numbers}
        return [
            {"run": run, "kind": "number", **self.pair.names, "name": name}
            for run, measured in zip("AB", self.measured, strict=True)
            for name in measured.numbers
            if name not in both
        ]

    def other_images(self) -> list[dict[str, str]]:
        """The lines of ``unmatched`` for images that only one run evaluated with the model."""
        names = dict.fromkeys(METHOD_KEYS, "") | {"model": self.pair.a[0]}
        return [
            {"run": run, "kind": "image", **names, "name": str(image_id)}
            for run, measured in zip("AB", self.measured, strict=True)
            for image_id in pd.Index(measured.image_ids).difference(self.shared, sort=False)
        ]

    def classes(self, words: dict[str, str]) -> pd.DataFrame:
        """The main number by class; no line if it is made of all images together."""
        main = main_number([pair.number.name for pair in self.numbers])
        of_main = [pair for pair in self.numbers if pair.number.name == main]
        columns = ["class", "words", "number", "better", "n", "a", "b", "difference"]
        if not of_main or of_main[0].number.statistic is not None:
            return pd.DataFrame(columns=[*METHOD_KEYS, *columns])
        number, reference = of_main[0]
        images = self.measured[1].images
        label = pd.Series(images["label"].to_numpy(object), images["image_id"].to_numpy(object))
        values = pd.DataFrame(
            {
                "class": label.loc[number.image_ids].to_numpy(object),
                "a": _per_image(reference),
                "b": _per_image(number),
            }
        )
        by_class = values.groupby("class")
        table = by_class.mean().assign(n=by_class.size()).reset_index()
        table = table.assign(
            words=table["class"].map(words).fillna(""),
            number=number.name,
            better=number.better,
            difference=table["b"] - table["a"],
            **self.pair.names,
        )
        return table[[*METHOD_KEYS, *columns]]

    def moved_images(self, words: dict[str, str]) -> pd.DataFrame:
        """The images that count in both runs and have another outcome in each."""
        parts = [
            _outcomes(run, result, measured, self.shared)
            for run, result, measured in zip(self.runs, self.results, self.measured, strict=True)
        ]
        a, b = parts
        moved = a["counted"] & b["counted"]
        moved &= (a["gt_known"] != b["gt_known"]) | (a["top1"] != b["top1"])
        table = pd.DataFrame(self.pair.names, index=np.flatnonzero(moved))
        table["image_id"] = a["image_id"][moved].to_numpy(object)
        table["class"] = a["class"][moved].to_numpy(object)
        table["words"] = table["class"].map(words).fillna("")
        for question in ("gt_known", "top1"):
            hits = [part[question][moved].to_numpy(object) == "hit" for part in parts]
            table[question] = np.select(
                [hits[1] & ~hits[0], hits[0] & ~hits[1]], ["gained", "lost"]
            )
            table.loc[hits[0] == hits[1], question] = ""
        for column in ("gt_known", "top1", "iou", "top1_iou", *_LOCATED):
            for suffix, part in zip("ab", parts, strict=True):
                table[f"{column}_{suffix}"] = part[column][moved].to_numpy()
        change = (table["iou_b"] - table["iou_a"]).abs().fillna(0.0)
        order = np.lexsort((-change, table["gt_known"] == "", table["top1"] == ""))
        return table.iloc[order].reset_index(drop=True)


def _outcomes(
    run: StoredRun, result: MethodResults, measured: MethodNumbers, shared: pd.Index
) -> pd.DataFrame:
    """Outcome, IoU and box of the shared images of a line, in their order."""
    scores, protocol = result.scores, run.identity.protocol
    outcomes: Outcomes = outcomes_of(scores, measured, run.scoring.least_iou, protocol)
    place = pd.Index(scores.image_ids).get_indexer(shared)
    words = np.array([*OUTCOMES, ""], object)

    def named(codes: np.ndarray) -> np.ndarray:
        return words[np.where(codes == NOT_DEFINED, len(OUTCOMES), codes)[place]]

    columns: dict[str, Any] = {
        "image_id": scores.image_ids[place],
        "class": scores.images["label"].to_numpy(object)[place],
        "counted": outcomes.counted[place],
        "gt_known": named(outcomes.gt_known),
        "top1": named(outcomes.top1),
        "iou": outcomes.iou[place],
        "top1_iou": outcomes.top1_iou[place],
    }
    return pd.DataFrame(columns | {name: scores.of_label(name)[place] for name in _LOCATED})


# ---- one number of both runs


def _per_image(number: Any) -> np.ndarray:
    """The values of images whose mean over a class is the number of the class."""
    return np.asarray(
        number.values if number.classes is not None else number.contributions(), float
    )


def _compared(pair: NumberPair, seed: int) -> dict[str, Any]:
    """The line of ``numbers`` of a number, without its correction."""
    number, reference = pair
    tested = paired_test(pair, seed)
    difference, bias = tested["difference"], _bias(pair, seed)
    if number.counts_hits:
        _, low, high, _ = hit_difference_interval(tested["n10"], tested["n01"], tested["n"])
        low, high = (low, high) if number.better == "higher" else (-high, -low)
    else:
        low, high = tested["low"], tested["high"]
    gain = difference if number.better == "higher" else -difference
    return {
        "number": number.name,
        "better": number.better,
        "is_share": number.range == (0.0, 1.0),
        "a": reference.value(),
        "b": number.value(),
        "difference": difference,
        "low": low - bias,
        "high": high - bias,
        "b_is": "better" if gain > 0 else "worse" if gain < 0 else "equal",
        "test": tested["test"],
        "p": tested["p"],
        "n": tested["n"],
        **{name: tested.get(name, np.nan) for name in ("n10", "n01", "effect_size")},
    }


def _bias(pair: NumberPair, seed: int) -> float:
    """How much higher the difference is expected to be than the truth; see ``Number.interval``."""
    number, reference = pair
    if number.is_mean or number.classes is not None or _same_values(pair):
        return 0.0
    of_both = (bootstrap_bias(each.columns, each.of_means, seed=seed) for each in pair)
    return float(np.subtract(*of_both)) if len(number) else 0.0


def _same_values(pair: NumberPair) -> bool:
    first, second = (each.columns for each in pair)
    if isinstance(first, Hits) and isinstance(second, Hits):
        return first.n_thresholds == second.n_thresholds and np.array_equal(
            first.packed, second.packed
        )
    return np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True)


# ---- what the runs were made of

# The facts of an identity by the pattern of their keys, and how they are called.
_IN_WORDS = (
    (r"environment\.versions\.(.+)", r"version of \1"),
    (r"environment\.python", r"version of Python"),
    (r"environment\.sources", r"code of wsol-bench"),
    (r"maps_made_with\.versions\.(.+)", r"version of \1 when the maps were made"),
    (r"maps_made_with\.python", r"version of Python when the maps were made"),
    (r"maps_made_with\.sources", r"code of wsol-bench when the maps were made"),
    (r"protocol\.name", r"protocol"),
    (r"models\.(.+)\.weights", r"weights of \1"),
    (r"models\.(.+)\.source", r"code of the network \1"),
    (r"(?:methods|sources)\.(.+)\.source", r"code of the method \1"),
    (r"metrics\.(.+)\.source", r"code of the metric \1"),
    (r"dataset\.fingerprint", r"ground truth (fingerprint)"),
    (r"dataset\.n_images", r"number of images"),
    (r"config\.(.+)", r"experiment: \1"),
)


def _settings(a: Identity, b: Identity) -> pd.DataFrame:
    """The table ``settings`` of two runs."""
    rescored = a.rescored_from or b.rescored_from
    facts = [_facts(identity, maps=rescored is not None) for identity in (a, b)]
    differing = known_differing(*facts)
    found = [difference for difference in differing if not _is_implied(*difference, facts)]
    lines = [(key, _in_words(key), str(before), str(now)) for key, before, now in found]
    return pd.DataFrame(lines, columns=["key", "what", "a", "b"])


def _facts(identity: Identity, *, maps: bool) -> dict[str, Any]:
    """The facts of a run that its results may depend on."""
    names = ("config", "protocol", "dataset", "models", "methods", "sources", "metrics", "shard")
    facts = identity.model_dump(mode="json", include={*names, "selected_on", "environment"})
    facts["config"].pop("protocol", None)  # it is resolved
    if maps:
        origin = identity.rescored_from
        made_with = origin.environment if origin else identity.environment
        facts["maps_made_with"] = made_with.model_dump(mode="json")
    return facts


def _is_implied(key: str, before: Any, now: Any, facts: Sequence[dict[str, Any]]) -> bool:
    """Return whether a difference says no more than others do.

    A line or metric that only one run has is in ``unmatched``. The name of a changed protocol
    repeats its changes.
    """
    if key == "protocol.name":
        return str(before).partition("+")[0] == str(now).partition("+")[0]
    kind, _, name = key.partition(".")
    names = [{*of_run.get(kind, {})} for of_run in facts if isinstance(of_run.get(kind), dict)]
    owners = [one for of_run in names for one in of_run if name.startswith(f"{one}.")]
    return kind in ("models", "methods", "sources", "metrics") and len(set(owners)) == len(owners)


def _in_words(key: str) -> str:
    for pattern, words in _IN_WORDS:
        if found := re.fullmatch(pattern, key):
            return found.expand(words)
    return key
