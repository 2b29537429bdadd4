import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize
from wsol_bench.boxes.rule import (
    Scores,
    Truth,
    boxes_of_maps,
    score_boxes,
    score_maps,
    status_of,
    upsample,
)
from wsolevaluation import (
    MaskEvaluator,
    box_hits,
    compute_bboxes_from_scoremaps,
    normalize_scoremap,
    resize_bbox,
)

from wsol_bench.boxes import largest_component_box
from wsol_bench.boxes.sweep import sweep_best_iou
from wsol_bench.datasets import MaskFiles
from wsol_bench.errors import ConfigError
from wsol_bench.geometry import Placement, from_inclusive, pairwise_iou, to_inclusive
from wsol_bench.metrics.pixel_ap import pixel_average_precision
from wsol_bench.protocols import load_protocol

GRADCAM = load_protocol("gradcam-2017")


def rules(**changes):
    protocol = load_protocol("gradcam-2017", changes)
    return protocol.map, protocol.box


def box(values, *, size=(224, 224), **changes):
    maps = np.array(values, np.float32)[None]
    return boxes_of_maps(maps, size, *rules(**changes))[0].tolist()


def test_bilinear_upsampling_is_scikit_image_at_pixel_centers():
    maps = np.random.default_rng(0).random((1, 7, 7), np.float32)
    ours = upsample(maps, (224, 200), GRADCAM.map)[0]
    # order=1 on pixel centers; beyond the outermost centers both repeat the edge.
    reference = resize(maps[0], (224, 200), order=1, mode="edge", anti_aliasing=False)
    assert np.abs(ours - reference).max() < 1e-5


@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [(mode, aligned) for mode in ("bilinear", "bicubic") for aligned in (False, True)],
)
@pytest.mark.parametrize("size", [(224, 200), (5, 3), (14, 7)])
def test_upsampling_is_torchs_to_the_rounding_of_float32(mode, align_corners, size):
    maps = np.random.default_rng(0).standard_normal((40, 14, 7), np.float32)
    rule = load_protocol("gradcam-2017", {"map": {"upsample": mode, "rectify": "never"}}).map
    rule = rule.model_copy(update={"align_corners": align_corners})
    aligned = None if mode == "nearest" else align_corners
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=size, mode=mode, align_corners=aligned
    )[:, 0].numpy()
    assert np.abs(upsample(maps, size, rule) - theirs).max() <= 2e-6 * np.abs(maps).max()


def test_one_hot_cell_of_a_two_by_two_map():
    # Along an axis of 8 pixels the weight of the hot cell is 1, 1, .875, .625, .375, .125, 0, 0
    # (centers at 2 and 6 of 8); the product of two weights reaches 0.15 up to .375 * .625 and not
    # at .375 * .375 = .14: rows and columns 0..5 (.125 * 1 is below), so columns 0..4.
    assert box([[1.0, 0.0], [0.0, 0.0]], size=(8, 8)) == [0, 0, 5, 5]


def test_negative_values_matter_only_where_the_protocol_rectifies_late():
    values = [[1.0, -1.0], [-1.0, -1.0]]
    before = box(values, size=(8, 8))
    after = box(values, size=(8, 8), map={"rectify": "after_upsampling"})
    never = box(values, size=(8, 8), map={"rectify": "never"})
    assert before == [0, 0, 5, 5]
    assert after == never == [0, 0, 4, 4]


def test_the_range_of_an_unrectified_map_is_another_protocol():
    # By the range the level is -0.2 + 0.15 * 1.2 = -0.02. In the first column w * 1 - (1 - w) * 0.2
    # reaches it for w >= 0.15 (rows 0..4), in the last -(1 - w) * 0.2 for w >= 0.9 (rows 0 and 1).
    values = [[1.0, 0.0], [-0.2, -0.2]]
    assert box(values, size=(8, 8)) == [0, 0, 5, 5]
    signed = {"map": {"rectify": "never"}, "box": {"of": "range"}}
    assert box(values, size=(8, 8), **signed) == [0, 0, 8, 5]


def test_extrema_of_the_low_resolution_map_can_set_the_level():
    # A single hot cell loses height by aligned-off upsampling: 1 becomes 0.875 ** 2 at most here.
    values = np.zeros((3, 3))
    values[1, 1] = 1
    high = {"threshold": 0.95}
    assert box(values, size=(6, 6), box=high) == [2, 2, 4, 4]
    lost = box(values, size=(6, 6), box={**high, "measured_on": "low_resolution"})
    assert np.isnan(lost).all()


def test_the_range_of_the_low_resolution_map_is_that_of_the_rectified_one():
    # From 0 to 1: the level is 0.15. From -1 it would be -0.7, which every pixel reaches.
    values = [[1.0, -1.0], [-1.0, -1.0]]
    rule = {"of": "range", "measured_on": "low_resolution"}
    assert box(values, size=(8, 8), box=rule) == [0, 0, 5, 5]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_every_interpolation_gives_the_whole_image_for_a_constant_map(mode):
    assert box(np.full((7, 7), 2.0), map={"upsample": mode}) == [0, 0, 224, 224]


def test_a_map_without_a_box_is_a_row_of_nan_and_leaves_the_others():
    maps = np.stack([np.zeros((7, 7)), np.ones((7, 7)), np.full((7, 7), np.nan)]).astype(np.float32)
    found = boxes_of_maps(maps, (224, 224), GRADCAM.map, GRADCAM.box)
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True]


def test_no_maps_are_no_boxes():
    assert boxes_of_maps(
        np.zeros((0, 7, 7), np.float32), (224, 224), GRADCAM.map, GRADCAM.box
    ).shape == (0, 4)


# Scores: what maps are worth under a protocol.

SIZES = [(180, 250), (640, 427), (224, 224), (97, 501)]  # (height, width)
CONTOURS = {"extractor": "contours", "of": "range", "comparison": "above"}


def scored(maps, truths, protocol, *, placements=None, image=None, own=None):
    """Scores of maps: by default the n-th is that of the n-th image's own class."""
    if placements is None:
        placements = [
            protocol.input.place(*SIZES[index % len(SIZES)]) for index in range(len(truths))
        ]
    return score_maps(
        np.asarray(maps, np.float32),
        np.arange(len(maps)) if image is None else np.array(image),
        np.ones(len(maps), bool) if own is None else np.array(own),
        placements,
        truths,
        protocol,
    )


def blobs(n, shape=(7, 9), seed=0):
    """Signed maps, as CAM makes them."""
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def some_truths(n, seed=0):
    """Up to three boxes an image, on whole pixels of images of SIZES."""
    random = np.random.default_rng(seed)
    truths = []
    for index in range(n):
        height, width = SIZES[index % len(SIZES)]
        n_boxes = random.integers(1, 4)
        x = np.sort(random.integers(0, width, (n_boxes, 2)), axis=1)
        y = np.sort(random.integers(0, height, (n_boxes, 2)), axis=1)
        boxes = np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)
        truths.append(Truth(boxes.astype(np.float64)))
    return truths


def truths_near(maps, protocol, seed=0):
    """For each map the box of what is above one threshold, moved a little, and one anywhere."""
    random = np.random.default_rng(seed)
    truths = []
    for index, large in enumerate(upsample(maps, (224, 224), protocol.map)):
        height, width = SIZES[index % len(SIZES)]
        box = largest_component_box(large, threshold=random.uniform(0.3, 0.7), of="range")
        box += random.integers(-9, 10, 4)
        near = (np.clip(box, 0, 224) * [width, height, width, height] / 224).round()
        truths.append(Truth(np.stack([near, some_truths(index + 1, seed)[index].boxes[0]])))
    return truths


def hits_in(curve, n_thresholds):
    """A curve's hits as booleans (curves, thresholds), bit by bit."""
    digits = "".join(f"{byte:08b}" for byte in curve.hits)
    width = 8 * -(-n_thresholds // 8)
    rows = [digits[at : at + width] for at in range(0, len(digits), width)]
    assert all(set(row[n_thresholds:]) <= {"0"} for row in rows)
    return np.array([[digit == "1" for digit in row[:n_thresholds]] for row in rows])


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
    assert list(scores.curves) == list(range(n))
    n_thresholds = len(protocol.box.threshold.thresholds)
    ours = [hits_in(curve, n_thresholds) for curve in scores.curves.values()]
    for index in range(n):
        assert ours[index].shape[0] == n_curves
        theirs = expected_hits(maps[index], index, truths[index], protocol)
        assert np.array_equal(ours[index], theirs)
    # A test of hits needs some, and some misses, on every curve.
    share = np.mean(ours, axis=(0, 2))
    assert (share > 0).all() and (share < 1).all()


def test_a_sweep_chooses_no_box_and_makes_curves_of_the_own_class_alone():
    protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.1}}})
    maps, truths = blobs(20), some_truths(2)
    own = np.zeros(20, bool)
    own[[3, 17]] = True
    image = np.arange(20) // 10
    scores = scored(maps, truths, protocol, image=image, own=own)
    assert list(scores.curves) == [3, 17]
    assert np.isnan(scores.boxes).all() and np.isnan(scores.iou).all()
    assert np.flatnonzero(~np.isnan(scores.energy)).tolist() == [3, 17]
    assert np.flatnonzero(~np.isnan(scores.peak).any(axis=1)).tolist() == [3, 17]
    for index in (3, 17):
        theirs = expected_hits(maps[index], image[index], truths[image[index]], protocol)
        assert np.array_equal(hits_in(scores.curves[index], 10), theirs)
    assert status_of(scores, protocol).tolist() == ["swept"] * 20


def test_one_map_of_many_images_is_scored_by_the_truth_of_each():
    protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.05}}})
    maps = np.repeat(blobs(1, (4, 3), seed=1), 8, axis=0)
    truths = truths_near(maps, protocol)
    together = scored(maps, truths, protocol)
    ours = [hits_in(curve, 20) for curve in together.curves.values()]
    for index in range(8):
        assert np.array_equal(ours[index], expected_hits(maps[0], index, truths[index], protocol))
    assert len({one.tobytes() for one in ours}) >= 3
    # The same truth twice is the same curve twice, on images of one size.
    places = [protocol.input.place(180, 250)] * 2
    twice = scored(maps[:2], [truths[0]] * 2, protocol, placements=places)
    assert twice.curves[0] == twice.curves[1] == together.curves[0]


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
            curve = scored(maps, truths, each).curves[0]
            theirs = expected_hits(maps[0], 0, truths[0], each)
            assert np.array_equal(hits_in(curve, 20), theirs)


def test_an_image_without_a_box_has_no_hit():
    protocol = load_protocol("choe-2020-v2")
    curve = scored(blobs(1), [Truth(np.zeros((0, 4)))], protocol).curves[0]
    assert curve.hits == bytes(6 * 125)


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
        scores = scored(maps, [Truth(np.array([box]))], protocol, placements=place)
        assert hits_in(scores.curves[0], 4).tolist() == [[hit] * 4]


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
        ours = hits_in(scores.curves[index], 25)
        extrema = (float(measured.min()), float(measured.max()))
        for position, threshold in enumerate(thresholds):
            box = largest_component_box(
                large, threshold=threshold, extrema=extrema, connectivity=connectivity // 4
            )
            iou = 0.0 if box is None else pairwise_iou(box[None], truth).max()
            assert ours[:2, position].tolist() == [iou >= 0.2, iou >= 0.5]
        if measured_on == "upsampled":
            curve = sweep_best_iou(
                large, thresholds, truth, components="all", connectivity=connectivity // 4
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
    whole = Truth(np.array([[0.0, 0.0, 250.0, 180.0]]))
    curve = scored([[[1, 0], [0, 1]]], [whole], protocol).curves[0]
    assert hits_in(curve, 2).tolist() == [hits]


class TestContoursOfOneThreshold:
    def test_the_box_is_that_of_wsolevaluation(self):
        protocol = load_protocol("gradcam-2017", {"box": {**CONTOURS, "threshold": 0.4}})
        maps, truths = blobs(12), some_truths(12)
        scores = scored(maps, truths, protocol)
        for index, values in enumerate(upsample(maps, (224, 224), protocol.map)):
            [[corners]] = compute_bboxes_from_scoremaps(normalize_scoremap(values), [0.4], False)
            box = from_inclusive(np.array(corners, float))
            assert boxes_of_maps(
                maps[index : index + 1], (224, 224), protocol.map, protocol.box
            ).tolist() == [box.tolist()]
            height, width = SIZES[index % len(SIZES)]
            box = box * [width, height, width, height] / 224
            assert scores.boxes[index] == pytest.approx(box, abs=1e-9)
            iou = pairwise_iou(box[None], truths[index].boxes).max()
            assert scores.iou[index] == pytest.approx(iou, abs=1e-12)
        assert scores.curves == {}
        assert status_of(scores, protocol).tolist() == ["box"] * 12

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
            [Truth(np.array([[8.0, 4.0, 24.0, 8.0]]))],
            protocol,
            placements=[protocol.input.place(16, 32)],
        )
        # Pixels 2..5 and 2..3 of eight; the box ends one later: 7 and 5, of an image of 32 x 16.
        assert scores.boxes.tolist() == [[8, 4, 28, 10]]
        assert scores.iou.tolist() == [16 * 4 / (20 * 6)]

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
        with pytest.raises(ConfigError, match="several belong to a sweep"):
            load_protocol("gradcam-2017", {"scoring": {"iou": [0.3, 0.5]}})


class TestOneBox:
    def test_the_best_iou_is_that_of_brute_force_in_the_original_image(self):
        maps, truths = blobs(30, (5, 4), seed=2), some_truths(10)
        image = np.random.default_rng(0).integers(0, 10, 30)
        scores = scored(maps, truths, GRADCAM, image=image, own=np.zeros(30, bool))
        inside = boxes_of_maps(maps, (224, 224), GRADCAM.map, GRADCAM.box)
        for index in range(30):
            height, width = SIZES[image[index] % len(SIZES)]
            box = inside[index] * [width, height, width, height] / 224
            assert scores.boxes[index].tolist() == box.tolist()
            assert scores.iou[index] == pairwise_iou(box[None], truths[image[index]].boxes).max()
        assert len(set(scores.iou.tolist())) > 20

    def test_in_the_input_the_truth_is_cut_to_whole_pixels(self):
        # An image of 448 x 112: the truth's corners 3, 5, 101, 50 become 1.5, 10, 50.5, 100.
        protocol = load_protocol("gradcam-2017", {"scoring": {"frame": "input"}})
        values = np.zeros((1, 224, 224))
        values[0, 10:101, 1:61] = 1
        place = [protocol.input.place(112, 448)]
        truths = [Truth(np.array([[3.0, 5.0, 102.0, 51.0]]))]
        scores = scored(values, truths, protocol, placements=place)
        assert scores.boxes.tolist() == [[2, 5, 122, 50.5]]
        assert scores.iou.tolist() == [50 / 60]
        exact = scored(values, truths, GRADCAM, placements=place)
        assert exact.boxes.tolist() == scores.boxes.tolist()
        both = 99 * 45.5
        assert exact.iou.tolist() == [both / (120 * 45.5 + 99 * 46 - both)]

    def test_a_map_without_a_box_misses(self):
        scores = scored(np.zeros((2, 7, 7)), some_truths(2), GRADCAM)
        assert np.isnan(scores.boxes).all()
        assert scores.iou.tolist() == [0, 0]
        assert status_of(scores, GRADCAM).tolist() == ["no_box", "no_box"]

    def test_an_image_without_a_truth_is_a_miss(self):
        scores = scored(np.ones((1, 7, 7)), [Truth(np.zeros((0, 4)))], GRADCAM)
        assert scores.iou.tolist() == [0]
        assert scores.boxes.tolist() == [[0, 0, 250, 180]]

    def test_no_maps_have_no_scores(self):
        scores = scored(np.zeros((0, 7, 7)), [], GRADCAM)
        assert [len(part) for part in scores] == [0] * 5


class TestBoxesWithoutAMap:
    def score(self, boxes, truths, protocol, *, own=None, sizes=SIZES):
        placements = [protocol.input.place(*size) for size in sizes[: len(truths)]]
        n = len(boxes)
        return score_boxes(
            np.array(boxes, float),
            np.arange(n),
            np.ones(n, bool) if own is None else np.array(own),
            placements,
            truths,
            protocol,
        )

    def test_a_box_is_right_at_every_threshold_or_at_none(self):
        protocol = load_protocol("choe-2020-v2")
        # In one image of the input's own size: IoU 0.3, 0.5 and 0.7 exactly, and a little less.
        truth = Truth(np.array([[0.0, 0.0, 100.0, 100.0]]))
        for width, expected in ((30, 1), (29.9, 0), (50, 2), (49.9, 1), (70, 3), (69.9, 2)):
            scores = self.score([[0, 0, width, 100]], [truth], protocol, sizes=[(224, 224)])
            bits = hits_in(scores.curves[0], 1000)
            right = [True] * expected + [False] * (3 - expected)
            assert bits.all(axis=1).tolist() == bits.any(axis=1).tolist() == right * 2
            assert scores.boxes.tolist() == [[0, 0, width, 100]]

    def test_in_the_input_the_truth_is_cut_and_the_box_is_not(self):
        protocol = load_protocol("choe-2020-v1")
        # On an image of 672 x 672 the truth's corners 0, 0, 151, 301 become 0, 0, 50, 100, whose
        # box has 51 x 101 pixels.
        truth = Truth(np.array([[0.0, 0.0, 152.0, 302.0]]))
        for width, hit in ((76.5, True), (76.4, False)):
            box = [0, 0, width, 303]  # 25.5 x 101 in the input
            scores = self.score([box], [truth], protocol, sizes=[(672, 672)])
            assert hits_in(scores.curves[0], 1000).tolist() == [[hit] * 1000]

    def test_no_box_is_no_hit(self):
        protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.1}}})
        scores = self.score([[np.nan] * 4], some_truths(1), protocol)
        assert not hits_in(scores.curves[0], 10).any()
        assert scores.curves[0].hits == bytes(6 * 2)
        single = self.score([[np.nan] * 4], some_truths(1), GRADCAM)
        assert single.iou.tolist() == [0]

    def test_curves_are_of_the_own_class_alone(self):
        protocol = load_protocol("choe-2020-v1")
        boxes = [truth.boxes[0] for truth in some_truths(3)]
        scores = self.score(boxes, some_truths(3), protocol, own=[True, False, True])
        assert list(scores.curves) == [0, 2]
        assert np.isnan(scores.iou).all() and np.isnan(scores.peak).all()

    def test_one_threshold_is_one_iou(self):
        truths = some_truths(4)
        boxes = np.array([truth.boxes[-1] - 3 for truth in truths])
        scores = self.score(boxes, truths, GRADCAM, own=np.zeros(4, bool))
        expected = [
            pairwise_iou(box[None], truth.boxes).max()
            for box, truth in zip(boxes, truths, strict=True)
        ]
        assert scores.iou == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(scores.boxes, boxes)
        assert scores.curves == {}

    def test_boxes_have_no_pixels(self):
        protocol = load_protocol("choe-2020-pxap")
        scores = self.score([[0, 0, 9, 9]], some_truths(1), protocol)
        assert scores.curves == {}
        assert np.isnan(scores.boxes).all() and np.isnan(scores.iou).all()


class TestPixels:
    PXAP = load_protocol("choe-2020-pxap")

    def mask_file(self, folder, pixels, name):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)
        return folder / name

    def counts(self, curve):
        assert curve.hits == b""
        return [np.frombuffer(part, "<u4").astype(np.int64) for part in curve[1:]]

    def images(self, folder, n):
        """Truths whose masks are files, and those masks."""
        random = np.random.default_rng(6)
        for index in range(n):
            # The file has the half of the input's size, and black is no object.
            halves = random.choice([0, 1, 255], (112, 112), p=[0.6, 0.1, 0.3])
            ignored = random.choice([0, 255], (224, 224), p=[0.9, 0.1])
            files = MaskFiles(
                (self.mask_file(folder, halves, f"{index}.png"),),
                self.mask_file(folder, ignored, f"{index}_ignore.png"),
            )
            mask = (halves > 0).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
            mask[(ignored > 0) & (mask == 0)] = 255
            yield Truth(np.zeros((0, 4)), files), mask

    def test_px_ap_is_that_of_wsolevaluation(self, tmp_path):
        thresholds = np.arange(0, 1, 0.001)
        truths, masks = zip(*self.images(tmp_path, 3), strict=True)
        maps = blobs(3)
        scores = scored(maps, truths, self.PXAP)
        evaluator = MaskEvaluator(thresholds)
        pooled = np.zeros((2, 1001), np.int64)
        for index, large in enumerate(upsample(maps, (224, 224), self.PXAP.map)):
            scoremap, mask = normalize_scoremap(large), masks[index]
            evaluator.accumulate(scoremap, mask)
            ours = self.counts(scores.curves[index])
            for kind, counts in zip((1, 0), ours, strict=True):
                theirs, _ = np.histogram(scoremap[mask == kind], np.append(thresholds, [1, 2]))
                assert counts.tolist() == theirs.tolist()
            assert sum(map(int, (one.sum() for one in ours))) == (mask != 255).sum() < 224**2
            pooled += ours
        assert pixel_average_precision(*pooled) == pytest.approx(evaluator.compute(), abs=1e-12)
        assert np.isnan(scores.boxes).all() and np.isnan(scores.iou).all()
        assert status_of(scores, self.PXAP).tolist() == ["swept"] * 3

    @pytest.mark.parametrize("nothing", [0.0, 1.0, -4.0, np.nan])
    def test_a_constant_map_is_zeros(self, tmp_path, nothing):
        [(truth, mask)] = self.images(tmp_path, 1)
        maps = np.full((1, 7, 7), nothing, np.float32)
        foreground, background = self.counts(scored(maps, [truth], self.PXAP).curves[0])
        assert foreground[0] == foreground.sum() == (mask == 1).sum()
        assert background[0] == background.sum() == (mask == 0).sum()

    def test_counts_are_of_the_own_class_alone(self, tmp_path):
        [(truth, _)] = self.images(tmp_path, 1)
        own, image = [False, True, False], [0, 0, 0]
        scores = scored(blobs(3), [truth], self.PXAP, image=image, own=own)
        assert list(scores.curves) == [1]

    def test_the_mask_is_that_of_the_inputs_part_of_the_image(self, tmp_path):
        # The image is resized to 8 x 6 (height, width); the input is its rows 2..5, columns 1..4.
        mask = np.zeros((8, 6))
        mask[2, 1] = mask[5, 4] = mask[5, 1] = 255
        mask[1, 0] = mask[6, 5] = mask[2, 5] = 255
        files = MaskFiles((self.mask_file(tmp_path, mask, "mask.png"),), None)
        place = Placement(original=(16, 12), resized=(8, 6), offset=(2, 1), input=(4, 4))
        protocol = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.25}})
        values = np.zeros((1, 4, 4))
        values[0, 0, 0], values[0, 3, 3], values[0, 3, 0], values[0, 0, 3] = 1, 0.5, 0.3, 0.75
        scores = scored(values, [Truth(np.zeros((0, 4)), files)], protocol, placements=[place])
        foreground, background = self.counts(scores.curves[0])
        # Bins from 0, 0.25, 0.5 and 0.75 on, and the maximum.
        assert foreground.tolist() == [0, 1, 1, 0, 1]
        assert background.tolist() == [12, 0, 0, 1, 0]

    def test_an_image_without_a_mask_is_refused(self):
        with pytest.raises(ValueError, match="expected an image with a mask"):
            scored(blobs(1), some_truths(1), self.PXAP)


class TestPeakAndEnergy:
    """Maps as large as the input, so that nothing is interpolated."""

    ZHOU = load_protocol("zhou-2016")
    SAME = Placement((40, 30), (40, 30), (0, 0), (40, 30))

    def score(self, values, boxes, *, place=SAME, protocol=ZHOU):
        truth = Truth(np.array(boxes, float).reshape(-1, 4))
        return scored(values[None], [truth], protocol, placements=[place])

    @pytest.mark.parametrize("seed", range(6))
    def test_against_numpy(self, seed):
        random = np.random.default_rng(seed)
        values = random.standard_normal((40, 30)).astype(np.float32)
        # Boxes overlap, reach outside on all sides, and end between pixels and on their centers.
        corners = np.sort(random.uniform(-10, 45, (4, 2, 2)).round(1), axis=1).reshape(4, 4)
        corners[0] = [-5, -7, 12.5, 60]
        corners[1] = [11.5, 3.5, 33, 8.5]
        scores = self.score(values, corners)
        y, x = np.indices(values.shape) + 0.5
        union = np.zeros(values.shape, bool)
        for x0, y0, x1, y1 in corners:
            union |= (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
        positive = np.maximum(values, 0).astype(np.float64)
        expected = positive[union].sum() / positive.sum()
        assert 0.2 < expected < 0.99
        assert scores.energy[0] == pytest.approx(expected, abs=1e-12)
        row, column = np.unravel_index(values.argmax(), values.shape)
        assert scores.peak.tolist() == [[column + 0.5, row + 0.5]]

    def test_overlapping_boxes_count_a_pixel_once(self):
        values = np.ones((40, 30), np.float32)
        once = self.score(values, [[0, 0, 10, 20]])
        assert once.energy.tolist() == [10 * 20 / 1200]
        twice = self.score(values, [[0, 0, 10, 20], [0, 0, 10, 20], [5, 0, 15, 20]])
        assert twice.energy.tolist() == [15 * 20 / 1200]

    def test_a_pixel_is_in_a_box_where_its_center_is(self):
        values = np.zeros((40, 30), np.float32)
        values[4, 6] = 2
        for box, inside in (
            ([6.5, 4.5, 7, 5], 1),
            ([6.6, 4, 7, 5], 0),
            ([6, 4.6, 7, 5], 0),
            ([6, 4, 6.5, 5], 0),
            ([6, 4, 7, 4.5], 0),
            ([6, 4, 6.6, 4.6], 1),
            ([4, 6, 5, 7], 0),
        ):
            assert self.score(values, [box]).energy.tolist() == [inside]

    def test_negative_values_have_no_energy(self):
        values = np.full((40, 30), -5, np.float32)
        values[0, 0], values[39, 29] = 1, 3
        scores = self.score(values, [[0, 0, 20, 20]])
        assert scores.energy.tolist() == [0.25]
        assert scores.peak.tolist() == [[29.5, 39.5]]

    def test_of_several_maxima_the_first_in_raster_order(self):
        values = np.zeros((40, 30), np.float32)
        values[3, 20] = values[3, 25] = values[4, 1] = 7
        assert self.score(values, []).peak.tolist() == [[20.5, 3.5]]

    @pytest.mark.parametrize("value", [-1.0, 0.0, np.nan])
    def test_without_a_positive_value_there_is_neither(self, value):
        scores = self.score(np.full((40, 30), value, np.float32), [[0, 0, 9, 9]])
        assert np.isnan(scores.peak).all() and np.isnan(scores.energy).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_one_value_that_is_not_finite_spoils_the_map(self, value):
        values = np.ones((40, 30), np.float32)
        values[20, 20] = value
        scores = self.score(values, [[0, 0, 9, 9]])
        assert np.isnan(scores.peak).all() and np.isnan(scores.energy).all()

    def test_without_a_box_no_energy_lies_in_one(self):
        scores = self.score(np.ones((40, 30), np.float32), [])
        assert scores.energy.tolist() == [0]
        assert scores.peak.tolist() == [[0.5, 0.5]]

    def test_the_peak_is_in_pixels_of_the_image_and_boxes_in_those_of_the_input(self):
        # 60 x 90 (width, height) becomes 40 x 45; the input is 30 x 40 of it, from (4, 3) on.
        place = Placement(original=(90, 60), resized=(45, 40), offset=(3, 4), input=(40, 30))
        values = np.zeros((40, 30), np.float32)
        values[10, 20], values[30, 2] = 3, 1
        # The pixel's center (20.5 + 4, 10.5 + 3) of 40 x 45 is (36.75, 27) of the image.
        at_peak = [36.7, 26.9, 36.8, 27.1]
        scores = self.score(values, [at_peak], place=place)
        assert scores.peak == pytest.approx(np.array([[36.75, 27.0]]), abs=1e-9)
        assert scores.energy.tolist() == [0.75]
        # The corner that the input does not see holds nothing.
        assert self.score(values, [[0, 0, 5, 5]], place=place).energy.tolist() == [0]

    def test_they_are_of_the_own_class_alone_under_any_protocol(self):
        values = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
        for name in ("gradcam-2017", "zhou-2016", "choe-2020-v1"):
            protocol = load_protocol(name)
            truth = some_truths(1)
            scores = scored(values, truth, protocol, image=[0, 0], own=[False, True])
            assert np.isnan(scores.energy).tolist() == [True, False]
            assert np.isnan(scores.peak).tolist() == [[True, True], [False, False]]


def test_scores_of_maps_that_are_not_there():
    scores = Scores.none(3)
    assert [len(part) for part in scores] == [3, 3, 3, 3, 0]
    assert all(np.isnan(part).all() for part in scores[:4])
