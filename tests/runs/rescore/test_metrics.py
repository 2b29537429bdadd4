"""Stored maps measured by other metrics, and maps that are not stored."""

import numpy as np
import pytest
from colors import color_experiment, write_masks
from rescoring import assert_same, with_network_free
from user_modules import importable

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.runs.rescore import rescore

MY_METRICS = """
import numpy as np
from wsol_bench.metrics.base import metric


@metric("corner", per="map", better="lower", range=(0, 1))
def corner(view, *, side: int = 1):
    "Share of the pixels in the first corner, of those above 0, that is background."
    high = view.values[:side, :side] > 0
    return float((high & (view.pixels[:side, :side] == 0)).sum() / max(1, (view.values > 0).sum()))


@metric("label_first", per="image", better="higher", range=(0, 1), hits=True)
def label_first(images):
    "Whether the label is the first prediction."
    return images.label_rank == 1
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
        "my_metrics:label_first",
    )
    OVERRIDE = (
        "metrics=[relevance_rank_accuracy, my_metrics:corner, {name: my_metrics:corner, side: 100},"
        " my_metrics:label_first]"
    )
    COLUMNS = ("relevance_rank_accuracy", "corner", "corner+side=100")

    @pytest.mark.parametrize("protocol", [None, "zhou-2016", "choe-2020-v1", "choe-2020-v2"])
    def test_are_those_of_a_fresh_run(self, mixed, tmp_path, protocol):
        """Beside the network's maps a baseline's, and boxes, which have no map to measure."""
        experiment, source = mixed
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
        assert line["label_first"] == 1
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

    def test_are_gone_again_when_asked(self, mixed, tmp_path):
        experiment, source = mixed
        there = rescore(source.folder, overrides=[self.OVERRIDE], out=tmp_path / "out")
        back = rescore(there.folder, overrides=["metrics=null"], out=tmp_path / "back")
        assert_same(back, source)
        none = rescore(source.folder, overrides=["metrics=[]"], out=tmp_path / "none")
        assert_same(none, wsol_bench.run({**experiment, "metrics": []}))
        assert "pointing_game" not in none.summary
        assert "top1_loc_error" in none.summary  # the protocol's own

    def test_that_do_not_fit_are_errors_before_anything_is_written(self, mixed, tmp_path):
        for metrics, message in (
            ("[relevance_rank]", "unknown metric 'relevance_rank'; did you mean"),
            ("[max_top1_loc]", "max_top1_loc needs the column 'hits'"),
            ("[insertion]", "insertion needs the column 'insertion'.*faithfulness: STEPS"),
            ("[my_metrics:corner, my_metrics:corner]", "'corner' is listed twice"),
            ("[{name: my_metrics:corner, size: 2}]", "unknown option 'size'"),
        ):
            with pytest.raises(ConfigError, match=message):
                rescore(mixed[1].folder, overrides=[f"metrics={metrics}"], out=tmp_path / "out")
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
        experiment = {**with_network_free(root, tmp_path), "workers": 0}
        source = wsol_bench.run(experiment, out=tmp_path / "run")
        fresh = wsol_bench.run({**experiment, "protocol": "choe-2020-v1"}, out=tmp_path / "fresh")
        (tmp_path / "boxes.csv").unlink()
        assert_same(rescore(source.folder, "choe-2020-v1"), fresh)
