import numpy as np
import pandas as pd
import pytest
from colors import color_experiment, write_colors
from PIL import Image

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.figures import contact_sheet
from wsol_bench.report.tables import columns_for_people, markdown, records


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
        assert line["GT-known loc error"] == "-"
        assert "skipped" not in line

    def test_counts_are_shown_where_there_is_something_to_count(self):
        [line] = columns_for_people(summary(n_skipped=3)).to_dict(orient="records")
        assert line["skipped"] == "3"

    def test_not_applicable_is_said(self):
        [line] = columns_for_people(summary(status="not_applicable")).to_dict(orient="records")
        assert line["loc error top-1/top-5"] == "not applicable"

    def test_a_name_with_a_bar_does_not_break_the_table(self):
        assert "| a&#124;b |" in markdown(summary(model="a|b"))

    def test_records_hold_null_where_there_is_no_number(self):
        assert records(summary())[0]["gt_known_loc_error"] is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet")
    root = write_colors(folder / "root")
    return wsol_bench.run(color_experiment(root), out=folder / "run").folder


class TestContactSheet:
    def test_shows_truth_and_hits_in_their_colors(self, run, tmp_path):
        contact_sheet(run, tmp_path / "sheet.png", method="cam")
        pixels = np.array(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
        # Four hits: the green of a hit is there, the red of a miss (255, 77, 77) is not.
        distance = {
            name: np.abs(pixels - color).sum(axis=2).min()
            for name, color in {"hit": (46, 230, 107), "miss": (255, 77, 77)}.items()
        }
        assert distance["hit"] < 12
        assert distance["miss"] > 12

    def test_survives_images_that_are_gone(self, run, tmp_path):
        images = run.read("images")
        path = run.path / "images/000000.parquet"
        before = path.read_bytes()
        images.assign(path="/nowhere/image.JPEG").to_parquet(path)
        contact_sheet(run, tmp_path / "sheet.png", method="cam")
        path.write_bytes(before)
        pixels = np.array(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
        assert np.abs(pixels - (46, 230, 107)).sum(axis=2).min() > 12  # no box, and no crash

    def test_of_a_method_that_was_not_run_is_an_error(self, run, tmp_path):
        with pytest.raises(RunError, match="no map of method 'score_cam'"):
            contact_sheet(run, tmp_path / "sheet.png", method="score_cam")
