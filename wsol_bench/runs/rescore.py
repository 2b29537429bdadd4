"""Score the stored maps of a run by another protocol, or for other metrics, without the network."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsol_bench.common.progress import progress
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.metrics.base import Metric
from wsol_bench.protocols.model import AnyProtocol, Protocol
from wsol_bench.runs.code_digests import code_digest
from wsol_bench.runs.differences import differences
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.facts import MetricFacts
from wsol_bench.runs.finish import finish
from wsol_bench.runs.folder import RunFolder, require_not_above
from wsol_bench.runs.ground_truth_check import require_stored_ground_truth
from wsol_bench.runs.identity import Identity, Origin
from wsol_bench.runs.kept_maps import require_maps
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.rescore_part import rescore_part
from wsol_bench.runs.results import StoredResults, summarize_run
from wsol_bench.runs.schema import Tables
from wsol_bench.runs.selection import SelectionRun, selection_digest, selection_run
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.kinds import scoring_of

__all__ = ["rescore"]

# The threads that score stored maps; each holds the maps of one part.
_SCORERS = min(4, os.cpu_count() or 1)
# The keys of an experiment that may differ from those of the run that is scored again.
_MAY_CHANGE = ("protocol", "metrics")


def rescore(
    run: StoredRun,
    protocol: str | Mapping[str, Any] | None = None,
    *,
    overrides: Iterable[str] = (),
    out: Path | None = None,
    force: bool = False,
) -> StoredResults:
    """Score the stored maps of a run by another protocol, or for other metrics.

    The boxes are those of a new run with that protocol, since a run takes its boxes from the maps
    as they are stored, too.

    Args:
        run: a finished run.
        protocol: the name or the file of a protocol, or ``{name: ..., changes}`` as in an
            experiment; by default the run's protocol.
        overrides: changes to the experiment, ``protocol.key=value`` or ``metrics=[...]`` each.
        out: the folder of the new run; by default a folder of the protocol's name in
            ``run``/rescored, whose run is deleted first.
        force: whether to delete a run in ``out`` first.

    Raises:
        ConfigError: a protocol or metric is unknown, or an override changes another key.
        RunError: the run is not finished, or keeps no maps (``maps: none``); the protocol has
            another input, which would make other maps; the run has no ground truth that the
            protocol scores by; or maps that are not stored have changed.
    """
    run.require_finished()
    require_maps(run.identity, run.path)
    plan = _plan(run, protocol, overrides)
    path = out or run.path / "rescored" / re.sub(r"[^\w.=+,-]+", "_", plan.protocol.name)
    selected = plan.selection_run
    require_not_above(path, [run.path] if selected is None else [run.path, selected.path])
    with RunFolder.writing(
        path,
        plan.identity,
        plan.experiment.model_dump(mode="json"),
        run.read("classes"),
        selection=None if selected is None else selected.table,
        force=force or out is None,
    ) as folder:
        if folder.manifest.finished is not None:
            return StoredResults(summarize_run(folder), folder)
        _rescore_parts(run, folder, plan)
        summary = finish(folder)
    return StoredResults(summary, folder)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The plan by which a run is scored again.

    Attributes:
        experiment: the experiment with the new protocol and metrics.
        protocol: the new protocol.
        scoring: its scoring, with the new metrics.
        selection_run: the run that thresholds are selected on; None if there is none.
        identity: the identity of the new run.
        network_free: the maps of each network-free method, by its name; None for a method of boxes.
        held_out: the ids of the images that a threshold is selected on.
    """

    experiment: ExperimentConfig
    protocol: AnyProtocol
    scoring: Scoring
    selection_run: SelectionRun | None
    identity: Identity
    network_free: Mapping[str, MapsOrBoxes | None]
    held_out: set[str]


def _rescore_parts(run: StoredRun, folder: RunFolder, plan: _Plan) -> None:
    """Score the parts of a run again that the new folder lacks, and write them there."""
    todo = [number for number in run.parts() if number not in folder.done]
    folder.begin_session(engine="rescore")
    made_by = run.identity.protocol

    def score(number: int) -> int:
        """Score a part; return the number of its images."""
        tables = Tables(**{name: run.read_part(name, number) for name in Tables._fields})
        rescored = rescore_part(
            tables, plan.protocol, plan.scoring, plan.network_free, made_by, plan.held_out,
            run.identity.measured,
        )  # fmt: skip
        folder.write_part(number, rescored)
        return len(tables.images)

    n_images = sum(len(run.read_part("images", number, ["model"])) for number in todo)
    with (
        progress("scoring", n_images, "images") as advance,
        ThreadPoolExecutor(_SCORERS) as pool,
    ):
        for n in pool.map(score, todo):
            advance(n)
    folder.end_session(len(todo))


def _plan(
    run: StoredRun, protocol: str | Mapping[str, Any] | None, overrides: Iterable[str]
) -> _Plan:
    """Resolve how a run is scored again; see ``rescore`` for arguments and errors."""
    experiment = _experiment(run, protocol, overrides)
    resolved = experiment.build_protocol()
    measured = run.identity.measured
    metrics = build_metrics(experiment.metrics, resolved, faithfulness=bool(measured.faithfulness))
    scoring = scoring_of(resolved, metrics)
    scoring.require_columns(resolved.name, measured)
    if changed := differences(run.identity.protocol.input, resolved.input):
        raise RunError(
            f"{run.path} cannot be scored by {resolved.name}, whose input differs from that of "
            f"its maps (run -> protocol: {', '.join(changed)}); run the experiment with that "
            "protocol instead"
        )
    images = run.read("images", ["image_id", "n_label_boxes", "masks"])
    require_stored_ground_truth(run.path, images, resolved)
    selection = selection_run(resolved)
    identity = _identity(run, experiment, resolved, metrics, selection)
    if selection is not None:
        selection.require_same(identity)
    return _Plan(
        experiment=experiment,
        protocol=resolved,
        scoring=scoring,
        selection_run=selection,
        identity=identity,
        network_free=_network_free_maps(run, experiment),
        held_out=_held_out(run, resolved, images["image_id"].drop_duplicates().to_numpy(object)),
    )


def _experiment(
    run: StoredRun, protocol: str | Mapping[str, Any] | None, overrides: Iterable[str]
) -> ExperimentConfig:
    """The run's experiment with another protocol; ConfigError if anything else differs."""
    stored = run.identity.config
    content = {**stored, "protocol": protocol or stored["protocol"]}
    experiment = load_config(content, overrides)
    before, now = (
        config.model_dump(mode="json", exclude=set(_MAY_CHANGE))
        for config in (ExperimentConfig.model_validate(content), experiment)
    )
    if others := differences(before, now):
        raise ConfigError(
            "stored maps can only be scored by another protocol or for other metrics, found a "
            f"change of another key: {others[0]}; run the experiment again to change it"
        )
    return experiment


def _identity(
    run: StoredRun,
    experiment: ExperimentConfig,
    protocol: AnyProtocol,
    metrics: Sequence[Metric],
    selection: SelectionRun | None,
) -> Identity:
    """The identity of the new run."""
    before = run.identity
    return before.model_copy(
        update={
            "config": experiment.model_dump(mode="json", include=set(before.config)),
            "protocol": protocol,
            "protocol_hash": protocol.hash,
            "metrics": {
                metric.name: MetricFacts.of(metric, code_digest(metric.function))
                for metric in metrics
            },
            "selected_on": selection_digest(protocol, selection),
            "environment": Environment.here(),
            "rescored_from": Origin(
                path=str(run.path.resolve()),
                started=run.manifest.started,
                environment=before.environment,
            ),
        }
    )


def _network_free_maps(
    run: StoredRun, experiment: ExperimentConfig
) -> dict[str, MapsOrBoxes | None]:
    """The maps of each network-free method, which no run stores; None for a method of boxes.

    Raises:
        RunError: the maps have changed since the run.
    """
    methods = build_methods(experiment).network_free
    maps = {
        method.name: method.open(None) if method.gives == "maps" else None for method in methods
    }
    for name, opened in maps.items():
        if opened and opened.fingerprint != run.identity.sources[name].fingerprint:
            raise RunError(
                f"the maps of {name} are not those that {run.path} scored; run the experiment "
                "again instead"
            )
    return maps


def _held_out(run: StoredRun, protocol: Protocol, ids: np.ndarray) -> set[str]:
    """The ids of the images that a threshold is selected on."""
    if protocol.selection is None:
        return set()
    # A shard may hold only held-out images, or no held-out image.
    is_whole = run.identity.shard is None
    choose = protocol.selection.splits if is_whole else protocol.selection.holds_out
    return set(ids[choose(ids.tolist())])
