"""Runs over maps that other tools made."""

import os
from pathlib import Path

import numpy as np
import pytest
from map_files import RAMP, is_ramp, save
from PIL import Image

import wsol_bench
from wsol_bench.datasets import MaskFiles
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import ConfigError, DatasetError, PredictionError, RunError
from wsol_bench.methods.imported.maps_from import maps_from
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of

SIZES = {"val/1.JPEG": (100, 200), "val/2.JPEG": (224, 224), "val/3.JPEG": (90, 50)}
TRUTH = {
    "val/1.JPEG": (50, 25, 100, 75),
    "val/2.JPEG": (0, 0, 112, 112),
    "val/3.JPEG": (0, 45, 25, 90),
}


@pytest.fixture
def table(tmp_path):
    """A data set of three images; the box of each covers whole cells of a 4 x 4 grid."""
    lines = [
        f"{name},thing,{','.join(map(str, TRUTH[name]))},{width},{height}"
        for name, (height, width) in SIZES.items()
    ]
    header = "image,label,x0,y0,x1,y1,width,height"
    (tmp_path / "boxes.csv").write_text("\n".join([header, *lines]) + "\n")
    return {"name": "table", "path": str(tmp_path / "boxes.csv"), "convention": "half_open"}


def right_map(name, cells=4):
    """A map with ones in the box; ``cells`` is its side, a multiple of four."""
    (height, width), (x0, y0, x1, y1) = SIZES[name], TRUTH[name]
    map = np.zeros((cells, cells), np.float32)
    rows = slice(round(cells * y0 / height), round(cells * y1 / height))
    map[rows, round(cells * x0 / width) : round(cells * x1 / width)] = 1
    return map


NEAREST = {"name": "gradcam-2017", "map": {"upsample": "nearest"}}


def run(folder, dataset, protocol=NEAREST, **changes):
    method = {"name": "maps_from", "path": str(folder / "maps"), "label": "imported"}
    return wsol_bench.run(
        {"name": "m", "dataset": dataset, "methods": [method], "protocol": protocol, **changes}
    )


class TestRun:
    def test_maps_of_any_size_cover_the_whole_input(self, tmp_path, table):
        for cells, name in zip((4, 28, 224), SIZES, strict=True):
            save(tmp_path, name, right_map(name, cells))
        results = run(tmp_path, table)
        rows = results.rows.set_index("image_id")
        for name, box in TRUTH.items():
            assert rows.loc[name, ["x0", "y0", "x1", "y1"]].tolist() == list(box)
        assert rows["iou"].tolist() == [1, 1, 1]
        assert rows["energy"].tolist() == [1, 1, 1]
        [line] = results.summary.to_dict(orient="records")
        assert (line["method"], line["model"], line["layer"]) == ("imported", "-", "")
        assert (line["n_images"], line["n_missing"]) == (3, 0)
        assert line["gt_known_loc_error"] == 0
        assert (line["mean_iou"], line["pointing_game"]) == (1, 1)
        # Nobody has classified.
        for error in ("top1_cls_error", "top5_loc_error", "top1_loc_error_all"):
            assert np.isnan(line[error])

    @pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float64])
    def test_the_rows_do_not_depend_on_the_number_type(self, tmp_path, table, dtype):
        for name in SIZES:
            save(tmp_path, name, right_map(name).astype(dtype)[None])
        assert run(tmp_path, table).rows["iou"].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(
        ("protocol", "status"),
        [
            (NEAREST, "box"),
            ("zhou-2016", "box"),
            ("choe-2020-v1", "swept"),
            ("choe-2020-v2", "swept"),
        ],
    )
    def test_a_missing_map_is_a_miss(self, tmp_path, table, protocol, status):
        """The folder has no map of the image, but another method covers the image."""
        for name in list(SIZES)[:2]:
            save(tmp_path, name, right_map(name, 28))
        config = {
            "name": "m", "dataset": table, "protocol": protocol,
            "methods": [{"name": "maps_from", "path": str(tmp_path / "maps"), "label": "imported"},
                        "center_gaussian"],
        }  # fmt: skip
        results = wsol_bench.run(config)
        rows = results.rows[results.rows["method"] == "imported"]
        assert rows["status"].tolist() == [status, status, "missing"]
        line = results.summary.set_index("method").loc["imported"]
        assert (line["n_images"], line["n_skipped"], line["n_missing"]) == (3, 0, 1)
        if status == "swept":
            assert line["n_scored"] == 3
            assert line["max_box_acc"] == pytest.approx(2 / 3)
        else:
            assert line["gt_known_loc_error"] == pytest.approx(1 / 3)
            assert rows["iou"].iloc[2] == 0
            assert line["mean_iou"] == pytest.approx(rows["iou"].mean())
            assert line["mean_iou"] > 0.5
            assert line["box_acc_area"] <= 2 / 3
        assert results.summary.set_index("method").loc["center_gaussian", "n_missing"] == 0

    def test_a_missing_map_ranks_all_pixels_alike(self, tmp_path):
        """Inputs of two sizes; the mask is the left half."""
        protocol = load_protocol("choe-2020-pxap", {"input": {"geometry": "shorter_side"}})
        truth, placements = [], []
        for name, (height, width) in {"a": (100, 200), "b": (300, 200)}.items():
            pixels = np.zeros((height, width), np.uint8)
            pixels[:, : width // 2] = 255
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
            mask = MaskFiles((tmp_path / f"{name}.png",), None)
            truth.append(ImageTruth("thing", np.zeros((0, 4)), mask))
            placements.append(protocol.input.place(height, width))
        maps = ImageMaps(lambda image_id: None, "")
        scoring = scoring_of(protocol, build_metrics(None, protocol, faithfulness=False))
        images = ImageBatch(("a", "b"), tuple(truth), tuple(placements))
        rows, scores = maps.score_without_model(images, scoring)
        again = maps.score(RowBatch.of_labels(images), scoring)
        assert rows.image_ids.tolist() == ["a", "b"]
        assert scores.status.tolist() == again.status.tolist() == ["missing", "missing"]
        assert scores.curve_rows.tolist() == again.curve_rows.tolist() == [0, 1]
        for index, (height, width) in enumerate([(224, 448), (336, 224)]):
            counts = [
                np.frombuffer(scored.curves[name][index], "<u4")
                for scored in (scores, again)
                for name in ("foreground", "background")
            ]
            for count in counts:
                assert count.nonzero()[0].tolist() == [0]
                assert count[0] == height * width / 2

    def test_an_image_that_no_method_covers_is_not_predicted(self, tmp_path, table):
        for name in list(SIZES)[:2]:
            save(tmp_path, name, right_map(name))
        results = run(tmp_path, table)
        images = results.images.set_index("image_id")
        assert images["status"].tolist() == ["evaluated", "evaluated", "not_predicted"]
        assert "neither a map nor a box" in images.loc["val/3.JPEG", "reason"]
        assert set(results.rows["image_id"]) == {"val/1.JPEG", "val/2.JPEG"}
        [line] = results.summary.to_dict(orient="records")
        assert (line["n_images"], line["n_skipped"], line["n_missing"]) == (2, 1, 0)
        assert line["gt_known_loc_error"] == 0

    def test_a_folder_without_a_map_of_any_image_is_an_error(self, tmp_path, table):
        save(tmp_path, "other", RAMP)
        with pytest.raises(DatasetError, match=r"no image could be evaluated \(3 not_predicted\)"):
            run(tmp_path, table)

    def test_a_map_with_nan_or_without_a_positive_value_has_no_box(self, tmp_path, table):
        broken = right_map("val/1.JPEG")
        broken[3, 3] = np.nan
        save(tmp_path, "val/1.JPEG", broken)
        save(tmp_path, "val/2.JPEG", -np.ones((4, 4)))
        save(tmp_path, "val/3.JPEG", np.full((4, 4), np.inf))
        results = run(tmp_path, table)
        assert results.rows["status"].tolist() == ["not_finite", "not_positive", "not_finite"]
        assert results.rows["iou"].tolist() == [0, 0, 0]
        [line] = results.summary.to_dict(orient="records")
        assert (line["gt_known_loc_error"], line["n_missing"]) == (1, 0)

    def test_a_bad_file_stops_the_run_with_its_name(self, tmp_path, table):
        for name in SIZES:
            save(tmp_path, name, right_map(name))
        (tmp_path / "maps/val/2.JPEG.npy").write_bytes(b"no map")
        with pytest.raises(PredictionError, match=r"val/2\.JPEG\.npy: no map can be read"):
            run(tmp_path, table)

    def test_touched_maps_are_the_same_run_and_changed_maps_another_run(self, tmp_path, table):
        def run_there():
            method = {"name": "maps_from", "path": str(tmp_path / "maps")}
            config = {"name": "m", "dataset": table, "methods": [method], "protocol": NEAREST}
            return wsol_bench.run(config, out=tmp_path / "run")

        for name in SIZES:
            save(tmp_path, name, right_map(name))
        run_there()
        for path in (tmp_path / "maps/val").iterdir():
            os.utime(path, (0, 0))
        assert run_there().rows["iou"].tolist() == [1, 1, 1]
        save(tmp_path, "val/1.JPEG", 1 - right_map("val/1.JPEG"))
        with pytest.raises(RunError, match=r"holds another run(?s:.)*sources\.maps_from"):
            run_there()


def build(**method):
    """The network-free methods of an experiment with this method alone."""
    content = {"name": "m", "dataset": "shapes", "methods": [method], "protocol": "gradcam-2017"}
    methods, network_free = build_methods(load_config(content))
    assert methods == []
    return network_free


class TestShorthand:
    def test_the_shorthand_names_the_folder(self, tmp_path, table):
        for name in SIZES:
            save(tmp_path, name, right_map(name))
        folder = f"maps_from/{tmp_path / 'maps'}"
        config = {"name": "m", "dataset": table, "methods": [folder], "protocol": NEAREST}
        rows = wsol_bench.run(config).rows
        assert rows["iou"].tolist() == [1, 1, 1]
        assert set(rows["method"]) == {folder}
        assert rows["status"].tolist() == run(tmp_path, table).rows["status"].tolist()

    def test_the_shorthand_is_relative_to_the_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "some/maps").mkdir(parents=True)
        np.save(tmp_path / "some/maps/a.npy", RAMP)
        monkeypatch.chdir(tmp_path)
        [method] = build(name="maps_from/some/maps", label="imported")
        assert method.name == "imported"
        maps = method.open(None)
        assert is_ramp(maps.map_of("a"))
        assert maps.fingerprint == maps_from.opener(None, path=Path("some/maps")).fingerprint

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"name": "maps_from/there", "path": "elsewhere"}, "unknown option 'path'"),
            ({"name": "maps_from/"}, "unknown map method 'maps_from/'"),
            ({"name": "maps_from"}, "missing option 'path'"),
        ],
    )
    def test_the_shorthand_has_no_options(self, config, message):
        with pytest.raises(ConfigError, match=message):
            build(**config)

    def test_a_missing_folder_is_an_error(self, tmp_path):
        [method] = build(name=f"maps_from/{tmp_path}/C:/nowhere")
        with pytest.raises(ConfigError, match="nowhere is no folder"):
            method.open(None)
