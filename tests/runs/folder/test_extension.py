"""A finished run that is extended to more images: the tables of a run that had them at once."""

import itertools
import os
import shlex
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from colors import write_colors
from four_parts import TABLES, StopsAfter, experiment, manifest
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.runs import extension
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.manifest import is_replaced
from wsol_bench.runs.merge import merge
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.run_folders import EXTENSION, begun_extension
from wsol_bench.runs.stored_run import StoredRun

N = 11


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Eleven images: of three or two an image each, four or six parts a model."""
    from colors import SCENES

    scenes = [SCENES[number % len(SCENES)] for number in range(N)]
    return write_colors(tmp_path_factory.mktemp("many"), scenes=scenes)


def of(root, limit, **changes):
    """An experiment of two models and of parts of two images."""
    plain = experiment(root, part_size=2, limit=limit, **changes)
    [model] = plain["models"]
    models = [{**model, "label": label} for label in ("first", "second")]
    return {**plain, "models": models, "methods": ["cam", "grad_cam", "center_gaussian"]}


@pytest.fixture(scope="module")
def fresh(many):
    """A run of all images at once."""
    return wsol_bench.run(of(many, None))


@pytest.fixture(scope="module")
def five(many):
    """A run of five images: two whole parts and one of a single image for each model."""
    return wsol_bench.run(of(many, 5))


@pytest.fixture
def run(five, tmp_path):
    return shutil.copytree(five.folder.path, tmp_path / "run", copy_function=shutil.copy2)


def assert_is(results, fresh):
    assert_same_tables(results, fresh, (*TABLES, "summary"))
    stored = StoredRun(results.folder.path)
    stored.require_finished()
    assert stored.identity.model_dump() == fresh.folder.identity.model_dump()
    assert not (results.folder.path / EXTENSION).exists()
    for name in stored.written_parts():
        stored.read_part("rows", name)


class TestExtending:
    def test_keeps_the_whole_parts_and_gives_the_tables_of_a_fresh_run(self, many, fresh, run):
        engine = StopsAfter()
        results = wsol_bench.run(of(many, None), out=run, engine=engine)
        # Parts 0 and 1 of each model's six are kept; part 2 had one image of its two.
        assert engine.part_numbers == [2, 3, 4, 5, 8, 9, 10, 11]
        assert results.n_before == 4
        assert results.folder.path == run
        assert_is(results, fresh)
        assert len(manifest(run)["sessions"]) == 2

    def test_step_by_step_is_the_same(self, many, fresh, run):
        for limit in (6, 9):
            assert wsol_bench.run(of(many, limit), out=run).summary["n_images"].eq(limit).all()
        assert_is(wsol_bench.run(of(many, 50), out=run), wsol_bench.run(of(many, 50)))
        assert len(StoredRun(run).read("images")) == 2 * N

    def test_a_damaged_part_is_made_anew(self, many, fresh, run):
        (run / "rows/000000.parquet").write_bytes(b"damaged")
        engine = StopsAfter()
        assert_is(wsol_bench.run(of(many, None), out=run, engine=engine), fresh)
        assert 0 in engine.part_numbers

    @pytest.mark.parametrize("select_on", [0.5, "list"])
    def test_thresholds_are_those_of_all_held_out_images(self, many, tmp_path, select_on):
        if select_on == "list":
            ids = [f"ILSVRC2012_val_{number:08d}" for number in (2, 8, 11)]
            (tmp_path / "ids.txt").write_text("\n".join(ids))
            select_on = str(tmp_path / "ids.txt")
        protocol = {"name": "choe-2020-v2", "box": {"threshold": {"select_on": select_on}}}
        wsol_bench.run({**of(many, 5), "protocol": protocol}, out=tmp_path / "run")
        longer = {**of(many, None), "protocol": protocol}
        assert_is(wsol_bench.run(longer, out=tmp_path / "run"), wsol_bench.run(longer))

    def test_what_other_commands_made_stays(self, many, fresh, run, caplog):
        rescored = rescore(StoredRun(run), "zhou-2016")
        (run / "predictions").mkdir()
        (run / "predictions/a.txt").write_text("mine")
        assert_is(wsol_bench.run(of(many, None), out=run), fresh)
        assert "predictions, rescored: made of fewer images" in caplog.text
        assert (run / "predictions/a.txt").read_text() == "mine"
        StoredRun(rescored.folder.path).require_finished()


class TestAnInterruption:
    @pytest.mark.parametrize("n", [0, 3])
    def test_leaves_the_finished_run_and_the_same_command_goes_on(self, many, fresh, five, run, n):
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(of(many, None), out=run, engine=StopsAfter(n))
        told = begun_extension(run)
        assert told.startswith(f"{run} was being extended to 11 images")
        command = shlex.split(told.partition("To go on: wsol-bench run ")[2])
        assert command == [str(run / EXTENSION / "config.yaml"), "--out", str(run)]
        old = wsol_bench.run(of(many, 5), out=run, engine=StopsAfter(0))
        assert_same_tables(old, five, (*TABLES, "summary"))
        with pytest.raises(RunError, match=r"was being extended to 11 images.*limit=11, or"):
            wsol_bench.run(of(many, 7), out=run)
        engine = StopsAfter()
        whole = wsol_bench.run(command[0], out=run, engine=engine)
        assert_is(whole, fresh)
        assert len(engine.part_numbers) == 8 - n
        assert begun_extension(run) == ""

    def test_while_files_are_moved_is_mended(
        self, many, fresh, five, run, tmp_path, monkeypatch, caplog
    ):
        """Before each step of the last move, one after the other."""
        (run / "figures").mkdir()
        with monkeypatch.context() as patched:
            patched.setattr(extension, "_take_its_place", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                wsol_bench.run(of(many, None), out=run)
        assert StoredRun(run / EXTENSION).manifest.finished is not None
        images = load_config(of(many, None)).dataset.load()
        for step in itertools.count():
            out = shutil.copytree(run, tmp_path / f"{step}", copy_function=os.link)
            if not interrupted_at(step, out, monkeypatch):
                break
            if not is_replaced(out):
                # Either the marker was not written yet, or nothing is left but to delete.
                expected = five if step <= 1 else fresh
                assert StoredRun(out).identity == expected.folder.identity
                StoredRun(out).require_finished()
                last = out
                continue
            with pytest.raises(RunError, match="run the same command again"):
                StoredRun(out)
            identity = fresh.folder.identity
            caplog.clear()
            with extension.extending(out, identity, images, RunFolder.writing, 2) as home:
                assert home == out
            assert "figures: made of fewer images" in caplog.text
            assert not (out / EXTENSION).exists()
            assert StoredRun(out).identity == identity
            StoredRun(out).require_finished()
        assert step == 23  # 9 names that are deleted and moved, and the manifest
        assert_is(wsol_bench.run(of(many, None), out=tmp_path / "5", engine=StopsAfter(0)), fresh)
        # What is left of an extension is in nobody's way.
        assert (last / EXTENSION / "manifest.json").is_file()
        assert begun_extension(last) == ""
        with extension.alone(last):
            extension._require_same_extension(
                last / EXTENSION, five.folder.identity, StoredRun(last)
            )
        assert not (last / EXTENSION).exists()

    def test_of_which_the_longer_run_is_lost_says_how_to_go_on(self, many, fresh, run, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(extension, "_take_its_place", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                wsol_bench.run(of(many, None), out=run)
        assert interrupted_at(2, run, monkeypatch)
        shutil.rmtree(run / EXTENSION)
        with pytest.raises(RunError, match=r"\.extended, which holds the rest of it, is missing.*"):
            wsol_bench.run(of(many, None), out=run)
        assert_is(wsol_bench.run(of(many, None), out=run, force=True), fresh)


def interrupted_at(step, out, monkeypatch):
    """Move an extension's files, interrupted before one of the steps; False if it has fewer."""
    left = [step]

    def counting(function):
        def counted(*arguments):
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            return function(*arguments)

        return counted

    with monkeypatch.context() as patched:
        for name in ("mark_replaced", "delete", "write_atomically"):
            patched.setattr(extension, name, counting(getattr(extension, name)))
        patched.setattr(Path, "replace", counting(lambda path, target: path.rename(target)))
        try:
            extension._take_its_place(out)
        except KeyboardInterrupt:
            return True
    return False


class TestARunThatCannotBeExtended:
    def test_to_fewer_images_stays(self, many, five, fresh, tmp_path):
        out = shutil.copytree(fresh.folder.path, tmp_path / "run")
        with pytest.raises(RunError, match=r"with 11 images, more than 5; that run stays.*out="):
            wsol_bench.run(of(many, 5), out=out)
        assert_is(wsol_bench.run(of(many, None), out=out, engine=StopsAfter(0)), fresh)

    def test_is_a_shard(self, many, tmp_path):
        for index in (1, 2):
            wsol_bench.run(of(many, 5), out=tmp_path / f"{index}", shard=f"{index}/2")
        with pytest.raises(RunError, match="shard 1/2; a shard cannot be extended"):
            wsol_bench.run(of(many, None), out=tmp_path / "1", shard="1/2")
        merged = merge([StoredRun(tmp_path / "1"), StoredRun(tmp_path / "2")], tmp_path / "all")
        with pytest.raises(RunError, match=r"(?s)another run.*shard"):
            wsol_bench.run(of(many, None), out=merged.folder.path, shard="1/2")

    def test_a_merged_run_can(self, many, fresh, tmp_path):
        shards = [tmp_path / "1", tmp_path / "2"]
        for index, out in enumerate(shards, start=1):
            wsol_bench.run(of(many, 5), out=out, shard=f"{index}/2")
        merge([StoredRun(out) for out in shards], tmp_path / "all")
        assert_is(wsol_bench.run(of(many, None), out=tmp_path / "all"), fresh)

    def test_is_a_rescored_one(self, many, run):
        rescored = rescore(StoredRun(run), "zhou-2016")
        longer = {**of(many, None), "protocol": "zhou-2016"}
        with pytest.raises(RunError, match=r"rescored from .*run; extend that run, then rescore"):
            wsol_bench.run(longer, out=rescored.folder.path)

    def test_is_one_that_is_not_finished(self, many, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(of(many, 5), out=tmp_path / "run", engine=StopsAfter(1))
        with pytest.raises(RunError, match="is not finished; finish it first, with limit=5"):
            wsol_bench.run(of(many, None), out=tmp_path / "run")

    def test_is_one_of_other_images(self, many, run, tmp_path):
        from colors import SCENES

        scenes = [SCENES[(number + 1) % len(SCENES)] for number in range(N)]
        other = write_colors(tmp_path / "other", scenes=scenes)
        shutil.rmtree(tmp_path / "kept", ignore_errors=True)
        changed = of(many, None)
        changed["dataset"] = {**changed["dataset"], "root": str(other)}
        with pytest.raises(RunError, match=r"(?s)holds another run.*dataset"):
            wsol_bench.run(changed, out=run)

    def test_is_one_of_another_threshold(self, many, run):
        changed = of(many, None)
        changed["protocol"] = {"name": "gradcam-2017", "box": {"threshold": 0.3}}
        with pytest.raises(RunError, match=r"(?s)holds another run.*threshold"):
            wsol_bench.run(changed, out=run)

    def test_is_one_that_another_process_extends(self, many, fresh, run):
        class Second(StopsAfter):
            def evaluate(self, experiment, parts, advance):
                with pytest.raises(RunError, match="is being written by"):
                    wsol_bench.run(of(many, None), out=run)
                yield from super().evaluate(experiment, parts, advance)

        assert_is(wsol_bench.run(of(many, None), out=run, engine=Second()), fresh)


def test_force_deletes_an_extension_too(many, five, run):
    with pytest.raises(KeyboardInterrupt):
        wsol_bench.run(of(many, None), out=run, engine=StopsAfter(2))
    assert (run / EXTENSION).is_dir()
    results = wsol_bench.run(of(many, 5), out=run, force=True)
    assert not (run / EXTENSION).exists()
    assert_same_tables(results, five, ("rows", "summary"))
    assert np.array_equal(results.images["image_id"], five.images["image_id"])
