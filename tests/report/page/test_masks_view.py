"""Images of a protocol of pixels, whose ground truth is a mask, in a browser."""

import pytest
from analyzed_runs import scenes
from report_file import blocks_of, deflated, inflated, written

from wsol_bench.report.page.file import write_report

HOSTILE = "<img src=x onerror='window.ran = 1'>"


@pytest.fixture(scope="module")
def report(masked, tmp_path_factory):
    """The file of the page of a run on masks."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_report([masked.folder], file)
    return file


def test_pixels_have_no_box_and_no_iou(report, masked, opened):
    image = masked.images["image_id"].iloc[0]
    page = opened(f"{report.as_uri()}#view=images&image={image}")
    page.locator(".viewer:not(.waiting) .tile[aria-pressed]").nth(2).wait_for()
    text = page.locator(".viewer").inner_text()
    assert text.count("no box") == text.count("IoU") == 1
    assert "0 boxes" not in text
    filters = page.locator(".filters").text_content()
    assert "This protocol judges pixels, not boxes." in filters
    hidden = ("Two methods", "Judged by", "Object size", "several objects", "no box of the label")
    assert not any(name in filters for name in hidden)
    assert "object size" not in page.locator(".explorer-tools").text_content()
    assert page.get_by_role("button", name="Mask").is_visible()
    legend = page.locator(".viewer .legend-item:has(.legend-box)").all_inner_texts()
    assert legend == ["ground truth", "ignored"]
    assert page.locator(".slider-value").first.inner_text() == ""
    assert page.get_by_label("Threshold of boxes").is_disabled()


# For each line on a picture of an image of 224 x 224 pixels: the share of its points that are white
# or beside white.
WHITE = """([canvas, lines]) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const isWhite = (x, y) => data.slice(4 * (y * width + x)).slice(0, 4).every((n) => n > 200);
  return lines.map(([x0, y0, x1, y1]) => {
    const whites = Array.from({ length: 50 }, (_, n) => {
      const x = Math.floor(((x0 + (n * (x1 - x0)) / 49) * width) / 224);
      const y = Math.floor(((y0 + (n * (y1 - y0)) / 49) * height) / 224);
      return [-1, 0, 1].some((by) => isWhite(x + by, y) || isWhite(x, y + by));
    });
    return whites.filter(Boolean).length / 50;
  });
}"""


def test_masks_are_outlined(report, masked, opened):
    [(x0, y0, x1, y1)] = scenes(6)[2][2]
    image = masked.images["image_id"].iloc[2]
    address = f"{report.as_uri()}#view=images&heat=0&image={image}"
    for boxes, expected in ((1, 1), (0, 0)):
        page = opened(f"{address}&boxes={boxes}")
        page.locator(".viewer:not(.waiting) .tile[aria-pressed]").nth(2).wait_for()
        canvas = page.locator(".viewer-stage canvas").element_handle()
        edges = [(x0, y0 + 4, x0, y1 - 4), (x0 + 4, y1, x1 - 4, y1)]
        inside = (x0 + 16, y0 + 16, x1 - 16, y0 + 16)
        found = page.evaluate(WHITE, [canvas, [*edges, inside]])
        assert found == [expected, expected, 0]


def test_why_there_is_no_mask_is_told(report, masked, opened, tmp_path):
    blocks = blocks_of(report)
    detail = inflated(blocks["image-0"])
    detail["masks"] = [{**detail["masks"][0], "pack": "", "problem": f"{HOSTILE}: no such file"}]
    address = written(tmp_path / "page.html", {**blocks, "image-0": deflated(detail)})
    page = opened(f"{address}#view=images&image={masked.images['image_id'].iloc[0]}")
    page.get_by_text(f"There is no mask: {HOSTILE}: no such file").wait_for()
