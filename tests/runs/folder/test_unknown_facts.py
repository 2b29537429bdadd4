"""A fact of a run that cannot be told, such as a version, makes no other run."""

import json
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
from four_parts import assert_same, experiment, manifest, stopped_after

import wsol_bench
from wsol_bench.common import versions
from wsol_bench.common.versions import UNKNOWN, installed_version
from wsol_bench.errors import RunError
from wsol_bench.runs import code_digests, environment
from wsol_bench.runs.code_digests import builder_digest, code_digest
from wsol_bench.runs.differences import completed, differences, known_differences
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.merge import merge


@pytest.fixture
def nothing_is_known(monkeypatch):
    """No package has metadata, and no file of code can be read: neither git nor pip is at hand."""

    def missing(name):
        raise PackageNotFoundError(name)

    def unreadable(*_):
        raise OSError("no file")

    with monkeypatch.context() as patch:
        patch.setattr(versions, "version", missing)
        patch.setattr(code_digests, "inspect", SimpleNamespace(getfile=unreadable))
        patch.setattr(environment, "_package_digest", lambda: UNKNOWN)
        yield patch


def test_nothing_of_an_identity_asks_git(root, tmp_path, monkeypatch):
    """A run begun with git at hand goes on without any program at all."""
    stopped_after(2, root, tmp_path / "run")
    monkeypatch.setenv("PATH", "")
    assert wsol_bench.run(experiment(root), out=tmp_path / "run").n_before == 2


def test_a_run_goes_on_where_nothing_is_known_of_it(root, sound, tmp_path, nothing_is_known):
    stopped_after(2, root, tmp_path / "run")
    begun = manifest(tmp_path / "run")["identity"]
    assert begun["environment"]["versions"]["torch"] == UNKNOWN
    assert begun["environment"]["versions"]["wsol-bench"] == wsol_bench.__version__
    assert begun["methods"]["cam"]["source"] == UNKNOWN
    nothing_is_known.undo()  # and goes on where everything is
    results = wsol_bench.run(experiment(root), out=tmp_path / "run")
    assert results.n_before == 2
    assert_same(results, sound)
    # From then on everything is known, so that a third process cannot be of a third version.
    known = manifest(tmp_path / "run")["identity"]
    assert known == json.loads(sound.folder.identity.model_dump_json())


def test_a_known_run_goes_on_where_nothing_is_known(root, sound, tmp_path, request):
    stopped_after(2, root, tmp_path / "run")
    before = manifest(tmp_path / "run")["identity"]
    request.getfixturevalue("nothing_is_known")
    results = wsol_bench.run(experiment(root), out=tmp_path / "run")
    assert results.n_before == 2
    assert_same(results, sound)
    assert manifest(tmp_path / "run")["identity"] == before


def test_a_known_difference_is_another_run_all_the_same(run, root, nothing_is_known):
    with pytest.raises(RunError, match=r"config\.batch_size: 1 -> 2"):
        wsol_bench.run(experiment(root, batch_size=2), out=run)


def test_shards_of_which_one_knows_nothing_are_one_run(root, sound, tmp_path, request):
    folders = [tmp_path / "1", tmp_path / "2"]
    patch = request.getfixturevalue("nothing_is_known")
    wsol_bench.run(experiment(root), out=folders[0], shard="1/2")
    patch.undo()
    wsol_bench.run(experiment(root), out=folders[1], shard="2/2")
    merged = merge([RunFolder(folder) for folder in folders], tmp_path / "whole")
    assert_same(merged, sound)
    environments = (results.folder.identity.environment for results in (merged, sound))
    assert len({json.dumps(facts.model_dump()) for facts in environments}) == 1


def test_what_is_unknown_differs_from_nothing_but_a_users_word_does():
    known = {"environment": {"python": "3.11", "versions": {"torch": "2"}}, "config": {"a": "x"}}
    unknown = {"environment": {"python": UNKNOWN, "versions": {"torch": UNKNOWN}}}
    assert known_differences(known, {**known, **unknown}) == []
    assert known_differences({**known, **unknown}, known) == []
    assert len(differences(known, {**known, **unknown})) == 2
    word = {**known, "config": {"a": UNKNOWN}}
    assert known_differences(known, word) == ["config.a: x -> unknown"]
    assert completed({**known, **unknown}, known) == known
    assert completed(known, {**known, **unknown}) == known
    assert completed(word, known) == word


def test_what_cannot_be_told_is_unknown(nothing_is_known):
    assert installed_version("torch") == UNKNOWN
    assert set(Environment.here().versions.values()) == {UNKNOWN, wsol_bench.__version__}
    assert code_digest(test_what_cannot_be_told_is_unknown) == UNKNOWN
    assert builder_digest("timm/resnet18") == UNKNOWN
    assert builder_digest("resnet18") is None


def test_a_package_whose_files_cannot_be_read_has_an_unknown_digest(monkeypatch):
    def unreadable(self):
        raise PermissionError(self)

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    assert environment._package_digest.__wrapped__() == UNKNOWN


def test_the_version_is_that_of_the_project():
    project = Path(__file__).parents[3] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == wsol_bench.__version__
