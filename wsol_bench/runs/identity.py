"""The identity of a run: everything that decides its numbers.

Two runs with the same identity have the same rows; a run folder holds one identity.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import model_validator

from wsol_bench.common import files
from wsol_bench.common.vocabulary import KeptMaps
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.model import AnyProtocol
from wsol_bench.runs.differences import completed, known_differences
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.facts import (
    DatasetFacts,
    Facts,
    MethodFacts,
    MetricFacts,
    ModelFacts,
    NetworkFreeFacts,
)
from wsol_bench.runs.shards import parts_of_shard
from wsol_bench.scoring.measured_columns import MeasuredColumns

__all__ = ["NO_MODEL", "ON_RUN", "Identity", "Origin"]

# The name that stands for the model in a run without one.
NO_MODEL = "-"
# The begin of ``selected_on`` if thresholds are selected on another run.
ON_RUN = "run "


class Origin(Facts):
    """The run whose maps were scored again.

    Attributes:
        path: its folder.
        started: when it began.
        environment: the environment in which its maps were made.
    """

    path: str
    started: str
    environment: Environment


class Identity(Facts):
    """Everything that decides the numbers of a run.

    Attributes:
        config: the experiment, without the keys that change no number.
        protocol: the protocol as it was resolved.
        protocol_hash: the digest of the protocol.
        dataset: the facts of the data set.
        models: the facts of each model, by its name in the results.
        methods: the facts of each map method, by its name in the results.
        sources: the facts of each network-free method, by its name in the results.
        metrics: the facts of each metric, by its name in the results.
        selected_on: the word ``run`` or ``images``, and a digest of the run or of the listed images
            that thresholds are selected on; None if they are selected on neither.
        environment: the environment of the processes that worked on the run.
        n_parts: the number of parts of the whole run.
        shard: ``i/n`` if the folder holds only every n-th part; None if it holds all of them.
        rescored_from: the run whose maps were scored again.
        merged_from: the shards that were merged into this run.
    """

    config: dict[str, Any]
    protocol: AnyProtocol
    protocol_hash: str
    dataset: DatasetFacts
    models: dict[str, ModelFacts]
    methods: dict[str, MethodFacts]
    sources: dict[str, NetworkFreeFacts]
    metrics: dict[str, MetricFacts]
    selected_on: str | None
    environment: Environment
    n_parts: int
    shard: str | None = None
    rescored_from: Origin | None = None
    merged_from: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Identity":
        n_models, n_images = len(self.models), self.dataset.n_images
        if not 0 < n_models <= self.n_parts <= n_images * n_models or self.n_parts % n_models:
            raise ValueError(
                f"{self.n_parts} parts do not fit {n_images} images and {n_models} models"
            )
        try:
            parts_of_shard((), self.shard)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def digest(self) -> str:
        """A digest of the whole identity, 16 hexadecimal digits."""
        return files.digest(self.model_dump_json().encode())

    def changed(self, now: "Identity") -> list[str]:
        """The values that differ in another identity; see ``known_differences``.

        ``rescored_from`` and ``merged_from`` are compared only if ``now`` sets them. So an
        experiment can be run in the folder of its merged or rescored run, which is then read.
        """
        ignored = {
            name
            for name in ("rescored_from", "merged_from")
            if getattr(now, name) == Identity.model_fields[name].default
        }
        before, after = (
            identity.model_dump(mode="json", exclude=ignored) for identity in (self, now)
        )
        return known_differences(before, after)

    def completed(self, now: "Identity") -> "Identity":
        """This identity with what is unknown in it as another identity knows it."""
        before, after = (identity.model_dump(mode="json") for identity in (self, now))
        return Identity.model_validate(completed(before, after))

    @property
    def measured(self) -> MeasuredColumns:
        """The columns of ``rows`` that only the run's network pass could fill."""
        measured = self.config.get("faithfulness") is not None
        columns = {name: method.columns for name, method in self.methods.items()}
        return MeasuredColumns.of(columns, faithfulness=measured)

    @property
    def kept_maps(self) -> KeptMaps:
        """The maps that the run keeps; ``all`` for a run that does not say."""
        kept: KeptMaps = self.config.get("maps", "all")
        return kept

    @property
    def named_metrics(self) -> dict[str, bool]:
        """The metrics that the experiment names, and whether each is a share from 0 to 1."""
        if self.config.get("metrics") is None:
            return {}
        return {name: facts.range == (0.0, 1.0) for name, facts in self.metrics.items()}

    def groups(self, model: str) -> Iterator[tuple[str, str]]:
        """Each method of a model's results with each of its layers, in the experiment's order."""
        for name, method in self.methods.items():
            layers = self.models[model].layers if method.scope == "layer" else ("",)
            yield from ((name, layer) for layer in layers)
        yield from ((network_free, "") for network_free in self.sources)

    @property
    def n_methods(self) -> int:
        """The number of lines of the summary."""
        return sum(len(list(self.groups(model))) for model in self.models)

    @property
    def part_numbers(self) -> list[int]:
        """The numbers of the parts that the folder of the finished run holds."""
        return list(parts_of_shard(range(self.n_parts), self.shard))

    def parts_by_model(self, parts: Sequence[int]) -> dict[str, list[int]]:
        """The numbers of parts, by the name of their model."""
        names = list(self.models)
        n_each = self.n_parts // len(names)
        by_model: dict[str, list[int]] = {name: [] for name in names}
        for number in parts:
            by_model[names[number // n_each]].append(number)
        return by_model
