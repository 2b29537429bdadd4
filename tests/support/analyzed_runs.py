"""The numbers of small runs on colored rectangles, and a check of their intervals."""

import numpy as np
import pytest

CLASSES = tuple(f"top{k}_cls_error" for k in range(1, 6))
ONE_BOX = (
    *CLASSES,
    *(f"top{k}_loc_error" for k in range(1, 6)),
    *("top1_loc_error_all", "top5_loc_error_all", "gt_known_loc_error"),
    *("mean_iou", "box_acc_area"),
)
OF_MAPS = ("pointing_game", "pointing_game_15px", "energy_pointing_game")
FAITHFULNESS = ("insertion", "deletion", "average_drop", "increase_in_confidence")
REAL = ("mean_iou", "box_acc_area", "energy_pointing_game", *FAITHFULNESS[:3])
GRID = {"step": 0.05}


def scenes(n=10):
    """Scenes with rectangles on the grid of cells; every other scene has two of the same color."""
    rng = np.random.default_rng(0)
    scene_list = []
    for index in range(n):
        boxes = []
        for _ in range(1 + index % 2):
            x0, y0 = 32 * rng.integers(0, 5, 2)
            width, height = 32 * rng.integers(1, 4, 2)
            boxes.append(tuple(map(int, (x0, y0, min(224, x0 + width), min(224, y0 + height)))))
        scene_list.append(((224, 224), index % 3, boxes))
    return tuple(scene_list)


def lines(table, **which):
    for column, value in which.items():
        table = table[table[column] == value]
    return table


def assert_intervals_are_of(intervals, summary, names, *, within=True):
    """Each number of the summary has one line of intervals, with its value inside the interval."""
    for line in summary.to_dict(orient="records"):
        by_number = lines(intervals, method=line["method"]).set_index("number")
        assert by_number.index.is_unique
        for number in names:
            expected = line[number]
            if np.isnan(expected):
                assert number not in by_number.index
                continue
            assert by_number.loc[number, "value"] == pytest.approx(expected, abs=1e-12), number
            low, high = by_number.loc[number, ["low", "high"]]
            assert low <= high, number
            assert not within or low - 1e-12 <= expected <= high + 1e-12, number
