"""The command that writes a data set in another format: convert."""

from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli.process import print_message
from wsol_bench.cli.shared_options import (
    DatasetOptions,
    DatasetRoot,
    pairs_of,
    reading_experiment,
    utf8_path,
)
from wsol_bench.common.progress import step
from wsol_bench.errors import ConfigError

__all__ = ["convert"]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Experiment file, whose data set is written, or the name of a data set "
            "(wsol-bench list datasets).",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="FILE",
            help="File to write: .parquet or .csv for a table, .json for COCO.",
            show_default=False,
            callback=utf8_path,
        ),
    ],
    root: DatasetRoot = None,
    options: DatasetOptions = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the boxes of a data set as a table or as COCO JSON.

    Reads a data set as a run would, and writes its images, labels, sizes and repaired boxes. Prints
    what the format has no place for, and how an experiment reads the file.
    """
    named = Path(source).suffix.lower() in {".yaml", ".yml"}
    if named:
        reading_experiment(Path(source))
        if root is not None or options:
            raise ConfigError(
                f"--root and --option are for the name of a data set, found {source}; change the "
                "experiment file instead"
            )
    else:
        step(f"reading {source}")
    from wsol_bench.common.catalog import DATASETS
    from wsol_bench.datasets.written import require_target, write_dataset
    from wsol_bench.runs.experiment_config import load_config, load_dataset

    require_target(to, force=force)
    if named:
        loaded = load_config(Path(source)).dataset.load()
    else:
        DATASETS.require(source)
        content = {"name": source} if root is None else {"name": source, "root": str(root)}
        loaded = load_dataset(content, pairs_of(options))
    for line in write_dataset(loaded, to):
        print_message(line)
    n_images, n_boxes = len(loaded), len(loaded.boxes)
    print_message(f"Written: {to}, {n_images} images, {n_boxes} boxes")
