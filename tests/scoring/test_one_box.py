"""One box a map, against hand-solved maps, brute force and wsolevaluation."""

import numpy as np
import pytest
from overlaps import pairwise_iou
from scoring_cases import (
    SIZES,
    blobs,
    boxes_in,
    boxes_in_input,
    scored,
    scored_boxes,
    some_truths,
    truth_of,
)
from wsolevaluation import compute_bboxes_from_scoremaps, normalize_scoremap

from wsol_bench.errors import ConfigError
from wsol_bench.geometry import from_inclusive
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.upsampling import upsample

CONTOURS = {"extractor": "contours", "of": "range", "comparison": "above"}
GRADCAM = load_protocol("gradcam-2017")


def box(values, *, size=224, **changes):
    return boxes_in_input([values], load_protocol("gradcam-2017", changes), size)[0].tolist()


def test_one_hot_cell_of_a_two_by_two_map():
    # Along an axis of 8 pixels the weight of the hot cell is 1, 1, .875, .625, .375, .125, 0, 0
    # (centers at 2 and 6 of 8); the product of two weights reaches 0.15 up to .375 * .625 and not
    # at .375 * .375 = .14: rows and columns 0..5 (.125 * 1 is below), so columns 0..4.
    assert box([[1.0, 0.0], [0.0, 0.0]], size=8) == [0, 0, 5, 5]


def test_negative_values_matter_only_where_the_protocol_rectifies_late():
    values = [[1.0, -1.0], [-1.0, -1.0]]
    before = box(values, size=8)
    after = box(values, size=8, map={"rectify": "after_upsampling"})
    never = box(values, size=8, map={"rectify": "never"})
    assert before == [0, 0, 5, 5]
    assert after == never == [0, 0, 4, 4]


def test_the_range_of_an_unrectified_map_is_another_protocol():
    # By the range the level is -0.2 + 0.15 * 1.2 = -0.02. In the first column w * 1 - (1 - w) * 0.2
    # reaches it for w >= 0.15 (rows 0..4), in the last -(1 - w) * 0.2 for w >= 0.9 (rows 0 and 1).
    values = [[1.0, 0.0], [-0.2, -0.2]]
    assert box(values, size=8) == [0, 0, 5, 5]
    signed = {"map": {"rectify": "never"}, "box": {"of": "range"}}
    assert box(values, size=8, **signed) == [0, 0, 8, 5]


def test_extrema_of_the_low_resolution_map_can_set_the_level():
    # A single hot cell loses height by aligned-off upsampling: 1 becomes 0.875 ** 2 at most here.
    values = np.zeros((3, 3))
    values[1, 1] = 1
    high = {"threshold": 0.95}
    assert box(values, size=6, box=high) == [2, 2, 4, 4]
    lost = box(values, size=6, box={**high, "measured_on": "low_resolution"})
    assert np.isnan(lost).all()


def test_the_range_of_the_low_resolution_map_is_that_of_the_rectified_one():
    # From 0 to 1: the level is 0.15. From -1 it would be -0.7, which every pixel reaches.
    values = [[1.0, -1.0], [-1.0, -1.0]]
    rule = {"of": "range", "measured_on": "low_resolution"}
    assert box(values, size=8, box=rule) == [0, 0, 5, 5]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_every_interpolation_gives_the_whole_image_for_a_constant_map(mode):
    assert box(np.full((7, 7), 2.0), map={"upsample": mode}) == [0, 0, 224, 224]


def test_a_map_without_a_box_is_a_row_of_nan_and_leaves_the_others():
    maps = np.stack([np.zeros((7, 7)), np.ones((7, 7)), np.full((7, 7), np.nan)]).astype(np.float32)
    found = boxes_in_input(maps, GRADCAM)
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True]


def test_no_maps_are_no_boxes():
    assert boxes_in_input(np.zeros((0, 7, 7)), GRADCAM).shape == (0, 4)


class TestContoursOfOneThreshold:
    def test_the_box_is_that_of_wsolevaluation(self):
        protocol = load_protocol("gradcam-2017", {"box": {**CONTOURS, "threshold": 0.4}})
        maps, truths = blobs(12), some_truths(12)
        scores = scored(maps, truths, protocol)
        for index, values in enumerate(upsample(maps, (224, 224), protocol.map)):
            [[corners]] = compute_bboxes_from_scoremaps(normalize_scoremap(values), [0.4], False)
            box = from_inclusive(np.array(corners, float))
            assert boxes_in_input(maps[index : index + 1], protocol).tolist() == [box.tolist()]
            height, width = SIZES[index % len(SIZES)]
            box = box * [width, height, width, height] / 224
            assert boxes_in(scores)[index] == pytest.approx(box, abs=1e-9)
            iou = pairwise_iou(box[None], truths[index].boxes).max()
            assert scores.rows["iou"][index] == pytest.approx(iou, abs=1e-12)
        assert len(scores.curve_rows) == len(scores.curves) == 0
        assert scores.status.tolist() == ["box"] * 12

    def test_a_protocol_file_may_say_so(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text(
            "name: mine\n"
            "input: {size: 8, geometry: squash, filter: bilinear, antialias: true}\n"
            "map: {rectify: never, upsample: nearest, align_corners: false}\n"
            "box: {threshold: 0.5, of: range, measured_on: upsampled, comparison: above,"
            " connectivity: 8, extractor: contours, component: largest}\n"
            "scoring: {iou: 0.5, frame: original}\n"
        )
        protocol = load_protocol(str(file))
        values = np.zeros((1, 4, 4))
        values[0, 1, 1:3] = 1
        scores = scored(
            values,
            [truth_of([[8.0, 4.0, 24.0, 8.0]])],
            protocol,
            placements=[protocol.input.place(16, 32)],
        )
        # Pixels 2..5 and 2..3 of eight; the box ends one later: 7 and 5, of an image of 32 x 16.
        assert boxes_in(scores).tolist() == [[8, 4, 28, 10]]
        assert scores.rows["iou"].tolist() == [16 * 4 / (20 * 6)]

    @pytest.mark.parametrize(
        "change",
        [
            {"of": "maximum"},
            {"measured_on": "low_resolution"},
            {"comparison": "at_least"},
            {"connectivity": 4},
        ],
    )
    def test_contours_go_with_wsolevaluations_choices_alone(self, change):
        with pytest.raises(ConfigError, match="extractor: contours goes with of: range"):
            load_protocol("gradcam-2017", {"box": {**CONTOURS, **change}})
        with pytest.raises(ConfigError, match="extractor: contours goes with of: range"):
            load_protocol("choe-2020-v2", {"box": change})

    def test_all_components_need_a_sweep(self):
        for rule in (CONTOURS, {}):
            with pytest.raises(ConfigError, match="component: all needs a sweep"):
                load_protocol("gradcam-2017", {"box": {**rule, "component": "all"}})

    def test_several_least_ious_need_a_sweep(self):
        with pytest.raises(ConfigError, match="several need a sweep"):
            load_protocol("gradcam-2017", {"scoring": {"iou": [0.3, 0.5]}})


class TestOneBox:
    def test_the_best_iou_is_that_of_brute_force_in_the_original_image(self):
        maps, truths = blobs(30, (5, 4), seed=2), some_truths(10)
        image = np.random.default_rng(0).integers(0, 10, 30)
        scores = scored(maps, truths, GRADCAM, image=image, is_label=np.zeros(30, bool))
        inside = boxes_in_input(maps, GRADCAM)
        for index in range(30):
            height, width = SIZES[image[index] % len(SIZES)]
            box = inside[index] * [width, height, width, height] / 224
            assert boxes_in(scores)[index].tolist() == box.tolist()
            best = pairwise_iou(box[None], truths[image[index]].boxes).max()
            assert scores.rows["iou"][index] == best
        assert len(set(scores.rows["iou"].tolist())) > 20

    def test_in_the_input_the_truth_is_cut_to_whole_pixels(self):
        # An image of 448 x 112: the truth's corners 3, 5, 101, 50 become 1.5, 10, 50.5, 100.
        protocol = load_protocol("gradcam-2017", {"scoring": {"frame": "input"}})
        values = np.zeros((1, 224, 224))
        values[0, 10:101, 1:61] = 1
        place = [protocol.input.place(112, 448)]
        truths = [truth_of([[3.0, 5.0, 102.0, 51.0]])]
        scores = scored(values, truths, protocol, placements=place)
        assert boxes_in(scores).tolist() == [[2, 5, 122, 50.5]]
        assert scores.rows["iou"].tolist() == [50 / 60]
        exact = scored(values, truths, GRADCAM, placements=place)
        assert boxes_in(exact).tolist() == boxes_in(scores).tolist()
        both = 99 * 45.5
        assert exact.rows["iou"].tolist() == [both / (120 * 45.5 + 99 * 46 - both)]

    def test_a_map_without_a_box_misses(self):
        scores = scored(np.zeros((2, 7, 7)), some_truths(2), GRADCAM)
        assert np.isnan(boxes_in(scores)).all()
        assert scores.rows["iou"].tolist() == [0, 0]
        assert scores.status.tolist() == ["zero", "zero"]

    def test_an_image_without_a_truth_is_a_miss(self):
        scores = scored(np.ones((1, 7, 7)), [truth_of()], GRADCAM)
        assert scores.rows["iou"].tolist() == [0]
        assert boxes_in(scores).tolist() == [[0, 0, 250, 180]]

    def test_no_maps_have_no_scores(self):
        scores = scored(np.zeros((0, 7, 7)), [], GRADCAM)
        assert {len(values) for values in (scores.status, *scores.rows.values())} == {0}
        assert set(scores.rows) > {"x0", "y0", "x1", "y1", "iou", "peak_x", "peak_y", "energy"}
        assert len(scores.curve_rows) == len(scores.curves) == 0


class TestBoxesWithoutAMap:
    def test_no_box_is_no_hit(self):
        scores = scored_boxes([[np.nan] * 4], some_truths(1), GRADCAM)
        assert scores.rows["iou"].tolist() == [0]
        assert scores.status.tolist() == ["missing"]

    def test_one_threshold_is_one_iou(self):
        truths = some_truths(4)
        boxes = np.array([truth.boxes[-1] - 3 for truth in truths])
        scores = scored_boxes(boxes, truths, GRADCAM, is_label=np.zeros(4, bool))
        expected = [
            pairwise_iou(box[None], truth.boxes).max()
            for box, truth in zip(boxes, truths, strict=True)
        ]
        assert scores.rows["iou"] == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(boxes_in(scores), boxes)
        assert len(scores.curve_rows) == len(scores.curves) == 0
        assert scores.status.tolist() == ["box"] * 4

    def test_in_the_input_the_truth_is_cut_and_the_box_is_not(self):
        # As for a sweep: 25.5 x 101 of 51 x 101 pixels.
        protocol = load_protocol("gradcam-2017", {"scoring": {"frame": "input"}})
        truth = truth_of([[0.0, 0.0, 152.0, 302.0]])
        scores = scored_boxes([[0, 0, 76.5, 303]], [truth], protocol, sizes=[(672, 672)])
        assert scores.rows["iou"] == pytest.approx([0.5], abs=1e-12)
        assert boxes_in(scores).tolist() == [[0, 0, 76.5, 303]]

    def test_a_box_has_no_peak_and_no_energy(self):
        scores = scored_boxes([truth.boxes[0] for truth in some_truths(2)], some_truths(2), GRADCAM)
        measured = {"peak_x", "peak_y", "energy", "pointing_game", "pointing_game_15px"}
        assert measured <= set(scores.rows)
        assert all(np.isnan(scores.rows[name]).all() for name in measured)
