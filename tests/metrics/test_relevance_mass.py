from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixel_maps import framed, scored
from quantus_reference import stored

from wsol_bench.metrics.relevance_mass import mass_accuracy

QUANTUS = stored()


@pytest.mark.parametrize(("case", "answers"), QUANTUS, ids=[case.name for case, _ in QUANTUS])
def test_quantus_has_the_same_mass_of_the_positive_part(case, answers):
    ours = mass_accuracy(case.values, case.truth)
    positive = answers["relevance_mass_accuracy of max(values, 0)"]
    assert ours == pytest.approx(positive, abs=1e-12)
    assert mass_accuracy(*framed(case.values, case.truth)) == ours
    # Of signed maps it makes another number, above 1 even.
    signed = answers["relevance_mass_accuracy"]
    assert (signed == positive) == bool((case.values >= 0).all())


def test_nine_pixels_by_hand():
    values = np.array([[8, 4, 0], [2, 1, -7], [-1, 0, 1]], np.float32)
    truth = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 0]], np.uint8)
    # Inside 4 + 2 + 1, and -7 counts as 0; in all 8 + 4 + 2 + 1 + 1.
    assert mass_accuracy(values, truth) == 7 / 16
    # Without the pixels of 8 and of 2: 5 / (5 + 1).
    truth[0, 0] = truth[1, 0] = 255
    assert mass_accuracy(values, truth) == 5 / 6


@given(scored())
def test_it_is_the_quotient_of_exact_sums(pixels):
    values, truth = pixels
    ours = mass_accuracy(values, truth)
    inside = sum(max(Fraction(value), Fraction(0)) for value in values[truth == 1].tolist())
    outside = sum(max(Fraction(value), Fraction(0)) for value in values[truth == 0].tolist())
    if not (truth == 1).any():
        assert np.isnan(ours)
    elif inside == 0:
        assert ours == 0
    else:
        assert ours == pytest.approx(float(inside / (inside + outside)), rel=1e-13)
        assert ours <= 1


def test_small_values_beside_a_large_one_are_not_lost():
    # In float32 a sum of 2**24 does not change by 1.
    values, truth = np.ones((224, 224), np.float32), np.ones((224, 224), np.uint8)
    values[0, 0], truth[0, 0] = 2**24, 0
    rest = 224**2 - 1
    assert mass_accuracy(values, truth) == rest / (rest + 2**24)


def test_the_largest_values_do_not_overflow():
    values = np.full((224, 224), np.finfo(np.float32).max)
    truth = np.zeros((224, 224), np.uint8)
    truth[:56] = 1
    assert mass_accuracy(values, truth) == pytest.approx(1 / 4, rel=1e-13)


@given(scored(), st.integers(-20, 20))
def test_a_positive_factor_changes_nothing(pixels, exponent):
    values, truth = pixels
    # Away from the ends of float32, where a power of two is exact.
    values = np.clip(values, -1e4, 1e4).astype(np.float16).astype(np.float32)
    scaled = values * np.float32(2.0**exponent)
    np.testing.assert_equal(mass_accuracy(scaled, truth), mass_accuracy(values, truth))


@given(scored())
def test_ignored_pixels_and_negative_values_change_nothing(pixels):
    values, truth = pixels
    ours = mass_accuracy(values, truth)
    np.testing.assert_equal(mass_accuracy(*framed(values, truth)), ours)
    for other in (
        np.where(truth == 255, np.float32(7), values),
        np.where(values < 0, np.float32(-100), values),
        np.maximum(values, 0),
    ):
        np.testing.assert_equal(mass_accuracy(other, truth), ours)


@given(scored(labels=(0, 1)))
def test_object_and_background_make_up_the_whole(pixels):
    values, truth = pixels
    inside = mass_accuracy(values, truth)
    outside = mass_accuracy(values, 1 - truth)
    if (values > 0).any() and 0 < truth.sum() < truth.size:
        assert inside + outside == pytest.approx(1, abs=1e-15)


def test_all_mass_on_the_object_is_1_and_a_constant_map_its_share():
    truth = np.zeros((224, 224), np.uint8)
    truth[30:90, 40:200] = 1
    values = truth * np.float32(0.1)
    assert mass_accuracy(values, truth) == 1
    assert mass_accuracy(values - np.float32(0.05), truth) == 1
    assert mass_accuracy(np.ones_like(values), truth) == 60 * 160 / 224**2


def test_without_an_object_there_is_no_number_and_without_mass_it_is_0():
    truth = np.array([[1, 0], [0, 255]], np.uint8)
    assert mass_accuracy(np.zeros((2, 2), np.float32), truth) == 0
    assert mass_accuracy(np.full((2, 2), -1, np.float32), truth) == 0
    # Mass that does not count is none.
    assert mass_accuracy(np.array([[0, 0], [0, 1]], np.float32), truth) == 0
    truth[0, 0] = 0
    assert np.isnan(mass_accuracy(np.ones((2, 2), np.float32), truth))
    assert np.isnan(mass_accuracy(np.zeros((2, 2), np.float32), truth))
