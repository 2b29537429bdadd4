"""A stored run read method by method is what its files hold."""

import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from colors import color_experiment, write_colors
from forged import record

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.results import _RowsByMethod, methods_of
from wsol_bench.runs.schema import GROUP


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two methods in two parts.

    One image is not evaluated, and another one is of the class that is ranked second.
    """
    out = tmp_path_factory.mktemp("runs") / "run"
    experiment = color_experiment(
        write_colors(tmp_path_factory.mktemp("colors")),
        workers=0,
        part_size=2,
        methods=["cam", "center_gaussian"],
    )
    folder = wsol_bench.run(experiment, out=out).folder
    [second] = folder.read_part("rows", 0).query("rank == 2 and method == 'cam'")["class"][:1]
    change(out / "images/000000.parquet", "label", second)
    change(out / "images/000001.parquet", "status", "unreadable")
    return RunFolder(out)


def change(file, column, value):
    """Write a value into the first line of a file."""
    table = pq.read_table(file)
    values = [value, *table[column].to_pylist()[1:]]
    position = table.column_names.index(column)
    pq.write_table(table.set_column(position, column, pa.array(values)), file)
    record(file)


def test_rows_and_images_are_those_of_the_tables(folder):
    images, rows = folder.read("images"), folder.read("rows")
    evaluated = images[images["status"] == "evaluated"].reset_index(drop=True)
    label = images.set_index("image_id")["label"]
    own = rows["class"].to_numpy() == label.loc[rows["image_id"]].to_numpy()
    expected = rows[(own | (rows["rank"] == 1)) & rows["image_id"].isin(evaluated["image_id"])]
    methods = list(methods_of(folder))
    assert [method.names["method"] for method in methods] == ["cam", "center_gaussian"]
    for method in methods:
        scores = method.scores
        assert scores.images["image_id"].tolist() == evaluated["image_id"].tolist()
        assert method.line()["n_skipped"] == 1
        mine = expected[expected["method"] == method.names["method"]].reset_index(drop=True)
        assert len(mine) > len(evaluated)
        assert set(scores.rows.columns) == set(rows.columns)
        for name in rows.columns:
            found = scores.rows[name].astype(mine[name].dtype).reset_index(drop=True)
            assert found.equals(mine[name]), name
        ids = evaluated["image_id"].to_numpy()
        assert (ids[scores.image_position] == mine["image_id"].to_numpy()).all()
        assert (mine["rank"].to_numpy()[scores.first_rows] == 1).all()
        of_own = mine["class"].to_numpy()[scores.label_rows]
        assert of_own.tolist() == evaluated["label"].tolist()


def test_a_row_of_an_image_that_is_not_there_is_an_error(folder, tmp_path):
    path = shutil.copytree(folder.path, tmp_path / "run")
    file = path / "images/000000.parquet"
    table = pq.read_table(file)
    gone = table["image_id"][0].as_py()
    pq.write_table(table.filter(pc.not_equal(table["image_id"], gone)), file)
    record(file)
    with pytest.raises(RunError, match=f"rows of part 0 hold the image {gone}"):
        list(methods_of(RunFolder(path)))


@pytest.mark.parametrize("column", ["method", "layer"])
@pytest.mark.parametrize("value", [None, "elsewhere"])
def test_a_row_of_a_method_that_the_run_does_not_have_is_an_error(folder, tmp_path, column, value):
    """Left out without a word, it would be a number of the other images."""
    path = shutil.copytree(folder.path, tmp_path / "run")
    change(path / "rows/000000.parquet", column, value)
    with pytest.raises(RunError, match=f"rows of part 0 hold .*{value}.* does not have"):
        list(methods_of(RunFolder(path)))


def test_a_row_of_a_method_at_the_layer_of_another_one_is_an_error(folder, tmp_path):
    path = shutil.copytree(folder.path, tmp_path / "run")
    groups = dict(folder.identity.groups(next(iter(folder.identity.models))))
    assert groups["cam"] != groups["center_gaussian"]
    change(path / "rows/000000.parquet", "layer", groups["center_gaussian"])
    with pytest.raises(RunError, match="hold the method cam at layer ''"):
        list(methods_of(RunFolder(path)))


def test_a_model_of_which_no_part_is_done_has_no_rows(folder):
    images = EvaluatedImages.of(folder.read("images", parts=[]))
    rows = _RowsByMethod(folder, [], images, []).of(dict.fromkeys(GROUP, "cam"))
    assert len(rows) == 0
    assert set(rows.columns) == set(folder.tables["rows"].names)
