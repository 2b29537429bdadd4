"""Files of a run that are missing, damaged, foreign or changed never become a number."""

import ctypes
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from command_line import cli
from forged import write_content
from four_parts import TABLES, StopsAfter, assert_same, experiment, manifest, stopped_after, written
from full_disk import files_of_at_most

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.report.export import export_run
from wsol_bench.report.figures.files import write_figures
from wsol_bench.runs.checksums import CHECKSUMS, Checksums
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.merge import merge
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import StoredResults, summarize_run
from wsol_bench.runs.stored_run import StoredRun

# All that reads a finished run, and the tables that it reads.
READERS = {
    "summary": (lambda run, out: summarize_run(run), {"images", "rows", "costs"}),
    "results": (
        lambda run, out: [getattr(StoredResults(pd.DataFrame(), run), name) for name in TABLES],
        set(TABLES),
    ),
    "analyze": (lambda run, out: analyze([run]), {"images", "rows"}),
    "rescore": (lambda run, out: rescore(run, "zhou-2016", out=out), set(TABLES)),
    "export": (lambda run, out: list(export_run(run, out, format="kaggle")), {"images", "rows"}),
    "merge": (lambda run, out: merge([run], out), set(TABLES)),
    "pictures": (
        lambda run, out: write_figures([run], out, formats=["png"]),
        {"images", "rows", "maps", "costs"},
    ),
}


def flip(file, bit):
    """Flip one bit of a file, counted from its begin."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.unlink()  # another run may have a hard link to it
    file.write_bytes(content)


class TestAFinishedRun:
    @pytest.mark.parametrize("reader", READERS)
    @pytest.mark.parametrize("table", TABLES)
    def test_that_lacks_a_file_gives_no_number_and_names_it(self, run, tmp_path, reader, table):
        (run / table / "000003.parquet").unlink()
        match = rf"lacks 1 of its 4 parts, .*: {table}/000003\.parquet; copy it again .* or run"
        with pytest.raises(RunError, match=match):
            READERS[reader][0](StoredRun(run), tmp_path / "out")

    @pytest.mark.parametrize("reader", READERS)
    @pytest.mark.parametrize("table", TABLES)
    def test_with_a_damaged_file_gives_no_number_and_names_it(self, run, tmp_path, reader, table):
        file = run / table / "000001.parquet"
        flip(file, 8 * (file.stat().st_size // 2))
        read, tables = READERS[reader]
        if table in tables:
            with pytest.raises(RunError, match=rf"{table}/000001\.parquet is damaged: "):
                read(StoredRun(run), tmp_path / "out")
        else:
            read(StoredRun(run), tmp_path / "out")

    @pytest.mark.parametrize("name", [f"{table}/000002.parquet" for table in TABLES])
    @pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "damaged"])
    def test_that_is_run_again_makes_the_part_again_and_says_so(
        self, root, run, sound, caplog, name, is_missing
    ):
        file, before = run / name, written(run)
        if is_missing:
            file.unlink()
        else:
            flip(file, 100)
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=run, engine=engine)
        assert engine.part_numbers == [2]
        assert f"{run}: files of part 2 are missing or damaged; these" in caplog.text
        assert_same(results, sound)
        unchanged = {name: time for name, time in before.items() if "000002" not in name}
        assert unchanged.items() <= written(run).items()
        StoredRun(run).require_finished()
        engine = StopsAfter()
        wsol_bench.run(experiment(root), out=run, engine=engine)
        assert engine.part_numbers == []

    def test_that_is_interrupted_while_it_is_made_again_is_not_finished(self, root, run, sound):
        for number in (0, 2):
            (run / f"maps/00000{number}.parquet").unlink()
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(experiment(root), out=run, engine=StopsAfter(1))
        assert manifest(run)["finished"] is None
        with pytest.raises(RunError, match="is not finished"):
            analyze([StoredRun(run)])
        assert_same(wsol_bench.run(experiment(root), out=run), sound)

    @pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "damaged"])
    def test_has_its_configuration_again(self, root, run, sound, is_missing):
        """Nothing else reads the file, but people run it again."""
        before = (run / "config.yaml").read_bytes()
        if is_missing:
            (run / "config.yaml").unlink()
        else:
            flip(run / "config.yaml", 100)
        assert_same(wsol_bench.run(experiment(root), out=run), sound)
        assert (run / "config.yaml").read_bytes() == before

    @pytest.mark.parametrize("name", ["classes.parquet", CHECKSUMS])
    def test_that_lost_what_describes_it_has_it_again(self, root, run, sound, name):
        (run / name).unlink()
        with pytest.raises(RunError, match=name.replace(CHECKSUMS, "lacks 4 of its 4 parts")):
            list(export_run(StoredRun(run), run / "predictions", format="kaggle"))
        assert_same(wsol_bench.run(experiment(root), out=run), sound)
        assert list(export_run(StoredRun(run), run / "predictions", format="kaggle"))

    def test_of_which_half_was_copied_lacks_the_other_half(self, run):
        for table in TABLES:
            for number in (1, 2, 3):
                (run / table / f"00000{number}.parquet").unlink()
        _, err = cli("analyze", run, code=1)
        assert "lacks 3 of its 4 parts" in err
        assert "and 12 more files" in err

    def test_that_was_merged_is_merged_again(self, root, tmp_path, sound):
        shards = [
            wsol_bench.run(experiment(root), out=tmp_path / part, shard=f"{part}/2").folder
            for part in ("1", "2")
        ]
        merge(shards, tmp_path / "whole")
        file = tmp_path / "whole/rows/000001.parquet"
        flip(file, 100)
        assert_same(merge(shards, tmp_path / "whole"), sound)
        assert_same(
            StoredResults(summarize_run(shards[1]), shards[1]),
            StoredResults(summarize_run(StoredRun(tmp_path / "2")), StoredRun(tmp_path / "2")),
        )

    def test_that_was_scored_again_is_scored_again(self, run, tmp_path):
        source = StoredRun(run)
        first = rescore(source, "zhou-2016", out=tmp_path / "out")
        rows = first.rows
        flip(tmp_path / "out/rows/000003.parquet", 100)
        again = rescore(source, "zhou-2016", out=tmp_path / "out")
        pd.testing.assert_frame_equal(again.rows, rows, check_exact=True)
        assert again.folder.manifest.sessions[-1].parts == 1


class TestAnUnfinishedRun:
    @pytest.mark.parametrize("table", TABLES)
    def test_makes_a_damaged_part_again_and_says_so(self, root, tmp_path, sound, caplog, table):
        out = tmp_path / "run"
        stopped_after(3, root, out)
        flip(out / table / "000001.parquet", 100)
        engine = StopsAfter()
        results = wsol_bench.run(experiment(root), out=out, engine=engine)
        assert engine.part_numbers == [1, 3]
        assert f"{out}: files of part 1 are missing or damaged" in caplog.text
        assert results.n_before == 2
        assert_same(results, sound)

    def test_goes_on_from_a_list_that_is_torn_anywhere(self, root, tmp_path, sound):
        """As a kill leaves it in the middle of a write."""
        stopped_after(2, root, tmp_path / "run")
        lines = (tmp_path / "run" / CHECKSUMS).read_bytes()
        second = lines.index(b"000001") - 71
        for number, end in enumerate(range(second, len(lines), 97)):
            out = shutil.copytree(tmp_path / "run", tmp_path / str(number))
            (out / CHECKSUMS).write_bytes(lines[:end])
            engine = StopsAfter()
            assert_same(wsol_bench.run(experiment(root), out=out, engine=engine), sound)
            assert engine.part_numbers == [1, 2, 3]
            names = [line.split()[1] for line in (out / CHECKSUMS).read_text().splitlines()[1:]]
            assert sorted(names) == sorted(
                ["classes.parquet", "config.yaml"]
                + [f"{table}/00000{part}.parquet" for table in TABLES for part in range(4)]
            )

    def test_below_a_folder_is_not_passed_over_without_a_word(self, root, tmp_path, caplog):
        stopped_after(1, root, tmp_path / "20261129-120000")
        (tmp_path / "20261129-120000/manifest.json").write_text("{}")
        found = RunFolder.unfinished(
            tmp_path, wsol_bench.run(experiment(root), out=tmp_path / "other").folder.identity
        )
        assert found is None
        assert "20261129-120000 is passed over: " in caplog.text


class TestForeignFiles:
    def test_of_another_run_are_no_parts_of_this_one(self, root, run, sound, tmp_path):
        other = wsol_bench.run(experiment(root, protocol="zhou-2016"), out=tmp_path / "other")
        shutil.copy2(other.folder.path / "rows/000000.parquet", run / "rows/000000.parquet")
        with pytest.raises(RunError, match=r"rows/000000\.parquet is damaged"):
            analyze([StoredRun(run)])
        assert_same(wsol_bench.run(experiment(root), out=run), sound)

    def test_are_not_adopted_by_the_manifest_of_another_run(self, root, run, tmp_path):
        changed = experiment(root, protocol="zhou-2016")
        other = wsol_bench.run(changed, out=tmp_path / "other").folder.path
        shutil.copy2(other / "manifest.json", run / "manifest.json")
        match = "lists the files of another run than manifest.json describes"
        for read in (lambda: StoredRun(run), lambda: wsol_bench.run(changed, out=run)):
            with pytest.raises(RunError, match=match):
                read()

    @pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", "[" * 100_000, "\0" * 300])
    def test_are_not_adopted_where_the_manifest_is_damaged(self, root, run, text):
        before = written(run)
        (run / "manifest.json").write_text(text)
        for read in (
            lambda: StoredRun(run),
            lambda: wsol_bench.run(experiment(root), out=run),
            lambda: wsol_bench.run(experiment(root, protocol="zhou-2016"), out=run),
        ):
            with pytest.raises(RunError, match=r"manifest\.json (cannot be read|is empty)"):
                read()
        assert (written(run), (run / "manifest.json").read_text()) == (before, text)

    def test_are_not_adopted_where_there_is_no_manifest(self, root, run):
        before = written(run)
        (run / "manifest.json").unlink()
        with pytest.raises(RunError, match="is not empty and holds no run"):
            wsol_bench.run(experiment(root), out=run)
        assert written(run) == before

    def test_under_a_name_beyond_the_runs_parts_are_ignored(self, root, run, sound):
        for table in TABLES:
            shutil.copy2(run / table / "000000.parquet", run / table / "000009.parquet")
        assert StoredRun(run).parts() == [0, 1, 2, 3]
        assert_same(wsol_bench.run(experiment(root), out=run), sound)


class TestTheManifest:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"threshold": 0.15', '"threshold": 0.35'),
            ('"n_images": 4', '"n_images": 5'),
            ('"name": "gradcam-2017"', '"name": "gradcam-2018"'),
            ('"n_parts": 4', '"n_parts": 3'),
            ('"shard": null', '"shard": "1/2"'),
        ],
    )
    def test_that_was_changed_is_refused(self, root, run, old, new):
        text = (run / "manifest.json").read_text()
        assert old in text
        (run / "manifest.json").write_text(text.replace(old, new))
        for read in (lambda: StoredRun(run), lambda: wsol_bench.run(experiment(root), out=run)):
            with pytest.raises(RunError, match=r"manifest\.json has changed since the run wrote"):
                read()

    def test_says_the_same_in_another_layout(self, run):
        """A tool that formats JSON does no harm."""
        content = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(content, sort_keys=True))
        StoredRun(run).require_finished()

    @pytest.mark.parametrize(
        "change",
        [
            {"identity": {}},
            {"sessions": 3},
            {"format": "3"},
            {"format": None},
            {"identity": {"models": {}}},
            {"identity": {"n_parts": 0}},
            {"identity": {"n_parts": 10**12}},
            {"identity": {"shard": "7/3"}},
            {"identity": {"shard": "x"}},
            {"identity": {"protocol": {"kind": "none"}}},
        ],
        ids=str,
    )
    def test_of_any_other_content_is_one_line(self, run, change):
        content = manifest(run)
        for key, value in change.items():
            content[key] = {**content[key], **value} if value and key == "identity" else value
        write_content(run, content)
        _, err = cli("analyze", run, "--quiet", code=1)
        assert err.startswith("Error: ")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err

    @pytest.mark.parametrize("name", ["manifest.json", CHECKSUMS, "rows/000000.parquet"])
    def test_and_the_files_may_be_pipes_and_nothing_hangs(self, root, run, name):
        (run / name).unlink()
        os.mkfifo(run / name)
        _, err = cli("analyze", run, code=1)
        assert "Traceback" not in err
        if name == "manifest.json":
            with pytest.raises(RunError):
                wsol_bench.run(experiment(root), out=run)


class TestTheList:
    @pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
    def test_is_one_that_sha256sum_checks(self, run):
        command = ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS]
        subprocess.run(command, cwd=run, check=True)
        assert len((run / CHECKSUMS).read_text().splitlines()) == 1 + 2 + 4 * len(TABLES)
        flip(run / "maps/000000.parquet", 1000)
        done = subprocess.run(command, cwd=run, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "maps/000000.parquet: FAILED" in done.stdout

    def test_has_each_file_once_also_when_parts_were_made_again(self, root, run):
        flip(run / "rows/000000.parquet", 90)
        wsol_bench.run(experiment(root), out=run)
        names = [line.split()[1] for line in (run / CHECKSUMS).read_text().splitlines()[1:]]
        assert len(names) == len(set(names)) == 2 + 4 * len(TABLES)

    def test_has_no_torn_line_after_the_disk_was_full(self, tmp_path):
        checksums = Checksums(tmp_path, "1")
        checksums.add({"a": "0" * 64})
        n_bytes = (tmp_path / CHECKSUMS).stat().st_size
        with files_of_at_most(n_bytes + 67), pytest.raises(OSError, match="File too large"):
            checksums.add({"b/c": "1" * 64})
        checksums.add({"d": "2" * 64})
        text = f"# run 1\n{'0' * 64}  a\n{'2' * 64}  d\n"
        assert (tmp_path / CHECKSUMS).read_text() == text


def obey_permissions():
    """Take from a process of root the right to write where the permissions say no."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "cannot drop a capability")


@pytest.mark.skipif(sys.platform != "linux", reason="needs the permissions of Linux")
class TestAReadOnlyArchive:
    """A finished run in a folder that this user may not write to."""

    @pytest.fixture
    def archive(self, run, tmp_path):
        (run / ".lock").unlink(missing_ok=True)
        paths = [run, *run.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield run
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)

    def said(self, *arguments, code=0):
        """Call the command line in a process that obeys permissions."""
        words = ["wsol-bench", *map(str, arguments)]
        program = f"import sys; sys.argv[:] = {words}; from wsol_bench.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False,
            preexec_fn=obey_permissions if os.geteuid() == 0 else None,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def test_is_analyzed(self, archive, tmp_path):
        out, err = self.said("analyze", archive)
        assert "grad_cam" in out
        assert "No tables are written" in err
        assert "--out names another folder" in err
        self.said("analyze", archive, "--out", tmp_path / "out/tables")
        assert (tmp_path / "out/tables/intervals.csv").exists()

    def test_is_exported(self, archive, tmp_path):
        _, err = self.said("export", archive, "--format", "kaggle", code=1)
        assert "predictions cannot be written to: " in err
        assert "--out" in err
        self.said("export", archive, "--format", "kaggle", "--out", tmp_path / "out/boxes")
        assert len(list((tmp_path / "out/boxes").glob("*.csv"))) == 2

    def test_is_shown_and_not_written_to(self, root, archive, sound, monkeypatch):
        monkeypatch.setattr(
            "wsol_bench.runs.folder.locked", lambda *_: pytest.fail("no lock is needed")
        )
        before = {path: path.stat().st_mtime_ns for path in [archive, *archive.rglob("*")]}
        results = wsol_bench.run(experiment(root), out=archive)
        assert_same(results, sound)
        assert {path: path.stat().st_mtime_ns for path in [archive, *archive.rglob("*")]} == before
