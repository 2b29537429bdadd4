"""Top-1 and top-5 localization under a sweep, against loops over thresholds."""

import numpy as np
import pandas as pd
import pytest
from method_results import method_of, per_image

from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import metrics
from wsol_bench.protocols.load import load_protocol

NAN = float("nan")
GRID = {"step": 0.25}  # thresholds 0, 0.25, 0.5, 0.75
NUMBERS = {"max_top1_loc": 1, "max_top5_loc": 5}


def protocol_of(name="choe-2020-v1", **box):
    return load_protocol(name, {"box": {"threshold": {**GRID, **box}}})


def images(*lines):
    """Images of class a with one box; each line says what differs."""
    whole = {
        "label": "a", "blacklisted": False, "n_label_boxes": 1, "held_out": False,
        "status": "evaluated",
    }  # fmt: skip
    return pd.DataFrame([{**whole, **line} for line in lines])


def rows(*lines):
    """Rows of (image, rank, class)."""
    table = pd.DataFrame(lines, columns=["image_id", "rank", "class"])
    return table.assign(iou=NAN, status="swept")


def curves(**hits):
    """Of each image, curves of four thresholds each as text: "0110 0011"."""
    lines = [
        {"image_id": name, "hits": bytes(int(f"{curve:0<8}", 2) for curve in text.split())}
        for name, text in hits.items()
    ]
    return pd.DataFrame(lines, columns=["image_id", "hits"])


IMAGES = (
    {"image_id": "first"},
    {"image_id": "fifth"},
    {"image_id": "sixth"},
    {"image_id": "twice"},
    {"image_id": "blacklisted", "blacklisted": True},
    {"image_id": "boxless", "n_label_boxes": 0},
    {"image_id": "unreadable", "status": "unreadable"},
)
ROWS = (
    ("first", 1, "a"), ("first", 2, "b"),
    ("fifth", 1, "b"), ("fifth", 5, "a"),
    ("sixth", 1, "b"), ("sixth", 6, "a"),
    ("twice", 1, "b"), ("twice", 4, "a"), ("twice", 2, "a"),
    ("blacklisted", 1, "a"),
    ("boxless", 1, "a"),
)  # fmt: skip
HITS = {
    "first": "0110",
    "fifth": "0010",
    "sixth": "1011",
    "twice": "1001",
    "blacklisted": "0101",
    "boxless": "1111",
}


def by_loops(image_table, row_table, hits, k, thresholds=4):
    """At each threshold the share of images that are right there: (t,) and what each image has."""
    scored = [
        one
        for one in image_table.to_dict(orient="records")
        if one["status"] == "evaluated" and one["n_label_boxes"] > 0 and not one["held_out"]
    ]
    shares = []
    for threshold in range(thresholds):
        right = 0
        for image in scored:
            image_rows = [row for row in row_table.to_dict(orient="records")
                    if row["image_id"] == image["image_id"] and row["class"] == image["label"]
                    and row["rank"] <= k]  # fmt: skip
            right += bool(image_rows) and hits[image["image_id"]][threshold] == "1"
        shares.append(right / len(scored))
    return np.array(shares)


def test_by_hand():
    """The label of two of five images is ranked first (both hit at 0.25), of four in the top 5."""
    line = method_of(rows(*ROWS), images(*IMAGES), curves(**HITS), protocol=protocol_of()).line()
    assert line["n_scored"] == 5
    assert line["max_box_acc"] == pytest.approx(3 / 5)
    assert line["max_top1_loc"] == pytest.approx(2 / 5)
    assert line["max_top1_loc_threshold"] == 0.25
    # Hits 1, 2, 2, 2 of first, fifth, twice and blacklisted: the lowest threshold of the best.
    assert line["max_top5_loc"] == pytest.approx(2 / 5)
    assert line["max_top5_loc_threshold"] == 0.25
    assert not [name for name in line if name.startswith(("selected", "gap"))]


def test_four_images_under_the_best_threshold_protocol_by_hand():
    """Of four images one is first, one fifth and two are at other ranks or have no row.

    Hits at 0, 0.25, 0.5, 0.75: of all images 1, 2, 3, 1; of those among the first five 1, 1, 1, 1;
    of the first 0, 0, 0, 1. So GT-known is best at 0.5, top-5 at 0 and top-1 at 0.75.
    """
    table = images(*({"image_id": name} for name in ("one", "two", "three", "four")))
    ranks = rows(
        ("one", 1, "a"), ("one", 2, "b"), ("two", 1, "b"), ("two", 5, "a"), ("three", 1, "b"),
        ("three", 6, "a"), ("four", 1, "c"), ("four", 7, "a"),
    )  # fmt: skip
    hits = {"one": "0001", "two": "1110", "three": "0110", "four": "0010"}
    for name in ("wsol-2018-squash", "wsol-2018-crop"):
        line = method_of(ranks, table, curves(**hits), protocol=protocol_of(name)).line()
        errors = [line[f"top{k}_cls_error"] for k in range(1, 6)]
        assert errors == [0.75, 0.75, 0.75, 0.75, 0.5]
        assert (line["max_box_acc"], line["max_box_acc_threshold"]) == (0.75, 0.5)
        assert (line["max_top5_loc"], line["max_top5_loc_threshold"]) == (0.25, 0)
        assert (line["max_top1_loc"], line["max_top1_loc_threshold"]) == (0.25, 0.75)
        assert (line["top1_loc_at_gt_known"], line["top5_loc_at_gt_known"]) == (0, 0.25)


def test_against_a_loop_over_thresholds():
    for seed in (*range(10), 23, 34):  # the last two have one scored image, a miss and a hit
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 25))
        names = [f"i{index}" for index in range(n)]
        image_table = images(
            *(
                {
                    "image_id": name,
                    "label": str(rng.choice(["a", "b"])),
                    "n_label_boxes": int(rng.integers(0, 3)),
                    "blacklisted": bool(rng.random() < 0.2),
                    "status": str(rng.choice(["evaluated", "unreadable"], p=[0.9, 0.1])),
                }
                for name in names
            )
        )
        image_table.loc[0, ["n_label_boxes", "status"]] = [1, "evaluated"]
        # The label at any rank, or twice; without a row it is among no first predictions.
        row_table = rows(
            *(
                (name, int(rank), str(rng.choice(["a", "b", "c"])))
                for name, status in zip(names, image_table["status"], strict=True)
                if status == "evaluated"
                for rank in rng.permutation(9)[: rng.integers(1, 9)] + 1
            )
        )
        hits = {name: "".join(rng.choice(["0", "1"], 4)) for name in names}
        method = method_of(row_table, image_table, curves(**hits), protocol=protocol_of())
        line = method.line()
        numbers = {one.name: one for one in method.numbers()}
        for name, k in NUMBERS.items():
            shares = by_loops(image_table, row_table, hits, k)
            assert line[name] == pytest.approx(shares.max(), abs=1e-12)
            assert line[f"{name}_threshold"] == GRID["step"] * shares.argmax()
            assert numbers[name].means() == pytest.approx(shares, abs=1e-12)
            assert numbers[name].hits and numbers[name].better == "higher"
            best = int(line["max_box_acc_threshold"] / GRID["step"])
            assert line[f"top{k}_loc_at_gt_known"] == pytest.approx(shares[best], abs=1e-12)
        assert line["max_top1_loc"] <= line["max_top5_loc"] <= line["max_box_acc"]


def test_where_nobody_has_ranked_classes_there_is_no_such_number():
    unranked = rows(*((name, 0, "a") for name in HITS))
    for changes in ({}, {"select_on": 0.5}):
        table = images(*IMAGES)
        table["held_out"] = table["image_id"].isin(["first", "boxless"]) & bool(changes)
        line = method_of(unranked, table, curves(**HITS), protocol=protocol_of(**changes)).line()
        assert line["max_box_acc"] > 0
        assert not [name for name in line if "top1" in name or "top5" in name]


def test_the_threshold_may_be_selected_on_held_out_images():
    """The held-out image of the first class is best at 0.75, where the other one misses.

    Of the others held out the label is not first: they select for the first five alone.
    """
    sides = (
        *IMAGES[:2],
        {"image_id": "x", "held_out": True},
        {"image_id": "y", "held_out": True},
        {"image_id": "z", "held_out": True},
        {"image_id": "out", "held_out": True, "n_label_boxes": 0},
    )
    table = rows(
        *ROWS[:4],
        ("x", 1, "a"), ("y", 1, "b"), ("y", 3, "a"), ("z", 1, "b"), ("z", 5, "a"),
        ("out", 1, "a"),
    )  # fmt: skip
    hits = {"first": "0110", "fifth": "0010", "x": "0001", "y": "0010", "z": "0010"}
    method = method_of(table, images(*sides), curves(**hits), protocol=protocol_of(select_on=0.5))
    line = method.line()
    assert (line["n_scored"], line["n_held_out"]) == (2, 3)
    assert (line["max_top1_loc"], line["max_top1_loc_threshold"]) == (0.5, 0.25)
    assert (line["selected_top1_loc"], line["selected_top1_loc_threshold"]) == (0, 0.75)
    assert line["gap_top1_loc"] == 0.5
    assert (line["max_top5_loc"], line["max_top5_loc_threshold"]) == (1, 0.5)
    assert (line["selected_top5_loc"], line["selected_top5_loc_threshold"]) == (1, 0.5)
    assert line["gap_top5_loc"] == 0
    values = per_image(method)
    assert values["selected_top1_loc"].dropna().to_dict() == {"first": 0, "fifth": 0}
    assert values["selected_top5_loc"].dropna().to_dict() == {"first": 1, "fifth": 1}


def test_the_threshold_may_be_selected_by_another_runs_means():
    means = {"max_top1_loc": np.array([0.0, 0.2, 0.1, 0.0]), "max_box_acc": None}
    line = method_of(
        rows(*ROWS), images(*IMAGES), curves(**HITS), protocol=protocol_of(), selection=means.get
    ).line()
    assert (line["selected_top1_loc"], line["selected_top1_loc_threshold"]) == (0.4, 0.25)
    assert line["gap_top1_loc"] == 0
    assert "selected_top5_loc" not in line and "selected_box_acc" not in line


@pytest.mark.parametrize("lacking", ["first", "blacklisted"])
def test_without_a_curve_of_some_image_there_is_no_number(lacking):
    hits = {name: text for name, text in HITS.items() if name != lacking}
    line = method_of(rows(*ROWS), images(*IMAGES), curves(**hits), protocol=protocol_of()).line()
    assert line["n_scored"] == 0
    assert not [name for name in line if "_loc" in name]


def test_where_no_image_is_scored_there_is_no_number_and_no_threshold():
    table = images(*({**one, "n_label_boxes": 0} for one in IMAGES))
    line = method_of(rows(*ROWS), table, curves(**HITS), protocol=protocol_of()).line()
    assert line["n_scored"] == 0
    assert not [name for name in line if "_loc" in name]


def test_are_of_the_largest_component_at_iou_50_where_others_are_scored_too():
    """The largest at 0.3, 0.5, 0.7, then any: the second curve counts."""
    line = method_of(
        rows(("i", 1, "a")),
        images({"image_id": "i"}),
        curves(i="1111 0001 1111 1111 1111 1111"),
        protocol=protocol_of("choe-2020-v2"),
    ).line()
    assert (line["max_top1_loc"], line["max_top1_loc_threshold"]) == (1, 0.75)


def test_are_reported_where_the_protocol_has_iou_50_alone():
    other = load_protocol("choe-2020-v1", {"box": {"threshold": GRID}, "scoring": {"iou": 0.7}})
    tables = (rows(*ROWS), images(*IMAGES), curves(**HITS))
    line = method_of(*tables, protocol=other).line()
    assert "max_box_acc_iou70" in line
    assert not set(NUMBERS) & set(line)
    with pytest.raises(
        ConfigError, match=r"expected 0\.5 among the protocol's least IoUs, .* 0\.7"
    ):
        method_of(*tables, protocol=other, metrics=[metrics.get("max_top1_loc")]).line()
