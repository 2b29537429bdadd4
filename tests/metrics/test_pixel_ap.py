import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from wsolevaluation import MaskEvaluator

from wsol_bench.metrics.pixel_ap import peak_iou, pixel_average_precision

counts = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[arrays(np.int64, n, elements=st.integers(0, 50))] * 2)
)


def scored(n_images=6, seed=0):
    """Maps in [0, 1] that reach both ends, and masks that they fit more or less."""
    random = np.random.default_rng(seed)
    for _ in range(n_images):
        mask = random.choice([0, 1, 255], (20, 20), p=[0.6, 0.3, 0.1]).astype(np.uint8)
        values = random.random((20, 20)) + 0.5 * (mask == 1)
        values -= values.min()
        yield (values / values.max()).astype(np.float32), mask


def pooled(images, thresholds):
    """Pixels of objects and of the rest between each threshold and the next, and at 1."""
    levels = np.append(thresholds, 1.0)
    both = []
    for kind in (1, 0):
        scores = np.concatenate([values[mask == kind] for values, mask in images])
        reached = (scores[:, None].astype(np.float64) >= levels).sum(axis=0)
        both.append(reached - np.append(reached[1:], 0))
    return both


@pytest.mark.parametrize("step", [0.001, 0.1, 0.3, 1.0])
def test_px_ap_is_that_of_wsolevaluation(step):
    thresholds = np.arange(0, 1, step)
    evaluator = MaskEvaluator(thresholds)
    images = list(scored())
    for values, mask in images:
        evaluator.accumulate(values, mask)
    foreground, background = pooled(images, thresholds)
    assert foreground.sum() == sum(int((mask == 1).sum()) for _, mask in images)
    ours = pixel_average_precision(foreground, background)
    assert ours == pytest.approx(evaluator.compute(), abs=1e-12)
    assert 0.3 < ours < 0.99


@given(counts)
def test_px_ap_and_peak_iou_are_those_of_brute_force(pixels):
    foreground, background = pixels
    whole = int(foreground.sum())
    if whole == 0:
        assert np.isnan(pixel_average_precision(foreground, background))
        assert np.isnan(peak_iou(foreground, background).iou)
        return
    area, recall_above, overlaps = 0.0, 0.0, {}
    for threshold in reversed(range(len(foreground))):
        right = sum(foreground[threshold:].tolist())
        wrong = sum(background[threshold:].tolist())
        overlaps[threshold] = right / (whole + wrong)
        if right + wrong:
            area += right / (right + wrong) * (right / whole - recall_above)
        recall_above = right / whole
    assert pixel_average_precision(foreground, background) == pytest.approx(area, abs=1e-12)
    best = peak_iou(foreground, background)
    assert best.iou == max(overlaps.values()) == overlaps[best.threshold]


def test_three_bins_by_hand():
    foreground, background = np.array([1, 1, 2]), np.array([5, 2, 0])
    # From the top: 2 of 2 right, recall 1/2; 3 of 5, recall 3/4; 4 of 11, recall 1.
    expected = 1 * 0.5 + 3 / 5 * 0.25 + 4 / 11 * 0.25
    assert pixel_average_precision(foreground, background) == pytest.approx(expected)
    # IoU 2 / 4, 3 / (4 + 2), 4 / (4 + 7): of two best thresholds the highest.
    assert peak_iou(foreground, background) == (0.5, 2)


def test_the_threshold_of_the_peak_is_the_lowest_bin_of_the_object():
    foreground, background = np.array([0, 3, 4, 0]), np.array([9, 0, 1, 2])
    assert peak_iou(foreground, background) == (7 / 10, 1)


def test_maps_that_are_the_masks_are_perfect():
    foreground, background = np.array([0, 0, 7]), np.array([12, 3, 0])
    assert pixel_average_precision(foreground, background) == 1.0
    assert peak_iou(foreground, background) == (1.0, 2)


def test_constant_maps_are_worth_the_share_of_objects():
    foreground, background = np.array([3, 0, 0]), np.array([9, 0, 0])
    assert pixel_average_precision(foreground, background) == 0.25
    assert peak_iou(foreground, background) == (0.25, 0)


def test_empty_bins_change_nothing():
    few = pixel_average_precision(np.array([1, 2]), np.array([4, 1]))
    many = pixel_average_precision(np.array([0, 1, 0, 0, 2, 0]), np.array([0, 4, 0, 0, 1, 0]))
    assert few == many == pytest.approx(2 / 3 * 2 / 3 + 3 / 8 / 3)


def test_without_a_pixel_of_an_object_there_is_no_number():
    assert np.isnan(pixel_average_precision(np.array([0, 0]), np.array([4, 1])))
    assert np.isnan(peak_iou(np.array([0, 0]), np.array([4, 1])).iou)


def test_more_pixels_than_32_bits_hold():
    many = np.array([10**10, 10**10])
    assert pixel_average_precision(many, many) == pytest.approx(0.5)
    assert peak_iou(many, many) == (0.5, 0)
