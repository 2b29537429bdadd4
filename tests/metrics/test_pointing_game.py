import numpy as np
import pytest

from wsol_bench.metrics.pointing_game import pointing_hits

BOX = np.array([[10.0, 20.0, 30.0, 40.0]])


def is_hit(x, y, boxes=BOX, **options):
    [hit] = pointing_hits(np.array([[x, y]]), [boxes], **options)
    return bool(hit)


@pytest.mark.parametrize(
    ("x", "y", "hit"),
    [
        (15.5, 25.5, True),
        (10.0, 20.0, True),
        (np.nextafter(30.0, 0), np.nextafter(40.0, 0), True),
        (30.0, 25.0, False),
        (15.0, 40.0, False),
        (np.nextafter(10.0, 0), 25.0, False),
        (15.0, np.nextafter(20.0, 0), False),
        # x and y exchanged.
        (25.0, 15.0, False),
    ],
)
def test_a_box_holds_its_near_edges_and_not_its_far_ones(x, y, hit):
    assert is_hit(x, y) is hit


@pytest.mark.parametrize(
    ("x", "y", "hit"),
    [
        (-5.0, 25.0, True),
        (-5.1, 25.0, False),
        (44.9, 54.9, True),
        (45.0, 25.0, False),
        (15.0, 55.0, False),
        (15.0, 5.0, True),
        (15.0, 4.9, False),
    ],
)
def test_the_tolerance_widens_the_box_to_each_side(x, y, hit):
    assert is_hit(x, y, tolerance=15.0) is hit
    assert not is_hit(x, y)


def test_any_box_of_the_image_may_be_hit():
    two = np.array([[0.0, 0.0, 5.0, 5.0], [10.0, 20.0, 30.0, 40.0]])
    assert is_hit(2.0, 2.0, two)
    assert is_hit(15.0, 25.0, two)
    # Within the columns of one and the rows of the other.
    assert not is_hit(2.0, 25.0, two)
    assert not is_hit(7.0, 7.0, two)


def test_each_image_has_boxes_of_its_own():
    peaks = np.array([[15.0, 25.0], [15.0, 25.0], [15.0, 25.0], [1.0, 1.0]])
    none, other = np.zeros((0, 4)), np.array([[0.0, 0.0, 2.0, 2.0]])
    assert pointing_hits(peaks, [BOX, none, other, other]).tolist() == [True, False, False, True]


def test_a_map_without_a_maximum_misses():
    peaks = np.array([[np.nan, np.nan], [np.nan, 25.0], [15.0, np.nan]])
    for tolerance in (0.0, 15.0, np.inf):
        assert not pointing_hits(peaks, [BOX] * 3, tolerance=tolerance).any()


def test_no_images_are_no_hits():
    assert pointing_hits(np.zeros((0, 2)), []).shape == (0,)


def test_peaks_and_images_must_be_as_many():
    with pytest.raises(ValueError, match="boxes of 2 images, found 1"):
        pointing_hits(np.zeros((2, 2)), [BOX])
