"""One panel: outlines, heat, and boxes that are seen on all sides."""

import io

import numpy as np
import pytest
from PIL import Image

from wsol_bench.geometry import Placement
from wsol_bench.report.figures.panel import LOOKS, Panel, draw_panel, heat_factor, inside, outline

GREEN = (46, 230, 107)


def drawn(panel, side=2.0):
    """The pixels of a panel that fills a figure, 100 an inch."""
    from matplotlib.figure import Figure

    height, width = panel.size
    figure = Figure(figsize=(side, side * height / width), dpi=100)
    draw_panel(figure.add_axes((0, 0, 1, 1)), panel, side)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return np.asarray(Image.open(content).convert("RGB")).astype(int)


def near(pixels, color, tolerance=40):
    return np.abs(pixels - np.array(color)).sum(axis=-1) < tolerance


class TestOutline:
    def test_encloses_the_pixels_and_follows_their_edges(self):
        """By the shoelace formula, and by the edges between pixels that differ."""
        rng = np.random.default_rng(0)
        for _ in range(60):
            mask = rng.random((7, 9)) < rng.random()
            area = length = 0.0
            for x, y in (ring.T for ring in outline(mask)):
                after_x, after_y = np.roll(x, -1), np.roll(y, -1)
                assert ((after_x == x) | (after_y == y)).all()
                area += (x * after_y - after_x * y).sum() / 2
                length += np.abs(after_x - x).sum() + np.abs(after_y - y).sum()
            padded = np.pad(mask, 1).astype(int)
            edges = sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))
            assert (area, length) == (mask.sum(), edges)

    def test_by_hand(self):
        [ring] = outline(np.ones((2, 3), bool))
        assert ring.tolist() == [[0, 0], [3, 0], [3, 2], [0, 2]]
        assert outline(np.zeros((2, 3), bool)) == []


class TestBoxes:
    @pytest.mark.parametrize("size", [(90, 120), (400, 300)])
    def test_all_four_sides_of_a_box_at_the_border_are_seen(self, size):
        height, width = size
        box = np.array([0, 0, width, height], float)
        pixels = drawn(Panel(size, box=box, verdict="hit"))
        green = near(pixels, GREEN)
        edge = 6
        for strip in (green[:edge], green[-edge:], green[:, :edge].T, green[:, -edge:].T):
            assert strip.any(axis=0).mean() > 0.9

    def test_a_box_within_the_image_stays_where_it_is(self):
        box = np.array([20.0, 30, 60, 80])
        assert inside(box, (100, 200), 3.0).tolist() == box.tolist()
        moved = inside(np.array([0.0, -5, 199, 98]), (100, 200), 3.0)
        assert moved.tolist() == [3, 3, 197, 97]

    def test_verdicts_differ_without_color(self):
        dashes = {name: LOOKS[name].dash for name in ("hit", "miss", "not judged")}
        assert len(set(dashes.values())) == 3


class TestHeat:
    def test_of_a_smooth_map_is_the_fraction_of_its_maximum(self):
        ramp = np.linspace(0, 1, 100, dtype=np.float32)[None].repeat(100, 0)
        assert heat_factor(ramp) == 1
        assert heat_factor(np.zeros((4, 4), np.float32)) == 1
        assert heat_factor(np.full((4, 4), np.nan, np.float32)) == 1

    def test_of_a_grainy_map_ends_at_its_99th_percentile(self):
        values = np.full(10_000, 0.01, np.float32)
        values[:200] = 0.1
        values[0] = 1
        assert heat_factor(values.reshape(100, 100)) == pytest.approx(10, rel=0.01)
        sparse = np.zeros(10_000, np.float32)
        sparse[:90], sparse[0] = 0.1, 1  # more than 99% of the pixels are zero
        assert 1 < heat_factor(sparse.reshape(100, 100)) <= 10

    @pytest.mark.parametrize("gray", [0, 128, 255])
    def test_is_seen_on_dark_and_on_bright_images(self, gray):
        size = (100, 100)
        values = np.zeros(size, np.float32)
        values[:, 50:] = 1
        values[:, :50] = 0.3
        picture = Image.new("RGB", size, (gray,) * 3)
        placement = Placement(size, size, (0, 0), size)
        pixels = drawn(Panel(size, picture, placement, values))
        plain = drawn(Panel(size, picture, placement, np.zeros(size, np.float32)))
        for columns in (slice(20, 80), slice(120, 180)):
            difference = np.abs(pixels - plain)[:, columns].max(axis=-1)
            assert difference.mean() > 35
            assert np.ptp(pixels[:, columns], axis=-1).mean() > 25  # colored, not gray

    def test_of_grains_is_seen(self):
        """A few extreme pixels do not leave the rest dark."""
        rng = np.random.default_rng(0)
        values = (0.02 * rng.random((100, 100))).astype(np.float32)
        values[3, 3] = 1
        size = (100, 100)
        panel = Panel(size, Image.new("RGB", size), Placement(size, size, (0, 0), size), values)
        pixels = drawn(panel)[60:150, 20:150]
        assert np.ptp(pixels, axis=-1).mean() > 60
