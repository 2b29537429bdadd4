"""A method's line of the summary under a protocol of many thresholds or of pixels, by hand."""

import numpy as np
import pandas as pd
import pytest
from summary_tables import (
    GRID,
    NAN,
    PIXELS,
    SELECTED,
    V1,
    V2,
    curves,
    images,
    line_of,
    numbers,
    rows,
    swept,
)

from wsol_bench.protocols.load import load_protocol


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
        line = line_of(swept(*ids), table, curves(**hits), protocol=V1)
        assert numbers(line, "n_images", "n_skipped", "n_scored") == [5, 1, 4]
        assert numbers(line, "max_box_acc", "max_box_acc_threshold") == [0.5, 0.25]
        assert numbers(line, "max_box_acc_iou50", "threshold_iou50") == [0.5, 0.25]
        assert "max_box_acc_v2" not in line
        assert numbers(line, "top1_cls_error", "top5_cls_error") == [0, 0]
        assert "top1_loc_error" not in line
        assert "n_held_out" not in line

    def test_classification_errors_are_of_all_images_that_are_not_held_out(self):
        """Blacklisted images and those without a box count, as in ILSVRC."""
        sides = (
            {"image_id": "first"}, {"image_id": "blacklisted", "blacklisted": True},
            {"image_id": "boxless", "boxes": []}, {"image_id": "sixth"},
            {"image_id": "out", "held_out": True}, {"image_id": "gone", "status": "unreadable"},
        )  # fmt: skip
        ranks = {"first": 1, "blacklisted": 2, "boxless": 6, "sixth": 6, "out": 1}
        lines = [(name, rank, "a", NAN, {"status": "swept"}) for name, rank in ranks.items()]
        hits = dict.fromkeys(["first", "blacklisted", "sixth", "out"], "1111")
        for protocol in (SELECTED, PIXELS):
            table = images(*map(dict, sides))
            table["held_out"] &= protocol is SELECTED
            line = line_of(
                rows(*lines),
                table,
                None if protocol is PIXELS else curves(**hits),
                protocol=protocol,
            )
            errors = [line[f"top{k}_cls_error"] for k in range(1, 6)]
            n = 4 if protocol is SELECTED else 5
            assert errors == [3 / n, 2 / n, 2 / n, 2 / n, 2 / n]

    def test_without_ranks_there_are_no_classification_errors(self):
        unranked = rows(("i", 0, "a", NAN, {"status": "swept"}))
        for protocol in (V1, PIXELS):
            line = line_of(unranked, images({"image_id": "i"}), protocol=protocol)
            assert not [name for name in line if "_cls_" in name]

    def test_v2_is_the_mean_of_separate_maxima_over_any_box_and_v1_beside_it_of_the_largest(self):
        """Largest at 0.3, 0.5, 0.7, then any."""
        line = line_of(
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
            line = line_of(swept("i"), images({"image_id": "i"}), curves(i=text), protocol=protocol)
            assert "max_box_acc_v2" not in line
            assert ("max_box_acc" in line) == (0.5 in protocol.scoring.ious)

    def test_more_thresholds_than_a_byte_holds(self):
        protocol = load_protocol("choe-2020-v1", {"box": {"threshold": {"step": 0.1}}})
        table = curves(i="0", j="0").assign(hits=[b"\x00\xc0", b"\x80\x40"])  # 8, 9; 0, 9
        line = line_of(
            swept("i", "j"), images({"image_id": "i"}, {"image_id": "j"}), table, protocol=protocol
        )
        assert line["max_box_acc"] == 1
        assert line["max_box_acc_threshold"] == pytest.approx(0.9)

    SIDES = (
        {"image_id": "i"}, {"image_id": "j"}, {"image_id": "k"},
        {"image_id": "x", "held_out": True}, {"image_id": "y", "held_out": True},
        {"image_id": "boxless", "held_out": True, "boxes": []},
    )  # fmt: skip

    def test_a_threshold_selected_on_images_held_out_and_its_gap_to_the_oracle(self):
        """Held-out images are best at the last threshold, where one of three others is right."""
        line = line_of(
            swept(*"ijkxy"),
            images(*map(dict, self.SIDES)),
            curves(i="0110", j="0100", k="0001", x="0001", y="0011", boxless="1000"),
            protocol=SELECTED,
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
        line = line_of(
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
        assert line_of(swept(*every), table, curves(**every), protocol=SELECTED)["n_scored"] == 3
        del every[lacking]
        line = line_of(swept(*every), table, curves(**every), protocol=SELECTED)
        assert line["n_scored"] == 0
        names = ("max_box_acc", "threshold", "selected", "gap", "n_held_out")
        assert not [name for name in line if name.startswith(names)]

    def test_the_threshold_for_any_box_is_selected_by_any_box(self):
        protocol = load_protocol("choe-2020-v2", {"box": {"threshold": {**GRID, "select_on": 0.5}}})
        line = line_of(
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
        line = line_of(swept(*left), table, curves(**hits), protocol=SELECTED)
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
        line = line_of(
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
        line = line_of(
            swept("i"),
            images({"image_id": "i"}, {"image_id": "gone", "status": "unreadable"}),
            self.counted(**bins),
            protocol=PIXELS,
        )
        assert numbers(line, "n_scored", "px_ap", "p_iou", "p_iou_threshold") == [1, 1, 1, 1]

    def test_many_large_images_do_not_overflow(self):
        bins = {f"i{index}": ([0, 0, 2**31], [2**31, 0, 0]) for index in range(8)}
        table = images(*({"image_id": name} for name in bins))
        line = line_of(swept(*bins), table, self.counted(**bins), protocol=PIXELS)
        assert numbers(line, "px_ap", "p_iou") == [1, 1]
