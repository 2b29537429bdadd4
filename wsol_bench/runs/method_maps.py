"""The maps of one method at one layer: of one view of a batch, and their mean over all views."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Cost, Record
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import MapMethod
from wsol_bench.protocols.input_section import View

__all__ = ["MethodMaps", "maps_of", "mean_over_views"]


class MethodMaps(NamedTuple):
    """The maps of one method at one layer, on a batch of images.

    Attributes:
        method, layer: the names in the results.
        maps: the maps of all class slots, or of the last one alone; None if the method is not
            applicable.
        values: what the method has measured of the maps, (batch, k) each, by column.
        cost: the cost of the shared passes and of the method's own work.
        reason: why the method is not applicable; "" if it is applicable.
    """

    method: str
    layer: str
    maps: Float[Tensor, "batch k h w"] | None
    values: Mapping[str, Float[Tensor, "batch k"]]
    cost: Cost
    reason: str


def maps_of(method: MapMethod, layer: str, record: Record) -> MethodMaps:
    """A method's maps at a layer, with the cost of the shared pass and of the method's own work.

    Args:
        method: the method.
        layer: name of the layer; "" for that of the record, or for maps of the whole image.
        record: the record of a forward pass; its last class slot is the label's, of which alone a
            method with ``classes="label"`` makes maps.
    """
    names = [recorded.name for recorded in record.layers]
    slots = None
    if method.classes == "label":
        slots = torch.full_like(record.classes[:, :1], record.classes.shape[1] - 1)
    reason = ""
    with record.probe.metered() as cost:
        maps: Tensor | None = None
        values: Mapping[str, Tensor] = {}
        try:
            at_layer = record.at_layer(names.index(layer)) if layer else record
            maps, values = method.measured(at_layer, slots)
            maps, values = maps.detach(), {name: of.detach() for name, of in values.items()}
        except NotApplicableError as error:
            reason = str(error)
    cost += record.cost_for(method.plan)
    return MethodMaps(method.name, layer, maps, values, cost, reason)


def mean_over_views(
    of_views: Sequence[tuple[View, MethodMaps]], size: tuple[int, int], shared: Cost
) -> MethodMaps:
    """The mean of a method's maps over the views of the same images.

    The maps are those of the method as its paper defines them: signed or not, at the scale that the
    method gives them, before the protocol rectifies or normalizes anything. So the mean of linear
    maps is linear, and a view on which a class has little evidence counts little. The maps of
    mirrored views are mirrored back. Maps of several sizes are first interpolated (bilinear,
    ``align_corners=False``) to the largest of them, at most the input's size. Measured values are
    means as well.

    A method that is not applicable to a view is not applicable. Costs are those of all views.

    Args:
        of_views: each view, with the method's maps of it.
        size: (height, width) of the input.
        shared: the cost of the passes that were made for the predictions alone.
    """
    cost = Cost()
    cost += shared
    for _, of_view in of_views:
        cost += of_view.cost
    method, layer, *_ = of_views[0][1]
    maps: list[Tensor] = []
    for view, of_view in of_views:
        if of_view.maps is None:
            return MethodMaps(method, layer, None, {}, cost, of_view.reason)
        maps.append(of_view.maps.flip(-1) if view.mirrored else of_view.maps)
    height, width = (
        min(max(of_view.shape[axis] for of_view in maps), size[axis]) for axis in (-2, -1)
    )
    resized = [_interpolated(of_view, (height, width)) for of_view in maps]
    values = {
        name: _mean([of_view.values[name] for _, of_view in of_views])
        for name in of_views[0][1].values
    }
    return MethodMaps(method, layer, _mean(resized), values, cost, "")


def _interpolated(
    maps: Float[Tensor, "batch k _ _"], grid: tuple[int, int]
) -> Float[Tensor, "batch k h w"]:
    if tuple(maps.shape[-2:]) == grid:
        return maps
    return F.interpolate(maps.float(), size=grid, mode="bilinear", align_corners=False)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return reduce(add, tensors) / len(tensors)
