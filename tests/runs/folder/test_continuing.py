"""A run folder: what continues in it, and what a finished run does."""

import shutil

import numpy as np
import pandas as pd
import pytest
from colors import SCENES
from four_parts import TABLES, StopsAfter, assert_same, experiment, manifest, stopped_after, written
from full_disk import files_of_at_most

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.schema import Tables
from wsol_bench.runs.stored_run import StoredRun


class TestGoingOn:
    def test_evaluates_what_is_missing_and_nothing_else(self, root, sound, tmp_path):
        stopped_after(2, root, tmp_path / "run")
        before = written(tmp_path / "run")
        assert sorted(before) == [
            f"{table}/00000{n}.parquet" for table in sorted(TABLES) for n in (0, 1)
        ]
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=tmp_path / "run", engine=engine)
        assert engine.part_numbers == [2, 3]
        assert results.n_before == 2
        assert before.items() <= written(tmp_path / "run").items()
        assert_same(results, sound)

    def test_a_part_without_its_images_is_not_done(self, root, sound, tmp_path):
        """Though its other tables are there."""
        out = tmp_path / "run"
        stopped_after(1, root, out)
        other = sound.folder
        RunFolder(out).write_part(2, Tables(*(other.read_part(name, 3) for name in TABLES)))
        (out / "images/000002.parquet").unlink()
        results = wsol_bench.run(experiment(root), out=out)
        assert results.n_before == 1
        assert_same(results, sound)

    @pytest.mark.parametrize("table", ["maps", "curves", "rows"])
    def test_a_part_of_which_a_table_cannot_be_written_is_not_done(self, run, table):
        folder = RunFolder(run)
        part = Tables(*(folder.read_part(name, 0) for name in TABLES))
        cannot_be_written = pd.DataFrame({"mixed": [1, "one"]})
        folder.update(finished=None)
        with pytest.raises(RunError, match=f"table '{table}' lacks the column 'model'"):
            folder.write_part(9, part._replace(**{table: cannot_be_written}))
        assert folder.parts() == StoredRun(run).parts() == [0, 1, 2, 3]

    @pytest.mark.parametrize("table", ["maps", "curves", "rows"])
    def test_a_part_that_is_written_again_is_not_done_until_it_is(self, run, table):
        """Else a kill in between would leave new rows beside old images."""
        folder = RunFolder(run)
        part = Tables(*(folder.read_part(name, 0) for name in TABLES))
        folder.update(finished=None)
        with pytest.raises(RunError):
            folder.write_part(0, part._replace(**{table: pd.DataFrame({"mixed": [1]})}))
        assert folder.parts() == StoredRun(run).parts() == [1, 2, 3]

    def test_a_part_without_rows_has_their_columns(self, run, sound):
        """So that any reader takes the folder for one table, whichever part comes first."""
        folder = RunFolder(run)
        none = Tables(folder.read_part("images", 0), *[pd.DataFrame()] * 4)
        folder.write_part(0, none)
        for name in ("rows", "maps", "curves"):
            table = pd.read_parquet(run / name)
            assert list(table.columns) == list(sound.folder.read(name).columns)
            if name == "curves":  # a protocol of one box has none
                continue
            assert 0 < len(table) < len(sound.folder.read(name))

    @pytest.mark.parametrize(
        ("protocol", "n_bytes"),
        [
            ("choe-2020-v2", {"hits": 13}),
            ("choe-2020-pxap", {"foreground": 4004, "background": 4004}),
        ],
        ids=["sweep", "pixels"],
    )
    def test_curves_come_back_as_they_were_with_parts_that_have_none(
        self, sound, tmp_path, protocol, n_bytes
    ):
        parsed = load_protocol(protocol)
        identity = sound.folder.identity.model_copy(
            update={"protocol": parsed, "protocol_hash": parsed.hash}
        )
        rng = np.random.default_rng(0)
        names = {key: ["x", "ü/ä"] for key in ("model", "method", "layer", "image_id")}
        curves = pd.DataFrame(
            names | {key: [rng.bytes(n), b""] for key, n in n_bytes.items()}, dtype=object
        )
        path = tmp_path / "curves"
        with RunFolder.writing(path, identity, {}, sound.folder.read("classes")) as folder:
            none = Tables(sound.folder.read_part("images", 0), *[pd.DataFrame()] * 4)
            for number in (0, 2):
                folder.write_part(number, none)
            assert len(folder.read("curves")) == 0
            folder.write_part(1, none._replace(curves=curves))
            for read in (folder.read("curves"), pd.read_parquet(path / "curves")):
                assert read.to_dict(orient="list") == curves.to_dict(orient="list")
            assert list(folder.read("curves", parts=[0, 2]).columns) == list(curves.columns)
            for name in n_bytes:
                assert folder.read("curves", [name])[name].tolist() == curves[name].tolist()

    def test_each_start_is_a_session(self, root, tmp_path):
        stopped_after(1, root, tmp_path / "run")
        [first] = manifest(tmp_path / "run")["sessions"]
        assert first["ended"] is None
        assert manifest(tmp_path / "run")["finished"] is None
        wsol_bench.run(experiment(root), out=tmp_path / "run")
        unchanged, second = manifest(tmp_path / "run")["sessions"]
        assert unchanged == first
        assert second["started"] <= second["ended"] <= manifest(tmp_path / "run")["finished"]
        assert (second["parts"], second["engine"], second["device"]) == (3, "local", "cpu")

    def test_a_temporary_file_of_a_process_that_was_killed_goes(self, root, tmp_path):
        stopped_after(1, root, tmp_path / "run")
        half = tmp_path / "run/maps/.000001.parquet.4242.tmp"
        half.write_bytes(b"half a fi")
        (tmp_path / "run/.manifest.json.4242.tmp").write_bytes(b'{"conf')
        wsol_bench.run(experiment(root), out=tmp_path / "run")
        assert not list((tmp_path / "run").rglob("*.tmp"))

    def test_a_process_that_was_killed_before_it_wrote_a_manifest_left_no_run(self, root, tmp_path):
        (tmp_path / ".lock").write_text("process 4242 on a machine")
        (tmp_path / ".manifest.json.4242.tmp").write_bytes(b'{"conf')
        wsol_bench.run(experiment(root), out=tmp_path)
        assert manifest(tmp_path)["finished"]

    def test_a_temporary_file_of_a_run_below_it_stays(self, root, run):
        """It may be scored again below its own folder at this moment."""
        others = run / "rescored/zhou-2016/maps/.000000.parquet.4242.tmp"
        others.parent.mkdir(parents=True)
        others.write_bytes(b"half a fi")
        wsol_bench.run(experiment(root), out=run)
        assert others.exists()

    @pytest.mark.parametrize("table", TABLES)
    def test_a_damaged_part_is_an_error_that_names_the_file(self, run, table):
        path = run / table / "000002.parquet"
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(RunError, match=rf"{table}/000002\.parquet is damaged"):
            StoredRun(run).read(table)


class TestAFinishedRun:
    def test_is_returned_as_it_is(self, root, run, sound):
        files = {path: path.stat().st_mtime_ns for path in run.glob("[mt]*/*")}  # maps, tables
        before, state = written(run), manifest(run)
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=run, engine=engine)
        assert engine.part_numbers == []
        assert written(run) == before
        assert manifest(run) == state
        assert {path: path.stat().st_mtime_ns for path in files} == files
        assert results.n_before == 4
        assert_same(results, sound)

    def test_also_where_too_many_images_would_have_failed(self, root, run):
        """What may fail is no part of a run; it is finished."""
        wsol_bench.run(experiment(root, max_failed=0, strict=True), out=run)

    def test_is_evaluated_anew_by_force(self, root, run, sound):
        before = written(run)
        (run / "notes.txt").write_text("mine")
        (run / "images/old").mkdir()
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=run, engine=engine, force=True)
        assert engine.part_numbers == [0, 1, 2, 3]
        assert results.n_before == 0
        after = written(run)
        assert after.keys() == before.keys()
        parts = [name for name in after if name.startswith(TABLES)]
        assert all(after[name] > before[name] for name in parts)
        assert len(manifest(run)["sessions"]) == 1
        assert_same(results, sound)

    def test_is_replaced_by_force_and_nothing_of_others_is(self, root, run):
        """Two of four parts: the others must not remain of the old run."""
        foreign = [run / "notes.txt", run / "thesis/chapter.tex", run / ".hidden"]
        for path in foreign:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        (run / "figures").mkdir()
        (run / "figures/contact_sheet.png").write_bytes(b"of the old run")
        wsol_bench.run(experiment(root, limit=2), out=run, force=True)
        assert RunFolder(run).parts() == [0, 1]
        assert not (run / "figures/contact_sheet.png").exists()
        assert [path.read_text() for path in foreign] == ["mine"] * 3

    def test_whose_deletion_was_interrupted_can_be_begun_anew(self, root, run, sound, monkeypatch):
        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(experiment(root), out=run, force=True)
        monkeypatch.undo()
        results = wsol_bench.run(experiment(root), out=run, force=True)
        assert results.n_before == 0
        assert_same(results, sound)

    def test_is_replaced_by_force_also_where_a_folder_is_a_link_or_a_file(
        self, root, run, sound, tmp_path
    ):
        shutil.move(run / "maps", tmp_path / "elsewhere")
        (run / "maps").symlink_to(tmp_path / "elsewhere")
        for name in ("rows", "curves"):
            shutil.rmtree(run / name)
        (run / "rows").write_text("a file")
        (run / "curves").symlink_to(tmp_path / "nowhere")
        assert_same(wsol_bench.run(experiment(root), out=run, force=True), sound)
        assert len(list((tmp_path / "elsewhere").iterdir())) == 4

    def test_that_force_replaces_on_a_full_disk_goes_on_without_force(self, root, run, sound):
        with (
            files_of_at_most(5000),
            pytest.raises(RunError, match="again, without force=True to con"),
        ):
            wsol_bench.run(experiment(root), out=run, force=True)
        assert_same(wsol_bench.run(experiment(root), out=run), sound)

    def test_with_a_damaged_manifest_is_an_error_and_force_begins_anew(self, root, run, sound):
        (run / "manifest.json").write_text('{"config": ')
        with pytest.raises(RunError, match=r"manifest\.json cannot be read"):
            wsol_bench.run(experiment(root), out=run)
        assert_same(wsol_bench.run(experiment(root), out=run, force=True), sound)


def test_scenes_are_four_parts():
    """What the numbers above count on."""
    assert len(SCENES) == 4
