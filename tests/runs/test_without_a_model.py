"""Experiments whose maps and boxes are all from elsewhere: runs like any other."""

import numpy as np
import pandas as pd
import pytest
import yaml
from annotations_only import IMAGES, image_id, without_model, write_annotations_only
from colors import color_experiment, write_colors
from timeless import assert_same_tables, timeless

import wsol_bench
from wsol_bench.errors import ConfigError, DatasetError, RunError
from wsol_bench.runs.doctor import diagnose
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.merge import merge

TABLES = ("images", "rows", "curves", "maps", "costs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The ground truth of seven images, maps of the first five, boxes of the last three."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_annotations_only(folder / "root")
    (folder / "maps").mkdir()
    random = np.random.default_rng(0)
    for number in range(1, 6):
        np.save(folder / f"maps/{image_id(number)}.npy", random.random((7, 7)))
    lines = [f"{image_id(number)},10,10,60,60" for number in (5, 6, 7)]
    (folder / "boxes.csv").write_text("\n".join(["image_id,x0,y0,x1,y1", *lines]) + "\n")
    return folder


def maps(folder, **changes):
    return {"name": "maps_from", "path": str(folder / "maps"), "label": "maps", **changes}


def boxes(folder, **changes):
    return {"name": "boxes_from", "path": str(folder / "boxes.csv"), "label": "boxes", **changes}


@pytest.fixture(scope="module", params=["gradcam-2017", "choe-2020-v2"])
def experiment(request, folder):
    """Three parts of a data set without a pixel."""
    methods = (maps(folder), boxes(folder), "center_gaussian")
    return without_model(folder / "root", *methods, protocol=request.param)


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("whole") / "run")


def assert_same(ours, theirs):
    assert_same_tables(ours, theirs, (*TABLES, "summary"))


class TestRun:
    def test_has_a_row_an_image_and_method(self, whole):
        rows = whole.rows
        assert set(rows["model"]) == {"-"}
        assert rows.groupby("method").size().to_dict() == dict.fromkeys(
            ("boxes", "center_gaussian", "maps"), len(IMAGES)
        )
        missing = rows[rows["status"] == "missing"].groupby("method")["image_id"].apply(list)
        assert missing.to_dict() == {
            "maps": [image_id(n) for n in (6, 7)],
            "boxes": [image_id(n) for n in (1, 2, 3, 4)],
        }
        assert whole.summary["method"].tolist() == ["maps", "boxes", "center_gaussian"]
        assert whole.summary["n_missing"].tolist() == [2, 4, 0]
        assert len(whole.maps) == 0

    def test_says_what_it_was_made_from(self, whole):
        identity = whole.folder.identity
        assert list(identity.models) == ["-"]
        assert identity.models["-"].model_dump(exclude_defaults=True) == {"layers": ()}
        assert identity.methods == {}
        assert list(identity.sources) == ["maps", "boxes", "center_gaussian"]
        assert len(whole.folder.parts()) == 3

    def test_goes_on_where_it_stood(self, experiment, whole, tmp_path):
        there = wsol_bench.run(experiment, out=tmp_path / "run").folder
        (there.path / "images/000001.parquet").unlink()  # written last: the part is not done
        there.update(finished=None)
        ours = wsol_bench.run(experiment, out=tmp_path / "run")
        assert (ours.n_before, RunFolder(there.path).manifest.sessions[-1].parts) == (2, 1)
        assert_same(ours, whole)
        again = wsol_bench.run(experiment, out=tmp_path / "run")
        assert again.n_before == 3
        assert_same(again, whole)

    def test_its_shards_put_together_are_the_run(self, experiment, whole, tmp_path):
        shards = [
            wsol_bench.run(experiment, out=tmp_path / f"{i}", shard=f"{i}/2").folder for i in (1, 2)
        ]
        assert [shard.parts() for shard in shards] == [[0, 2], [1]]
        assert_same(merge(shards, tmp_path / "whole"), whole)

    @pytest.mark.parametrize("changes", [{"batch_size": 64, "part_size": 64}, {"workers": 2}])
    def test_does_not_depend_on_its_parts(self, experiment, whole, changes):
        ours = wsol_bench.run({**experiment, **changes})
        for name in ("images", "rows", "curves"):
            keys = ["image_id"] if name == "images" else ["image_id", "method"]
            here, there = (one.folder.read(name).sort_values(keys) for one in (ours, whole))
            pd.testing.assert_frame_equal(here.reset_index(drop=True), there.reset_index(drop=True))
        pd.testing.assert_frame_equal(timeless(ours.summary), timeless(whole.summary))

    def test_its_config_file_is_the_same_run(self, experiment, whole):
        content = yaml.safe_load((whole.folder.path / "config.yaml").read_text())
        assert content["models"] == []
        assert_same(wsol_bench.run(content), whole)


def test_the_first_images_alone_may_be_evaluated(folder):
    results = wsol_bench.run(without_model(folder / "root", "center_gaussian", limit=2))
    assert results.images["image_id"].tolist() == [image_id(1), image_id(2)]


class TestIdentity:
    def test_a_changed_map_is_another_run(self, folder, tmp_path):
        (tmp_path / "maps").mkdir()
        for file in (folder / "maps").iterdir():
            (tmp_path / "maps" / file.name).write_bytes(file.read_bytes())
        experiment = without_model(folder / "root", maps(tmp_path))
        wsol_bench.run(experiment, out=tmp_path / "run")
        changed = tmp_path / f"maps/{image_id(3)}.npy"
        np.save(changed, np.ones((7, 7)))
        with pytest.raises(RunError, match=r"another run(?s:.*)sources\.maps"):
            wsol_bench.run(experiment, out=tmp_path / "run")
        rows = wsol_bench.run(experiment, out=tmp_path / "run", force=True).rows
        row = rows.set_index("image_id").loc[image_id(3)]
        assert row[["x0", "y0", "x1", "y1"]].tolist() == [0, 0, 224, 224]

    def test_a_changed_file_of_boxes_is_another_run(self, folder, tmp_path):
        (tmp_path / "boxes.csv").write_bytes((folder / "boxes.csv").read_bytes())
        experiment = without_model(folder / "root", boxes(tmp_path))
        wsol_bench.run(experiment, out=tmp_path / "run")
        text = (tmp_path / "boxes.csv").read_text()
        (tmp_path / "boxes.csv").write_text(text.replace("60,60", "60,61"))
        with pytest.raises(RunError, match=r"another run(?s:.*)sources\.boxes"):
            wsol_bench.run(experiment, out=tmp_path / "run")

    def test_options_are_part_of_a_name_unless_there_is_a_label(self, folder):
        small = {"name": "center_gaussian", "size": 14}
        methods = ("center_gaussian", small, {**small, "label": "small"})
        results = wsol_bench.run(without_model(folder / "root", *methods))
        names = ["center_gaussian", "center_gaussian+size=14", "small"]
        assert results.summary["method"].tolist() == names
        assert list(results.folder.identity.sources) == names

    def test_two_of_one_name_are_refused(self, folder):
        twice = ("center_gaussian", "center_gaussian")
        alike = (maps(folder, label="same"), boxes(folder, label="same"))
        for name, methods in (("center_gaussian", twice), ("same", alike)):
            with pytest.raises(ConfigError, match=f"map method '{name}' is listed twice"):
                wsol_bench.run(without_model(folder / "root", *methods))


class TestRefused:
    def test_is_a_map_method_without_a_model(self, folder):
        experiment = without_model(folder / "root", "center_gaussian", "grad_cam")
        message = (
            r"map method 'grad_cam' needs a model; name a model under 'models' .*center_gaussian"
        )
        with pytest.raises(ConfigError, match=message):
            wsol_bench.run(experiment)
        with pytest.raises(ConfigError, match=message):
            list(diagnose(wsol_bench.load_config(experiment)))

    def test_is_a_model_on_a_data_set_without_pixels(self, folder):
        experiment = without_model(folder / "root", "center_gaussian", models=["resnet50"])
        with pytest.raises(DatasetError, match="expected image files, found none"):
            wsol_bench.run(experiment)

    def test_is_a_protocol_of_pixels_where_there_are_no_masks(self, folder, tmp_path):
        experiment = without_model(folder / "root", "center_gaussian", protocol="choe-2020-pxap")
        with pytest.raises(DatasetError, match="scores pixels, but imagenet has no masks"):
            wsol_bench.run(experiment, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_is_an_unknown_option(self, folder):
        with pytest.raises(ConfigError, match=r"methods\.center_gaussian: unknown option 'side'"):
            method = {"name": "center_gaussian", "side": 3}
            wsol_bench.run(without_model(folder / "root", method))


class TestSizes:
    def test_images_whose_size_nobody_tells_cannot_be_scored(self, tmp_path):
        root = write_annotations_only(tmp_path / "root", sizes=False)
        with pytest.raises(RunError, match=r"7 of 7 images.*neither an image file nor a table"):
            wsol_bench.run(without_model(root, "center_gaussian"))

    def test_they_are_counted_and_left_out(self, tmp_path):
        root = write_annotations_only(tmp_path / "root")
        sizes = (root / "image_sizes.csv").read_text().splitlines()
        (root / "image_sizes.csv").write_text("\n".join(sizes[:-1]) + "\n")
        results = wsol_bench.run(without_model(root, "center_gaussian", max_failed=0.2))
        images = results.images
        assert images["status"].tolist() == ["evaluated"] * 6 + ["unreadable"]
        assert images["reason"].iloc[-1] == "neither an image file nor a table tells its size"
        assert results.summary[["n_images", "n_skipped"]].to_numpy().tolist() == [[6, 1]]
        strict = without_model(root, "center_gaussian", strict=True)
        with pytest.raises(DatasetError, match=f"{image_id(7)} cannot be evaluated by -"):
            wsol_bench.run(strict)

    def test_where_there_are_image_files_their_size_counts(self, tmp_path):
        root = write_colors(tmp_path / "root")
        experiment = color_experiment(root, models=[], methods=["center_gaussian"], workers=0)
        images = wsol_bench.run(experiment).images
        sizes = images[["height", "width"]].to_numpy().tolist()
        assert sizes == [[224, 224], [448, 224], [112, 448], [224, 224]]


class TestBesideAModel:
    def test_a_baseline_has_the_rows_of_a_map_method(self, tmp_path):
        root = write_colors(tmp_path / "root")
        experiment = color_experiment(root, methods=["center_gaussian", "cam"], workers=0)
        results = wsol_bench.run(experiment)
        rows = dict(iter(results.rows.groupby("method")))
        keys = ["model", "image_id", "rank", "class", "score", "protocol_hash"]
        ours, cam = (rows[name].reset_index(drop=True) for name in ("center_gaussian", "cam"))
        pd.testing.assert_frame_equal(ours[keys], cam[keys])
        assert set(ours["layer"]) == {""}
        # One map an image: the same box for every class, which the middle of no image is.
        assert ours.groupby("image_id")[["x0", "y0", "x1", "y1"]].nunique().max(axis=None) == 1
        assert ours["x0"].notna().all()
        assert set(results.maps["method"]) == {"cam"}
        # Map methods come first, as their maps are made first.
        summary = results.summary.set_index("method")
        assert list(summary.index) == ["cam", "center_gaussian"]
        errors = ["top1_cls_error", "top5_cls_error"]
        assert summary.loc["cam", errors].equals(summary.loc["center_gaussian", errors])
        # Only the row of the label has what is measured on the label's map.
        label = results.images.set_index("image_id")["label"]
        own = ours["class"] == ours["image_id"].map(label)
        assert ours["energy"].notna().equals(own)

    def test_cam_is_what_it_is_without_the_baseline(self, tmp_path):
        root = write_colors(tmp_path / "root")
        both, alone = (
            wsol_bench.run(color_experiment(root, methods=methods, workers=0))
            for methods in (["cam", "center_gaussian"], ["cam"])
        )
        rows = both.rows[both.rows["method"] == "cam"].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, alone.rows, check_exact=True)
        pd.testing.assert_frame_equal(both.images, alone.images, check_exact=True)

    def test_its_maps_are_those_of_a_run_without_a_model(self, tmp_path):
        root = write_colors(tmp_path / "root")
        beside, alone = (
            wsol_bench.run(color_experiment(root, workers=0, protocol="choe-2020-v2", **changes))
            for changes in (
                {"methods": ["cam", "center_gaussian"]},
                {"methods": ["center_gaussian"], "models": []},
            )
        )
        columns = ["image_id", "hits"]
        curves = beside.folder.read("curves")
        ours = curves.loc[curves["method"] == "center_gaussian", columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, alone.folder.read("curves")[columns])


class TestDoctor:
    def test_says_how_many_images_have_maps_or_boxes(self, folder):
        methods = (maps(folder), boxes(folder), "center_gaussian")
        experiment = wsol_bench.load_config(without_model(folder / "root", *methods))
        lines = list(diagnose(experiment))
        assert lines[-3:] == [
            "Method maps: maps of 5 of 7 images",
            "Method boxes: boxes of 3 of 7 images",
            "Method center_gaussian: maps of 7 of 7 images",
        ]
        assert "  images with pixels: 0; without: 7" in lines

    def test_stops_where_a_run_would(self, folder, tmp_path):
        (tmp_path / "maps").mkdir()
        experiment = wsol_bench.load_config(without_model(folder / "root", maps(tmp_path)))
        with pytest.raises(ConfigError, match=r"holds no \.npy, \.npz, \.pt or image"):
            list(diagnose(experiment))
