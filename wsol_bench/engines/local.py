"""The engine of one machine: models x shards, one after the other."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from wsol_bench.config import ExperimentConfig, load_config
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, DatasetError
from wsol_bench.evaluate import Evaluator, Tables
from wsol_bench.metrics.localization import GROUP, summarize
from wsol_bench.models.classifiers import Classifier
from wsol_bench.progress import progress
from wsol_bench.protocols import Protocol
from wsol_bench.report.tables import markdown
from wsol_bench.store import RunFolder, environment

__all__ = ["Results", "default_run_folder", "run"]

SHARD_SIZE = 512


@dataclass(frozen=True, eq=False)
class Results:
    """A finished run.

    Attributes:
        summary: one line a model x method x layer; fractions in [0, 1].
        rows: one line an image x method x layer x class slot.
        images: one line an image x model.
        folder: where it was written; None where nothing was.
        kept_maps: the maps of a run that was not written.
    """

    summary: pd.DataFrame
    rows: pd.DataFrame = field(repr=False)
    images: pd.DataFrame = field(repr=False)
    folder: RunFolder | None
    kept_maps: pd.DataFrame = field(repr=False)

    @property
    def maps(self) -> pd.DataFrame:
        """The localization maps, as stored; read from the folder where there is one."""
        return self.kept_maps if self.folder is None else self.folder.read("maps")


def run(
    config: Path | str | Mapping[str, Any] | ExperimentConfig, *, out: Path | str | None = None
) -> Results:
    """Carry out an experiment.

    Args:
        config: path of a YAML file, a mapping, or an ``ExperimentConfig``.
        out: folder to write the run into, part by part; nothing is written without one.

    Raises:
        WsolBenchError: whatever is wrong with the configuration, data set or models; it is found
            before the first image is evaluated where it can be.
    """
    experiment = load_config(config)
    protocol = experiment.build_protocol()
    methods = experiment.build_methods()
    device = _device(experiment.device)
    dataset = experiment.dataset.load()
    dataset.require_pixels()
    if experiment.limit is not None:
        dataset = dataset.take(range(min(experiment.limit, len(dataset))))
    classifiers = [
        model.load(dataset_classes=dataset.classes["wnid"], input_size=protocol.input.size)
        for model in experiment.models
    ]
    folder = None
    if out is not None:
        manifest = _manifest(experiment, protocol, dataset, classifiers, device)
        content = experiment.model_dump(mode="json")
        folder = RunFolder.create(Path(out), content, manifest, dataset.classes)
    parts: list[Tables] = []
    n_all = len(dataset) * len(classifiers)
    with progress("evaluating", n_all, "images") as advance:
        for classifier in classifiers:
            evaluator = Evaluator(
                classifier=replace(classifier, module=classifier.module.to(device)),
                methods=methods,
                protocol=protocol,
                batch_size=experiment.batch_size,
                workers=experiment.workers,
                device=device,
                precision=experiment.precision,
            )
            for shard in _shards(dataset):
                tables = evaluator.evaluate(shard, advance)
                if folder is not None:
                    folder.write_part(len(parts), tables)
                    tables = tables._replace(maps=pd.DataFrame())  # they lie in the folder now
                parts.append(tables)
            classifier.module.cpu()  # one model at a time on the device
    images, rows, maps = (_joined(parts, name) for name in Tables._fields)
    if rows.empty:
        counts = ", ".join(f"{n} {status}" for status, n in images["status"].value_counts().items())
        reason = images["reason"].iloc[0]
        raise DatasetError(f"no image could be evaluated ({counts}); the first: {reason}")
    groups = pd.DataFrame(
        [
            (classifier.name, method.name, classifier.target.layer, protocol.name, protocol.hash)
            for classifier in classifiers
            for method in methods
        ],
        columns=GROUP,
    )
    summary = summarize(rows, images, iou=protocol.scoring.iou, groups=groups)
    if folder is not None:
        folder.finish(summary, {"summary.md": markdown(summary)})
    return Results(summary, rows, images, folder, maps)


def default_run_folder(experiment: ExperimentConfig) -> Path:
    """``results/<experiment>/<date and time>``."""
    return Path("results") / experiment.name / datetime.now().strftime("%Y%m%d-%H%M%S")


def _shards(dataset: Dataset) -> Iterator[Dataset]:
    for start in range(0, len(dataset), SHARD_SIZE):
        yield dataset.take(range(start, min(start + SHARD_SIZE, len(dataset))))


def _joined(parts: Sequence[Tables], name: str) -> pd.DataFrame:
    tables = [table for part in parts if len(table := getattr(part, name))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _device(name: str) -> torch.device:
    """The device of that name, or the best there is for ``auto``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device {name!r} cannot be used: {reason}") from error
    return device


def _manifest(
    experiment: ExperimentConfig,
    protocol: Protocol,
    dataset: Dataset,
    classifiers: Sequence[Classifier],
    device: torch.device,
) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "protocol": {**protocol.model_dump(mode="json"), "hash": protocol.hash},
        "dataset": {
            "name": dataset.name,
            "n_images": len(dataset),
            "fingerprint": dataset.fingerprint,
            "findings": dict(Counter(finding.kind for finding in dataset.findings)),
        },
        "models": {
            classifier.name: {
                "weights": classifier.fingerprint,
                "layer": classifier.target.layer,
                "n_classes": len(classifier.classes),
                "classes_from": classifier.classes_from,
                "mean": classifier.mean,
                "std": classifier.std,
            }
            for classifier in classifiers
        },
        "precision": experiment.precision,
        "limit": experiment.limit,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "tf32_convolutions": torch.backends.cudnn.allow_tf32 if device.type == "cuda" else False,
        **environment(),
    }
