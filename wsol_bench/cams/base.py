"""What a map method is: a function of a Record, with the plan it needs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.errors import ConfigError
from wsol_bench.registry import Registry, bind_options

__all__ = [
    "MapMethod",
    "cam_method",
    "cam_methods",
    "distinct",
    "is_applicable",
    "merged_plan",
]


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)
MapFunction = Callable[..., Float[Tensor, "batch k h w"]]


@dataclass(frozen=True)
class MapMethod:
    """A localization map method.

    Attributes:
        name: in configurations and results.
        function: ``(record, **options) -> (batch, k, h, w)`` maps, one a class slot: the paper's
            map, its ReLU included, neither upsampled nor normalized.
        plan: what it needs of the forward pass.
        paper: where it is defined.
    """

    name: str
    function: MapFunction
    plan: Plan
    paper: str

    def __call__(self, record: Record) -> Float[Tensor, "batch k h w"]:
        """The maps of a record's class slots."""
        return self.function(record)

    def with_options(self, options: dict[str, Any], where: str) -> "MapMethod":
        """The method with its keyword-only options bound; ConfigError where they do not fit."""
        bound = bind_options(self.function, options, where)
        # Results tell options by the name: two settings of a method are two methods in a table.
        name = "+".join([self.name, *(f"{key}={value}" for key, value in options.items())])
        return MapMethod(name, partial(self.function, **bound), self.plan, self.paper)


cam_methods: Registry[MapMethod] = Registry("map method", package="wsol_bench.cams")


def cam_method(name: str, *, plan: Plan, paper: str) -> Callable[[MapFunction], MapMethod]:
    """Register a map method under ``name``."""

    def register(function: MapFunction) -> MapMethod:
        return cam_methods.register(name, MapMethod(name, function, plan, paper))

    return register


def distinct(methods: Iterable[Named]) -> list[Named]:
    """The methods; ConfigError where two bear one name, by which results would confuse them."""
    listed = list(methods)
    names = [method.name for method in listed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"map method {name!r} is listed twice")
    return listed


def merged_plan(methods: Iterable[MapMethod]) -> Plan:
    """One plan that serves all methods, so that they share one forward pass."""
    return reduce(or_, (method.plan for method in methods), Plan())


def is_applicable(method: MapMethod, record: Record) -> bool:
    """Whether the record holds what the method needs of the network."""
    return not (method.plan.class_weights and record.class_weights is None)
