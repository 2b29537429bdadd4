"""The page as one file: ``wsol-bench report``."""

import base64
import io
import json
import re
import shutil
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from command_line import cli
from PIL import Image
from report_file import inflated

from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.file import write_report
from wsol_bench.report.page.outcomes import HIT, NOT_DEFINED, OUTCOMES
from wsol_bench.report.page.sample_curves import SampleCurves, curves_of_sample
from wsol_bench.report.page.sampling import sampled
from wsol_bench.runs.rescore import rescore


def block(html, name):
    text = re.search(rf'id="{name}">(.*?)</script>', html, re.DOTALL)[1]
    if name.startswith("image-"):
        return inflated(text)
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
    assert written.n_images == 4
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
        assert block(html, "overview")["charts"]["thresholds"] == []  # those of a sweep
        curves = block(html, "curves")
        assert {curve["line"] for curve in curves} == {0, 1}  # the baseline's map is not stored
        for curve in curves:
            at = curve["thresholds"].index(0.15)
            error = run.summary["gt_known_loc_error"][curve["line"]]
            assert curve["shares"][at] == pytest.approx(1 - error, abs=1e-6)

    def test_at_every_threshold_it_is_that_of_a_run_there(self, html, run):
        curve = block(html, "curves")[0]
        for threshold in (0.0, 0.45, 0.8):
            again = rescore(run.folder, overrides=[f"protocol.box.threshold={threshold}"])
            error = again.summary["gt_known_loc_error"][0]
            at = curve["thresholds"].index(threshold)
            assert curve["shares"][at] == pytest.approx(1 - error, abs=1e-6)
        assert len(set(curve["shares"])) > 1
        best = curve["thresholds"].index(round(curve["best"], 6))
        assert curve["shares"][best] == max(curve["shares"])

    def test_of_a_sample_they_are_those_of_a_report_of_the_same_images(self, run, collection):
        details = Details(collection)
        whole = curves_of_sample(collection, details, 300, 0)
        assert [curve["of"] for curve in whole] == ["10 images"] * 2
        some = curves_of_sample(collection, details, 4, 3)
        assert some == curves_of_sample(collection, details, 4, 3)
        assert [curve["of"] for curve in some] == ["4 images, drawn at random"] * 2
        watched = SampleCurves(collection, [np.random.default_rng(3).permutation(10)[:4]])
        for image in range(10):
            details.of(image, watch=watched.add)
        assert watched.charts() == some

    def test_of_a_run_under_a_sweep_none_are_drawn(self, swept):
        collection = Collection([swept.folder])
        with mock.patch.object(Details, "of", side_effect=AssertionError):
            assert curves_of_sample(collection, Details(collection), 300, 0) == []


class TestSampling:
    def test_a_small_run_is_taken_whole(self, collection):
        sample = sampled(collection, 500, 0)
        assert sample.images.tolist() == list(range(len(collection.images)))
        assert sample.unbiased.all() and sample.complete

    def test_every_line_has_hits_and_misses(self, collection):
        for seed in range(20):
            chosen, _, complete = sampled(collection, 8, seed)
            assert len(chosen) == 8 and (np.diff(chosen) > 0).all() and complete
            for line in collection.lines:
                for wanted in (line.gt_known == HIT, line.gt_known != HIT):
                    assert wanted[chosen].any() or not wanted.any()

    def test_too_small_a_sample_says_so(self, collection):
        made_up = _with_hits(collection, np.arange(50) < 25)
        assert not sampled(made_up, 1, 0).complete
        assert sampled(made_up, 4, 0).complete

    def test_a_seed_gives_the_same_sample(self, collection):
        chosen = [sampled(collection, 5, 7).images.tolist() for _ in range(2)]
        assert chosen[0] == chosen[1]
        assert len({tuple(sampled(collection, 5, seed).images) for seed in range(10)}) > 1

    def test_no_image_is_no_error(self, collection):
        assert sampled(collection, 0, 0).images.tolist() == []

    def test_the_images_that_are_unbiased_estimate_the_run_s_accuracy(self, collection):
        """A line that hits 5% of 2,000 images, of which a sample of 100 has many hits."""
        rng = np.random.default_rng(0)
        hits = rng.random(2000) < 0.05
        shares, unbiased_shares = [], []
        for seed in range(60):
            sample = sampled(_with_hits(collection, hits), 100, seed)
            assert len(sample.images) == 100 and sample.unbiased.sum() >= 20
            shares.append(hits[sample.images].mean())
            unbiased_shares.append(hits[sample.images[sample.unbiased]].mean())
        assert np.mean(shares) > 0.15
        assert np.mean(unbiased_shares) == pytest.approx(hits.mean(), abs=0.015)


def _with_hits(collection, hits):
    """The collection with made-up images, of which one line hits some."""
    line = SimpleNamespace(
        gt_known=np.where(hits, HIT, OUTCOMES.index("part")),
        top1=np.full(len(hits), NOT_DEFINED, np.uint8),
    )
    made_up = object.__new__(Collection)
    vars(made_up).update(images=hits, lines=[line])
    return made_up


class TestCommand:
    @pytest.mark.parametrize("place", ["folder", "file/report.html"])
    def test_a_file_that_cannot_be_written_is_told_at_once(self, run, tmp_path, place):
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        with mock.patch("wsol_bench.report.page.file.Collection") as read:
            _, err = cli("report", run.folder.path, "--out", tmp_path / place, code=1)
        assert "name another file with --out" in err and str(tmp_path / place) in err
        assert not read.called

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
