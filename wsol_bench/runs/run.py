"""Carry out an experiment, or resume a run that was interrupted."""

import itertools
import logging
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from wsol_bench.common.progress import progress, step
from wsol_bench.common.temporary import keep, temporary_folder
from wsol_bench.errors import RunError
from wsol_bench.runs.engines.base import Engine
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.extension import extending
from wsol_bench.runs.finish import finish, require_evaluated
from wsol_bench.runs.folder import RunFolder, require_not_above
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.map_sizes import expected_size
from wsol_bench.runs.results import StoredResults
from wsol_bench.runs.schema import FAILED
from wsol_bench.runs.shards import canonical_shard, parts_of_shard
from wsol_bench.runs.stored_run import file_of_part

__all__ = ["run", "run_below"]

logger = logging.getLogger(__name__)


def run(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    *,
    out: Path | str | None = None,
    engine: Engine | None = None,
    shard: str | None = None,
    force: bool = False,
) -> StoredResults:
    """Carry out an experiment, or continue a run of it that was interrupted.

    Args:
        config: the path of a YAML file, a mapping, or an ``ExperimentConfig``.
        out: the folder of the run. If it holds the same run, that run is continued, or read if
            it is finished; a finished run of fewer images is extended. Without ``out`` the run is
            stored in a temporary folder, which is deleted with the results.
        engine: the engine that evaluates the parts; by default this process.
        shard: ``i/n``, i from 1 to n: evaluate every n-th part only. ``merge`` joins n such runs.
        force: whether to delete a run in ``out`` first.

    Returns:
        The results of the finished run.

    Raises:
        RunError: ``out`` holds something else, another process writes there, or more images than
            ``max_failed`` allows cannot be evaluated.
        WsolBenchError: something is wrong with the configuration, the data set or a model; this is
            found before the first image is evaluated if possible.
    """
    if out is not None:
        return _carry_out(config, lambda identity: Path(out), engine, shard, force=force)
    with ExitStack() as stack:
        home = stack.enter_context(temporary_folder())
        try:
            results = _carry_out(config, lambda identity: home, engine, shard, force=force)
        except BaseException:
            if (home / "images").exists():  # parts are done, so the run can be continued
                keep(home)
            raise
        weakref.finalize(results.folder, stack.pop_all().close)
    return results


def run_below(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    parent: Path,
    *,
    engine: Engine | None = None,
    shard: str | None = None,
) -> StoredResults:
    """Carry out an experiment below ``parent``: continue an unfinished run of it, or begin one."""

    def place(identity: Identity) -> Path:
        return RunFolder.unfinished(parent, identity) or _new_folder(parent, shard)

    return _carry_out(config, place, engine, shard, force=False)


def _carry_out(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    place: Callable[[Identity], Path],
    engine: Engine | None,
    shard: str | None,
    *,
    force: bool,
) -> StoredResults:
    """Carry out an experiment in the folder that ``place`` chooses for the run's identity."""
    resolved = load_config(config)
    shard = None if shard is None else canonical_shard(shard)
    engine = engine or LocalEngine()
    experiment = Experiment.resolve(resolved)
    parts = experiment.parts()
    facts = engine.facts(experiment)
    identity = experiment.identity().model_copy(update={"shard": shard})
    selection = experiment.selection_run
    path = place(identity)
    step(f"writing to {path}")
    require_not_above(path, [] if selection is None else [selection.path])
    writing = partial(
        RunFolder.writing,
        identity=identity,
        config=resolved.model_dump(mode="json"),
        classes=experiment.dataset.classes,
        selection=None if selection is None else selection.table,
    )
    extended: AbstractContextManager[Path] = nullcontext(path)
    if not force:
        extended = extending(path, identity, experiment.dataset, writing, resolved.images_per_part)
    with extended as home, writing(home, force=force) as folder:
        done = folder.done
        if folder.manifest.finished is None:
            if resolved.strict or folder.manifest.failed:
                done = done - _parts_with_failed_images(folder, done)  # files may be mended by now
            todo = [part for part in parts_of_shard(parts, shard) if part.number not in done]
            experiment.settings.update(folder.begin_session(**facts))
            n_images = sum(len(part.images) for part in todo)
            if done:
                step(f"going on: {len(done)} of {len(identity.part_numbers)} parts are done")
            with progress("continuing" if done else "evaluating", n_images, "images") as advance:
                for part, tables in engine.evaluate(experiment, todo, advance):
                    folder.note_settings(experiment.settings)
                    folder.write_part(part.number, tables)
                    if part is todo[0]:
                        _tell_size(folder, part, n_images - len(part.images))
            folder.end_session(len(todo))
            require_evaluated(folder, resolved.max_failed, whole=shard is None)
        summary = finish(folder)
    return StoredResults(summary, folder if home == path else RunFolder(path), n_before=len(done))


def _tell_size(folder: RunFolder, part: Part, n_left: int) -> None:
    """Say how large the maps of a run become, from its first part, if that is a lot."""
    n_bytes = (folder.path / file_of_part("maps", part.number)).stat().st_size
    expected = n_bytes * n_left // len(part.images)
    if text := expected_size(folder.path, expected, folder.identity.kept_maps):
        logger.warning("%s", text)


def _new_folder(parent: Path, shard: str | None) -> Path:
    """Create a folder named by date and time, new even if several runs begin at once."""
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    if shard is not None:
        name += f"-shard-{shard.replace('/', '-of-')}"
    for number in itertools.count(2):
        try:
            (parent / name).mkdir(parents=True)
            return parent / name
        except FileExistsError:
            name = f"{name.partition('+')[0]}+{number}"
        except OSError as error:
            raise RunError(f"{parent / name} cannot be created: {error}") from error
    raise AssertionError("there is always a next name")


def _parts_with_failed_images(folder: RunFolder, parts: Collection[int]) -> set[int]:
    """The numbers of those parts that hold an image that could not be evaluated."""
    return {
        number
        for number in parts
        if folder.read_part("images", number, ["status"])["status"].isin(FAILED).any()
    }
