"""``wsol-bench analyze``: what it prints, and what it writes."""

import json
import shutil
import sys

import pytest

import wsol_bench
from wsol_bench.cli import main


class TestCommand:
    def cli(self, monkeypatch, capsys, *arguments):
        """Exit code, standard output and standard error."""
        monkeypatch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as exit:
            main()
            sys.exit(0)
        return exit.value.code or 0, *capsys.readouterr()

    def refuse(self, constant):
        raise AssertionError(f"{constant} is no JSON")

    def test_prints_json_and_nothing_else(self, run, tables, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        code, out, err = self.cli(monkeypatch, capsys, "analyze", folder, "--json")
        assert code == 0
        content = json.loads(out, parse_constant=self.refuse)
        assert {name: len(table) for name, table in content.items()} == {
            name: len(table) for name, table in tables.items()
        }
        values = [line["value"] for line in content["intervals"]]
        assert values == tables["intervals"]["value"].tolist()
        assert str(folder / "tables") in err
        assert (folder / "tables/intervals.csv").is_file()

    def test_prints_strict_json_of_numbers_that_are_none(
        self, experiment, tmp_path, monkeypatch, capsys
    ):
        """Only CAM hits, so the odds are infinite; of the classes there are no odds."""
        content = {**experiment, "methods": ["colors:nan_cam", "cam"]}
        wsol_bench.run(content, out=tmp_path / "run")
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", tmp_path / "run", "--json")
        assert code == 0
        table = json.loads(out, parse_constant=self.refuse)["comparisons"]
        by_number = {line["number"]: line for line in table}
        assert by_number["gt_known_loc_error"]["n10"] > by_number["gt_known_loc_error"]["n01"] == 0
        assert by_number["gt_known_loc_error"]["odds_ratio"] is None
        assert by_number["top1_cls_error"]["odds_ratio"] is None

    def test_shows_a_person_tables_in_percent(self, run, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        code, out, err = self.cli(monkeypatch, capsys, "analyze", folder)
        assert code == 0
        for text in ("95% interval", "Holm", "better by"):
            assert text in out
        assert "Failure modes" not in out
        assert "--all" in err
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder, "--all")
        assert code == 0
        for text in ("95% intervals", "Holm", "Failure modes", "number of instances", "100.00 ["):
            assert text in out

    def test_of_several_runs_writes_nothing(self, run, tmp_path, monkeypatch, capsys):
        folders = [shutil.copytree(run.folder.path, tmp_path / name) for name in "ab"]
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", *folders, "--json", "--seed", "3")
        assert code == 0
        content = json.loads(out, parse_constant=self.refuse)
        assert {line["run"] for line in content["intervals"]} == set(map(str, folders))
        assert not list(tmp_path.glob("*/tables/intervals.csv"))

    def test_of_a_sweep(self, swept, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(swept.folder.path, tmp_path / "run")
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder, "--json")
        assert code == 0
        assert set(json.loads(out, parse_constant=self.refuse)) == {"intervals", "comparisons"}
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder, "--all")
        assert code == 0
        assert "95% intervals" in out
        assert "Failure modes" not in out

    def test_says_what_is_wrong(self, tmp_path, monkeypatch, capsys):
        code, out, err = self.cli(monkeypatch, capsys, "analyze", tmp_path, "--json")
        assert (code, out) == (1, "")
        assert "\nError: " in err
        assert "is no run folder" in err
