import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from method_results import errors_of, method_of

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import localization_numbers


def images(*labels, blacklisted=(), n_label_boxes=1):
    return pd.DataFrame(
        {
            "image_id": [f"i{index}" for index in range(len(labels))],
            "label": list(labels),
            "blacklisted": [index in blacklisted for index in range(len(labels))],
            "n_label_boxes": n_label_boxes,
            "status": "evaluated",
        }
    )


def rows(*lines):
    """Lines of (image index, rank, class, IoU)."""
    return pd.DataFrame(
        {
            "image_id": [f"i{line[0]}" for line in lines],
            "rank": [line[1] for line in lines],
            "class": [line[2] for line in lines],
            "iou": [line[3] for line in lines],
            "status": "box",
        }
    )


def test_class_and_box_must_be_right_in_the_same_guess():
    errors = errors_of(rows((0, 1, "a", 0.2), (0, 2, "b", 0.9), (0, 3, "a", 0.5)), images("a"))
    assert errors.cls.tolist() == [0, 0, 0, 0, 0]
    assert errors.loc.tolist() == [1, 1, 0, 0, 0]


def test_a_label_beyond_the_fifth_rank_counts_for_gt_known_alone():
    table = rows((0, 1, "b", 0.9), (0, 117, "a", 0.9))
    errors = errors_of(table, images("a"))
    assert errors.cls[4] == errors.loc[4] == 1
    assert errors.gt_known == 0


def test_gt_known_is_not_a_number_where_an_image_has_no_row_of_its_class():
    table = rows((0, 1, "a", 0.9), (1, 1, "a", 0.9))
    assert np.isnan(errors_of(table, images("a", "b")).gt_known)
    assert errors_of(table, images("a", "a")).gt_known == 0


def test_the_blacklist_leaves_the_localization_error_and_stays_in_the_classification_error():
    table = rows((0, 1, "a", 0.9), (1, 1, "b", 0.9), (2, 1, "a", 0.1))
    errors = errors_of(table, images("a", "a", "a", blacklisted=(1,)))
    assert errors.cls[0] == pytest.approx(1 / 3)
    assert errors.loc[0] == pytest.approx(1 / 2)
    assert errors.loc_all[0] == pytest.approx(2 / 3)


def test_an_image_without_a_box_counts_for_the_classification_error_alone():
    errors = errors_of(
        rows((0, 1, "a", 0.9), (1, 1, "b", 0.0)), images("a", "a", n_label_boxes=[1, 0])
    )
    assert errors.cls[0] == 0.5
    assert errors.loc[0] == errors.loc_all[0] == 0


def test_no_image_that_counts_gives_no_number():
    errors = errors_of(rows((0, 1, "a", 0.9)), images("a", blacklisted=(0,)))
    assert np.isnan(errors.loc).all()
    assert errors.loc_all.tolist() == [0, 0]


def test_an_image_without_guesses_is_wrong():
    errors = errors_of(rows((0, 1, "a", 0.9)), images("a", "a"))
    assert errors.cls[4] == errors.loc[4] == 0.5


def test_rows_of_an_unknown_image_are_refused():
    with pytest.raises(ValueError, match="images table does not"):
        errors_of(rows((7, 1, "a", 0.9)), images("a"))


def test_the_least_iou_is_a_parameter_and_equality_is_a_hit():
    table = rows((0, 1, "a", 0.7))
    equal, above = (errors_of(table, images("a"), iou=iou) for iou in (0.7, 0.70001))
    assert (equal.loc[0], equal.gt_known) == (0, 0)
    assert (above.loc[0], above.gt_known) == (1, 1)


def test_a_method_that_is_not_applicable_has_no_localization_error():
    table = rows((0, 1, "a", np.nan)).assign(status="not_applicable")
    skipped = images("a", "z").assign(model="m", status=["evaluated", "unknown_class"])
    line = method_of(table, skipped).line()
    assert line["status"] == "not_applicable"
    assert (line["n_images"], line["n_skipped"]) == (1, 1)
    assert line["top1_cls_error"] == 0
    assert np.isnan([line["top1_loc_error"], line["gt_known_loc_error"]]).all()


def test_each_error_is_one_of_images_that_is_better_lower():
    table = rows((0, 1, "a", 0.9), (1, 1, "b", 0.9), (1, 2, "a", 0.2))
    numbers = localization_numbers(ImageScores(EvaluatedImages(images("a", "a")), table))
    assert [one.name for one in numbers] == [
        *(f"top{k}_cls_error" for k in range(1, 6)),
        *(f"top{k}_loc_error" for k in range(1, 6)),
        "gt_known_loc_error",
        "top1_loc_error_all",
        "top5_loc_error_all",
    ]
    assert all(one.hits and one.is_mean and one.better == "lower" for one in numbers)
    values = {one.name: one.values.tolist() for one in numbers}
    assert values["top1_cls_error"] == values["top1_loc_error"] == [0, 1]
    assert values["top2_cls_error"] == [0, 0]
    assert values["top5_loc_error"] == values["gt_known_loc_error"] == [0, 1]
    assert [one.image_ids.tolist() for one in numbers] == [["i0", "i1"]] * 13


class TestDevkit:
    """The answers of the official eval_clsloc.m on 29 cases, by way of a prediction file."""

    CASES = json.loads(
        (Path(__file__).parent.parent / "reference/clsloc_devkit_cases.json").read_text()
    )

    def score(self, folder, cases):
        """Errors of the cases as a data set and a prediction file in the official formats."""
        from wsol_bench.datasets import datasets
        from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions

        ids = sorted(
            {c["gt_label"] for c in cases} | {b[4] for c in cases for b in c["gt"]} | {1, 2}
        )
        wnids = {number: f"n{number:08d}" for number in ids if number <= 1000}
        names = [f"ILSVRC2012_val_{index:08d}" for index in range(1, len(cases) + 1)]
        synsets = [f"{n},{w},{i},{w}" for i, (n, w) in enumerate(wnids.items())]
        (folder / "synsets.csv").write_text(
            "\n".join(["ilsvrc2012_id,wnid,sorted_index,words", *synsets]) + "\n"
        )
        solution = [
            f"{name}," + " ".join(f"{wnids[b[4]]} {b[0]} {b[1]} {b[2]} {b[3]}" for b in case["gt"])
            for name, case in zip(names, cases, strict=True)
        ]
        (folder / "LOC_val_solution.csv").write_text(
            "\n".join(["ImageId,PredictionString", *solution]) + "\n"
        )
        (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(
            "".join(f"{case['gt_label']}\n" for case in cases)
        )
        blacklist = [i for i, case in enumerate(cases, 1) if case["name"].startswith("blacklisted")]
        (folder / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text(
            "".join(f"{index}\n" for index in blacklist)
        )
        predictions = folder / "predictions.txt"
        predictions.write_text(
            "".join(" ".join(str(v) for guess in c["pred"] for v in guess) + "\n" for c in cases)
        )
        dataset = datasets.get("imagenet")(root=folder)
        table = score_predictions(read_predictions(predictions, dataset), dataset, name="x")
        return table.iloc[0], dataset

    def test_there_are_29_cases(self):
        assert len(self.CASES["cases"]) == 29

    @pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
    def test_each_case_alone(self, case, tmp_path):
        line, _ = self.score(tmp_path, [case])
        assert line["top1_cls_error"] == case["expected_cls_error_top1_to_top5"][0]
        assert line["top5_cls_error"] == case["expected_cls_error_top1_to_top5"][4]
        # A blacklisted image alone leaves no image to average, so its error is read over all.
        assert line["top1_loc_error_all"] == case["expected_loc_error_top1_to_top5_alone"][0]
        assert line["top5_loc_error_all"] == case["expected_loc_error_top1_to_top5_alone"][4]

    def test_all_cases_together(self, tmp_path):
        line, _ = self.score(tmp_path, self.CASES["cases"])
        expected = self.CASES["aggregate_over_all_cases"]
        assert line["n_images"] == expected["n_images"]
        assert line["n_blacklisted"] == expected["n_blacklisted"]
        for k in (1, 5):
            cls, loc = expected["cls_error_top1_to_top5"], expected["loc_error_top1_to_top5"]
            assert line[f"top{k}_cls_error"] == pytest.approx(cls[k - 1], abs=1e-12)
            assert line[f"top{k}_loc_error"] == pytest.approx(loc[k - 1], abs=1e-12)

    def test_every_k_from_1_to_5(self):
        """The ranks between, straight from the rows that the cases' overlaps make."""
        for case in self.CASES["cases"]:
            if case["gt_label"] == 1001 or case["name"].startswith("blacklisted"):
                continue
            from overlaps import pairwise_iou

            from wsol_bench.geometry import from_inclusive

            truth = np.array([b[:4] for b in case["gt"] if b[4] == case["gt_label"]], np.float64)
            guesses = np.array([g[1:] for g in case["pred"]], np.float64)
            iou = pairwise_iou(from_inclusive(guesses), from_inclusive(truth)).max(axis=1)
            lines = [(0, j + 1, str(g[0]), iou[j]) for j, g in enumerate(case["pred"])]
            errors = errors_of(rows(*lines), images(str(case["gt_label"])))
            assert errors.cls.tolist() == case["expected_cls_error_top1_to_top5"], case["name"]
            assert errors.loc.tolist() == case["expected_loc_error_top1_to_top5_alone"], case[
                "name"
            ]
            official = case["official_overlaps_of_guess1_box_with_gt_of_gt_label"]
            assert iou[0] == pytest.approx(max(0, *official), abs=1e-12), case["name"]
