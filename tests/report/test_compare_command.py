"""``wsol-bench compare``: what it prints and writes, and its exit code."""

import json

import pandas as pd
import pytest
from command_line import cli


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def folders(run, sharp):
    return run.folder.path, sharp.folder.path


def test_equal_runs_end_with_0_and_say_so_first(folders):
    out, err = cli("compare", folders[0], folders[0], "--fail-on-difference", code=0)
    assert out.startswith("The runs have equal numbers and equal results of 10 images.\n")
    assert "wsol-bench report" in err.splitlines()[-1]


def test_a_difference_ends_with_1_only_if_that_is_asked_for(folders):
    for options, code in (([], 0), (["--fail-on-difference"], 1)):
        out, _ = cli("compare", *folders, *options, code=code)
        assert out.startswith("The runs differ in ")
        assert "protocol.box.threshold: 0.15 in A, 0.8 in B" in out
    cli("compare", *folders, "--fail-on-difference", "--json", code=1)


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_fits_80_columns(options, folders, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out, _ = cli("compare", *folders, *options)
    # A path stays whole on a line of its own.
    lines = [line for line in out.splitlines() if str(folders[1]) != line]
    assert max(map(len, lines)) <= 80


def test_json_and_files_have_every_table(folders, sharpened, tmp_path):
    out, err = cli("compare", *folders, "--json", "--out", tmp_path / "out")
    content = json.loads(out, parse_constant=refuse)
    assert content["equal"] is False
    assert str(tmp_path / "out") in err.splitlines()[-1]
    for name, table in sharpened.tables.items():
        assert len(content[name]) == len(table), name
        read = pd.read_csv(tmp_path / f"out/{name}.csv", keep_default_na=False)
        assert read.columns.tolist() == table.columns.tolist(), name
        assert len(read) == len(table), name
    values = [line["difference"] for line in content["numbers"]]
    assert values == sharpened.numbers["difference"].tolist()


def test_a_folder_that_cannot_be_written_to_is_an_error_before_the_work(folders, tmp_path):
    (tmp_path / "file").write_text("")
    out, err = cli("compare", *folders, "--out", tmp_path / "file", code=1)
    assert out == ""
    assert "comparing" not in err


def test_what_is_no_run_is_an_error(tmp_path, folders):
    _, err = cli("compare", folders[0], tmp_path, code=1)
    assert "is no run folder" in err
