from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixel_maps import few_values, framed, ranked, scored
from quantus_reference import stored

from wsol_bench.metrics.top_k_intersection import object_share_of_top, share_of_top_k

QUANTUS = stored()
some_k = st.integers(1, 30)


@pytest.mark.parametrize(("case", "answers"), QUANTUS, ids=[case.name for case, _ in QUANTUS])
@pytest.mark.parametrize("k", [100, 1000])
def test_maps_without_ties_get_the_number_of_quantus(case, answers, k):
    theirs = answers[f"top_{k}_intersection"]
    if case.distinct:
        ours = share_of_top_k(case.values, case.truth, k=k)
        assert ours == pytest.approx(theirs, abs=1e-12)
        assert share_of_top_k(*framed(case.values, case.truth), k=k) == ours
    else:
        lowest, highest = share_of_any_order(case.values.ravel(), case.truth.ravel(), k)
        assert lowest - 1e-12 <= theirs <= highest + 1e-12
        assert lowest <= share_of_top_k(case.values, case.truth, k=k) <= highest


def share_of_any_order(values, truth, k):
    """The least and the largest share that an order of the pixels can give."""
    worst_first, best_first = np.lexsort((truth, -values)), np.lexsort((-1.0 * truth, -values))
    return truth[worst_first[:k]].mean(), truth[best_first[:k]].mean()


def test_the_default_is_1000_pixels():
    values = -np.arange(3600, dtype=np.float32).reshape(60, 60)
    truth = np.zeros((60, 60), np.uint8)
    truth.flat[:1100] = 1
    assert share_of_top_k(values, truth) == 1.0
    truth.flat[:250] = 0
    assert share_of_top_k(values, truth) == 0.75


def test_nine_pixels_by_hand():
    values = np.array([[9, 7, 7], [7, 5, 7], [2, 1, 0]], np.float32)
    truth = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1]], np.uint8)
    # Sevens: four pixels, two of the object.
    assert share_of_top_k(values, truth, k=1) == 0
    # One place left for the sevens: 1 * 2/4 of 2.
    assert share_of_top_k(values, truth, k=2) == 1 / 4
    # Two places left: 2 * 2/4 of 3.
    assert share_of_top_k(values, truth, k=3) == 1 / 3
    # All sevens are taken: 2 of 5, and with the five 3 of 6.
    assert share_of_top_k(values, truth, k=5) == 2 / 5
    assert share_of_top_k(values, truth, k=6) == 3 / 6
    # All nine.
    assert share_of_top_k(values, truth, k=9) == 4 / 9


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.lists(few_values, min_size=n, max_size=n),
            st.lists(st.sampled_from([0, 1, 255]), min_size=n, max_size=n),
        )
    ),
    st.integers(1, 7),
)
def test_ties_count_as_the_mean_over_all_orders_of_the_pixels(pixels, k):
    values, truth = pixels
    counted = [(value, kind) for value, kind in zip(values, truth, strict=True) if kind != 255]
    ours = share_of_top_k(np.array([values], np.float32), np.array([truth], np.uint8), k=k)
    if 1 not in truth:
        assert np.isnan(ours)
        return
    shares = []
    for order in permutations(counted):
        taken = sorted(order, key=lambda pixel: -pixel[0])[:k]  # stable: ties stay in their order
        shares.append(Fraction(sum(kind for _, kind in taken), len(taken)))
    assert ours == float(sum(shares) / len(shares))


@given(scored(), some_k)
def test_only_the_order_of_values_counts(pixels, k):
    values, truth = pixels
    share = share_of_top_k(values, truth, k=k)
    np.testing.assert_equal(share_of_top_k(ranked(values), truth, k=k), share)


@given(scored(), some_k, st.randoms(use_true_random=False))
def test_the_order_of_pixels_does_not_count(pixels, k, random):
    values, truth = pixels
    order = list(range(values.size))
    random.shuffle(order)
    shuffled = values.ravel()[order][None], truth.ravel()[order][None]
    np.testing.assert_equal(share_of_top_k(*shuffled, k=k), share_of_top_k(values, truth, k=k))


@given(scored(), some_k)
def test_ignored_pixels_change_nothing(pixels, k):
    values, truth = pixels
    share = share_of_top_k(values, truth, k=k)
    np.testing.assert_equal(share_of_top_k(*framed(values, truth), k=k), share)
    other = np.where(truth == 255, np.float32(7), values)
    np.testing.assert_equal(share_of_top_k(other, truth, k=k), share)


@given(scored(labels=(0, 1)), some_k)
def test_object_and_background_make_up_the_whole(pixels, k):
    values, truth = pixels
    share = object_share_of_top(values, truth, k)
    assert 0 <= share <= 1
    assert share + object_share_of_top(values, 1 - truth, k) == pytest.approx(1, abs=1e-15)


def test_constant_maps_are_worth_the_share_of_the_object_in_what_counts():
    truth = np.array([[1, 0, 0], [0, 255, 255]], np.uint8)
    for k in (1, 2, 1000):
        assert share_of_top_k(np.full((2, 3), 0.1, np.float32), truth, k=k) == 1 / 4


def test_without_an_object_there_is_no_number():
    values = np.ones((2, 2), np.float32)
    assert np.isnan(share_of_top_k(values, np.zeros((2, 2), np.uint8), k=1))
    assert np.isnan(share_of_top_k(values, np.full((2, 2), 255, np.uint8), k=1))
    assert np.isnan(object_share_of_top(values, np.full((2, 2), 255, np.uint8), 1))


@pytest.mark.parametrize("k", [0, -3])
def test_no_pixels_are_no_top(k):
    with pytest.raises(ValueError, match=f"expected k of at least 1, found {k}"):
        share_of_top_k(np.ones((2, 2), np.float32), np.ones((2, 2), np.uint8), k=k)


def test_the_map_is_left_as_it_was():
    values, truth = np.array([[3, 1], [2, 0]], np.float32), np.array([[1, 0], [0, 0]], np.uint8)
    share_of_top_k(values, truth, k=2)
    assert values.tolist() == [[3, 1], [2, 0]]
