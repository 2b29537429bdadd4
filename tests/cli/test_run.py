"""Commands that make runs, as a stranger uses them: arguments, streams and exit codes."""

import json
import re
import textwrap
from pathlib import Path

import yaml
from command_line import SUMMARY_KEYS, cli
from user_modules import importable


def test_json_is_all_of_standard_output(world):
    records = json.loads((world / "out.json").read_text())
    assert [record["method"] for record in records] == ["cam", "grad_cam"]
    for record in records:
        assert set(SUMMARY_KEYS) <= set(record)
        assert record["top1_loc_error"] == 0
        assert record["n_images"] == 4
        assert record["run"] == str(world / "run")


def test_progress_and_the_folder_of_the_run_go_to_standard_error(world):
    text = (world / "err.txt").read_text()
    assert str(world / "run") in text
    assert "evaluating" in text


def test_progress_shows_a_rate(world):
    assert re.search(r"[\d.]+ images/s", (world / "err.txt").read_text())


def test_without_json_a_table_is_printed(world, tmp_path):
    folder = tmp_path / "run"
    out, err = cli("run", world / "experiment.yaml", "--out", folder, "--limit", "2", "--quiet")
    assert err.splitlines()[-1] == f"Results: {folder}"
    assert not re.search("loading|reading|evaluating|wsol-bench report", err)
    assert "color_net" in out
    assert "0.00/0.00" in out
    assert "gradcam-2017+map.upsample=nearest" in out


def test_without_out_a_run_goes_to_a_folder_of_the_experiments_name(world, tmp_path):
    cli("run", world / "experiment.yaml", "--limit", "1", cwd=tmp_path)
    [run] = (tmp_path / "results/colors").iterdir()
    assert (run / "tables/summary.csv").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["limit"] == 1


def test_set_changes_a_key_and_the_folder_records_it(world, tmp_path):
    out, _ = cli(
        "run", world / "experiment.yaml", "--out", tmp_path / "run", "--json",
        "--set", "methods=[cam]", "--set", "protocol=zhou-2016", "--device", "cpu",
    )  # fmt: skip
    [record] = json.loads(out)
    assert (record["method"], record["protocol"]) == ("cam", "zhou-2016")
    content = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert content["protocol"]["name"] == "zhou-2016"


def test_what_a_builder_prints_stays_out_of_standard_output(world, tmp_path):
    argument = "models.0.name=colors:chatty_net"
    out, err = cli(
        "run", world / "experiment.yaml", "--out", tmp_path / "run", "--json", "--set", argument
    )
    assert json.loads(out)
    assert "hello from the builder" in err


def test_a_method_in_the_working_directory_is_found_by_its_import_path(world, tmp_path):
    """The README's own example."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [example] = re.findall(
        r"(    import torch\n    from wsol_bench import Plan.*?)\n\n`wsol-bench check",
        readme,
        re.DOTALL,
    )
    (tmp_path / "my_readme_module.py").write_text(textwrap.dedent(example))
    methods = "methods=[cam, grad_cam, my_readme_module:my_cam]"
    arguments = ("run", world / "experiment.yaml", "--out", tmp_path / "run", "--json")
    with importable(tmp_path):
        out, _ = cli(*arguments, "--set", methods, cwd=tmp_path)
    assert [record["method"] for record in json.loads(out)] == ["cam", "grad_cam", "my_cam"]
