"""Map methods and their registry: a method is a function of a Record, with the plan it needs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import or_
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.network import exclusively
from wsol_bench.common.catalog import METHODS
from wsol_bench.common.plugin_errors import blamed
from wsol_bench.common.plugin_options import bind_options, name_with_options
from wsol_bench.common.registry import Registry
from wsol_bench.common.table import Column
from wsol_bench.common.vocabulary import Classes, Sanity, Scope
from wsol_bench.errors import ConfigError, ModelError, NotApplicableError, PluginError
from wsol_bench.methods.isolation import isolated

__all__ = ["MapMethod", "MeasuredMaps", "cam_method", "cam_methods", "merged_plan"]


class MeasuredMaps(NamedTuple):
    """The maps of a method, with what it has measured of each.

    Attributes:
        maps: one for each class slot.
        values: the values of each of the method's ``columns``, by the column's name.
    """

    maps: Float[Tensor, "batch k h w"]
    values: Mapping[str, Float[Tensor, "batch k"]] = MappingProxyType({})


MapFunction = Callable[
    ..., Float[Tensor, "batch k h w"] | tuple[Float[Tensor, "batch k h w"], Mapping[str, Tensor]]
]


@dataclass(frozen=True)
class MapMethod:
    """A localization map method.

    Attributes:
        name: the method's name in configurations and results.
        function: ``(record, **options)``; returns maps (batch, k, h, w), one for each class slot of
            the record: the paper's map, its ReLU included, neither upsampled nor normalized. A
            method with ``columns`` returns ``(maps, values)``, as in ``MeasuredMaps``.
        plan: what the forward pass must record for the method.
        paper: where the method is defined.
        scope: ``layer`` for one map of each recorded layer; ``image`` for one map of the image,
            made from all layers or none.
        classes: the classes that a run makes maps for: ``all`` for the predictions and the image's
            label; ``label`` for the label alone, if a map is costly. The label's map decides every
            score.
        sanity: a change that should spoil a good map; None for the method itself.
            ``class_swapped`` makes the map of a wrong class (the best class that is not the
            slot's), ``randomized_weights`` the map of a network whose weights are permuted
            (Adebayo et al., NeurIPS 2018).
        generalizes_cam: whether the method claims that its map is ReLU(CAM) up to a positive factor
            if global average pooling and a linear layer follow the target layer;
            ``wsol-bench check`` then tests the claim.
        columns: what the method measures of each of its maps; a run stores the values in these
            columns of ``rows``, and their means in its summary.
    """

    name: str
    function: MapFunction
    plan: Plan
    paper: str
    scope: Scope = "layer"
    classes: Classes = "all"
    sanity: Sanity | None = None
    generalizes_cam: bool = False
    columns: tuple[Column, ...] = ()

    def __call__(
        self, record: Record, slots: Int64[Tensor, "batch m"] | None = None
    ) -> Float[Tensor, "batch k h w"]:
        """The maps of a record's class slots; see ``measured``."""
        return self.measured(record, slots).maps

    # Gradients are on inside, even if the caller has switched them off, so that a method can take
    # gradients itself. The tensors of the record do not require gradients.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def measured(
        self, record: Record, slots: Int64[Tensor, "batch m"] | None = None
    ) -> MeasuredMaps:
        """The maps of a record's class slots, with what the method measures of them.

        Args:
            record: the record of a forward pass.
            slots: positions of the class slots to make maps for; by default all, in order.

        Raises:
            NotApplicableError: the network lacks what the method needs.
            ModelError: the function returns something else than a map for each class slot, and a
                value for each of its columns.
            PluginError: the function raises another error, or changes what other methods read.
        """
        model = None if record._probe is None else record.probe.model
        # Another thread's hooks on the network are no change that this method makes.
        turn = nullcontext() if model is None else exclusively(model)
        with turn, isolated(self.name, self.function, record):
            return self._measured(record, slots)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def maps(
        self, record: Record, slots: Int64[Tensor, "batch m"] | None = None
    ) -> Float[Tensor, "batch k h w"]:
        """The maps of a record's class slots, as in a call, but the method is not watched."""
        return self._measured(record, slots).maps

    def _measured(self, record: Record, slots: Int64[Tensor, "batch m"] | None) -> MeasuredMaps:
        if self.sanity == "class_swapped":
            slots = _swapped(record.classes, slots)
        if slots is not None:
            record = record.select(slots)
        result = self._result(record.limited_to(self.plan))
        values: Mapping[str, Any] = {}
        maps = result
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
            maps, values = result
        expected = tuple(record.classes.shape)
        if not isinstance(maps, Tensor) or maps.ndim != 4 or tuple(maps.shape[:2]) != expected:
            found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ModelError(
                f"map method {self.name!r}: expected maps of shape "
                f"({expected[0]}, {expected[1]}, h, w), one for each class slot, found {found}"
            )
        self._require_values(values, expected)
        return MeasuredMaps(maps, values)

    def _require_values(self, values: Mapping[str, Any], expected: tuple[int, ...]) -> None:
        """Raise ModelError unless there is a value of each column for each class slot."""
        names = [column.name for column in self.columns]
        if set(values) != set(names):
            raise ModelError(
                f"map method {self.name!r}: expected (maps, values) with the values of its columns "
                f"({_listed(names)}), as its decorator says, found values of {_listed(values)}"
            )
        for name, value in values.items():
            if not isinstance(value, Tensor) or tuple(value.shape) != expected:
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ModelError(
                    f"map method {self.name!r}: expected values of {name!r} of shape {expected}, "
                    f"one for each class slot, found {found}"
                )

    def _result(self, record: Record) -> Any:
        """Call the function; an exception in it becomes an error of this package."""
        whose = f"map method {self.name!r}"
        try:
            # A method computes in float32, whatever the caller's autocast says.
            autocast = torch.autocast(record.logits.device.type, enabled=False)
            with blamed(whose, self.function), autocast:
                return self.function(record)
        except NotApplicableError as error:
            model = type(record.probe.model).__name__
            raise NotApplicableError(
                f"{self.name} is not applicable to {model}: {error}"
            ) from error
        except ModelError as error:
            raise ModelError(f"{whose}: {error}") from error
        except PluginError as error:
            if isinstance(error.__cause__, torch.OutOfMemoryError):
                raise error.__cause__ from None  # a run says what needs less memory
            raise

    @property
    def is_randomized(self) -> bool:
        """Return whether the maps are those of a network with permuted weights."""
        return self.sanity == "randomized_weights"

    def with_options(self, options: dict[str, Any], where: str) -> "MapMethod":
        """The method with its keyword-only options bound; ConfigError if they do not fit."""
        bound = bind_options(self.function, options, where)
        name = name_with_options(self.name, options)
        return replace(self, name=name, function=partial(self.function, **bound))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _swapped(
    classes: Int64[Tensor, "batch k"], slots: Int64[Tensor, "batch m"] | None
) -> Int64[Tensor, "batch m"]:
    """Find, for each slot, the slot that holds the best class other than the slot's own class."""
    if classes.shape[1] < 2:
        raise NotApplicableError(
            "class_swapped needs another class, and the record has only one class slot"
        )
    slot_classes = classes if slots is None else classes.gather(1, slots)
    # Slot 0 holds the best class, slot 1 the second.
    swapped = (slot_classes == classes[:, :1]).long()
    if (classes.gather(1, swapped) == slot_classes).any():
        raise NotApplicableError(
            "class_swapped needs another class in the first two class slots, found the same class "
            "in both"
        )
    return swapped


cam_methods: Registry[MapMethod] = Registry(
    MapMethod,
    METHODS,
    example='@cam_method("{name}", plan=Plan(gradients=True)), both from wsol_bench',
)


def cam_method(
    name: str,
    *,
    plan: Plan,
    paper: str = "",
    scope: Scope = "layer",
    classes: Classes = "all",
    generalizes_cam: bool = False,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[MapFunction], MapMethod]:
    """Register a function as a map method.

    Args:
        name, plan, paper, scope, classes, generalizes_cam: see ``MapMethod``.
        columns: what each of the method's columns means, by the column's name.

    Raises:
        ConfigError: ``columns`` are no names with what they mean.
    """
    texts = [*columns, *columns.values()] if isinstance(columns, Mapping) else [None]
    if not all(isinstance(text, str) and text for text in texts):
        raise ConfigError(
            f"map method {name!r}: columns: expected a dictionary of names, each with what the "
            f"column means, found {columns!r}"
        )

    def register(function: MapFunction) -> MapMethod:
        method = MapMethod(
            name,
            function,
            plan,
            paper,
            scope=scope,
            classes=classes,
            generalizes_cam=generalizes_cam,
            columns=tuple(Column(column, "real", meaning) for column, meaning in columns.items()),
        )
        return cam_methods.register(name, method, function)

    return register


def merged_plan(methods: Iterable[MapMethod]) -> Plan:
    """One plan that serves all methods, so that they can share one forward pass."""
    return reduce(or_, (method.plan for method in methods), Plan())
