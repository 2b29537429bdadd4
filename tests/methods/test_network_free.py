"""Network-free methods of a plug-in: they cannot change the data set, and their errors are one."""

import numpy as np
import pytest

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.shapes.loader import shapes
from wsol_bench.errors import PluginError
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import NetworkFreeMethod

PLACE = r".*test_network_free\.py:\d+"


def method_of(opener):
    return NetworkFreeMethod("mine", opener, "", "maps")


def maps_by(map_of):
    return method_of(lambda dataset: ImageMaps(map_of, "")).open(None)


def test_an_opener_cannot_change_the_data_set() -> None:
    dataset = shapes.load(split="val")
    before = dataset.fingerprint, dataset.images.copy()

    def opener(dataset: Dataset) -> ImageMaps:
        dataset.boxes[:] = 0
        dataset.images["label"] = "n0"
        dataset.images.loc[:, "blacklisted"] = True
        return ImageMaps(lambda image_id: None, "")

    method_of(opener).open(dataset)
    assert dataset.fingerprint == before[0]
    assert dataset.images.equals(before[1])


def test_an_exception_in_an_opener_is_one_error_with_its_place() -> None:
    def opener(dataset):
        return {}["missing"]

    with pytest.raises(PluginError, match=rf"^method 'mine': {PLACE}: KeyError: 'missing'$"):
        method_of(opener).open(None)


def test_an_exception_in_a_map_names_the_image_too() -> None:
    expected = rf"^method 'mine', image i1: {PLACE}: ZeroDivisionError: "
    with pytest.raises(PluginError, match=expected):
        maps_by(lambda image_id: 1 / 0).map_of("i1")


@pytest.mark.parametrize(
    ("map", "found"),
    [
        (np.zeros((1, 2, 2), np.float32), r"shape \(1, 2, 2\)"),
        (np.zeros((0, 2), np.float32), r"shape \(0, 2\)"),
        ([[0.0]], "list"),
    ],
)
def test_a_map_that_is_no_map_is_an_error(map, found) -> None:
    with pytest.raises(PluginError, match=f"'mine', image i1: expected a map .* found {found}"):
        maps_by(lambda image_id: map).map_of("i1")


def test_an_opener_that_returns_something_else_is_an_error() -> None:
    with pytest.raises(PluginError, match="'mine': expected ImageMaps or ImageBoxes, found dict"):
        method_of(lambda dataset: {}).open(None)
