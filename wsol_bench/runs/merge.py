"""Merge the shards of a run into the run that was not split."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsol_bench.errors import RunError
from wsol_bench.runs.differences import known_differences, listed
from wsol_bench.runs.experiment_config import ExperimentConfig
from wsol_bench.runs.finish import finish, require_evaluated
from wsol_bench.runs.folder import RunFolder, require_not_above
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.published import published_by
from wsol_bench.runs.results import StoredResults, summarize_run
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["merge"]


def merge(shards: Sequence[StoredRun], out: Path, *, force: bool = False) -> StoredResults:
    """Merge the shards of one run: the rows are those of the run that was not split.

    Args:
        shards: the finished runs of all shards.
        out: the folder of the whole run.
        force: whether to delete a run in ``out`` first.

    Raises:
        RunError: the shards belong to different runs, or a part is missing or is in two shards.
        DatasetError: no image of the whole run could be evaluated.
    """
    if not shards:
        raise RunError("expected the folders of shards to merge, found none")
    require_not_above(out, [shard.path for shard in shards])
    identity = _require_one_run(shards)
    folder_of = _require_all_parts(shards, identity.n_parts)
    # If a shard is made anew, merging it gives another run.
    merged_from = tuple(
        sorted(f"{shard.identity.shard}, {shard.manifest.started}" for shard in shards)
    )
    selection = shards[0].selection()
    with RunFolder.writing(
        out,
        identity.model_copy(update={"merged_from": merged_from}),
        ExperimentConfig.model_validate(
            {**identity.config, "published": published_by(shards[0])}
        ).model_dump(mode="json"),
        shards[0].read("classes"),
        selection=selection if len(selection) else None,
        force=force,
    ) as folder:
        if folder.manifest.finished is not None:
            return StoredResults(summarize_run(folder), folder)
        folder.begin_session(engine="merge", merged=[str(shard.path) for shard in shards])
        todo = sorted(set(folder_of) - folder.done)
        for number in todo:
            folder.link_part(number, folder_of[number])
        folder.end_session(len(todo))
        require_evaluated(folder, max_failed=1.0, whole=True)
        summary = finish(folder)
    return StoredResults(summary, folder)


def _require_one_run(shards: Sequence[StoredRun]) -> Identity:
    """The identity of the run that was split; RunError unless all are finished shards of it.

    What one shard does not know of itself is taken from the others.
    """
    whole = _unsplit(shards[0].identity)
    for shard in shards:
        shard.require_finished()
        identity = _unsplit(shard.identity)
        if changed := known_differences(whole, identity):
            raise RunError(
                f"{shards[0].path} and {shard.path} are not shards of one run. These values "
                f"differ:{listed(changed)}"
            )
        whole = whole.completed(identity)
    return whole


def _require_all_parts(shards: Sequence[StoredRun], n_parts: int) -> dict[int, StoredRun]:
    """The shard that holds each part, by the part's number; RunError unless each is held once."""
    folder_of = {number: shard for shard in shards for number in shard.parts()}
    n_held = sum(len(shard.parts()) for shard in shards)
    if len(folder_of) == n_parts == n_held:
        return folder_of
    raise RunError(
        f"the shards do not make one run of {n_parts} parts: "
        f"{'; '.join(_problems(shards, n_parts))}. Name the folder of every shard once"
    )


def _problems(shards: Sequence[StoredRun], n_parts: int) -> Iterator[str]:
    """The reasons why shards are not one run: some are missing, or are there several times."""
    folders = dict[str, list[str]]()
    for shard in shards:
        folders.setdefault(shard.identity.shard or "the whole run", []).append(str(shard.path))
    for name, paths in folders.items():
        if len(paths) > 1:
            yield f"{name} is there {len(paths)} times ({', '.join(paths)})"
    counts = {name.partition("/")[2] for name in folders}
    if len(counts) == 1 and (count := counts.pop()):
        expected = (f"{index}/{count}" for index in range(1, int(count) + 1))
        if missing := [name for name in expected if name not in folders]:
            yield f"missing: {', '.join(missing)}"
        return
    held = [number for shard in shards for number in shard.parts()]
    yield "they were split in different ways: " + ", ".join(
        f"{name} in {paths[0]}" for name, paths in folders.items()
    )
    if lacking := n_parts - len(set(held)):
        yield f"{lacking} parts are in none"
    if several := sum(count > 1 for count in Counter(held).values()):
        yield f"{several} parts are in several"


def _unsplit(identity: Identity) -> Identity:
    """The identity of the whole run of a shard."""
    return identity.model_copy(update={"shard": None, "rescored_from": None})
