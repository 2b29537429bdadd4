"""The table of a paper: its numbers are the summary's, its marks those of runs ranked by hand."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from counted_hits import counted_run

import wsol_bench
from wsol_bench.common.harmless import latex_text
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.report.paper_table import paper_table
from wsol_bench.runs.run import run as run_experiment


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Methods with 3, 6, 6, and 2 hits of 8, in this order."""
    folder = tmp_path_factory.mktemp("counted")
    return counted_run(folder, folder / "run", {"three": 3, "six": 6, "also": 6, "two": 2})


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """A run on the same images with a better method, and one of a name that the other has."""
    folder = tmp_path_factory.mktemp("more")
    return counted_run(folder, folder / "run", {"seven": 7, "two": 1})


def csv_lines(*runs, **options):
    return list(csv.DictReader(io.StringIO(paper_table(runs, table_format="csv", **options))))


def markdown_lines(*runs, **options):
    """The cells of the lines of a Markdown table, below its titles."""
    text = paper_table(runs, numbers=["top1_loc_error"], **options)
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines]


class TestNumbers:
    def test_are_those_of_the_summary(self, run):
        lines = csv_lines(run.folder)
        summary = run.summary.set_index("method")
        assert [line["method"] for line in lines] == list(summary.index)
        for line in lines:
            expected = summary.loc[line["method"]]
            for name in ("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "mean_iou"):
                assert line[f"{name} (%)"] == f"{100 * expected[name]:.2f}"
            assert (line["model"], line["layer"]) == (expected["model"], expected["layer"])
            assert line["images"] == str(expected["n_images"])
            assert line["protocol_hash"] == expected["protocol_hash"]
            assert line["run"] == str(run.folder.path)
            assert line["run_id"] == run.folder.manifest.id

    @pytest.mark.parametrize("name", ["mean_iou", "max_box_acc_v2"])
    def test_intervals_are_those_of_the_analysis(self, run, swept, name):
        folder = run.folder if name == "mean_iou" else swept.folder
        table = analyze([folder], seed=3)["intervals"]
        expected = table[table["number"] == name].set_index("method")
        lines = csv_lines(folder, numbers=[name], intervals=True, seed=3)
        assert len(lines) == 3
        for line in lines:
            for column, end in (("", "value"), (" low", "low"), (" high", "high")):
                value = 100 * expected.loc[line["method"], end]
                assert line[f"{name}{column} (%)"] == f"{value:.2f}"

    def test_by_default_are_those_that_an_experiment_names(self, counted, run):
        assert "mean_iou (%)" not in csv_lines(counted)[0]
        assert "top1_cls_error (%)" not in csv_lines(run.folder)[0]

    def test_that_no_run_has_are_an_error(self, counted):
        with pytest.raises(ConfigError, match="did you mean 'top1_loc_error'"):
            paper_table([counted], numbers=["top1_loc_eror"])


class TestMarks:
    def test_best_and_second_of_runs_that_are_ranked_by_hand(self, counted):
        assert markdown_lines(counted) == [
            ("no model", "three", "<u>62.50</u>"),
            ("no model", "six", "**25.00**"),
            ("no model", "also", "**25.00**"),
            ("no model", "two", "75.00"),
            ("no model", "full_image", "-"),
        ]

    def test_methods_of_two_runs_on_the_same_images_are_compared(self, counted, more):
        lines = {method: number for _, method, number in markdown_lines(counted, more)}
        assert list(lines) == [
            *("three", "six", "also", f"two ({counted.path})"),
            *("seven", f"two ({more.path})"),
            *(f"full_image ({one.path})" for one in (counted, more)),
        ]
        assert [lines[name] for name in ("seven", "six", "also")] == [
            "**12.50**",
            "<u>25.00</u>",
            "<u>25.00</u>",
        ]

    def test_methods_of_different_images_are_not(self, counted, tmp_path):
        limited = counted_run(tmp_path, tmp_path / "run", {"seven": 7, "one": 1}, limit=4)
        lines = markdown_lines(counted, limited)
        marks = {(model.split(", ")[-1], method): number for model, method, number in lines}
        assert marks["4 images", "seven"] == "**0.00**"
        assert marks["4 images", "one"] == "75.00"
        assert marks["8 images", "six"] == "**25.00**"

    def test_baselines_and_sanity_checks_have_none(self, experiment):
        methods = ["center_box", "cam", {"name": "grad_cam", "sanity": "class_swapped"}]
        run = wsol_bench.run({**experiment, "methods": methods, "faithfulness": None})
        text = paper_table([run.folder], table_format="latex", numbers=["gt_known_loc_error"])
        assert "textbf" not in text
        rows = [line.split(" & ")[0] for line in text.splitlines() if " & " in line][3:]
        assert rows[0] == "cam"
        assert sorted(rows[1:]) == ["center\\_box", "class\\_swapped(grad\\_cam)"]
        assert text.index("addlinespace") > text.index("\ncam")


class TestGroups:
    def test_one_name_of_two_networks_is_two_groups(self, experiment, mistaken, tmp_path):
        content = {**experiment, "methods": ["cam"], "limit": 4}
        right = wsol_bench.run(content, out=tmp_path / "right")
        runs = [right.folder, mistaken.folder]
        assert {line["model"] for line in csv_lines(*runs)} == {"color_net"}
        text = paper_table(runs, table_format="latex", numbers=["top1_loc_error"])
        assert [line for line in text.splitlines() if "emph" in line and "color" in line] == [
            f"\\multicolumn{{2}}{{@{{}}l}}{{\\emph{{{latex_text(f'color_net, {one.path}')}}}}} \\\\"
            for one in runs
        ]
        assert "textbf" not in text

    def test_images_that_differ_are_said(self, run, mistaken):
        text = paper_table([run.folder, mistaken.folder])
        assert "10 images" in text and "4 images" in text

    def test_protocols_that_differ_are_said(self, run, swept):
        text = paper_table([run.folder, swept.folder])
        assert f"color_net, {run.folder.identity.protocol.name}" in text
        assert f"color_net, {swept.folder.identity.protocol.name}" in text

    def test_every_number_names_its_run(self, counted, more):
        for line in paper_table([counted, more], table_format="latex").splitlines():
            if line.startswith("seven"):
                assert line.endswith(f"% run {more.path} (id {more.manifest.id[:12]})")
        text = paper_table([counted, more])
        assert f"run {more.path} (id {more.manifest.id[:12]}): no model seven" in text

    def test_a_run_and_its_copy_are_an_error(self, counted, tmp_path):
        copy = type(counted)(Path(shutil.copytree(counted.path, tmp_path / "copy")))
        with pytest.raises(RunError, match="each run once"):
            paper_table([counted, copy])

    def test_a_shard_is_said(self, experiment, tmp_path):
        shard = run_experiment({**experiment, "methods": ["cam"]}, out=tmp_path / "s", shard="1/3")
        assert "shard 1/3, not the whole run" in paper_table([shard.folder])
