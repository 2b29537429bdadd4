"""The lines of two runs that are compared: which belong together, and what differs between two.

A line is a method of a model at a layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.errors import RunError
from wsol_bench.metrics.failure_modes import FAILURE_MODES
from wsol_bench.metrics.number import Number
from wsol_bench.report.analysis import numbers_of
from wsol_bench.report.comparisons import (
    MethodNumbers,
    NumberPair,
    paired_test,
    pairs_of,
)
from wsol_bench.report.numbers import main_number
from wsol_bench.report.page.outcomes import (
    HIT,
    MISS,
    NOT_DEFINED,
    OUTCOMES,
    WRONG_CLASS,
    outcomes_of,
)
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import BOX_COLUMNS, METHOD_KEYS
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.summary import MethodResults

__all__ = ["ComparedLine", "LinePair", "lines_of", "matched_lines", "results_of"]

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

    @property
    def both_names(self) -> dict[str, str]:
        """The names in run A, and those in run B in columns that end in ``_b``."""
        of_b = zip(METHOD_KEYS, self.b, strict=True)
        return self.names | {f"{key}_b": name for key, name in of_b}


def lines_of(identity: Identity) -> list[_Line]:
    """The lines of a run's summary."""
    return [
        (model, method, layer)
        for model in identity.models
        for method, layer in identity.groups(model)
    ]


def matched_lines(a: StoredRun, b: StoredRun) -> list[LinePair]:
    """The lines that are compared, in the order of run A.

    Lines of the same names belong together. Those that are left are matched by fewer names, if no
    other line of their runs has these: the model and the method (at other layers); the model (of
    one line in each run); and in runs of one model each also without the model's name.

    Raises:
        RunError: no line is matched.
    """
    lines_a, lines_b = (lines_of(run.identity) for run in (a, b))
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


def results_of(
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


@dataclass(frozen=True, eq=False)
class ComparedLine:
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
    ) -> "ComparedLine":
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

    def compared_numbers(self, seed: int) -> list[dict[str, Any]]:
        """The lines of the table ``numbers``, without the correction of p."""
        return [{**self.pair.names, **_compared(pair, seed)} for pair in self.numbers]

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
        changed = [_other_outcome(a[question], b[question]) for question in ("gt_known", "top1")]
        moved = a["counted"] & b["counted"] & (changed[0] | changed[1])
        table = pd.DataFrame(self.pair.names, index=np.flatnonzero(moved))
        table["image_id"] = a["image_id"][moved].to_numpy(object)
        table["class"] = a["class"][moved].to_numpy(object)
        table["words"] = table["class"].map(words).fillna("")
        for question in ("gt_known", "top1"):
            before, now = (
                part[question][moved].to_numpy(object) == OUTCOMES[HIT] for part in parts
            )
            table[question] = np.select([now & ~before, before & ~now], ["gained", "lost"], "")
        for column in ("gt_known", "top1", "iou", "top1_iou", *_LOCATED):
            for suffix, part in zip("ab", parts, strict=True):
                table[f"{column}_{suffix}"] = part[column][moved].to_numpy()
        return table


def _outcomes(
    run: StoredRun, result: MethodResults, measured: MethodNumbers, shared: pd.Index
) -> pd.DataFrame:
    """Outcome, IoU and box of the shared images of a line, in their order."""
    scores, protocol = result.scores, run.identity.protocol
    outcomes = outcomes_of(scores, measured, run.scoring.least_iou, protocol)
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


def _other_outcome(a: "pd.Series[str]", b: "pd.Series[str]") -> "pd.Series[bool]":
    """Return whether two outcomes differ; a plain miss, without a reason, is any miss of a box."""
    boxes = {*FAILURE_MODES} - {OUTCOMES[HIT], OUTCOMES[WRONG_CLASS]}
    unknown = (a == "") | (b == "")
    same_miss = ((a == OUTCOMES[MISS]) & b.isin(boxes)) | ((b == OUTCOMES[MISS]) & a.isin(boxes))
    return (a != b) & ~unknown & ~same_miss


def _per_image(number: Number) -> np.ndarray:
    """The values of images whose mean over the images of a class is the number of the class."""
    of_classes = number.classes is not None
    return np.asarray(number.values if of_classes else number.contributions(), np.float64)


def _compared(pair: NumberPair, seed: int) -> dict[str, Any]:
    """The line of ``numbers`` of a number."""
    number, reference = pair
    tested = paired_test(pair, seed)
    difference = tested["difference"]
    gain = difference if number.better == "higher" else -difference
    return {
        "number": number.name,
        "better": number.better,
        "is_share": number.range == (0.0, 1.0),
        "a": reference.value(),
        "b": number.value(),
        "difference": difference,
        "low": tested["low"],
        "high": tested["high"],
        "b_is": "better" if gain > 0 else "worse" if gain < 0 else "equal",
        **{name: tested[name] for name in ("test", "p", "n")},
        **{name: tested.get(name, np.nan) for name in ("n10", "n01", "effect_size")},
    }
