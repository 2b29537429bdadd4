"""The colors of heatmaps in the page are those of matplotlib's viridis."""

import matplotlib
import numpy as np
from page_boxes import modules_in

COLORS = """async (values) => {
  const page = await import("http://page.test/heatmap.js");
  return values.map(page.viridis);
}"""
PICTURE = """async (values) => {
  const page = await import("http://page.test/heatmap.js");
  const picture = page.heatPicture(Float32Array.from(values), 1, values.length);
  return [...picture.getContext("2d").getImageData(0, 0, values.length, 1).data];
}"""


def test_colors_are_viridis(browser):
    values = np.linspace(0, 1, 101)
    with modules_in(browser) as page:
        found = np.array(page.evaluate(COLORS, values.tolist()))
    expected = 255 * matplotlib.colormaps["viridis"](values)[:, :3]
    assert np.abs(found - expected).max() <= 5  # of 255: a polynomial


def test_only_what_is_positive_is_seen(browser):
    with modules_in(browser) as page:
        data = page.evaluate(PICTURE, [-3.0, 0.0, 0.5, 1.0, 2.0])
        nothing = page.evaluate(PICTURE, [-1.0, 0.0, -2.0])
    pixels = np.reshape(data, (5, 4))
    assert pixels[:2].max() == 0
    assert (np.diff(pixels[1:4, 3]) > 0).all()  # the more, the more opaque
    assert np.abs(pixels[4] - [253, 231, 37, 255]).max() <= 5  # the yellow of a maximum
    assert max(nothing) == 0
