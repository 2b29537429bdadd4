"""A summary as text, as Markdown and as JSON."""

import numpy as np
import pandas as pd

from wsol_bench.report.tables import columns_for_people, footer, markdown, records


def summary(**changes):
    line = {
        "model": "m", "method": "cam", "layer": "l", "protocol": "p", "protocol_hash": "h",
        "status": "ok", "n_images": 510, "n_skipped": 0, "n_blacklisted": 0, "n_without_box": 0,
        "top1_cls_error": 0.464706, "top5_cls_error": 0.192157,
        "top1_loc_error": 0.629412, "top5_loc_error": 0.445098, "gt_known_loc_error": np.nan,
        "top1_loc_error_all": 0.6, "top5_loc_error_all": 0.4, **changes,
    }  # fmt: skip
    return pd.DataFrame([line])


class TestTables:
    def test_errors_are_shown_in_percent_as_papers_print_them(self):
        [line] = columns_for_people(summary()).to_dict(orient="records")
        assert line["cls error top-1/top-5"] == "46.47/19.22"
        assert line["loc error top-1/top-5"] == "62.94/44.51"
        assert "GT-known loc error" not in line  # which no method has
        assert "skipped" not in line

    def test_counts_are_shown_where_there_is_something_to_count(self):
        [line] = columns_for_people(summary(n_skipped=3)).to_dict(orient="records")
        assert line["skipped"] == "3"
        explained = [text.partition(":")[0] for text in footer(summary(n_skipped=3))]
        assert explained == ["Errors in %. Protocol", "skipped"]
        assert len(footer(summary())) == 1

    def test_a_number_that_some_method_has_is_a_column(self):
        two = pd.concat([summary(), summary(gt_known_loc_error=0.25)])
        assert columns_for_people(two)["GT-known loc error"].tolist() == ["-", "25.00"]

    def test_not_applicable_is_said(self):
        [line] = columns_for_people(summary(status="not_applicable")).to_dict(orient="records")
        assert line["loc error top-1/top-5"] == "not applicable"

    def test_a_name_with_a_bar_does_not_break_the_table(self):
        assert "| a&#124;b |" in markdown(summary(model="a|b"))

    def test_records_hold_null_where_there_is_no_number(self):
        assert records(summary())[0]["gt_known_loc_error"] is None
