"""The overview of a page, with which it opens: runs, models, lines, numbers and charts.

Each function gives the JSON of a type of ``assets/types.d.ts``, which says what its fields are.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import yaml

from wsol_bench import __version__
from wsol_bench.metrics.max_box_acc import MAX_BOX_ACC_IOU
from wsol_bench.metrics.number import Number
from wsol_bench.papers.published import PublishedNumber
from wsol_bench.protocols.model import BoxSweepProtocol, OneBoxProtocol, PixelProtocol, Protocol
from wsol_bench.report.numbers import number_info
from wsol_bench.report.page.address_keys import line_keys, model_keys, short_names
from wsol_bench.report.page.charts import charts
from wsol_bench.report.page.collection import Collection, Line
from wsol_bench.report.page.encoding import finite
from wsol_bench.report.page.marks import Mark, Marks, marks_of
from wsol_bench.report.page.outcomes import MEANINGS, OUTCOMES
from wsol_bench.runs.findings import findings_of_run
from wsol_bench.runs.kept_maps import no_maps
from wsol_bench.runs.published import published_numbers
from wsol_bench.runs.schema import COST_NUMBERS, SUMMARY_COUNTS
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["least_iou", "numbers_of_lines", "overview"]

_COUNTS = tuple(name for name in SUMMARY_COUNTS if name.startswith("n_"))


def overview(collection: Collection, *, source: str) -> dict[str, Any]:
    """Everything but images, as ``Overview``.

    The numbers of images and how they were chosen are those of a page that has all of them.

    Args:
        collection: the runs.
        source: ``file`` or ``server``: where the page gets its images from.
    """
    runs = collection.runs
    marks = marks_of(collection)
    names = short_names(
        [run.path.name or str(run.path) for run in runs], [str(r.path) for r in runs]
    )
    published = [published_numbers(run) for run in runs]
    models = model_keys([(names[model.run], model.name) for model in collection.models])
    lines = line_keys(models, [(x.model, x.method, x.layer) for x in collection.lines])
    n_images = len(collection.images)
    return {
        "title": ", ".join(dict.fromkeys(_experiment(run) for run in runs)),
        "source": source,
        "version": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": [_run(collection, index, name) for index, name in enumerate(names)],
        "models": [
            {
                "run": model.run,
                "name": model.name,
                "key": key,
                "n_classes": runs[model.run].identity.models[model.name].n_classes,
            }
            for model, key in zip(collection.models, models, strict=True)
        ],
        "lines": [
            _line(collection, number, marks, published[collection.models[line.model].run])
            | {"key": key}
            for number, (line, key) in enumerate(zip(collection.lines, lines, strict=True))
        ],
        "numbers": [
            number_info(name, number, runs) for name, number in numbers_of_lines(collection)
        ],
        "outcomes": [
            dict(zip(("name", "title", "meaning"), (name, *MEANINGS[name]), strict=True))
            for name in OUTCOMES
        ],
        "n_images_of_runs": n_images,
        "n_images": n_images,
        "sampling": "",
        "charts": charts(collection),
    }


def _experiment(run: StoredRun) -> str:
    return str(run.identity.config.get("name", run.path.name))


def _run(collection: Collection, index: int, name: str) -> dict[str, Any]:
    run = collection.runs[index]
    identity, manifest = run.identity, run.manifest
    summary = pd.DataFrame(
        [line.summary for line in collection.lines if collection.models[line.model].run == index]
    )
    protocol: Protocol = identity.protocol
    sessions = (session.model_dump() for session in manifest.sessions)
    devices = (str(session["device"]) for session in sessions if session.get("device"))
    content = protocol.model_dump(mode="json", exclude_none=True)
    return {
        "name": name,
        "path": str(run.path),
        "experiment": _experiment(run),
        "dataset": identity.dataset.model_dump(include={"name", "n_images", "fingerprint"}),
        "protocol": {
            "name": protocol.name,
            "hash": identity.protocol_hash,
            "paper": protocol.paper,
            "yaml": yaml.safe_dump(content, sort_keys=False),
        },
        "kind": _kind(protocol),
        "rule": _rule(protocol),
        "least_iou": least_iou(run),
        "no_maps": no_maps(identity),
        "versions": {**identity.environment.versions, "python": identity.environment.python},
        "devices": list(dict.fromkeys(devices)),
        "started": manifest.started,
        "finished": manifest.finished or "",
        "findings": [finding.sentence for finding in findings_of_run(identity, summary)],
    }


def least_iou(run: StoredRun) -> float | None:
    """The IoU from which a box on the page is a hit; of several, that of MaxBoxAcc or the first."""
    protocol = run.identity.protocol
    if not isinstance(protocol, BoxSweepProtocol):
        return run.scoring.least_iou
    ious = protocol.scoring.ious
    return MAX_BOX_ACC_IOU if MAX_BOX_ACC_IOU in ious else ious[0]


def _kind(protocol: Protocol) -> str:
    if isinstance(protocol, PixelProtocol):
        return "pixels"
    return "one_box" if isinstance(protocol, OneBoxProtocol) else "box_sweep"


def _rule(protocol: Protocol) -> dict[str, Any] | None:
    """The rule by which a box is taken from a map, as ``Rule``; None under a protocol of pixels."""
    if not isinstance(protocol, OneBoxProtocol | BoxSweepProtocol):
        return None
    box = protocol.box
    return {
        **box.model_dump(mode="json", exclude={"threshold"}),
        "threshold": box.threshold if isinstance(box.threshold, float) else None,
        "rectify": protocol.map.rectify,
        "frame": protocol.scoring.frame,
    }


def numbers_of_lines(collection: Collection) -> Iterator[tuple[str, Number]]:
    """Each number of any line, once, with the first line's."""
    seen = set()
    for line in collection.lines:
        for name, number in line.numbers.numbers.items():
            if name not in seen:
                seen.add(name)
                yield name, number


def _line(
    collection: Collection,
    number: int,
    marks: Marks,
    published: Sequence[PublishedNumber],
) -> dict[str, Any]:
    line = collection.lines[number]
    model = collection.models[line.model]
    summary = line.summary
    several = _is_at_several_layers(collection, line)
    values = {}
    for name, interval in line.intervals.items():
        mark, p = marks.get((number, name), Mark())
        paper = next(
            (one for one in published if one.concerns(model.name, line.method, name)), None
        )
        values[name] = {
            "value": interval.value,
            "low": finite(interval.low),
            "high": finite(interval.high),
            "mark": mark,
            "p": p,
            "paper": None if paper is None else {"value": paper.value, "source": paper.cited},
        }
    return {
        "run": model.run,
        "model": line.model,
        "method": line.method,
        "layer": line.layer,
        "name": f"{line.method} {line.layer}" if several else line.method,
        "kind": line.kind,
        "status": summary["status"],
        "reason": summary.get("reason") or "",
        "counts": {name: int(summary[name]) for name in _COUNTS if name in summary},
        "values": values,
        "cost": {COST_NUMBERS[name]: finite(summary.get(name, math.nan)) for name in COST_NUMBERS},
        "threshold": line.threshold,
        "selected_threshold": line.selected,
    }


def _is_at_several_layers(collection: Collection, line: Line) -> bool:
    """Return whether the model has the line's method at other layers, too."""
    beside = (collection.lines[number] for number in collection.lines_of(line.model))
    return sum(other.method == line.method for other in beside) > 1
