"""An experiment: data set x models x methods x protocol, as a validated YAML file.

A configuration says what is meant; ``runs.experiment`` makes it real. Nothing here needs torch.
"""

import os
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE
from wsol_bench.common.options import bind_options
from wsol_bench.common.validation_errors import explain
from wsol_bench.common.vocabulary import Classes, Layout, Precision, Sanity
from wsol_bench.common.yaml_files import parse_yaml, read_yaml
from wsol_bench.datasets import Dataset, datasets
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import AnyProtocol

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


_PART_SIZE = 128

# No experiment is nested so deep; a YAML alias may lead back into itself.
_DEEPEST = 50


def _name_or(model: type[BaseModel]) -> BeforeValidator:
    """A bare name stands for a mapping that holds only the name."""
    return BeforeValidator(
        lambda value: {"name": value} if isinstance(value, str) else value,
        json_schema_input_type=model | str,
    )


class _Options(BaseModel):
    """A name and the options of whatever bears it, checked when that is built."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class DatasetConfig(_Options):
    """A data set: ``name`` and the loader's options; ``wsol-bench list datasets`` lists them."""

    def load(self) -> Dataset:
        """The data set; ConfigError or DatasetError where it cannot be had."""
        loader = datasets.get(self.name)
        return loader(**bind_options(loader.load, self.options, "dataset"))


class MethodConfig(_Options):
    """A map method or a source: ``name``, its options, and how it takes part.

    Attributes:
        label: its name in the results.
        classes: whose maps are made, instead of what the method says: of ``all`` predictions and
            the image's own class, or of the own class (``label``), which decides every score.
        sanity: maps that should localize badly: ``class_swapped`` or ``randomized_weights``
            (``MapMethod``).
        seeds: make it so many times, with the option ``seed`` from 0 on.
    """

    label: str | None = None
    classes: Classes | None = None
    sanity: Sanity | None = None
    seeds: Annotated[int, Field(ge=1)] | None = None


class MetricConfig(_Options):
    """A metric: ``name`` and its options; ``wsol-bench list metrics`` lists them."""


class ProtocolConfig(_Options):
    """A protocol: ``name`` (or the path of a file) and the fields to change."""

    def build(self) -> AnyProtocol:
        """The protocol; ConfigError where it is unknown or a field does not fit."""
        return load_protocol(self.name, self.options)


class ModelConfig(BaseModel):
    """A classifier; the fields are those of ``wsol_bench.models.classifiers.load_classifier``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights: str = "DEFAULT"
    classes: Path | None = None
    layer: str | None = None
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    layout: Layout | None = None
    head: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "ModelConfig":
        if self.layer is not None and self.layers is not None:
            raise ValueError("'layer' and 'layers' both name target layers; give one of them")
        return self

    @property
    def key(self) -> str:
        """How the results name the model."""
        return self.label or self.name


class ExperimentConfig(BaseModel):
    """An experiment.

    Attributes:
        name: of the experiment; names its folder of runs.
        dataset: what is evaluated.
        models: one run evaluates each of them; none where maps and boxes are all from elsewhere.
        methods: map methods, all on the same pass, and sources of maps or boxes.
        protocol: every choice between map and number.
        metrics: what is reported beside the numbers that the protocol defines; by default the
            metrics of the protocol's kind.
        faithfulness: steps of the insertion and deletion curves, which take twice as many forward
            passes an image and method, and two more; without it faithfulness is not measured.
        limit: evaluate the first images only.
        batch_size: images in one forward pass; results depend on it by float noise only.
        part_size: images a part of the run holds: what an accident can lose, and what a worker
            takes at a time. By default at least 128, in whole batches. Batches do not cross parts.
        workers: processes that decode images; 0 decodes in the evaluating one.
        device: ``auto`` is the first GPU, else the CPU.
        precision: of the forward pass and the gradients.
        channels_last: memory format of the network; results depend on it by float noise only.
        compile: torch.compile up to the target layer; likewise.
        max_failed: largest share of images that may be unreadable or give no finite logits; a run
            with more fails at its end. In [0, 1].
        strict: whether the first such image stops the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    dataset: Annotated[DatasetConfig, _name_or(DatasetConfig)]
    models: list[Annotated[ModelConfig, _name_or(ModelConfig)]] = Field(default_factory=list)
    methods: Annotated[list[Annotated[MethodConfig, _name_or(MethodConfig)]], Field(min_length=1)]
    protocol: Annotated[ProtocolConfig, _name_or(ProtocolConfig)]
    metrics: list[Annotated[MetricConfig, _name_or(MetricConfig)]] | None = None
    faithfulness: Annotated[int, Field(ge=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    part_size: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=0)] = 4
    device: str = "auto"
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.05
    strict: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> "ExperimentConfig":
        keys = [model.key for model in self.models]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(
                f"two models are called {repeated[0]!r}; tell them apart with 'label:'"
            )
        return self

    @property
    def images_a_part(self) -> int:
        """``part_size``, or its default."""
        return self.part_size or self.batch_size * -(-_PART_SIZE // self.batch_size)

    def build_protocol(self) -> AnyProtocol:
        """The protocol; where the pass is not in float32, its name says so.

        Raises:
            ConfigError: it is unknown, a field does not fit, or faithfulness has too many steps.
        """
        protocol = self.protocol.build()
        if self.faithfulness is not None and self.faithfulness > protocol.input.size**2:
            raise ConfigError(
                f"faithfulness: {self.faithfulness} steps are more than the input has pixels "
                f"({protocol.input.size**2})"
            )
        if self.precision == "fp32":
            return protocol
        name = f"{protocol.name}+precision={self.precision}"
        return protocol.model_copy(update={"name": name})

    def check_names(self) -> None:
        """Raise ConfigError for a name that nothing bears, without importing what bears it."""
        DATASETS.require(self.dataset.name)
        for method in self.methods:
            if method.name not in NETWORK_FREE:
                METHODS.require(method.name, also=NETWORK_FREE)
        for metric in self.metrics or ():
            METRICS.require(metric.name)


def load_config(
    source: Path | str | Mapping[str, Any] | ExperimentConfig, overrides: Iterable[str] = ()
) -> ExperimentConfig:
    """An experiment from a YAML file or a mapping.

    Args:
        source: path, mapping, or a configuration that is ready.
        overrides: ``key.path=value`` each, the value in YAML; list positions count from 0.

    Raises:
        ConfigError: every problem on a line, with file, key, expected and found.
    """
    if isinstance(source, ExperimentConfig):
        source = source.model_dump(mode="json")
    if isinstance(source, Mapping):
        where, content = "config", deepcopy(dict(source))  # overrides are not the caller's
    else:
        where, content = str(source), read_yaml(Path(source), "config")
    for override in overrides:
        _override(content, override)
    content = _expand(content, where)
    try:
        config = ExperimentConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error, ExperimentConfig, where)) from error
    config.check_names()
    return config


def load_dataset(content: Mapping[str, Any], options: Iterable[str] = ()) -> Dataset:
    """A data set outside an experiment.

    Args:
        content: name and options.
        options: ``key=value`` each, the value in YAML.
    """
    merged = deepcopy(dict(content))
    for option in options:
        _override(merged, option)
    try:
        return DatasetConfig.model_validate(_expand(merged, "dataset")).load()
    except ValidationError as error:
        raise ConfigError(explain(error, DatasetConfig, "dataset")) from error


def _override(content: dict[str, Any], override: str) -> None:
    """Set one ``key.path=value`` in place."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"override {override!r}: expected key.path=value")
    *parents, last = path.split(".")
    node: Any = content
    for part in parents:
        node = _child(node, part, override)
    if isinstance(node, list):
        node[_position(node, last, override)] = parse_yaml(text, f"override {override!r}")
    else:
        node[last] = parse_yaml(text, f"override {override!r}")


def _child(node: Any, part: str, override: str) -> Any:
    """The mapping or list under ``part``; a bare name there becomes the mapping it stands for."""
    key: Any = _position(node, part, override) if isinstance(node, list) else part
    child = node[key] if isinstance(node, list) else node.setdefault(key, {})
    if isinstance(child, str):
        child = node[key] = {"name": child}
    if not isinstance(child, (dict, list)):
        raise ConfigError(f"override {override!r}: {part!r} is no mapping but {child!r}")
    return child


def _position(node: list[Any], part: str, override: str) -> int:
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(
            f"override {override!r}: expected a position from 0 to {len(node) - 1}, found {part!r}"
        )
    return int(part)


def _expand(value: Any, where: str, key: tuple[str, ...] = ()) -> Any:
    """``${VAR}`` in strings replaced by environment variables; an unset one is an error."""
    if len(key) > _DEEPEST:
        raise ConfigError(f"{where}: nested more than {_DEEPEST} deep, or within itself")
    if isinstance(value, dict):
        return {name: _expand(item, where, (*key, str(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, where, (*key, str(index))) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(
                f"{where}: '{'.'.join(key)}' needs the environment variable {name}, "
                "which is not set"
            )
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", variable, value)
