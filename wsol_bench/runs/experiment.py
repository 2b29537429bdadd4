"""An experiment made real: what its names mean, loaded once, and its parts.

What decides a number is all here, and nothing of who works on it: every part can be evaluated
anywhere, in any order, any number of times, with the same result.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.files import digest
from wsol_bench.common.options import has_option
from wsol_bench.common.registry import import_object, uniquely_named
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, DatasetError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.methods.network_free import NetworkFreeMethod, network_free_methods
from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.faithfulness import COLUMNS as FAITHFULNESS
from wsol_bench.protocols.model import AnyProtocol, PixelProtocol, Protocol
from wsol_bench.runs.config import ExperimentConfig, MethodConfig, ModelConfig
from wsol_bench.runs.evaluator import Evaluator, Pass
from wsol_bench.runs.manifest import (
    NO_MODEL,
    DatasetFacts,
    Environment,
    Identity,
    MethodFacts,
    MetricFacts,
    ModelFacts,
    NetworkFreeFacts,
)
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.schema import Tables
from wsol_bench.runs.scorer import NetworkFreePass, Scorer
from wsol_bench.runs.selection import Selected, selected_on
from wsol_bench.scoring import Scoring, scoring_of

if TYPE_CHECKING:
    import torch

    from wsol_bench.methods.base import MapMethod
    from wsol_bench.models.classifiers import Classifier

__all__ = [
    "Experiment",
    "Part",
    "build_methods",
    "load_model",
    "selection_digest",
    "source_digest",
]

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
class Experiment:
    """A configuration with all that its names mean.

    Attributes:
        config: the configuration.
        protocol: every choice between map and number.
        metrics: what is reported besides.
        methods: map methods of the models.
        sources: of maps and boxes from elsewhere.
        dataset: cut to the configuration's limit.
        given: what the sources hold, by their names.
        selected: what thresholds are selected on, where that is another run.
    """

    config: ExperimentConfig
    protocol: AnyProtocol
    metrics: Sequence[Metric]
    methods: Sequence["MapMethod"]
    sources: Sequence[NetworkFreeMethod]
    dataset: Dataset
    given: Mapping[str, MapsOrBoxes]
    selected: Selected | None = None
    _loaded: dict[int, "Classifier"] = field(default_factory=dict, repr=False)

    @classmethod
    def resolve(cls, config: ExperimentConfig) -> "Experiment":
        """Look up every name, load the data set and open the sources.

        Raises:
            ConfigError: a name or an option that cannot be meant.
            DatasetError: the data set has no pixels for a model to look at, or no ground truth of
                the kind that the protocol scores.
        """
        known = _known(config)  # the quickest to be wrong come first
        protocol, opened = known["protocol"], known["sources"]
        dataset = config.dataset.load()
        if config.models:
            dataset.require_pixels()
        only_localized = not config.models or not protocol.has_classification
        _require_truth(dataset, protocol, only_localized=only_localized)
        # A file of boxes is read beside the whole of what it is about.
        given = {source.name: source.open(dataset) for source in opened}
        if config.limit is not None:
            dataset = dataset.take(range(min(config.limit, len(dataset))))
        selected = selected_on(protocol)
        if protocol.selection is not None and selected is None:
            held_out = protocol.selection.splits(dataset.images["image_id"].tolist())
            dataset = replace(dataset, images=dataset.images.assign(held_out=held_out))
        return cls(config, dataset=dataset, given=given, selected=selected, **known)

    @classmethod
    def elsewhere(
        cls, config: ExperimentConfig, dataset: Dataset, given: Mapping[str, MapsOrBoxes]
    ) -> "Experiment":
        """The same on another machine, of what has been loaded."""
        return cls(config, dataset=dataset, given=given, **_known(config))

    @property
    def scoring(self) -> Scoring:
        """How maps and boxes are scored."""
        return scoring_of(self.protocol, self.metrics)

    @property
    def n_models(self) -> int:
        """Number of models; maps and boxes from elsewhere alone count as one."""
        return max(1, len(self.config.models))

    def parts(self) -> list[Part]:
        """All parts, model by model, numbered from 0."""
        size, n_images = self.config.images_a_part, len(self.dataset)
        ranges = [
            (model, range(start, min(start + size, n_images)))
            for model in range(self.n_models)
            for start in range(0, n_images, size)
        ]
        return [Part(number, *rest) for number, rest in enumerate(ranges)]

    def evaluate(
        self,
        parts: Sequence[Part],
        advance: Callable[[int], object] = lambda n: None,
    ) -> Iterator[tuple[Part, Tables]]:
        """The tables of each part, in order; one model at a time on the device.

        Raises:
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        for model, of_model in groupby(parts, lambda part: part.model):
            chosen = list(of_model)
            evaluator = self._evaluator(model)
            tables = evaluator.evaluate(self.dataset, [part.images for part in chosen], advance)
            yield from zip(chosen, tables, strict=True)

    def identity(self) -> Identity:
        """All that decides the numbers: two runs of one identity have the same rows.

        Every model is loaded for it once, one at a time.

        Raises:
            ConfigError: thresholds are to be selected on a run of other networks or methods.
        """
        # The first model is the last to be loaded, and the first to be needed.
        models = {
            name: facts for name, facts in map(self._model_facts, reversed(range(self.n_models)))
        }
        identity = Identity(
            config=self.config.model_dump(mode="json", exclude=_NEUTRAL),
            protocol=self.protocol,
            protocol_hash=self.protocol.hash,
            dataset=DatasetFacts(
                name=self.dataset.name,
                n_images=len(self.dataset),
                fingerprint=self.dataset.fingerprint,
                findings=dict(Counter(finding.kind for finding in self.dataset.findings)),
            ),
            models=dict(reversed(models.items())),
            methods={
                # Of another library's method, the paper is its version.
                method.name: MethodFacts(
                    source=source_digest(method.function), paper=method.paper, scope=method.scope
                )
                for method in self.methods
            },
            sources={
                source.name: NetworkFreeFacts(
                    source=source_digest(source.opener),
                    gives=source.gives,
                    fingerprint=self.given[source.name].fingerprint,
                )
                for source in self.sources
            },
            metrics={
                metric.name: MetricFacts.of(metric, source_digest(metric.function))
                for metric in self.metrics
            },
            selected_on=selection_digest(self.protocol, self.selected),
            environment=Environment.here(),
            n_parts=len(self.parts()),
        )
        if self.selected is not None:
            self.selected.require_same(identity)
        return identity

    def device(self) -> "torch.device":
        """The configuration's device; for ``auto`` the first GPU, else the CPU."""
        import torch

        name = self.config.device
        if name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"device {name!r} cannot be used: {reason}") from error
        return device

    def _evaluator(self, model: int) -> Evaluator:
        config = self.config
        source: Pass = NetworkFreePass(self.given, self.protocol)
        if config.models:
            source = self._network_pass(self.classifier(model))
        scorer = Scorer(
            source.name,
            self.protocol,
            self.scoring,
            faithfulness=config.faithfulness is not None,
            strict=config.strict,
        )
        return Evaluator(source, scorer, config.batch_size)

    def _network_pass(self, classifier: "Classifier") -> Pass:
        import torch

        from wsol_bench.models.randomized import randomized
        from wsol_bench.runs.network_pass import NetworkPass

        config, device = self.config, self.device()
        module = classifier.module.to(device)
        if config.channels_last:
            module = module.to(memory_format=torch.channels_last)
        permuted = any(method.is_randomized for method in self.methods)
        return NetworkPass(
            classifier=replace(classifier, module=module),
            methods=self.methods,
            randomized=randomized(module) if permuted else None,
            sources=dict(self.given),
            protocol=self.protocol,
            faithfulness_steps=config.faithfulness,
            batch_size=config.batch_size,
            workers=config.workers,
            device=device,
            precision=config.precision,
            channels_last=config.channels_last,
        )

    def _model_facts(self, index: int) -> tuple[str, ModelFacts]:
        if not self.config.models:
            return NO_MODEL, ModelFacts(layers=())
        classifier = self.classifier(index)
        return classifier.name, ModelFacts(
            layers=tuple(target.layer for target in classifier.targets),
            weights=classifier.fingerprint,
            n_classes=len(classifier.classes),
            classes=digest("\n".join(classifier.classes).encode()),
            mean=tuple(classifier.mean),
            std=tuple(classifier.std),
            source=_source_of_builder(self.config.models[index].name),
        )

    def classifier(self, index: int) -> "Classifier":
        """One of the experiment's classifiers; only the last one stays in memory."""
        if index not in self._loaded:
            self._loaded.clear()
            classifier = load_model(self.config.models[index], self.dataset, self.protocol)
            if self.config.compile:
                import torch

                from wsol_bench.capture import compile_up_to

                size = self.protocol.input.size
                compile_up_to(classifier.module, classifier.targets, torch.zeros(1, 3, size, size))
            self._loaded[index] = classifier
        return self._loaded[index]


def load_model(model: ModelConfig, dataset: Dataset, protocol: Protocol) -> "Classifier":
    """The classifier of a configuration; see ``load_classifier``."""
    from wsol_bench.models.classifiers import load_classifier

    return load_classifier(
        **model.model_dump(),
        dataset_classes=tuple(dataset.classes["wnid"]),
        input_size=protocol.input.size,
    )


def _known(config: ExperimentConfig) -> dict[str, Any]:
    """What the names of a configuration mean; no file of data is read."""
    protocol = config.build_protocol()
    methods, opened = build_methods(config)
    measured = config.faithfulness is not None
    metrics = build_metrics(config.metrics, protocol, faithfulness=measured)
    scoring_of(protocol, metrics).require_columns(protocol.name, FAITHFULNESS if measured else ())
    return {"protocol": protocol, "metrics": metrics, "methods": methods, "sources": opened}


def build_methods(config: ExperimentConfig) -> tuple[list["MapMethod"], list[NetworkFreeMethod]]:
    """The map methods and the sources of a configuration, with their options bound.

    Raises:
        ConfigError: an unknown name, an option that does not fit, two with one name, or a map
            method without a model.
    """
    built = uniquely_named(one for method in config.methods for one in _build(method))
    found = [one for one in built if isinstance(one, NetworkFreeMethod)]
    methods: list[Any] = [one for one in built if not isinstance(one, NetworkFreeMethod)]
    if config.faithfulness is not None and not methods:
        raise ConfigError("faithfulness is that of a model's map methods, and there is none")
    if config.faithfulness is not None and all(one.classes == "label" for one in methods):
        raise ConfigError(
            "faithfulness is that of the first prediction's map, and these methods make maps "
            "of the image's own class alone; ask one for 'classes: all'"
        )
    if methods and not config.models:
        raise ConfigError(
            f"map method {methods[0].name!r} needs a model; name one under 'models' (without "
            f"any, methods are {', '.join(network_free_methods)})"
        )
    return methods, found


def _build(named: MethodConfig) -> list[Any]:
    """A method or source, once a seed."""
    if named.seeds is None:
        return [_with_options(named, named.options, "")]
    where = f"methods.{named.name}"
    if "seed" in named.options:
        raise ConfigError(f"{where}: give 'seed' or 'seeds', not both")
    found = _find(named.name)
    if not has_option(
        found.opener if isinstance(found, NetworkFreeMethod) else found.function, "seed"
    ):
        raise ConfigError(f"{where}.seeds: the method draws no random numbers")
    return [
        _with_options(named, {**named.options, "seed": seed}, f"+seed={seed}")
        for seed in range(named.seeds)
    ]


def _with_options(named: MethodConfig, options: dict[str, Any], suffix: str) -> Any:
    where = f"methods.{named.name}"
    method = _find(named.name).with_options(options, where)
    if named.label is not None:
        method = replace(method, name=named.label + suffix)
    if isinstance(method, NetworkFreeMethod):
        if named.classes or named.sanity:
            raise ConfigError(f"{where}: 'classes' and 'sanity' are of methods that need a model")
        return method
    if named.classes is not None:
        method = replace(method, classes=named.classes)
    if named.sanity is not None:
        method = replace(method, name=f"{named.sanity}({method.name})", sanity=named.sanity)
    return method


def _find(name: str) -> Any:
    """The map method or the source of a name; torch is imported for a map method alone."""
    if name in NETWORK_FREE:
        return network_free_methods.get(name)
    if ":" in name:
        found = import_object(name, "map method")
        if isinstance(found, NetworkFreeMethod):
            return found
    from wsol_bench.methods.base import cam_methods

    return cam_methods.get(name)


def _require_truth(dataset: Dataset, protocol: Protocol, *, only_localized: bool) -> None:
    """Raise DatasetError where there is nothing to score by.

    Args:
        dataset: whole.
        protocol: what it is to be scored by.
        only_localized: whether there is no classification error, either.
    """
    if isinstance(protocol, PixelProtocol):
        if not dataset.masks:
            raise DatasetError(
                f"{protocol.name} scores pixels, but {dataset.name} has no masks; choose a "
                "protocol of boxes, or a data set such as openimages"
            )
    elif not len(dataset.boxes) and (dataset.masks or only_localized):
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
    return source_digest(import_object(name, "model builder")) if ":" in name else None


def source_digest(function: Any) -> str:
    """Digest of the file that a function is defined in: a changed method is another method."""
    while isinstance(function, partial):
        function = function.func
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):  # made in a notebook or by a C extension
        return "unknown"
    return digest(content)


def selection_digest(protocol: Protocol, selected: Selected | None) -> str | None:
    """What the images or the run are that a threshold is selected on: a name does not tell."""
    if selected is not None:
        return selected.digest
    if protocol.selection is None or not protocol.selection.listed:
        return None
    return digest("\n".join(sorted(protocol.selection.listed)).encode())
