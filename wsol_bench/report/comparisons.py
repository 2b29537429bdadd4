"""Paired tests between methods of stored runs, number by number."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from wsol_bench.datasets.masks import source_name
from wsol_bench.errors import ConfigError, RunError, did_you_mean
from wsol_bench.metrics.number import Number
from wsol_bench.report.method_kinds import Kind
from wsol_bench.runs.schema import GROUP
from wsol_bench.statistics.correction import holm
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import UNBOUNDED, hit_difference_interval, mean_interval
from wsol_bench.statistics.paired_tests import mcnemar_exact, sign_flip_test

__all__ = [
    "RUN_NAMES",
    "MethodNumbers",
    "NumberPair",
    "corrected",
    "line_names",
    "pair_of",
    "paired_test",
    "pairs_of",
    "references_of",
    "require_same_truth",
]

# No test of fewer images can have a p below 0.05: 2 of 2^5 ways to choose signs are 0.0625.
_FEWEST = 6

# The columns that name a method among those of several runs and models.
RUN_NAMES = ("run", "model", "method")


@dataclass(frozen=True, eq=False)
class MethodNumbers:
    """The numbers of one method of a run, to be compared with those of others.

    Attributes:
        names: the columns ``GROUP``, and ``run`` if there are several runs.
        numbers: the numbers of the method that have a value, by name.
        images: the table ``images`` of the images that the method was scored on.
        dataset: digest of the ground truth of the data set.
        kind: whether it is a baseline or a sanity check, which are not ranked.
    """

    names: dict[str, str]
    numbers: dict[str, Number]
    images: pd.DataFrame
    dataset: str
    kind: Kind = "method"

    @property
    def of_model(self) -> tuple[str, str]:
        """The run and the model that it belongs to."""
        return self.names.get("run", ""), self.names["model"]

    @property
    def image_ids(self) -> np.ndarray:
        """The ids of the images that were evaluated."""
        return self.images["image_id"].to_numpy(object)


class NumberPair(NamedTuple):
    """One number of two methods, on the same images in the same order.

    Attributes:
        number: the number of the method that is compared.
        reference: the number of the method that it is compared with.
    """

    number: Number
    reference: Number


def pairs_of(reference: MethodNumbers, method: MethodNumbers) -> Iterator[NumberPair]:
    """The numbers that both methods have, on the images that count for both.

    Raises:
        RunError: the methods share no image, or differ in the ground truth of a shared image.
    """
    shared = pd.Index(reference.image_ids).intersection(pd.Index(method.image_ids))
    if not len(shared):
        raise RunError("the runs have no image in common, so there is nothing to compare")
    if reference.dataset != method.dataset:
        require_same_truth(reference.images, method.images, shared)
    for name, reference_number in reference.numbers.items():
        if name not in method.numbers:
            continue
        pair = pair_of(reference_number, method.numbers[name])
        if len(pair.number):
            yield pair


def references_of(
    methods: Sequence[MethodNumbers], against: str | None
) -> list[MethodNumbers | None]:
    """The method that each method is compared with: one of the same run and model.

    Runs are not compared with one another here: they may have other protocols or images.

    Args:
        methods: the methods of all runs.
        against: the name of the method that others are compared with, at the same layer if it is
            there; None for the first method of each model.

    Returns:
        One for each method; None for a method that is its own reference, and for the methods of a
        model without the named one.

    Raises:
        ConfigError: no run has the named method.
    """
    names = list(dict.fromkeys(method.names["method"] for method in methods))
    if against is not None and against not in names:
        raise ConfigError(
            f"the method to compare with: expected one of the runs' methods, found {against!r}; "
            f"{did_you_mean(against, names)}"
        )
    references: list[MethodNumbers | None] = []
    for method in methods:
        of_model = [other for other in methods if other.of_model == method.of_model]
        named = [other for other in of_model if against in (None, other.names["method"])]
        if against is not None:  # at the same layer first
            named.sort(key=lambda other: other.names["layer"] != method.names["layer"])
        is_reference = against is not None and method.names["method"] == against
        reference = None if is_reference or not named else named[0]
        references.append(None if reference is method else reference)
    return references


def pair_of(reference: Number, number: Number) -> NumberPair:
    """One number of two methods, on the images that count for both; there may be none."""
    return _counted_for_both(_on_same_images(NumberPair(number, reference)))


def paired_test(pair: NumberPair, seed: int) -> dict[str, Any]:
    """The paired test of a number: McNemar's for hits, otherwise by flipping signs.

    Args:
        pair: the number of both methods.
        seed: the seed of the random signs.

    Returns:
        The columns of a line of ``comparisons``; p is NaN for fewer than six images.
    """
    number, reference = pair
    difference = number.value() - reference.value()
    if number.counts_hits:
        name, facts = "McNemar, exact", mcnemar_exact(*_hits(pair))._asdict()
    else:
        values, reference_values = number.contributions(), reference.contributions()
        name, facts = "sign flips", sign_flip_test(values, reference_values, seed=seed)._asdict()
    facts["difference"] = difference
    facts["low"], facts["high"] = _difference_interval(pair, seed)
    if facts["n"] < _FEWEST:
        facts["p"] = float("nan")
    return {"number": number.name, "test": name, **facts}


def _difference_interval(pair: NumberPair, seed: int) -> tuple[float, float]:
    """The 95% interval of the difference of a number: Tango's for hits, otherwise the t interval.

    It is that of the difference without the bias of both numbers; see ``Number.bias``.

    Args:
        pair: the number of both methods.
        seed: the seed of the bootstrap that estimates the biases.
    """
    number, reference = pair
    if number.counts_hits:
        ours, others = _hits(pair)
        n10, n01 = int((ours & ~others).sum()), int((others & ~ours).sum())
        counts = (n10, n01) if number.better == "higher" else (n01, n10)
        interval = hit_difference_interval(*counts, len(ours))
    else:
        differences = number.contributions() - reference.contributions()
        interval = mean_interval(differences, bounds=UNBOUNDED)
    bias = number.bias(seed=seed) - reference.bias(seed=seed)
    return interval.low - bias, interval.high - bias


def _hits(pair: NumberPair) -> list[Bool[np.ndarray, " n"]]:
    """The images that the method, and that the reference, gets right."""
    right = 1.0 if pair.number.better == "higher" else 0.0
    return [each.contributions() == right for each in pair]


def line_names(reference: MethodNumbers, method: MethodNumbers) -> dict[str, str]:
    """The columns that name the two methods of a comparison, and another layer of the second."""
    against = f"{reference.names['model']} {reference.names['method']}"
    layer, own_layer = reference.names["layer"], method.names["layer"]
    if layer and own_layer and layer != own_layer:
        against += f" at layer {layer}"
    return {
        **{key: method.names[key] for key in ("run", *GROUP) if key in method.names},
        "against": against,
    }


def corrected(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons with p adjusted for the number of comparisons of a number of a model."""
    if not len(comparisons):  # a file without lines has its columns, too
        names = (*GROUP, "against", "number", "test", "n", "difference", "p", "p_holm")
        return pd.DataFrame(columns=list(names))
    family = [key for key in ("run", "model", "number") if key in comparisons]
    adjusted = comparisons.groupby(family, sort=False)["p"].transform(
        lambda p: holm(p.to_numpy(np.float64))
    )
    return comparisons.assign(p_holm=adjusted)


def _on_same_images(pair: NumberPair) -> NumberPair:
    """The pair on the images of both, in one order."""
    number, reference = pair
    if number.image_ids is reference.image_ids or np.array_equal(
        number.image_ids, reference.image_ids
    ):
        return pair
    both = pd.Index(reference.image_ids).intersection(pd.Index(number.image_ids))
    number, reference = (
        either.take(pd.Index(either.image_ids).get_indexer(both)) for either in pair
    )
    return NumberPair(number, reference)


def _counted_for_both(pair: NumberPair) -> NumberPair:
    """The pair on the images that count for both methods."""
    both = _counted(pair.number) & _counted(pair.reference)
    if both.all():
        return pair
    positions = np.flatnonzero(both)
    return NumberPair(pair.number.take(positions), pair.reference.take(positions))


def _counted(number: Number) -> Bool[np.ndarray, " n"]:
    """Return whether each image counts in some column of a number."""
    columns = number.columns
    if isinstance(columns, Hits):
        return np.ones(len(columns), np.bool_)
    return np.asarray((~np.isnan(columns)).any(axis=1))


def _source_names(texts: Iterable[str]) -> list[str]:
    """The names of mask files and the numbers in them, whatever folder the files are in."""
    return list(map(source_name, texts))


def require_same_truth(first: pd.DataFrame, second: pd.DataFrame, shared: pd.Index) -> None:
    """Raise RunError if two images tables differ in the ground truth of a shared image.

    Masks are compared by the names of their files, if the tables have them, and by numbers and run
    lengths.
    """
    tables = [images.set_index("image_id").loc[shared] for images in (first, second)]
    columns = ["label", "boxes"]
    if all("masks" in table for table in tables):
        columns.append("masks")
        tables = [table.assign(masks=table["masks"].map(_source_names)) for table in tables]
    for image_id, *lines in zip(
        shared,
        *(zip(*(table[column] for column in columns), strict=True) for table in tables),
        strict=True,
    ):
        if not all(map(np.array_equal, *lines)):
            raise RunError(
                f"the runs differ in the ground truth of {image_id}; only runs on the same data "
                "set can be compared"
            )
