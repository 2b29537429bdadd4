from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from pixel_maps import framed, ranked, scored
from quantus_reference import stored
from scipy.stats import mannwhitneyu

from wsol_bench.metrics.pixel_auc import roc_auc

QUANTUS = stored()


@pytest.mark.parametrize(("case", "answers"), QUANTUS, ids=[case.name for case, _ in QUANTUS])
def test_quantus_and_scikit_learn_have_the_same_area(case, answers):
    ours = roc_auc(case.values, case.truth)
    assert ours == pytest.approx(answers["auc"], abs=1e-12)
    assert ours == pytest.approx(answers["roc_auc_score"], abs=1e-12)
    assert roc_auc(*framed(case.values, case.truth)) == ours


@given(scored(max_side=7))
def test_it_is_the_share_of_pairs_that_stand_in_order(pixels):
    values, truth = pixels
    ours = roc_auc(values, truth)
    inside, outside = values[truth == 1].tolist(), values[truth == 0].tolist()
    pairs = [(high, low) for high in inside for low in outside]
    if not pairs:
        assert np.isnan(ours)
        return
    won = sum(Fraction(high > low) + Fraction(high == low, 2) for high, low in pairs)
    assert ours == float(won / len(pairs))
    # scipy by ranks.
    statistic = mannwhitneyu(inside, outside, method="asymptotic").statistic
    assert ours == pytest.approx(statistic / len(pairs), abs=1e-12)


def test_four_pixels_by_hand():
    values = np.array([[4, 3], [2, 1]], np.float32)
    # 4 beats 3 and 1, 2 beats 1: 3 of 4 pairs.
    assert roc_auc(values, np.array([[1, 0], [1, 0]], np.uint8)) == 3 / 4
    # 3 does not beat 4, 1 neither 4 nor 2, 3 beats 2: 1 of 4.
    assert roc_auc(values, np.array([[0, 1], [0, 1]], np.uint8)) == 1 / 4
    # The 4 does not count: 3 and 2 beat 1.
    assert roc_auc(values, np.array([[255, 1], [1, 0]], np.uint8)) == 1


def test_nine_pixels_with_ties_by_hand():
    values = np.array([[5, 5, 5], [2, 2, 0], [0, 0, -1]], np.float32)
    truth = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]], np.uint8)
    # Background 5, 2, 0, 0, -1. Each 5 of the object: 4 wins and a tie, 4.5; the 2: 3 wins and a
    # tie, 3.5; the 0: 1 win and 2 ties, 2. Of 4 * 5 pairs.
    assert roc_auc(values, truth) == (4.5 + 4.5 + 3.5 + 2) / 20


@given(scored())
def test_only_the_order_of_values_counts(pixels):
    values, truth = pixels
    np.testing.assert_equal(roc_auc(ranked(values), truth), roc_auc(values, truth))


@given(scored(max_side=8))
def test_the_negative_of_a_map_and_the_negative_of_a_mask_turn_it_over(pixels):
    values, truth = pixels
    ours = roc_auc(values, truth)
    assert np.isnan(ours) or 0 <= ours <= 1
    assert roc_auc(-values, truth) == pytest.approx(1 - ours, abs=1e-15, nan_ok=True)
    other = np.where(truth == 255, 255, 1 - truth).astype(np.uint8)
    assert roc_auc(values, other) == pytest.approx(1 - ours, abs=1e-15, nan_ok=True)
    np.testing.assert_equal(roc_auc(-values, other), ours)


@given(scored())
def test_ignored_pixels_change_nothing(pixels):
    values, truth = pixels
    ours = roc_auc(values, truth)
    np.testing.assert_equal(roc_auc(*framed(values, truth)), ours)
    other = np.where(truth == 255, np.float32(7), values)
    np.testing.assert_equal(roc_auc(other, truth), ours)


def test_more_pairs_than_32_bits_hold():
    truth = np.zeros((512, 512), np.uint8)
    truth[:256] = 1
    values = np.arange(512 * 512, dtype=np.float32).reshape(512, 512)
    assert roc_auc(-values, truth) == 1
    assert roc_auc(values, truth) == 0
    assert roc_auc(0 * values, truth) == 0.5


def test_both_zeros_are_one_value():
    values = np.array([[0.0, -0.0], [-0.0, 0.0]], np.float32)
    assert roc_auc(values, np.array([[1, 0], [1, 0]], np.uint8)) == 0.5


def test_without_an_object_or_a_background_there_is_no_number():
    values = np.array([[1, 2], [3, 4]], np.float32)
    for kinds in ([[0, 0], [0, 255]], [[1, 1], [1, 255]], [[255, 255], [255, 255]]):
        assert np.isnan(roc_auc(values, np.array(kinds, np.uint8)))


def test_maps_of_other_memory_layouts():
    random = np.random.default_rng(0)
    values, truth = random.random((30, 40), np.float32), random.integers(0, 2, (30, 40), np.uint8)
    expected = roc_auc(values, truth)
    assert roc_auc(np.asfortranarray(values), truth) == expected
    assert roc_auc(values[::-1, ::-1], truth[::-1, ::-1]) == expected
