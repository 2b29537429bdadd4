"""A stored table with a column too many or too few is an error of every reader."""

import json
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colors import color_experiment, write_colors
from forged import record, write_content

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.report.export import export_run
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import StoredResults
from wsol_bench.runs.schema import SELECTION, Tables


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one box, and the same maps at many thresholds: two parts each."""
    folder = tmp_path_factory.mktemp("runs")
    experiment = color_experiment(write_colors(folder / "root"), workers=0, part_size=2)
    one_box = wsol_bench.run(experiment, out=folder / "one_box").folder
    sweep = {"name": "choe-2020-v2", "box": {"threshold": {"step": 0.1}}}
    return {"one_box": one_box, "sweep": rescore(one_box, sweep, out=folder / "sweep").folder}


READERS = {
    **{
        f"StoredResults.{name}": lambda folder, out, name=name: getattr(
            StoredResults(pd.DataFrame(), folder), name
        )
        for name in Tables._fields
    },
    "analyze": lambda folder, out: analyze([folder]),
    "rescore": lambda folder, out: rescore(folder, "zhou-2016", out=out),
    "export": lambda folder, out: list(export_run(folder, out, format="kaggle")),
    "classes": lambda folder, out: folder.read("classes"),
}
# Which tables a reader reads, and the protocol of the run.
CASES = [
    *((f"StoredResults.{name}", "one_box", name) for name in Tables._fields),
    *(("analyze", "one_box", name) for name in ("images", "rows")),
    ("analyze", "sweep", "curves"),
    *(("rescore", "one_box", name) for name in (*Tables._fields, "classes")),
    *(("export", "one_box", name) for name in ("images", "rows", "classes")),
    ("classes", "one_box", "classes"),
]


def lacks(table, column):
    return table.drop_columns([column])


def has_more(table, column):
    return table.append_column(column, pa.array([0.5] * len(table)))


@pytest.mark.parametrize(("reader", "kind", "name"), CASES)
@pytest.mark.parametrize("how", ["lacks", "unknown"])
def test_is_an_error_that_names_table_and_column(runs, tmp_path, reader, kind, name, how):
    path = shutil.copytree(runs[kind].path, tmp_path / "run")
    # Of the last part only: the first one says nothing of the others.
    file = path / (f"{name}/000001.parquet" if name in Tables._fields else f"{name}.parquet")
    table = pq.read_table(file)
    column = table.column_names[-1] if how == "lacks" else "surprise"
    changed = lacks(table, column) if how == "lacks" else has_more(table, column)
    pq.write_table(changed, file)
    record(file)
    said = {"lacks": f"lacks the column '{column}'", "unknown": "has an unknown column 'surprise'"}
    with pytest.raises(RunError, match=rf"{file.name}: table '{name}' {said[how]}"):
        READERS[reader](RunFolder(path), tmp_path / "out")


def test_a_column_of_another_type_is_an_error_that_names_the_file(runs, tmp_path):
    path = shutil.copytree(runs["one_box"].path, tmp_path / "run")
    file = path / "rows/000001.parquet"
    table = pq.read_table(file)
    position = table.column_names.index("iou")
    lists = pa.array([["a"]] * len(table))
    pq.write_table(table.set_column(position, "iou", lists), file)
    record(file)
    with pytest.raises(RunError, match=r"run.* cannot be read: "):
        RunFolder(path).read("rows")
    with pytest.raises(RunError, match=r"000001.parquet .* 'iou' of type double, found list<"):
        analyze([RunFolder(path)])


def test_what_thresholds_are_selected_by_is_checked_as_well(runs, tmp_path):
    path = shutil.copytree(runs["sweep"].path, tmp_path / "run")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["identity"]["protocol"]["box"]["threshold"]["select_on"] = "another run"
    manifest["identity"]["selected_on"] = "run 0123456789abcdef"
    write_content(path, manifest)
    pq.write_table(lacks(SELECTION.arrow.empty_table(), "means"), path / "selection.parquet")
    record(path / "selection.parquet")
    with pytest.raises(RunError, match="table 'selection' lacks the column 'means'"):
        analyze([RunFolder(path)])


def test_to_ask_for_a_column_that_a_table_has_not_is_an_error(runs):
    with pytest.raises(RunError, match="table 'rows' has no column 'surprise'"):
        runs["one_box"].read("rows", ["surprise"])
