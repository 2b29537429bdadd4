"""Runs without a folder of their own: below a folder, and in a temporary one."""

import shutil

import pytest
from four_parts import StopsAfter, assert_same, experiment, manifest

import wsol_bench
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.run import run_below


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


class TestRunsWithoutAFolder:
    def test_live_as_long_as_their_results(self, root):
        results = wsol_bench.run(experiment(root, limit=1))
        path = results.folder.path
        assert len(results.rows) == 2 * 3
        del results
        assert not path.exists()
