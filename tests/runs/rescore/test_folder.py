"""The folder of a run that is scored again, what is refused, and the command."""

import json
import sys

import pandas as pd
import pytest
from colors import color_experiment
from rescoring import assert_same, broken_colors
from timeless import timeless

import wsol_bench
from wsol_bench.cli import main
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.export import export_run
from wsol_bench.report.figures.files import write_figures
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore


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
        (there.path / "images/000001.parquet").unlink()
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
            write_figures([folder], tmp_path / name, formats=["png"])
        files = sorted(path.name for path in (tmp_path / "fresh").iterdir())
        csv = ["color_net-cam-cells.csv", "color_net-grad_cam-cells.csv"]
        assert files == ["bars.png", *csv, "curves.png", "images_random.png"]
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
        with pytest.raises(RunError, match=f"input differs.*{difference}"):
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
        with pytest.raises(
            ConfigError, match=rf"or for other metrics, found .*: {override.split('=')[0]}"
        ):
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
        records = pd.DataFrame(json.loads(out)).drop(columns=["run", "findings"])
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
