"""Two runs in comparison: hand-solved boxes of another tool, and runs of the color network."""

import numpy as np
import pandas as pd
import pytest
from analyzed_runs import ONE_BOX, lines
from annotations_only import without_model
from colors import WNIDS, write_colors

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.run_comparison import compare
from wsol_bench.report.run_comparison_text import paragraphs_of, tables_for_people, verdict

# Eight images of two classes in turn, each with one object of 100 x 100 pixels.
N = 8
TRUTH = (0, 0, 100, 100)
HALF, PART = (0, 0, 100, 50), (0, 0, 100, 40)  # IoU 0.5, which is a hit, and 0.4
IDS = [f"ILSVRC2012_val_{number:08d}" for number in range(1, N + 1)]
BEFORE = [TRUTH, TRUTH, TRUTH, TRUTH, PART, PART, PART, PART]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    scenes = [((224, 224), number % 2, [TRUTH]) for number in range(N)]
    return write_colors(tmp_path_factory.mktemp("boxes") / "root", scenes=scenes)


@pytest.fixture(scope="module")
def run_of(root, tmp_path_factory):
    """A function that scores a box an image (half-open), behind guesses of other classes if any."""

    def make(boxes, *, wrong_first=(), label="theirs", **changes):
        folder = tmp_path_factory.mktemp("run")
        guesses = []
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            guess = f"{WNIDS[number % 2]} {x0} {y0} {x1 - 1!r} {y1 - 1!r}"
            if number in wrong_first:
                guess = f"{WNIDS[2]} 0 0 9 9 {guess}"
            guesses.append(f"{IDS[number]},{guess}")
        path = folder / "boxes.csv"
        path.write_text("\n".join(["ImageId,PredictionString", *guesses]) + "\n")
        method = {"name": "boxes_from", "path": str(path), "label": label}
        return wsol_bench.run(without_model(root, method, **changes), out=folder / "run").folder

    return make


@pytest.fixture(scope="module")
def before(run_of):
    return run_of(BEFORE)


@pytest.fixture(scope="module")
def swapped(run_of):
    """The fourth image is lost, the fifth gained."""
    return run_of([*BEFORE[:3], PART, TRUTH, *BEFORE[5:]])


def number(found, name):
    [line] = lines(found.numbers, number=name).to_dict(orient="records")
    return line


class TestBoxes:
    def test_of_the_same_boxes_are_equal(self, before, run_of):
        found = compare(before, run_of(BEFORE))
        assert found.equal
        assert (found.n_images, found.n_moved) == (N, 0)
        assert not found.numbers["differs"].any()
        assert set(found.numbers["b_is"]) == {"equal"}
        assert (found.numbers["difference"] == 0).all()
        assert (found.rows["n_rows"] == N).all()
        assert (found.rows[["n_differ", "n_of_one_run"]] == 0).all(axis=None)
        assert found.images.empty
        assert found.unmatched.empty
        assert verdict(found) == "The runs have equal numbers and equal results of 8 images."
        assert not list(tables_for_people(found))

    def test_one_gained_and_one_lost_are_a_difference_of_equal_numbers(self, before, swapped):
        found = compare(before, swapped)
        assert not found.equal
        assert not found.numbers["differs"].any()
        line = number(found, "gt_known_loc_error")
        assert (line["a"], line["b"], line["n10"], line["n01"]) == (0.5, 0.5, 1, 1)
        assert found.n_moved == 2
        assert verdict(found) == (
            "The runs have equal numbers but differ in the results of 2 of 8 images."
        )
        moved = found.images.set_index("image_id")
        assert set(moved.index) == {IDS[3], IDS[4]}
        for question in ("gt_known", "top1"):
            assert moved[question].to_dict() == {IDS[3]: "lost", IDS[4]: "gained"}
            assert moved.loc[IDS[3], [f"{question}_a", f"{question}_b"]].tolist() == ["hit", "part"]
        for suffix, iou in (("", "iou"), ("", "top1_iou")):
            assert moved.loc[IDS[3], [f"{iou}_a{suffix}", f"{iou}_b"]].tolist() == [1.0, 0.4]
        assert moved.loc[IDS[4], ["x0_a", "y0_a", "x1_a", "y1_a"]].tolist() == [*PART]
        assert moved.loc[IDS[4], ["x0_b", "y0_b", "x1_b", "y1_b"]].tolist() == [*TRUTH]
        assert moved["class"].to_dict() == {IDS[3]: WNIDS[1], IDS[4]: WNIDS[0]}
        assert moved["words"].to_dict() == {IDS[3]: "green", IDS[4]: "red"}

    def test_classes_move_apart_although_the_number_does_not(self, before, swapped):
        """Of four images of each class two are wrong, then one and three."""
        table = compare(before, swapped).classes.set_index("class")
        assert set(table["number"]) == {"top1_loc_error"}
        assert table["n"].to_dict() == {WNIDS[0]: 4, WNIDS[1]: 4}
        assert table["a"].to_dict() == {WNIDS[0]: 0.5, WNIDS[1]: 0.5}
        assert table["b"].to_dict() == {WNIDS[0]: 0.25, WNIDS[1]: 0.75}

    def test_a_gain_has_its_direction_in_every_table(self, before, run_of):
        """Two misses become hits: of IoU 1, and of exactly 0.5."""
        found = compare(before, run_of([*BEFORE[:4], TRUTH, HALF, *BEFORE[6:]]))
        error = number(found, "gt_known_loc_error")
        assert (error["a"], error["b"], error["difference"]) == (0.5, 0.25, -0.25)
        assert (error["b_is"], error["n10"], error["n01"], error["p"]) == ("better", 2, 0, 0.5)
        # Tango's interval of 2 : 0 of 8 images.
        assert (error["low"], error["high"]) == pytest.approx((-0.5907, 0.1555), abs=1e-4)
        iou = number(found, "mean_iou")
        assert (iou["a"], iou["b"]) == pytest.approx((0.7, (0.6 + 0.1 + 5.6) / 8))
        assert iou["b_is"] == "better"
        differences = np.array([0, 0, 0, 0, 0.6, 0.1, 0, 0])
        half = 2.3646 * differences.std(ddof=1) / np.sqrt(N)  # t of 7 degrees of freedom
        expected = differences.mean() - half, differences.mean() + half
        assert (iou["low"], iou["high"]) == pytest.approx(expected, abs=1e-4)
        [_, text] = next(tables_for_people(found))
        assert text[["A", "B", "better by"]].to_numpy().tolist() == [["50.00", "25.00", "+25.00"]]
        assert text["95% interval"].tolist() == ["[-15.55, +59.07]"]
        assert text[["gained", "lost"]].to_numpy().tolist() == [["2", "0"]]
        assert found.images["image_id"].tolist() == [IDS[4], IDS[5]]  # by the change of IoU

    def test_a_wrong_first_guess_moves_top_1_alone(self, before, run_of):
        found = compare(before, run_of(BEFORE, wrong_first=[0]))
        moved = set(found.numbers[found.numbers["differs"]]["number"])
        assert moved == {"top1_cls_error", "top1_loc_error", "top1_loc_error_all"}
        [image] = found.images.to_dict(orient="records")
        assert (image["gt_known"], image["top1"]) == ("", "lost")
        assert (image["gt_known_b"], image["top1_b"]) == ("hit", "wrong_class")
        assert found.rows["n_of_one_run"].tolist() == [1]
        [_, text] = list(tables_for_people(found))[-1]
        assert text[["A", "B"]].to_numpy().tolist() == [["hit", "hit*"]]

    def test_noise_is_told_from_changes(self, before, run_of):
        """A box is 1e-6 pixels shorter, which changes its IoU by 1e-8."""
        noisy = run_of([(0, 0, 100, 100 - 1e-6), *BEFORE[1:]])
        found = compare(before, noisy)
        assert not found.equal
        assert number(found, "mean_iou")["differs"]
        [rows] = found.rows.to_dict(orient="records")
        assert (rows["n_differ"], rows["n_beyond"]) == (1, 1)
        assert (rows["coordinate"], rows["iou"]) == pytest.approx((1e-6, 1e-8), rel=1e-3)
        assert "1e-06 pixels of a coordinate and 1e-08 of an IoU" in " ".join(paragraphs_of(found))
        [*_, text] = [text for title, text in tables_for_people(found, everything=True)][:1]
        assert text.set_index("number").loc["mean_iou", "better by"] == "-1e-07"
        within = compare(before, noisy, tolerance=2e-6)
        assert within.equal
        assert within.rows[["n_differ", "n_beyond"]].to_numpy().tolist() == [[1, 0]]
        assert verdict(within).startswith("The runs have equal numbers (up to 2e-06)")
        assert not compare(before, noisy, tolerance=5e-7).equal

    def test_a_hit_that_a_tolerance_hides_is_a_difference(self, before, run_of):
        """An IoU falls from 0.5 to just below it, by less than the tolerance."""
        half = run_of([HALF, *BEFORE[1:]])
        below = run_of([(0, 0, 100, 50 - 1e-6), *BEFORE[1:]])
        found = compare(half, below, tolerance=0.2)
        assert found.n_moved == 0
        assert not found.numbers["differs"].any()  # by an eighth
        assert found.images["gt_known"].tolist() == ["lost"]
        assert not found.equal
        assert verdict(found) == (
            "The runs have equal numbers (up to 0.2), but other outcomes of 1 image."
        )

    def test_of_one_line_each_are_compared_by_whatever_name(self, before, run_of):
        found = compare(before, run_of(BEFORE, label="ours"))
        assert found.lines[["method", "method_b"]].to_numpy().tolist() == [["theirs", "ours"]]
        assert "Compared: theirs of A with ours of B." in list(paragraphs_of(found))
        assert found.equal

    def test_images_of_one_run_are_a_difference(self, before, run_of):
        found = compare(before, run_of(BEFORE[:6], limit=6))
        assert not found.equal
        assert found.unmatched[["run", "kind", "name"]].to_numpy().tolist() == [
            ["A", "image", IDS[6]],
            ["A", "image", IDS[7]],
        ]
        assert set(found.numbers["n"]) == {6}
        line = number(found, "gt_known_loc_error")
        assert (line["a"], line["b"]) == pytest.approx((1 / 3, 1 / 3))
        assert verdict(found).endswith("equal results of 6 images. Only one of them has 2 images.")
        assert f"Only A has the images {IDS[6]}, {IDS[7]}." in list(paragraphs_of(found))

    def test_other_ground_truth_is_an_error(self, before, run_of, tmp_path):
        scenes = [((224, 224), number % 2, [HALF]) for number in range(N)]
        other = write_colors(tmp_path / "root", scenes=scenes)
        method = before.identity.config["methods"]
        changed = wsol_bench.run({**without_model(other, *method)}, out=tmp_path / "run")
        with pytest.raises(RunError, match=f"differ in the ground truth of {IDS[0]}"):
            compare(before, changed.folder)

    @pytest.mark.parametrize("tolerance", [-1e-9, float("nan"), 1.0])
    def test_a_tolerance_is_below_the_largest_difference_of_shares(self, tolerance, before):
        with pytest.raises(ConfigError, match="tolerance: expected a number of at least 0 and bel"):
            compare(before, before, tolerance=tolerance)


class TestRunsOfANetwork:
    def test_of_the_same_experiment_are_equal(self, run, experiment, tmp_path):
        again = wsol_bench.run({**experiment, "part_size": 3}, out=tmp_path / "again")
        found = compare(run.folder, again.folder)
        assert found.equal
        assert found.settings["key"].tolist() == ["config.part_size"]

    def test_numbers_are_those_of_two_summaries(self, run, sharp, sharpened):
        summaries = [results.summary.set_index("method") for results in (run, sharp)]
        assert {*ONE_BOX} <= set(sharpened.numbers["number"])
        assert sharpened.numbers["differs"].any()
        for line in sharpened.numbers.to_dict(orient="records"):
            a, b = (summary.loc[line["method"], line["number"]] for summary in summaries)
            assert (line["a"], line["b"]) == pytest.approx((a, b), abs=1e-12)
            assert line["difference"] == pytest.approx(b - a, abs=1e-12)
            assert line["low"] - 1e-12 <= b - a <= line["high"] + 1e-12
            assert line["differs"] == (a != b)
            gain = (b - a) * (1 if line["better"] == "higher" else -1)
            assert line["b_is"] == ("better" if gain > 0 else "worse" if gain < 0 else "equal")

    def test_images_are_those_whose_stored_hits_moved(self, run, sharp, sharpened):
        hits = []
        for results in (run, sharp):
            rows = results.rows.merge(results.images[["image_id", "label"]], on="image_id")
            own = rows[rows["class"] == rows["label"]]
            hits.append(own.set_index(["method", "image_id"])["iou"] >= 0.5)
        a, b = hits[0], hits[1].reindex(hits[0].index)
        moved = sharpened.images.set_index(["method", "image_id"])["gt_known"]
        assert set(moved[moved == "gained"].index) == set(a.index[b & ~a])
        assert set(moved[moved == "lost"].index) == set(a.index[a & ~b])
        assert (a != b).any()
        counts = lines(sharpened.numbers, number="gt_known_loc_error").set_index("method")
        assert counts["n10"].to_dict() == (b & ~a).groupby("method").sum().to_dict()
        assert counts["n01"].to_dict() == (a & ~b).groupby("method").sum().to_dict()

    def test_classes_have_the_errors_of_their_images(self, run, sharp, sharpened):
        for results, side in ((run, "a"), (sharp, "b")):
            rows = results.rows.merge(results.images[["image_id", "label"]], on="image_id")
            first = rows[rows["rank"] == 1]
            wrong = (first["class"] != first["label"]) | (first["iou"] < 0.5)
            expected = wrong.groupby([first["method"], first["label"]]).mean()
            table = sharpened.classes.set_index(["method", "class"])[side]
            pd.testing.assert_series_equal(
                table.sort_index(), expected.sort_index(), check_names=False
            )
        sizes = sharpened.classes["difference"].abs()
        assert sizes.is_monotonic_decreasing
        assert sizes.iloc[0] > 0

    def test_what_was_changed_is_said(self, sharpened):
        assert sharpened.settings[["key", "a", "b"]].to_numpy().tolist() == [
            ["protocol.map.upsample", "nearest", "bilinear"],
            ["protocol.box.threshold", "0.15", "0.8"],
        ]
        assert "  protocol.box.threshold: 0.15 in A, 0.8 in B" in list(paragraphs_of(sharpened))

    def test_rows_are_counted_as_they_are_stored(self, run, sharp, sharpened):
        keys = ["method", "image_id", "class"]
        a, b = (results.rows.set_index(keys).sort_index() for results in (run, sharp))
        box = ["x0", "y0", "x1", "y1"]
        expected = ((a[box] != b[box]) & ~(a[box].isna() & b[box].isna())).any(axis=1)
        counts = sharpened.rows.set_index("method")
        assert counts["n_differ"].to_dict() == expected.groupby("method").sum().to_dict()
        largest = (a[box] - b[box]).abs().max(axis=1).groupby("method").max()
        assert counts["coordinate"].to_dict() == largest.to_dict()

    def test_of_thresholds_compare_curves(self, swept):
        found = compare(swept.folder, swept.folder)
        assert found.equal
        assert (found.rows["n_curves"] > 0).all()

    def test_lines_of_one_run_are_a_difference(self, run, experiment, tmp_path):
        fewer = {**experiment, "methods": ["grad_cam", "cam"], "faithfulness": None}
        found = compare(run.folder, wsol_bench.run(fewer, out=tmp_path / "run").folder)
        assert found.lines["method"].tolist() == ["cam", "grad_cam"]
        alone = lines(found.unmatched, kind="line")
        assert alone[["run", "method"]].to_numpy().tolist() == [["A", "center_gaussian"]]
        numbers = lines(found.unmatched, kind="number")
        assert {"insertion", "deletion"} <= set(numbers["name"])
        assert not found.numbers["differs"].any()
        assert not found.equal

    def test_a_changed_method_is_compared_with_what_it_was(self, run, experiment, tmp_path):
        """The only model has another name, and one of its methods another layer of its own."""
        [model] = experiment["models"]
        models = [{**model, "label": "another"}]
        changed = {**experiment, "models": models, "methods": ["cam"], "faithfulness": None}
        found = compare(run.folder, wsol_bench.run(changed, out=tmp_path / "run").folder)
        assert found.lines[["model", "model_b", "method_b"]].to_numpy().tolist() == [
            ["color_net", "another", "cam"]
        ]
        assert "Compared: color_net cam cells of A with another cam cells of B." in list(
            paragraphs_of(found)
        )
        assert not found.numbers["differs"].any()

    def test_without_a_line_in_common_name_the_lines_of_both(self, before, run):
        with pytest.raises(RunError, match=r"A has: color_net cam cells, .*; B has: - theirs"):
            compare(run.folder, before)
