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
        # From the center of the nearest pixel, (10.5, 20.5) or (29.5, 39.5): 15 is too far.
        (-4.4, 25.0, True),
        (-4.5, 25.0, False),
        (44.4, 30.0, True),
        (44.5, 30.0, False),
        (15.0, 54.4, True),
        (15.0, 5.5, False),
        # 9 right and 12 down are 15; 8.9 and 12 are less.
        (38.5, 51.5, False),
        (38.4, 51.5, True),
        # Within 15 pixels of both edges, and 21 from the corner.
        (44.4, 54.4, False),
    ],
)
def test_the_tolerance_is_a_disc_around_the_maximum(x, y, hit):
    assert is_hit(x, y, tolerance=15.0) is hit
    assert not is_hit(x, y)


def test_a_maximum_off_a_corner_by_less_than_15_pixels_each_way_misses():
    box = np.array([[50.0, 50.0, 100.0, 100.0]])
    assert not is_hit(114.0, 114.0, box, tolerance=15.0)
    assert is_hit(114.0, 75.0, box, tolerance=15.0)


def torchray_hits(mask, points, tolerance):
    """Whether a pixel of the mask has a squared distance below the squared tolerance.

    As TorchRay's PointingGame.evaluate says it, by all pixels of the mask.
    """
    y, x = np.nonzero(mask)
    squares = (x - points[:, :1]) ** 2 + (y - points[:, 1:]) ** 2
    return (squares < tolerance**2).any(axis=1)


@pytest.mark.parametrize("tolerance", [1, 5, 15])
def test_whole_pixels_are_scored_as_torchray_scores_masks_of_boxes(tolerance):
    rng = np.random.default_rng(tolerance)
    height, width = 40, 60
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    for n_boxes in (1, 1, 2, 3):
        low = rng.integers(0, (width - 10, height - 10), (n_boxes, 2))
        boxes = np.hstack([low, low + rng.integers(1, 10, (n_boxes, 2))])
        mask = np.zeros((height, width), bool)
        for x0, y0, x1, y1 in boxes:
            mask[y0:y1, x0:x1] = True
        # Pixel (u, v) of a map has its center at (u + 0.5, v + 0.5).
        found = pointing_hits(
            points + 0.5, [boxes.astype(float)] * len(points), tolerance=float(tolerance)
        )
        assert np.array_equal(found, torchray_hits(mask, points, tolerance))


def test_a_box_smaller_than_a_pixel_is_as_far_as_its_middle():
    box = np.array([[10.0, 10.0, 10.5, 10.5]])
    assert is_hit(25.2, 10.25, box, tolerance=15.0)
    assert not is_hit(25.25, 10.25, box, tolerance=15.0)


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
