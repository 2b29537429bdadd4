"""A method's line of the summary under a protocol of one box, each number solved by hand."""

import numpy as np
import pandas as pd
import pytest
from method_results import ILSVRC, NAMES, method_of, per_image
from summary_tables import PIXELS, V2, images, line_of, numbers, rows

from wsol_bench import run
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.schema import GROUP

NAN = float("nan")


def by_k(line, kind):
    return [line[f"top{k}_{kind}_error"] for k in range(1, 6)]


class TestOneBox:
    """Right class at rank 1, 2, 3, 1 and 5; one blacklisted, one without a box, one unreadable."""

    IMAGES = (
        {"image_id": "right"},
        {"image_id": "second", "label": "b"},
        {"image_id": "blacklisted", "blacklisted": True},
        {"image_id": "boxless", "boxes": []},
        {"image_id": "fifth", "label": "c"},
        {"image_id": "unreadable", "status": "unreadable"},
    )
    ROWS = (
        ("right", 1, "a", 0.6), ("right", 2, "b", 0.9),
        ("second", 1, "a", 0.9), ("second", 2, "b", 0.7),
        ("blacklisted", 1, "b", 0.0), ("blacklisted", 3, "a", 0.8),
        ("boxless", 1, "a", 0.0),
        ("fifth", 1, "a", 0.9), ("fifth", 5, "c", 0.4),
    )  # fmt: skip

    @pytest.fixture
    def tables(self):
        return rows(*self.ROWS), images(*map(dict, self.IMAGES))

    def test_each_error_and_count(self, tables):
        line = line_of(*tables)
        assert numbers(line, *GROUP) == ["m", "cam", "l", "p", "h"]
        counts = ("n_images", "n_skipped", "n_missing", "n_blacklisted", "n_without_box")
        assert numbers(line, "status", *counts) == ["ok", 5, 1, 0, 1, 1]
        assert by_k(line, "cls") == pytest.approx([3 / 5, 2 / 5, 1 / 5, 1 / 5, 0])
        # Of right, second and fifth, the last of which misses.
        assert by_k(line, "loc") == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
        assert line["gt_known_loc_error"] == pytest.approx(1 / 3)
        assert line["mean_iou"] == pytest.approx((0.6 + 0.7 + 0.4) / 3)
        assert line["box_acc_area"] == pytest.approx((0.2 + 0.4 + 0.0) / 3)
        assert numbers(line, "top1_loc_error_all", "top5_loc_error_all") == [0.75, 0.25]

    @pytest.mark.parametrize(("iou", "gt_known"), [(0.4, 0), (0.5, 1 / 3), (0.7, 2 / 3), (0.8, 1)])
    def test_the_least_iou_is_the_protocols(self, tables, iou, gt_known):
        protocol = load_protocol("gradcam-2017", {"scoring": {"iou": iou}})
        assert line_of(*tables, protocol=protocol)["gt_known_loc_error"] == pytest.approx(gt_known)

    def test_is_the_means_of_the_images(self, tables):
        method = method_of(*tables)
        line, table = method.line(), per_image(method)
        assert table.index.tolist() == ["right", "second", "blacklisted", "boxless", "fifth"]
        # Boxes that are of no map point nowhere.
        pointing = ["pointing_game", "pointing_game_15px", "energy_pointing_game"]
        assert table[pointing].isna().all(axis=None)
        means = table.drop(columns=pointing).mean()
        assert len(means) == 15
        for name, mean in means.items():
            assert line[name] == pytest.approx(mean), name

    def test_has_no_number_of_other_protocols(self, tables):
        columns = set(line_of(*tables, protocol=load_protocol("zhou-2016")))
        others = {"max_box_acc", "px_ap", "n_scored", "insertion", "pointing_game"}
        assert not columns & others

    def test_a_map_that_is_missing_is_a_miss_and_counted(self):
        missing = {"box": None, "status": "missing"}
        line = line_of(
            rows(("i", 1, "a", 0.9), ("j", 1, "a", 0.0, missing), ("j", 2, "b", 0.0, missing)),
            images({"image_id": "i"}, {"image_id": "j"}),
        )
        assert numbers(line, "n_missing", "top1_loc_error", "gt_known_loc_error") == [1, 0.5, 0.5]
        assert numbers(line, "mean_iou", "top1_cls_error") == [0.45, 0]

    def test_a_map_of_another_class_that_is_missing_is_not_counted(self):
        missing = {"box": None, "status": "missing"}
        line = line_of(
            rows(("i", 1, "b", 0.0, missing), ("i", 2, "a", 0.9)), images({"image_id": "i"})
        )
        assert numbers(line, "n_missing", "gt_known_loc_error") == [0, 0]

    def test_of_boxes_whatever_the_class_has_gt_known_alone(self):
        """Rank 0: nobody has classified."""
        line = line_of(
            rows(("i", 0, "a", 0.9), ("j", 0, "b", 0.2)),
            images({"image_id": "i"}, {"image_id": "j", "label": "b"}),
        )
        assert line["gt_known_loc_error"] == 0.5
        assert line["mean_iou"] == pytest.approx(0.55)
        others = [*by_k(line, "cls"), *by_k(line, "loc"), line["top1_loc_error_all"]]
        assert np.isnan(others).all()

    def test_gt_known_needs_a_row_of_each_images_class(self):
        line = line_of(
            rows(("i", 1, "a", 0.9), ("j", 1, "b", 0.9)),
            images({"image_id": "i"}, {"image_id": "j"}),
        )
        names = ("gt_known_loc_error", "mean_iou", "box_acc_area")
        assert np.isnan(numbers(line, *names)).all()
        assert line["top1_loc_error"] == 0.5

    def test_of_a_method_that_is_not_applicable_has_the_classification_error_alone(self):
        nothing = {"box": None, "status": "not_applicable"}
        line = line_of(rows(("i", 1, "a", NAN, nothing)), images({"image_id": "i"}))
        assert numbers(line, "status", "top1_cls_error") == ["not_applicable", 0]
        names = ("gt_known_loc_error", "mean_iou", "top1_loc_error_all")
        assert np.isnan([*by_k(line, "loc"), *numbers(line, *names)]).all()


class TestLines:
    def test_of_a_run_are_those_of_its_methods_in_its_order(self):
        """Each is made of the rows, curves and costs of its method, and its model's images."""
        networks = [
            {"name": "shapes_net", "label": label, "layer": layer}
            for label, layer in (("z", "features.block5"), ("a", "features.block3"))
        ]
        for name in ("gradcam-2017", "choe-2020-v2"):
            protocol = load_protocol(name)
            results = run(
                {
                    "name": "two",
                    "dataset": "shapes",
                    "limit": 3,
                    "models": networks,
                    "methods": ["grad_cam", "eigen_cam"],
                    "protocol": name,
                }
            )
            tables = (results.rows, results.curves, results.costs)
            lines = results.summary.to_dict(orient="records")
            methods = [("z", "grad_cam"), ("z", "eigen_cam"), ("a", "grad_cam"), ("a", "eigen_cam")]
            assert [(line["model"], line["method"]) for line in lines] == methods
            images = results.images
            for line in lines:
                names = {key: line[key] for key in GROUP}
                rows, curves, costs = (
                    table[(table["model"] == line["model"]) & (table["method"] == line["method"])]
                    for table in tables
                )
                model_images = images[images["model"] == line["model"]]
                method = method_of(rows, model_images, curves, protocol=protocol, names=names)
                expected = method.line(costs)
                assert expected == pytest.approx(line, abs=0, nan_ok=True)
                assert list(expected) == list(line)
            assert len({line["energy_pointing_game"] for line in lines}) == 4

    def test_of_a_method_without_rows(self):
        names = {**NAMES, "method": "none"}
        line = line_of(rows(), images({"image_id": "i"}), names=names)
        assert numbers(line, "method", "status", "n_images") == ["none", "ok", 1]
        assert line["top5_loc_error"] == 1

    @pytest.mark.parametrize("protocol", [ILSVRC, V2, PIXELS])
    def test_without_an_image_that_was_evaluated_say_so(self, protocol):
        none = images({"image_id": "i", "status": "unreadable"})
        line = line_of(rows(), none, protocol=protocol)
        assert numbers(line, "status", "n_images", "n_skipped") == ["no_images", 0, 1]
        fractions = [v for k, v in line.items() if k not in GROUP and not k.startswith("n_")]
        assert np.isnan([value for value in fractions if value != "no_images"]).all()


class TestCosts:
    def test_are_means_over_images_of_all_parts(self):
        costs = pd.DataFrame(
            {
                "n_images": [3, 1],
                "forward": [6, 2],
                "backward": [3, 2],
                "head": [0, 1],
                "seconds": [0.5, 1.5],
                "reason": ["", "no gradient"],
            }
        )
        method = method_of(rows(("i", 1, "a", 0.9)), images({"image_id": "i"}))
        line = method.line(costs)
        passes = ("forward_passes", "backward_passes", "head_passes", "seconds", "reason")
        assert numbers(line, *passes) == [2, 1.25, 0.25, 0.5, "no gradient"]
        assert not set(passes) & set(method.line())
        nothing = method.line(costs.assign(n_images=0))
        assert np.isnan(numbers(nothing, *passes[:4])).all()


def test_a_method_that_is_not_applicable_to_some_images_has_no_number():
    row_table = rows(("x", 1, "a", 0.9), ("y", 1, "a", 0.9, {"status": "not_applicable"}))
    line = line_of(row_table, images({"image_id": "x"}, {"image_id": "y"}))
    assert line["status"] == "not_applicable"
    assert pd.isna(line["top1_loc_error"])
