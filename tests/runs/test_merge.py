"""The shards of a run, put together, are the run that was not split."""

import json
import sys

import pandas as pd
import pytest
import yaml
from colors import SCENES, WNIDS, color_experiment
from timeless import timeless

import wsol_bench
from wsol_bench.cli import main
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.export import export_run
from wsol_bench.report.tables import markdown
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.merge import merge


@pytest.fixture(scope="module")
def experiment(root):
    """Two models by four images: eight parts."""
    experiment = color_experiment(root, workers=0, batch_size=1, part_size=1)
    second = {**experiment["models"][0], "label": "again"}
    return {**experiment, "models": [*experiment["models"], second]}


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def shards(experiment, tmp_path_factory):
    """Shards of three; no test writes there."""
    return split(experiment, 3, tmp_path_factory.mktemp("shards"))


def split(experiment, n, folder):
    return [
        wsol_bench.run(experiment, out=folder / str(index), shard=f"{index}/{n}").folder
        for index in range(1, n + 1)
    ]


def assert_same(ours, theirs):
    for name in ("rows", "images", "maps", "summary"):
        pd.testing.assert_frame_equal(
            timeless(getattr(ours, name)), timeless(getattr(theirs, name)), check_exact=True
        )


def test_each_part_is_in_one_shard(shards):
    assert [shard.parts() for shard in shards] == [[0, 3, 6], [1, 4, 7], [2, 5]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shards_give_the_run_that_was_not_split(shards, whole, tmp_path, order):
    merged = merge([shards[index] for index in order], tmp_path / "merged")
    assert_same(merged, whole)
    written = (tmp_path / "merged/tables/summary.md").read_text()
    assert written.startswith(markdown(merged.summary))
    shard = (shards[0].path / "tables/summary.md").read_text()
    assert "This is shard 1/3, not the whole run: its numbers are those of 2 of 4 images." in shard


def test_an_analysis_of_a_shard_says_so(experiment, tmp_path, monkeypatch, capsys):
    folder = wsol_bench.run(experiment, out=tmp_path / "run", shard="1/2").folder.path
    _, _, err = cli(monkeypatch, capsys, "analyze", folder)
    said = (
        f"{folder}: This is shard 1/2, not the whole run: its numbers are those of 2 of 4 images."
    )
    assert said in " ".join(err.split())


def test_several_images_a_part_and_batch_lose_nothing_either(root, tmp_path):
    experiment = color_experiment(root, workers=0, batch_size=2, part_size=3)
    merged = merge(split(experiment, 2, tmp_path), tmp_path / "merged")
    assert_same(merged, wsol_bench.run(experiment))


def test_the_shards_of_different_splits_fit_where_each_part_is_there_once(
    experiment, shards, whole, tmp_path
):
    """2/2 holds the odd parts, 1/4 and 3/4 the even ones."""
    pieces = [
        wsol_bench.run(experiment, out=tmp_path / shard[0], shard=shard).folder
        for shard in ("2/2", "1/4", "3/4")
    ]
    assert_same(merge(pieces, tmp_path / "merged"), whole)


def test_the_merged_run_is_the_run_itself(experiment, shards, whole, tmp_path):
    """The same experiment finds it finished, and the official files are the same."""
    merged = merge(shards, tmp_path / "merged").folder
    again = wsol_bench.run(experiment, out=merged.path)
    assert again.n_before == 8
    assert_same(again, whole)
    for name, folder in (("ours", merged), ("theirs", whole.folder)):
        list(export_run(folder, tmp_path / name, format="kaggle"))
    files = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "ours" / name).read_text() == (tmp_path / "theirs" / name).read_text()


def test_merging_again_changes_nothing(shards, whole, tmp_path):
    merge(shards, tmp_path / "merged")
    assert_same(merge(shards, tmp_path / "merged"), whole)


def test_what_happens_to_the_merged_run_does_not_reach_the_shards(
    experiment, shards, whole, tmp_path
):
    """Parts are shared on disk: a run that begins anew there must not write through."""
    merge(shards, tmp_path / "merged")
    before = [shard.read("rows") for shard in shards]
    changed = {**experiment, "protocol": "zhou-2016"}
    anew = wsol_bench.run(changed, out=tmp_path / "merged", force=True)
    assert not anew.rows.equals(whole.rows)
    for shard, rows in zip(shards, before, strict=True):
        pd.testing.assert_frame_equal(shard.read("rows"), rows, check_exact=True)


def test_an_interrupted_shard_goes_on_as_that_shard_and_no_other(experiment, shards, tmp_path):
    class OnePart:
        """The local engine, interrupted after a part."""

        def __init__(self):
            self.local = LocalEngine()

        def facts(self, experiment):
            return self.local.facts(experiment)

        def evaluate(self, experiment, parts, advance):
            yield next(self.local.evaluate(experiment, parts, advance))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wsol_bench.run(experiment, out=tmp_path / "2", shard="2/3", engine=OnePart())
    pieces = [shards[0], RunFolder(tmp_path / "2"), shards[2]]
    with pytest.raises(RunError, match="is not finished"):
        merge(pieces, tmp_path / "merged")
    for other in ("1/3", None):
        with pytest.raises(RunError, match="another run"):
            wsol_bench.run(experiment, out=tmp_path / "2", shard=other)
    on = wsol_bench.run(experiment, out=tmp_path / "2", shard="2/3")
    assert on.n_before == 1
    pd.testing.assert_frame_equal(on.rows, shards[1].read("rows"), check_exact=True)


class TestMoreShardsThanParts:
    def test_leave_finished_runs_without_a_part(self, root, tmp_path):
        experiment = color_experiment(root, workers=0, part_size=4)
        empty = wsol_bench.run(experiment, out=tmp_path / "run", shard="2/2")
        assert empty.folder.parts() == []
        assert set(empty.summary["status"]) == {"no_images"}
        empty.folder.require_finished()

    def test_merge(self, root, tmp_path):
        experiment = color_experiment(root, workers=0, batch_size=2, part_size=2)
        pieces = split(experiment, 3, tmp_path)
        assert [len(piece.parts()) for piece in pieces] == [1, 1, 0]
        assert_same(merge(pieces[::-1], tmp_path / "merged"), wsol_bench.run(experiment))

    def test_can_be_run_by_command(self, root, tmp_path, monkeypatch, capsys):
        experiment = color_experiment(root, workers=0, part_size=4)
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
        arguments = ("run", tmp_path / "experiment.yaml", "--out", tmp_path / "run")
        code, _, _ = cli(monkeypatch, capsys, *arguments, "--shard", "2/2")
        assert code == 0


def test_a_shard_of_images_that_cannot_be_evaluated_is_a_shard_as_any_other(root, tmp_path):
    (tmp_path / "classes.txt").write_text(f"{WNIDS[0]} red\n{WNIDS[1]} green\n")
    experiment = color_experiment(root, workers=0, batch_size=1, part_size=1)
    experiment["models"][0]["classes"] = str(tmp_path / "classes.txt")
    whole = wsol_bench.run(experiment)
    assert set(whole.summary["n_skipped"]) == {1}
    assert_same(merge(split(experiment, len(SCENES), tmp_path), tmp_path / "merged"), whole)


class TestRefused:
    def test_is_a_shard_too_few(self, shards, tmp_path):
        with pytest.raises(RunError, match=r"one run of 8 parts: missing: 2/3\. Name"):
            merge([shards[0], shards[2]], tmp_path / "merged")
        assert not (tmp_path / "merged").exists()

    def test_is_a_shard_that_is_given_twice(self, shards, tmp_path):
        with pytest.raises(RunError, match=r"8 parts: 1/3 is there 2 times \(.*\)\."):
            merge([*shards, shards[0]], tmp_path / "merged")

    def test_is_a_shard_in_the_place_of_another_as_large(self, experiment, tmp_path):
        half = wsol_bench.run(experiment, out=tmp_path / "half", shard="1/2").folder
        with pytest.raises(RunError, match=r"1/2 is there 2 times .*; missing: 2/2\."):
            merge([half, half], tmp_path / "merged")

    def test_are_shards_of_different_splits_that_overlap(self, experiment, shards, tmp_path):
        half = wsol_bench.run(experiment, out=tmp_path / "half", shard="1/2").folder
        expected = r"different ways: 1/2 in .*, 2/3 in .*, 3/3 in .*; 1 parts are in none; 2 parts"
        with pytest.raises(RunError, match=expected):
            merge([half, *shards[1:]], tmp_path / "merged")

    @pytest.mark.parametrize(
        ("change", "difference"),
        [
            ({"batch_size": 2}, "config.batch_size: 1 -> 2"),
            ({"protocol": "zhou-2016"}, "protocol.box.threshold: 0.15 -> 0.2"),
            ({"methods": ["cam"]}, "config.methods.1.name: grad_cam"),
            ({"limit": 3}, "dataset.n_images: 4 -> 3"),
        ],
    )
    def test_is_a_shard_of_another_run(self, experiment, shards, tmp_path, change, difference):
        other = wsol_bench.run({**experiment, **change}, out=tmp_path / "other", shard="2/3").folder
        with pytest.raises(RunError, match=f"(?s)are not shards of one run.*{difference}"):
            merge([shards[0], other, shards[2]], tmp_path / "merged")

    def test_is_a_folder_with_something_else(self, shards, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(RunError, match="is not empty"):
            merge(shards, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("force", [False, True])
    def test_is_the_folder_of_a_shard(self, experiment, tmp_path, force):
        pieces = split(experiment, 2, tmp_path)
        rows = pieces[0].read("rows")
        with pytest.raises(RunError):
            merge(pieces, pieces[0].path, force=force)
        pd.testing.assert_frame_equal(pieces[0].read("rows"), rows)

    def test_is_nothing_at_all(self, tmp_path):
        with pytest.raises(RunError):
            merge([], tmp_path / "merged")

    @pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "", "1/0", "1/3/5", "-1/3", "1.0/3"])
    def test_is_what_is_no_shard(self, experiment, tmp_path, shard):
        with pytest.raises(ConfigError, match=r"expected i/n with i from 1 to n.*found"):
            wsol_bench.run(experiment, out=tmp_path / "run", shard=shard)
        assert not (tmp_path / "run").exists()


def cli(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code or 0, *capsys.readouterr()


def test_the_commands_run_shards_and_merge_them(experiment, whole, tmp_path, monkeypatch, capsys):
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    for shard in ("1/2", "2/2"):
        arguments = ("run", tmp_path / "experiment.yaml", "--out", tmp_path / shard[0])
        code, _, err = cli(monkeypatch, capsys, *arguments, "--shard", shard)
        assert code == 0, err
    shards = (tmp_path / "1", tmp_path / "2")
    code, out, err = cli(monkeypatch, capsys, "merge", shards[0], "--out", tmp_path / "merged")
    assert (code, out) == (1, "")
    assert "missing: 2/2" in err
    arguments = ("merge", *shards, "--out", tmp_path / "merged", "--json")
    code, out, err = cli(monkeypatch, capsys, *arguments)
    assert code == 0, err
    records = pd.DataFrame(json.loads(out)).drop(columns=["run", "findings"])
    pd.testing.assert_frame_equal(timeless(records), timeless(whole.summary), check_dtype=False)
    pd.testing.assert_frame_equal(RunFolder(tmp_path / "merged").read("rows"), whole.rows)


def test_two_shards_below_results_are_two_runs(experiment, tmp_path, monkeypatch, capsys):
    """Started in one second on two machines they must not take up each other's folder."""
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    monkeypatch.chdir(tmp_path)
    for shard in ("1/2", "2/2"):
        assert cli(monkeypatch, capsys, "run", "experiment.yaml", "--shard", shard)[0] == 0
    parts = [RunFolder(run).parts() for run in (tmp_path / "results/colors").iterdir()]
    assert sorted(parts) == [[0, 2, 4, 6], [1, 3, 5, 7]]
