"""Extension: a finished run that gets more images keeps the parts that it has.

The longer run is made in a folder of its own within the run's, and begins with links to the parts
that both have. The finished run stays as it is meanwhile. Once the longer one is finished, too, its
files take the place of the others; a process that is killed there leaves a mark, and the next one
goes on.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from wsol_bench.common.files import write_atomically
from wsol_bench.datasets import Dataset
from wsol_bench.errors import RunError
from wsol_bench.runs.checksums import CHECKSUMS
from wsol_bench.runs.folder import RunFolder, alone, delete
from wsol_bench.runs.identity import Identity
from wsol_bench.runs.manifest import (
    MANIFEST,
    is_deleted,
    is_replaced,
    mark_replaced,
    read_manifest,
)
from wsol_bench.runs.run_folders import EXTENSION, VARIED
from wsol_bench.runs.stored_run import (
    CLASSES_FILE,
    CONFIG_FILE,
    PART_TABLES,
    REPORT,
    SELECTION_FILE,
    StoredRun,
    files_of_part,
)

__all__ = ["extending"]

logger = logging.getLogger(__name__)

# What the longer run replaces, and what is made of a run by other commands and stays.
_REPLACED = (*PART_TABLES, "tables", CHECKSUMS, CONFIG_FILE, CLASSES_FILE, SELECTION_FILE)
_OLDER = (REPORT, "figures", "predictions", "rescored", VARIED)


@contextmanager
def extending(
    path: Path,
    identity: Identity,
    dataset: Dataset,
    writing: Callable[[Path], AbstractContextManager[RunFolder]],
    images_per_part: int,
) -> Iterator[Path]:
    """The folder in which a run is to be evaluated: ``path``, unless that holds a shorter one.

    Then it is a folder within, which holds the parts of the shorter run; at the end its files take
    the place of those in ``path``.

    Args:
        path: the folder of the run.
        identity: the identity of the run.
        dataset: its images.
        writing: starts or continues a run of this identity in a folder.
        images_per_part: the number of images in a part.

    Raises:
        RunError: ``path`` holds the experiment with more images, or with fewer images in a run that
            cannot be extended; or another process writes there.
    """
    while is_replaced(path) or _shorter_run(path, identity, dataset) is not None:
        with alone(path):
            if is_replaced(path):
                _take_its_place(path)
                continue
            shorter = _shorter_run(path, identity, dataset)
            if shorter is None:  # another process was quicker
                continue
            stage = path / EXTENSION
            _require_same_extension(stage, identity, shorter)
            with writing(stage) as folder:
                if folder.manifest.finished is None:
                    _link_parts(folder, shorter, images_per_part)
            yield stage
            _take_its_place(path)
            return
    yield path


def _shorter_run(path: Path, identity: Identity, dataset: Dataset) -> StoredRun | None:
    """The finished run in a folder, if it differs in nothing but that it has fewer images.

    Raises:
        RunError: it differs in the number of images alone, but cannot be extended.
    """
    if not (path / MANIFEST).is_file() or is_deleted(path):
        return None
    manifest = read_manifest(path)
    stored = manifest.identity
    before, now = stored.dataset.n_images, identity.dataset.n_images
    shared = dataset.take(range(before)).fingerprint if before < now else None
    facts = {"n_images": now, "fingerprint": identity.dataset.fingerprint}
    if before < now and shared != stored.dataset.fingerprint:
        return None
    as_now = stored.model_copy(
        update={
            "config": {**stored.config, "limit": identity.config["limit"]},
            "dataset": stored.dataset.model_copy(update=facts),
            "n_parts": identity.n_parts,
        }
    )
    if before == now or as_now.changed(identity):
        return None
    holds = f"{path} holds this experiment with {before} images"
    reason = ""
    if before > now:
        reason = f"{holds}, more than {now}; that run stays as it is"
    elif stored.shard is not None:
        reason = (
            f"{holds}, shard {stored.shard}; a shard cannot be extended, since its parts would be "
            "other ones"
        )
    elif stored.rescored_from is not None:
        origin = stored.rescored_from.path
        reason = f"{holds}, rescored from {origin}; extend that run, then rescore it"
    elif manifest.finished is None:
        reason = f"{holds}, and is not finished; finish it first, with --limit {before}"
    if reason:
        raise RunError(
            f"{reason}. To evaluate {now} images from the beginning, choose another folder with "
            "--out"
        )
    return StoredRun(path)


def _require_same_extension(stage: Path, identity: Identity, shorter: StoredRun) -> None:
    """Raise RunError if an extension to another number of images was begun."""
    if not (stage / MANIFEST).is_file() or is_deleted(stage):
        return
    begun = read_manifest(stage)
    if begun.id == shorter.manifest.id:  # an earlier extension, of which nothing but this is left
        delete(stage)
    elif begun.identity.changed(identity):
        n_images = begun.identity.dataset.n_images
        raise RunError(
            f"the run in {stage.parent} was being extended to {n_images} images when that was "
            f"interrupted; go on with --limit {n_images}, or delete {stage}, which holds what was "
            "evaluated for it"
        )


def _link_parts(folder: RunFolder, shorter: StoredRun, images_per_part: int) -> None:
    """Give a run the whole parts of a shorter one that it lacks.

    Parts are numbered model by model, so that a part has another number in a run of more parts. The
    last part of each model is not kept if it has fewer images than a part.
    """
    n_models = len(folder.identity.models)
    n_kept = shorter.identity.dataset.n_images // images_per_part
    each_before, each_now = (run.identity.n_parts // n_models for run in (shorter, folder))
    if not folder.manifest.sessions:
        folder.update(sessions=shorter.manifest.sessions)
    written = set(folder.written_parts())
    for model in range(n_models):
        for index in range(n_kept):
            before, now = model * each_before + index, model * each_now + index
            if now not in written and all(map(shorter.checksums.is_sound, files_of_part(before))):
                folder.link_part(now, shorter, before)


def _take_its_place(path: Path) -> None:
    """Put the files of a finished extension in the place of the shorter run's.

    It can be interrupted after each step, and is then done again.
    """
    stage = path / EXTENSION
    if not (stage / MANIFEST).is_file():
        raise RunError(
            f"the run in {path} was being replaced by a longer one when that was interrupted, and "
            f"{stage}, which holds the rest of it, is missing; copy the folder again with its "
            "hidden files, or begin anew with --force"
        )
    mark_replaced(path)
    for name in _REPLACED:
        if (stage / name).exists():  # else it was moved by a process that was killed
            delete(path / name)
            (stage / name).replace(path / name)
    if older := [name for name in _OLDER if (path / name).exists()]:
        logger.warning(
            "%s: %s: made of fewer images than the run has now; make them anew",
            path, ", ".join(older),
        )  # fmt: skip
    write_atomically(path / MANIFEST, (stage / MANIFEST).read_bytes())
    delete(stage)
