"""A run scored at all thresholds, with thresholds selected on images of it, and back again."""

import pytest
from rescoring import assert_same

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.runs.rescore import rescore


def sweep(select_on):
    return {"name": "choe-2020-v2", "box": {"threshold": {"step": 0.01, "select_on": select_on}}}


class TestSweeps:
    """From one box to all thresholds, to images that a threshold is selected on, and back."""

    @pytest.mark.parametrize(
        "kind", ["choe-2020-v1", "choe-2020-v2", "share", "file", "sweep of components"]
    )
    def test_are_those_of_a_fresh_run_and_so_is_the_way_back(self, mixed, tmp_path, kind):
        experiment, source = mixed
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
        assert set(there.rows["status"]) == {"swept", "zero", "missing"}
        n_held_out = {"share": 1, "file": 2}.get(kind, 0)
        assert there.images["held_out"].sum() == n_held_out
        for one in (there, fresh):
            back = rescore(one.folder, experiment["protocol"], out=tmp_path / "back", force=True)
            assert_same(back, source)
            assert not back.images["held_out"].any()

    def test_of_other_held_out_images_are_those_of_a_fresh_run(self, mixed, tmp_path):
        experiment, source = mixed
        there = rescore(source.folder, sweep(0.5), out=tmp_path / "there")
        protocol = sweep(str(source.folder.path.parent / "chosen.txt"))
        ours = rescore(there.folder, protocol, out=tmp_path / "other")
        assert_same(ours, wsol_bench.run({**experiment, "protocol": protocol}))
        assert not ours.images["held_out"].equals(there.images["held_out"])
        assert ours.images["held_out"].tolist() == [True, True, False, False]

    def test_without_a_model_are_those_of_a_fresh_run(self, mixed, tmp_path):
        experiment = {**mixed[0], "models": [], "methods": mixed[0]["methods"][1:]}
        source = wsol_bench.run(experiment, out=tmp_path / "run")
        ours = rescore(source.folder, "choe-2020-v2")
        assert_same(ours, wsol_bench.run({**experiment, "protocol": "choe-2020-v2"}))
        assert_same(rescore(ours.folder, experiment["protocol"], out=tmp_path / "back"), source)

    def test_a_list_that_names_no_image_of_the_run_is_an_error(self, mixed, tmp_path):
        (tmp_path / "chosen.txt").write_text("another\n")
        with pytest.raises(ConfigError, match=r"select_on: .*picks 0 of 4 images"):
            rescore(mixed[1].folder, sweep(str(tmp_path / "chosen.txt")), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
