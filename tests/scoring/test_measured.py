"""What is measured of maps under any protocol: the peak, and the energy in the boxes."""

import numpy as np
import pytest
from PIL import Image
from scoring_cases import blobs, peaks_in, scored, some_truths, truth_of

from wsol_bench.datasets import MaskFiles
from wsol_bench.geometry import Placement
from wsol_bench.metrics.pointing_game import pointing_hits
from wsol_bench.protocols.load import load_protocol


class TestPeakAndEnergy:
    """Maps as large as the input, so that nothing is interpolated."""

    ZHOU = load_protocol("zhou-2016")
    SAME = Placement((40, 30), (40, 30), (0, 0), (40, 30))

    def score(self, values, boxes, *, place=SAME, protocol=ZHOU):
        return scored(values[None], [truth_of(boxes)], protocol, placements=[place])

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
        assert scores.rows["energy"][0] == pytest.approx(expected, abs=1e-12)
        row, column = np.unravel_index(values.argmax(), values.shape)
        assert peaks_in(scores).tolist() == [[column + 0.5, row + 0.5]]

    def test_overlapping_boxes_count_a_pixel_once(self):
        values = np.ones((40, 30), np.float32)
        once = self.score(values, [[0, 0, 10, 20]])
        assert once.rows["energy"].tolist() == [10 * 20 / 1200]
        twice = self.score(values, [[0, 0, 10, 20], [0, 0, 10, 20], [5, 0, 15, 20]])
        assert twice.rows["energy"].tolist() == [15 * 20 / 1200]

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
            assert self.score(values, [box]).rows["energy"].tolist() == [inside]

    def test_negative_values_have_no_energy(self):
        values = np.full((40, 30), -5, np.float32)
        values[0, 0], values[39, 29] = 1, 3
        scores = self.score(values, [[0, 0, 20, 20]])
        assert scores.rows["energy"].tolist() == [0.25]
        assert peaks_in(scores).tolist() == [[29.5, 39.5]]

    def test_of_several_maxima_the_first_in_raster_order(self):
        values = np.zeros((40, 30), np.float32)
        values[3, 20] = values[3, 25] = values[4, 1] = 7
        assert peaks_in(self.score(values, [])).tolist() == [[20.5, 3.5]]

    @pytest.mark.parametrize("value", [-1.0, 0.0, np.nan])
    def test_without_a_positive_value_there_is_no_peak_and_no_energy_in_a_box(self, value):
        scores = self.score(np.full((40, 30), value, np.float32), [[0, 0, 9, 9]])
        assert np.isnan(peaks_in(scores)).all()
        for name in ("energy", "pointing_game", "pointing_game_15px"):
            assert scores.rows[name].tolist() == [0]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_one_value_that_is_not_finite_spoils_the_map(self, value):
        values = np.ones((40, 30), np.float32)
        values[20, 20] = value
        scores = self.score(values, [[0, 0, 9, 9]])
        assert np.isnan(peaks_in(scores)).all()
        for name in ("energy", "pointing_game", "pointing_game_15px"):
            assert scores.rows[name].tolist() == [0]

    def test_an_image_without_a_box_has_a_peak_and_does_not_count(self):
        scores = self.score(np.ones((40, 30), np.float32), [])
        for name in ("energy", "pointing_game", "pointing_game_15px"):
            assert np.isnan(scores.rows[name]).all()
        assert peaks_in(scores).tolist() == [[0.5, 0.5]]

    def test_the_peak_is_in_pixels_of_the_image_and_boxes_in_those_of_the_input(self):
        # 60 x 90 (width, height) becomes 40 x 45; the input is 30 x 40 of it, from (4, 3) on.
        place = Placement(original=(90, 60), resized=(45, 40), offset=(3, 4), input=(40, 30))
        values = np.zeros((40, 30), np.float32)
        values[10, 20], values[30, 2] = 3, 1
        # The pixel's center (20.5 + 4, 10.5 + 3) of 40 x 45 is (36.75, 27) of the image.
        at_peak = [36.7, 26.9, 36.8, 27.1]
        scores = self.score(values, [at_peak], place=place)
        assert peaks_in(scores) == pytest.approx(np.array([[36.75, 27.0]]), abs=1e-9)
        assert scores.rows["energy"].tolist() == [0.75]
        # The corner that the input does not see holds nothing.
        assert self.score(values, [[0, 0, 5, 5]], place=place).rows["energy"].tolist() == [0]

    def test_they_are_of_the_label_alone_under_any_protocol(self):
        values = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
        for name in ("gradcam-2017", "zhou-2016", "choe-2020-v1"):
            protocol = load_protocol(name)
            truth = some_truths(1)
            scores = scored(values, truth, protocol, image=[0, 0], is_label=[False, True])
            assert np.isnan(scores.rows["energy"]).tolist() == [True, False]
            assert np.isnan(peaks_in(scores)).tolist() == [[True, True], [False, False]]


class TestPointingGame:
    """The maximum in the box, 12, 14 and 15 pixels from its last pixel, and nowhere."""

    @pytest.mark.parametrize(
        ("x", "hits"), [(5, (1, 1)), (21, (0, 1)), (23, (0, 1)), (24, (0, 0)), (None, (0, 0))]
    )
    def test_by_hand(self, x, hits):
        values = np.zeros((40, 30), np.float32)
        if x is not None:
            values[5, x] = 1
        scores = TestPeakAndEnergy().score(values, [[0, 0, 10, 10]])
        names = ("pointing_game", "pointing_game_15px")
        assert tuple(scores.rows[name][0] for name in names) == hits

    @pytest.mark.parametrize("protocol", ["gradcam-2017", "choe-2020-v1"])
    def test_is_that_of_the_stored_peaks_in_pixels_of_the_image(self, protocol):
        protocol = load_protocol(protocol)
        maps, truths = blobs(60), some_truths(60)
        scores = scored(maps, truths, protocol)
        boxes = [truth.boxes for truth in truths]
        for name, tolerance in (("pointing_game", 0.0), ("pointing_game_15px", 15.0)):
            expected = pointing_hits(peaks_in(scores), boxes, tolerance=tolerance)
            assert scores.rows[name].tolist() == expected.tolist()
            assert 0 < expected.mean() < 1

    def test_has_no_energy_of_pixels_that_only_a_mask_shows(self, tmp_path):
        """Boxes are its ground truth: an image with a mask alone does not count."""
        Image.fromarray(np.full((40, 30), 255, np.uint8)).save(tmp_path / "mask.png")
        truth = truth_of(mask=MaskFiles((tmp_path / "mask.png",), None))
        protocol = load_protocol("choe-2020-pxap")
        scores = scored(blobs(1), [truth], protocol)
        for name in ("energy", "pointing_game", "pointing_game_15px"):
            assert np.isnan(scores.rows[name]).all()
        assert not np.isnan(peaks_in(scores)).any()
