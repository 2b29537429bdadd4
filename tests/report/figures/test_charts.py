"""Curves and bars: they say what they are of, and agree with the summary."""

import numpy as np
import pytest
from counted_hits import counted_run

from wsol_bench.report.figures import curves
from wsol_bench.report.figures.bars import bars_figure
from wsol_bench.report.figures.caption import facts_of
from wsol_bench.report.figures.curves import curves_figure
from wsol_bench.report.figures.style import fitted, width_of
from wsol_bench.report.page.collection import Collection


@pytest.fixture(scope="module")
def collection(run):
    return Collection([run.folder])


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def note_of(figure):
    """The lines of the note, which are drawn from the last one on, and other texts."""
    return " ".join(texts_of(figure)[::-1]).replace("\u00a0", " ")


class TestFacts:
    def test_are_in_every_figure(self, run, collection):
        identity = run.folder.identity
        facts = (
            f"color_net on 10 images of {identity.dataset.name}, protocol {identity.protocol.name} "
        )
        for figure in (bars_figure(collection), curves_figure(collection).figure):
            assert f"{facts}({identity.protocol_hash})" in note_of(figure)

    def test_count_the_images_of_the_numbers_and_name_a_limit(self, swept, mistaken):
        """A sweep that selects a threshold on some images has its numbers from the others."""
        n_images = int((~swept.images["held_out"]).sum())
        facts = facts_of(Collection([swept.folder, mistaken.folder]))
        assert [fact.partition(",")[0] for fact in facts] == [
            f"color_net on {n_images} images of {swept.folder.identity.dataset.name}",
            f"color_net on 4 images of {mistaken.folder.identity.dataset.name} (limit 4)",
        ]


class TestCurves:
    def test_over_thresholds_meet_the_summary_at_the_threshold_of_the_protocol(
        self, run, collection
    ):
        figure = curves_figure(collection).figure
        over_thresholds, over_ious = figure.axes
        [dotted] = (line for line in over_thresholds.lines if line.get_linestyle() == ":")
        assert dotted.get_xdata()[0] == 0.15
        drawn = [line for line in over_thresholds.lines if len(line.get_xdata()) > 2]
        summary = run.summary[run.summary["method"] != "center_gaussian"]  # whose maps are not kept
        for curve, error in zip(drawn, summary["gt_known_loc_error"], strict=True):
            [at] = np.flatnonzero(np.isclose(curve.get_xdata(), 0.15))
            assert curve.get_ydata()[at] == pytest.approx(100 * (1 - error))
        assert over_ious.get_xlabel() == "least IoU of a hit"
        notes = " ".join(texts_of(figure)[::-1])
        assert (
            "curve over thresholds: the best threshold of the method. Marks on curves over IoU "
            in notes
        )
        assert any(
            f"Box accuracy: of {len(run.images)} images." in text for text in texts_of(figure)
        )

    def test_of_several_runs_say_how_many_images_of_each_they_are(
        self, run, mistaken, swept, monkeypatch
    ):
        runs = Collection([run.folder, mistaken.folder])
        figure = curves_figure(runs).figure
        assert "Box accuracy: of 10 images or 4 images. " in note_of(figure)
        monkeypatch.setattr(curves, "_SWEPT_IMAGES", 3)
        for content in (runs, Collection([run.folder, swept.folder])):
            figure = curves_figure(content, seed=5).figure
            which = "Box accuracy: of 3 images, drawn at random (seed 5). "
            assert which in note_of(figure)

    def test_without_maps_are_not_there_and_why(self, tmp_path, masked):
        boxes = counted_run(tmp_path, tmp_path / "run", {"three": 3})
        found = curves_figure(Collection([boxes]))
        assert [axes.get_xlabel() for axes in found.figure.axes] == ["least IoU of a hit"]
        assert "The methods give boxes, and no maps" in found.remark
        pixels = curves_figure(Collection([masked.folder]))
        assert pixels.figure is None
        assert "count no hits" in pixels.remark


class TestBars:
    def test_have_ticks_that_cover_them_and_one_scale_of_percentages(self, mistaken):
        panels = bars_figure(Collection([mistaken.folder])).axes
        reach = 0.0
        for axes in panels:
            ends = [0.0, *(end for line in axes.lines for end in line.get_xdata())]
            ends += [bar.get_width() for bar in axes.patches]
            ticks = axes.get_xticks()
            assert ticks[0] <= min(ends)
            assert max(ends) <= ticks[-1]
            assert (*axes.get_xlim(),) == (ticks[0], ticks[-1])
            assert 3 <= len(ticks) <= 6
            reach = max(reach, *ends)
        assert len(panels) > 1
        assert all("%" in axes.get_xlabel() for axes in panels)
        assert {axes.get_xlim()[1] for axes in panels} == {panels[0].get_xlim()[1]}
        assert reach <= panels[0].get_xlim()[1] < 1.5 * reach


def test_text_that_fits_when_it_is_smaller_is_not_cut():
    for text in ("✗ IoU 0.02, background", "GT-known loc error", "i" * 40):
        wide = width_of(text, 6.0)
        for share in (0.85, 0.9, 0.97):
            assert fitted(text, share * wide, 6.0)[0] == text
        cut, size = fitted(text, 0.5 * wide, 6.0)
        assert cut.endswith("…")
        assert size == 5
        assert width_of(cut, size) <= 0.5 * wide
