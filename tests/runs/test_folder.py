"""Run folders: what may go on in one, what is refused, and what becomes of images that fail."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from colors import SCENES, color_experiment, color_net, write_colors
from timeless import assert_same_tables, timeless

import wsol_bench
from wsol_bench.errors import DatasetError, RunError
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.differences import differences
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.run import run_below
from wsol_bench.runs.schema import Tables

TABLES = Tables._fields


def experiment(root, **changes):
    """Four images, each a part."""
    return color_experiment(root, **{"part_size": 1, "batch_size": 1, "workers": 0, **changes})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_colors(tmp_path_factory.mktemp("colors"))


@pytest.fixture(scope="module")
def sound(root):
    return wsol_bench.run(experiment(root))


@pytest.fixture
def run(root, sound, tmp_path):
    """The folder of a finished run."""
    return shutil.copytree(sound.folder.path, tmp_path / "run", copy_function=shutil.copy2)


class StopsAfter(LocalEngine):
    """Ctrl-C after some parts, or never; it knows which parts it was given."""

    def __init__(self, n=None):
        self.n = n
        self.given = []

    def evaluate(self, experiment, parts, advance):
        self.given = [part.number for part in parts]
        yield from itertools.islice(super().evaluate(experiment, parts, advance), self.n)
        if self.n is not None:
            raise KeyboardInterrupt


def stopped_after(n, root, out, **changes):
    with pytest.raises(KeyboardInterrupt):
        wsol_bench.run(experiment(root, **changes), out=out, engine=StopsAfter(n))


def written(folder):
    """When each part was, by name."""
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns
        for path in folder.glob("*/*.parquet")
    }


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def assert_same(results, sound):
    assert_same_tables(results, sound, (*TABLES, "summary"))


class TestGoingOn:
    def test_evaluates_what_is_missing_and_nothing_else(self, root, sound, tmp_path):
        stopped_after(2, root, tmp_path / "run")
        before = written(tmp_path / "run")
        assert sorted(before) == [
            f"{table}/00000{n}.parquet" for table in sorted(TABLES) for n in (0, 1)
        ]
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=tmp_path / "run", engine=engine)
        assert engine.given == [2, 3]
        assert results.n_before == 2
        assert before.items() <= written(tmp_path / "run").items()
        assert_same(results, sound)

    def test_a_part_without_its_images_is_not_done(self, root, sound, tmp_path):
        """Images are written last; what a killed run wrote of the others counts for nothing."""
        out = tmp_path / "run"
        stopped_after(1, root, out)
        other = sound.folder
        RunFolder(out).write_part(2, Tables(*(other.read_part(name, 3) for name in TABLES)))
        (out / "images/000002.parquet").unlink()
        results = wsol_bench.run(experiment(root), out=out)
        assert results.n_before == 1
        assert_same(results, sound)

    @pytest.mark.parametrize("table", ["maps", "curves", "rows"])
    def test_the_images_of_a_part_are_written_last(self, run, table):
        """A part of which another table cannot be written is not done."""
        folder = RunFolder(run)
        part = Tables(*(folder.read_part(name, 0) for name in TABLES))
        cannot_be_written = pd.DataFrame({"mixed": [1, "one"]})
        with pytest.raises(RunError, match=f"table '{table}' lacks the column 'model'"):
            folder.write_part(9, part._replace(**{table: cannot_be_written}))
        assert folder.parts() == [0, 1, 2, 3]

    @pytest.mark.parametrize("table", ["maps", "curves", "rows"])
    def test_a_part_that_is_written_again_is_not_done_until_it_is(self, run, table):
        """Else a kill in between would leave new rows beside old images."""
        folder = RunFolder(run)
        part = Tables(*(folder.read_part(name, 0) for name in TABLES))
        with pytest.raises(RunError):
            folder.write_part(0, part._replace(**{table: pd.DataFrame({"mixed": [1]})}))
        assert folder.parts() == [1, 2, 3]

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
        with pytest.raises(RunError, match=rf"{table}/000002\.parquet cannot be read"):
            RunFolder(run).read(table)


class TestAFinishedRun:
    def test_is_returned_as_it_is(self, root, run, sound):
        files = {path: path.stat().st_mtime_ns for path in run.glob("[mt]*/*")}  # maps, tables
        before, state = written(run), manifest(run)
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=run, engine=engine)
        assert engine.given == []
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
        assert engine.given == [0, 1, 2, 3]
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

    def test_with_a_damaged_manifest_is_an_error_and_force_begins_anew(self, root, run, sound):
        (run / "manifest.json").write_text('{"config": ')
        with pytest.raises(RunError, match=r"manifest\.json cannot be read"):
            wsol_bench.run(experiment(root), out=run)
        assert_same(wsol_bench.run(experiment(root), out=run, force=True), sound)


class TestIdentity:
    def assert_refused(self, experiment, folder, match):
        before, state = written(folder), manifest(folder)
        with pytest.raises(RunError, match=match) as error:
            wsol_bench.run(experiment, out=folder)
        assert "holds another run" in str(error.value)
        assert "--out" in str(error.value)
        assert "--force" in str(error.value)
        assert (written(folder), manifest(folder)) == (before, state)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"batch_size": 2}, r"config\.batch_size: 1 -> 2"),
            ({"limit": 3}, r"config\.limit: None -> 3"),
            ({"part_size": 4}, r"n_parts: 4 -> 1"),
            ({"channels_last": False}, r"config\.channels_last: True -> False"),
            ({"methods": ["cam"]}, r"config\.methods\.1\.name: grad_cam -> \(nothing\)"),
            ({"protocol": "zhou-2016"}, r"config\.protocol\.name: gradcam-2017 -> zhou-2016"),
            (
                {"protocol": {"name": "gradcam-2017", "box": {"threshold": 0.2}}},
                r"config\.protocol\.box\.threshold: \(nothing\) -> 0\.2",
            ),
        ],
    )
    def test_another_experiment_is_refused_and_told_apart(self, root, run, changes, match):
        self.assert_refused(
            experiment(root, **changes), run, rf"in the folder and now:(.|\n)*{match}"
        )

    def test_other_contents_of_the_same_weights_file_are_another_run(self, root, tmp_path):
        changed = experiment(root)
        changed["models"][0]["weights"] = str(tmp_path / "weights.pth")
        net = color_net()
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        wsol_bench.run(changed, out=tmp_path / "run")
        wsol_bench.run(changed, out=tmp_path / "run")
        with torch.no_grad():
            net.fc.weight[0, 0] += 1e-6
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        match = r"models\.color_net\.weights: (\w+) -> (?!\1)\w+"
        self.assert_refused(changed, tmp_path / "run", match)

    def test_another_box_of_the_same_data_set_is_another_run(self, tmp_path):
        root = write_colors(tmp_path / "root")
        wsol_bench.run(experiment(root), out=tmp_path / "run")
        annotation = next(root.glob("ILSVRC/Annotations/CLS-LOC/val/*1.xml"))
        annotation.write_text(annotation.read_text().replace("<xmin>64<", "<xmin>65<"))
        match = r"dataset\.fingerprint: (\w+) -> (?!\1)\w+"
        self.assert_refused(experiment(root), tmp_path / "run", match)

    def test_another_shard_is_another_run(self, root, tmp_path):
        wsol_bench.run(experiment(root), out=tmp_path / "run", shard="1/2")
        assert RunFolder(tmp_path / "run").parts() == [0, 2]
        with pytest.raises(RunError, match=r"shard: 1/2 -> 2/2"):
            wsol_bench.run(experiment(root), out=tmp_path / "run", shard="2/2")
        with pytest.raises(RunError, match=r"shard: 1/2 -> None"):
            wsol_bench.run(experiment(root), out=tmp_path / "run")

    def test_workers_and_what_becomes_of_bad_images_may_change(self, root, sound, tmp_path):
        stopped_after(2, root, tmp_path / "run")
        changed = experiment(root, workers=1, strict=True, max_failed=0.5)
        results = wsol_bench.run(changed, out=tmp_path / "run")
        assert results.n_before == 2
        assert_same(results, sound)

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_of_something_else_is_refused_also_by_force(self, root, tmp_path, force):
        for name in ("images", "rows"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "holiday.jpg").write_text("precious")
        with pytest.raises(RunError, match="not empty"):
            wsol_bench.run(experiment(root), out=tmp_path, force=force)
        assert sorted(path.name for path in tmp_path.rglob("*")) == [
            "holiday.jpg", "holiday.jpg", "images", "rows",
        ]  # fmt: skip

    def test_differences_are_leaves_with_both_values(self):
        before = {"a": {"b": 1, "c": [1, 2]}, "d": {}, "e": None}
        assert differences(before, {"a": {"b": 1, "c": (1, 2)}, "d": {}, "e": None}) == []
        assert differences(before, {"a": {"b": "1", "c": [1, 3, 4]}, "d": {"x": 0}}) == [
            "a.b: 1 -> 1",
            "a.c.1: 2 -> 3",
            "d: {} -> (nothing)",
            "e: None -> (nothing)",
            "a.c.2: (nothing) -> 4",
            "d.x: (nothing) -> 0",
        ]


class TestBelowAFolder:
    """As without --out: results/<experiment>/<date and time>."""

    def moved(self, parent, name):
        """The newest run under another name, as if it had been started then."""
        newest = max(parent.iterdir(), key=lambda path: path.name)
        return newest.rename(parent / name)

    def test_the_newest_unfinished_run_goes_on_and_a_finished_one_does_not(
        self, root, sound, tmp_path
    ):
        with pytest.raises(KeyboardInterrupt):
            run_below(experiment(root), tmp_path, engine=StopsAfter(1))
        old = self.moved(tmp_path, "20200101-000000")
        newer = shutil.copytree(old, tmp_path / "20210101-000000")
        shutil.copytree(old, tmp_path / "20220101-000000")
        RunFolder(tmp_path / "20220101-000000").finish(sound.summary, {})
        (tmp_path / "20230101-000000").mkdir()
        (tmp_path / "20230101-000000/manifest.json").write_text("no JSON")

        results = run_below(experiment(root), tmp_path)
        assert results.folder.path == newer
        assert results.n_before == 1
        assert_same(results, sound)
        results = run_below(experiment(root), tmp_path)
        assert results.folder.path == old
        results = run_below(experiment(root), tmp_path)
        assert results.folder.path.name > "20230101-000000"
        assert results.n_before == 0
        assert len(list(tmp_path.iterdir())) == 5

    def test_another_run_does_not_go_on_there(self, root, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            run_below(experiment(root), tmp_path, engine=StopsAfter(1))
        old = self.moved(tmp_path, "20200101-000000")
        state = manifest(old)
        results = run_below(experiment(root, batch_size=2), tmp_path)
        assert results.folder.path != old
        assert manifest(old) == state
        shutil.rmtree(results.folder.path)  # the next may be made in the same second
        results = run_below(experiment(root), tmp_path, shard="1/2")
        assert results.folder.path != old
        assert results.folder.path.name.endswith("-shard-1-of-2")

    def test_two_runs_of_one_second_are_two_folders(self, root, tmp_path):
        """A sweep starts many at once."""
        folders = set()
        for threshold in (0.1, 0.2, 0.3):
            protocol = {"name": "gradcam-2017", "box": {"threshold": threshold}}
            results = run_below(experiment(root, protocol=protocol, limit=1), tmp_path)
            folders.add(results.folder.path)
        assert len(folders) == 3


class TestImagesThatFail:
    @pytest.fixture
    def world(self, tmp_path):
        return write_colors(tmp_path / "root")

    def file(self, world, number):
        [path] = world.glob(f"ILSVRC/Data/CLS-LOC/val/*{number}.JPEG")
        return path

    def truncate(self, world, *numbers):
        """Cut the ends off some images, which keep their headers; what they were."""
        paths = [self.file(world, number) for number in numbers]
        contents = {path: path.read_bytes() for path in paths}
        for path, content in contents.items():
            path.write_bytes(content[:-40])
        return contents

    def mend(self, contents):
        for path, content in contents.items():
            path.write_bytes(content)

    def assert_same_numbers(self, results, sound):
        """But for the files' paths: the sound run lies elsewhere."""
        for table in TABLES:
            found, expected = timeless(getattr(results, table)), timeless(getattr(sound, table))
            if table == "images":
                found, expected = found.drop(columns="path"), expected.drop(columns="path")
            pd.testing.assert_frame_equal(found, expected, check_exact=True)

    def test_are_an_error_at_the_end_where_they_are_too_many_and_nothing_is_lost(
        self, world, tmp_path
    ):
        self.truncate(world, 3)
        match = r"1 of 4 images could not be evaluated.*\(0\.2\).*ILSVRC2012_val_00000003: "
        with pytest.raises(RunError, match=match):
            wsol_bench.run(experiment(world, max_failed=0.2), out=tmp_path / "run")
        folder = RunFolder(tmp_path / "run")
        assert folder.read("images")["status"].tolist() == [
            "evaluated", "evaluated", "unreadable", "evaluated",
        ]  # fmt: skip
        assert folder.read("rows")["image_id"].nunique() == 3
        assert folder.manifest.finished is None
        assert not (tmp_path / "run/tables").exists()

    def test_as_many_as_max_failed_are_no_error(self, world, tmp_path):
        self.truncate(world, 3)
        results = wsol_bench.run(experiment(world, max_failed=0.25), out=tmp_path / "run")
        assert set(results.summary["n_skipped"]) == {1}

    def test_are_evaluated_again_when_their_files_are_mended(self, world, sound, tmp_path):
        contents = self.truncate(world, 2, 3)
        with pytest.raises(RunError, match="2 of 4 images"):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        before = written(tmp_path / "run")
        self.mend(dict([contents.popitem()]))
        with pytest.raises(RunError, match="1 of 4 images"):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        self.mend(contents)
        engine = StopsAfter()
        results = wsol_bench.run(
            experiment(world, max_failed=0), out=tmp_path / "run", engine=engine
        )
        assert engine.given == [1]
        assert results.n_before == 3
        after = written(tmp_path / "run")
        for number in (0, 3):
            assert before[f"rows/00000{number}.parquet"] == after[f"rows/00000{number}.parquet"]
        assert manifest(tmp_path / "run")["finished"]
        self.assert_same_numbers(results, sound)

    def test_are_evaluated_again_also_where_the_second_try_is_killed(self, world, sound, tmp_path):
        contents = self.truncate(world, 2, 3)
        with pytest.raises(RunError):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        self.mend(contents)
        stopped_after(1, world, tmp_path / "run", max_failed=0)
        results = wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        assert results.n_before == 3
        self.assert_same_numbers(results, sound)

    def test_may_be_allowed_afterwards(self, world, tmp_path):
        self.truncate(world, 3)
        with pytest.raises(RunError):
            wsol_bench.run(experiment(world, max_failed=0), out=tmp_path / "run")
        results = wsol_bench.run(experiment(world, max_failed=0.5), out=tmp_path / "run")
        assert set(results.summary["n_images"]) == {3}
        assert manifest(tmp_path / "run")["failed"] is None

    def test_all_of_them_are_an_error_and_can_be_mended_whatever_may_fail(
        self, world, sound, tmp_path
    ):
        contents = self.truncate(world, 1, 2, 3, 4)
        with pytest.raises(DatasetError, match=r"no image could be evaluated \(4 unreadable\)"):
            wsol_bench.run(experiment(world, max_failed=1), out=tmp_path / "run")
        self.mend(contents)
        results = wsol_bench.run(experiment(world, max_failed=1), out=tmp_path / "run")
        self.assert_same_numbers(results, sound)

    def test_stop_a_strict_run_at_once(self, world, sound, tmp_path):
        contents = self.truncate(world, 2)
        match = "ILSVRC2012_val_00000002 cannot be evaluated by color_net: .*cannot be decoded"
        with pytest.raises(DatasetError, match=match):
            wsol_bench.run(experiment(world, strict=True), out=tmp_path / "run")
        assert RunFolder(tmp_path / "run").parts() == [0]
        self.mend(contents)
        results = wsol_bench.run(experiment(world), out=tmp_path / "run")
        assert results.n_before == 1
        self.assert_same_numbers(results, sound)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_one_whose_file_goes_while_the_run_goes_on_is_unreadable(self, world, sound, workers):
        gone = self.file(world, 4)

        class Deleting(LocalEngine):
            def evaluate(self, experiment, parts, advance):
                gone.unlink()
                return super().evaluate(experiment, parts, advance)

        results = wsol_bench.run(experiment(world, workers=workers), engine=Deleting())
        assert results.images["status"].tolist() == ["evaluated"] * 3 + ["unreadable"]
        assert str(gone) in results.images["reason"].iloc[3]
        assert np.isnan(results.images["label_score"].iloc[3])
        three = sound.rows[sound.rows["image_id"].isin(results.images["image_id"][:3])]
        pd.testing.assert_frame_equal(results.rows, three, check_exact=True)


class TestRunsWithoutAFolder:
    def test_live_as_long_as_their_results(self, root):
        results = wsol_bench.run(experiment(root, limit=1))
        path = results.folder.path
        assert len(results.rows) == 2 * 3
        del results
        assert not path.exists()


def test_scenes_are_four_parts():
    """What the numbers above count on."""
    assert len(SCENES) == 4
