"""Metrics: each is one function, with the facts about its values that results need.

There are two kinds. A metric **per map** is a function of a ``MapView``, one localization map of
the image's label beside its ground truth; it is measured when maps are scored, and stored in a
column of ``rows``. A metric **per image** is a function of ``ImageScores``, the stored rows of one
method, and gives each image a value, or several columns from whose means a statistic makes the
number of the set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from wsol_bench.common.catalog import METRICS
from wsol_bench.common.plugin_errors import blamed
from wsol_bench.common.plugin_options import bind_options, name_with_options
from wsol_bench.common.registry import Registry
from wsol_bench.common.table import Column
from wsol_bench.common.vocabulary import Better
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ConfigError, PluginError
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.map_view import MapView
from wsol_bench.metrics.number import Number, PerImageValues, ThresholdColumns
from wsol_bench.statistics.columns import Statistic

__all__ = ["Metric", "metric", "metrics"]

Per = Literal["map", "image"]
Truth = Literal["any", "boxes"]

# A share may exceed 1 by this rounding error if it is summed in another order than the whole.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Metric:
    """A metric: its function, and the facts about its values that results need.

    Attributes:
        name: name in configurations, tables and results.
        function: for a metric per map, ``(view, **options) -> float``, NaN if the map does not
            count; for a metric per image, ``(images, **options) -> (n,) or (n, m) values``, NaN if
            an image does not count, and None if the method has no such number.
        per: ``map`` or ``image``.
        better: whether higher or lower values are good.
        range: least and greatest value; infinite if there is no bound.
        hits: whether each image's value is 0 or 1, so that methods are compared by McNemar's test.
        paper: identifier of the paper that defines the metric.
        needs: for a metric per image, the columns of ``rows`` or ``curves`` that it reads; a
            protocol without them has no such number.
        truth: for a metric per map, the ground truth that it needs: ``boxes``, or ``any``: boxes or
            a mask. An image without that ground truth does not count.
        column: for a metric per map, the column that its values are stored in.
        statistic: function from the means of the columns to the number; None for the mean of the
            one column. ``best`` takes the largest mean over thresholds, one a column;
            ``class_mean`` the mean over classes of the mean of each class, of one column.
        summary: first line of the function's docstring.
    """

    name: str
    function: Callable[..., Any]
    per: Per
    better: Better
    range: tuple[float, float]
    hits: bool = False
    paper: str = ""
    needs: tuple[str, ...] = ()
    truth: Truth = "any"
    column: Column | None = None
    statistic: Statistic | Literal["best", "class_mean"] | None = None
    summary: str = ""

    @property
    def worst(self) -> float:
        """The value of an image without a map, or whose map has a value that is not finite."""
        return self.range[0 if self.better == "higher" else 1]

    @property
    def reads_hits(self) -> bool:
        """Return whether the metric reads hits at each threshold, which only a sweep has."""
        return "hits" in self.needs

    def counts(self, truth: ImageTruth) -> bool:
        """Return whether an image with this ground truth counts in a metric per map."""
        return len(truth.boxes) > 0 or (self.truth == "any" and truth.mask is not None)

    def measure(self, view: MapView) -> float:
        """The value of one map; NaN if its image has no ground truth.

        Raises:
            PluginError: the function fails, or its value is not a number in the metric's range.
        """
        if not self.counts(view.truth):
            return float("nan")
        if not view.finite:
            return self.worst
        with blamed(f"metric {self.name!r}", self.function):
            value = float(self.function(view))
        self._require_range(np.array([value]))
        return value

    def number(self, images: ImageScores) -> Number | None:
        """The number of a method, image by image; None if the method has no such number.

        Raises:
            PluginError: the function fails or does not return values for each image, or a value (or
                with a ``statistic`` the number) is outside the metric's range.
        """
        values = self._values(images)
        if values is None:
            return None
        best = classes = None
        statistic = self.statistic
        if statistic == "class_mean":
            classes, statistic = images.evaluated.classes.number, None
        if statistic == "best":
            selected = f"selected_{self.name.removeprefix('max_')}"
            best = ThresholdColumns(
                threshold=f"{self.name}_threshold",
                selected=selected,
                selected_threshold=f"{selected}_threshold",
                gap=f"gap_{self.name.removeprefix('max_')}",
            )
            statistic = None
        number = Number(
            self.name,
            values,
            images.image_ids,
            better=self.better,
            range=self.range,
            hits=self.hits,
            classes=classes,
            statistic=statistic,
            best=best,
        )
        if statistic is not None:  # its columns may have another range, or none
            self._require_range(np.array([number.value()]))
        return number

    def _values(self, images: ImageScores) -> PerImageValues | None:
        """Return what each image contributes, checked; None if the method has no such number."""
        if self.column is not None:
            return images.of_maps(self.column.name)
        values: PerImageValues | None
        with blamed(f"metric {self.name!r}", self.function):
            # The arrays are read-only, but tables can be written; the built-in metrics do not.
            values = self.function(images if self._is_built_in else images.apart())
            if isinstance(values, list | tuple):
                values = np.array(values, np.float64)
        if values is None:
            return None
        if len(values) != len(images):
            raise PluginError(
                f"metric {self.name!r}: expected a value for each of {len(images)} images, "
                f"found {len(values)}"
            )
        if self.statistic in (None, "class_mean"):
            if not isinstance(values, np.ndarray) or values.ndim != 1:
                shape = values.shape if hasattr(values, "shape") else type(values).__name__
                raise PluginError(
                    f"metric {self.name!r}: expected one value an image, of shape (n,), found "
                    f"{shape}; several columns need a 'statistic' in the decorator"
                )
            self._require_range(values)
        return values

    @property
    def _is_built_in(self) -> bool:
        function = self.function.func if isinstance(self.function, partial) else self.function
        return str(function.__module__).startswith(f"{__package__}.")

    def _require_range(self, values: np.ndarray) -> None:
        low, high = self.range
        if self.hits and (no_hits := values[~np.isin(values, (0, 1)) & ~np.isnan(values)]).size:
            raise PluginError(
                f"metric {self.name!r}: expected values of 0 or 1, because its decorator says "
                f"hits=True, found {no_hits[0]:g}"
            )
        outside = values[(values < low - _ROUNDING) | (values > high + _ROUNDING)]
        if len(outside):
            raise PluginError(
                f"metric {self.name!r} has the value {outside[0]:g}, outside of its range "
                f"[{low:g}, {high:g}]"
            )

    def with_options(self, options: Mapping[str, Any], where: str) -> "Metric":
        """The metric with its keyword-only options bound.

        Args:
            options: value of each option, by name.
            where: place in the configuration, for messages.

        Raises:
            ConfigError: an option is unknown, or its value does not fit.
        """
        bound = bind_options(self.function, options, where)
        name = name_with_options(self.name, options)
        column = self.column
        if column is not None and options:
            column = column._replace(name=name)
        return replace(
            self,
            name=name,
            function=partial(self.function, **bound),
            column=column,
        )


metrics: Registry[Metric] = Registry(
    Metric,
    METRICS,
    example='@metric("{name}", per="map", better="higher", range=(0, 1)), from wsol_bench',
)


class _OfMaps(TypedDict, total=False):
    """Facts that only a metric per map has."""

    truth: Truth
    column: str
    unit: str


class _OfImages(TypedDict, total=False):
    """Facts that only a metric per image has."""

    needs: tuple[str, ...]
    statistic: Statistic | Literal["best", "class_mean"] | None


@dataclass(frozen=True)
class _KindFacts:
    """The facts that metrics of one kind have, with their defaults."""

    truth: Truth = "any"
    column: str = ""
    unit: str = ""
    needs: tuple[str, ...] = ()
    statistic: Statistic | Literal["best", "class_mean"] | None = None

    def require_kind(self, name: str, per: Per) -> None:
        """Raise ConfigError if a fact is set that a metric of this kind does not have."""
        if per == "map" and (self.needs or self.statistic is not None):
            raise ConfigError(
                f"metric {name!r}: 'needs' and 'statistic' are of metrics per image; leave them "
                'out, or write per="image"'
            )
        if per == "image" and (self.truth != "any" or self.column or self.unit):
            raise ConfigError(
                f"metric {name!r}: 'truth', 'column' and 'unit' are of metrics per map; leave them "
                'out, or write per="map"'
            )


@overload
def metric(
    name: str,
    *,
    per: Literal["map"],
    better: Better,
    range: tuple[float | int, float | int],
    hits: bool = False,
    paper: str = "",
    **kind_facts: Unpack[_OfMaps],
) -> Callable[[Callable[..., Any]], Metric]: ...


@overload
def metric(
    name: str,
    *,
    per: Literal["image"],
    better: Better,
    range: tuple[float | int, float | int],
    hits: bool = False,
    paper: str = "",
    **kind_facts: Unpack[_OfImages],
) -> Callable[[Callable[..., Any]], Metric]: ...


def metric(
    name: str,
    *,
    per: Per,
    better: Better,
    range: tuple[float | int, float | int],
    hits: bool = False,
    paper: str = "",
    **kind_facts: Any,
) -> Callable[[Callable[..., Any]], Metric]:
    """Register a function as a metric under ``name``.

    Args:
        name, per, better, range, hits, paper: see ``Metric``.
        kind_facts: for a metric per map, ``truth`` (see ``Metric``), ``column``, the name of its
            column in ``rows`` if it is not ``name``, and ``unit`` of that column; for a metric per
            image, ``needs`` and ``statistic`` (see ``Metric``).

    Raises:
        ConfigError: the facts contradict each other.
    """
    facts = _KindFacts(**kind_facts)

    def register(function: Callable[..., Any]) -> Metric:
        facts.require_kind(name, per)
        if facts.statistic == "best" and better == "lower":
            raise ConfigError(
                f"metric {name!r}: statistic='best' takes the highest of several means, so it "
                "cannot go with better='lower'"
            )
        if per == "map" and not np.isfinite(range[0 if better == "higher" else 1]):
            raise ConfigError(
                f"metric {name!r}: the worse end of the range of a metric per map must be finite: "
                "it is the value of an image without a map"
            )
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        column = None
        if per == "map":
            column = Column(facts.column or name, "real", summary.rstrip("."), facts.unit)
        return metrics.register(
            name,
            Metric(
                name,
                function,
                per,
                better,
                (float(range[0]), float(range[1])),
                hits=hits,
                paper=paper,
                needs=facts.needs,
                truth=facts.truth,
                column=column,
                statistic=facts.statistic,
                summary=summary,
            ),
            function,
        )

    return register
