"""Two runs, number by number and image by image: which numbers a change moved, and by which images.

The lines of the two runs (a method of a model at a layer) are matched by name. Numbers are compared
on the images that count in both runs, so the runs may differ in their limits and protocols.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common.progress import progress
from wsol_bench.errors import ConfigError
from wsol_bench.report.compared_lines import (
    ComparedLine,
    LinePair,
    lines_of,
    matched_lines,
    results_of,
)
from wsol_bench.report.comparisons import corrected
from wsol_bench.report.row_differences import row_differences
from wsol_bench.runs.differences import known_differing
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.schema import METHOD_KEYS
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["RunComparison", "compare"]


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
        images: the images whose outcome changed, with outcome, IoU and box in both runs: those
            that are gained or lost first, each by the change of their IoU.
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
        ConfigError: the tolerance is not in [0, 1).
    """
    if not 0 <= tolerance < 1:  # 1 is the largest difference of two shares
        raise ConfigError(
            f"tolerance: expected a number of at least 0 and below 1, found {tolerance}"
        )
    for run in (a, b):
        run.require_finished()
    pairs = matched_lines(a, b)
    read = _Read(a, b, pairs, seed)
    numbers = corrected(pd.DataFrame(read.numbers))
    named = [(pair.a, pair.b) for pair in pairs]
    rows, moved = row_differences(a, b, named, read.shared, tolerance)
    return RunComparison(
        a=str(a.path),
        b=str(b.path),
        tolerance=tolerance,
        n_images=len(set().union(*read.shared.values())),
        n_moved=len(moved),
        settings=_settings(a.identity, b.identity),
        lines=pd.DataFrame([pair.both_names for pair in pairs]),
        unmatched=pd.DataFrame(read.unmatched, columns=["run", "kind", *METHOD_KEYS, "name"]),
        numbers=numbers.assign(differs=numbers["difference"].abs() > tolerance),
        classes=_largest_first(pd.concat(read.classes, ignore_index=True)),
        images=_hits_first(pd.concat(read.images, ignore_index=True)),
        rows=rows,
    )


class _Read:
    """The lines of both runs, read and compared one after the other.

    Args:
        a, b: the runs.
        pairs: the lines that are compared.
        seed: seed of the resamples and of the random signs of paired tests.

    Attributes:
        numbers, unmatched: the lines of these tables.
        classes, images: these tables of each line.
        shared: by model of run A, the ids of the images that both runs evaluated.
    """

    def __init__(self, a: StoredRun, b: StoredRun, pairs: Sequence[LinePair], seed: int) -> None:
        self.numbers: list[dict[str, Any]] = []
        self.unmatched: list[dict[str, str]] = _lines_of_one_run(a, b, pairs)
        self.classes: list[pd.DataFrame] = []
        self.images: list[pd.DataFrame] = []
        self.shared: dict[str, pd.Index] = {}
        classes = a.read("classes")
        words = dict(zip(classes["wnid"], classes["words"], strict=True))
        with progress("comparing", len(pairs), "methods") as advance:
            for pair, result_a, result_b in results_of(a, b, pairs):
                line = ComparedLine.of(pair, (a, result_a), (b, result_b))
                if pair.a[0] not in self.shared:
                    self.shared[pair.a[0]] = line.shared
                    self.unmatched += line.other_images()
                self.unmatched += line.other_numbers()
                self.numbers += line.compared_numbers(seed)
                self.classes.append(line.classes(words))
                self.images.append(line.moved_images(words))
                advance(1)


def _lines_of_one_run(
    a: StoredRun, b: StoredRun, pairs: Sequence[LinePair]
) -> list[dict[str, str]]:
    """The lines of ``unmatched`` for lines that only one run has."""
    matched = {"A": {pair.a for pair in pairs}, "B": {pair.b for pair in pairs}}
    return [
        {"run": name, "kind": "line", **dict(zip(METHOD_KEYS, line, strict=True)), "name": ""}
        for name, run in (("A", a), ("B", b))
        for line in lines_of(run.identity)
        if line not in matched[name]
    ]


def _hits_first(images: pd.DataFrame) -> pd.DataFrame:
    """The images that are gained or lost, then the others, each by the change of their IoU."""
    change = (images["iou_b"] - images["iou_a"]).abs().fillna(0.0)
    order = np.lexsort((-change, images["top1"] == "", images["gt_known"] == ""))
    return images.iloc[order].reset_index(drop=True)


def _largest_first(table: pd.DataFrame) -> pd.DataFrame:
    """The lines by the size of their differences."""
    sizes = table["difference"].astype(float).abs()
    order = sizes.sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


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
    lines = [
        (key, _in_words(key), *("none" if value is None else str(value) for value in values))
        for key, *values in found
    ]
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
    if key == "protocol.paper":
        return True
    kind, _, name = key.partition(".")
    names = [{*of_run.get(kind, {})} for of_run in facts if isinstance(of_run.get(kind), dict)]
    owners = [one for of_run in names for one in of_run if name.startswith(f"{one}.")]
    return kind in ("models", "methods", "sources", "metrics") and len(set(owners)) == len(owners)


def _in_words(key: str) -> str:
    for pattern, words in _IN_WORDS:
        if found := re.fullmatch(pattern, key):
            return found.expand(words)
    return key
