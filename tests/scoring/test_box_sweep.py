"""Hits at every threshold are those of wsolevaluation, or of exact boxes."""

import numpy as np
import pytest
from overlaps import pairwise_iou
from scoring_cases import (
    SIZES,
    blobs,
    boxes_in,
    curves_in,
    hits_in,
    peaks_in,
    scored,
    scored_boxes,
    some_truths,
    truth_of,
    truths_near,
)
from wsolevaluation import box_hits, normalize_scoremap, resize_bbox

from wsol_bench.boxes import largest_component_box
from wsol_bench.boxes.threshold_sweep import sweep_best_iou
from wsol_bench.geometry import from_inclusive, to_inclusive
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.upsampling import upsample


def expected_hits(values, index, truth, protocol):
    """By wsolevaluation: first of the largest contour, then of all of them."""
    height, width = SIZES[index % len(SIZES)]
    scoremap = normalize_scoremap(upsample(values[None], (224, 224), protocol.map)[0])
    gt_boxes = [
        resize_bbox(box, (width, height), (224, 224)) for box in to_inclusive(truth.boxes).tolist()
    ]
    thresholds = protocol.box.threshold.thresholds
    kinds = (False, True) if protocol.box.component == "all" else (False,)
    return np.array(
        [
            box_hits(scoremap, gt_boxes, thresholds, least, multi_contour_eval)
            for multi_contour_eval in kinds
            for least in protocol.scoring.ious
        ]
    )


@pytest.mark.parametrize(
    ("name", "changes", "n_curves"),
    [
        ("choe-2020-v1", {}, 1),
        ("choe-2020-v2", {}, 6),
        ("choe-2020-v2", {"box": {"threshold": {"step": 0.03}}}, 6),
    ],
)
def test_hits_are_those_of_wsolevaluation_at_every_threshold_and_iou(name, changes, n_curves):
    protocol = load_protocol(name, changes)
    n = 24 if changes else 4
    maps = blobs(n, (4, 3))
    truths = truths_near(maps, protocol)
    scores = scored(maps, truths, protocol)
    assert scores.curve_rows.tolist() == list(range(n))
    n_thresholds = len(protocol.box.threshold.thresholds)
    ours = [hits_in(curve, n_thresholds) for curve in curves_in(scores).values()]
    for index in range(n):
        assert ours[index].shape[0] == n_curves
        theirs = expected_hits(maps[index], index, truths[index], protocol)
        assert np.array_equal(ours[index], theirs)
    # A test of hits needs some, and some misses, on every curve.
    share = np.mean(ours, axis=(0, 2))
    assert (share > 0).all() and (share < 1).all()


def test_a_sweep_chooses_no_box_and_makes_curves_of_the_label_alone():
    protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.1}}})
    maps, truths = blobs(20), some_truths(2)
    is_label = np.zeros(20, bool)
    is_label[[3, 17]] = True
    image = np.arange(20) // 10
    scores = scored(maps, truths, protocol, image=image, is_label=is_label)
    assert scores.curve_rows.tolist() == [3, 17]
    assert np.isnan(boxes_in(scores)).all() and "iou" not in scores.rows
    assert np.flatnonzero(~np.isnan(scores.rows["energy"])).tolist() == [3, 17]
    assert np.flatnonzero(~np.isnan(peaks_in(scores)).any(axis=1)).tolist() == [3, 17]
    for index in (3, 17):
        theirs = expected_hits(maps[index], image[index], truths[image[index]], protocol)
        assert np.array_equal(hits_in(curves_in(scores)[index], 10), theirs)
    assert scores.status.tolist() == ["swept"] * 20


def test_one_map_of_many_images_is_scored_by_the_truth_of_each():
    protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.05}}})
    maps = np.repeat(blobs(1, (4, 3), seed=1), 8, axis=0)
    truths = truths_near(maps, protocol)
    together = scored(maps, truths, protocol)
    ours = [hits_in(curve, 20) for curve in curves_in(together).values()]
    for index in range(8):
        assert np.array_equal(ours[index], expected_hits(maps[0], index, truths[index], protocol))
    assert len({one.tobytes() for one in ours}) >= 3
    # The same truth twice is the same curve twice, on images of one size.
    places = [protocol.input.place(180, 250)] * 2
    twice = scored(maps[:2], [truths[0]] * 2, protocol, placements=places)
    assert curves_in(twice)[0] == curves_in(twice)[1] == curves_in(together)[0]


def test_maps_of_the_same_values_and_other_shapes_or_rules_are_other_maps():
    protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.05}}})
    signed = load_protocol(
        "choe-2020-v2",
        {"box": {"threshold": {"step": 0.05}}, "map": {"rectify": "before_upsampling"}},
    )
    values, truths = blobs(1, (3, 8), seed=5), some_truths(1)
    for shape in ((3, 8), (4, 6), (8, 3)):
        for each in (protocol, signed):
            maps = values.reshape(1, *shape)
            curve = curves_in(scored(maps, truths, each))[0]
            theirs = expected_hits(maps[0], 0, truths[0], each)
            assert np.array_equal(hits_in(curve, 20), theirs)


def test_an_image_without_a_box_has_no_hit():
    protocol = load_protocol("choe-2020-v2")
    curve = curves_in(scored(blobs(1), [truth_of()], protocol))[0]
    assert curve == bytes(6 * 125)


def test_the_first_pixel_stands_in_for_the_box_of_a_map_without_one():
    # As by wsolevaluation: a constant map's box is [0, 0, 0, 0], one pixel.
    protocol = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.25}}})
    place = [protocol.input.place(224, 224)]
    for values, box, hit in (
        (1.0, [0.0, 0.0, 1.0, 1.0], True),
        (np.nan, [0.0, 0.0, 1.0, 1.0], True),
        (1.0, [0.0, 0.0, 2.0, 1.0], True),
        (1.0, [0.0, 0.0, 3.0, 1.0], False),
        (1.0, [1.0, 0.0, 2.0, 1.0], False),
    ):
        maps = np.full((1, 7, 7), values, np.float32)
        scores = scored(maps, [truth_of([box])], protocol, placements=place)
        assert hits_in(curves_in(scores)[0], 4).tolist() == [[hit] * 4]


@pytest.mark.parametrize("frame", ["original", "input"])
@pytest.mark.parametrize("measured_on", ["upsampled", "low_resolution"])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_sweep_over_components_is_one_of_exact_boxes(frame, measured_on, connectivity):
    rule = {
        "threshold": {"step": 0.04},
        "component": "all",
        "measured_on": measured_on,
        "connectivity": connectivity,
    }
    protocol = load_protocol(
        "gradcam-2017",
        {"box": rule, "scoring": {"iou": [0.2, 0.5], "frame": frame}},
    )
    maps, truths = blobs(8, (4, 3)), some_truths(8)
    scores = scored(maps, truths, protocol)
    thresholds = np.arange(0, 1, 0.04)
    all_hits = []
    for index, (height, width) in enumerate(SIZES * 2):
        large = upsample(maps[index : index + 1], (224, 224), protocol.map)[0]
        low_resolution = np.maximum(maps[index], 0)
        measured = large if measured_on == "upsampled" else low_resolution
        if frame == "original":
            # The map is in the input's pixels: so is the truth, scaled exactly.
            truth = truths[index].boxes * np.array([224 / width, 224 / height] * 2)
        else:
            corners = to_inclusive(truths[index].boxes).tolist()
            cut = [resize_bbox(box, (width, height), (224, 224)) for box in corners]
            truth = from_inclusive(np.array(cut, np.float64))
        ours = hits_in(curves_in(scores)[index], 25)
        extrema = (float(measured.min()), float(measured.max()))
        for position, threshold in enumerate(thresholds):
            box = largest_component_box(
                large, threshold=threshold, extrema=extrema, connectivity=connectivity
            )
            iou = 0.0 if box is None else pairwise_iou(box[None], truth).max()
            assert ours[:2, position].tolist() == [iou >= 0.2, iou >= 0.5]
        if measured_on == "upsampled":
            curve = sweep_best_iou(
                large, thresholds, truth, components="all", connectivity=connectivity
            )
            assert ours[2:].tolist() == [(curve >= 0.2).tolist(), (curve >= 0.5).tolist()]
        all_hits.append(ours)
    assert 0 < np.mean(all_hits) < 1


@pytest.mark.parametrize(("connectivity", "hits"), [(8, [True, True]), (4, [True, False])])
def test_a_sweep_connects_corners_where_the_protocol_does(connectivity, hits):
    protocol = load_protocol(
        "gradcam-2017",
        {
            "map": {"upsample": "nearest"},
            "box": {"threshold": {"step": 0.5}, "connectivity": connectivity},
            "scoring": {"iou": [0.5]},
        },
    )
    whole = truth_of([[0.0, 0.0, 250.0, 180.0]])
    curve = curves_in(scored([[[1, 0], [0, 1]]], [whole], protocol))[0]
    assert hits_in(curve, 2).tolist() == [hits]


class TestBoxesWithoutAMap:
    def test_a_box_is_right_at_every_threshold_or_at_none(self):
        protocol = load_protocol("choe-2020-v2")
        # In one image of the input's own size: IoU 0.3, 0.5 and 0.7 exactly, and a little less.
        truth = truth_of([[0.0, 0.0, 100.0, 100.0]])
        for width, expected in ((30, 1), (29.9, 0), (50, 2), (49.9, 1), (70, 3), (69.9, 2)):
            scores = scored_boxes([[0, 0, width, 100]], [truth], protocol, sizes=[(224, 224)])
            bits = hits_in(curves_in(scores)[0], 1000)
            right = [True] * expected + [False] * (3 - expected)
            assert bits.all(axis=1).tolist() == bits.any(axis=1).tolist() == right * 2
            assert boxes_in(scores).tolist() == [[0, 0, width, 100]]

    def test_in_the_input_the_truth_is_cut_and_the_box_is_not(self):
        protocol = load_protocol("choe-2020-v1")
        # On an image of 672 x 672 the truth's corners 0, 0, 151, 301 become 0, 0, 50, 100, whose
        # box has 51 x 101 pixels.
        truth = truth_of([[0.0, 0.0, 152.0, 302.0]])
        for width, hit in ((76.5, True), (76.4, False)):
            box = [0, 0, width, 303]  # 25.5 x 101 in the input
            scores = scored_boxes([box], [truth], protocol, sizes=[(672, 672)])
            assert hits_in(curves_in(scores)[0], 1000).tolist() == [[hit] * 1000]

    def test_no_box_is_no_hit(self):
        protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.1}}})
        scores = scored_boxes([[np.nan] * 4], some_truths(1), protocol)
        assert not hits_in(curves_in(scores)[0], 10).any()
        assert curves_in(scores)[0] == bytes(6 * 2)
        assert scores.status.tolist() == ["missing"]

    def test_curves_are_of_the_label_alone(self):
        protocol = load_protocol("choe-2020-v1")
        boxes = [truth.boxes[0] for truth in some_truths(3)]
        scores = scored_boxes(boxes, some_truths(3), protocol, is_label=[True, False, True])
        assert scores.curve_rows.tolist() == [0, 2]
        assert "iou" not in scores.rows and np.isnan(peaks_in(scores)).all()

    def test_a_box_of_the_label_that_may_have_no_curve_has_none(self):
        """Of several guesses of one class the first has it."""
        protocol = load_protocol("choe-2020-v1")
        boxes = [truth.boxes[0] for truth in some_truths(2)]
        scores = scored_boxes(boxes, some_truths(2), protocol, with_curve=[False, True])
        assert scores.curve_rows.tolist() == [1]
        assert scores.status.tolist() == ["swept", "swept"]
