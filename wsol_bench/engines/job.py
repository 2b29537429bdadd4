"""What is to be done: an experiment as parts, each a shard of the data set through one model."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch

from wsol_bench.capture import compile_up_to
from wsol_bench.config import ExperimentConfig
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, DatasetError
from wsol_bench.evaluate import NO_MODEL, Evaluator, Tables
from wsol_bench.files import digest
from wsol_bench.models.classifiers import Classifier
from wsol_bench.models.randomized import randomized
from wsol_bench.protocols import Protocol
from wsol_bench.registry import import_object
from wsol_bench.sources import Given
from wsol_bench.store import environment

__all__ = ["Job", "Part", "selection_digest"]

# These decide where and how fast, and what becomes of bad images; they move no number.
_NEUTRAL = {"workers", "strict", "max_failed"}


class Part(NamedTuple):
    """A unit of work and of storage.

    Attributes:
        number: names the files of its tables.
        model: position in the experiment.
        images: positions in the data set.
    """

    number: int
    model: int
    images: range


@dataclass(frozen=True, eq=False)
class Job:
    """An experiment on a loaded data set.

    What decides a number is all here, and nothing of who works on it: every part can be evaluated
    anywhere, in any order, any number of times, with the same result.

    Attributes:
        experiment: the configuration.
        dataset: cut to the experiment's limit.
        sources: maps and boxes from elsewhere, by name.
    """

    experiment: ExperimentConfig
    dataset: Dataset
    sources: Mapping[str, Given] = field(default_factory=dict)
    _loaded: dict[int, Classifier] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, experiment: ExperimentConfig) -> "Job":
        """Load the data set and open the sources.

        Raises:
            DatasetError: it has no pixels for a model to look at, or no ground truth of the kind
                that the protocol scores.
        """
        dataset = experiment.dataset.load()
        if experiment.models:
            dataset.require_pixels()
        protocol = experiment.build_protocol()
        only_localized = not experiment.models or protocol.sweep is not None
        _require_truth(dataset, protocol, only_localized=only_localized)
        # A file of boxes is read beside the whole of what it is about.
        opened = {source.name: source.open(dataset) for source in experiment.build_sources()}
        if experiment.limit is not None:
            dataset = dataset.take(range(min(experiment.limit, len(dataset))))
        if sweep := protocol.sweep:
            held_out = sweep.splits(dataset.images["image_id"].tolist())
            dataset = replace(dataset, images=dataset.images.assign(held_out=held_out))
        return cls(experiment, dataset, opened)

    @property
    def n_models(self) -> int:
        """Number of models; maps and boxes from elsewhere alone count as one."""
        return max(1, len(self.experiment.models))

    def parts(self) -> list[Part]:
        """All parts, model by model, numbered from 0."""
        size, n_images = self.experiment.images_a_part, len(self.dataset)
        ranges = [
            (model, range(start, min(start + size, n_images)))
            for model in range(self.n_models)
            for start in range(0, n_images, size)
        ]
        return [Part(number, *rest) for number, rest in enumerate(ranges)]

    def evaluate(
        self,
        parts: Sequence[Part],
        device: torch.device,
        advance: Callable[[int], object] = lambda n: None,
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, in order; one model at a time on the device.

        Raises:
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        for model, of_model in groupby(parts, lambda part: part.model):
            chosen = list(of_model)
            evaluator = self._evaluator(model, device)
            tables = evaluator.evaluate(self.dataset, [part.images for part in chosen], advance)
            yield from zip(chosen, tables, strict=True)

    def identity(self) -> dict[str, Any]:
        """All that decides the numbers: two runs of one identity have the same rows.

        Every model is loaded for it once, one at a time.
        """
        experiment, protocol = self.experiment, self.experiment.build_protocol()
        models: dict[str, dict[str, Any]] = {}
        # The first model is the last to be loaded, and the first to be needed.
        for index in reversed(range(self.n_models)):
            classifier = self._classifier(index)
            if classifier is None:
                models[NO_MODEL] = {"layers": []}
                continue
            models[classifier.name] = {
                "weights": classifier.fingerprint,
                "layers": [target.layer for target in classifier.targets],
                "n_classes": len(classifier.classes),
                "classes": digest("\n".join(classifier.classes).encode()),
                "mean": classifier.mean,
                "std": classifier.std,
                "source": _source_of_builder(experiment.models[index].name),
            }
        return {
            "config": experiment.model_dump(mode="json", exclude=_NEUTRAL),
            "protocol": {**protocol.model_dump(mode="json"), "hash": protocol.hash},
            "dataset": {
                "name": self.dataset.name,
                "n_images": len(self.dataset),
                "fingerprint": self.dataset.fingerprint,
                "findings": dict(Counter(finding.kind for finding in self.dataset.findings)),
            },
            "models": dict(reversed(models.items())),
            "methods": {
                method.name: {
                    "source": _source(method.function),
                    "paper": method.paper,  # of another library's method, its version
                    "scope": method.scope,
                }
                for method in experiment.build_methods()
            },
            "sources": {
                one.name: [_source(one.opener), self.sources[one.name].fingerprint]
                for one in experiment.build_sources()
            },
            "selected_on": selection_digest(protocol),
            **environment(),
        }

    def _evaluator(self, model: int, device: torch.device) -> Evaluator:
        experiment = self.experiment
        classifier = self._classifier(model)
        if classifier is not None:
            module = classifier.module.to(device)
            if experiment.channels_last:
                module = module.to(memory_format=torch.channels_last)
            classifier = replace(classifier, module=module)
        methods = experiment.build_methods()
        without = None
        if classifier is not None and any(method.is_of_randomized for method in methods):
            without = randomized(classifier.module)
        return Evaluator(
            classifier=classifier,
            methods=methods,
            randomized=without,
            sources=self.sources,
            protocol=experiment.build_protocol(),
            faithfulness_steps=experiment.faithfulness,
            batch_size=experiment.batch_size,
            workers=experiment.workers,
            device=device,
            precision=experiment.precision,
            channels_last=experiment.channels_last,
            strict=experiment.strict,
        )

    def _classifier(self, index: int) -> Classifier | None:
        """One of the experiment's, where it has any; only the last one stays in memory."""
        if not self.experiment.models:
            return None
        if index not in self._loaded:
            self._loaded.clear()
            experiment = self.experiment
            size = experiment.build_protocol().input.size
            classifier = experiment.models[index].load(
                dataset_classes=self.dataset.classes["wnid"], input_size=size
            )
            if experiment.compile:
                compile_up_to(classifier.module, classifier.targets, torch.zeros(1, 3, size, size))
            self._loaded[index] = classifier
        return self._loaded[index]

    def device(self) -> torch.device:
        """The experiment's device; for ``auto`` the first GPU, else the CPU."""
        name = self.experiment.device
        if name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"device {name!r} cannot be used: {reason}") from error
        return device


def selection_digest(protocol: Protocol) -> str | None:
    """What is in the file of images that a threshold is selected on: its name does not tell."""
    if protocol.sweep is None or not isinstance(protocol.sweep.select_on, str):
        return None
    return digest("\n".join(sorted(protocol.sweep.listed)).encode())


def _require_truth(dataset: Dataset, protocol: Protocol, *, only_localized: bool) -> None:
    """Raise DatasetError where there is nothing to score by.

    Args:
        dataset: whole.
        protocol: what it is to be scored by.
        only_localized: whether there is no classification error, either.
    """
    if protocol.pixels and not dataset.masks:
        raise DatasetError(
            f"{protocol.name} scores pixels, but {dataset.name} has no masks; choose a protocol of "
            "boxes, or a data set such as openimages"
        )
    if protocol.box and not len(dataset.boxes) and (dataset.masks or only_localized):
        found, advice = "no boxes", "give the data set its annotations"
        if dataset.masks:
            found, advice = "masks", "choose a protocol of pixels, such as choe-2020-pxap"
        raise DatasetError(
            f"{protocol.name} scores boxes, but {dataset.name} has {found}; {advice}"
        )


def _source_of_builder(name: str) -> str | None:
    """Where a network's code is not of torchvision: digest of its file, or timm's version."""
    if name.startswith("timm/"):
        return f"timm {version('timm')}"
    return _source(import_object(name, "model builder")) if ":" in name else None


def _source(function: Any) -> str:
    """Digest of the file that a function is defined in: a changed method is another method."""
    while isinstance(function, partial):
        function = function.func
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):  # made in a notebook or by a C extension
        return "unknown"
    return digest(content)
