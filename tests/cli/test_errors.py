"""A wrong argument, file or folder gets an error message that says how to mend it."""

import re
from pathlib import Path

import pytest
import yaml
from colors import color_experiment
from command_line import cli
from user_modules import importable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "rihgt.yaml"], "experiment rihgt.yaml does not exist; did you mean 'right.yaml'?"),
        (["run", "x/new.yaml"], "this writes a first one: wsol-bench init x/new.yaml"),
        (
            ["run", "."],
            ".: expected an experiment file, found a folder. Experiment files in it: right.yaml,",
        ),
        (["doctor", "."], "a folder: wsol-bench init my.yaml --data ."),
        (["run", "typo.yaml"], "unknown key 'metods'; did you mean 'methods'?"),
        (["run", "rootless.yaml"], "missing-root"),
        (["score", "nothing.txt", "--root", "."], "nothing.txt does not exist"),
        (["score", "typo.yaml", "--root", "missing-root"], "missing-root"),
        (["score", "typo.yaml"], "the data set imagenet needs its root folder"),
        (["score", "typo.yaml", "--root", ".", "--option", "name=5"], "name"),
        (["score", "typo.yaml", "--root", ".", "--option", "subset=["], "subset=["),
        (["run", "typo.yaml", "--set", "limit=["], "limit=["),
        (["run", "right.yaml", "--force"], "expected --out FOLDER, found none"),
        (
            ["run", "right.yaml", "--actors", "2"],
            "--actors needs --engine ray, found --engine local",
        ),
        (["run", "right.yaml", "--address", "auto"], "add --engine ray, or leave --address out"),
        (["score", ".", "--root", "."], ". is a folder; expected a file in devkit or Kaggle"),
        (
            ["score", "typo.yaml", "--dataset", "shapes"],
            "typo.yaml: this is no prediction file: expected groups of five numbers",
        ),
        (["check", "grad_cam", "--option", "power"], "--option power: expected KEY=VALUE"),
        (["score", "x.txt", "--option", "power"], "x.txt does not exist"),
        (["export", "missing-root", "--format", "kaggle"], "is no run folder"),
    ],
)
def test_a_wrong_input_is_one_clear_message_and_exit_code_1(tmp_path, arguments, message):
    experiment = color_experiment(Path("missing-root"))
    (tmp_path / "rootless.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "right.yaml").write_text(
        "{name: right, dataset: shapes, methods: [full_image], protocol: gradcam-2017}"
    )
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({**experiment, "metods": []}))
    out, err = cli(*arguments, cwd=tmp_path, code=1)
    assert out == ""
    assert re.match(r"((reading|checking) .+\n)?Error: ", err)
    assert message in err


def test_an_error_in_a_plugin_is_its_line_and_debug_shows_the_traceback(tmp_path):
    (tmp_path / "broken_cams.py").write_text(
        "from wsol_bench import Plan, cam_method\n\n"
        "@cam_method('broken_cam', plan=Plan())\n"
        "def broken_cam(record):\n"
        "    return record.nothing\n"
    )
    (tmp_path / "broken.yaml").write_text(
        "{name: broken, dataset: shapes, models: [shapes_net], methods: ['broken_cams:broken_cam'],"
        " protocol: gradcam-2017, limit: 1, workers: 0}"
    )
    with importable(tmp_path):
        _, err = cli("run", "broken.yaml", "--out", "run", cwd=tmp_path, code=1)
        *_, error, hint = err.strip().splitlines()
        assert error == (
            "Error: map method 'broken_cam': broken_cams.py:5: AttributeError: 'Record' object has "
            "no attribute 'nothing'"
        )
        assert "--verbose" in hint
        _, err = cli("run", "broken.yaml", "--out", "run", "--verbose", cwd=tmp_path, code=1)
        assert 'broken_cams.py", line 5, in broken_cam' in err
        assert err.strip().splitlines()[-1] == error
        cli("--version")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("list method", "'KIND': found 'method'; did you mean 'methods'? known: datasets,"),
        ("run x --engine rey", "found 'rey'; did you mean 'ray'? known: local, ray\n"),
        ("run x --limit abc", "'--limit': expected a whole number, found 'abc'\n"),
        ("run x --limit 0", "'--limit': expected at least 1, found '0'\n"),
        ("run x --limt 4", "No such option: --limt; did you mean --limit?\n"),
        ("leaderboard x --out y", "No such option: --out\n"),
    ],
)
def test_usage_that_is_not_valid_is_told_in_plain_words(line, message):
    out, err = cli(*line.split(), code=2)
    assert out == ""
    assert message in err
    assert err.startswith("Usage: ")
