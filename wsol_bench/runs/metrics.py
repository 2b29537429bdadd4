"""The metrics of a run: those that its experiment names, or else its protocol's default metrics."""

from collections.abc import Sequence
from dataclasses import replace

from wsol_bench.common.registry import uniquely_named
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import Metric, metrics
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.experiment_config import MetricConfig
from wsol_bench.runs.identity import Identity
from wsol_bench.scoring.kinds import default_metrics

__all__ = ["build_metrics", "metrics_of"]

_FAITHFULNESS = ("insertion", "deletion", "average_drop", "increase_in_confidence")


def build_metrics(
    named: Sequence[MetricConfig] | None, protocol: Protocol, *, faithfulness: bool
) -> list[Metric]:
    """The metrics of an experiment, with their options bound.

    Args:
        named: the metrics that the experiment names; None for the protocol's default metrics, with
            the metrics of faithfulness if faithfulness is measured.
        protocol: the protocol of the experiment.
        faithfulness: whether faithfulness is measured.

    Raises:
        ConfigError: a metric is unknown or listed twice, or an option does not fit.
    """
    if named is None:
        names = [*default_metrics(protocol), *(_FAITHFULNESS if faithfulness else ())]
        named = [MetricConfig(name=name) for name in names]
    return uniquely_named((_build(metric) for metric in named), "metric")


def _build(named: MetricConfig) -> Metric:
    return metrics.get(named.name).with_options(named.options, f"metrics.{named.name}")


def metrics_of(identity: Identity) -> list[Metric]:
    """The metrics of a stored run.

    A metric per map whose code is not installed is read from its stored column.

    Raises:
        ConfigError: the code of a metric per image is not installed.
    """
    named = identity.config.get("metrics")
    if named is None:
        measured = bool(identity.measured.faithfulness)
        return build_metrics(None, identity.protocol, faithfulness=measured)
    stored = []
    pairs = zip(named, identity.metrics.items(), strict=True)
    for config, (name, facts) in pairs:
        try:
            metric = _build(MetricConfig.model_validate(config))
        except ConfigError:
            if facts.column is None:
                raise
            metric = facts.metric(name)
        # The code may have changed since the column was written.
        stored.append(replace(metric, column=facts.column))
    return stored
