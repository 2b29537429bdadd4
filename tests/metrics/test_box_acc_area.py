"""The area under the localization accuracy over IoU thresholds, against the curve itself."""

import numpy as np
import pandas as pd
import pytest
from method_results import errors_of, method_of
from metric_tables import images, rows

from wsol_bench.errors import PluginError
from wsol_bench.metrics.base import metrics
from wsol_bench.metrics.box_acc_area import share_of_thresholds

BOX = (0, 0, 10, 10)


def curve(iou, thresholds):
    """BoxAcc(d): the share of boxes that are hits at each threshold."""
    return 1 - np.searchsorted(np.sort(iou), thresholds, side="left") / len(iou)


@pytest.mark.parametrize("low", [0.0, 0.3, 0.5, 0.95])
def test_the_area_is_the_mean_of_the_curve(low):
    iou = np.random.default_rng(1).random(200)
    middles = low + (np.arange(100_000) + 0.5) / 100_000 * (1 - low)
    area = share_of_thresholds(iou, low=low).mean()
    assert area == pytest.approx(curve(iou, middles).mean(), abs=1e-5)


def test_a_box_is_a_hit_at_the_thresholds_up_to_its_iou():
    """At none, none, half and all of the thresholds from 0.5 to 1; a map without a box at none."""
    shares = share_of_thresholds(np.array([0.2, 0.5, 0.75, 1.0, 0.0]), low=0.5)
    assert shares.tolist() == [0, 0, 0.5, 1, 0]


def test_the_whole_area_is_the_mean_iou():
    iou = np.random.default_rng(2).random(100)
    assert share_of_thresholds(iou, low=0.0).mean() == pytest.approx(iou.mean(), abs=1e-15)


def test_an_image_that_does_not_count_has_no_share():
    assert np.isnan(share_of_thresholds(np.array([np.nan]), low=0.5)).tolist() == [True]


def test_no_image_has_no_number():
    assert np.isnan(method_of(rows(), images()).line()["box_acc_area"])


@pytest.mark.parametrize(
    ("name", "iou", "value"),
    [("mean_iou", -0.1, -0.1), ("mean_iou", 1.1, 1.1), ("box_acc_area", 1.1, 1.2)],
)
def test_what_is_no_iou_is_refused(name, iou, value):
    of_image = images({"image_id": "i", "boxes": [BOX]})
    scores = method_of(rows({"image_id": "i", "box": BOX, "iou": iou}), of_image).scores
    with pytest.raises(PluginError, match=f"'{name}' has the value {value}, outside of its range"):
        metrics.get(name).number(scores)


def test_the_curve_meets_the_localization_error():
    rng = np.random.default_rng(3)
    iou = rng.random(40).round(1)
    of_image = images(*({"image_id": f"i{k}", "boxes": [BOX]} for k in range(40)))
    table = rows(*({"image_id": f"i{k}", "box": BOX, "iou": iou[k]} for k in range(40)))
    thresholds = np.arange(0.1, 1.0, 0.1).round(1)
    errors = [errors_of(table, of_image, iou=d).gt_known for d in thresholds]
    assert curve(iou, thresholds) == pytest.approx(1 - np.array(errors))
    # The IoUs are tenths, so the curve is constant between two of these thresholds.
    middles = (0.55, 0.65, 0.75, 0.85, 0.95)
    errors = [errors_of(table, of_image, iou=d).gt_known for d in middles]
    area = share_of_thresholds(iou, low=0.5).mean()
    assert area == pytest.approx(1 - np.mean(errors), abs=1e-12)


def test_the_metrics_are_the_mean_iou_and_the_area_of_the_images_that_count():
    """Blacklisted, without a box, and of another class: the second, third and fourth image."""
    iou = np.random.default_rng(4).random(40)
    of_image = images(
        *({"image_id": f"i{k}", "boxes": [BOX], "blacklisted": k == 1} for k in range(40))
    )
    of_image.loc[2, "n_label_boxes"] = 0
    table = rows(*({"image_id": f"i{k}", "box": BOX, "iou": iou[k]} for k in range(40)))
    extra = rows({"image_id": "i3", "class": "b", "box": BOX, "iou": 1.0})
    line = method_of(pd.concat([extra, table]), of_image).line()
    counted = np.delete(iou, [1, 2])
    assert line["mean_iou"] == pytest.approx(
        share_of_thresholds(counted, low=0.0).mean(), abs=1e-12
    )
    assert line["box_acc_area"] == pytest.approx(
        share_of_thresholds(counted, low=0.5).mean(), abs=1e-12
    )
