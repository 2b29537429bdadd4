import json

import numpy as np
import pandas as pd
import pytest
import torch
from colors import SCENES, WNIDS, color_experiment, write_colors

import wsol_bench
from wsol_bench.errors import ConfigError, DatasetError, ModelError, RunError
from wsol_bench.geometry import from_inclusive
from wsol_bench.runs.folder import RunFolder


@pytest.fixture(scope="module")
def results(root, tmp_path_factory):
    return wsol_bench.run(color_experiment(root), out=tmp_path_factory.mktemp("run") / "run")


def label_rows(results, method):
    """Rows of each image's label, in the order of the images."""
    rows = results.rows[results.rows["method"] == method]
    rows = rows.merge(results.images[["image_id", "label"]], on="image_id")
    return rows[rows["class"] == rows["label"]].sort_values("image_id").reset_index(drop=True)


class TestTheColorWorld:
    @pytest.mark.parametrize("method", ["cam", "grad_cam"])
    def test_the_box_of_the_own_color_is_the_rectangle(self, results, method):
        """By hand: the cells under the (largest) rectangle have the color and no other has any."""
        found = label_rows(results, method)[["x0", "y0", "x1", "y1"]].to_numpy()
        largest = [
            max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1])) for _, _, boxes in SCENES
        ]
        assert found.tolist() == [list(map(float, box)) for box in largest]

    def test_every_image_is_a_hit_and_every_error_zero(self, results):
        for line in results.summary.to_dict(orient="records"):
            assert line["n_images"] == len(SCENES)
            assert (
                line["top1_cls_error"] == line["top1_loc_error"] == line["gt_known_loc_error"] == 0
            )

    def test_other_colors_have_no_box(self, results):
        other = results.rows[results.rows["iou"] == 0]
        assert set(other["status"]) == {"zero"}
        assert len(other) == 2 * 2 * len(SCENES)

    def test_the_score_is_the_softmax_of_the_color_areas(self, results):
        (height, width), label, boxes = SCENES[1]
        share = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (height * width)
        expected = np.exp(share) / (np.exp(share) + 2)
        row = label_rows(results, "cam").iloc[1]
        assert row["class"] == WNIDS[label]
        assert row["score"] == pytest.approx(expected, rel=1e-6)

    def test_the_stored_map_is_the_cell_average_over_its_maximum(self, results):
        line = results.maps[results.maps["method"] == "cam"].iloc[0]
        stored = np.frombuffer(line["map"], np.float16).reshape(line["height"], line["width"])
        expected = np.zeros((7, 7))
        expected[1:4, 2:5] = 1
        assert np.array_equal(stored, expected)
        assert line["scale"] == 1


class TestInvariance:
    @pytest.mark.parametrize("changes", [{"batch_size": 1}, {"batch_size": 4, "workers": 1}])
    def test_batches_and_workers_decide_nothing(self, root, results, changes):
        again = wsol_bench.run(color_experiment(root, **changes))
        pd.testing.assert_frame_equal(
            again.rows.sort_values(["image_id", "method", "rank"], ignore_index=True),
            results.rows.sort_values(["image_id", "method", "rank"], ignore_index=True),
            rtol=1e-6,
        )

    def test_the_same_run_twice_is_the_same_bit_for_bit(self, root, results):
        again = wsol_bench.run(color_experiment(root))
        pd.testing.assert_frame_equal(again.rows, results.rows, check_exact=True)
        pd.testing.assert_frame_equal(again.maps, results.maps, check_exact=True)

    @pytest.mark.parametrize(
        "geometry", [{"geometry": "shorter_side"}, {"geometry": "center_crop", "resize_to": 224}]
    )
    def test_other_geometries_come_back_to_the_same_original_pixels(self, root, geometry):
        """The square images are the same under every geometry; the others keep their aspect ratio
        or are cut, and their boxes end where the cells and the crop end.
        """
        protocol = {"name": "gradcam-2017", "map": {"upsample": "nearest"}, "input": geometry}
        found = label_rows(wsol_bench.run(color_experiment(root, protocol=protocol)), "cam")
        boxes = found[["x0", "y0", "x1", "y1"]].to_numpy()
        assert boxes[0].tolist() == [64, 32, 160, 128]
        assert boxes[3].tolist() == [96, 96, 224, 224]
        if geometry["geometry"] == "shorter_side":  # 448 x 224 stays as it is, cells of 32
            assert boxes[1].tolist() == [0, 64, 96, 320]
        else:  # rows 112..336 are seen: of 64..320 it sees 112..320, which ends within a cell
            assert boxes[1].tolist() == [0, 112, 96, 336]


class TestFolder:
    def test_what_is_read_is_what_was_returned(self, results):
        folder = RunFolder(results.folder.path)
        for name in ("rows", "images", "maps"):
            stored = folder.read(name)
            pd.testing.assert_frame_equal(stored, getattr(results, name), check_dtype=False)

    def test_the_manifest_says_what_the_numbers_depend_on(self, results):
        manifest = results.folder.manifest
        identity = manifest.identity
        assert manifest.finished >= manifest.started
        assert identity.protocol_hash == results.rows["protocol_hash"].iloc[0]
        assert identity.models["color_net"].layers == ("cells",)
        assert torch.__version__.startswith(identity.environment.versions["torch"])
        assert identity.dataset.n_images == len(SCENES)

    def test_the_tables_stand_beside_the_rows(self, results):
        csv = pd.read_csv(results.folder.path / "tables/summary.csv")
        assert csv["top1_loc_error"].tolist() == [0, 0]
        text = (results.folder.path / "tables/summary.md").read_text()
        assert "| color_net | grad_cam | cells | 4 | 0.00/0.00 | 0.00/0.00 | 0.00 |" in text
        assert results.rows["protocol_hash"].iloc[0] in text

    def test_no_temporary_file_is_left(self, results):
        assert not list(results.folder.path.rglob("*.tmp"))

    def test_a_folder_that_is_not_empty_is_never_written_to(self, root, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(RunError, match="is not empty"):
            wsol_bench.run(color_experiment(root), out=tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_folder_without_a_run_is_an_error(self, tmp_path):
        with pytest.raises(RunError, match=r"no manifest\.json"):
            RunFolder(tmp_path)


class TestImagesThatCannotBeEvaluated:
    def broken(self, tmp_path):
        """The color world with a truncated image, a file that is no image and a one-pixel image."""
        scenes = (*SCENES, ((1, 1), 0, [(0, 0, 1, 1)]))
        root = write_colors(tmp_path / "broken", scenes=scenes)
        files = sorted((root / "ILSVRC/Data/CLS-LOC/val").iterdir())
        files[0].write_bytes(files[0].read_bytes()[:-40])
        files[1].write_bytes(b"")
        return root

    def test_are_counted_with_a_reason_and_lose_nothing_else(self, tmp_path):
        results = wsol_bench.run(color_experiment(self.broken(tmp_path)))
        status = results.images.set_index("image_id")["status"].to_dict()
        reason = results.images.set_index("image_id")["reason"].to_dict()
        assert status["ILSVRC2012_val_00000001"] == "unreadable"
        assert "cannot be decoded" in reason["ILSVRC2012_val_00000001"]
        assert status["ILSVRC2012_val_00000005"] == "evaluated"  # one pixel is an image
        assert "ILSVRC2012_val_00000002" not in status  # found by the loader: not even an image
        assert results.summary["n_images"].tolist() == [3, 3]
        assert results.summary["n_skipped"].tolist() == [1, 1]
        assert results.summary["top1_loc_error"].tolist() == [0, 0]

    def test_of_classes_that_the_model_does_not_know_are_left_out_and_counted(self, root, tmp_path):
        (tmp_path / "classes.txt").write_text(f"{WNIDS[1]} green\n{WNIDS[0]} red\n")
        experiment = color_experiment(root)
        experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
        results = wsol_bench.run(experiment)
        assert results.summary["n_images"].tolist() == [3, 3]
        assert results.summary["n_skipped"].tolist() == [1, 1]
        skipped = results.images[results.images["status"] == "unknown_class"]
        assert skipped["label"].tolist() == [WNIDS[2]]
        assert WNIDS[2] in skipped["reason"].iloc[0]
        # The file's order is the network's: its first output now is called green.
        assert results.summary["top1_cls_error"].tolist() == [1, 1]

    def test_a_map_of_nan_is_a_miss_with_a_status(self, root):
        results = wsol_bench.run(color_experiment(root, methods=["cam", "colors:nan_cam"]))
        summary = results.summary.set_index("method")
        assert summary["top1_cls_error"].tolist() == [0, 0]
        assert summary["top1_loc_error"].tolist() == [0, 1]
        assert set(results.rows[results.rows["method"] == "nan_cam"]["status"]) == {"not_finite"}

    def test_logits_that_are_not_finite_credit_nobody(self, root):
        """Compared with NaN every class would be the best."""
        experiment = color_experiment(root)
        experiment["models"][0]["name"] = "colors:net_without_blue"
        results = wsol_bench.run(experiment)
        assert results.images["status"].value_counts().to_dict() == {
            "evaluated": 3, "not_finite": 1,
        }  # fmt: skip
        assert set(results.summary["n_skipped"]) == {1}
        assert len(results.rows) == 2 * 3 * 3

    def test_all_of_one_model_are_a_line_of_the_table_beside_the_others(self, root, tmp_path):
        (tmp_path / "classes.txt").write_text("n7\nn8\nn9\n")
        experiment = color_experiment(root, methods=["cam"])
        foreign = {
            **experiment["models"][0], "label": "foreign", "classes": str(tmp_path / "classes.txt"),
        }  # fmt: skip
        results = wsol_bench.run({**experiment, "models": [foreign, *experiment["models"]]})
        lines = results.summary.set_index("model")
        assert lines["status"].to_dict() == {"foreign": "no_images", "color_net": "ok"}
        assert lines.loc["foreign", ["n_images", "n_skipped"]].tolist() == [0, 4]
        assert np.isnan(lines.loc["foreign", "top1_cls_error"])

    def test_a_thin_image_is_refused_where_its_shape_would_be_kept(self, tmp_path):
        scenes = (*SCENES, ((1, 3000), 0, [(0, 0, 3000, 1)]))
        root = write_colors(tmp_path / "thin", scenes=scenes)
        kept = {"name": "gradcam-2017", "input": {"geometry": "shorter_side"}}
        images = wsol_bench.run(color_experiment(root, protocol=kept)).images
        assert images["status"].tolist() == ["evaluated"] * 4 + ["unreadable"]
        assert (
            "found 672000 x 224 (width x height) from 3000 x 1 pixels" in images["reason"].iloc[-1]
        )

    def test_none_at_all_is_an_error_that_says_why(self, root, tmp_path):
        (tmp_path / "classes.txt").write_text("n7\nn8\nn9\n")
        experiment = color_experiment(root)
        experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
        with pytest.raises(DatasetError, match=r"no image could be evaluated \(4 unknown_class\)"):
            wsol_bench.run(experiment)


class TestConfigurations:
    def test_limit_takes_the_first_images(self, root):
        results = wsol_bench.run(color_experiment(root, limit=2))
        assert results.images["image_id"].str[-1:].tolist() == ["1", "2"]

    def test_cam_without_a_suitable_head_is_a_status_and_not_a_crash(self, root):
        experiment = color_experiment(root)
        del experiment["models"][0]["head"]
        results = wsol_bench.run(experiment)
        summary = results.summary.set_index("method")
        assert summary.loc["cam", "status"] == "not_applicable"
        assert np.isnan(summary.loc["cam", "top1_loc_error"])
        assert summary.loc["grad_cam", "status"] == "ok"
        assert summary.loc["grad_cam", "top1_loc_error"] == 0

    def test_two_settings_of_a_method_are_two_methods(self, root):
        powers = [{"name": "colors:power_cam", "power": power} for power in (1, 2)]
        results = wsol_bench.run(color_experiment(root, methods=powers))
        assert results.summary["method"].tolist() == ["power_cam+power=1", "power_cam+power=2"]

    def test_one_method_under_two_paths_is_an_error(self, root):
        methods = ["cam", "wsol_bench.methods.cam:cam"]
        with pytest.raises(ConfigError, match="'cam' is listed twice"):
            wsol_bench.run(color_experiment(root, methods=methods))

    def test_an_input_that_the_network_cannot_take_is_an_error_with_its_shape(self, root):
        experiment = color_experiment(root)
        experiment["models"][0]["name"] = "colors:square_net"
        experiment["protocol"]["input"] = {"geometry": "shorter_side"}
        with pytest.raises(ModelError, match=r"fails on an input of shape .*448.*only squares"):
            wsol_bench.run(experiment)

    def test_with_a_head_of_another_shape_cam_alone_is_not_applicable(self, root):
        experiment = color_experiment(root)
        experiment["models"][0]["layer"] = "pool"
        experiment["models"][0]["name"] = "colors:two_heads"
        experiment["models"][0]["head"] = "other"
        results = wsol_bench.run(experiment)
        by_method = results.summary.set_index("method")["status"]
        assert by_method["cam"] == "not_applicable" != by_method["grad_cam"]
        reasons = results.costs.loc[results.costs["method"] == "cam", "reason"]
        assert reasons.str.contains(r"head 'other' is Idle of weights \(5, 7\).*\(3, 3\)").all()

    def test_two_models_stand_in_one_table(self, root):
        experiment = color_experiment(root)
        second = {**experiment["models"][0], "label": "again"}
        results = wsol_bench.run({**experiment, "models": [*experiment["models"], second]})
        assert results.summary["model"].tolist() == ["color_net", "color_net", "again", "again"]

    def test_a_device_that_is_not_there_is_an_error(self, root):
        with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
            wsol_bench.run(color_experiment(root, device="cuda:99"))

    def test_a_word_that_names_no_device_is_an_error(self, root):
        with pytest.raises(ConfigError, match=r"expected cpu, cuda .*, found 'gpu-of-my-dreams'"):
            wsol_bench.run(color_experiment(root, device="gpu-of-my-dreams"))

    def test_a_model_without_a_known_layer_lists_candidates(self, root):
        experiment = color_experiment(root)
        del experiment["models"][0]["layer"]
        with pytest.raises(ModelError, match=r"name one with 'layer:'.*cells \(3, 7, 7\)"):
            wsol_bench.run(experiment)

    def test_an_annotations_only_root_cannot_be_evaluated(self, root, tmp_path):
        (tmp_path / "LOC_synset_mapping.txt").write_text("n00000001 red\n")
        (tmp_path / "LOC_val_solution.csv").write_text(
            "ImageId,PredictionString\nILSVRC2012_val_00000001,n00000001 0 0 9 9\n"
        )
        with pytest.raises(DatasetError, match="no pixels"):
            wsol_bench.run(color_experiment(tmp_path))


def test_export_then_score_gives_the_runs_own_numbers(results, root, tmp_path):
    """And so does the arithmetic of the devkit on the exported numbers, written out here."""
    from wsol_bench.datasets import datasets
    from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
    from wsol_bench.report.export import export_run

    list(export_run(results.folder, tmp_path, format="kaggle"))
    dataset = datasets.get("imagenet")(root=root)
    table = read_predictions(tmp_path / "color_net-cam-cells.csv", dataset)
    line = score_predictions(table, dataset, name="x").iloc[0]
    for key in ("top1_cls_error", "top5_cls_error", "top1_loc_error", "top5_loc_error", "n_images"):
        assert line[key] == results.summary[key].iloc[0]
    first = (tmp_path / "color_net-cam-cells.csv").read_text().splitlines()[1]
    assert first.startswith("ILSVRC2012_val_00000001,n00000001 64.0 32.0 159.0 127.0 ")
    assert from_inclusive(np.array([64.0, 32.0, 159.0, 127.0])).tolist() == [64, 32, 160, 128]


def test_results_are_json_ready(results):
    from wsol_bench.report.tables import records

    text = json.dumps(records(results.summary), allow_nan=False)
    assert json.loads(text)[0]["top1_loc_error"] == 0
