"""The page as one file: ``wsol-bench report``."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from command_line import cli
from PIL import Image

from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.file import write_report
from wsol_bench.report.page.outcomes import HIT
from wsol_bench.report.page.sampling import sampled
from wsol_bench.runs.rescore import rescore


def block(html, name):
    text = re.search(rf'id="{name}">(.*?)</script>', html, re.DOTALL)[1]
    return json.loads(text) if text[:1] in "[{" else text


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_report([run.folder], file)
    return file.read_text()


def test_the_file_has_every_image_of_a_small_run(html, collection):
    assert block(html, "overview")["n_images"] == len(collection.images)
    assert block(html, "index")["ids"] == collection.images.ids
    for place in range(len(collection.images)):
        assert block(html, f"image-{place}")["image"] == place


def test_pictures_are_the_images(html, collection):
    jpeg = base64.b64decode(block(html, "picture-0"))
    shown = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float64)
    stored = np.asarray(Image.open(collection.images.paths[0]).convert("RGB"), np.float64)
    assert shown.shape == stored.shape
    assert np.abs(shown - stored).mean() < 8


def test_a_sample_keeps_positions(run, tmp_path, collection):
    written = write_report([run.folder], tmp_path / "page.html", n_images=4, seed=3)
    assert (written.n_images, written.n_of) == (4, len(collection.images))
    html = (tmp_path / "page.html").read_text()
    ids = block(html, "index")["ids"]
    chosen = [collection.images.ids.index(name) for name in ids]
    iou = np.frombuffer(base64.b64decode(block(html, "line-0")["iou"]["data"]), "<f4")
    np.testing.assert_array_equal(iou, collection.lines[0].iou[chosen])
    rows = block(html, "image-2")["rows"]
    assert rows[0]["iou"] is not None
    label = next(row for row in rows if row["line"] == 0 and row["is_label"])
    assert np.float32(label["iou"]) == iou[2]


class TestCurvesOverThresholds:
    """A run under one threshold keeps none: a report takes them from the maps of its images."""

    def test_at_the_run_s_threshold_it_is_the_run_s_accuracy(self, html, run):
        curves = block(html, "overview")["charts"]["thresholds"]
        assert {curve["line"] for curve in curves} == {0, 1}  # the baseline's map is not stored
        for curve in curves:
            at = curve["thresholds"].index(0.15)
            error = run.summary["gt_known_loc_error"][curve["line"]]
            assert curve["shares"][at] == pytest.approx(1 - error, abs=1e-6)

    def test_at_every_threshold_it_is_that_of_a_run_there(self, html, run):
        curve = block(html, "overview")["charts"]["thresholds"][0]
        for threshold in (0.0, 0.45, 0.8):
            again = rescore(run.folder, overrides=[f"protocol.box.threshold={threshold}"])
            error = again.summary["gt_known_loc_error"][0]
            at = curve["thresholds"].index(threshold)
            assert curve["shares"][at] == pytest.approx(1 - error, abs=1e-6)
        assert len(set(curve["shares"])) > 1
        best = curve["thresholds"].index(round(curve["best"], 6))
        assert curve["shares"][best] == max(curve["shares"])


class TestSampling:
    def test_a_small_run_is_taken_whole(self, collection):
        assert sampled(collection, 500, 0).tolist() == list(range(len(collection.images)))

    def test_every_line_has_hits_and_misses(self, collection):
        for seed in range(20):
            chosen = sampled(collection, 8, seed)
            assert len(chosen) == 8 and (np.diff(chosen) > 0).all()
            for line in collection.lines:
                for wanted in (line.gt_known == HIT, line.gt_known != HIT):
                    assert wanted[chosen].any() or not wanted.any()

    def test_a_seed_gives_the_same_sample(self, collection):
        assert sampled(collection, 5, 7).tolist() == sampled(collection, 5, 7).tolist()
        assert len({tuple(sampled(collection, 5, seed)) for seed in range(10)}) > 1

    def test_no_image_is_no_error(self, collection):
        assert sampled(collection, 0, 0).tolist() == []


class TestCommand:
    def test_the_report_of_a_run_lies_in_its_folder(self, run, tmp_path):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        _, err = cli("report", folder)
        assert err.splitlines()[-1] == f"Report: {folder / 'report.html'}"
        assert block((folder / "report.html").read_text(), "overview")["source"] == "file"

    def test_a_report_of_several_runs_needs_a_file(self, run, swept, tmp_path):
        runs = (run.folder.path, swept.folder.path)
        _, err = cli("report", *runs, code=1)
        assert "--out: expected the HTML file of a report of 2 runs" in err
        cli("report", *runs, "--out", tmp_path / "both.html")
        overview = block((tmp_path / "both.html").read_text(), "overview")
        assert len(overview["runs"]) == 2
        assert len({run["name"] for run in overview["runs"]}) == 2

    def test_images_that_are_gone_are_told(self, run, tmp_path):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        images = tmp_path / "none"
        from forged import replace_table

        from wsol_bench.runs.stored_run import StoredRun

        stored = StoredRun(folder)
        for part in stored.parts():
            table = stored.read_part("images", part)
            replace_table(stored, "images", part, table.assign(path=str(images / "x.png")))
        _, err = cli("report", folder)
        assert f"10 of 10 images have no picture; the first: {images}" in err
        html = (folder / "report.html").read_text()
        assert "does not exist" in block(html, "image-0")["no_picture"]
        assert 'id="picture-0"' not in html

    def test_force_deletes_the_report_of_the_run_before(self, experiment, tmp_path):
        import wsol_bench

        small = {**experiment, "methods": ["center_box"], "limit": 2, "models": []}
        small["faithfulness"] = None
        wsol_bench.run(small, out=tmp_path / "run")
        (tmp_path / "run/report.html").write_text("of the run before")
        wsol_bench.run(small, out=tmp_path / "run", force=True)
        assert not (tmp_path / "run/report.html").exists()

    def test_a_folder_that_is_no_run_is_told(self, tmp_path):
        _, err = cli("report", tmp_path, code=1)
        assert "is no run folder" in err
