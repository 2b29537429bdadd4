"""A run's predictions as files that the official tools read."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wsol_bench.common.files import require_writable_folder
from wsol_bench.common.harmless import yaml_text
from wsol_bench.common.plugin_options import has_option
from wsol_bench.common.vocabulary import PredictionFormat
from wsol_bench.datasets import datasets
from wsol_bench.datasets.formats.class_tables import read_classes
from wsol_bench.datasets.imagenet.layout import find_class_ids
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.methods.imported.written_predictions import write_image_list, write_predictions
from wsol_bench.metrics.localization import two_two_one
from wsol_bench.runs.differences import known_differences, listed
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.schema import GROUP, ImageStatus, RowStatus
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["export_run", "score_command"]

# The fields of an identity that decide the maps, under every protocol.
_MAPS_IDENTITY = {"dataset", "models", "methods", "sources", "n_parts", "shard"}


def export_run(
    run: StoredRun,
    folder: Path,
    *,
    format: PredictionFormat,
    devkit: Path | None = None,
    tight: StoredRun | None = None,
) -> Iterator[str]:
    """Write one prediction file a model x method x layer, and report each in a line of text.

    A file is named ``model-method-layer``, without empty names. A devkit file has no image ids:
    line i is evaluated image i. Scoring needs the list of them, which is written beside it.

    Args:
        run: run whose rows are read.
        folder: folder that the files are written to.
        format: ``devkit`` or ``kaggle``.
        devkit: folder with meta.mat or synsets.csv, if the run's data set has no ILSVRC2012_IDs.
        tight: the same run, rescored at a higher threshold; the guesses are then those of
            ``two_two_one``.

    Yields:
        For each file its path, and in a second line how to score it; or why no file was written.

    Raises:
        RunError: a run is not finished, its protocol does not take one box of each map, or the
            tight run has other maps.
        PredictionError: the format cannot name a class or an image.
    """
    require_writable_folder(folder)
    for stored in (run,) if tight is None else (run, tight):
        stored.require_finished()
        stored.scoring.require_boxes(stored.path, stored.identity.protocol.name)
    if tight is not None:
        _require_same_maps(run, tight)
    classes = run.read("classes") if devkit is None else read_classes(find_class_ids(devkit))
    names: set[str] = set()
    for model, parts in run.parts_by_model().items():
        if not parts:  # a shard may have no part of this model
            continue
        images = run.read("images", parts=parts)
        evaluated = images.loc[images["status"] == ImageStatus.EVALUATED, "image_id"]
        if not len(evaluated):
            yield f"{model}: no image was evaluated, nothing to export"
            continue
        tight_rows = None if tight is None else tight.read("rows", parts=parts)
        for group, rows in run.read("rows", parts=parts).groupby(GROUP, sort=False):
            method, layer = map(str, group[1:3])
            name = _free_name(("" if model == NO_MODEL else model, method, layer), names)
            if reason := _no_guesses(rows):
                yield f"{name}: {reason}, nothing to export"
                continue
            if tight is not None and tight_rows is not None:
                same = (tight_rows["method"] == method) & (tight_rows["layer"] == layer)
                rows = _five_guesses(run, rows, tight, tight_rows[same])
            path = folder / f"{name}.{'csv' if format == 'kaggle' else 'txt'}"
            write_predictions(path, rows, images, classes, format=format)
            listing = write_image_list(path, evaluated) if format == "devkit" else None
            command = _score_command(run.identity.config["dataset"], path, listing, devkit)
            yield f"{path}: {len(evaluated)} images\n  {command}"


def _require_same_maps(run: StoredRun, tight: StoredRun) -> None:
    """Raise RunError if the two runs have other images, models or maps."""
    changed = known_differences(
        *(
            folder.identity.model_dump(mode="json", include=_MAPS_IDENTITY)
            for folder in (run, tight)
        )
    )
    if changed:
        raise RunError(
            f"{tight.path} is not {run.path} rescored: expected a run of the same maps. These "
            f"values differ:{listed(changed)}"
        )


def _five_guesses(
    run: StoredRun, rows: pd.DataFrame, tight: StoredRun, tight_rows: pd.DataFrame
) -> pd.DataFrame:
    """The guesses of ``two_two_one``; RunError if the tight run has other images or classes."""
    try:
        return two_two_one(rows, tight_rows)
    except ValueError as error:
        raise RunError(f"{tight.path} is not {run.path} rescored: {error}") from error


def _no_guesses(rows: pd.DataFrame) -> str:
    """Return why the rows of a method are no guesses; "" if they are guesses."""
    if (rows["status"] == RowStatus.NOT_APPLICABLE).all():
        return "the method is not applicable"
    if (rows["rank"] == 0).all():
        return "no model predicts classes"
    return ""


def _score_command(
    dataset: Mapping[str, Any], path: Path, listing: Path | None, devkit: Path | None
) -> str:
    """The command that scores a prediction file of a run by itself.

    Args:
        dataset: the name and options of the run's data set.
        path: the prediction file.
        listing: the list of images of a devkit file, whose line i is image i.
        devkit: folder of the ILSVRC2012_IDs, if the data set has none.
    """
    options = {name: value for name, value in dataset.items() if name != "name"}
    if listing is not None and not _has_subset(str(dataset["name"])):
        return "To score it, export it with --format kaggle: the data set has no option subset"
    if listing is not None:
        options["subset"] = str(listing)
    if devkit is not None:
        options["devkit"] = str(devkit)
    return score_command(path, str(dataset["name"]), options.pop("root", None), options)


def _has_subset(dataset: str) -> bool:
    """Return whether a data set can be narrowed to a list of images."""
    try:
        return has_option(datasets.get(dataset).load, "subset")
    except ConfigError:  # a loader that is not installed here
        return False


def score_command(
    file: Path, dataset: str, root: str | Path | None, options: Mapping[str, Any]
) -> str:
    """A command line of ``wsol-bench score``, quoted for a shell.

    Args:
        file: the prediction file.
        dataset: the name of the data set.
        root: its root; None for none.
        options: its other options.
    """
    # A word that begins with a dash would be taken for an option.
    shown = f"./{file}" if str(file).startswith("-") else str(file)
    words = ["wsol-bench", "score", shown, "--dataset", dataset]
    words += [] if root is None else ["--root", str(root)]
    for name, value in options.items():
        text = yaml_text(value) if isinstance(value, str) else json.dumps(value)
        words += ["--option", f"{name}={text}"]
    return shlex.join(words)


def _free_name(words: tuple[str, ...], taken: set[str]) -> str:
    """A file name that is taken from now on: the words joined, with a number if needed."""
    plain = _file_name(*words)
    numbered = (f"{plain}-{number}" for number in itertools.count(2))
    free = next(name for name in itertools.chain([plain], numbered) if name not in taken)
    taken.add(free)
    return free


def _file_name(*words: str) -> str:
    """The words that are not empty, joined; a command would take a leading dash for an option."""
    joined = "-".join(filter(None, words))
    return re.sub(r"[^\w.=+-]+", "_", joined).lstrip("-") or "predictions"
