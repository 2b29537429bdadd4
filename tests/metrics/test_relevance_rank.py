from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixel_maps import few_values, framed, ranked, scored
from quantus_reference import stored

from wsol_bench.metrics.relevance_rank import rank_accuracy

QUANTUS = stored()


@pytest.mark.parametrize(("case", "answers"), QUANTUS, ids=[case.name for case, _ in QUANTUS])
def test_maps_without_ties_get_the_number_of_quantus(case, answers):
    theirs = answers["relevance_rank_accuracy"]
    ours = rank_accuracy(case.values, case.truth)
    if case.distinct:
        assert ours == pytest.approx(theirs, abs=1e-12)
        assert rank_accuracy(*framed(case.values, case.truth)) == ours
    else:
        # quantus takes the order of its argsort: somewhere between the worst and the best one.
        size = int(case.truth.sum())
        cut = np.sort(case.values, axis=None)[-size]
        at_cut = case.values == cut
        above = int(case.truth[case.values > cut].sum())
        places = size - int((case.values > cut).sum())
        lowest = above + max(0, places - int((at_cut & (case.truth == 0)).sum()))
        highest = above + min(places, int((at_cut & (case.truth == 1)).sum()))
        assert lowest / size - 1e-12 <= theirs <= highest / size + 1e-12
        assert lowest / size <= ours <= highest / size


def test_a_relu_map_gets_another_number_than_from_quantus():
    # So that the docstring's word on ties stays true: 0.862 and 0.866 as stored.
    [(case, answers)] = [pair for pair in QUANTUS if pair[0].name == "relu 48x40 1"]
    assert rank_accuracy(case.values, case.truth) != pytest.approx(
        answers["relevance_rank_accuracy"], abs=1e-3
    )


def test_four_pixels_by_hand():
    values = np.array([[4, 3], [2, 1]], np.float32)
    # K = 2: the pixels of 4 and 3.
    assert rank_accuracy(values, np.array([[1, 1], [0, 0]], np.uint8)) == 2 / 2
    assert rank_accuracy(values, np.array([[1, 0], [1, 0]], np.uint8)) == 1 / 2
    assert rank_accuracy(values, np.array([[0, 0], [1, 1]], np.uint8)) == 0 / 2
    # K = 3: 4, 3 and 2.
    assert rank_accuracy(values, np.array([[1, 0], [1, 1]], np.uint8)) == 2 / 3
    # The 4 does not count: K = 1, and 3 is the highest.
    assert rank_accuracy(values, np.array([[255, 1], [0, 0]], np.uint8)) == 1


def test_nine_pixels_with_ties_by_hand():
    values = np.array([[5, 5, 0], [5, 2, 0], [0, 0, 0]], np.float32)
    truth = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    # K = 5: three fives, all object; the two, not; one place left for five zeros, two of them
    # object: (3 + 1 * 2/5) / 5.
    assert rank_accuracy(values, truth) == pytest.approx(3.4 / 5, abs=1e-15)
    # Negative values keep their order. K = 7: three fives, the two not, one of two zeros, and of
    # the last row the -1 alone.
    values[2], truth[2] = [-2, -1, -3], [1, 1, 1]
    assert rank_accuracy(values, truth) == 5 / 7
    truth[2] = 1, 0, 1
    # K = 6: without the -1.
    assert rank_accuracy(values, truth) == 4 / 6


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.lists(few_values, min_size=n, max_size=n),
            st.lists(st.sampled_from([0, 1, 255]), min_size=n, max_size=n),
        )
    )
)
def test_ties_count_as_the_mean_over_all_orders_of_the_pixels(pixels):
    values, truth = pixels
    counted = [(value, kind) for value, kind in zip(values, truth, strict=True) if kind != 255]
    size = truth.count(1)
    ours = rank_accuracy(np.array([values], np.float32), np.array([truth], np.uint8))
    if size == 0:
        assert np.isnan(ours)
        return
    hits = [
        sum(kind for _, kind in sorted(order, key=lambda pixel: -pixel[0])[:size])
        for order in permutations(counted)
    ]
    assert ours == float(Fraction(sum(hits), len(hits) * size))


@given(scored())
def test_it_is_precision_and_recall_at_once(pixels):
    values, truth = pixels
    truth[0, 0] = 1
    ours = rank_accuracy(values, truth)
    assert 0 <= ours <= 1
    # What is missed of the object is as much as is taken of the rest.
    size, rest = int((truth == 1).sum()), int((truth == 0).sum())
    lowest = rank_accuracy(-values, np.where(truth == 255, 255, 1 - truth).astype("u1"))
    if rest:
        assert size * (1 - ours) == pytest.approx(rest * (1 - lowest), abs=1e-12)


@given(scored())
def test_only_the_order_of_values_counts(pixels):
    values, truth = pixels
    np.testing.assert_equal(rank_accuracy(ranked(values), truth), rank_accuracy(values, truth))


@given(scored())
def test_ignored_pixels_change_nothing(pixels):
    values, truth = pixels
    ours = rank_accuracy(values, truth)
    np.testing.assert_equal(rank_accuracy(*framed(values, truth)), ours)
    other = np.where(truth == 255, np.float32(7), values)
    np.testing.assert_equal(rank_accuracy(other, truth), ours)


def test_a_map_that_is_the_mask_is_perfect_and_its_negative_all_wrong():
    truth = np.zeros((224, 224), np.uint8)
    truth[30:90, 40:200] = 1
    values = truth.astype(np.float32)
    assert rank_accuracy(values, truth) == 1
    assert rank_accuracy(-values, truth) == 0
    assert rank_accuracy(0 * values, truth) == 60 * 160 / 224**2


def test_without_an_object_there_is_no_number_and_without_background_it_is_1():
    values = np.array([[1, 2], [3, 4]], np.float32)
    assert np.isnan(rank_accuracy(values, np.array([[0, 255], [0, 0]], np.uint8)))
    assert rank_accuracy(values, np.array([[1, 255], [1, 1]], np.uint8)) == 1
