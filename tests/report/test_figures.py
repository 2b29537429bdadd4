"""The contact sheet of a run."""

import numpy as np
import pytest
from colors import color_experiment, write_colors
from forged import replace_table
from PIL import Image

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.figures import contact_sheet
from wsol_bench.runs.stored_run import StoredRun


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
        replace_table(run, "images", 0, images.assign(path="/nowhere/image.JPEG"))
        contact_sheet(StoredRun(run.path), tmp_path / "sheet.png", method="cam")
        replace_table(run, "images", 0, images)
        pixels = np.array(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
        assert np.abs(pixels - (46, 230, 107)).sum(axis=2).min() > 12  # no box, and no crash

    def test_of_a_method_that_was_not_run_is_an_error(self, run, tmp_path):
        with pytest.raises(RunError, match="no map of method 'score_cam'"):
            contact_sheet(run, tmp_path / "sheet.png", method="score_cam")

    @pytest.mark.parametrize("words", ["$\\frac$, two", "bell\x07 and \x1b[2J", "two\nlines"])
    def test_draws_the_words_of_a_class_as_they_are(self, run, tmp_path, monkeypatch, words):
        """Neither as a formula nor as characters that no font has, of which matplotlib warns."""
        classes = run.read("classes").assign(words=words)
        read = run.read

        def changed(table, *rest, **options):
            return classes if table == "classes" else read(table, *rest, **options)

        monkeypatch.setattr(run, "read", changed)
        contact_sheet(run, tmp_path / "sheet.png", method="cam")
