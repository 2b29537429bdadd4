"""The contributions of images to each number, computed by loops, add up to the summary."""

import warnings

import numpy as np
import pandas as pd
import pytest
from method_results import ILSVRC, method_of, per_image
from metric_tables import GROUP_OF_TEST

from wsol_bench.errors import ConfigError
from wsol_bench.metrics.base import metrics
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.kinds import scoring_of

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
        own: whether the image's label is always among them, as in a run.
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
            is_label = guess == image["label"]
            has_map = is_label and status != "missing" and rng.random() < 0.8
            has_box = is_label and image["n_label_boxes"] > 0
            points = rng.integers(0, 2, 2).astype(float) if has_map else np.zeros(2)
            asked = rank == 1 and rng.random() < 0.8
            lines.append(
                {
                    **GROUP,
                    **line,
                    "status": status,
                    "score": float(rng.random()),
                    "pointing_game": points.min() if has_box else NAN,
                    "pointing_game_15px": points.max() if has_box else NAN,
                    "energy": float(has_map * rng.random()) if has_box else NAN,
                    **{
                        name: float(rng.random()) if asked else NAN
                        for name in ("insertion", "deletion", "masked_score")
                    },
                }
            )
    return pd.DataFrame(lines).sample(frac=1, random_state=int(rng.integers(1000)))


def by_loops(rows, images, least):
    """Compute what each image contributes to each number, one image and row at a time."""
    rows = rows.to_dict(orient="records")
    evaluated = [one for one in images.to_dict(orient="records") if one["status"] == "evaluated"]
    guesses = {
        image["image_id"]: sorted(
            (row for row in rows if row["image_id"] == image["image_id"]),
            key=lambda row: row["rank"],
        )
        for image in evaluated
    }
    values = {}
    for image in evaluated:
        image_rows = guesses[image["image_id"]]
        own = next((row for row in image_rows if row["class"] == image["label"]), None)
        first = next((row for row in image_rows if row["rank"] == 1), {})
        counted = image["n_label_boxes"] > 0 and not image["blacklisted"]
        line = {}
        for k in range(1, 6):
            right = [
                row for row in image_rows if row["class"] == image["label"] and row["rank"] <= k
            ]
            line[f"top{k}_cls_error"] = not right
            missed = not any(row["iou"] >= least for row in right)
            line[f"top{k}_loc_error"] = missed if counted else NAN
            line[f"top{k}_loc_error_all"] = missed if image["n_label_boxes"] > 0 else NAN
        iou = own["iou"] if counted and own else NAN
        line["gt_known_loc_error"] = iou < least if counted else NAN
        line["mean_iou"] = iou
        line["box_acc_area"] = max(2 * iou - 1, 0) if counted else NAN
        for name, column in zip(POINTING, (*POINTING[:2], "energy"), strict=True):
            line[name] = own[column] if own else NAN
        for name in ("insertion", "deletion"):
            line[name] = first.get(name, NAN)
        before, after = first.get("score", NAN), first.get("masked_score", NAN)
        line["average_drop"] = max(before - after, 0) / before if after == after else NAN
        line["increase_in_confidence"] = before < after if after == after else NAN
        values[image["image_id"]] = line
    table = pd.DataFrame.from_dict(values, orient="index").astype(float)
    lacking = [
        image
        for image in evaluated
        if image["n_label_boxes"] > 0
        and not image["blacklisted"]
        and not any(row["class"] == image["label"] for row in guesses[image["image_id"]])
    ]
    if lacking:  # there is no number of all images from the boxes of some
        table[["gt_known_loc_error", *OF_BOXES]] = NAN
    return table[[*ERRORS, *OF_BOXES, *OF_MAPS]]


def mean(column):
    return float(column.mean()) if column.notna().any() else NAN


@pytest.mark.parametrize("own", [True, False])
def test_each_image_contributes_what_loops_say_and_the_means_are_the_summary(own):
    """On 20 random tables; where the summary refuses a number so do the images."""
    names = (*ERRORS, *OF_BOXES, *OF_MAPS)
    seen = dict.fromkeys(names, 0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        images = random_images(rng).assign(held_out=False)
        rows = random_rows(rng, images, own=own)
        least = float(rng.choice([0.5, 0.6]))
        protocol = load_protocol("gradcam-2017", {"scoring": {"iou": least}})
        method = method_of(rows, images, protocol=protocol)
        line, values = method.line(), per_image(method)
        assert len(values) == line["n_images"]
        assert set(values) == set(names)
        expected = by_loops(rows, images, least)
        pd.testing.assert_frame_equal(
            values[list(names)], expected, check_names=False, check_exact=False, rtol=1e-12
        )
        for name in names:
            found = line.get(name, NAN)
            assert found == pytest.approx(mean(expected[name]), nan_ok=True), (seed, name)
            seen[name] += not np.isnan(found)
    # The identities are not between numbers that are never there.
    rare = {name for name, n in seen.items() if n < 12}
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
            "pointing_game": [1.0, 1.0, NAN],
            "pointing_game_15px": [1.0, 1.0, NAN],
            "energy": [0.5, 0.5, NAN],
        }
    )
    values = per_image(method_of(rows, images))
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
        status="not_applicable", iou=NAN
    )
    values = per_image(method_of(rows, images.assign(held_out=False)))
    assert values["top1_cls_error"].notna().all()
    of_boxes = [name for name in values if "cls" not in name]
    assert {"top1_loc_error", "gt_known_loc_error", *OF_BOXES, *POINTING} <= set(of_boxes)
    asked = [name for name in of_boxes if name not in OF_MAPS or name in POINTING]
    assert values[asked].isna().all(axis=None)


def test_boxes_whatever_the_class_have_gt_known_alone():
    images = random_images(np.random.default_rng(1)).assign(
        status="evaluated", n_label_boxes=1, held_out=False
    )
    rows = random_rows(np.random.default_rng(1), images, own=True)
    label = images.set_index("image_id")["label"]
    rows = rows[rows["class"] == label[rows["image_id"]].to_numpy()]
    rows = rows.drop_duplicates("image_id").assign(rank=0)
    values = per_image(method_of(rows, images))
    ranked = [name for name in values if name.startswith("top")]
    assert len(ranked) == 12
    assert values[ranked].isna().all(axis=None)
    assert values["gt_known_loc_error"].notna().tolist() == (~images["blacklisted"]).tolist()


def curves_of(image_ids, bits):
    """The table of curves from hits of shape (images, curves, thresholds)."""
    packed = np.packbits(bits, axis=2)
    return pd.DataFrame({"image_id": image_ids, "hits": [one.tobytes() for one in packed]})


class TestSweep:
    @pytest.mark.parametrize(
        ("name", "select_on"),
        [("choe-2020-v1", None), ("choe-2020-v2", None), ("choe-2020-v2", 0.3)],
    )
    def test_numbers_are_of_the_hits_at_the_best_threshold(self, name, select_on):
        grid = {"step": 0.05, "select_on": select_on}
        protocol = load_protocol(name, {"box": {"threshold": grid}})
        ious = protocol.scoring.ious
        every = protocol.box.component == "all"
        n_curves = len(ious) * (2 if every else 1)
        numbers_of_held_out = set()
        for seed in (0, 1, 2, 7):  # with seed 7 no image that is held out has a box
            rng = np.random.default_rng(seed)
            images = random_images(rng)
            if select_on is None:
                images["held_out"] = False
            rows = random_rows(rng, images, own=True).assign(status="swept", iou=NAN)
            bits = rng.random((len(images), n_curves, 20)) < rng.random(20)
            # Curves belong to images of which there are rows.
            evaluated = (images["status"] == "evaluated").to_numpy()
            curves = curves_of(images["image_id"], bits)[evaluated]
            method = method_of(
                rows, images, curves.sample(frac=1, random_state=seed), protocol=protocol
            )
            line, values = method.line(), per_image(method)
            numbers = {one.name: one for one in method.numbers()}
            has_box = (images["n_label_boxes"] > 0).to_numpy()
            held_out = images["held_out"].to_numpy()
            scored = evaluated & has_box & ~held_out
            others = bits[evaluated & has_box & held_out]
            n_held_out = len(others) if select_on is not None else None
            assert line["n_scored"] == scored.sum() > 0
            assert line.get("n_held_out") == n_held_out
            numbers_of_held_out.add(n_held_out)
            expected = {f"iou{round(100 * iou)}": [at + every * len(ious)]
                        for at, iou in enumerate(ious)}  # fmt: skip
            expected[""] = [ious.index(0.5)]
            if every:
                expected["v2"] = [len(ious) + at for at in range(3)]
            for which, of_curves in expected.items():
                name = "_".join(filter(None, ["max_box_acc", which]))
                best = bits[scored][:, of_curves].mean(axis=0).max(axis=1).mean()
                assert line[name] == numbers[name].value() == pytest.approx(best, abs=1e-12)
                columns = numbers[name].columns.unpacked()
                assert np.array_equal(columns, bits[scored][:, of_curves].reshape(len(columns), -1))
                assert numbers[name].image_ids.tolist() == images["image_id"][scored].tolist()
                assert numbers[name].hits == (which != "v2")
                selected = name.replace("max", "selected")
                assert (selected in values) == (selected in line) == bool(n_held_out)
                if not n_held_out:
                    continue
                at = others[:, of_curves].mean(axis=0).argmax(axis=1)
                hits = np.stack(
                    [bits[:, one, t] for one, t in zip(of_curves, at, strict=True)], axis=1
                ).mean(axis=1)
                found = values[selected].reindex(images["image_id"])
                assert found[scored].tolist() == hits[scored].tolist()
                assert found[~scored].isna().all()
                assert line[selected] == pytest.approx(hits[scored].mean(), abs=1e-12)
                gap = name.replace("max_box_acc", "gap")
                assert line[gap] == pytest.approx(best - hits[scored].mean(), abs=1e-12)
            expected = by_loops(rows, images, 0.5)[list(OF_MAPS)]
            expected.loc[images["image_id"][evaluated & held_out]] = NAN
            found = values[list(OF_MAPS)]
            pd.testing.assert_frame_equal(found, expected, check_names=False, rtol=1e-12)
            for number in OF_MAPS:
                assert line.get(number, NAN) == pytest.approx(mean(found[number]), nan_ok=True)
        assert select_on is None or (0 in numbers_of_held_out and len(numbers_of_held_out) > 1)

    def test_there_are_no_hits_unless_every_image_has_a_curve(self):
        rng = np.random.default_rng(0)
        images = random_images(rng).assign(held_out=False, status="evaluated", n_label_boxes=1)
        rows = random_rows(rng, images, own=True).assign(status="swept", iou=NAN)
        protocol = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.5}}})
        curves = pd.DataFrame({"image_id": images["image_id"], "hits": b"\xc0"})
        for some_curves, n in ((curves, len(images)), (curves[1:], 0)):
            method = method_of(rows, images, some_curves, protocol=protocol)
            line = method.line()
            assert line["n_scored"] == n
            found = {one.name for one in method.numbers() if one.best is not None}
            expected_names = {"max_box_acc", "max_box_acc_iou50", "max_top1_loc", "max_top5_loc"}
            assert found == (expected_names if n else set())
            assert found == {name for name in expected_names if name in line}

    def test_without_curves_there_are_no_hits(self):
        images = random_images(np.random.default_rng(0))
        rows = random_rows(np.random.default_rng(0), images, own=True)
        curves = pd.DataFrame(columns=["image_id", "hits"])
        with warnings.catch_warnings(action="error"):
            method = method_of(rows, images, curves, protocol=load_protocol("choe-2020-v1"))
            values = per_image(method)
        assert not [one for one in method.numbers() if one.best is not None]
        assert values["pointing_game"].notna().any()

    @pytest.mark.parametrize("protocol", ["zhou-2016", "choe-2020-pxap"])
    def test_a_protocol_without_a_sweep_has_no_hits(self, protocol):
        scoring = scoring_of(load_protocol(protocol), [metrics.get("max_top1_loc")])
        with pytest.raises(ConfigError, match=f"max_top1_loc needs the column 'hits'.*{protocol}"):
            scoring.require_columns(protocol)
        images = random_images(np.random.default_rng(0))
        rows = random_rows(np.random.default_rng(0), images, own=True)
        scores = ImageScores.of(EvaluatedImages.of(images), rows)
        for held_out in (True, False):
            assert scoring.swept_images(scores, held_out=held_out) is None


def test_pixels_are_pooled_over_some_of_the_images_too():
    protocol = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.5}})
    counts = {"i": ([0, 1, 3], [4, 0, 0]), "j": ([2, 0, 0], [1, 1, 0])}
    curves = pd.DataFrame(
        [
            {
                "image_id": name,
                "foreground": np.array(foreground, "<u4").tobytes(),
                "background": np.array(background, "<u4").tobytes(),
            }
            for name, (foreground, background) in counts.items()
        ]
    )
    images = random_images(np.random.default_rng(0))[:2].assign(
        image_id=["i", "j"], status="evaluated", held_out=False
    )
    rows = random_rows(np.random.default_rng(0), images, own=True).assign(status="swept")
    numbers = {
        one.name: one for one in method_of(rows, images, curves, protocol=protocol).numbers()
    }
    for name in ("px_ap", "p_iou"):
        whole, first = numbers[name], numbers[name].take(np.array([0]))
        assert whole.of_means(whole.means()[None]) == pytest.approx([whole.value()])
        assert first.value() == 1
        assert not whole.is_mean
    assert numbers["p_iou"].beside == {"p_iou_threshold": 0.5}


def test_the_numbers_of_a_method_have_its_images_and_say_which_way_is_good():
    rng = np.random.default_rng(0)
    images = random_images(rng).assign(held_out=False)
    rows = random_rows(rng, images, own=True)
    evaluated = images.loc[images["status"] == "evaluated", "image_id"].tolist()
    for number in method_of(rows, images, protocol=ILSVRC).numbers():
        assert number.image_ids.tolist() == evaluated
        lower = "error" in number.name or number.name in ("deletion", "average_drop")
        assert number.better == ("lower" if lower else "higher"), number.name
        values = number.values[~np.isnan(number.values)]
        assert number.hits <= set(values.tolist()).issubset({0, 1}), number.name
