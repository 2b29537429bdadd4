"""Tables of a run: an unknown or missing column is an error that names table and column."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scoring_cases import default_scoring

from wsol_bench.common.table import Column, Table
from wsol_bench.errors import RunError
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.schema import (
    CLASSES,
    COSTS,
    CURVE_KEYS,
    IMAGES,
    MAPS,
    ROW_KEYS,
    ImageStatus,
    RowStatus,
    boxes_of,
)

TABLE = Table(
    "tools",
    (Column("name", "text", "of a tool"), Column("weight", "real", "of it", "kilograms")),
)
PARTS = (
    {"name": np.array(["saw"], object), "weight": np.array([1.5])},
    {"weight": np.array([0.5, 2.0]), "name": np.array(["file", "axe"], object)},
)


def without(name):
    return {key: value for key, value in PARTS[0].items() if key != name}


class TestColumns:
    def test_have_an_order_and_types_in_files(self):
        assert TABLE.names == ["name", "weight"]
        assert TABLE.arrow == pa.schema([("name", pa.string()), ("weight", pa.float64())])

    def test_more_stand_at_the_end(self):
        more = TABLE.with_columns([Column("sharp", "flag", "whether it cuts")])
        assert more.names == ["name", "weight", "sharp"]
        assert more.name == TABLE.name
        assert TABLE.names == ["name", "weight"]

    def test_of_every_table_are_named_once_and_mean_something(self):
        scorings = [
            default_scoring(load_protocol(name))
            for name in ("gradcam-2017", "choe-2020-v2", "choe-2020-pxap")
        ]
        derived = [table for one in scorings for table in (one.rows_table, one.curves_table)]
        for table in (IMAGES, ROW_KEYS, CURVE_KEYS, MAPS, COSTS, CLASSES, *derived):
            assert len(set(table.names)) == len(table.names), table.name
            assert all(column.meaning for column in table.columns), table.name
            assert len(table.arrow) == len(table.columns)


class TestFrame:
    def test_is_the_lines_of_all_parts_in_the_order_of_the_columns(self):
        frame = TABLE.frame(PARTS)
        assert frame.columns.tolist() == ["name", "weight"]
        assert frame.to_numpy().tolist() == [["saw", 1.5], ["file", 0.5], ["axe", 2.0]]

    def test_of_no_part_has_the_columns(self):
        assert TABLE.frame([]).columns.tolist() == ["name", "weight"]
        assert len(TABLE.frame([])) == 0

    @pytest.mark.parametrize("name", ["name", "weight"])
    def test_a_part_that_lacks_a_column_is_an_error(self, name):
        with pytest.raises(RunError, match=f"table 'tools' lacks the column '{name}'"):
            TABLE.frame([*PARTS, without(name)])

    def test_a_part_with_an_unknown_column_is_an_error(self):
        with pytest.raises(RunError, match="table 'tools' has an unknown column 'color'"):
            TABLE.frame([{**PARTS[0], "color": np.array(["red"], object)}])


class TestArrow:
    def test_has_the_tables_types_and_order(self):
        frame = pd.DataFrame({"weight": [1, 2], "name": ["saw", "axe"]})
        arrow = TABLE.to_arrow(frame)
        assert arrow.schema.equals(TABLE.arrow)
        assert arrow.to_pylist() == [{"name": "saw", "weight": 1.0}, {"name": "axe", "weight": 2.0}]

    def test_of_no_line_has_them_too(self):
        for frame in (pd.DataFrame(), TABLE.frame([])):
            assert TABLE.to_arrow(frame).schema.equals(TABLE.arrow)

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (pd.DataFrame({"name": ["saw"]}), "table 'tools' lacks the column 'weight'"),
            (
                pd.DataFrame({"name": ["saw"], "weight": [1.0], "color": ["red"]}),
                "table 'tools' has an unknown column 'color'",
            ),
        ],
    )
    def test_of_other_columns_is_an_error(self, frame, message):
        with pytest.raises(RunError, match=message):
            TABLE.to_arrow(frame)


class TestCheck:
    def test_names_the_file_the_table_and_the_column(self):
        TABLE.check(["weight", "name"], "tools.parquet")
        with pytest.raises(
            RunError, match=r"^tools\.parquet: table 'tools' lacks the column 'weight'$"
        ):
            TABLE.check(["name", "color"], "tools.parquet")
        with pytest.raises(
            RunError, match=r"^tools\.parquet: table 'tools' has an unknown column 'color'$"
        ):
            TABLE.check(["name", "weight", "color"], "tools.parquet")

    def test_some_columns_may_be_required(self):
        TABLE.require(["name"])
        with pytest.raises(RunError, match="table 'tools' has no column 'color'"):
            TABLE.require(["name", "color"])


def test_statuses_are_the_words_in_the_tables():
    assert [*ImageStatus] == [
        "evaluated", "unknown_class", "unreadable", "not_finite", "not_predicted"
    ]  # fmt: skip
    assert [*RowStatus] == [
        "box", "no_box", "missing", "swept", "not_finite", "zero", "not_positive", "constant",
        "not_applicable", "not_kept",
    ]  # fmt: skip
    assert f"{RowStatus.NO_BOX}" == "no_box"


def test_boxes_of_rows_stand_as_corners():
    rows = pd.DataFrame({"y1": [4], "x0": [1], "x1": [3], "y0": [2], "iou": [0.5]})
    assert boxes_of(rows).tolist() == [[1, 2, 3, 4]]
    assert boxes_of(rows).dtype == np.float64
