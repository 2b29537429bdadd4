"""Everything of one image: its rows, boxes and maps, as the run has them."""

import base64
import json
import zlib
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from analyzed_runs import scenes

import wsol_bench
from wsol_bench.boxes.component import largest_component_box
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.datasets import MaskFiles
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details, StoredMap
from wsol_bench.report.page.map_choice import MapChoice
from wsol_bench.report.page.outcomes import OUTCOMES
from wsol_bench.runs.rescore import rescore
from wsol_bench.scoring.upsampling import upsample

IMAGES = range(0, 10, 3)


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


@pytest.fixture(scope="module")
def details(collection):
    return Details(collection)


def unpacked(detail, row):
    place = row["map"]
    values = np.frombuffer(zlib.decompress(base64.b64decode(detail["pack"])), "<f2")
    size = place["height"] * place["width"]
    return values[place["first"] :][:size].reshape(place["height"], place["width"])


def test_it_is_json(details):
    for image in IMAGES:
        assert json.loads(json.dumps(details.of(image), allow_nan=False))


@pytest.mark.parametrize("image", IMAGES)
def test_rows_are_those_of_the_run(details, collection, run, image):
    stored = run.rows[run.rows["image_id"] == collection.images.ids[image]]
    rows = details.of(image)["rows"]
    assert len(rows) == len(stored)
    for row, (_, line) in zip(rows, stored.iterrows(), strict=True):
        assert collection.lines[row["line"]].method == line["method"]
        assert (row["rank"], row["class"], row["score"]) == (
            line["rank"], line["class"], pytest.approx(line["score"]),
        )  # fmt: skip
        box = line[["x0", "y0", "x1", "y1"]].tolist()
        assert row["box"] == (None if np.isnan(box[0]) else box)
        assert row["iou"] == line["iou"]
        assert row["is_label"] == (
            line["class"] == collection.classes[collection.images.label[image]][0]
        )


@pytest.mark.parametrize("image", IMAGES)
def test_maps_are_those_of_the_run(details, collection, run, image):
    detail = details.of(image)
    stored = run.maps[run.maps["image_id"] == collection.images.ids[image]]
    stored = stored.set_index(["method", "rank"])
    with_map = [row for row in detail["rows"] if row["map"]]
    assert len(with_map) == len(stored) > 0
    for row in with_map:
        line = stored.loc[(collection.lines[row["line"]].method, row["rank"])]
        assert unpacked(detail, row).tobytes() == line["map"]
        assert row["map"]["scale"] == line["scale"]
        assert row["no_map"] == ""


def test_a_baseline_s_map_is_not_stored_and_says_so(details, collection):
    for row in details.of(0)["rows"]:
        if collection.lines[row["line"]].kind == "baseline":
            assert row["map"] is None and "not its map" in row["no_map"]


def test_values_are_the_label_s_metrics(details, run, collection):
    detail = details.of(0)
    stored = run.rows[run.rows["image_id"] == collection.images.ids[0]].reset_index(drop=True)
    for row, (_, line) in zip(detail["rows"], stored.iterrows(), strict=True):
        assert bool(row["values"]) == row["is_label"]
        for name, value in row["values"].items():
            assert value == line[name]
    names = {name for row in detail["rows"] for name in row["values"]}
    assert {"pointing_game", "insertion", "peak_x"} <= names


def test_taps_upsample_as_the_protocol_does(details, run):
    detail = details.of(0)
    [taps] = detail["taps"]
    row = next(row for row in detail["rows"] if row["map"])
    values = unpacked(detail, row).astype(np.float32)
    expected = upsample(values[None], (224, 224), run.folder.identity.protocol.map)[0]
    found = np.maximum(values, 0)
    for axis, before in enumerate(values.shape):
        axis_taps = taps[f"{before}>224"]
        n = axis_taps["n"]
        sample, weight = (
            np.frombuffer(base64.b64decode(axis_taps[name]), dtype).reshape(-1, n)
            for name, dtype in (("sample", "<i4"), ("weight", "<f4"))
        )
        matrix = np.zeros((224, before))
        for column in range(n):
            np.add.at(matrix, (np.arange(224), sample[:, column]), weight[:, column])
        found = np.moveaxis(np.tensordot(matrix, found, (1, axis)), 0, axis)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("image", IMAGES)
def test_outcomes_are_those_of_the_line(details, collection, image):
    found = set()
    for row in details.of(image)["rows"]:
        line = collection.lines[row["line"]]
        assert row["is_judged"] == row["is_label"]
        codes = line.gt_known if row["is_label"] else line.top1
        has_one = (row["is_label"] or row["rank"] == 1) and codes[image] != 255
        assert row["outcome"] == (codes[image] if has_one else None)
        found.add(row["outcome"])
    assert None in found and len(found) > 1


def test_of_a_wrong_prediction_the_outcome_is_that_of_the_class(mistaken):
    details = Details(Collection([mistaken.folder]))
    names = {}
    for row in details.of(0)["rows"]:
        place = "label" if row["is_label"] else row["rank"]
        names[place] = row["outcome"] if row["outcome"] is None else OUTCOMES[row["outcome"]]
    assert names.pop(1) == "wrong_class"
    assert names.pop("label") not in (None, "hit", "wrong_class")
    assert list(names.values()) == [None]


def test_of_a_label_that_is_named_twice_the_first_row_by_rank_is_judged(run):
    details = Details(Collection([run.folder]))
    read = details._parts.table

    def doubled(run, table, part):
        """The second prediction is the first one's class again, and its row stands in front."""
        if table != "rows":
            return read(run, table, part)
        found = read(run, table, part).to_pandas()
        first = found[found["rank"] == 1].set_index(["image_id", "method"])["class"]
        second = found["rank"] == 2
        keys = pd.MultiIndex.from_frame(found.loc[second, ["image_id", "method"]])
        found.loc[second, "class"] = first.loc[keys].to_numpy()
        return pa.Table.from_pandas(found.iloc[::-1])

    with mock.patch.object(details._parts, "table", doubled):
        rows = [row for row in details.of(0)["rows"] if row["line"] == 0]
    places = {row["rank"]: (row["is_label"], row["is_judged"]) for row in rows}
    assert places == {1: (True, True), 2: (True, False), 3: (False, False)}
    assert [row["outcome"] is None for row in rows] == [True, True, False]


def test_images_on_which_a_threshold_is_selected_have_no_outcome(swept):
    collection = Collection([swept.folder])
    details = Details(collection)
    [model] = collection.models
    for image, held_out in enumerate(model.held_out):
        labels = [row for row in details.of(image)["rows"] if row["is_label"]]
        assert {row["outcome"] is None for row in labels} == {held_out}
    assert 0 < model.held_out.sum() < len(model.held_out)


class TestSweeps:
    """A sweep keeps no box: the page gets that of the label's map at the line's threshold."""

    def test_boxes_of_components(self, run):
        box = {"threshold": {"step": 0.05}, "extractor": "components", "component": "largest"}
        swept = rescore(run.folder, {"name": "choe-2020-v1", "box": box}, out=None)
        self.check(
            swept,
            lambda large, t: largest_component_box(
                large, threshold=t, of="range", comparison="above"
            ),
        )

    def test_boxes_of_contours(self, run):
        box = {"threshold": {"step": 0.05}}
        swept = rescore(run.folder, {"name": "choe-2020-v1", "box": box}, out=None)
        self.check(swept, lambda large, t: contour_sweep(large, np.array([t])).largest.boxes[0])

    def check(self, swept, box_of):
        collection = Collection([swept.folder])
        protocol = swept.folder.identity.protocol
        details, n_boxes = Details(collection), 0
        for image in IMAGES:
            detail = details.of(image)
            for row in detail["rows"]:
                if not (row["is_label"] and row["map"]):
                    assert row["box"] is None
                    continue
                values = unpacked(detail, row).astype(np.float32)
                large = upsample(values[None], (224, 224), protocol.map)[0]
                line = collection.lines[row["line"]]
                assert row["box"] == box_of(large, line.threshold).tolist()  # 224 x 224 images
                hit = line.gt_known[image] == 0
                if not collection.models[0].held_out[image]:
                    assert (row["iou"] >= 0.5) == hit
                n_boxes += 1
        assert n_boxes >= 6


class TestMasks:
    """Under a protocol of pixels, the ground truth is a mask; the scenes' masks are rectangles."""

    def test_it_is_that_of_the_scene(self, masked):
        collection = Collection([masked.folder])
        details = Details(collection)
        for image, (size, _, boxes) in enumerate(scenes(6)):
            expected = np.zeros(size, np.uint8)
            if image == 0:
                expected[-10:] = 255  # ignored, but for the object
            for x0, y0, x1, y1 in boxes:
                expected[y0:y1, x0:x1] = 1
            [mask] = details.of(image)["masks"]
            assert (mask["height"], mask["width"], mask["problem"]) == (*size, "")
            found = np.frombuffer(zlib.decompress(base64.b64decode(mask["pack"])), np.uint8)
            np.testing.assert_array_equal(found.reshape(size), expected)

    def test_why_there_is_none_is_said(self, masked, tmp_path):
        collection = Collection([masked.folder])
        missing = MaskFiles((tmp_path / "gone.png",), None)
        collection.images = replace(collection.images, masks=[missing] * len(collection.images))
        [mask] = Details(collection).of(0)["masks"]
        assert mask["pack"] == ""
        assert str(tmp_path / "gone.png") in mask["problem"]

    def test_under_a_protocol_of_boxes_there_is_none(self, run, masked):
        collection = Collection([run.folder])
        masks = Collection([masked.folder]).images.masks[:1] * len(collection.images)
        collection.images = replace(collection.images, masks=masks)
        assert Details(collection).of(0)["masks"] == [None]


class TestChoice:
    def maps(self, *shapes):
        rng = np.random.default_rng(0)
        return [
            StoredMap(rng.random(shape).astype(np.float16), 1.0, is_label)
            for shape, is_label in shapes
        ]

    def test_all_maps_are_taken_if_they_fit(self):
        maps = self.maps(((7, 7), True), ((7, 7), False))
        assert MapChoice(10_000, 1)(maps) == maps

    def test_labels_come_first(self):
        maps = self.maps(((7, 7), False), ((7, 7), True))
        assert MapChoice(100, 1)(maps) == [None, maps[1]]

    def test_a_large_map_of_a_label_becomes_smaller(self):
        maps = self.maps(((224, 224), True), ((14, 14), True))
        large, small = MapChoice(10_000, 1)(maps)
        assert small is maps[1] and large.reduced and large.values.shape == (38, 38)
        assert large.values[0, 0] == pytest.approx(maps[0].values[:6, :6].mean(), abs=1e-3)
        # The last block holds the two rows and columns that are left over.
        assert large.values[-1, -1] == pytest.approx(maps[0].values[222:, 222:].mean(), abs=1e-3)

    def test_what_an_image_leaves_goes_to_the_next(self):
        choice = MapChoice(2 * 98, 2)
        assert choice(self.maps(((1, 1), True)))[0] is not None
        assert None not in choice(self.maps(((7, 7), True), ((6, 8), True)))

    def test_all_maps_together_stay_below_the_size(self):
        choice, total = MapChoice(50_000, 20), 0
        for _ in range(20):
            for map in choice(self.maps(((40, 40), True), ((14, 14), False), ((7, 7), True))):
                total += 0 if map is None else map.values.nbytes
        assert 0 < total <= 50_000


def test_several_runs_of_an_image_stand_side_by_side(run, swept):
    collection = Collection([run.folder, swept.folder])
    detail = Details(collection).of(0)
    runs = {collection.models[collection.lines[row["line"]].model].run for row in detail["rows"]}
    assert runs == {0, 1}
    assert len(detail["taps"]) == len(detail["placements"]) == len(detail["truth"]) == 2


def test_an_image_that_a_run_lacks_has_no_place_there(run, experiment, tmp_path):
    few = wsol_bench.run({**experiment, "limit": 2, "methods": ["cam"]}, out=tmp_path / "few")
    detail = Details(Collection([few.folder, run.folder])).of(5)
    assert detail["placements"][0] is None and detail["truth"][0] is None
    assert {row["line"] for row in detail["rows"]} == {1, 2, 3}
