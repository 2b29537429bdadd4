"""Polygons and run lengths of COCO: what its own tools make of them, and what is refused."""

import sys
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as official

from wsol_bench.datasets.formats.segmentations import Segmentations
from wsol_bench.datasets.masks import RunLengths
from wsol_bench.errors import DatasetError, ImageError

HEIGHT, WIDTH = 30, 40

# Its decoder, an oracle here, gives its arrays in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SQUARE = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]
TRIANGLE = [20, 1, 39.5, 1.25, 30, 29.9]


def pixels(segmentation: Any) -> np.ndarray:
    tools = Segmentations()
    runs = tools.encode(segmentation, HEIGHT, WIDTH)
    assert runs is not None
    return RunLengths(HEIGHT, WIDTH, tools.union([runs])).pixels()


def test_a_square_on_pixel_edges() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:13, 2:12] = True
    np.testing.assert_array_equal(pixels([SQUARE]), expected)


def test_polygons_are_drawn_and_joined_by_the_official_tools() -> None:
    runs = official.merge(official.frPyObjects([SQUARE, TRIANGLE], HEIGHT, WIDTH))
    np.testing.assert_array_equal(pixels([SQUARE, TRIANGLE]), official.decode(runs) > 0)
    # A polygon of two points, which the tools would take for a box, has no pixel.
    np.testing.assert_array_equal(pixels([SQUARE, [1, 1, 20, 20]]), pixels([SQUARE]))


def test_run_lengths_compressed_or_not() -> None:
    expected = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    runs = official.encode(np.asfortranarray(expected, np.uint8))
    flat = expected.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat.astype(int), prepend=0))
    counts = np.diff([0, *ends, flat.size]).tolist()
    for value in (runs["counts"].decode(), counts):
        np.testing.assert_array_equal(pixels({"size": [HEIGHT, WIDTH], "counts": value}), expected)


@pytest.mark.parametrize("segmentation", [None, [], [[]], [[1, 2, 3, 4]]], ids=str)
def test_nothing_is_no_segmentation(segmentation: Any) -> None:
    assert Segmentations().encode(segmentation, HEIGHT, WIDTH) is None


ZIGZAG = [0, 0, 40, 30] * 100_000


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (7, "expected a list of polygons"),
        ("1 2 3", "expected a list of polygons"),
        ([7], "polygons of numbers"),
        ([["1", "2", "3", "4", "5", "6"]], "polygons of numbers"),
        ([[True, 2, 3, 4, 5, 6]], "polygons of numbers"),
        ([[[1, 2], [3, 4]]], "polygons of numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "pairs x, y, found 7 numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "coordinates from 1 to 1e"),
        ([[1, 2, 3, 4, 5, 10**400]], "huge"),
        ([[1, 2, 3, 4, 5, -31]], "coordinates from -31 to 5"),
        ([ZIGZAG], "expected an outline of at most"),
        ({"size": [HEIGHT, WIDTH]}, "expected counts"),
        ({"size": [WIDTH, HEIGHT], "counts": [1200]}, "expected the size"),
        ({"size": "x", "counts": [1200]}, "expected the size"),
        ({"counts": [1200]}, "expected the size"),
        ({"size": [HEIGHT, WIDTH], "counts": [1199]}, "whose sum is 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": [1201, -1]}, "whose sum is 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": [True] * 1200}, "whose sum is 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 99}, "expected the run lengths"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_none_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Segmentations().encode(segmentation, HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [(0, 5), (10**6, 10**6)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="expected an image size"):
        Segmentations().encode([SQUARE], *size)


def test_without_pycocotools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(DatasetError, match=r"pip install 'wsol-bench\[coco\]'"):
        Segmentations()
