import numpy as np
import pandas as pd
import pytest
from method_results import errors_of, method_of
from metric_tables import each_method, images, rows

from wsol_bench.metrics.breakdown import breakdown
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.failure_modes import failure_counts
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.runs.schema import GROUP

NUMBERS = ["n_images", "gt_known_loc_error", "top1_loc_error", "mean_iou"]


def bins_of(by, *of_images):
    """The bins of images that are all alike but for what is given, by image."""
    of_image = images(*({"image_id": f"i{k}", **line} for k, line in enumerate(of_images)))
    found = []
    for index, name in enumerate(of_image["image_id"]):
        alone = of_image[index : index + 1]
        [line] = each_method(breakdown, rows({"image_id": name}), alone, by=by)[by]
        found.append(line)
    return found


def square(side):
    return (0, 0, side, side)


def test_the_numbers_of_a_bin():
    of_image = images(*({"image_id": name, "boxes": [square(50)]} for name in "ijkl"))
    table = rows(
        {"image_id": "i", "rank": 1, "box": square(50), "iou": 1.0},
        {"image_id": "j", "rank": 2, "box": square(36), "iou": 0.5},
        {"image_id": "k", "rank": 1, "box": square(25), "iou": 0.25},
        {"image_id": "l", "rank": 9, "iou": 0.0},
        {"image_id": "j", "rank": 1, "class": "b", "box": square(50), "iou": 1.0},
    )
    [line] = each_method(breakdown, table, of_image, by="class").to_dict(orient="records")
    assert line["class"] == "a"
    assert [line[name] for name in NUMBERS] == [4, 0.5, 0.75, 0.4375]
    [line] = each_method(breakdown, table, of_image, by="class", iou=0.51).to_dict(orient="records")
    assert line["gt_known_loc_error"] == 0.75


def test_there_is_no_first_guess_where_nobody_has_classified():
    of_image = images({"image_id": "i", "boxes": [square(50)]})
    own = {"image_id": "i", "box": square(50), "iou": 1.0}
    table = rows(
        {**own, "method": "z", "rank": 0},
        {**own, "method": "y", "rank": 2},
        {**own, "method": "x", "rank": 1},
    )
    lines = each_method(breakdown, table, of_image, by="class")
    assert lines["gt_known_loc_error"].tolist() == [0, 0, 0]
    assert lines["top1_loc_error"].tolist() == pytest.approx([np.nan, 1, 0], nan_ok=True)


def test_an_image_counts_once_whatever_guesses_there_are():
    of_image = images(
        *({"image_id": name, "boxes": [square(50)]} for name in "ij"),
        {"image_id": "k", "label": "b", "boxes": [square(50)]},
    )
    hit = {"box": square(50), "iou": 1.0}
    table = rows(
        {"image_id": "i", "rank": 7, **hit},
        {"image_id": "i", "rank": 2, "box": square(25), "iou": 0.25},
        {"image_id": "j", "rank": 1, **hit},
        {"image_id": "j", "rank": 3},
        {"image_id": "k", "rank": 2, "class": "b", **hit},
    )
    lines = each_method(breakdown, table, of_image, by="class")
    assert lines[NUMBERS].to_numpy().tolist() == [[2, 0.5, 0.5, 0.625], [1, 0, 1, 1]]
    # Nobody guesses the class of k: the other bin has no GT-known number either.
    for fewer in (table[:4], table.replace({"class": {"b": "c"}})):
        lines = each_method(breakdown, fewer, of_image, by="class")
        assert lines["n_images"].tolist() == [2, 1]
        assert lines["top1_loc_error"].tolist() == [0.5, 1]
        assert lines[["gt_known_loc_error", "mean_iou"]].isna().all(axis=None)


def test_sizes_are_squares_of_tenths_and_each_bin_has_its_lower_edge():
    sides = [9.9, 10, 19.9, 20, 30, 40, 50, 60, 70, 80, 89.9, 90, 100]
    assert bins_of("size", *({"boxes": [square(side)]} for side in sides)) == [
        "0-0.01",
        "0.01-0.04",
        "0.01-0.04",
        "0.04-0.09",
        "0.09-0.16",
        "0.16-0.25",
        "0.25-0.36",
        "0.36-0.49",
        "0.49-0.64",
        "0.64-0.81",
        "0.64-0.81",
        "0.81-1",
        "0.81-1",
    ]


def test_the_size_is_that_of_the_largest_box_over_the_image():
    small, large = square(10), (20, 20, 80, 50)  # 1% and 18% of 100 x 100
    assert bins_of(
        "size",
        {"boxes": [small, large]},
        {"boxes": [large, small]},
        {"boxes": [large, large]},
        {"boxes": [large], "height": 50},
        {"boxes": [large], "width": 400},
    ) == ["0.16-0.25", "0.16-0.25", "0.16-0.25", "0.36-0.49", "0.04-0.09"]


def test_instances_are_counted_in_four_bins():
    numbers = [1, 2, 3, 4, 5, 6, 20]
    assert bins_of("instances", *({"boxes": [square(9)] * number} for number in numbers)) == [
        "1",
        "2",
        "3-4",
        "3-4",
        "5+",
        "5+",
        "5+",
    ]


def test_lines_stand_in_the_order_of_groups_and_of_bins():
    of_image = images(
        {"image_id": "i", "label": "b", "boxes": [square(95)]},
        {"image_id": "j", "label": "a", "boxes": [square(5), square(5)]},
        {"image_id": "k", "label": "b", "boxes": [square(95)]},
    )
    table = rows(
        *(
            {"method": method, "image_id": name, "class": label}
            for method in ("z", "y")
            for name, label in (("i", "b"), ("j", "a"), ("k", "b"))
        )
    )
    lines = each_method(breakdown, table, of_image, by="class")
    assert lines.columns.tolist() == [*GROUP, "class", *NUMBERS]
    assert lines["method"].tolist() == ["z", "z", "y", "y"]
    assert lines["class"].tolist() == ["a", "b"] * 2
    assert lines["n_images"].tolist() == [1, 2] * 2
    assert (
        each_method(breakdown, table, of_image, by="size")["size"].tolist()
        == ["0-0.01", "0.81-1"] * 2
    )
    instances = each_method(breakdown, table, of_image, by="instances")["instances"]
    assert instances.tolist() == ["1", "2"] * 2
    assert instances.cat.categories.tolist() == ["1", "2", "3-4", "5+"]


def test_what_no_localization_error_counts_is_in_no_bin():
    of_image = images(
        {"image_id": "i", "boxes": [square(50)]},
        {"image_id": "black", "boxes": [square(50)], "blacklisted": True},
        {"image_id": "without"},
        {"image_id": "held", "boxes": [square(50)]},
        {"image_id": "broken", "boxes": [square(50)], "status": "unreadable"},
    )
    of_image["held_out"] = of_image["image_id"] == "held"
    table = rows(
        *({"image_id": name} for name in ("i", "black", "without", "held")),
        {"image_id": "i", "method": "na", "status": "not_applicable", "iou": np.nan},
    )
    for by in ("class", "size", "instances"):
        [line] = each_method(breakdown, table, of_image, by=by).to_dict(orient="records")
        assert line["method"] == "cam"
        assert [line[name] for name in NUMBERS] == [1, 1, 1, 0]


@pytest.mark.parametrize("by", ["class", "size", "instances"])
def test_without_images_there_are_no_lines(by):
    lines = breakdown(ImageScores.of(EvaluatedImages.of(images()), rows()), by=by)
    assert len(lines) == 0
    assert lines.columns.tolist() == [by, *NUMBERS]


@pytest.mark.parametrize("by", ["class", "size", "instances"])
def test_without_rows_every_first_guess_is_wrong(by):
    of_image = images({"image_id": "i", "boxes": [square(50)]})
    [line] = breakdown(ImageScores.of(EvaluatedImages.of(of_image), rows()), by=by)[
        NUMBERS
    ].to_numpy()
    assert line.tolist() == pytest.approx([1, np.nan, 1, np.nan], nan_ok=True)


def test_rows_of_an_unknown_image_are_refused():
    with pytest.raises(ValueError, match="images table does not: elsewhere"):
        each_method(
            breakdown, rows({"image_id": "elsewhere"}), images({"image_id": "i"}), by="size"
        )


def random_run(rng):
    """Two models with other boxes for the same image ids, two methods, three ranks an image."""
    of_image = images(
        *(
            {
                "model": model,
                "image_id": f"i{index}",
                "label": rng.choice(["a", "b", "c"]),
                "height": int(rng.integers(60, 100)),
                "blacklisted": bool(rng.random() < 0.2),
                "boxes": [
                    (0, 0, *rng.integers(1, 60, 2).tolist()) for _ in range(rng.integers(0, 7))
                ],
            }
            for model in "mn"
            for index in range(80)
        )
    )
    lines = []
    for _, image in of_image.iterrows():
        own_rank = int(rng.integers(1, 4))
        for method in ("cam", "grad_cam"):
            for rank in (1, 2, 3):
                line = {
                    "model": image.model,
                    "method": method,
                    "image_id": image.image_id,
                    "rank": rank,
                    "class": image.label if rank == own_rank else f"other{rank}",
                }
                if rng.random() < 0.9:
                    line |= {"box": square(9), "iou": float(rng.random())}
                lines.append(line)
    return rows(*lines), of_image


def bin_by_hand(image, by):
    boxes = [image.boxes[start : start + 4] for start in range(0, len(image.boxes), 4)]
    if by == "class":
        return image.label
    if by == "instances":
        return {1: "1", 2: "2", 3: "3-4", 4: "3-4"}.get(len(boxes), "5+")
    largest = max((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes)
    tenth = next(k for k in range(9, -1, -1) if 100 * largest >= k * k * image.height * image.width)
    return f"{tenth**2 / 100:g}-{(tenth + 1) ** 2 / 100:g}"


@pytest.mark.parametrize("by", ["class", "size", "instances"])
def test_random_runs_against_loops(by):
    table, of_image = random_run(np.random.default_rng(2))
    by_key = of_image.set_index(["model", "image_id"])
    expected = {}
    for _, row in table.iterrows():
        image = by_key.loc[(row["model"], row["image_id"])]
        if row["class"] != image.label or image.blacklisted or not image.boxes:
            continue
        key = (row["model"], row["method"], bin_by_hand(image, by))
        first = row["rank"] == 1 and row["iou"] >= 0.5
        values = (row["iou"] < 0.5, not first, row["iou"])
        expected.setdefault(key, []).append(values)
    lines = each_method(breakdown, table, of_image, by=by)
    keys = list(zip(lines["model"], lines["method"], lines[by], strict=True))
    assert len(keys) == len(set(keys)) and set(keys) == set(expected)
    for key, line in zip(keys, lines.to_dict(orient="records"), strict=True):
        values = [len(expected[key]), *np.mean(expected[key], axis=0)]
        assert [line[name] for name in NUMBERS] == pytest.approx(values)


@pytest.mark.parametrize("by", ["class", "size", "instances"])
def test_all_bins_together_are_the_localization_error(by):
    table, of_image = random_run(np.random.default_rng(3))
    lines = each_method(breakdown, table, of_image, by=by)
    together = list(lines.groupby(["model", "method"]))
    assert len(together) == 4
    for (model, method), bins in together:
        method_rows = table[(table["model"] == model) & (table["method"] == method)]
        errors = errors_of(method_rows, of_image[of_image["model"] == model])
        of_bins = [
            np.average(bins[name], weights=bins["n_images"])
            for name in ("gt_known_loc_error", "top1_loc_error")
        ]
        assert of_bins == pytest.approx([errors.gt_known, errors.loc[0]])


def random_guesses(rng, of_image, method, kind):
    """Rows of a method: ranked guesses of a prediction file in any order, or rows of labels.

    Args:
        kind: "any": none to eight guesses, of a class several or none; "own": with the label
            among them; "unranked": the label alone, of the rank 0.
    """
    lines = []
    for _, image in of_image[of_image["status"] == "evaluated"].iterrows():
        guesses = rng.choice(["a", "b", "c"], rng.integers(0, 9)).tolist()
        if kind == "own":
            guesses.insert(int(rng.integers(0, len(guesses) + 1)), image.label)
        for rank, guess in enumerate([image.label] if kind == "unranked" else guesses, 1):
            line = {"model": image.model, "method": method, "image_id": image.image_id}
            line |= {"class": guess, "rank": 0 if kind == "unranked" else rank}
            if rng.random() < 0.8:
                line |= {"box": square(9), "iou": float(rng.choice([0.3, 0.5, 0.7]))}
            lines.append(line)
    return [lines[index] for index in rng.permutation(len(lines))]


def test_all_bins_together_are_the_summary():
    """On random tables, with images and guesses of every kind; failure modes agree."""
    names = [name for name in NUMBERS if name != "n_images"]
    seen = dict.fromkeys(names, 0)
    n_tables = 6
    for seed in range(n_tables):
        rng = np.random.default_rng(seed)
        _, of_image = random_run(rng)
        of_image = of_image.groupby("model").head(20).reset_index(drop=True)
        of_image["status"] = rng.choice(["evaluated", "unreadable"], len(of_image), p=[0.9, 0.1])
        kinds = {"file": "any", "full": "own", "boxes": "unranked"}
        table = rows(
            *(
                line
                for method, kind in kinds.items()
                for line in random_guesses(rng, of_image, method, kind)
            )
        )
        na = table[table["method"] == "file"]
        na = na.assign(method="na", status="not_applicable", iou=np.nan)
        table = pd.concat([table, na], ignore_index=True)
        counted = of_image[of_image["status"] == "evaluated"]
        counted = counted[~counted["blacklisted"] & (counted["n_label_boxes"] > 0)]
        bins_by = {
            by: each_method(breakdown, table, of_image, by=by)
            for by in ("class", "size", "instances")
        }
        modes = {
            of: each_method(failure_counts, table, of_image, of=of) for of in ("top1", "gt_known")
        }
        expected = {(model, method) for model in "mn" for method in kinds}
        for by, lines in bins_by.items():
            methods = lines[["model", "method"]].itertuples(index=False, name=None)
            assert set(methods) == expected, by
        for model, method in expected:

            def of_method(lines, model=model, method=method):
                return lines[(lines["model"] == model) & (lines["method"] == method)]

            line = method_of(of_method(table), of_image[of_image["model"] == model]).line()
            n_counted = (counted["model"] == model).sum()
            for name in names:
                seen[name] += not np.isnan(line[name])
            for by, lines in bins_by.items():
                bins = of_method(lines)
                assert bins["n_images"].sum() == n_counted
                for name in names:
                    together = np.average(bins[name], weights=bins["n_images"])
                    where = (seed, by, method, name)
                    assert together == pytest.approx(line[name], nan_ok=True), where
            for of, lines in modes.items():
                counts = of_method(lines)
                error = line[f"{of}_loc_error"]
                assert (len(counts) == 0) == np.isnan(error)
                if len(counts):
                    assert counts["n_images"].sum() == n_counted
                    assert counts["share"].iloc[0] == pytest.approx(1 - error)
    # Each number of two methods a model: in each file the label of some image is not guessed.
    assert set(seen.values()) == {n_tables * 2 * 2}
