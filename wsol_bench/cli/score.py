"""Commands that score what other tools have made: score (boxes), score-maps (maps).

A command has a parameter for each of its options, which may be more than eight.
"""

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from wsol_bench.cli.completion import protocol_names
from wsol_bench.cli.output import print_results, print_summary
from wsol_bench.cli.process import print_message
from wsol_bench.cli.shared_options import (
    AsJson,
    DatasetName,
    DatasetOptions,
    DatasetRoot,
    Force,
    ProtocolOverrides,
    pairs_of,
    utf8_path,
)
from wsol_bench.common.progress import step
from wsol_bench.common.vocabulary import PredictionFormat
from wsol_bench.errors import ConfigError, PredictionError

__all__ = ["score", "score_maps"]

MapsFolder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder of maps, a file for each image: <image id>.npy, .npz, .pt or .png.",
        show_default=False,
    ),
]


def score(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Prediction file in devkit or Kaggle format.", show_default=False
        ),
    ],
    dataset: DatasetName = "imagenet",
    root: DatasetRoot = None,
    options: DatasetOptions = None,
    file_format: Annotated[
        PredictionFormat | None,
        typer.Option(
            "--format", help="Format of the file. By default the first line of the file tells it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a file of predicted boxes as ILSVRC does.

    Reads a prediction file and the ground truth of the data set. Prints top-1 and top-5
    classification and localization errors. Writes only to the cache folder.
    """
    if file.is_dir():
        raise PredictionError(
            f"{file} is a folder; expected a file in devkit or Kaggle format. A folder of maps is "
            "scored by wsol-bench score-maps"
        )
    if not file.exists():
        raise PredictionError(
            f"prediction file {file} does not exist; expected the path of a file in devkit or "
            "Kaggle format"
        )
    _require_root(dataset, root, options)
    step(f"reading {file}")
    from wsol_bench.methods.imported.prediction_files import (
        OtherImagesError,
        read_predictions,
        score_predictions,
    )
    from wsol_bench.runs.experiment_config import load_dataset
    from wsol_bench.runs.findings import dataset_findings

    truth = load_dataset(_dataset_content(dataset, root), pairs_of(options))
    try:
        predictions = read_predictions(file, truth, format=file_format)
    except OtherImagesError as error:
        command = _with_subset(file, dataset, root, options, file_format)
        raise PredictionError(f"{error}\n{command}") from error
    findings = dataset_findings(truth.name, Counter(finding.kind for finding in truth.findings))
    summary = score_predictions(predictions, truth, name=file.name)
    print_summary(summary, as_json, findings=findings)


def score_maps(
    folder: MapsFolder,
    dataset: DatasetName = "imagenet",
    root: DatasetRoot = None,
    options: DatasetOptions = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name (wsol-bench list protocols) or file of the protocol.",
            autocompletion=protocol_names,
        ),
    ] = "gradcam-2017",
    overrides: ProtocolOverrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that keeps the run. By default no run is kept.",
            callback=utf8_path,
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score localization maps that another tool has made.

    Reads a map for each image and the ground truth of the data set; no network is needed. Takes
    boxes from the maps by the protocol and prints localization errors. Writes a run folder if --out
    names one.
    """
    step(f"reading {folder}")
    _require_maps(folder)
    _require_root(dataset, root, options)
    from wsol_bench.runs.experiment_config import load_config
    from wsol_bench.runs.run_folders import require_place

    config = {
        "name": "score-maps",
        "dataset": _dataset_content(dataset, root),
        "methods": [{"name": "maps_from", "path": str(folder), "label": folder.resolve().name}],
        "protocol": {"name": protocol},
    }
    changes = [f"dataset.{option}" for option in pairs_of(options)] + (overrides or [])
    experiment = load_config(config, changes)
    if out is not None and not force:
        require_place(out, experiment.deciding(), None)
    from wsol_bench.common.temporary import temporary_folder
    from wsol_bench.runs.run import run as run_experiment

    with temporary_folder() as temporary:
        results = run_experiment(experiment, out=out or temporary / "run", force=force)
    print_results(results, as_json, kept=out is not None)
    if out is not None:
        print_message(f"Results: {out}")


def _require_maps(folder: Path) -> None:
    """Raise ConfigError at once, before pandas is loaded, if there is no folder of maps."""
    if not folder.expanduser().is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise ConfigError(
            f"{folder}: expected a folder with a map of each image, such as <image id>.npy, found "
            f"{found}"
        )


def _dataset_content(name: str, root: Path | None) -> dict[str, Any]:
    """A data set as an experiment names it."""
    return {"name": name} if root is None else {"name": name, "root": str(root)}


def _with_subset(
    file: Path,
    dataset: str,
    root: Path | None,
    options: list[str] | None,
    file_format: PredictionFormat | None,
) -> str:
    """The complete command that scores a devkit file of some of the images."""
    from wsol_bench.methods.imported.written_predictions import image_list_of
    from wsol_bench.report.export import score_command

    listing = image_list_of(file)
    known = listing.is_file()
    command = score_command(file, dataset, root, {"subset": str(listing) if known else "ids.txt"})
    kept = [option for option in options or [] if option.partition("=")[0] != "subset"]
    words = [word for option in kept for word in ("--option", option)]
    words += [] if file_format is None else ["--format", file_format]
    command = " ".join([command, *map(shlex.quote, words)])
    if known:
        return f"The list of its images lies beside it. To score it:\n  {command}"
    return (
        f"Write the ids of its images into ids.txt, in the order of the lines. Then:\n  {command}"
    )


def _require_root(dataset: str, root: Path | None, options: list[str] | None) -> None:
    """Raise an error at once, before pandas is loaded, if the root of a data set is missing.

    Raises:
        ConfigError: there is no such data set, or it needs a root and none is given.
        DatasetError: the root does not exist.
    """
    from wsol_bench.common.catalog import DATASETS
    from wsol_bench.common.files import existing
    from wsol_bench.runs.overrides import expand_variables

    DATASETS.require(dataset)
    if root is not None:
        existing(Path(expand_variables(str(root), "--root")), "--root")
        return
    described = DATASETS.describe(dataset)
    needed = [each.name for each in (described.options if described else ()) if each.required]
    given = [option.partition("=")[0] for option in pairs_of(options)]
    if "root" in needed and "root" not in given:
        raise ConfigError(
            f"the data set {dataset} needs its root folder, found none; add --root FOLDER, or name "
            "another data set with --dataset"
        )
