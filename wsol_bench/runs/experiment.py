"""An experiment: a configuration with everything that it names loaded, and its parts.

Everything that decides a number is here, and nothing about who does the work: a part can be
evaluated anywhere, in any order, any number of times, with the same result.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from wsol_bench.common.files import digest
from wsol_bench.common.progress import step
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes
from wsol_bench.methods.network_free import NetworkFreeMethod
from wsol_bench.metrics.base import Metric
from wsol_bench.models.names import require_device_name
from wsol_bench.protocols.model import AnyProtocol, Protocol
from wsol_bench.runs.code_digests import builder_digest, code_digest, output_digest
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.evaluator import Evaluator, MethodPass
from wsol_bench.runs.experiment_config import ExperimentConfig, ModelConfig
from wsol_bench.runs.facts import (
    DatasetFacts,
    MethodFacts,
    MetricFacts,
    ModelFacts,
    NetworkFreeFacts,
    PassSettings,
)
from wsol_bench.runs.ground_truth_check import require_ground_truth
from wsol_bench.runs.identity import NO_MODEL, Identity
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.network_free_pass import NetworkFreePass
from wsol_bench.runs.pass_settings import WITHOUT_NETWORK, described, settings_of
from wsol_bench.runs.published import require_numbers
from wsol_bench.runs.schema import Tables
from wsol_bench.runs.scorer import Scorer
from wsol_bench.runs.selection import SelectionRun, selection_digest, selection_run
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.measured_columns import MeasuredColumns

if TYPE_CHECKING:
    import torch

    from wsol_bench.methods.base import MapMethod
    from wsol_bench.models.classifiers import Classifier
    from wsol_bench.runs.network_pass import NetworkPass

__all__ = ["Experiment", "Part", "load_model"]


class Part(NamedTuple):
    """The unit of work and of storage of a run.

    Attributes:
        number: the number of the part, which names the files of its tables.
        model: the position of its model in the experiment.
        images: the positions of its images in the data set.
    """

    number: int
    model: int
    images: range


class _Resolved(NamedTuple):
    """The things that a configuration names, as far as they are known without reading data."""

    protocol: AnyProtocol
    metrics: Sequence[Metric]
    measured: MeasuredColumns
    map_methods: "Sequence[MapMethod]"
    network_free: Sequence[NetworkFreeMethod]

    @classmethod
    def of(cls, config: ExperimentConfig) -> "_Resolved":
        """Look the names up; ConfigError if one is unknown or an option does not fit."""
        protocol = config.build_protocol()
        methods = build_methods(config)
        is_measured = config.faithfulness is not None
        columns = {method.name: method.columns for method in methods.map_methods}
        measured = MeasuredColumns.of(columns, faithfulness=is_measured)
        metrics = build_metrics(config.metrics, protocol, faithfulness=is_measured)
        scoring_of(protocol, metrics).require_columns(protocol.name, measured)
        return cls(protocol, metrics, measured, methods.map_methods, methods.network_free)


@dataclass(frozen=True, eq=False)
class Experiment:
    """A configuration with everything that it names.

    Attributes:
        config: the configuration.
        protocol: every choice between image and number.
        metrics: the metrics to report in addition to the protocol's own numbers.
        measured: the columns that the network pass fills.
        map_methods: the methods that need a model.
        network_free: the methods that need no network.
        dataset: the images, up to the configuration's limit.
        maps_or_boxes: the maps or boxes of each network-free method, by the method's name.
        selection_run: the run that thresholds are selected on; None if there is none.
        cores: the number of CPU cores for an evaluation; None for all that the process may use.
        settings: the settings of each model's passes on this machine, by the model's name; what
            ``auto`` has chosen before is chosen again.
    """

    config: ExperimentConfig
    protocol: AnyProtocol
    metrics: Sequence[Metric]
    measured: MeasuredColumns
    map_methods: Sequence["MapMethod"]
    network_free: Sequence[NetworkFreeMethod]
    dataset: Dataset
    maps_or_boxes: Mapping[str, MapsOrBoxes]
    selection_run: SelectionRun | None = None
    cores: int | None = None
    settings: dict[str, PassSettings] = field(default_factory=dict)
    _loaded: dict[int, "Classifier"] = field(default_factory=dict, repr=False)

    @classmethod
    def resolve(cls, config: ExperimentConfig, dataset: Dataset | None = None) -> "Experiment":
        """Look up every name, load the data set and open the network-free methods.

        Args:
            config: the configuration.
            dataset: its whole data set, if that is loaded already.

        Raises:
            ConfigError: a name is unknown, or an option does not fit.
            DatasetError: the experiment has models, but the data set has no image files; or the
                data set has no ground truth of the kind that the protocol scores.
        """
        step("loading methods and metrics")
        resolved = _Resolved.of(config)  # first, since it takes the least time to fail
        protocol = resolved.protocol
        require_numbers(config.published, scoring_of(protocol, resolved.metrics))
        if dataset is None:
            step(f"loading the data set {config.dataset.name}")
            dataset = config.dataset.load()
        if config.models:
            dataset.require_pixels()
        only_localized = not config.models or not protocol.has_classification
        require_ground_truth(dataset, protocol, only_localized=only_localized)
        # A file of boxes is checked against all images, so it is read before the limit.
        opened = {method.name: method.open(dataset) for method in resolved.network_free}
        if config.limit is not None:
            dataset = dataset.take(range(min(config.limit, len(dataset))))
        run = selection_run(protocol)
        if protocol.selection is not None and run is None:
            held_out = protocol.selection.splits(dataset.images["image_id"].tolist())
            dataset = replace(dataset, images=dataset.images.assign(held_out=held_out))
        return cls(config, *resolved, dataset=dataset, maps_or_boxes=opened, selection_run=run)

    @classmethod
    def on_worker(
        cls,
        config: ExperimentConfig,
        dataset: Dataset,
        maps_or_boxes: Mapping[str, MapsOrBoxes],
        cores: int,
    ) -> "Experiment":
        """The experiment on another machine, with the data that the driver has loaded."""
        resolved = _Resolved.of(config)
        return cls(config, *resolved, dataset=dataset, maps_or_boxes=maps_or_boxes, cores=cores)

    @property
    def scoring(self) -> Scoring:
        """The scoring of maps and boxes."""
        return scoring_of(self.protocol, self.metrics)

    @property
    def n_models(self) -> int:
        """The number of models; an experiment without any counts as one."""
        return max(1, len(self.config.models))

    def parts(self) -> list[Part]:
        """All parts, model by model, numbered from 0."""
        size, n_images = self.config.images_per_part, len(self.dataset)
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
        """Evaluate parts; yield each with its tables, in order.

        The device holds one model at a time.

        Raises:
            WsolBenchError: see ``Evaluator.evaluate``.
        """
        for model, model_parts in groupby(parts, lambda part: part.model):
            chosen = list(model_parts)
            evaluator = self._evaluator(model)
            tables = evaluator.evaluate(self.dataset, [part.images for part in chosen], advance)
            yield from zip(chosen, tables, strict=True)

    def identity(self) -> Identity:
        """Everything that decides the numbers: two runs with one identity have the same rows.

        Each model is loaded once to compute its facts, one model at a time.

        Raises:
            ConfigError: thresholds are to be selected on a run of other networks or methods.
        """
        # The first model is the last to be loaded, and the first to be needed.
        models = {
            name: facts for name, facts in map(self._model_facts, reversed(range(self.n_models)))
        }
        identity = Identity(
            config=self.config.deciding(),
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
                # The paper of another library's method is the library's version.
                method.name: MethodFacts(
                    source=code_digest(method.function),
                    paper=method.paper,
                    scope=method.scope,
                    columns=method.columns,
                    sanity=method.sanity or "",
                )
                for method in self.map_methods
            },
            sources={
                method.name: NetworkFreeFacts(
                    source=code_digest(method.opener),
                    gives=method.gives,
                    fingerprint=self.maps_or_boxes[method.name].fingerprint,
                    baseline=method.baseline,
                )
                for method in self.network_free
            },
            metrics={
                metric.name: MetricFacts.of(metric, code_digest(metric.function))
                for metric in self.metrics
            },
            selected_on=selection_digest(self.protocol, self.selection_run),
            environment=Environment.here(),
            n_parts=len(self.parts()),
        )
        if self.selection_run is not None:
            self.selection_run.require_same(identity)
        return identity

    def device(self) -> "torch.device":
        """The configuration's device; see ``device_named``."""
        return device_named(self.config.device)

    def _evaluator(self, model: int) -> Evaluator:
        config = self.config
        method_pass: MethodPass = NetworkFreePass(self.maps_or_boxes, self.protocol)
        batch_size = WITHOUT_NETWORK if config.batch_size == "auto" else config.batch_size
        if config.models:
            method_pass = network_pass = self._network_pass(self.classifier(model))
            batch_size = network_pass.settings.batch_size
        scorer = Scorer(
            method_pass.name,
            self.protocol,
            self.scoring,
            self.measured,
            strict=config.strict,
        )
        return Evaluator(method_pass, scorer, batch_size)

    def _network_pass(self, classifier: "Classifier") -> "NetworkPass":
        import torch

        from wsol_bench.models.randomized import randomized
        from wsol_bench.runs.network_pass import NetworkPass

        config, device = self.config, self.device()
        needs_permuted = any(method.is_randomized for method in self.map_methods)
        with torch.inference_mode(False):  # tensors of a caller's inference mode have no gradients
            module = classifier.module.to(device)
            settings = settings_of(
                config, replace(classifier, module=module), self.map_methods, self.protocol.input,
                device, cores=self.cores, before=self.settings.get(classifier.name),
            )  # fmt: skip
            self.settings[classifier.name] = settings
            if settings.channels_last:
                module = module.to(memory_format=torch.channels_last)
            permuted = randomized(module) if needs_permuted else None
        step(described(classifier.name, settings, device, config.precision))

        def halved(at_once: int) -> None:
            self.settings[classifier.name] = settings.model_copy(update={"at_once": at_once})

        return NetworkPass(
            classifier=replace(classifier, module=module),
            methods=self.map_methods,
            randomized=permuted,
            network_free=dict(self.maps_or_boxes),
            protocol=self.protocol,
            faithfulness_steps=config.faithfulness,
            settings=settings,
            device=device,
            precision=config.precision,
            halved=halved if config.batch_size == "auto" else None,
            kept_maps=config.maps,
        )

    def _model_facts(self, index: int) -> tuple[str, ModelFacts]:
        if not self.config.models:
            return NO_MODEL, ModelFacts(layers=())
        step(f"loading the network {self.config.models[index].shown_name}")
        classifier = self.classifier(index)
        return classifier.name, ModelFacts(
            layers=tuple(target.layer for target in classifier.targets),
            weights=classifier.fingerprint,
            n_classes=len(classifier.classes),
            classes=digest("\n".join(classifier.classes).encode()),
            mean=tuple(classifier.mean),
            std=tuple(classifier.std),
            source=builder_digest(self.config.models[index].name, classifier.module),
            output=output_digest(self.config.models[index].output),
            findings=classifier.findings,
        )

    def classifier(self, index: int) -> "Classifier":
        """A classifier of the experiment by its position; only the last one stays in memory."""
        if index not in self._loaded:
            self._loaded.clear()
            classifier = load_model(
                self.config.models[index], self.dataset, self.protocol, self.map_methods
            )
            if self.config.compile:
                import torch

                from wsol_bench.capture import compile_up_to

                size = self.protocol.input.size
                black = torch.zeros(1, classifier.n_channels, size, size)
                compile_up_to(classifier.module, classifier.targets, black)
            self._loaded[index] = classifier
        return self._loaded[index]


def device_named(name: str) -> "torch.device":
    """A device by its name; ``auto`` is the first GPU, or the CPU if there is none.

    Raises:
        ConfigError: there is no such device.
    """
    require_device_name(name, "device")
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"device {name!r} cannot be used: {reason}; choose another device, such as cpu"
        ) from error
    return device


def load_model(
    model: ModelConfig, dataset: Dataset, protocol: Protocol, methods: "Sequence[MapMethod]"
) -> "Classifier":
    """Load the classifier of a configuration for some map methods; see ``load_classifier``."""
    from wsol_bench.models.classifiers import load_classifier, require_sizes

    classifier = load_classifier(
        **model.model_dump(),
        dataset_classes=dict(zip(dataset.classes["wnid"], dataset.classes["words"], strict=True)),
        input_size=protocol.input.size,
        needs_layer=any(method.scope == "layer" for method in methods),
    )
    require_sizes(
        classifier.module, model.name, protocol.input.further_sides, classifier.n_channels
    )
    return classifier
