"""Folders of runs: what is said of one that holds none, and where a run may go."""

import json

import pytest

from wsol_bench.errors import RunError
from wsol_bench.runs.run_folders import FORMAT, names_in, require_place, require_run, runs_below


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Six folders of runs by their manifests, seen from the folder above ``results``."""
    for name in ("a/20260101", "a/20260102", "a/20260103", "a/20260104", "b/20260101"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "manifest.json").touch()
    (tmp_path / "results/a/20260101/rescored/zhou").mkdir(parents=True)
    (tmp_path / "results/a/20260101/rescored/zhou/manifest.json").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "my results.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_within_runs_are_not_listed(runs):
    found = [str(path.relative_to(runs)) for path in runs_below(runs)]
    assert found == [f"results/a/2026010{n}" for n in (1, 2, 3, 4)] + ["results/b/20260101"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("results/a/20260105", "it does not exist; did you mean results/a/20260104?"),
        ("resluts/b/20260101", "it does not exist; did you mean results/b/20260101?"),
        ("resluts/none", "it does not exist; did you mean results?"),
        ("results/b/x", "it does not exist; results/b holds the run results/b/20260101"),
        ("empty/x", "it does not exist; empty holds nothing"),
        ("empty", "it holds no manifest.json; it holds nothing"),
        (
            "results/a",
            "it holds 4 runs: results/a/20260101, results/a/20260102, results/a/20260103 and 1 "
            "more. Name one of them; all of them are ranked by: wsol-bench leaderboard results/a",
        ),
        (
            "results/a/20260101/rescored",
            "it holds the run results/a/20260101/rescored/zhou; name that folder",
        ),
        (
            "results/a/20260101/manifest.json",
            "it is a file; did you mean results/a/20260101, the run that it is part of?",
        ),
        (
            "my results.yaml",
            "it is a file; a run of an experiment is made by: wsol-bench run 'my results.yaml'",
        ),
    ],
)
def test_a_folder_without_a_run_says_which_one_may_be_meant(runs, path, message):
    with pytest.raises(RunError) as error:
        require_run(runs.joinpath(path).relative_to(runs))
    assert str(error.value).startswith(f"{path} is no run folder: {message}")


def manifest(path, **identity):
    """Write a manifest of an identity into a new folder."""
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"format": FORMAT, "identity": identity}))
    return path


def test_a_place_holds_the_same_experiment_but_for_its_number_of_images(tmp_path):
    run = manifest(tmp_path / "run", config={"name": "a", "limit": 3}, shard=None)
    require_place(run, {"name": "a", "limit": 5}, None)
    require_place(tmp_path / "new", {"name": "a", "limit": 5}, None)
    with pytest.raises(RunError, match=r"config\.name: a -> b"):
        require_place(run, {"name": "b", "limit": 3}, None)
    with pytest.raises(RunError, match=r"shard: None -> 1/2"):
        require_place(run, {"name": "a", "limit": 3}, "1/2")
    other = (run / "manifest.json").read_text().replace(f'"format": {FORMAT}', '"format": 2')
    (run / "manifest.json").write_text(other)
    require_place(run, {"name": "b", "limit": 3}, None)  # its reader tells of the other format


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"replaced": true}', '{"identity": 3}'])
def test_a_manifest_that_cannot_be_read_is_left_to_its_reader(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    require_place(tmp_path, {"name": "a"}, None)
    assert names_in(tmp_path) == ([], [])


def test_the_names_of_a_run_are_those_of_its_results(tmp_path):
    run = manifest(tmp_path / "run", models={"net": {}}, methods={"cam": {}}, sources={"box": {}})
    assert names_in(run) == (["net"], ["cam", "box"])
