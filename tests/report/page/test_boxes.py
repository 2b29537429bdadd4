"""The page's boxes and IoU are those of Python, bit for bit, for any map, rule and threshold."""

from itertools import cycle, product
from pathlib import Path

import numpy as np
import pytest
from difficult_maps import SHAPES
from page_boxes import (
    PLACE,
    Case,
    cases_of_run,
    details_of_page,
    modules_in,
    of_page,
    of_python,
    packed,
    upsampled_by_page,
)
from scoring_cases import SIZES, truth_of

import wsol_bench
from wsol_bench.protocols.load import load_protocol
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.overview import overview
from wsol_bench.scoring.upsampling import upsample

THRESHOLDS = [*np.linspace(0, 1, 15).tolist(), 0.15, np.nextafter(0.15, 1), 0.2, 0.55, 0.999]
CHOICES = {
    "of": ("maximum", "range"),
    "measured_on": ("upsampled", "low_resolution"),
    "comparison": ("at_least", "above"),
    "connectivity": (4, 8),
}
RULES = [
    ({"rectify": rectify}, dict(zip(CHOICES, choices, strict=True)))
    for rectify in ("before_upsampling", "after_upsampling", "never")
    for choices in product(*CHOICES.values())
]
MODES = [("bilinear", False), ("bicubic", False), ("nearest", False), ("bilinear", True)]
MODES.append(("bicubic", True))
GEOMETRIES = [
    {"geometry": "squash"},
    {"geometry": "center_crop", "resize_to": 80},
    {"geometry": "shorter_side"},
]


@pytest.fixture(scope="module")
def page(browser):
    with modules_in(browser) as page:
        yield page


def stored(values):
    """A map as a run may store it: in float16."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float16)


def synthetic_maps():
    """Maps of the sizes of networks' layers: smooth, noisy, of few values, and that say nothing."""
    random = np.random.default_rng(3)
    for shape in ((7, 7), (14, 14), (28, 20), (1, 1), (224, 224)):
        y, x = np.indices(shape)
        yield random.standard_normal(shape)
        yield random.integers(-1, 3, shape)  # ties of values and of sizes of components
        yield (np.hypot(y - shape[0] / 3, x - shape[1] / 2) < shape[0] / 4) * 1.0
        yield np.exp(-((y - shape[0] / 2) ** 2 + (x - 2) ** 2) / shape[0])
        yield np.full(shape, 0.3)
        yield np.zeros(shape)
        yield -np.ones(shape) - random.random(shape)
        yield np.where(y + x == 0, np.nan, 1.0)
        yield np.where(y + x == 0, np.inf, random.random(shape))
        yield random.random(shape) * 2.0**-20  # denormal float16


MAPS = [stored(map) for map in (*SHAPES.values(), *synthetic_maps()) if np.size(map)]


def truths(n, size, random):
    """Up to three boxes in each of n images of a size, on whole pixels; none in some."""
    low = random.random((n, 3, 2)) * 0.5
    corners = np.concatenate([low, low + 0.1 + random.random((n, 3, 2)) * 0.5], axis=2)
    boxes = np.rint(np.clip(corners, 0, 1) * np.tile(size[::-1], 2))
    return [truth_of(boxes[index, : index % 4]) for index in range(n)]


def cases_of(maps, protocol, random):
    """The maps as cases, those of one shape together, each shape in images of another size."""
    by_shape = {}
    for map in maps:
        by_shape.setdefault(map.shape, []).append(map)
    sizes = cycle(SIZES)
    for same in by_shape.values():
        size = next(sizes)
        placements = [protocol.input.place(*size)] * len(same)
        yield Case(
            protocol, np.stack(same), truths(len(same), size, random), placements, THRESHOLDS
        )


def assert_same(page, cases):
    ours, theirs = of_page(page, cases), of_python(cases)
    assert len(ours) == len(theirs) == sum(len(case.maps) * len(THRESHOLDS) for case in cases)
    assert ours == theirs
    return ours


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_pythons_by_every_rule(page, seed):
    """Every rule with drawn maps, and a drawn interpolation, geometry and frame."""
    random = np.random.default_rng(seed)
    cases = []
    for of_map, box in RULES:
        mode, aligned = MODES[random.integers(len(MODES))]
        changes = {
            "input": {"size": 64, **GEOMETRIES[random.integers(len(GEOMETRIES))]},
            "map": {**of_map, "upsample": mode, "align_corners": aligned},
            "box": box,
            "scoring": {"frame": ("original", "input")[random.integers(2)]},
        }
        maps = [MAPS[index] for index in random.permutation(len(MAPS))[:12]]
        cases += cases_of(maps, load_protocol("gradcam-2017", changes), random)
    found = assert_same(page, cases)
    assert sum(box is not None for box, _ in found) > len(found) / 3
    assert sum(iou > 0 for _, iou in found) > len(found) / 10


@pytest.mark.parametrize("name", ["gradcam-2017", "zhou-2016"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_boxes_are_pythons_by_published_protocols(page, name, mode):
    protocol = load_protocol(name, {"map": {"upsample": mode}})
    assert_same(page, list(cases_of(MAPS, protocol, np.random.default_rng(0))))


def test_the_first_map_of_a_page_may_have_as_many_runs_as_can_be(browser):
    """The page keeps the arrays of runs from map to map, so a later map would find room."""
    changes = {"input": {"size": 5}, "map": {"upsample": "nearest"}}
    protocol = load_protocol("gradcam-2017", changes)
    checkers = stored(1 - np.indices((5, 5)).sum(axis=0) % 2)
    with modules_in(browser) as page:
        found = assert_same(page, list(cases_of([checkers], protocol, np.random.default_rng(0))))
    assert found[-1][0] == [0, 0, SIZES[0][1], SIZES[0][0]]


@pytest.mark.parametrize("of_map", [of_map for of_map, _ in RULES[::16]])
@pytest.mark.parametrize(("mode", "aligned"), MODES)
def test_upsampled_maps_are_pythons(page, mode, aligned, of_map):
    """To the last bit, and also where values are not finite."""
    changes = {**of_map, "upsample": mode, "align_corners": aligned}
    geometry = {"size": 50, "geometry": "shorter_side"}
    protocol = load_protocol("gradcam-2017", {"input": geometry, "map": changes})
    cases = list(cases_of(MAPS, protocol, np.random.default_rng(0)))
    for case, ours in zip(cases, upsampled_by_page(page, cases), strict=True):
        maps = case.maps.astype(np.float32)
        np.testing.assert_array_equal(ours, upsample(maps, ours.shape[1:], protocol.map))


def test_every_float16_has_its_value(page):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    script = """async ([module, pack]) => {
      const { unpackMaps } = await import(module);
      return Array.from(await unpackMaps(pack));
    }"""
    ours = np.array(page.evaluate(script, [f"{PLACE}map.js", packed(every)]))
    np.testing.assert_array_equal(ours, every.astype(np.float64))
    assert np.array_equal(np.signbit(ours[every == 0]), np.signbit(every[every == 0]))


def test_boxes_of_contours_are_an_error(page):
    script = """async (module) => {
      const { boxAtThreshold } = await import(module);
      const map = { values: new Float32Array(1), height: 1, width: 1 };
      const one = [1, 1];
      const placement = { original: one, resized: one, offset: [0, 0], input: one };
      try {
        boxAtThreshold(map, map.values, placement, { extractor: "contours" }, 0.5);
      } catch (error) {
        return error.message;
      }
    }"""
    assert "contours" in page.evaluate(script, f"{PLACE}map.js")


def assert_run_is_shown(page, run):
    """The boxes of all stored maps of a run, at its own threshold and at others."""
    collection = Collection([run.folder])
    reader = Details(collection)
    details = [reader.of(image) for image in range(len(collection.images))]
    rows = [row for detail in details for row in detail["rows"] if row["map"]]
    assert len(rows) == len(run.maps) > 0
    ours = details_of_page(page, overview(collection, source="file"), details)
    assert ours == [[row["box"], row["iou"]] for row in rows]
    assert sum(iou > 0 for _, iou in ours) > len(ours) / 4
    assert_same(page, list(cases_of_run(run, THRESHOLDS)))


def test_boxes_of_the_demo_are_pythons(page, tmp_path):
    demo = wsol_bench.load_config(
        Path(wsol_bench.__file__).parent / "cli/demo.yaml", ["limit=40", "workers=0"]
    )
    assert_run_is_shown(page, wsol_bench.run(demo, out=tmp_path / "run"))


def test_boxes_of_whole_cells_are_pythons(page, run):
    assert_run_is_shown(page, run)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_boxes_of_real_images_are_pythons(page, data_dir, tmp_path):
    """All maps of 60 real images, of two networks and two methods."""
    experiment = Path(__file__).parents[3] / "experiments/ilsvrc_mini.yaml"
    config = wsol_bench.load_config(experiment, ["limit=60"])
    assert_run_is_shown(page, wsol_bench.run(config, out=tmp_path / "run"))
