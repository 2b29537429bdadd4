"""The configuration of an experiment: data set x models x methods x protocol, read from YAML.

``runs.experiment`` loads what a configuration names. Nothing here needs torch or pandas, so that a
wrong key or name is told within a second.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    ValidationError,
    model_validator,
)

from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE
from wsol_bench.common.configuration import Configuration
from wsol_bench.common.files import existing
from wsol_bench.common.plugin_errors import blamed
from wsol_bench.common.plugin_options import bind_options
from wsol_bench.common.validation_errors import AUTO, NOT_AUTO, explain
from wsol_bench.common.vocabulary import (
    CHANNELS,
    Classes,
    KeptMaps,
    Layout,
    Precision,
    Probabilities,
    Sanity,
    TokenGrid,
)
from wsol_bench.common.yaml_files import read_yaml
from wsol_bench.errors import ConfigError, PluginError
from wsol_bench.models.names import require_device_name, require_model_name
from wsol_bench.papers.published import Published
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import AnyProtocol
from wsol_bench.runs.overrides import expand_variables, with_override

if TYPE_CHECKING:
    from wsol_bench.datasets import Dataset

__all__ = [
    "DatasetConfig",
    "ExperimentConfig",
    "MethodConfig",
    "MetricConfig",
    "ModelConfig",
    "ProtocolConfig",
    "load_config",
    "load_dataset",
]

# These keys decide where and how fast the work is done, and what follows from unreadable images;
# they change no number.
_NEUTRAL = {"workers", "strict", "max_failed", "published"}

# The least number of images in a part, unless the experiment sets ``part_size``.
_PART_SIZE = 128


def _require_channels(value: object) -> object:
    """The value; ValueError if it is a list of another length than images have channels."""
    if isinstance(value, list | tuple) and len(value) not in CHANNELS:
        raise ValueError("expected 1 number (gray), 3 (RGB) or 4 (RGB and alpha)")
    return value


_CHANNELS = BeforeValidator(_require_channels)
# The standard deviation of a channel, by which its values are divided.
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _or_name(model: type[BaseModel]) -> BeforeValidator:
    """The validator that reads a bare name as a mapping that holds only the name."""
    return BeforeValidator(
        lambda value: {"name": value} if isinstance(value, str) else value,
        json_schema_input_type=model | str,
    )


def _or_auto(value: object) -> str:
    """The branch of a value that may be ``auto``."""
    return AUTO if value == "auto" else NOT_AUTO


_Auto = Annotated[Literal["auto"], Tag(AUTO)]
_BatchSize = Annotated[Annotated[int, Field(ge=1), Tag(NOT_AUTO)] | _Auto, Discriminator(_or_auto)]
_Workers = Annotated[
    Annotated[int, Field(ge=0, le=1024), Tag(NOT_AUTO)] | _Auto, Discriminator(_or_auto)
]
_Flag = Annotated[Annotated[bool, Tag(NOT_AUTO)] | _Auto, Discriminator(_or_auto)]


def _require_place(value: object) -> object:
    """The value; ValueError unless it says where the scores are in what a network returns."""
    is_index = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or is_index or (isinstance(value, str) and value):
        return value
    raise ValueError(
        "expected an index (0), a key or an attribute (logits), a path of these ('0.logits', in "
        "quotes), or the import path of a function (my_module:scores)"
    )


class _Options(Configuration):
    """A name with options; the options are checked when the named thing is built."""

    model_config = ConfigDict(extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.model_extra or {})


class DatasetConfig(_Options):
    """A data set: ``name``, and the options of its loader (``wsol-bench list datasets``)."""

    def require_root(self) -> None:
        """Raise DatasetError if the option ``root`` names no folder; nothing is imported."""
        if isinstance(root := self.options.get("root"), str):
            existing(Path(root), "dataset.root")

    def load(self) -> "Dataset":
        """The loaded data set; ConfigError, DatasetError or PluginError if it cannot be loaded."""
        from wsol_bench.datasets import Dataset, datasets

        loader = datasets.get(self.name)
        options = bind_options(loader.load, self.options, "dataset")
        with blamed(f"data set {self.name!r}", loader.load):
            loaded: Any = loader.load(**options)
        if not isinstance(loaded, Dataset):
            raise PluginError(
                f"data set {self.name!r}: expected that its loader returns a Dataset, found "
                f"{type(loaded).__name__}"
            )
        return loaded


class MethodConfig(_Options):
    """A method: ``name``, its options, and how it takes part in the experiment.

    Attributes:
        label: the method's name in the results.
        classes: the classes whose maps are made, instead of the method's default: ``all`` for the
            predictions and the image's label, ``label`` for the label alone, whose map decides
            every localization score.
        sanity: a variant that should localize badly: ``class_swapped`` or ``randomized_weights``
            (see ``MapMethod``).
        seeds: the number of times that the method takes part, with the option ``seed`` set to 0,
            1, and so on; at most 1000.
    """

    label: str | None = None
    classes: Classes | None = None
    sanity: Sanity | None = None
    seeds: Annotated[int, Field(ge=1, le=1000)] | None = None


class MetricConfig(_Options):
    """A metric: ``name``, and its options (``wsol-bench list metrics``)."""


class ProtocolConfig(_Options):
    """A protocol: ``name`` (or the path of a file), and the fields to change."""

    def build(self) -> AnyProtocol:
        """The protocol; ConfigError if it is unknown or a field does not fit."""
        return load_protocol(self.name, self.options)


class ModelConfig(Configuration):
    """A classifier; its fields are the options of ``models.classifiers.load_classifier``."""

    name: str
    weights: str = "DEFAULT"
    key: str | None = None
    classes: Path | None = None
    layer: str | None = None
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    layout: Layout | None = None
    token_grid: TokenGrid | None = None
    head: str | None = None
    mean: Annotated[tuple[FiniteFloat, ...], _CHANNELS] | None = None
    std: Annotated[tuple[_Deviation, ...], _CHANNELS] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    output: Annotated[
        Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)] | None,
        BeforeValidator(_require_place),
    ] = None
    probabilities: Probabilities | None = None

    @model_validator(mode="after")
    def _one_layer_key(self) -> "ModelConfig":
        if self.layer is not None and self.layers is not None:
            raise ValueError("'layer' and 'layers' both name target layers; give only one of them")
        return self

    @property
    def shown_name(self) -> str:
        """The model's name in the results."""
        return self.label or self.name


class ExperimentConfig(Configuration):
    """An experiment.

    Attributes:
        name: the name of the experiment, and of its folder of runs.
        dataset: the data set to evaluate on.
        models: the classifiers, all evaluated in one run; empty if no method needs a network.
        methods: the map methods, which share one pass through the network, and the network-free
            methods.
        protocol: every choice between image and number.
        published: numbers of a paper that reports show beside those of the run.
        metrics: the metrics to report in addition to the numbers that the protocol defines; by
            default those of the protocol's kind.
        faithfulness: the number of steps of the insertion and deletion curves; n steps cost
            2 n + 2 forward passes for each image and method. None measures no faithfulness.
        maps: the maps that the run keeps, to be seen and to be scored again: ``all``, those of
            each image's ``label``, which decide every localization score, or ``none``.
        limit: the number of images to evaluate, from the first on; None for all.
        batch_size: the number of images in one forward pass; it changes results by float noise
            only. With ``auto`` the machine that evaluates the images decides
            (``runs.pass_settings``), and a run may be continued on another machine.
        part_size: the number of images in a part, which is what an interruption can lose and what
            a worker takes at a time; by default at least 128, in whole batches. Batches do not
            cross parts.
        workers: the number of processes that decode images; 0 decodes in the evaluating process;
            at most 1024; ``auto`` as for ``batch_size``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` is the first GPU, or the CPU if there
            is none.
        precision: the precision of the forward pass and the gradients.
        channels_last: whether the network's memory format is channels last; it changes results by
            float noise only; ``auto`` as for ``batch_size``.
        compile: whether the network is compiled up to the target layer; it changes results by
            float noise only.
        max_failed: the largest share of images, in [0, 1], that may be unreadable or have logits
            that are not finite; a run with a larger share fails at its end.
        strict: whether the first such image stops the run.
    """

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    dataset: Annotated[DatasetConfig, _or_name(DatasetConfig)]
    models: list[Annotated[ModelConfig, _or_name(ModelConfig)]] = Field(default_factory=list)
    methods: Annotated[list[Annotated[MethodConfig, _or_name(MethodConfig)]], Field(min_length=1)]
    protocol: Annotated[ProtocolConfig, _or_name(ProtocolConfig)]
    published: Published | None = None
    metrics: list[Annotated[MetricConfig, _or_name(MetricConfig)]] | None = None
    faithfulness: Annotated[int, Field(ge=1)] | None = None
    maps: KeptMaps = "all"
    limit: Annotated[int, Field(ge=1)] | None = None
    batch_size: _BatchSize = "auto"
    part_size: Annotated[int, Field(ge=1)] | None = None
    workers: _Workers = "auto"
    device: str = "auto"
    precision: Precision = "fp32"
    channels_last: _Flag = "auto"
    compile: bool = False
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.05
    strict: bool = False

    @model_validator(mode="after")
    def _distinct_models(self) -> "ExperimentConfig":
        names = [model.shown_name for model in self.models]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"two models have the name {repeated[0]!r}; give one of them another name with "
                "'label:'"
            )
        return self

    @property
    def images_per_part(self) -> int:
        """The number of images in a part: ``part_size``, or its default.

        It does not depend on a machine, so that shards of several machines fit.
        """
        batch_size = 1 if self.batch_size == "auto" else self.batch_size
        return self.part_size or batch_size * -(-_PART_SIZE // batch_size)

    def deciding(self) -> dict[str, Any]:
        """The keys that decide a run's numbers, as JSON has them: part of its identity."""
        return self.model_dump(mode="json", exclude=_NEUTRAL)

    def build_protocol(self) -> AnyProtocol:
        """The protocol; its name states the precision of the pass unless that is float32.

        Raises:
            ConfigError: the protocol is unknown, one of its fields does not fit, or faithfulness
                has more steps than the input has pixels.
        """
        protocol = self.protocol.build()
        if self.faithfulness is not None and self.faithfulness > protocol.input.size**2:
            raise ConfigError(
                f"faithfulness: expected at most as many steps as the input has pixels "
                f"({protocol.input.size**2}), found {self.faithfulness}"
            )
        if self.precision == "fp32":
            return protocol
        name = f"{protocol.name}+precision={self.precision}"
        return protocol.model_copy(update={"name": name})

    def require_names(self) -> None:
        """Raise an error for an unknown name; nothing that a name stands for is imported.

        Raises:
            ConfigError: there is no such data set, method, metric, protocol or device, or a
                built-in one has no such option.
            ModelError: there is no such model.
        """
        DATASETS.require(self.dataset.name)
        DATASETS.require_options(self.dataset.name, self.dataset.options, "dataset")
        for model in self.models:
            require_model_name(model.name)
        for method in self.methods:
            where = f"methods.{method.name}"
            if method.name in NETWORK_FREE:
                NETWORK_FREE.require_options(method.name, method.options, where)
            else:
                METHODS.require(method.name, also=NETWORK_FREE)
                METHODS.require_options(method.name, method.options, where)
        for metric in self.metrics or ():
            METRICS.require(metric.name)
            METRICS.require_options(metric.name, metric.options, f"metrics.{metric.name}")
        self.build_protocol()
        require_device_name(self.device, "device")


def load_config(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    overrides: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """The configuration of an experiment, from a YAML file or a mapping.

    Variables (``${VAR}``) are replaced where a file or a mapping is read. A configuration that is
    validated already passes as it is.

    Args:
        config: the path of a YAML file, a mapping, or a validated configuration.
        overrides: changes to it, ``key.path=value`` each, with the value in YAML; list positions
            count from 0.
        changes: values of its keys, as they are, which replace those of ``config``.
        variables: variables (``${VAR}``) besides those of the environment.

    Raises:
        ConfigError: the configuration is invalid; the message has a line for each problem, with
            file, key, expected and found.
    """
    if isinstance(config, ExperimentConfig):
        where, content = "config", config.model_dump(warnings=False)
    elif isinstance(config, Mapping):
        where, content = "config", dict(config)
    else:
        where, content = str(config), read_yaml(Path(config), "config")
    for override in overrides:
        content = with_override(content, override)
    if not isinstance(config, ExperimentConfig):
        content = expand_variables(content, where, variables={**os.environ, **(variables or {})})
    try:
        validated = ExperimentConfig.model_validate({**content, **(changes or {})})
    except ValidationError as error:
        raise ConfigError(explain(error, ExperimentConfig, where)) from error
    validated.require_names()
    return validated


def load_dataset(content: Mapping[str, Any], options: Iterable[str] = ()) -> "Dataset":
    """Load a data set without an experiment.

    Args:
        content: the data set's name and options.
        options: changes to them, ``key=value`` each, with the value in YAML.

    Raises:
        ConfigError: the name or an option is invalid.
        DatasetError: the data set cannot be loaded.
    """
    merged = dict(content)
    for option in options:
        merged = with_override(merged, option)
    try:
        return DatasetConfig.model_validate(expand_variables(merged, "dataset")).load()
    except ValidationError as error:
        raise ConfigError(explain(error, DatasetConfig, "dataset")) from error
