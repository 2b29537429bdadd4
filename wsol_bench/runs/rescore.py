"""Stored maps scored by another protocol, or for other metrics, without the network."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from wsol_bench.common.progress import progress
from wsol_bench.datasets import MaskFiles
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes, score_image_boxes
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.protocols.model import PixelProtocol, Protocol
from wsol_bench.runs.config import ExperimentConfig, load_config
from wsol_bench.runs.experiment import build_methods, selection_digest, source_digest
from wsol_bench.runs.folder import RunFolder, rows_table
from wsol_bench.runs.manifest import Environment, MetricFacts, Origin, differences
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.results import Results, summarize_run
from wsol_bench.runs.run import finish, require_elsewhere
from wsol_bench.runs.schema import Tables, boxes_of
from wsol_bench.runs.scorer import curve_columns
from wsol_bench.runs.selection import selected_on
from wsol_bench.scoring import Scores, Scoring, scoring_of
from wsol_bench.scoring.base import by_shape
from wsol_bench.scoring.batches import ImageBatch, RowBatch

__all__ = ["rescore", "scored_again"]

# Threads that score stored maps: each holds those of a part.
_SCORERS = min(4, os.cpu_count() or 1)
_MAP_KEYS = ["model", "method", "layer", "image_id", "rank"]
# What may differ from the run that is scored again.
_MAY_CHANGE = ("protocol", "metrics")


def rescore(
    source: RunFolder,
    protocol: str | Mapping[str, Any] | None = None,
    *,
    overrides: Iterable[str] = (),
    out: Path | None = None,
    force: bool = False,
) -> Results:
    """Score the stored maps of a run by another protocol, or for other metrics.

    The boxes are those of a fresh run with that protocol: a run takes its boxes from the maps as
    they are stored, too.

    Args:
        source: a finished run.
        protocol: name, file, or ``{name: ..., changes}`` as in an experiment; by default the run's.
        overrides: ``protocol.key=value`` or ``metrics=[...]`` each.
        out: folder of the new run; by default one of the protocol's name in ``source``/rescored,
            which is written anew each time.
        force: overwrite a run in ``out``.

    Raises:
        ConfigError: an unknown protocol or metric, or an override of something else.
        RunError: the run is not finished; the protocol puts other pixels before the network, so
            that its maps would be others; it has no ground truth that the protocol scores by; maps
            that are not stored have changed.
    """
    source.require_finished()
    before = source.identity
    content = {**before.config, "protocol": protocol or before.config["protocol"]}
    experiment = load_config(content, overrides)
    other = differences(
        *(
            one.model_dump(mode="json", exclude=set(_MAY_CHANGE))
            for one in (ExperimentConfig.model_validate(content), experiment)
        )
    )
    if other:
        raise ConfigError(f"stored maps can only be scored by another protocol, not {other[0]}")
    wanted = experiment.build_protocol()
    measured = experiment.faithfulness is not None
    metrics = build_metrics(experiment.metrics, wanted, faithfulness=measured)
    scoring = scoring_of(wanted, metrics)
    scoring.require_columns(wanted.name, FAITHFULNESS if measured else ())
    changed = differences(before.protocol.input, wanted.input)
    if changed:
        raise RunError(
            f"{source.path} cannot be scored by {wanted.name}: its maps were made from other "
            f"pixels (input, there -> here: {', '.join(changed)}); run the experiment with that "
            "protocol instead"
        )
    images = source.read("images", ["image_id", "n_label_boxes", "masks"])
    _require_truth(source, images, wanted)
    selected = selected_on(wanted)
    identity = before.model_copy(
        update={
            "config": experiment.model_dump(mode="json", include=set(before.config)),
            "protocol": wanted,
            "protocol_hash": wanted.hash,
            "metrics": {
                metric.name: MetricFacts.of(metric, source_digest(metric.function))
                for metric in metrics
            },
            "selected_on": selection_digest(wanted, selected),
            "environment": Environment.here(),
            "rescored_from": Origin(
                path=str(source.path.resolve()),
                started=source.manifest.started,
                environment=before.environment,
            ),
        }
    )
    if selected is not None:
        selected.require_same(identity)
    elsewhere = _opened(source, experiment)
    ids = images["image_id"].drop_duplicates().to_numpy(object)
    held_out = _held_out(source, wanted, ids)
    path = out or source.path / "rescored" / re.sub(r"[^\w.=+,-]+", "_", wanted.name)
    require_elsewhere(path, [source])
    with RunFolder.writing(
        path,
        identity,
        experiment.model_dump(mode="json"),
        source.read("classes"),
        selection=None if selected is None else selected.table,
        force=force or out is None,
    ) as folder:
        if folder.manifest.finished is not None:
            return Results(summarize_run(folder), folder)
        todo = [number for number in source.parts() if number not in folder.parts()]
        folder.begin_session(engine="rescore")

        def score(number: int) -> int:
            tables = Tables(**{name: source.read_part(name, number) for name in Tables._fields})
            again = scored_again(tables, wanted, scoring, elsewhere, before.protocol, held_out)
            folder.write_part(number, again)
            return len(tables.images)

        n_images = sum(len(source.read_part("images", number, ["model"])) for number in todo)
        with (
            progress("scoring", n_images, "images") as advance,
            ThreadPoolExecutor(_SCORERS) as pool,
        ):
            for n in pool.map(score, todo):
                advance(n)
        folder.end_session(len(todo))
        summary = finish(folder)
    return Results(summary, folder)


def _opened(source: RunFolder, experiment: Any) -> dict[str, MapsOrBoxes | None]:
    """By name, maps that are not stored, as they are had elsewhere; None for boxes.

    Raises:
        RunError: the maps have changed.
    """
    _, sources = build_methods(experiment)
    opened = {one.name: one.open(None) if one.gives == "maps" else None for one in sources}
    for name, given in opened.items():
        if given and given.fingerprint != source.identity.sources[name].fingerprint:
            raise RunError(
                f"the maps of {name} are not those that {source.path} scored; run the experiment "
                "again instead"
            )
    return opened


def _held_out(source: RunFolder, protocol: Protocol, ids: np.ndarray) -> set[str]:
    """The images that a threshold is selected on."""
    if protocol.selection is None:
        return set()
    # A shard may lie on one side.
    whole = source.identity.shard is None
    choose = protocol.selection.splits if whole else protocol.selection.holds_out
    return set(ids[choose(ids.tolist())])


def _require_truth(source: RunFolder, images: pd.DataFrame, protocol: Protocol) -> None:
    """Raise RunError where a run holds nothing that a protocol could score by."""
    has_masks = bool(images["masks"].map(len).any())
    has_boxes = bool(images["n_label_boxes"].any())
    of_pixels = isinstance(protocol, PixelProtocol)
    if (of_pixels and not has_masks) or (not of_pixels and has_masks and not has_boxes):
        what, found = ("pixels", "masks") if of_pixels else ("boxes", "boxes")
        raise RunError(
            f"{protocol.name} scores {what}, but the images of {source.path} have no {found}"
        )


def scored_again(
    tables: Tables,
    protocol: Protocol,
    scoring: Scoring,
    sources: Mapping[str, MapsOrBoxes | None],
    made_by: Protocol,
    held_out: Collection[str] = (),
) -> Tables:
    """The tables with the scores that a protocol gives to the stored maps.

    Args:
        tables: of one part, as stored.
        protocol: of the same input rule as the one that the maps were made by.
        scoring: of the protocol, with its metrics.
        sources: by name, maps that are not stored, as they are had elsewhere; None for boxes.
        made_by: the protocol of the run, by whose map rule faithfulness was measured.
        held_out: ids of the images that a threshold is selected on.

    Raises:
        RunError: maps that belong to no row.
    """
    images, rows = tables.images.copy(), tables.rows
    images["held_out"] = images["image_id"].isin(held_out)
    if not len(rows):
        curves = scoring.curves_table.frame([])
        return tables._replace(images=images, curves=curves)
    batch = _batch(images, rows, protocol)
    scores = scoring.not_applicable(len(rows))
    for name, given in sources.items():
        mine = np.flatnonzero(rows["method"].to_numpy(str) == name)
        if given is None:
            theirs = score_image_boxes(boxes_of(rows)[mine], batch.take(mine), scoring)
        else:
            theirs = given.score(batch.take(mine), scoring)
        scores = scores.put(mine, theirs)
    for mine, theirs in _stored(tables, rows, batch, scoring):
        scores = scores.put(mine, theirs)
    keys = {key: rows[key].to_numpy(object) for key in _MAP_KEYS}
    kept = {name: rows[name].to_numpy() for name in ("class", "score")}
    measured = {
        column.name: rows[column.name].to_numpy(np.float64)
        if made_by.map == protocol.map
        # The network was asked about maps that were upsampled otherwise.
        else np.full(len(rows), np.nan)
        for column in FAITHFULNESS
        if column.name in rows
    }
    n = len(rows)
    table = rows_table(scoring, faithfulness=bool(measured))
    again = {
        **keys,
        **kept,
        "protocol": np.full(n, protocol.name, dtype=object),
        "protocol_hash": np.full(n, protocol.hash, dtype=object),
        "status": scores.status,
        **scores.rows,
        **measured,
    }
    lines = [curve_columns(keys, scores)] if scoring.curve_columns else []
    return tables._replace(
        images=images, rows=table.frame([again]), curves=scoring.curves_table.frame(lines)
    )


def _batch(images: pd.DataFrame, rows: pd.DataFrame, protocol: Protocol) -> RowBatch:
    """The rows of a part, as a network's pass hands them on."""
    facts = images.set_index("image_id").loc[rows["image_id"].unique()]
    sizes = zip(facts["height"], facts["width"], strict=True)
    columns = (facts[name] for name in ("label", "boxes", "masks", "ignore"))
    batch = ImageBatch(
        tuple(facts.index.tolist()),
        tuple(_truth(*line) for line in zip(*columns, strict=True)),
        tuple(protocol.input.place(height, width) for height, width in sizes),
    )
    return RowBatch(
        batch,
        facts.index.get_indexer(pd.Index(rows["image_id"])).astype(np.int64),
        rows["rank"].to_numpy(np.int64),
        rows["class"].to_numpy(object),
        rows["score"].to_numpy(np.float64),
    )


def _truth(
    label: str,
    boxes: Float64[np.ndarray, " n"] | Sequence[float],
    masks: Collection[str],
    ignore: str,
) -> ImageTruth:
    """The ground truth of an image, as its line of the images table tells it."""
    files = MaskFiles(tuple(map(Path, masks)), Path(ignore) if ignore else None)
    flat = np.asarray(boxes, np.float64)
    return ImageTruth(label, flat.reshape(-1, 4), files if len(masks) else None)


def _stored(
    tables: Tables, rows: pd.DataFrame, batch: RowBatch, scoring: Scoring
) -> Iterator[tuple[Int64[np.ndarray, " m"], Scores]]:
    """The scores of the stored maps and their rows, those of one size at a time."""
    maps = tables.maps
    if not len(maps):
        return
    # A part has one model; maps stand in the order of their rows, but not every row has one.
    row = pd.MultiIndex.from_frame(rows[_MAP_KEYS]).get_indexer(
        pd.MultiIndex.from_frame(maps[_MAP_KEYS])
    )
    if (row < 0).any():
        raise RunError("the stored maps do not belong to the rows")
    inputs = [batch.images.placements[image].input for image in batch.image[row].tolist()]
    shapes = list(zip(maps["height"].tolist(), maps["width"].tolist(), inputs, strict=True))
    for some in by_shape(shapes):
        height, width, _ = shapes[some[0]]
        stored = np.frombuffer(b"".join(maps["map"].iloc[some]), np.float16)
        values = stored.reshape(-1, height, width).astype(np.float32)
        mine = row[some].astype(np.int64)
        yield mine, scoring.score_maps(values, batch.take(mine))
