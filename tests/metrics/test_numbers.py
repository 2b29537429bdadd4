"""What images contribute to each number adds up to the numbers of the summary."""

import warnings

import numpy as np
import pandas as pd
import pytest
from metric_tables import GROUP_OF_TEST
from wsol_bench.metrics.per_image import per_image, per_image_of_sweep
from wsol_bench.metrics.summary import summarize

from wsol_bench.protocols import load_protocol

NAN = float("nan")
GROUP = {"model": "m", **GROUP_OF_TEST}
CLASSES = ("a", "b", "c", "d")
ERRORS = (
    *(f"top{k}_{kind}_error" for k in range(1, 6) for kind in ("cls", "loc")),
    *("top1_loc_error_all", "top5_loc_error_all", "gt_known_loc_error"),
)
OF_BOXES = ("mean_iou", "box_acc_area")
POINTING = ("pointing_game", "pointing_game_15px", "energy_pointing_game")
OF_MAPS = (
    *POINTING,
    *("insertion", "deletion", "average_drop", "increase_in_confidence"),
)


def random_images(rng, n=12):
    corners = rng.uniform(0, 60, (n, 2, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (n, 2, 2))], axis=2)
    counts = rng.choice([0, 1, 2], n, p=[0.2, 0.6, 0.2])
    return pd.DataFrame(
        {
            "model": "m",
            "image_id": [f"i{index}" for index in range(n)],
            "label": rng.choice(CLASSES, n),
            "blacklisted": rng.random(n) < 0.2,
            "n_label_boxes": counts,
            "boxes": [
                one[:count].ravel().tolist() for one, count in zip(boxes, counts, strict=True)
            ],
            "held_out": rng.random(n) < 0.3,
            "status": rng.choice(["evaluated", "unreadable"], n, p=[0.85, 0.15]),
        }
    )


def random_rows(rng, images, *, own):
    """Guesses ranked from 1, several of one class among them, or none; in any order.

    Args:
        own: whether the image's own class is always among them, as in a run.
    """
    lines = []
    for image in images[images["status"] == "evaluated"].to_dict(orient="records"):
        guesses = [*rng.choice(CLASSES, rng.integers(0, 7))]
        if own:
            guesses.insert(int(rng.integers(0, len(guesses) + 1)), image["label"])
        for rank, guess in enumerate(guesses, 1):
            status = str(rng.choice(["box", "box", "no_box", "missing"]))
            iou = float(rng.choice([0.3, 0.5, 0.7, 1.0])) if status == "box" else 0.0
            line = {"image_id": image["image_id"], "rank": rank, "class": guess, "iou": iou}
            mine = guess == image["label"]
            some = mine and status != "missing" and rng.random() < 0.8
            peak = rng.uniform(0, 100, 2) if some else (NAN, NAN)
            asked = rank == 1 and rng.random() < 0.8
            lines.append(
                {
                    **GROUP,
                    **line,
                    "status": status,
                    "score": float(rng.random()),
                    "peak_x": peak[0],
                    "peak_y": peak[1],
                    "energy": float(rng.random()) if some else NAN,
                    **{
                        name: float(rng.random()) if asked else NAN
                        for name in ("insertion", "deletion", "masked_score")
                    },
                }
            )
    return pd.DataFrame(lines).sample(frac=1, random_state=int(rng.integers(1000)))


def mean(column):
    return float(column.mean()) if column.notna().any() else NAN


@pytest.mark.parametrize("own", [True, False])
def test_means_are_the_numbers_of_the_summary(own):
    """On 50 random tables; where the summary refuses a number so do the images."""
    names = (*ERRORS, *OF_BOXES, *OF_MAPS)
    seen = dict.fromkeys(names, 0)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        images = random_images(rng).assign(held_out=False)
        rows = random_rows(rng, images, own=own)
        least = float(rng.choice([0.5, 0.6]))
        protocol = load_protocol("gradcam-2017", {"scoring": {"iou": least}})
        [line] = summarize(rows, images, protocol=protocol).to_dict(orient="records")
        values = per_image(rows, images, iou=least)
        assert len(values) == line["n_images"]
        assert set(values) <= set(names)
        for name in names:
            expected = line.get(name, NAN)
            found = mean(values[name]) if name in values else NAN
            assert found == pytest.approx(expected, nan_ok=True), (seed, name)
            seen[name] += not np.isnan(expected)
    # The identities are not between numbers that are never there.
    rare = {name for name, n in seen.items() if n < 30}
    assert rare == (set() if own else {"gt_known_loc_error", *OF_BOXES})


def test_an_image_that_does_not_count_in_a_number_has_none():
    images = pd.DataFrame(
        {
            "image_id": ["counted", "blacklisted", "boxless", "unreadable"],
            "label": "a",
            "blacklisted": [False, True, False, False],
            "n_label_boxes": [1, 1, 0, 1],
            "boxes": [[0.0, 0, 9, 9], [0.0, 0, 9, 9], [], [0.0, 0, 9, 9]],
            "status": ["evaluated", "evaluated", "evaluated", "unreadable"],
        }
    )
    rows = pd.DataFrame(
        {
            "image_id": ["counted", "blacklisted", "boxless"],
            "rank": 1,
            "class": "a",
            "iou": [0.75, 1.0, 0.0],
            "status": "box",
            "peak_x": [5.0, 5.0, 5.0],
            "peak_y": 5.0,
            "energy": 0.5,
        }
    )
    values = per_image(rows, images)
    assert values.index.tolist() == ["counted", "blacklisted", "boxless"]
    assert values["top1_cls_error"].tolist() == [0, 0, 0]
    assert values["top1_loc_error_all"].isna().tolist() == [False, False, True]
    numbers = {"top1_loc_error": 0, "gt_known_loc_error": 0, "mean_iou": 0.75, "box_acc_area": 0.5}
    for name, expected in numbers.items():
        assert values[name].iloc[0] == expected
        assert np.isnan(values[name].iloc[1:]).all(), name
    # The pointing game has no blacklist.
    for name in POINTING:
        assert values[name].isna().tolist() == [False, False, True]
    assert "insertion" not in values


def test_a_method_that_is_not_applicable_hits_and_misses_nothing():
    images = random_images(np.random.default_rng(0)).assign(status="evaluated")
    rows = random_rows(np.random.default_rng(0), images, own=True).assign(
        status="not_applicable", iou=NAN, peak_x=NAN, peak_y=NAN
    )
    values = per_image(rows, images)
    assert values["top1_cls_error"].notna().all()
    of_boxes = [name for name in values if "cls" not in name]
    assert {"top1_loc_error", "gt_known_loc_error", *OF_BOXES} <= set(of_boxes)
    asked = [name for name in of_boxes if name not in OF_MAPS]
    assert values[asked].isna().all(axis=None)


def test_boxes_whatever_the_class_have_gt_known_alone():
    images = random_images(np.random.default_rng(1)).assign(status="evaluated", n_label_boxes=1)
    rows = random_rows(np.random.default_rng(1), images, own=True)
    label = images.set_index("image_id")["label"]
    rows = rows[rows["class"] == label[rows["image_id"]].to_numpy()]
    rows = rows.drop_duplicates("image_id").assign(rank=0)
    values = per_image(rows, images)
    ranked = [name for name in values if name.startswith("top")]
    assert len(ranked) == 12
    assert values[ranked].isna().all(axis=None)
    assert values["gt_known_loc_error"].notna().tolist() == (~images["blacklisted"]).tolist()


class TestSweep:
    @pytest.mark.parametrize(
        ("name", "select_on"),
        [("choe-2020-v1", None), ("choe-2020-v2", None), ("choe-2020-v2", 0.3)],
    )
    def test_means_are_the_accuracies_at_the_best_threshold(self, name, select_on):
        grid = {"step": 0.05, "select_on": select_on}
        protocol = load_protocol(name, {"box": {"threshold": grid}})
        n_curves = len(protocol.scoring.ious) * (2 if protocol.box.component == "all" else 1)
        for seed in range(10):
            rng = np.random.default_rng(seed)
            images = random_images(rng)
            if select_on is None:
                images["held_out"] = False
            rows = random_rows(rng, images, own=True).assign(status="swept", iou=NAN)
            bits = rng.random((len(images), n_curves, 20)) < rng.random(20)
            packed = np.packbits(bits, axis=2)
            curves = pd.DataFrame(
                {
                    **{key: GROUP[key] for key in ("model", "method", "layer")},
                    "image_id": images["image_id"],
                    "hits": [one.tobytes() for one in packed],
                }
            )
            # Curves belong to images of which there are rows.
            evaluated = images.loc[images["status"] == "evaluated", "image_id"]
            curves = curves[curves["image_id"].isin(evaluated)].sample(frac=1, random_state=seed)
            [line] = summarize(rows, images, curves, protocol=protocol).to_dict(orient="records")
            values = per_image_of_sweep(rows, images, curves, protocol)
            for iou in protocol.scoring.ious:
                percent = round(100 * iou)
                column = values[f"box_acc_iou{percent}"]
                assert column.mean() == pytest.approx(line[f"max_box_acc_iou{percent}"])
                assert column.notna().sum() == line["n_scored"]
                out = images.loc[images["held_out"] | (images["n_label_boxes"] == 0), "image_id"]
                assert column.reindex(out).isna().all()
                selected = f"selected_box_acc_iou{percent}"
                assert (selected in values) == (selected in line) == (line.get("n_held_out", 0) > 0)
                if selected in values:
                    assert values[selected].mean() == pytest.approx(line[selected])
                    assert values[selected].isna().equals(column.isna())
            for number in (*OF_MAPS, "selected_box_acc", "selected_box_acc_v2"):
                found = mean(values[number]) if number in values else NAN
                assert found == pytest.approx(line.get(number, NAN), nan_ok=True), (seed, number)
            held_out = images.loc[images["held_out"] & (images["status"] == "evaluated")]
            assert values.loc[held_out["image_id"]].isna().all(axis=None)

    def test_there_are_no_hits_unless_every_image_has_a_curve(self):
        rng = np.random.default_rng(0)
        images = random_images(rng).assign(held_out=False, status="evaluated", n_label_boxes=1)
        rows = random_rows(rng, images, own=True).assign(status="swept", iou=NAN)
        protocol = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.5}}})
        curves = pd.DataFrame(
            {
                **{key: GROUP[key] for key in ("model", "method", "layer")},
                "image_id": images["image_id"],
                "hits": b"\xc0",
            }
        )
        for some, n in ((curves, len(images)), (curves[1:], 0)):
            [line] = summarize(rows, images, some, protocol=protocol).to_dict(orient="records")
            values = per_image_of_sweep(rows, images, some, protocol)
            assert line["n_scored"] == n
            assert ("box_acc_iou50" in values) == ("max_box_acc" in line) == (n > 0)

    def test_without_curves_there_are_no_hits(self):
        images = random_images(np.random.default_rng(0))
        rows = random_rows(np.random.default_rng(0), images, own=True)
        curves = pd.DataFrame(columns=["image_id", "hits"])
        with warnings.catch_warnings(action="error"):
            values = per_image_of_sweep(rows, images, curves, load_protocol("choe-2020-v1"))
        assert "box_acc_iou50" not in values
        assert values["pointing_game"].notna().any()

    def test_a_protocol_of_one_threshold_is_refused(self):
        images = random_images(np.random.default_rng(0))
        rows = random_rows(np.random.default_rng(0), images, own=True)
        with pytest.raises(ValueError, match="expected a protocol with a sweep"):
            per_image_of_sweep(rows, images, pd.DataFrame(), load_protocol("zhou-2016"))
