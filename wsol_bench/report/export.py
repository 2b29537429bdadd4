"""A run's predictions as files that the official tools read."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from wsol_bench.common.files import write_atomically
from wsol_bench.datasets.annotations import read_classes
from wsol_bench.datasets.imagenet.layout import find_class_ids
from wsol_bench.errors import RunError
from wsol_bench.methods.imported.prediction_files import Format, write_predictions
from wsol_bench.metrics.localization import two_two_one
from wsol_bench.runs.differences import differences, listed
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.schema import GROUP, ImageStatus, RowStatus

__all__ = ["export_run"]

# What an identity says of the maps, whatever the protocol.
_SAME = {"dataset", "models", "methods", "sources", "n_parts", "shard"}


def export_run(
    run: RunFolder,
    folder: Path,
    *,
    format: Format,
    devkit: Path | None = None,
    tight: RunFolder | None = None,
) -> Iterator[str]:
    """Write one prediction file a model x method x layer, and say what was written.

    A file is called after them, ``model-method-layer``, without those that there are not.
    A devkit file has no image ids: line i is image i of the images that were evaluated. Their list
    stands beside it, to score it by where that is not the whole data set.

    Args:
        run: where rows are read.
        folder: of the files.
        format: devkit or kaggle.
        devkit: folder with meta.mat or synsets.csv, for the ILSVRC2012_IDs of a run whose data set
            held none.
        tight: the same run, rescored at a higher threshold: guesses are then those of
            ``two_two_one``.

    Raises:
        RunError: a run that is not finished, or whose protocol takes no one box (many thresholds,
            or pixels), or a tight one that is not of the same maps.
        PredictionError: devkit format of a class without an ILSVRC2012_ID.
    """
    for one in (run,) if tight is None else (run, tight):
        one.require_finished()
        one.scoring.require_boxes(one.path, one.identity.protocol.name)
    if tight is not None:
        other = differences(
            *(one.identity.model_dump(mode="json", include=_SAME) for one in (run, tight))
        )
        if other:
            raise RunError(f"{tight.path} is not {run.path} rescored:{listed(other)}")
    classes = run.read("classes") if devkit is None else read_classes(find_class_ids(devkit))
    taken: set[str] = set()
    for model, parts in run.parts_by_model().items():
        if not parts:  # a shard that has none of this model
            continue
        images = run.read("images", parts=parts)
        evaluated = images.loc[images["status"] == ImageStatus.EVALUATED, "image_id"]
        if not len(evaluated):
            yield f"{model}: no image was evaluated, nothing to export"
            continue
        tight_rows = None if tight is None else tight.read("rows", parts=parts)
        for group, rows in run.read("rows", parts=parts).groupby(GROUP, sort=False):
            method, layer = map(str, group[1:3])
            plain = _file_name("" if model == NO_MODEL else model, method, layer)
            others = (f"{plain}-{number}" for number in itertools.count(2))
            name = next(name for name in itertools.chain([plain], others) if name not in taken)
            taken.add(name)
            if (rows["status"] == RowStatus.NOT_APPLICABLE).all():
                yield f"{name}: not applicable, nothing to export"
                continue
            if (rows["rank"] == 0).all():
                yield f"{name}: nobody predicts classes, nothing to export"
                continue
            if tight is not None and tight_rows is not None:
                same = (tight_rows["method"] == method) & (tight_rows["layer"] == layer)
                try:
                    rows = two_two_one(rows, tight_rows[same])
                except ValueError as error:
                    raise RunError(f"{tight.path} is not {run.path} rescored: {error}") from error
            path = folder / f"{name}.{'csv' if format == 'kaggle' else 'txt'}"
            write_predictions(path, rows, images, classes, format=format)
            how = ""
            if format == "devkit":
                listing = folder / f"{name}.images.txt"
                write_atomically(listing, ("\n".join(evaluated) + "\n").encode())
                ids = f" --option devkit={devkit}" if devkit else ""
                how = f"; to score it: --option subset={listing}{ids}"
            yield f"{path}: {len(evaluated)} images{how}"


def _file_name(*parts: str) -> str:
    """The parts that are not empty, joined; a command would take a leading dash for an option."""
    joined = "-".join(filter(None, parts))
    return re.sub(r"[^\w.=+-]+", "_", joined).lstrip("-") or "predictions"
