"""The summary's numbers, each solved by hand."""

import numpy as np
import pandas as pd
import pytest
from method_results import ILSVRC, NAMES, method_of, per_image
from metric_tables import images as images_table
from metric_tables import rows as rows_table

from wsol_bench import run
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.schema import GROUP

NAN = float("nan")
BOX = (0, 0, 10, 10)
GRID = {"step": 0.25}  # thresholds 0, 0.25, 0.5, 0.75
V1 = load_protocol("choe-2020-v1", {"box": {"threshold": GRID}})
V2 = load_protocol("choe-2020-v2", {"box": {"threshold": GRID}})
PIXELS = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.5}})


def images(*lines):
    """Images of class a with one box; each line says what differs."""
    held_out = [line.pop("held_out", False) for line in lines]
    table = images_table(*({"boxes": [BOX], **line} for line in lines))
    return table.assign(held_out=held_out)


def rows(*lines):
    """Rows of (image, rank, class, IoU, and what differs)."""
    names = ("image_id", "rank", "class", "iou")
    return rows_table(
        *(
            {**dict(zip(names, line[:4], strict=True)), "box": BOX, **dict(*line[4:])}
            for line in lines
        )
    )


def one(*tables, **options):
    return method_of(*tables, **options).line()


def numbers(line, *names):
    return [line[name] for name in names]


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
        line = one(*tables)
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
        assert one(*tables, protocol=protocol)["gt_known_loc_error"] == pytest.approx(gt_known)

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
        columns = set(one(*tables, protocol=load_protocol("zhou-2016")))
        others = {"max_box_acc", "px_ap", "n_scored", "insertion", "pointing_game"}
        assert not columns & others

    def test_a_map_that_is_missing_is_a_miss_and_counted(self):
        missing = {"box": None, "status": "missing"}
        line = one(
            rows(("i", 1, "a", 0.9), ("j", 1, "a", 0.0, missing), ("j", 2, "b", 0.0, missing)),
            images({"image_id": "i"}, {"image_id": "j"}),
        )
        assert numbers(line, "n_missing", "top1_loc_error", "gt_known_loc_error") == [1, 0.5, 0.5]
        assert numbers(line, "mean_iou", "top1_cls_error") == [0.45, 0]

    def test_a_map_of_another_class_that_is_missing_is_not_counted(self):
        missing = {"box": None, "status": "missing"}
        line = one(rows(("i", 1, "b", 0.0, missing), ("i", 2, "a", 0.9)), images({"image_id": "i"}))
        assert numbers(line, "n_missing", "gt_known_loc_error") == [0, 0]

    def test_of_boxes_whatever_the_class_has_gt_known_alone(self):
        """Rank 0: nobody has classified."""
        line = one(
            rows(("i", 0, "a", 0.9), ("j", 0, "b", 0.2)),
            images({"image_id": "i"}, {"image_id": "j", "label": "b"}),
        )
        assert line["gt_known_loc_error"] == 0.5
        assert line["mean_iou"] == pytest.approx(0.55)
        others = [*by_k(line, "cls"), *by_k(line, "loc"), line["top1_loc_error_all"]]
        assert np.isnan(others).all()

    def test_gt_known_needs_a_row_of_each_images_class(self):
        line = one(
            rows(("i", 1, "a", 0.9), ("j", 1, "b", 0.9)),
            images({"image_id": "i"}, {"image_id": "j"}),
        )
        names = ("gt_known_loc_error", "mean_iou", "box_acc_area")
        assert np.isnan(numbers(line, *names)).all()
        assert line["top1_loc_error"] == 0.5

    def test_of_a_method_that_is_not_applicable_has_the_classification_error_alone(self):
        nothing = {"box": None, "status": "not_applicable"}
        line = one(rows(("i", 1, "a", NAN, nothing)), images({"image_id": "i"}))
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
                    "limit": 6,
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
                mine = images[images["model"] == line["model"]]
                method = method_of(rows, mine, curves, protocol=protocol, names=names)
                expected = method.line(costs)
                assert expected == pytest.approx(line, abs=0, nan_ok=True)
                assert list(expected) == list(line)
            assert len({line["energy_pointing_game"] for line in lines}) == 4

    def test_of_a_method_without_rows(self):
        names = {**NAMES, "method": "none"}
        line = one(rows(), images({"image_id": "i"}), names=names)
        assert numbers(line, "method", "status", "n_images") == ["none", "ok", 1]
        assert line["top5_loc_error"] == 1

    @pytest.mark.parametrize("protocol", [ILSVRC, V2, PIXELS])
    def test_without_an_image_that_was_evaluated_say_so(self, protocol):
        none = images({"image_id": "i", "status": "unreadable"})
        line = one(rows(), none, protocol=protocol)
        assert numbers(line, "status", "n_images", "n_skipped") == ["no_images", 0, 1]
        fractions = [v for k, v in line.items() if k not in GROUP and not k.startswith("n_")]
        assert np.isnan([value for value in fractions if value != "no_images"]).all()


def curves(**hits):
    """Of each image, curves of four thresholds each as text: "0110 0011"."""
    return pd.DataFrame(
        [
            {
                "model": "m", "method": "cam", "layer": "l", "image_id": image_id,
                "hits": bytes(int(f"{curve:0<8}", 2) for curve in text.split()),
            }
            for image_id, text in hits.items()
        ]
    )  # fmt: skip


def swept(*image_ids):
    return rows(*((image_id, 1, "a", NAN, {"status": "swept"}) for image_id in image_ids))


class TestSweep:
    def test_v1_by_hand(self):
        """Blacklisted images count, those without a box do not. Hits: 0, 2, 2, 1 of 4."""
        ids = ("i", "j", "blacklisted", "boxless", "never", "unreadable")
        table = images(
            {"image_id": "i"},
            {"image_id": "j"},
            {"image_id": "blacklisted", "blacklisted": True},
            {"image_id": "boxless", "boxes": []},
            {"image_id": "never"},
            {"image_id": "unreadable", "status": "unreadable"},
        )
        hits = {"i": "0110", "j": "0100", "blacklisted": "0011", "boxless": "1111"}
        hits |= {"never": "0000"}
        line = one(swept(*ids), table, curves(**hits), protocol=V1)
        assert numbers(line, "n_images", "n_skipped", "n_scored") == [5, 1, 4]
        assert numbers(line, "max_box_acc", "max_box_acc_threshold") == [0.5, 0.25]
        assert numbers(line, "max_box_acc_iou50", "threshold_iou50") == [0.5, 0.25]
        assert "max_box_acc_v2" not in line
        assert "top1_cls_error" not in line
        assert "n_held_out" not in line

    def test_v2_is_the_mean_of_separate_maxima_over_any_box_and_v1_beside_it_of_the_largest(self):
        """Largest at 0.3, 0.5, 0.7, then any."""
        line = one(
            swept("i", "j"),
            images({"image_id": "i"}, {"image_id": "j"}),
            curves(
                i="1111 0001 0000 1111 0011 0001",
                j="1111 0010 0000 1111 1001 1000",
            ),
            protocol=V2,
        )
        assert numbers(line, "max_box_acc", "max_box_acc_threshold") == [0.5, 0.5]
        assert numbers(line, "max_box_acc_iou30", "threshold_iou30") == [1, 0]
        assert numbers(line, "max_box_acc_iou50", "threshold_iou50") == [1, 0.75]
        assert numbers(line, "max_box_acc_iou70", "threshold_iou70") == [0.5, 0]
        assert line["max_box_acc_v2"] == pytest.approx((1 + 1 + 0.5) / 3)

    def test_v2_is_not_of_other_ious_or_of_the_largest_box(self):
        ious = load_protocol(
            "choe-2020-v2", {"box": {"threshold": GRID}, "scoring": {"iou": [0.3, 0.7]}}
        )
        largest = load_protocol(
            "choe-2020-v1", {"box": {"threshold": GRID}, "scoring": {"iou": [0.3, 0.5, 0.7]}}
        )
        for protocol, text in ((ious, "1000 0100 0010 0001"), (largest, "1000 0100 0010")):
            line = one(swept("i"), images({"image_id": "i"}), curves(i=text), protocol=protocol)
            assert "max_box_acc_v2" not in line
            assert ("max_box_acc" in line) == (0.5 in protocol.scoring.ious)

    def test_more_thresholds_than_a_byte_holds(self):
        protocol = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.1}}})
        table = curves(i="0", j="0").assign(hits=[b"\x00\xc0", b"\x80\x40"])  # 8, 9; 0, 9
        line = one(
            swept("i", "j"), images({"image_id": "i"}, {"image_id": "j"}), table, protocol=protocol
        )
        assert line["max_box_acc"] == 1
        assert line["max_box_acc_threshold"] == pytest.approx(0.9)

    SELECTED = load_protocol("choe-2020-v1", {"box": {"threshold": {**GRID, "select_on": 0.5}}})
    SIDES = (
        {"image_id": "i"}, {"image_id": "j"}, {"image_id": "k"},
        {"image_id": "x", "held_out": True}, {"image_id": "y", "held_out": True},
        {"image_id": "boxless", "held_out": True, "boxes": []},
    )  # fmt: skip

    def test_a_threshold_selected_on_images_held_out_and_its_gap_to_the_oracle(self):
        """Held-out images are best at the last threshold, where one of three others is right."""
        line = one(
            swept(*"ijkxy"),
            images(*map(dict, self.SIDES)),
            curves(i="0110", j="0100", k="0001", x="0001", y="0011", boxless="1000"),
            protocol=self.SELECTED,
        )
        assert numbers(line, "n_images", "n_scored", "n_held_out") == [6, 3, 2]
        assert line["max_box_acc"] == line["max_box_acc_iou50"] == pytest.approx(2 / 3)
        assert line["threshold_iou50"] == 0.25
        assert line["selected_threshold_iou50"] == 0.75
        assert line["selected_box_acc_iou50"] == pytest.approx(1 / 3)
        assert line["gap_iou50"] == pytest.approx(1 / 3)
        assert line["selected_box_acc"] == pytest.approx(1 / 3)
        assert line["gap"] == pytest.approx(1 / 3)
        assert not {"selected_box_acc_v2", "gap_v2"} & set(line)

    def test_selected_numbers_of_v1_are_of_the_largest_box_and_those_of_v2_of_any(self):
        """Each curve of the held-out image is best at another threshold than that of the others."""
        protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {**GRID, "select_on": 0.5}}})
        line = one(
            swept(*"ijx"),
            images({"image_id": "i"}, {"image_id": "j"}, {"image_id": "x", "held_out": True}),
            curves(
                i="0000 0011 0000 1110 0100 0001",
                j="0000 0010 0000 1100 0100 0001",
                x="0000 0001 0000 0010 0010 0001",
            ),
            protocol=protocol,
        )
        assert numbers(line, "max_box_acc", "selected_box_acc", "gap") == [1, 0.5, 0.5]
        ious = ("iou30", "iou50", "iou70")
        assert numbers(line, *(f"selected_box_acc_{iou}" for iou in ious)) == [0.5, 0, 1]
        assert line["max_box_acc_v2"] == 1
        assert line["selected_box_acc_v2"] == pytest.approx(0.5)
        assert line["gap_v2"] == pytest.approx(0.5)

    @pytest.mark.parametrize("lacking", ["i", "x"])
    def test_without_a_curve_of_some_image_there_is_no_number(self, lacking):
        """Held out or not; an image without a box of its class needs none."""
        every = dict(i="0110", j="0100", k="0001", x="0001", y="0011")
        table = images(*map(dict, self.SIDES))
        assert one(swept(*every), table, curves(**every), protocol=self.SELECTED)["n_scored"] == 3
        del every[lacking]
        line = one(swept(*every), table, curves(**every), protocol=self.SELECTED)
        assert line["n_scored"] == 0
        names = ("max_box_acc", "threshold", "selected", "gap", "n_held_out")
        assert not [name for name in line if name.startswith(names)]

    def test_the_threshold_for_any_box_is_selected_by_any_box(self):
        protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {**GRID, "select_on": 0.5}}})
        line = one(
            swept(*"ix"),
            images({"image_id": "i"}, {"image_id": "x", "held_out": True}),
            curves(
                i="1111 1111 1111 1100 0010 1001",
                x="1000 1000 1000 0100 0010 0001",
            ),
            protocol=protocol,
        )
        ious = ("iou30", "iou50", "iou70")
        assert numbers(line, *(f"selected_threshold_{iou}" for iou in ious)) == [0.25, 0.5, 0.75]
        assert numbers(line, *(f"selected_box_acc_{iou}" for iou in ious)) == [1, 1, 1]
        assert numbers(line, *(f"gap_{iou}" for iou in ious)) == [0, 0, 0]
        assert numbers(line, *(f"threshold_{iou}" for iou in ious)) == [0, 0.5, 0]

    @pytest.mark.parametrize("left", ["ijk", "xy"])
    def test_without_images_on_a_side_there_is_nothing_to_select(self, left):
        table = images(*map(dict, self.SIDES))
        table = table[table["image_id"].isin([*left])]
        hits = dict.fromkeys(left, "0110")
        line = one(swept(*left), table, curves(**hits), protocol=self.SELECTED)
        assert line["n_scored"] == (3 if left == "ijk" else 0)
        assert not [name for name in line if name.startswith(("selected", "gap"))]
        assert ("max_box_acc" in line) == (left == "ijk")


class TestPixels:
    def counted(self, **bins):
        """Of each image, foreground and background in the bins [0, .5), [.5, 1), [1]."""
        return pd.DataFrame(
            [
                {
                    "model": "m", "method": "cam", "layer": "l", "image_id": image_id,
                    "foreground": np.array(foreground, "<u4").tobytes(),
                    "background": np.array(background, "<u4").tobytes(),
                }
                for image_id, (foreground, background) in bins.items()
            ]
        )  # fmt: skip

    def test_are_pooled_over_the_set(self):
        """Foreground 2, 1, 3 and background 5, 1, 0: precision 1, 4/5, 6/12 at recall 3/6, 4/6, 1.

        IoU 3/6 at 1, 4/7 from 0.5 on, 6/12 from 0 on.
        """
        bins = {"i": ([0, 1, 3], [4, 0, 0]), "j": ([2, 0, 0], [1, 1, 0])}
        line = one(
            swept("i", "j"),
            images({"image_id": "i", "boxes": []}, {"image_id": "j", "boxes": []}),
            self.counted(**bins),
            protocol=PIXELS,
        )
        assert numbers(line, "n_images", "n_scored") == [2, 2]
        assert line["px_ap"] == pytest.approx(3 / 6 * 1 + 1 / 6 * 4 / 5 + 2 / 6 * 6 / 12)
        assert numbers(line, "p_iou", "p_iou_threshold") == [pytest.approx(4 / 7), 0.5]
        assert "max_box_acc" not in line
        assert "top1_loc_error" not in line

    def test_images_that_were_not_evaluated_do_not_count(self):
        bins = {"i": ([0, 0, 3], [4, 0, 0]), "gone": ([0, 9, 0], [9, 9, 9])}
        line = one(
            swept("i"),
            images({"image_id": "i"}, {"image_id": "gone", "status": "unreadable"}),
            self.counted(**bins),
            protocol=PIXELS,
        )
        assert numbers(line, "n_scored", "px_ap", "p_iou", "p_iou_threshold") == [1, 1, 1, 1]

    def test_many_large_images_do_not_overflow(self):
        bins = {f"i{index}": ([0, 0, 2**31], [2**31, 0, 0]) for index in range(8)}
        table = images(*({"image_id": name} for name in bins))
        line = one(swept(*bins), table, self.counted(**bins), protocol=PIXELS)
        assert numbers(line, "px_ap", "p_iou") == [1, 1]


class TestOfMaps:
    """What is measured of maps, whatever the rule for boxes."""

    IMAGES = ({"image_id": "i"}, {"image_id": "j", "blacklisted": True}, {"image_id": "k"})
    POINTING = ("pointing_game", "pointing_game_15px", "energy_pointing_game")

    def measured(self, *values):
        """Rows of rank 1 with the pointing games and an energy each."""
        table = rows(*((name, 1, "a", 0.9) for name in "ijk"[: len(values)]))
        columns = ["pointing_game", "pointing_game_15px", "energy"]
        return table.assign(**dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)))

    @pytest.mark.parametrize("protocol", [ILSVRC, V1])
    def test_pointing_and_energy(self, protocol):
        """In the box, 12 pixels beside it, and nowhere."""
        table = self.measured((1, 1, 0.8), (0, 1, 0.1), (0, 0, 0.0))
        line = one(table, images(*map(dict, self.IMAGES)), protocol=protocol)
        assert line["pointing_game"] == pytest.approx(1 / 3)
        assert line["pointing_game_15px"] == pytest.approx(2 / 3)
        assert line["energy_pointing_game"] == pytest.approx(0.9 / 3)

    def test_pointing_is_asked_of_the_own_class_in_images_with_a_box(self):
        others = rows(("i", 1, "b", 0.9), ("i", 7, "a", 0.9), ("boxless", 1, "a", 0.0))
        table = others.assign(pointing_game=[NAN, 1, NAN], energy=[NAN, 0.5, NAN])
        line = one(table, images({"image_id": "i"}, {"image_id": "boxless", "boxes": []}))
        assert numbers(line, "pointing_game", "energy_pointing_game") == [1, 0.5]

    def test_a_missing_map_points_nowhere(self):
        table = self.measured((1, 1, 0.8), (0, 0, 0.0))
        table["status"] = ["box", "missing"]
        line = one(table, images(*map(dict, self.IMAGES[:2])))
        assert numbers(line, "pointing_game", "energy_pointing_game") == [0.5, 0.4]

    def test_boxes_without_maps_have_no_pointing(self):
        line = one(self.measured((NAN, NAN, NAN)), images({"image_id": "i"}))
        assert not set(self.POINTING) & set(line)

    def test_faithfulness_is_of_the_first_predictions(self):
        """The third map ranks no pixels; the row of rank 2 is nobody's first."""
        table = rows(
            ("i", 1, "b", 0.9), ("i", 2, "a", 0.9), ("j", 1, "a", 0.9), ("k", 1, "a", 0.9)
        ).assign(
            score=[0.8, 0.1, 0.4, 0.5],
            insertion=[0.6, NAN, 0.2, NAN],
            deletion=[0.1, NAN, 0.3, NAN],
            masked_score=[0.4, NAN, 0.5, NAN],
        )
        line = one(table, images(*map(dict, self.IMAGES)))
        assert numbers(line, "insertion", "deletion") == pytest.approx([0.4, 0.2])
        assert line["average_drop"] == pytest.approx((0.5 + 0) / 2)
        assert line["increase_in_confidence"] == pytest.approx(1 / 2)

    @pytest.mark.parametrize("protocol", [ILSVRC, V1, PIXELS])
    def test_faithfulness_that_was_not_measured_has_no_columns(self, protocol):
        line = one(rows(("i", 1, "a", 0.9)), images({"image_id": "i"}), protocol=protocol)
        names = {"insertion", "deletion", "average_drop", "increase_in_confidence"}
        assert not names & set(line)
        found = {one.name for one in build_metrics(None, protocol, faithfulness=False)}
        more = {one.name for one in build_metrics(None, protocol, faithfulness=True)}
        assert more - found == names

    def test_an_image_held_out_of_a_sweep_is_in_none(self):
        """The one left points right; with the other no number would be the same."""
        table = self.measured((1, 1, 0.8), (0, 0, 0.0)).assign(
            score=[0.8, 0.4], insertion=[0.6, 0.0], deletion=[0.1, 0.9], masked_score=[0.9, 0.0]
        )
        both = images({"image_id": "i"}, {"image_id": "j", "held_out": True})
        line = one(table, both, protocol=TestSweep.SELECTED)
        assert numbers(line, *self.POINTING) == [1, 1, 0.8]
        faithfulness = ("insertion", "deletion", "average_drop", "increase_in_confidence")
        assert numbers(line, *faithfulness) == [0.6, 0.1, 0, 1]
        assert line["n_images"] == 2


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
    some = rows(("x", 1, "a", 0.9), ("y", 1, "a", 0.9, {"status": "not_applicable"}))
    line = one(some, images({"image_id": "x"}, {"image_id": "y"}))
    assert line["status"] == "not_applicable"
    assert pd.isna(line["top1_loc_error"])
