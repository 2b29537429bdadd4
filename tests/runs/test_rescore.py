"""Stored maps scored by another protocol are what a fresh run with that protocol gives."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from colors import SCENES, color_experiment, write_colors, write_masks
from timeless import assert_same_tables, timeless
from user_modules import importable

import wsol_bench
from wsol_bench.cli import main
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.export import export_run
from wsol_bench.report.figures import contact_sheet
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore

BOX = ["x0", "y0", "x1", "y1"]
NEAREST = {"name": "gradcam-2017", "map": {"upsample": "nearest"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_colors(tmp_path_factory.mktemp("colors"))


@pytest.fixture(scope="module")
def experiment(root):
    return color_experiment(root, workers=0, batch_size=2, part_size=2)


@pytest.fixture(scope="module")
def source(experiment, tmp_path_factory):
    """A finished run of two parts; no test writes more there than below ``rescored``."""
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("source") / "run").folder


@pytest.fixture(scope="module")
def fresh(experiment):
    return wsol_bench.run({**experiment, "protocol": "zhou-2016"})


def assert_same(ours, theirs):
    names = ["rows", "images", "curves", "summary"]
    if set(theirs.rows["status"]) != {"not_applicable"}:
        names.append("maps")
    assert_same_tables(ours, theirs, names)


def broken_colors(folder):
    """The color world with a truncated image."""
    root = write_colors(folder / "broken")
    first = min((root / "ILSVRC/Data/CLS-LOC/val").iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    return root


def with_images_lost(root, folder):
    """One image unreadable, one overflows, one of an unknown class; one method gives NaN."""
    (folder / "classes.txt").write_text("n00000001 red\nn7 never\nn00000003 blue\n")
    experiment = color_experiment(broken_colors(folder), methods=["cam", "colors:nan_cam"])
    experiment["models"][0]["name"] = "colors:net_without_blue"
    experiment["models"][0]["classes"] = str(folder / "classes.txt")
    return experiment


def without_cam(root, folder):
    """The network has no head that CAM could read."""
    experiment = color_experiment(root)
    del experiment["models"][0]["head"]
    return experiment


def without_any_map(root, folder):
    return {**without_cam(root, folder), "methods": ["cam"]}


def of_two_models(root, folder):
    experiment = color_experiment(root)
    second = {**experiment["models"][0], "label": "again"}
    return {**experiment, "models": [*experiment["models"], second]}


def that_keeps_aspect_ratios(root, folder):
    """Inputs of three sizes, maps of three sizes, and an image whose shape is refused."""
    scenes = (*SCENES, ((1, 3000), 0, [(0, 0, 3000, 1)]))
    return color_experiment(
        write_colors(folder / "thin", scenes=scenes),
        protocol={**NEAREST, "input": {"geometry": "shorter_side"}},
    )


def that_crops(root, folder):
    crop = {"geometry": "center_crop", "resize_to": 256}
    return color_experiment(root, protocol={**NEAREST, "input": crop})


def on_shapes(root, folder):
    return {
        "name": "shapes", "dataset": "shapes", "models": ["shapes_net"], "limit": 40,
        "methods": ["cam", "grad_cam"], "protocol": "gradcam-2017",
    }  # fmt: skip


def with_sources(root, folder):
    """Maps of a network, a baseline, and boxes of a file that knows three images of four."""
    lines = [f"ILSVRC2012_val_{n:08d},n0000000{n} 64 32 150 120" for n in (1, 2, 3)]
    (folder / "boxes.csv").write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    boxes = {"name": "boxes_from", "path": str(folder / "boxes.csv"), "label": "boxes"}
    return color_experiment(root, methods=["cam", "center_gaussian", boxes])


WORLDS = [
    color_experiment, of_two_models, with_images_lost, without_cam, without_any_map,
    that_keeps_aspect_ratios, that_crops, on_shapes, with_sources,
]  # fmt: skip


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: world.__name__)
def world(request, root, tmp_path_factory):
    """An experiment in several parts, and its run."""
    folder = tmp_path_factory.mktemp("world")
    made = request.param(root, *([] if request.param is color_experiment else [folder]))
    made = {**made, "workers": 0, "batch_size": 3, "part_size": 3, "device": "cpu"}
    return made, wsol_bench.run(made, out=folder / "run")


class TestRows:
    def test_are_those_of_a_fresh_run_with_that_protocol(self, world):
        experiment, source = world
        protocol = {"name": "zhou-2016"}
        if "input" in experiment["protocol"]:
            protocol["input"] = experiment["protocol"]["input"]
        ours = rescore(source.folder, protocol)
        assert_same(ours, wsol_bench.run({**experiment, "protocol": protocol}))
        assert ours.rows["protocol"].iloc[0].startswith("zhou-2016")
        if (source.rows["status"] == "box").any():
            assert not ours.rows[BOX].equals(source.rows[BOX])

    def test_are_those_of_a_fresh_run_with_that_override(self, world):
        experiment, source = world
        protocol = experiment["protocol"]
        protocol = {"name": protocol} if isinstance(protocol, str) else protocol
        changed = {**protocol, "box": {"threshold": 0.4}}
        ours = rescore(source.folder, overrides=["protocol.box.threshold=0.4"])
        assert_same(ours, wsol_bench.run({**experiment, "protocol": changed}))
        assert ours.rows["protocol"].iloc[0].endswith("box.threshold=0.4")

    def test_of_the_same_protocol_are_the_runs_own(self, world):
        _, source = world
        assert_same(rescore(source.folder), source)


@pytest.fixture(scope="module")
def elsewhere(root, tmp_path_factory):
    """An experiment with sources beside a network, in two parts, and its run."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "chosen.txt").write_text("ILSVRC2012_val_00000001\nILSVRC2012_val_00000002\n")
    made = {**with_sources(root, folder), "workers": 0, "part_size": 2, "batch_size": 2}
    return made, wsol_bench.run(made, out=folder / "run")


def sweep(select_on):
    return {"name": "choe-2020-v2", "box": {"threshold": {"step": 0.01, "select_on": select_on}}}


class TestSweeps:
    """From one box to all thresholds, to images that a threshold is selected on, and back."""

    @pytest.mark.parametrize(
        "kind", ["choe-2020-v1", "choe-2020-v2", "share", "file", "sweep of components"]
    )
    def test_are_those_of_a_fresh_run_and_so_is_the_way_back(self, elsewhere, tmp_path, kind):
        experiment, source = elsewhere
        protocol = {
            "share": sweep(0.5),
            # All of the first part, none of the second.
            "file": sweep(str(source.folder.path.parent / "chosen.txt")),
            "sweep of components": {"name": "zhou-2016", "box": {"threshold": {"step": 0.05}}},
        }.get(kind, {"name": kind})
        there = rescore(source.folder, protocol, out=tmp_path / "there")
        fresh = wsol_bench.run({**experiment, "protocol": protocol}, out=tmp_path / "fresh")
        assert_same(there, fresh)
        assert len(there.curves) == 4 * 3
        assert set(there.rows["status"]) == {"swept", "missing"}
        n_held_out = {"share": 1, "file": 2}.get(kind, 0)
        assert there.images["held_out"].sum() == n_held_out
        for one in (there, fresh):
            back = rescore(one.folder, experiment["protocol"], out=tmp_path / "back", force=True)
            assert_same(back, source)
            assert not back.images["held_out"].any()

    def test_of_other_held_out_images_are_those_of_a_fresh_run(self, elsewhere, tmp_path):
        experiment, source = elsewhere
        there = rescore(source.folder, sweep(0.5), out=tmp_path / "there")
        protocol = sweep(str(source.folder.path.parent / "chosen.txt"))
        ours = rescore(there.folder, protocol, out=tmp_path / "other")
        assert_same(ours, wsol_bench.run({**experiment, "protocol": protocol}))
        assert not ours.images["held_out"].equals(there.images["held_out"])
        assert ours.images["held_out"].tolist() == [True, True, False, False]

    def test_without_a_model_are_those_of_a_fresh_run(self, elsewhere, tmp_path):
        experiment = {**elsewhere[0], "models": [], "methods": elsewhere[0]["methods"][1:]}
        source = wsol_bench.run(experiment, out=tmp_path / "run")
        ours = rescore(source.folder, "choe-2020-v2")
        assert_same(ours, wsol_bench.run({**experiment, "protocol": "choe-2020-v2"}))
        assert_same(rescore(ours.folder, experiment["protocol"], out=tmp_path / "back"), source)

    def test_a_list_that_names_no_image_of_the_run_is_an_error(self, elsewhere, tmp_path):
        (tmp_path / "chosen.txt").write_text("another\n")
        with pytest.raises(ConfigError, match=r"select_on: .*picks 0 of 4 images"):
            rescore(elsewhere[1].folder, sweep(str(tmp_path / "chosen.txt")), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


MY_METRICS = """
import numpy as np
from wsol_bench.metrics.base import metric


@metric("corner", per="map", better="lower", range=(0, 1))
def corner(view, *, side: int = 1):
    "Share of the pixels in the first corner, of those above 0, that is background."
    high = view.values[:side, :side] > 0
    return float((high & (view.pixels[:side, :side] == 0)).sum() / max(1, (view.values > 0).sum()))


@metric("own_class_first", per="image", better="higher", range=(0, 1), hits=True)
def own_class_first(images):
    "Whether the own class is the first prediction."
    return images.known_rank == 1
"""


@pytest.fixture(scope="module")
def my_metrics(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_metrics.py").write_text(MY_METRICS)
    with importable(folder):
        yield


@pytest.mark.usefixtures("my_metrics")
class TestMetrics:
    """Stored maps measured by other metrics, built-in ones and one's own."""

    METRICS = (
        "relevance_rank_accuracy",
        "my_metrics:corner",
        {"name": "my_metrics:corner", "side": 100},
        "my_metrics:own_class_first",
    )
    OVERRIDE = (
        "metrics=[relevance_rank_accuracy, my_metrics:corner, {name: my_metrics:corner, side: 100},"
        " my_metrics:own_class_first]"
    )
    COLUMNS = ("relevance_rank_accuracy", "corner", "corner+side=100")

    @pytest.mark.parametrize("protocol", [None, "zhou-2016", "choe-2020-v1", "choe-2020-v2"])
    def test_are_those_of_a_fresh_run(self, elsewhere, tmp_path, protocol):
        """Beside the network's maps a baseline's, and boxes, which have no map to measure."""
        experiment, source = elsewhere
        ours = rescore(source.folder, protocol, overrides=[self.OVERRIDE], out=tmp_path / "out")
        changes = {} if protocol is None else {"protocol": protocol}
        fresh = wsol_bench.run({**experiment, **changes, "metrics": list(self.METRICS)})
        assert_same(ours, fresh)
        assert ours.folder.identity.metrics == fresh.folder.identity.metrics
        assert ours.folder.identity.config == fresh.folder.identity.config
        rows = ours.rows
        names = [name for name in rows if name not in ("pointing_game", "energy")]
        assert list(rows) == names  # those of the run are gone
        assert rows.loc[rows["method"] == "boxes", list(self.COLUMNS)].isna().all(axis=None)
        measured = rows[rows["method"] == "cam"].dropna(subset=list(self.COLUMNS))
        assert sorted(measured["image_id"]) == sorted(source.images["image_id"])
        line = ours.summary.set_index("method").loc["cam"]
        for name in self.COLUMNS:
            assert line[name] == pytest.approx(measured[name].mean(), abs=1e-12)
        assert line["own_class_first"] == 1
        assert 0 < line["relevance_rank_accuracy"] <= 1
        assert "mean_iou" not in ours.summary

    def test_of_the_color_world_are_those_by_hand(self, source):
        """A map is the object in whole cells: its highest pixels are the object's."""
        ours = rescore(source, overrides=["metrics=[relevance_rank_accuracy]"])
        assert ours.summary["relevance_rank_accuracy"].tolist() == [1, 1]

    def test_of_a_run_on_masks_are_those_of_a_fresh_run(self, root, tmp_path):
        dataset = write_masks(tmp_path / "masks")
        experiment = color_experiment(
            root, dataset=dataset, workers=0, protocol="choe-2020-pxap", part_size=3
        )
        source = wsol_bench.run(experiment, out=tmp_path / "run")
        ours = rescore(source.folder, overrides=[self.OVERRIDE], out=tmp_path / "out")
        assert_same(ours, wsol_bench.run({**experiment, "metrics": list(self.METRICS)}))
        assert ours.rows["relevance_rank_accuracy"].notna().any()

    def test_are_gone_again_when_asked(self, elsewhere, tmp_path):
        experiment, source = elsewhere
        there = rescore(source.folder, overrides=[self.OVERRIDE], out=tmp_path / "out")
        back = rescore(there.folder, overrides=["metrics=null"], out=tmp_path / "back")
        assert_same(back, source)
        none = rescore(source.folder, overrides=["metrics=[]"], out=tmp_path / "none")
        assert_same(none, wsol_bench.run({**experiment, "metrics": []}))
        assert "pointing_game" not in none.summary
        assert "top1_loc_error" in none.summary  # the protocol's own

    def test_that_do_not_fit_are_errors_before_anything_is_written(self, elsewhere, tmp_path):
        for metrics, message in (
            ("[relevance_rank]", "unknown metric 'relevance_rank'; did you mean"),
            ("[max_top1_loc]", "max_top1_loc needs the column 'hits'"),
            ("[insertion]", "insertion needs the column 'insertion'.*faithfulness: STEPS"),
            ("[my_metrics:corner, my_metrics:corner]", "'corner' is listed twice"),
            ("[{name: my_metrics:corner, size: 2}]", "unknown option 'size'"),
        ):
            with pytest.raises(ConfigError, match=message):
                rescore(elsewhere[1].folder, overrides=[f"metrics={metrics}"], out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestMapsThatAreNotStored:
    @pytest.fixture
    def with_maps(self, root, tmp_path):
        (tmp_path / "maps").mkdir()
        for number in (1, 2, 3):
            ramp = np.add.outer(np.arange(7.0), number * np.arange(7.0))
            np.save(tmp_path / f"maps/ILSVRC2012_val_{number:08d}.npy", ramp)
        method = {"name": "maps_from", "path": str(tmp_path / "maps"), "label": "mine"}
        experiment = color_experiment(root, methods=["cam", method], workers=0)
        return experiment, wsol_bench.run(experiment, out=tmp_path / "run")

    def test_are_read_again(self, with_maps):
        experiment, source = with_maps
        ours = rescore(source.folder, "choe-2020-v2")
        assert_same(ours, wsol_bench.run({**experiment, "protocol": "choe-2020-v2"}))
        assert (ours.rows["status"] == "missing").any()

    def test_and_have_changed_are_refused(self, with_maps, tmp_path):
        np.save(tmp_path / "maps/ILSVRC2012_val_00000001.npy", np.ones((3, 3)))
        with pytest.raises(RunError, match="the maps of mine are not those that"):
            rescore(with_maps[1].folder, "zhou-2016", out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_boxes_need_no_file(self, root, tmp_path):
        experiment = {**with_sources(root, tmp_path), "workers": 0}
        source = wsol_bench.run(experiment, out=tmp_path / "run")
        fresh = wsol_bench.run({**experiment, "protocol": "choe-2020-v1"}, out=tmp_path / "fresh")
        (tmp_path / "boxes.csv").unlink()
        assert_same(rescore(source.folder, "choe-2020-v1"), fresh)


def test_another_least_iou_changes_the_errors_and_no_box(source, fresh):
    ours = rescore(source, {"name": "zhou-2016", "scoring": {"iou": 1.0}})
    assert ours.rows[BOX].equals(fresh.rows[BOX])
    assert (ours.summary["top1_loc_error"] > fresh.summary["top1_loc_error"]).all()


def test_a_map_loses_its_box_and_gets_it_back(source, experiment):
    """Nothing is above the maximum."""
    nothing = {"name": "zhou-2016", "box": {"threshold": 1.0, "comparison": "above"}}
    ours = rescore(source, nothing)
    assert set(ours.rows["status"]) == {"no_box"}
    assert_same(ours, wsol_bench.run({**experiment, "protocol": nothing}))
    assert_same(rescore(ours.folder, experiment["protocol"]), rescore(source))


def test_a_rescored_run_can_be_scored_again(source, fresh):
    there = rescore(source, overrides=["protocol.box.threshold=0.4"]).folder
    assert_same(rescore(there, "zhou-2016"), fresh)


class TestFolder:
    def test_lies_below_the_run_under_the_protocols_name(self, source):
        ours = rescore(source, "zhou-2016")
        assert ours.folder.path == source.path / "rescored/zhou-2016"
        name = "gradcam-2017+map.upsample=nearest,box.threshold=0.4"
        ours = rescore(source, overrides=["protocol.box.threshold=0.4"])
        assert ours.folder.path == source.path / "rescored" / name

    def test_below_the_run_is_written_anew_each_time(self, source, fresh):
        ours = rescore(source, "zhou-2016").folder.path
        (ours / "rows/000001.parquet").write_bytes(b"damaged")
        assert_same(rescore(source, "zhou-2016"), fresh)

    def test_of_another_rescored_run_is_refused_and_force_overwrites_it(
        self, source, fresh, tmp_path
    ):
        first = rescore(source, overrides=["protocol.box.threshold=0.4"], out=tmp_path / "out")
        rows = first.rows
        with pytest.raises(RunError, match=r"(?s)another run.*protocol.box.threshold: 0.4 -> 0.2"):
            rescore(source, "zhou-2016", out=tmp_path / "out")
        pd.testing.assert_frame_equal(first.rows, rows)
        assert_same(rescore(source, "zhou-2016", out=tmp_path / "out", force=True), fresh)

    def test_goes_on_where_it_stood(self, source, fresh, tmp_path):
        there = rescore(source, "zhou-2016", out=tmp_path / "out").folder
        (there.path / "images/000001.parquet").unlink()  # written last: the part is not done
        there.update(finished=None)
        written = (there.path / "rows/000000.parquet").stat().st_mtime_ns
        assert_same(rescore(source, "zhou-2016", out=tmp_path / "out"), fresh)
        assert (there.path / "rows/000000.parquet").stat().st_mtime_ns == written
        assert RunFolder(there.path).manifest.sessions[-1].parts == 1

    @pytest.mark.parametrize("force", [False, True])
    def test_with_something_else_in_it_is_never_written_to(self, source, tmp_path, force):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(RunError, match="is not empty"):
            rescore(source, "zhou-2016", out=tmp_path, force=force)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("force", [False, True])
    def test_of_the_source_itself_is_refused(self, experiment, tmp_path, force):
        run = wsol_bench.run(experiment, out=tmp_path / "run")
        rows = run.rows
        with pytest.raises(RunError):
            rescore(run.folder, "zhou-2016", out=tmp_path / "run", force=force)
        pd.testing.assert_frame_equal(run.rows, rows)

    def test_does_not_outlive_the_run_that_it_was_made_from(self, experiment, tmp_path):
        rescore(wsol_bench.run(experiment, out=tmp_path / "run").folder, "zhou-2016")
        wsol_bench.run({**experiment, "limit": 1}, out=tmp_path / "run", force=True)
        assert not (tmp_path / "run/rescored").exists()

    def test_says_what_it_was_made_from_and_by(self, source, fresh):
        identity = rescore(source, "zhou-2016").folder.identity
        assert identity.rescored_from.started == source.manifest.started
        assert identity.protocol == fresh.folder.identity.protocol
        assert identity.config == fresh.folder.identity.config
        assert identity.models == source.identity.models

    def test_is_read_by_export_and_figures_as_that_of_a_fresh_run(self, source, fresh, tmp_path):
        ours = rescore(source, "zhou-2016")
        for name, folder in (("ours", ours.folder), ("fresh", fresh.folder)):
            list(export_run(folder, tmp_path / name, format="kaggle"))
            contact_sheet(folder, tmp_path / name / "sheet.png", method="cam")
        files = sorted(path.name for path in (tmp_path / "fresh").iterdir())
        assert files == ["color_net-cam-cells.csv", "color_net-grad_cam-cells.csv", "sheet.png"]
        for name in files:
            assert (tmp_path / "ours" / name).read_bytes() == (
                tmp_path / "fresh" / name
            ).read_bytes()


class TestRefused:
    @pytest.mark.parametrize(
        ("protocol", "difference"),
        [
            ({"geometry": "shorter_side"}, "geometry: squash -> shorter_side"),
            ({"size": 112}, "size: 224 -> 112"),
            ({"geometry": "center_crop", "resize_to": 256}, "resize_to: None -> 256"),
            ({"filter": "bicubic"}, "filter: bilinear -> bicubic"),
            ({"antialias": False}, "antialias: True -> False"),
        ],
    )
    def test_is_a_protocol_with_other_pixels(self, source, protocol, difference):
        with pytest.raises(RunError, match=f"other pixels.*{difference}"):
            rescore(source, {"name": "zhou-2016", "input": protocol})

    def test_is_a_run_that_is_not_finished(self, tmp_path):
        experiment = color_experiment(broken_colors(tmp_path), workers=0, max_failed=0)
        with pytest.raises(RunError, match="could not be evaluated"):
            wsol_bench.run(experiment, out=tmp_path / "run")
        with pytest.raises(RunError, match="is not finished"):
            rescore(RunFolder(tmp_path / "run"), "zhou-2016")

    @pytest.mark.parametrize(
        "override", ["limit=2", "models.0.layer=pool", "methods=[cam]", "batch_size=7", "workers=3"]
    )
    def test_is_an_override_of_something_else(self, source, override):
        with pytest.raises(ConfigError, match=f"another protocol, not {override.split('=')[0]}"):
            rescore(source, overrides=[override])

    def test_is_a_protocol_of_pixels_where_there_are_no_masks(self, source, tmp_path):
        with pytest.raises(RunError, match=r"choe-2020-pxap scores pixels, .* have no masks"):
            rescore(source, "choe-2020-pxap", out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_is_an_unknown_protocol_and_nothing_is_written(self, source, tmp_path):
        with pytest.raises(ConfigError, match="unknown protocol 'zhou-2061'; did you mean"):
            rescore(source, "zhou-2061", out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestCommand:
    def cli(self, monkeypatch, capsys, *arguments):
        """Exit code, standard output and standard error."""
        monkeypatch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as exit:
            main()
        return exit.value.code or 0, *capsys.readouterr()

    def test_prints_json_records_and_nothing_else(self, source, fresh, monkeypatch, capsys):
        arguments = ("rescore", source.path, "--protocol", "zhou-2016", "--json")
        code, out, err = self.cli(monkeypatch, capsys, *arguments)
        assert code == 0
        records = pd.DataFrame(json.loads(out))
        pd.testing.assert_frame_equal(timeless(records), timeless(fresh.summary), check_dtype=False)
        assert str(source.path / "rescored/zhou-2016") in err

    def test_takes_overrides_and_a_folder(self, source, tmp_path, monkeypatch, capsys):
        code, out, _ = self.cli(
            monkeypatch, capsys,
            "rescore", source.path, "--out", tmp_path / "out",
            "--set", "protocol.box.threshold=0.4",
        )  # fmt: skip
        assert code == 0
        assert "gradcam-2017+map.upsample=nearest,box.threshold=0.4" in out
        assert RunFolder(tmp_path / "out").identity.protocol.box.threshold == 0.4

    def test_says_what_is_wrong(self, source, monkeypatch, capsys):
        code, out, err = self.cli(monkeypatch, capsys, "rescore", source.path, "--set", "limit=2")
        assert (code, out) == (1, "")
        assert "Error: stored maps can only be scored by another protocol" in err
