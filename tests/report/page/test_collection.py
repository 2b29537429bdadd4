"""The collection of runs that a page shows: images, models, lines and their outcomes."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.metrics.failure_modes import failure_modes
from wsol_bench.report.analysis import analyze
from wsol_bench.report.page.charts import charts
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.outcomes import NOT_DEFINED, OUTCOMES
from wsol_bench.runs.stored_run import StoredRun


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


@pytest.fixture(scope="module")
def of_sweep(swept):
    return Collection([swept.folder])


def named(codes):
    return [None if code == NOT_DEFINED else OUTCOMES[code] for code in codes]


class TestImages:
    def test_they_are_those_of_the_run(self, collection, run):
        table = run.images
        images = collection.images
        assert images.ids == table["image_id"].tolist()
        assert [collection.classes[n][0] for n in images.label] == table["label"].tolist()
        assert images.size.tolist() == table[["height", "width"]].to_numpy().tolist()
        assert images.paths == table["path"].tolist()
        for boxes, stored in zip(images.boxes, table["boxes"], strict=True):
            assert boxes.ravel().tolist() == list(stored)

    def test_the_share_is_that_of_the_largest_box(self, collection):
        for boxes, share, size in zip(
            collection.images.boxes, collection.images.share, collection.images.size, strict=True
        ):
            areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
            assert share == pytest.approx(max(areas) / (size[0] * size[1]))

    def test_images_of_two_runs_stand_once(self, run, swept, collection):
        both = Collection([run.folder, swept.folder])
        assert both.images.ids == collection.images.ids
        assert [model.run for model in both.models] == [0, 1]

    def test_runs_of_different_images_are_joined(self, run, experiment, tmp_path):
        few = wsol_bench.run({**experiment, "limit": 3, "methods": ["cam"]}, out=tmp_path / "few")
        both = Collection([few.folder, run.folder])
        assert both.images.ids == run.images["image_id"].tolist()
        assert both.models[0].part[3:].tolist() == [-1] * (len(both.images) - 3)
        assert np.isnan(both.lines[0].iou[3:]).all()
        assert set(both.lines[0].gt_known[3:]) == {NOT_DEFINED}

    def test_runs_that_differ_in_the_truth_of_an_image_are_refused(self, run, tmp_path):
        shutil.copytree(run.folder.path, tmp_path / "other")
        other = StoredRun(tmp_path / "other")
        identity = other.identity.model_copy(
            update={"dataset": other.identity.dataset.model_copy(update={"fingerprint": "other"})}
        )
        other.manifest = other.manifest.model_copy(update={"identity": identity})
        read = other.arrow

        def moved(table, columns=None, **options):
            found = read(table, columns, **options)
            if table != "images" or "boxes" not in found.column_names:
                return found
            place = found.column_names.index("boxes")
            frame = found.to_pandas()
            boxes = [np.asarray(flat) + 1 for flat in frame["boxes"]]
            return found.set_column(place, "boxes", [boxes])

        other.arrow = moved
        with pytest.raises(RunError, match="differ in the ground truth of"):
            Collection([run.folder, other])

    def test_runs_that_differ_in_the_masks_of_an_image_are_refused(self, masked, tmp_path):
        shutil.copytree(masked.folder.path, tmp_path / "other")
        other = StoredRun(tmp_path / "other")
        dataset = other.identity.dataset.model_copy(update={"fingerprint": "other"})
        identity = other.identity.model_copy(update={"dataset": dataset})
        other.manifest = other.manifest.model_copy(update={"identity": identity})
        assert len(Collection([masked.folder, other]).images) == 6
        read = other.arrow

        def renamed(table, columns=None, **options):
            found = read(table, columns, **options)
            if table != "images" or "masks" not in found.column_names:
                return found
            names = [[f"{name}.other" for name in names] for names in found["masks"].to_pylist()]
            return found.set_column(found.column_names.index("masks"), "masks", [names])

        other.arrow = renamed
        with pytest.raises(RunError, match="differ in the ground truth of"):
            Collection([masked.folder, other])

    def test_a_run_that_is_given_twice_is_refused(self, run, tmp_path):
        (tmp_path / "link").symlink_to(run.folder.path)
        again = StoredRun(tmp_path / "link")
        with pytest.raises(RunError, match="run: expected each run once, found it 2 times"):
            Collection([run.folder, again])


class TestModels:
    def test_ranks_and_scores_are_those_of_the_run(self, collection, run):
        [model] = collection.models
        assert model.label_rank.tolist() == run.images["label_rank"].tolist()
        np.testing.assert_allclose(model.label_score, run.images["label_score"], rtol=1e-6)

    def test_first_predictions_are_the_rows_of_rank_1(self, collection, run):
        [model] = collection.models
        rows = run.rows[(run.rows["method"] == "cam") & (run.rows["rank"] == 1)]
        rows = rows.set_index("image_id").loc[collection.images.ids]
        assert [collection.classes[n][0] for n in model.top1] == rows["class"].tolist()
        np.testing.assert_allclose(model.top1_score, rows["score"], rtol=1e-6)

    def test_parts_hold_their_images(self, collection, run):
        [model] = collection.models
        for image_id, part in zip(collection.images.ids, model.part.tolist(), strict=True):
            assert image_id in run.folder.read_part("images", part)["image_id"].tolist()


class TestOutcomes:
    def test_under_one_box_they_are_the_failure_modes(self, collection, run):
        rows = run.rows.assign(mode=failure_modes(run.rows, run.images).astype(object))
        rows = rows.merge(run.images[["image_id", "label"]])
        for line in collection.lines:
            of_line = rows[rows["method"] == line.method].set_index("image_id")
            label = of_line[of_line["class"] == of_line["label"]].loc[collection.images.ids]
            assert named(line.gt_known) == label["mode"].tolist()
            np.testing.assert_allclose(line.iou, label["iou"], rtol=1e-6)
            first = of_line[of_line["rank"] == 1]
            if len(first):
                assert named(line.top1) == first.loc[collection.images.ids, "mode"].tolist()

    def test_of_the_first_prediction_the_iou_is_that_of_its_row(self, mistaken):
        collection = Collection([mistaken.folder])
        [line] = collection.lines
        rows = mistaken.rows.set_index("image_id")
        first = rows[rows["rank"] == 1].loc[collection.images.ids]
        np.testing.assert_allclose(line.top1_iou, first["iou"], rtol=1e-6)
        assert (line.top1_iou >= 0.5).any()  # the object is found, but called by another name
        assert (line.iou < 0.5).all()
        assert set(named(line.top1)) == {"wrong_class"}

    def test_boxes_that_come_from_no_map_have_no_threshold(self, experiment, swept):
        protocol = {"name": "choe-2020-v2", "box": {"threshold": {"step": 0.1}}}
        for changes, threshold in (({}, 0.15), ({"protocol": protocol}, None)):
            methods = ["cam", "center_box"]
            run = wsol_bench.run({**experiment, "methods": methods, "limit": 4, **changes})
            collection = Collection([run.folder])
            cam, center = collection.lines
            assert cam.threshold == (threshold or run.summary["max_box_acc_threshold"][0])
            assert center.threshold is None
            assert (center.gt_known != NOT_DEFINED).all()
            curves = charts(collection)["thresholds"]
            assert {c["line"]: c["best"] is None for c in curves} == (
                {0: False, 1: True} if changes else {}
            )

    def test_a_threshold_that_is_selected_is_that_of_the_summary(self, of_sweep, swept):
        for line, selected in zip(
            of_sweep.lines, swept.summary["selected_threshold_iou50"], strict=True
        ):
            assert line.selected == selected

    def test_the_share_of_hits_is_the_summary_s(self, collection, run):
        for line, (_, summary) in zip(collection.lines, run.summary.iterrows(), strict=True):
            counted = line.gt_known[line.counted]
            assert 1 - np.mean(counted == 0) == pytest.approx(summary["gt_known_loc_error"])
            assert 1 - np.mean(line.top1[line.counted] == 0) == pytest.approx(
                summary["top1_loc_error"]
            )

    def test_under_a_sweep_they_are_the_hits_at_the_best_threshold(self, of_sweep, swept):
        for line, (_, summary) in zip(of_sweep.lines, swept.summary.iterrows(), strict=True):
            assert line.threshold == summary["max_box_acc_threshold"]
            defined = line.gt_known != NOT_DEFINED
            assert set(named(line.gt_known[defined])) <= {"hit", "miss"}
            assert np.mean(line.gt_known[defined] == 0) == pytest.approx(summary["max_box_acc"])
            assert not defined[of_sweep.models[0].held_out].any()
            assert line.counted.tolist() == defined.tolist()
            assert defined.sum() == summary["n_scored"]

    def test_under_a_sweep_a_wrong_class_is_no_hit_of_the_first_prediction(self, of_sweep):
        [model] = of_sweep.models
        for line in of_sweep.lines:
            wrong = (model.label_rank != 1) & (line.gt_known != NOT_DEFINED)
            assert set(named(line.top1[wrong])) <= {"wrong_class"}
            assert (line.top1[~wrong] == line.gt_known[~wrong]).all()

    def test_under_pixels_there_are_none(self, masked):
        for line in Collection([masked.folder]).lines:
            assert set(line.gt_known) == {NOT_DEFINED} == set(line.top1)
            assert line.threshold is None


class TestLines:
    def test_their_numbers_are_those_of_analyze(self, collection, run):
        intervals = analyze([run.folder])["intervals"]
        for line in collection.lines:
            expected = intervals[intervals["method"] == line.method].set_index("number")["value"]
            values = {name: number.value() for name, number in line.numbers.numbers.items()}
            assert values == pytest.approx(expected.to_dict())

    def test_baselines_and_sanity_checks_are_told_from_methods(self, experiment):
        swapped = {"name": "grad_cam", "sanity": "class_swapped", "label": "mine"}
        methods = ["cam", "center_box", swapped, "full_image"]
        run = wsol_bench.run({**experiment, "methods": methods, "limit": 4})
        kinds = {line.method: line.kind for line in Collection([run.folder]).lines}
        assert kinds == {
            "cam": "method",
            "class_swapped(mine)": "sanity",
            "center_box": "baseline",
            "full_image": "baseline",
        }

    def test_a_run_that_does_not_say_what_is_a_baseline_tells_it_by_the_name(self, run):
        """Such a run was made before its manifest said so."""
        older = StoredRun(run.folder.path)
        identity = older.identity
        unsaid = {"sources": {"baseline": None}, "methods": {"sanity": None}}
        changes = {
            kind: {
                name: facts.model_copy(update=change)
                for name, facts in getattr(identity, kind).items()
            }
            for kind, change in unsaid.items()
        }
        identity = identity.model_copy(update=changes)
        older.manifest = older.manifest.model_copy(update={"identity": identity})
        kinds = [line.kind for line in Collection([older]).lines]
        assert kinds == ["method", "method", "baseline"]

    def test_maps_of_another_tool_are_a_method(self, experiment, run, tmp_path):
        ids = run.images["image_id"]
        (tmp_path / "boxes.csv").write_text(
            "image_id,x0,y0,x1,y1\n" + "".join(f"{name},0,0,9,9\n" for name in ids)
        )
        boxes = {"name": "boxes_from", "path": str(tmp_path / "boxes.csv")}
        given = wsol_bench.run(
            {**experiment, "methods": [boxes], "models": [], "faithfulness": None}
        )
        assert [line.kind for line in Collection([given.folder]).lines] == ["method"]

    def test_an_unfinished_run_is_refused(self, run):
        unfinished = StoredRun(run.folder.path)
        unfinished.manifest = unfinished.manifest.model_copy(update={"finished": None})
        with pytest.raises(RunError, match="is not finished"):
            Collection([unfinished])


def test_nothing_of_a_line_is_large(collection):
    """50,000 images x 30 methods must fit into memory."""
    [line, *_] = collection.lines
    arrays = [value for value in vars(line).values() if isinstance(value, np.ndarray)]
    assert sum(array.itemsize for array in arrays) <= 12
    assert dataclasses.is_dataclass(line)
    assert isinstance(line.details["by_class"], pd.DataFrame)
