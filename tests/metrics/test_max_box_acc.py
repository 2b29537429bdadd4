import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_bench.metrics.max_box_acc import best_threshold, hits_of, n_hits, unpacked


def packed(bits):
    """(curves, thresholds) as bytes: eight thresholds a byte, the first as the highest bit."""
    rows = []
    for row in bits:
        digits = "".join("1" if bit else "0" for bit in row)
        digits += "0" * (-len(digits) % 8)
        rows.append(bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8)))
    return b"".join(rows)


@given(
    st.tuples(
        st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 100])
    ).flatmap(lambda shape: arrays(bool, shape))
)
def test_hits_come_back_as_they_were_packed(hits):
    _, n_curves, n_thresholds = hits.shape
    rows = [packed(one) for one in hits]
    assert np.array_equal(unpacked(rows, n_thresholds), hits)
    assert np.array_equal(n_hits(rows, n_thresholds), hits.sum(axis=0))
    for curve in range(n_curves):
        for threshold in {0, n_thresholds // 2, n_thresholds - 1}:
            found = hits_of(rows, n_thresholds, curve, threshold)
            assert found.tolist() == hits[:, curve, threshold].tolist()


def test_ten_thresholds_by_hand():
    # Two curves of two bytes each: thresholds 0, 7, 8 and 1, 9.
    row = bytes([0b1000_0001, 0b1000_0000, 0b0100_0000, 0b0100_0000])
    [[first, second]] = unpacked([row], 10)
    assert np.flatnonzero(first).tolist() == [0, 7, 8]
    assert np.flatnonzero(second).tolist() == [1, 9]
    assert n_hits([row, row], 10).tolist() == [(2 * first).tolist(), (2 * second).tolist()]
    assert hits_of([row, bytes(4)], 10, curve=1, threshold=9).tolist() == [True, False]
    assert hits_of([row, bytes(4)], 10, curve=0, threshold=9).tolist() == [False, False]


def test_images_are_counted_over_all_chunks():
    hits = np.random.default_rng(0).random((9001, 1, 11)) < 0.3
    rows = [np.packbits(one, axis=1).tobytes() for one in hits]
    assert n_hits(rows, 11).tolist() == hits.sum(axis=0).tolist()


def test_the_best_threshold_and_the_accuracy_there():
    chosen = best_threshold(np.array([0.1, 0.4, 0.7, 0.2]))
    assert chosen == (2, 0.7)
    assert isinstance(chosen.threshold, int) and isinstance(chosen.accuracy, float)


@pytest.mark.parametrize(
    ("accuracy", "threshold"),
    [([0.2, 0.5, 0.5, 0.1], 1), ([0.0, 0.0, 0.0], 0), ([1.0], 0), ([0.1, 0.3, 0.2, 0.3], 1)],
)
def test_of_several_best_thresholds_the_lowest(accuracy, threshold):
    assert best_threshold(np.array(accuracy)).threshold == threshold


def test_max_box_acc_is_the_best_mean_not_the_mean_of_the_bests():
    # Each image is right at one threshold of its own: never more than one in three at once.
    rows = [packed(np.eye(3, dtype=bool)[[index]]) for index in range(3)]
    accuracy = n_hits(rows, 3)[0] / 3
    assert best_threshold(accuracy) == (0, pytest.approx(1 / 3))
