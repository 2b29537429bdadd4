import numpy as np
import pandas as pd
import pytest
from method_results import errors_of, method_of
from metric_tables import images, rows

from wsol_bench.metrics.box_acc import box_acc_area, box_acc_curve


def test_an_iou_is_a_hit_up_to_itself():
    curve = box_acc_curve(np.array([0.2, 0.5, 0.5, 1.0]), np.array([0, 0.2, 0.21, 0.5, 0.51, 1.0]))
    assert curve.tolist() == [1, 1, 0.75, 0.75, 0.25, 0.25]


def test_a_map_without_a_box_is_a_hit_at_zero_alone():
    assert box_acc_curve(np.array([0.0]), np.array([0.0, 1e-9])).tolist() == [1, 0]


def test_thresholds_need_no_order():
    iou, thresholds = np.random.default_rng(0).random(50), np.array([0.9, 0.1, 0.5])
    expected = [(iou >= threshold).mean() for threshold in thresholds]
    assert box_acc_curve(iou, thresholds) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.5, 1.0), (0.3, 0.7), (0.5, 0.95)])
def test_the_area_is_the_mean_of_the_curve(low, high):
    iou = np.random.default_rng(1).random(200)
    middles = low + (np.arange(100_000) + 0.5) / 100_000 * (high - low)
    area = box_acc_area(iou, low=low, high=high)
    assert area == pytest.approx(box_acc_curve(iou, middles).mean(), abs=1e-5)


def test_the_whole_area_is_the_mean_iou():
    iou = np.random.default_rng(2).random(100)
    assert box_acc_area(iou, low=0.0) == pytest.approx(iou.mean(), abs=1e-15)


def test_the_area_from_one_half_of_hand_solved_ious():
    # Hits for none, none, half and all of the thresholds from 0.5 to 1.
    assert box_acc_area(np.array([0.2, 0.5, 0.75, 1.0]), low=0.5) == 1.5 / 4


def test_no_image_has_no_number():
    nothing = np.zeros(0)
    assert np.isnan(box_acc_curve(nothing, np.array([0.1, 0.9]))).tolist() == [True, True]
    assert np.isnan(box_acc_area(nothing, low=0.5))


@pytest.mark.parametrize("iou", [np.nan, -0.1, 1.1])
def test_what_is_no_iou_is_refused(iou):
    with pytest.raises(ValueError, match=r"expected IoUs in \[0, 1\]"):
        box_acc_curve(np.array([0.5, iou]), np.array([0.5]))
    with pytest.raises(ValueError, match=r"expected IoUs in \[0, 1\]"):
        box_acc_area(np.array([0.5, iou]), low=0.5)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.7, 0.3), (-0.1, 1.0), (0.5, 1.1)])
def test_ends_that_are_not_in_order_are_refused(low, high):
    with pytest.raises(ValueError, match="low < high <= 1"):
        box_acc_area(np.array([0.5]), low=low, high=high)


def test_the_curve_meets_the_localization_error():
    rng = np.random.default_rng(3)
    iou = rng.random(40).round(1)
    of_image = images(*({"image_id": f"i{k}", "boxes": [(0, 0, 10, 10)]} for k in range(40)))
    table = rows(*({"image_id": f"i{k}", "box": (0, 0, 10, 10), "iou": iou[k]} for k in range(40)))
    thresholds = np.arange(0.1, 1.0, 0.1).round(1)
    errors = [errors_of(table, of_image, iou=d).gt_known for d in thresholds]
    assert box_acc_curve(iou, thresholds) == pytest.approx(1 - np.array(errors))


def test_the_metrics_are_the_mean_iou_and_the_area_of_the_images_that_count():
    """Blacklisted, without a box, and of another class: the second, third and fourth image."""
    iou = np.random.default_rng(4).random(40)
    box = (0, 0, 10, 10)
    of_image = images(
        *({"image_id": f"i{k}", "boxes": [box], "blacklisted": k == 1} for k in range(40))
    )
    of_image.loc[2, "n_label_boxes"] = 0
    table = rows(*({"image_id": f"i{k}", "box": box, "iou": iou[k]} for k in range(40)))
    extra = rows({"image_id": "i3", "class": "b", "box": box, "iou": 1.0})
    line = method_of(pd.concat([extra, table]), of_image).line()
    counted = np.delete(iou, [1, 2])
    assert line["mean_iou"] == pytest.approx(box_acc_area(counted, low=0.0), abs=1e-12)
    assert line["box_acc_area"] == pytest.approx(box_acc_area(counted, low=0.5), abs=1e-12)
