"""Carry out an experiment, go on with it, score it again, put its shards together."""

import itertools
import os
import re
import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from wsol_bench.config import ExperimentConfig, load_config
from wsol_bench.engines.job import Job, Part, selection_digest
from wsol_bench.engines.local import LocalEngine
from wsol_bench.errors import ConfigError, DatasetError, RunError
from wsol_bench.evaluate import FAILED, Tables
from wsol_bench.metrics.localization import GROUP
from wsol_bench.metrics.seeds import over_seeds
from wsol_bench.metrics.summary import summarize
from wsol_bench.progress import progress
from wsol_bench.protocols import Protocol as RunProtocol
from wsol_bench.report.tables import markdown
from wsol_bench.rescoring import scored_again
from wsol_bench.store import RunFolder, differences, environment, listed

__all__ = ["Engine", "Results", "merge", "rescore", "run", "run_below"]

# Threads that score stored maps: each holds those of a part.
_SCORERS = min(4, os.cpu_count() or 1)

# What a manifest says of how a run went, and what shards of one run may differ in.
_TIMES = ("started", "finished", "sessions", "failed")
_OF_SHARD = ("shard", "rescored_from")


@runtime_checkable
class Engine(Protocol):
    """Who evaluates the parts of a job; see ``wsol_bench.engines.local``."""

    def facts(self, job: Job) -> dict[str, Any]:
        """Where the work is done, for the record."""

    def evaluate(
        self, job: Job, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, in any order."""


@dataclass(frozen=True)
class Results:
    """A finished run; its tables are read from its folder when they are asked for.

    Attributes:
        summary: one line a model x method x layer; fractions in [0, 1].
        folder: where the run lies; of a run without ``out``, for as long as these results live.
        n_before: parts that an earlier process had done.
    """

    summary: pd.DataFrame
    folder: RunFolder
    n_before: int = 0

    @property
    def rows(self) -> pd.DataFrame:
        """One line an image x method x layer x class slot."""
        return self.folder.read("rows")

    @property
    def images(self) -> pd.DataFrame:
        """One line an image x model."""
        return self.folder.read("images")

    @property
    def maps(self) -> pd.DataFrame:
        """The localization maps, as stored."""
        return self.folder.read("maps")

    @property
    def costs(self) -> pd.DataFrame:
        """What each method cost, one line a part x model x method x layer."""
        return self.folder.read("costs")

    @property
    def curves(self) -> pd.DataFrame:
        """What maps are worth at every threshold, under a protocol that has many."""
        return self.folder.read("curves")


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

    def place(identity: Mapping[str, Any]) -> Path:
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
    place: Callable[[Mapping[str, Any]], Path],
    engine: Engine | None,
    shard: str | None,
    *,
    force: bool,
) -> Results:
    experiment = load_config(config)
    experiment.build_protocol()  # the quickest to be wrong come first
    experiment.build_methods()
    shard = None if shard is None else _canonical(shard)
    engine = engine or LocalEngine()
    job = Job.of(experiment)
    parts = job.parts()
    facts = engine.facts(job)
    identity = {**job.identity(), "n_parts": len(parts), "shard": shard}
    path = place(identity)
    whole = experiment.model_dump(mode="json")
    with RunFolder.writing(path, identity, whole, job.dataset.classes, force=force) as folder:
        before = set(folder.parts())
        if folder.manifest["finished"] is None:
            if experiment.strict or folder.manifest.get("failed"):
                before -= _with_failed_images(folder)  # which may be mended by now
            todo = [part for part in _of_shard(parts, shard) if part.number not in before]
            folder.begin_session(**facts)
            n_images = sum(len(part.images) for part in todo)
            what = "going on" if before else "evaluating"
            with progress(what, n_images, "images") as advance:
                for part, tables in engine.evaluate(job, todo, advance):
                    folder.write_part(part.number, tables)
            folder.end_session(len(todo))
            _require_sound(folder, experiment.max_failed, whole=shard is None)
        summary = _finished(folder)
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
        images = images[images["status"] != "evaluated"]
        failed = images[images["status"].isin(FAILED)]
        left_out += (failed if len(failed) else images)[:1].to_dict(orient="records")
    n_failed = sum(counts[status] for status in FAILED)
    n_tried = n_failed + counts["evaluated"]
    error: RunError | DatasetError | None = None
    if n_failed > max_failed * n_tried:
        first = next(line for line in left_out if line["status"] in FAILED)
        error = RunError(
            f"{n_failed} of {n_tried} images could not be evaluated, more than max_failed "
            f"({max_failed:g}); the first is {first['image_id']}: {first['reason']}\n{folder.path} "
            "keeps what is done. Mend the files and run the experiment there again, which repeats "
            "the parts they are in, or allow more with --set max_failed=..."
        )
    elif whole and not counts["evaluated"]:
        found = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        error = DatasetError(
            f"no image could be evaluated ({found}); the first: {left_out[0]['reason']}"
        )
    folder.update_manifest(failed=str(error) if error and n_failed else None)
    if error:
        raise error


def _finished(folder: RunFolder) -> pd.DataFrame:
    """The summary of a run whose parts are there, which then is finished."""
    summary = _summary(folder)
    if folder.manifest["finished"] is None:
        files = {"summary.md": markdown(summary)}
        if len(spread := over_seeds(summary)):
            files["seeds.csv"] = spread.to_csv(index=False)
        folder.finish(summary, files)
    return summary


def _summary(folder: RunFolder) -> pd.DataFrame:
    """One line a model x method; model by model, from the rows of the own class and of rank 1.

    No other row enters a number, and so all of a run need not lie in memory.
    """
    manifest = folder.manifest
    protocol = RunProtocol.model_validate(_without(manifest["protocol"], "hash"))
    columns = ["method", "layer", "image_id", "rank", "class", "score", "iou", "status"]
    columns += ["peak_x", "peak_y", "energy", "insertion", "deletion", "masked_score"]
    facts = ["model", "image_id", "label", "blacklisted", "n_label_boxes", "boxes", "held_out"]
    facts += ["status"]
    lines = []
    for model, numbers in folder.parts_by_model().items():
        images = folder.read("images", facts, parts=numbers)
        label = images.set_index("image_id")["label"]
        own = [pd.DataFrame(columns=columns)]
        for number in numbers:
            rows = folder.read_part("rows", number, columns)
            right = rows["class"].to_numpy(str) == label[rows["image_id"]].to_numpy(str)
            own.append(rows[right | (rows["rank"] == 1)])
        by_method = dict(iter(pd.concat(own[1:] or own).groupby(["method", "layer"])))
        curves = folder.read("curves", parts=numbers)
        costs = folder.read("costs", parts=numbers)
        for method, layer in _groups(manifest, model):
            names = (model, method, layer, protocol.name, manifest["protocol"]["hash"])
            group = dict(zip(GROUP, names, strict=True))
            rows = by_method.get((method, layer), own[0]).assign(**group)
            groups = pd.DataFrame([group])
            lines.append(summarize(rows, images, curves, costs, protocol=protocol, groups=groups))
    return pd.concat(lines, ignore_index=True)


def _groups(manifest: Mapping[str, Any], model: str) -> Iterator[tuple[str, str]]:
    """The methods and layers of a model's results, in the order of the experiment."""
    for method, facts in manifest["methods"].items():
        layers = manifest["models"][model]["layers"] if facts["scope"] == "layer" else [""]
        yield from ((method, layer) for layer in layers)
    yield from ((source, "") for source in manifest["sources"])


def rescore(
    source: RunFolder,
    protocol: str | Mapping[str, Any] | None = None,
    *,
    overrides: Iterable[str] = (),
    out: Path | None = None,
    force: bool = False,
) -> Results:
    """Score the stored maps of a run by another protocol, without the model.

    The boxes are those of a fresh run with that protocol: a run takes its boxes from the maps as
    they are stored, too.

    Args:
        source: a finished run.
        protocol: name, file, or ``{name: ..., changes}`` as in an experiment; by default the run's.
        overrides: ``protocol.key=value`` each.
        out: folder of the new run; by default one of the protocol's name in ``source``/rescored,
            which is written anew each time.
        force: overwrite a run in ``out``.

    Raises:
        ConfigError: an unknown protocol, or an override of something else.
        RunError: the run is not finished; the protocol puts other pixels before the network, so
            that its maps would be others; it has no ground truth that the protocol scores by; maps
            that are not stored have changed.
    """
    source.require_finished()
    manifest = source.manifest
    content = {**manifest["config"], "protocol": protocol or manifest["config"]["protocol"]}
    experiment = load_config(content, overrides)
    other = differences(
        _without(load_config(content).model_dump(mode="json"), "protocol"),
        _without(experiment.model_dump(mode="json"), "protocol"),
    )
    if other:
        raise ConfigError(f"stored maps can only be scored by another protocol, not {other[0]}")
    wanted = experiment.build_protocol()
    changed = differences(manifest["protocol"]["input"], wanted.input.model_dump(mode="json"))
    if changed:
        raise RunError(
            f"{source.path} cannot be scored by {wanted.name}: its maps were made from other "
            f"pixels (input, there -> here: {', '.join(changed)}); run the experiment with that "
            "protocol instead"
        )
    images = source.read("images", ["image_id", "n_label_boxes", "masks"])
    _require_truth(source, images, wanted)
    ids = images["image_id"].unique()
    held_out = set()
    if sweep := wanted.sweep:  # a shard may lie on one side
        choose = sweep.splits if manifest["shard"] is None else sweep.holds_out
        held_out = set(ids[choose(ids.tolist())])
    identity = {
        **_without(manifest, *_TIMES),
        **environment(),
        "config": experiment.model_dump(mode="json", include=set(manifest["config"])),
        "protocol": {**wanted.model_dump(mode="json"), "hash": wanted.hash},
        "selected_on": selection_digest(wanted),
        "rescored_from": {
            "path": str(source.path.resolve()),
            **{key: manifest[key] for key in ("started", "versions", "git_revision")},
        },
    }
    before = RunProtocol.model_validate(_without(manifest["protocol"], "hash"))
    elsewhere = {
        one.name: one.open(None) if one.gives == "maps" else None
        for one in experiment.build_sources()
    }
    for name, given in elsewhere.items():
        if given and given.fingerprint != manifest["sources"][name][1]:
            raise RunError(
                f"the maps of {name} are not those that {source.path} scored; run the experiment "
                "again instead"
            )
    path = out or source.path / "rescored" / re.sub(r"[^\w.=+,-]+", "_", wanted.name)
    _require_elsewhere(path, [source])
    anew = force or out is None
    config = experiment.model_dump(mode="json")
    with RunFolder.writing(path, identity, config, source.read("classes"), force=anew) as folder:
        if folder.manifest["finished"] is not None:
            return Results(_summary(folder), folder)
        todo = [number for number in source.parts() if number not in folder.parts()]
        folder.begin_session(engine="rescore")

        def score(number: int) -> int:
            tables = Tables(*(source.read_part(name, number) for name in Tables._fields))
            folder.write_part(number, scored_again(tables, wanted, elsewhere, before.map, held_out))
            return len(tables.images)

        n_images = sum(len(source.read_part("images", number, ["model"])) for number in todo)
        with (
            progress("scoring", n_images, "images") as advance,
            ThreadPoolExecutor(_SCORERS) as pool,
        ):
            for n in pool.map(score, todo):
                advance(n)
        folder.end_session(len(todo))
        summary = _finished(folder)
    return Results(summary, folder)


def _require_truth(source: RunFolder, images: pd.DataFrame, protocol: RunProtocol) -> None:
    """Raise RunError where a run holds nothing that a protocol could score by."""
    has_masks = images["masks"].map(len).any()
    has_boxes = images["n_label_boxes"].any()
    if (protocol.pixels and not has_masks) or (protocol.box and has_masks and not has_boxes):
        what, found = ("pixels", "masks") if protocol.pixels else ("boxes", "boxes")
        raise RunError(
            f"{protocol.name} scores {what}, but the images of {source.path} have no {found}"
        )


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
    _require_elsewhere(out, sources)
    manifests = [source.manifest for source in sources]
    for source, manifest in zip(sources, manifests, strict=True):
        source.require_finished()
        changed = differences(
            *(_without(one, *_OF_SHARD, *_TIMES) for one in (manifests[0], manifest))
        )
        if changed:
            raise RunError(
                f"{sources[0].path} and {source.path} are not shards of one run:{listed(changed)}"
            )
    home = {number: source for source in sources for number in source.parts()}
    n_parts = manifests[0]["n_parts"]
    n_there = sum(len(source.parts()) for source in sources)
    if len(home) < n_parts or n_there > n_parts:
        shards = ", ".join(str(manifest["shard"]) for manifest in manifests)
        what = "some are missing" if len(home) < n_parts else "some are there twice"
        raise RunError(f"the shards {shards} hold {n_there} parts, the run has {n_parts}: {what}")
    identity = {
        **_without(manifests[0], *_OF_SHARD, *_TIMES),
        "shard": None,
        # A shard that was made anew makes another merged run.
        "merged_from": sorted(f"{one['shard']}, {one['started']}" for one in manifests),
    }
    config = load_config(identity["config"]).model_dump(mode="json")
    classes = sources[0].read("classes")
    with RunFolder.writing(out, identity, config, classes, force=force) as folder:
        if folder.manifest["finished"] is not None:
            return Results(_summary(folder), folder)
        folder.begin_session(engine="merge", merged=[str(source.path) for source in sources])
        for number, source in sorted(home.items()):
            folder.link_part(number, source)
        folder.end_session(len(home))
        _require_sound(folder, max_failed=1.0, whole=True)
        summary = _finished(folder)
    return Results(summary, folder)


def _require_elsewhere(out: Path, sources: Iterable[RunFolder]) -> None:
    """Refuse to write where, or above where, something is read."""
    for source in sources:
        if source.path.resolve().is_relative_to(out.resolve()):
            raise RunError(f"{out} holds what is to be read; choose another folder with --out")


def _without(manifest: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in keys}
