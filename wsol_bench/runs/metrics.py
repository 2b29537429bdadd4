"""The metrics of a run: those that its experiment names, or those of its protocol."""

from collections.abc import Sequence
from dataclasses import replace

from wsol_bench.common.registry import uniquely_named
from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import Metric, metrics
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.config import MetricConfig
from wsol_bench.runs.manifest import Identity
from wsol_bench.scoring import default_metrics

__all__ = ["build_metrics", "metrics_of"]

_FAITHFULNESS = ("insertion", "deletion", "average_drop", "increase_in_confidence")


def build_metrics(
    named: Sequence[MetricConfig] | None, protocol: Protocol, *, faithfulness: bool
) -> list[Metric]:
    """The metrics with their options bound.

    Args:
        named: by an experiment; None for those of the protocol, and faithfulness where measured.
        protocol: of the run.
        faithfulness: whether it is measured.

    Raises:
        ConfigError: an unknown metric, an option that does not fit, or one listed twice.
    """
    if named is None:
        names = [*default_metrics(protocol), *(_FAITHFULNESS if faithfulness else ())]
        named = [MetricConfig(name=name) for name in names]
    return uniquely_named((_build(one) for one in named), "metric")


def _build(named: MetricConfig) -> Metric:
    return metrics.get(named.name).with_options(named.options, f"metrics.{named.name}")


def metrics_of(identity: Identity) -> list[Metric]:
    """The metrics of a stored run.

    A metric per map whose code is not at hand is known by its stored columns.

    Raises:
        ConfigError: a metric per image whose code is not at hand.
    """
    given = identity.config.get("metrics")
    if given is None:
        measured = identity.config.get("faithfulness") is not None
        return build_metrics(None, identity.protocol, faithfulness=measured)
    found = []
    pairs = zip(given, identity.metrics.items(), strict=True)
    for config, (name, facts) in pairs:
        try:
            metric = _build(MetricConfig.model_validate(config))
        except ConfigError:
            if facts.column is None:
                raise
            metric = facts.metric(name)
        # The column that was written, whatever the code says by now.
        found.append(replace(metric, column=facts.column))
    return found
