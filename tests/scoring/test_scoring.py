"""What all kinds of scoring share: maps that are not there, and rows that share a map."""

import numpy as np
import pytest
from PIL import Image
from scoring_cases import (
    blobs,
    boxes_in,
    curves_in,
    default_scoring,
    image_batch,
    peaks_in,
    row_batch,
    scored,
    some_truths,
    truth_of,
)

from wsol_bench.datasets import MaskFiles
from wsol_bench.protocols.load import load_protocol
from wsol_bench.protocols.model import Protocol
from wsol_bench.scoring.batches import by_shape
from wsol_bench.scoring.kinds import scoring_of

MEASURED = ("pointing_game", "pointing_game_15px", "energy")
GRADCAM = load_protocol("gradcam-2017")
SWEEP = load_protocol("choe-2020-v2", {"box": {"threshold": {"step": 0.1}}})
PIXELS = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.25}})
COLUMNS = {"x0", "y0", "x1", "y1", "peak_x", "peak_y", *MEASURED}


@pytest.mark.parametrize("protocol", [GRADCAM, SWEEP, PIXELS])
def test_a_method_that_is_not_applicable_has_nothing(protocol):
    scores = default_scoring(protocol).not_applicable(3)
    assert scores.status.tolist() == ["not_applicable"] * 3
    assert set(scores.rows) == COLUMNS | ({"iou"} if protocol is GRADCAM else set())
    assert all(np.isnan(values).tolist() == [True] * 3 for values in scores.rows.values())
    assert len(scores.curve_rows) == 0
    assert all(len(values) == 0 for values in scores.curves.values())


class TestMissing:
    """Of three images: rows of the label, of another one, and of an image without boxes."""

    IS_LABEL = (True, False, True)

    def missing(self, protocol, *truths):
        rows = row_batch(image_batch(truths, protocol), is_label=self.IS_LABEL)
        return default_scoring(protocol).missing(rows)

    @pytest.mark.parametrize("protocol", [GRADCAM, SWEEP])
    def test_is_a_miss_in_every_number_of_the_label(self, protocol):
        scores = self.missing(protocol, *some_truths(2), truth_of())
        assert scores.status.tolist() == ["missing"] * 3
        assert np.isnan(boxes_in(scores)).all() and np.isnan(peaks_in(scores)).all()
        for name in MEASURED:
            assert scores.rows[name].tolist()[0] == 0
            assert np.isnan(scores.rows[name][1:]).all()

    def test_has_no_overlap(self):
        scores = self.missing(GRADCAM, *some_truths(3))
        assert scores.rows["iou"].tolist() == [0, 0, 0]

    def test_hits_at_no_threshold(self):
        scores = self.missing(SWEEP, *some_truths(3))
        assert curves_in(scores) == {0: bytes(12), 2: bytes(12)}

    def test_is_a_constant_map_of_pixels(self, tmp_path):
        halves = np.zeros((224, 224), np.uint8)
        halves[:56] = 255
        Image.fromarray(halves).save(tmp_path / "mask.png")
        truth = truth_of(mask=MaskFiles((tmp_path / "mask.png",), None))
        scores = self.missing(PIXELS, truth, truth, truth)
        same = scored(np.zeros((3, 7, 7)), [truth] * 3, PIXELS, is_label=self.IS_LABEL)
        for column in ("foreground", "background"):
            assert curves_in(scores, column) == curves_in(same, column)
        first = np.frombuffer(curves_in(scores, "foreground")[0], "<u4")
        assert first.tolist() == [56 * 224, 0, 0, 0, 0]
        assert scores.status.tolist() == ["missing"] * 3


@pytest.mark.parametrize("protocol", [GRADCAM, SWEEP])
def test_rows_that_share_a_map_share_what_is_of_boxes_alone(protocol):
    truths = some_truths(2)
    shared = scored(blobs(2), truths, protocol)
    is_label = np.array([False, True, False, True])
    scores = shared.spread(np.array([0, 0, 1, 1]), is_label)
    alone = scored(blobs(2)[[0, 0, 1, 1]], truths, protocol, image=[0, 0, 1, 1], is_label=is_label)
    assert scores.status.tolist() == alone.status.tolist()
    for name, values in alone.rows.items():
        assert np.array_equal(scores.rows[name], values, equal_nan=True), name
    if protocol is SWEEP:
        assert curves_in(scores) == curves_in(alone)
        assert set(curves_in(scores)) == {1, 3}


def test_scores_of_some_rows_stand_in_their_places():
    maps, truths = blobs(4), some_truths(4)
    together = scored(maps, truths, SWEEP)
    scores = default_scoring(SWEEP).not_applicable(4)
    batch = row_batch(image_batch(truths, SWEEP))
    for some in ([3, 1], [0, 2]):
        places = np.array(some)
        scores = scores.put(
            places, default_scoring(SWEEP).score_maps(maps[places], batch.take(places))
        )
    assert scores.status.tolist() == together.status.tolist()
    for name, values in together.rows.items():
        assert np.array_equal(scores.rows[name], values, equal_nan=True), name
    ordered = scores.in_order()
    assert ordered.curve_rows.tolist() == [0, 1, 2, 3]
    assert curves_in(ordered) == curves_in(scores) == curves_in(together)


def test_equal_shapes_go_together():
    groups = [some.tolist() for some in by_shape([(1, 2), (3,), (1, 2), (3,), (9,)])]
    assert groups == [[0, 2], [1, 3], [4]]


def test_a_protocol_of_no_kind_is_refused():
    base = Protocol(name="none", input=GRADCAM.input, map=GRADCAM.map)
    with pytest.raises(TypeError, match="one of three kinds, found Protocol"):
        scoring_of(base, [])
