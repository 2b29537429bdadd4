"""Findings: what a run saw that a reader of its numbers should know.

Nothing here is stored. All findings follow from the run's identity and its summary, so a run says
the same when it is finished, read, merged or scored again.
"""

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import pandas as pd
from scipy.special import bdtr

from wsol_bench.datasets.findings import MEANINGS
from wsol_bench.metrics.localization import TOP_K
from wsol_bench.protocols.model import AnyProtocol, PixelProtocol
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.schema import COMPLETENESS, UNSOUND, MethodStatus, RowStatus

__all__ = ["FindingKind", "RunFinding", "dataset_findings", "findings_of_run", "shard_findings"]

# The largest gap of a network that is called complete, as a part of its scores and in their unit:
# rounding in half precision stays below it.
_COMPLETE, _LEAST_GAP = 0.02, 0.01
# The probability below which as few right images are not taken for chance.
_LEAST_P = 0.001


class FindingKind(StrEnum):
    """The kind of a finding."""

    SHARD = "shard"
    DATASET = "dataset"
    OUTPUTS = "outputs"
    FEW_CLASSES = "few_classes"
    CLASS_ORDER = "class_order"
    MISSING_MAPS = "missing_maps"
    UNSOUND_MAPS = "unsound_maps"
    ALL_ZERO = "all_zero"
    INCOMPLETE = "incomplete"
    UNSOUND_COLUMN = "unsound_column"


class RunFinding(NamedTuple):
    """Something that a run saw.

    Attributes:
        kind: the kind.
        text: what was seen, and what it means, in a sentence without its end.
        model, method, layer: what it concerns; "" for all of them.
    """

    kind: FindingKind
    text: str
    model: str = ""
    method: str = ""
    layer: str = ""

    def concerns(self, line: Mapping[str, Any]) -> bool:
        """Return whether the finding concerns a line of a summary."""
        names = {"model": self.model, "method": self.method, "layer": self.layer}
        return all(not value or line[name] == value for name, value in names.items())

    @property
    def sentence(self) -> str:
        """The finding with what it concerns, as it stands under a table."""
        return (
            f"{self.method or self.model}: {self.text}" if self.method or self.model else self.text
        )


def findings_of_run(identity: Identity, summary: pd.DataFrame) -> list[RunFinding]:
    """All findings of a run, from its identity and its summary."""
    findings = [*_of_identity(identity, summary)]
    several = _several(summary)
    for values in summary.to_dict(orient="records"):
        line = {str(name): value for name, value in values.items()}
        findings += _of_method(line, identity, several=several)
    return findings


def shard_findings(identity: Identity, n_images: int) -> list[RunFinding]:
    """The finding that a run is a shard; none for a whole run.

    Args:
        identity: the run's identity.
        n_images: the number of images that its numbers are made of.
    """
    if identity.shard is None:
        return []
    text = (
        f"This is shard {identity.shard}, not the whole run: its numbers are those of {n_images} "
        f"of {identity.dataset.n_images} images"
    )
    return [RunFinding(FindingKind.SHARD, text)]


def dataset_findings(name: str, counts: Mapping[str, int]) -> list[RunFinding]:
    """The findings of a data set's loader, one a kind.

    Args:
        name: name of the data set.
        counts: the number of findings of each kind.
    """
    findings = []
    for kind, count in counts.items():
        meaning = f" ({MEANINGS[kind]})" if kind in MEANINGS else ""
        findings.append(
            RunFinding(FindingKind.DATASET, f"Data set {name}: {count} x {kind}{meaning}")
        )
    return findings


def _of_identity(identity: Identity, summary: pd.DataFrame) -> Iterator[RunFinding]:
    yield from shard_findings(identity, int(summary["n_images"].max()) if len(summary) else 0)
    yield from dataset_findings(identity.dataset.name, identity.dataset.findings)
    for name, facts in identity.models.items():
        for text in facts.findings:
            yield RunFinding(FindingKind.OUTPUTS, text, model=name)
        few = facts.n_classes is not None and facts.n_classes <= TOP_K
        if few and identity.protocol.has_classification:
            text = (
                f"all of its {facts.n_classes} classes are among the best {TOP_K}, so top-{TOP_K} "
                "errors say nothing of its predictions"
            )
            yield RunFinding(FindingKind.FEW_CLASSES, text, model=name)
        if facts.n_classes is not None:
            yield from _of_order(name, facts.n_classes, summary)


def _of_order(model: str, n_classes: int, summary: pd.DataFrame) -> Iterator[RunFinding]:
    """The finding that a network is right more rarely than by chance, as in a wrong class order."""
    lines = summary[summary["model"] == model]
    if n_classes < 2 or not len(lines) or "top1_cls_error" not in lines:
        return
    n_images, error = int(lines["n_images"].iloc[0]), float(lines["top1_cls_error"].iloc[0])
    if not n_images or not math.isfinite(error):
        return
    n_right = round((1 - error) * n_images)
    if bdtr(n_right, n_images, 1 / n_classes) < _LEAST_P:
        text = (
            f"it is right for {n_right} of {n_images} images, fewer than by chance "
            f"(1 of {n_classes}): is this the order of its outputs? The model's 'classes:' names "
            "another"
        )
        yield RunFinding(FindingKind.CLASS_ORDER, text, model=model)


def _several(summary: pd.DataFrame) -> bool:
    """Return whether a method's name does not tell the line of a summary."""
    return bool(summary["method"].duplicated().any()) if len(summary) else False


def _of_method(
    line: Mapping[str, Any], identity: Identity, *, several: bool
) -> Iterator[RunFinding]:
    """The findings about the maps of one line of the summary."""
    n_images = line["n_images"]
    concerned = {name: line[name] for name in ("model", "method", "layer")}
    layer = f", layer {line['layer']}" if line["layer"] else ""
    of_line = f" ({line['model']}{layer})" if several else ""
    if line["n_missing"]:
        yield RunFinding(
            FindingKind.MISSING_MAPS,
            f"{line['n_missing']} of {n_images} maps or boxes are missing and count as misses"
            f"{of_line}",
            **concerned,
        )
    for status, column in UNSOUND.items():
        if not (count := line[column]):
            continue
        if status == RowStatus.ZERO and count == n_images:
            yield RunFinding(
                FindingKind.ALL_ZERO,
                f"all {n_images} maps are exactly zero{of_line}, as at a vision transformer's last "
                "block, of which the head reads the class token alone, or with a head whose "
                "weights are zero. Name an earlier layer with 'layer:', or check the weights",
                **concerned,
            )
            continue
        yield RunFinding(
            FindingKind.UNSOUND_MAPS,
            f"{count} of {n_images} maps {_WORDS[status]}"
            f"{_consequence(status, identity.protocol)}{of_line}",
            **concerned,
        )
    yield from _of_columns(line, identity, of_line, concerned)


def _of_columns(
    line: Mapping[str, Any], identity: Identity, of_line: str, concerned: Mapping[str, str]
) -> Iterator[RunFinding]:
    """The findings about what a method has measured of its maps."""
    method = identity.methods.get(line["method"])
    if method is None or line["status"] != MethodStatus.OK:
        return
    for name in (column.name for column in method.columns):
        if line["n_images"] > line.get("n_held_out", 0) and not math.isfinite(line[name]):
            yield RunFinding(
                FindingKind.UNSOUND_COLUMN,
                f"what it measures as {name!r} is not a finite number for every image{of_line}",
                **concerned,
            )
    if not set(COMPLETENESS) <= set(method.columns):
        return
    logit, gap = (line[column.name] for column in COMPLETENESS)
    if gap > max(_LEAST_GAP, _COMPLETE * abs(logit)):
        share = f" ({gap / abs(logit):.0%})" if logit else ""
        yield RunFinding(
            FindingKind.INCOMPLETE,
            "its terms (gradients times the input, and times the biases of its layers) miss the "
            f"class's score before softmax by {gap:.3g} on average, where the mean score is "
            f"{logit:.3g}{share}{of_line}. They add up to it in networks of ReLUs, convolutions, "
            "linear layers and batch normalization alone, each of which runs once, so these maps "
            "show a part of the score",
            **concerned,
        )


_WORDS = {
    RowStatus.NOT_FINITE: "are not finite",
    RowStatus.ZERO: "are zero everywhere",
    RowStatus.NOT_POSITIVE: "have no positive value",
    RowStatus.CONSTANT: "are constant",
}


def _consequence(status: RowStatus, protocol: AnyProtocol) -> str:
    """The end of a sentence about maps of a status: how a protocol counts them."""
    if isinstance(protocol, PixelProtocol):
        constant = status != RowStatus.NOT_POSITIVE
        return " and count as constant maps" if constant else ""
    if status == RowStatus.NOT_FINITE:
        return " and count as misses"
    section = protocol.box
    of_maximum = section.of == "maximum" and section.extractor == "components"
    if of_maximum and status != RowStatus.CONSTANT:
        return " and count as misses"
    return ""
