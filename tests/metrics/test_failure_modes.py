import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from method_results import errors_of
from metric_tables import each_method, images, rows
from overlaps import pairwise_iou

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.failure_modes import FAILURE_MODES, failure_counts, failure_modes
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.runs.schema import GROUP

OBJECT = (20, 0, 30, 10)
TWO = ((20, 0, 30, 10), (40, 0, 50, 10))
TOUCHING = ((20, 0, 30, 10), (30, 0, 40, 10))


def best_iou(box, truth):
    return pairwise_iou(np.array([box], float), np.array(truth, float)).max()


def mode(box, *truth, iou=0.5, **row):
    """The label of one box on an image of class a with the boxes ``truth``."""
    table = rows({"image_id": "i", "box": box, "iou": best_iou(box, truth), **row})
    [label] = failure_modes(table, images({"image_id": "i", "boxes": truth}), iou=iou)
    return label


@pytest.mark.parametrize(
    ("box", "truth", "expected"),
    [
        (OBJECT, [OBJECT], "hit"),
        ((20, 0, 25, 5), [OBJECT], "part"),
        ((0, 0, 60, 60), [OBJECT], "too_large"),
        ((20, 0, 50, 10), TWO, "multi_instance"),
        ((60, 60, 70, 70), [OBJECT], "background"),
        ((60, 60, 70, 70), TWO, "background"),
        ((28, 8, 60, 60), [OBJECT], "background"),  # a corner of the object, and much else
    ],
)
def test_each_place_of_a_box_has_its_label(box, truth, expected):
    assert mode(box, *truth) == expected


@pytest.mark.parametrize(
    ("box", "truth", "expected"),
    [
        # 100 of 200: the IoU is 0.5, as the devkit has it a hit; then a little less.
        ((20, 0, 30, 20), [OBJECT], "hit"),
        ((20, 0, 30, 20.01), [OBJECT], "too_large"),
        # 20 of the 40 pixels of the box are object; then 20.1 of 40.1.
        ((28, 0, 32, 10), [OBJECT], "background"),
        ((27.99, 0, 32, 10), [OBJECT], "part"),
        # 70 of the 100 pixels of the object, half of the box; then 69.9 of 139.9.
        ((23, 0, 37, 10), [OBJECT], "too_large"),
        ((23.01, 0, 37, 10), [OBJECT], "background"),
        # 30 of the 100 pixels of both objects; 30.1 of one; 30.1 of both.
        ((27, 0, 43, 10), TWO, "background"),
        ((26.99, 0, 43, 10), TWO, "background"),
        ((26.99, 0, 43.01, 10), TWO, "multi_instance"),
    ],
)
def test_each_threshold_lies_where_the_source_has_it(box, truth, expected):
    assert mode(box, *truth) == expected


@pytest.mark.parametrize(
    ("box", "truth", "expected"),
    [
        # 60% of one and 40% of its neighbor: 60% of the box is in the better one, too.
        ((24, 0, 34, 10), TOUCHING, "multi_instance"),
        ((24, 0, 34, 10), TOUCHING[:1], "part"),
        # All of both, and too large for either.
        ((20, 0, 40, 20), TOUCHING, "multi_instance"),
        ((20, 0, 40, 20), TOUCHING[:1], "too_large"),
        # 70 of 130 pixels of the box, 70 of 100 of the object.
        ((23, 0, 36, 10), [OBJECT], "part"),
        # A box that fits one instance is right, whatever else lies in it.
        (OBJECT, [OBJECT, (21, 1, 29, 9), (22, 2, 28, 8)], "hit"),
    ],
)
def test_the_first_label_that_holds_wins(box, truth, expected):
    assert mode(box, *truth) == expected


def test_a_wrong_class_is_said_before_all_of_the_box():
    assert mode(OBJECT, OBJECT, **{"class": "b"}) == "wrong_class"
    table = rows({"image_id": "i", "class": "b"}, {"image_id": "i"})
    labels = failure_modes(table, images({"image_id": "i", "boxes": [OBJECT]}))
    assert labels.tolist() == ["wrong_class", "no_box"]


def test_the_box_of_the_best_iou_decides_between_part_and_too_large():
    # 100 of 120 pixels lie in the large one (IoU 0.01), 49 in the small one (IoU 0.41).
    large, small = (0, 0, 100, 100), (95, 0, 102, 7)
    for truth in itertools.permutations([large, small]):
        assert mode((90, 0, 102, 10), *truth) == "too_large"
    assert mode((90, 0, 102, 10), large) == "part"


def test_the_first_of_two_equal_ious_decides():
    # IoU 0.2 with both: 21 of 40 pixels of the box (and of 86), 10 of 40 (and of 20).
    box, wide, narrow = (20, 0, 30, 4), (3.75, 0, 25.25, 4), (27.5, 0, 32.5, 4)
    assert best_iou(box, [wide]) == best_iou(box, [narrow])
    assert mode(box, wide, narrow) == "part"
    assert mode(box, narrow, wide) == "background"


def test_the_least_iou_is_a_parameter():
    box = (20, 0, 30, 12.5)  # IoU 0.8
    assert mode(box, OBJECT, iou=0.8) == "hit"
    assert mode(box, OBJECT, iou=0.81) == "part"


def test_a_hit_is_what_the_rows_say():
    """So that the shares and the localization error never contradict each other."""
    assert mode((20, 0, 25, 5), OBJECT, iou=0.5) == "part"
    table = rows({"image_id": "i", "box": (20, 0, 25, 5), "iou": 0.5})
    assert failure_modes(table, images({"image_id": "i", "boxes": [OBJECT]})).tolist() == ["hit"]


def test_what_has_no_iou_has_no_label():
    of_image = images({"image_id": "i", "boxes": [OBJECT]}, {"image_id": "without"})
    table = rows(
        {"image_id": "i", "status": "not_applicable", "iou": np.nan},
        {"image_id": "i", "status": "not_applicable", "iou": np.nan, "class": "b"},
        {"image_id": "i", "status": "swept", "iou": np.nan},
        {"image_id": "without", "box": OBJECT},
        {"image_id": "without"},
        {"image_id": "without", "class": "b"},
        {"image_id": "i", "box": OBJECT, "iou": 1.0},
    )
    labels = failure_modes(table, of_image)
    assert labels.isna().tolist() == [True] * 6 + [False]


def test_a_blacklisted_image_has_a_label():
    of_image = images({"image_id": "i", "boxes": [OBJECT], "blacklisted": True})
    table = rows({"image_id": "i", "box": OBJECT, "iou": 1.0})
    assert failure_modes(table, of_image).tolist() == ["hit"]


def test_labels_stand_at_the_index_of_their_rows():
    table = rows({"image_id": "i"}, {"image_id": "i", "box": OBJECT, "iou": 1.0})
    table.index = pd.Index([7, 3])
    labels = failure_modes(table, images({"image_id": "i", "boxes": [OBJECT]}))
    assert labels.to_dict() == {7: "no_box", 3: "hit"}
    assert labels.cat.categories.tolist() == list(FAILURE_MODES)


def test_images_are_told_apart_by_model():
    of_image = images(
        {"model": "m", "image_id": "i", "boxes": [OBJECT]},
        {"model": "n", "image_id": "i", "boxes": [(60, 60, 90, 90)]},
    )
    table = rows(
        {"model": "n", "image_id": "i", "box": (60, 60, 70, 70), "iou": 1 / 9},
        {"model": "m", "image_id": "i", "box": (60, 60, 70, 70)},
    )
    assert failure_modes(table, of_image).tolist() == ["part", "background"]


def test_rows_of_an_unknown_image_are_refused():
    table = rows({"image_id": "elsewhere"})
    with pytest.raises(ValueError, match="images table does not: elsewhere"):
        failure_modes(table, images({"image_id": "i"}))
    with pytest.raises(ValueError, match="images table does not"):
        each_method(failure_counts, table, images({"image_id": "i"}), of="top1")


def test_no_rows_have_no_labels():
    assert len(failure_modes(rows(), images({"image_id": "i", "boxes": [OBJECT]}))) == 0
    assert len(failure_modes(rows(), images())) == 0


def pixels(box):
    x0, y0, x1, y1 = map(int, box)
    return set(itertools.product(range(x0, x1), range(y0, y1)))


def mode_from_pixels(row, image):
    """The definition once more: sets of pixels, exact fractions, one row at a time."""
    if row.status not in ("box", "no_box") or not image.boxes:
        return None
    if row["class"] != image.label:
        return "wrong_class"
    if row.status == "no_box":
        return "no_box"
    guess = pixels(row[["x0", "y0", "x1", "y1"]])
    truth = [pixels(image.boxes[i : i + 4]) for i in range(0, len(image.boxes), 4)]
    ious = [Fraction(len(guess & target), len(guess | target)) for target in truth]
    if max(ious) >= Fraction(1, 2):
        return "hit"
    if sum(Fraction(len(guess & target), len(target)) > Fraction(3, 10) for target in truth) > 1:
        return "multi_instance"
    best = truth[ious.index(max(ious))]
    if Fraction(len(guess & best), len(guess)) > Fraction(1, 2):
        return "part"
    if Fraction(len(guess & best), len(best)) >= Fraction(7, 10):
        return "too_large"
    return "background"


def random_tables(rng, n_images=150, n_rows=1200):
    """Two models with other boxes for the same image ids, and rows in any order."""

    def box(size):
        low = rng.integers(0, size - 1, 2)
        return [*low, *(low + rng.integers(1, size - low))]

    of_image = images(
        *(
            {
                "model": model,
                "image_id": f"i{index}",
                "label": rng.choice(["a", "b"]),
                "blacklisted": bool(rng.random() < 0.2),
                "boxes": [box(12) for _ in range(rng.integers(0, 4))],
            }
            for model in "mn"
            for index in range(n_images)
        )
    )
    lines = []
    for _ in range(n_rows):
        image = of_image.iloc[rng.integers(len(of_image))]
        truth = np.array(image.boxes).reshape(-1, 4)
        line = {
            "model": image.model,
            "method": rng.choice(["cam", "grad_cam"]),
            "image_id": image.image_id,
            "class": rng.choice(["a", "b"], p=[0.7, 0.3]),
        }
        kind = rng.choice(["box", "no_box", "not_applicable"], p=[0.85, 0.1, 0.05])
        if kind == "box":
            line["box"] = box(12)
            line["iou"] = best_iou(line["box"], truth) if len(truth) else 0.0
        lines.append({**line, "status": kind})
    return rows(*lines), of_image


def test_random_boxes_against_sets_of_pixels():
    table, of_image = random_tables(np.random.default_rng(0))
    by_key = of_image.set_index(["model", "image_id"])
    expected = [
        mode_from_pixels(row, by_key.loc[(row["model"], row["image_id"])])
        for _, row in table.iterrows()
    ]
    assert set(expected) == {None, *FAILURE_MODES}
    labels = failure_modes(table, of_image).astype(object)
    assert labels.where(labels.notna(), None).tolist() == expected


class TestCounts:
    def counts(self, table, of_image, **options):
        """Number of images by (model, method, mode), those that are not zero."""
        lines = each_method(failure_counts, table, of_image, **options)
        lines = lines[lines["n_images"] > 0]
        keys = zip(lines["model"], lines["method"], lines["failure_mode"], strict=True)
        return dict(zip(keys, lines["n_images"].tolist(), strict=True))

    of_image = images(*({"image_id": name, "boxes": [OBJECT]} for name in "ijk"))

    def test_the_first_guess_and_the_label_are_two_questions(self):
        table = rows(
            {"image_id": "i", "rank": 1, "class": "b", "box": OBJECT, "iou": 1.0},
            {"image_id": "i", "rank": 17, "class": "a", "box": OBJECT, "iou": 1.0},
            {"image_id": "j", "rank": 1, "class": "a", "box": (60, 60, 70, 70)},
            {"image_id": "j", "rank": 2, "class": "b", "box": OBJECT, "iou": 1.0},
            {"image_id": "k", "rank": 1, "class": "c", "box": OBJECT, "iou": 1.0},
            {"image_id": "k", "rank": 2, "class": "a"},
        )
        assert self.counts(table, self.of_image, of="top1") == {
            ("m", "cam", "wrong_class"): 2,
            ("m", "cam", "background"): 1,
        }
        assert self.counts(table, self.of_image, of="gt_known") == {
            ("m", "cam", "hit"): 1,
            ("m", "cam", "background"): 1,
            ("m", "cam", "no_box"): 1,
        }

    def test_the_table_has_all_modes_of_each_group_in_order(self):
        table = rows(
            {"method": "z", "image_id": "i"},
            *({"method": "a", "image_id": name, "box": OBJECT, "iou": 1.0} for name in "ijk"),
            {"method": "z", "image_id": "j", "box": OBJECT, "iou": 1.0},
            {"method": "z", "image_id": "k", "box": OBJECT, "iou": 1.0},
        )
        lines = each_method(failure_counts, table, self.of_image, of="gt_known")
        assert lines.columns.tolist() == [*GROUP, "failure_mode", "n_images", "share"]
        assert lines["method"].tolist() == ["z"] * 7 + ["a"] * 7
        assert lines["failure_mode"].tolist() == list(FAILURE_MODES) * 2
        assert lines["n_images"].tolist() == [2, 0, 1, *[0] * 4, 3, *[0] * 6]
        assert lines["share"].tolist() == pytest.approx([2 / 3, 0, 1 / 3, *[0] * 4, 1, *[0] * 6])

    def test_layers_and_protocols_are_groups_too(self):
        table = rows(
            *(
                {"image_id": name, column: value}
                for name in "ijk"
                for column in ("layer", "protocol", "protocol_hash")
                for value in ("first", "second")
            )
        )
        lines = each_method(failure_counts, table, self.of_image, of="top1")
        assert len(lines) == 6 * len(FAILURE_MODES)
        assert set(lines.loc[lines["n_images"] > 0, "share"]) == {1.0}

    def test_images_outside_the_localization_error_do_not_count(self):
        of_image = images(
            {"image_id": "i", "boxes": [OBJECT]},
            {"image_id": "black", "boxes": [OBJECT], "blacklisted": True},
            {"image_id": "without"},
            {"image_id": "held", "boxes": [OBJECT]},
            {"image_id": "broken", "boxes": [OBJECT], "status": "unreadable"},
        )
        table = rows(*({"image_id": name} for name in ("i", "black", "without", "held")))
        of_image["held_out"] = of_image["image_id"] == "held"
        for of in ("top1", "gt_known"):
            assert self.counts(table, of_image, of=of) == {("m", "cam", "no_box"): 1}

    def test_a_method_that_is_not_applicable_has_no_lines(self):
        table = rows(
            *({"image_id": name} for name in "ijk"),
            *({"image_id": name, "method": "na"} for name in "jk"),
            {"image_id": "i", "method": "na", "status": "not_applicable", "iou": np.nan},
        )
        for of in ("top1", "gt_known"):
            assert set(each_method(failure_counts, table, self.of_image, of=of)["method"]) == {
                "cam"
            }

    def test_an_image_counts_once_and_by_its_first_row(self):
        """Rows as of a prediction file: several of a class, in any order."""
        hit = {"box": OBJECT, "iou": 1.0}
        table = rows(
            {"image_id": "i", "rank": 7, "class": "a", **hit},
            {"image_id": "i", "rank": 3, "class": "a"},
            {"image_id": "i", "rank": 1, "class": "b", **hit},
            {"image_id": "j", "rank": 1, "class": "a", **hit},
            {"image_id": "j", "rank": 1, "class": "a"},
            {"image_id": "k", "rank": 2, "class": "a", **hit},
        )
        assert self.counts(table, self.of_image, of="gt_known") == {
            ("m", "cam", "no_box"): 1,
            ("m", "cam", "hit"): 2,
        }
        # k has no first guess.
        assert self.counts(table, self.of_image, of="top1") == {
            ("m", "cam", "wrong_class"): 2,
            ("m", "cam", "hit"): 1,
        }

    def test_no_row_of_the_label_of_one_image_leaves_the_group_without_a_gt_known_number(self):
        table = rows(
            *({"image_id": name, "method": "all"} for name in "ijk"),
            *({"image_id": name, "method": "some"} for name in "ij"),
            {"image_id": "k", "method": "some", "class": "b"},
            *({"image_id": name, "method": "few"} for name in "ij"),
        )
        assert self.counts(table, self.of_image, of="gt_known") == {("m", "all", "no_box"): 3}
        assert self.counts(table, self.of_image, of="top1") == {
            ("m", "all", "no_box"): 3,
            **{("m", name, "no_box"): 2 for name in ("some", "few")},
            **{("m", name, "wrong_class"): 1 for name in ("some", "few")},
        }

    def test_there_is_no_first_guess_where_nobody_has_classified(self):
        table = rows(*({"image_id": name, "rank": 0} for name in "ijk"))
        assert self.counts(table, self.of_image, of="gt_known") == {("m", "cam", "no_box"): 3}
        assert len(each_method(failure_counts, table, self.of_image, of="top1")) == 0

    def test_without_images_there_are_no_lines(self):
        scores = ImageScores.of(EvaluatedImages.of(images()), rows())
        for of in ("top1", "gt_known"):
            lines = failure_counts(scores, of=of)
            assert lines.columns.tolist() == ["failure_mode", "n_images", "share"]
            assert len(lines) == 0

    def test_without_rows_every_first_guess_is_wrong(self):
        scores = ImageScores.of(EvaluatedImages.of(self.of_image), rows())
        lines = failure_counts(scores, of="top1").set_index("failure_mode")
        assert lines.loc["wrong_class"].tolist() == [3, 1.0]
        assert len(failure_counts(scores, of="gt_known")) == 0

    @pytest.mark.parametrize("iou", [0.3, 0.5])
    def test_the_share_of_hits_is_one_minus_the_localization_error(self, iou):
        rng = np.random.default_rng(1)
        _, of_image = random_tables(rng)
        lines = []
        for (_, image), method in itertools.product(of_image.iterrows(), ["cam", "grad_cam"]):
            own_rank = int(rng.integers(1, 4))
            lines += [
                {
                    "model": image.model,
                    "method": method,
                    "image_id": image.image_id,
                    "rank": rank,
                    "class": image.label if rank == own_rank else f"other{rank}",
                    "box": OBJECT if rng.random() < 0.8 else None,
                }
                for rank in (1, 2, 3)
            ]
        table = rows(*lines)
        with_box = table["status"] == "box"
        table.loc[with_box, "iou"] = rng.random(with_box.sum()).round(1)
        in_error = of_image[~of_image["blacklisted"] & (of_image["n_label_boxes"] > 0)]
        for model, method in itertools.product("mn", ["cam", "grad_cam"]):
            method_rows = table[(table["model"] == model) & (table["method"] == method)]
            errors = errors_of(method_rows, of_image[of_image["model"] == model], iou=iou)
            for of, error in (("top1", errors.loc[0]), ("gt_known", errors.gt_known)):
                counts = each_method(failure_counts, table, of_image, of=of, iou=iou)
                counts = counts[(counts["model"] == model) & (counts["method"] == method)]
                [hits] = counts.loc[counts["failure_mode"] == "hit", "share"]
                assert 0 < hits < 1
                assert hits == pytest.approx(1 - error)
                assert counts["n_images"].sum() == (in_error["model"] == model).sum()
