"""Carry out an experiment, go on with it, put its shards together."""

import itertools
import re
import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from wsol_bench.common.progress import progress
from wsol_bench.errors import ConfigError, DatasetError, RunError
from wsol_bench.metrics.seeds import over_seeds
from wsol_bench.report.tables import markdown
from wsol_bench.runs.config import ExperimentConfig, load_config
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.manifest import Identity, differences, listed
from wsol_bench.runs.results import Results, summarize_run
from wsol_bench.runs.schema import FAILED, ImageStatus, Tables

__all__ = ["Engine", "Results", "finish", "merge", "require_elsewhere", "run", "run_below"]


@runtime_checkable
class Engine(Protocol):
    """Who evaluates the parts of an experiment; see ``wsol_bench.runs.engines.local``."""

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        """Where the work is done, for the record."""

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, in any order."""


def run(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    *,
    out: Path | str | None = None,
    engine: Engine | None = None,
    shard: str | None = None,
    force: bool = False,
) -> Results:
    """Carry out an experiment, or go on with one that was interrupted.

    Args:
        config: path of a YAML file, a mapping, or an ``ExperimentConfig``.
        out: folder of the run, written part by part. One that holds the same run goes on where it
            stood, and a finished one is read. Without it the run lasts as long as its results.
        engine: who evaluates; by default this process.
        shard: ``i/n``, i from 1 to n: every n-th part only. ``merge`` puts n such runs together.
        force: begin anew where ``out`` holds a run.

    Raises:
        RunError: ``out`` holds something else or is written by another process; more images than
            ``max_failed`` cannot be evaluated.
        WsolBenchError: whatever is wrong with the configuration, data set or models; it is found
            before the first image is evaluated where it can be.
    """
    if out is not None:
        return _carry_out(config, lambda identity: Path(out), engine, shard, force=force)
    home = Path(mkdtemp(prefix="wsol_bench-"))
    try:
        results = _carry_out(config, lambda identity: home, engine, shard, force=force)
    except BaseException:
        if not (home / "images").exists():  # else a run could go on there
            shutil.rmtree(home, ignore_errors=True)
        raise
    weakref.finalize(results.folder, shutil.rmtree, home, ignore_errors=True)
    return results


def run_below(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    parent: Path,
    *,
    engine: Engine | None = None,
    shard: str | None = None,
) -> Results:
    """``run`` in a folder below ``parent``: that of the same run, unfinished, or a new one."""

    def place(identity: Identity) -> Path:
        return RunFolder.unfinished(parent, identity) or _new_folder(parent, shard)

    return _carry_out(config, place, engine, shard, force=False)


def _new_folder(parent: Path, shard: str | None) -> Path:
    """A folder named by date and time that nobody else has, also if several begin at once."""
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
            raise RunError(f"{parent / name} cannot be made: {error}") from error
    raise AssertionError("there is always a next name")


def _carry_out(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    place: Callable[[Identity], Path],
    engine: Engine | None,
    shard: str | None,
    *,
    force: bool,
) -> Results:
    resolved = load_config(config)
    shard = None if shard is None else _canonical(shard)
    engine = engine or LocalEngine()
    experiment = Experiment.resolve(resolved)
    parts = experiment.parts()
    facts = engine.facts(experiment)
    identity = experiment.identity().model_copy(update={"shard": shard})
    path = place(identity)
    selection = None if experiment.selected is None else experiment.selected.table
    with RunFolder.writing(
        path,
        identity,
        resolved.model_dump(mode="json"),
        experiment.dataset.classes,
        selection=selection,
        force=force,
    ) as folder:
        before = set(folder.parts())
        if folder.manifest.finished is None:
            if resolved.strict or folder.manifest.failed:
                before -= _with_failed_images(folder)  # which may be mended by now
            todo = [part for part in _of_shard(parts, shard) if part.number not in before]
            folder.begin_session(**facts)
            n_images = sum(len(part.images) for part in todo)
            what = "going on" if before else "evaluating"
            with progress(what, n_images, "images") as advance:
                for part, tables in engine.evaluate(experiment, todo, advance):
                    folder.write_part(part.number, tables)
            folder.end_session(len(todo))
            _require_sound(folder, resolved.max_failed, whole=shard is None)
        summary = finish(folder)
    return Results(summary, folder, n_before=len(before))


def _canonical(shard: str) -> str:
    """``i/n`` without leading zeros; ConfigError where it is not from 1/n to n/n."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"shard: expected i/n with i from 1 to n, such as 1/4, found {shard!r}")
    return f"{index}/{count}"


def _of_shard(parts: Sequence[Part], shard: str | None) -> Sequence[Part]:
    if shard is None:
        return parts
    index, count = (int(number) for number in shard.split("/"))
    return parts[index - 1 :: count]


def _with_failed_images(folder: RunFolder) -> set[int]:
    return {
        number
        for number in folder.parts()
        if folder.read_part("images", number, ["status"])["status"].isin(FAILED).any()
    }


def _require_sound(folder: RunFolder, max_failed: float, *, whole: bool) -> None:
    """Fail a run of which too many images could not be evaluated; what it has is kept.

    Where every shard of a run is sound so is the run, except that one without any image that can be
    evaluated is sound as a shard.
    """
    counts: Counter[str] = Counter()
    left_out = []  # of each part, the first image that was not evaluated; failed ones first
    for number in folder.parts():
        images = folder.read_part("images", number, ["image_id", "status", "reason"])
        counts.update(images["status"])
        images = images[images["status"] != ImageStatus.EVALUATED]
        failed = images[images["status"].isin(FAILED)]
        left_out += (failed if len(failed) else images)[:1].to_dict(orient="records")
    n_failed = sum(counts[status] for status in FAILED)
    n_tried = n_failed + counts[ImageStatus.EVALUATED]
    error: RunError | DatasetError | None = None
    if n_failed > max_failed * n_tried:
        first = next(line for line in left_out if line["status"] in FAILED)
        error = RunError(
            f"{n_failed} of {n_tried} images could not be evaluated, more than max_failed "
            f"({max_failed:g}); the first is {first['image_id']}: {first['reason']}\n{folder.path} "
            "keeps what is done. Mend the files and run the experiment there again, which repeats "
            "the parts they are in, or allow more with --set max_failed=..."
        )
    elif whole and not counts[ImageStatus.EVALUATED]:
        found = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        error = DatasetError(
            f"no image could be evaluated ({found}); the first: {left_out[0]['reason']}"
        )
    folder.update(failed=str(error) if error and n_failed else None)
    if error:
        raise error


def finish(folder: RunFolder) -> pd.DataFrame:
    """The summary of a run whose parts are there, which then is finished."""
    summary = summarize_run(folder)
    if folder.manifest.finished is None:
        files = {"summary.md": markdown(summary, folder.identity.named_metrics)}
        if len(spread := over_seeds(summary)):
            files["seeds.csv"] = spread.to_csv(index=False)
        folder.finish(summary, files)
    return summary


def merge(sources: Sequence[RunFolder], out: Path, *, force: bool = False) -> Results:
    """Put the shards of one run together: the rows of the run that was not split.

    Args:
        sources: finished runs of all shards.
        out: folder of the whole run.
        force: overwrite a run in ``out``.

    Raises:
        RunError: shards of different runs, or parts that are in none or in several.
        DatasetError: no image of the whole run could be evaluated.
    """
    if not sources:
        raise RunError("no shards to merge")
    require_elsewhere(out, sources)
    whole = [_unsplit(source.identity) for source in sources]
    for source, identity in zip(sources, whole, strict=True):
        source.require_finished()
        if changed := differences(whole[0], identity):
            raise RunError(
                f"{sources[0].path} and {source.path} are not shards of one run:{listed(changed)}"
            )
    home = {number: source for source in sources for number in source.parts()}
    n_parts = whole[0].n_parts
    n_there = sum(len(source.parts()) for source in sources)
    if len(home) < n_parts or n_there > n_parts:
        shards = ", ".join(str(source.identity.shard) for source in sources)
        what = "some are missing" if len(home) < n_parts else "some are there twice"
        raise RunError(f"the shards {shards} hold {n_there} parts, the run has {n_parts}: {what}")
    # A shard that was made anew makes another merged run.
    made = sorted(f"{one.identity.shard}, {one.manifest.started}" for one in sources)
    identity = whole[0].model_copy(update={"merged_from": tuple(made)})
    config = ExperimentConfig.model_validate(identity.config).model_dump(mode="json")
    selection = sources[0].selection()
    with RunFolder.writing(
        out,
        identity,
        config,
        sources[0].read("classes"),
        selection=selection if len(selection) else None,
        force=force,
    ) as folder:
        if folder.manifest.finished is not None:
            return Results(summarize_run(folder), folder)
        folder.begin_session(engine="merge", merged=[str(source.path) for source in sources])
        for number, source in sorted(home.items()):
            folder.link_part(number, source)
        folder.end_session(len(home))
        _require_sound(folder, max_failed=1.0, whole=True)
        summary = finish(folder)
    return Results(summary, folder)


def _unsplit(identity: Identity) -> Identity:
    """A shard's identity as that of the whole run."""
    return identity.model_copy(update={"shard": None, "rescored_from": None})


def require_elsewhere(out: Path, sources: Iterable[RunFolder]) -> None:
    """Refuse to write where, or above where, something is read."""
    for source in sources:
        if source.path.resolve().is_relative_to(out.resolve()):
            raise RunError(f"{out} holds what is to be read; choose another folder with --out")
