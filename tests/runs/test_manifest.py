"""What a run's record says, and what becomes of one that another version wrote."""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from colors import color_experiment, write_colors
from forged import write_content
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.cli import main
from wsol_bench.errors import RunError
from wsol_bench.runs import environment
from wsol_bench.runs.environment import Environment
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.manifest import Manifest, read_manifest
from wsol_bench.runs.schema import Tables

# As revision de0953d wrote it, the last before the format had a number; without what is long.
OLD = {
    "config": {"name": "colors", "methods": [{"name": "cam"}], "batch_size": 3},
    "protocol": {"name": "gradcam-2017", "box": {"threshold": 0.15}, "hash": "e7c2ddb02a4b"},
    "dataset": {"name": "imagenet", "n_images": 4, "fingerprint": "efbb", "findings": {}},
    "models": {"color_net": {"weights": "6c27", "layers": ["cells"], "n_classes": 3}},
    "methods": {"cam": {"source": "9c62", "paper": "arXiv:1512.04150", "scope": "layer"}},
    "sources": {},
    "selected_on": None,
    "versions": {"wsol-bench": "0.0.9", "torch": "2.15.0"},
    "python": "3.11.7",
    "git_revision": "de0953d79160c16c8ba35c2cc24f4a598f6c4bcf",
    "n_parts": 1,
    "shard": None,
    "started": "2026-11-28T18:29:37+00:00",
    "finished": "2026-11-28T18:29:45+00:00",
    "sessions": [{"started": "2026-11-28T18:29:37+00:00", "host": "vm", "engine": "local"}],
    "failed": None,
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return color_experiment(write_colors(tmp_path_factory.mktemp("colors")), workers=0)


@pytest.fixture(scope="module")
def run(experiment):
    return wsol_bench.run(experiment)


@pytest.fixture
def old(tmp_path):
    """A folder as an older version left it."""
    folder = tmp_path / "old"
    for table in Tables._fields:
        (folder / table).mkdir(parents=True)
        (folder / table / "000000.parquet").write_bytes(b"as it was then")
    (folder / "manifest.json").write_text(json.dumps(OLD, indent=2))
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cli(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as exit:
        main()
        sys.exit(0)
    return exit.value.code or 0, *capsys.readouterr()


class TestAnOlderFolder:
    @pytest.mark.parametrize("command", ["analyze", "rescore", "export", "merge", "run"])
    def test_is_refused_by_every_command_with_its_version_and_advice(
        self, experiment, old, tmp_path, monkeypatch, capsys, command
    ):
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
        arguments = {
            "analyze": [old],
            "rescore": [old, "--protocol", "zhou-2016"],
            "export": [old, "--format", "kaggle"],
            "merge": [old, "--out", tmp_path / "merged"],
            "run": [tmp_path / "experiment.yaml", "--out", old],
        }
        before = contents(old)
        code, out, err = cli(monkeypatch, capsys, command, *arguments[command])
        assert (code, out) == (1, "")
        said = err.partition("Error: ")[2]
        assert said.startswith(f"{old} was written by wsol_bench 0.0.9 in format 1; this is ")
        assert f"wsol_bench {version('wsol-bench')}, which reads format 3" in said
        assert "Run the experiment again (--force writes in its place)" in said
        assert "pip install wsol-bench==0.0.9" in said
        assert "Traceback" not in err
        after = contents(old)
        after.pop(old / ".lock", None)
        assert after == before

    def test_is_written_in_its_place_by_force(self, experiment, run, old):
        (old / "notes.txt").write_text("mine")
        results = wsol_bench.run(experiment, out=old, force=True)
        assert results.n_before == 0
        assert read_manifest(old).format == 3
        assert (old / "notes.txt").read_text() == "mine"
        assert_same_tables(results, run, (*Tables._fields, "summary"))

    def test_of_the_same_version_is_not_told_to_install_it(self, old):
        same = {**OLD, "versions": {"wsol-bench": version("wsol-bench")}}
        (old / "manifest.json").write_text(json.dumps(same))
        with pytest.raises(RunError, match=r"in format 1; .*--force writes in its place\)$"):
            RunFolder(old)

    def test_that_says_nothing_of_its_version_is_of_another(self, old):
        (old / "manifest.json").write_text('{"config": {}}')
        with pytest.raises(RunError, match="by another version of wsol_bench in format 1;"):
            RunFolder(old)

    def test_of_a_later_format_is_refused_with_its_number(self, run, tmp_path):
        content = run.folder.manifest.model_dump(mode="json")
        later = {**content, "format": 4, "version": "9.0", "news": {}}
        (tmp_path / "manifest.json").write_text(json.dumps(later))
        with pytest.raises(RunError, match=r"by wsol_bench 9\.0 in format 4; .*install .*==9\.0"):
            RunFolder(tmp_path)


class TestTheRecord:
    def test_comes_back_from_its_file_as_it_was(self, run):
        assert read_manifest(run.folder.path) == run.folder.manifest

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"news": 1}, "news"),
            ({"started": None}, "started"),
            ({"identity": {}}, r"identity\.config"),
        ],
    )
    def test_with_a_field_that_does_not_fit_is_an_error_that_names_it(
        self, run, tmp_path, change, named
    ):
        content = run.folder.manifest.model_dump(mode="json") | change
        write_content(tmp_path, content)
        with pytest.raises(RunError, match=rf"manifest\.json cannot be read: {named}: "):
            RunFolder(tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "3", '{"format": '])
    def test_that_is_no_record_is_an_error_that_names_the_file(self, tmp_path, text):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(RunError, match=r"manifest\.json cannot be read: "):
            RunFolder(tmp_path)

    def test_holds_every_method_and_layer_of_the_summary(self, run):
        identity = run.folder.identity
        found = list(run.summary[["method", "layer"]].itertuples(index=False, name=None))
        assert list(identity.groups("color_net")) == found
        assert identity.n_methods == len(run.summary)

    def test_is_one_with_what_json_makes_of_it(self, run):
        record = run.folder.manifest
        assert Manifest.model_validate_json(record.model_dump_json()) == record
        assert record.identity.digest() == record.identity.model_copy().digest()


class TestSources:
    """The digest of the package's own files, which tells a run of changed code from one before."""

    @pytest.fixture
    def copy(self, tmp_path, monkeypatch):
        """A copy of the package, of which digests are taken."""
        package = Path(wsol_bench.__file__).parent
        ignore = shutil.ignore_patterns("__pycache__")
        copy = shutil.copytree(package, tmp_path / "repository/wsol_bench", ignore=ignore)
        monkeypatch.setattr(environment, "files", lambda name: copy)
        yield copy
        environment._package_digest.cache_clear()

    def digest(self):
        environment._package_digest.cache_clear()
        return Environment.here().sources

    def test_is_that_of_the_package_wherever_it_lies(self, run, copy):
        assert self.digest() == run.folder.identity.environment.sources

    @pytest.mark.parametrize(
        "name", ["methods/cam.py", "geometry.py", "protocols/gradcam-2017.yaml", "scoring/base.py"]
    )
    def test_changes_with_code_and_protocols(self, copy, name):
        before = self.digest()
        file = copy / name
        file.write_text(file.read_text() + "# changed\n")
        assert self.digest() != before

    def test_changes_where_a_file_is_added_or_renamed(self, copy):
        digests = [self.digest()]
        (copy / "methods/my_cam.py").write_text("")
        digests.append(self.digest())
        (copy / "methods/my_cam.py").rename(copy / "methods/your_cam.py")
        digests.append(self.digest())
        assert len(set(digests)) == 3

    def test_does_not_with_docs_a_revision_or_what_python_writes(self, copy):
        before = self.digest()
        for name in ("README.md", "docs/rows.md", ".git/HEAD", "tests/test_new.py"):
            (copy.parent / name).parent.mkdir(exist_ok=True)
            (copy.parent / name).write_text("another commit")
        (copy / "methods/__pycache__").mkdir()
        (copy / "methods/__pycache__/cam.cpython-311.pyc").write_bytes(b"compiled")
        (copy / "methods/__pycache__/cam.py").write_text("")
        assert self.digest() == before

    def test_another_one_is_another_run(self, experiment, run, copy):
        file = copy / "methods/cam.py"
        file.write_text(file.read_text() + "# changed\n")
        now = self.digest()
        before = run.folder.identity.environment.sources
        with pytest.raises(RunError, match=rf"environment\.sources: {before} -> {now}"):
            wsol_bench.run(experiment, out=run.folder.path)


def test_a_run_scored_again_is_a_run_of_its_protocol(experiment, run, tmp_path):
    """Whoever asks for the experiment of that protocol is given it; the record says what it is."""
    from wsol_bench.runs.rescore import rescore

    again = rescore(run.folder, "zhou-2016", out=tmp_path / "again")
    origin = again.folder.identity.rescored_from
    assert origin.path == str(run.folder.path.resolve())
    assert origin.started == run.folder.manifest.started
    assert origin.environment == run.folder.identity.environment
    asked = wsol_bench.run({**experiment, "protocol": "zhou-2016"}, out=tmp_path / "again")
    assert_same_tables(asked, again, ("rows", "images", "maps", "summary"))
    fresh = wsol_bench.run({**experiment, "protocol": "zhou-2016"}, out=tmp_path / "fresh")
    with pytest.raises(RunError, match=r"holds another run(.|\n)*rescored_from.*\(nothing\)|None"):
        rescore(run.folder, "zhou-2016", out=fresh.folder.path)
