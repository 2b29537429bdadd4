"""The image explorer and the large view, in a browser, on the report of a small run."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
from browser import serious_faults
from page_boxes import modules_in
from report_file import deflated, inflated, written

from wsol_bench.boxes.component import largest_component_box
from wsol_bench.geometry import box_iou
from wsol_bench.metrics.failure_modes import failure_modes
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.upsampling import upsample

HOSTILE = "<img src=x onerror='window.ran = 1'>"


@pytest.fixture
def explorer(report, opened):
    """Opens the explorer in a state, when its images are there."""

    def open_it(state="", **options):
        page = opened(f"{report.as_uri()}#view=images&{state}", **options)
        page.locator(".explorer-count:not(:has-text('Loading'))").wait_for()
        return page

    return open_it


def texts(page):
    """What is said of each image that is shown, in their order."""
    return page.locator(".card img").evaluate_all("(pictures) => pictures.map(({ alt }) => alt)")


def ids(page):
    """Ids of the images that are shown, in their order."""
    return [re.search(r"image (\S+?)(,|$)", text)[1] for text in texts(page)]


def settled_address(page):
    """The address, which the page writes a moment later."""
    page.wait_for_timeout(300)
    return page.url


def label_rows(run, method):
    """The run's rows of the label of each image, by image."""
    rows = run.rows[run.rows["method"] == method]
    labels = run.images.drop_duplicates("image_id").set_index("image_id")["label"]
    own = rows[rows["class"].to_numpy() == labels[rows["image_id"]].to_numpy()]
    return own.drop_duplicates("image_id").set_index("image_id")


def test_all_images_are_shown_with_the_run_s_iou(explorer, run):
    page = explorer()
    iou = label_rows(run, "cam")["iou"]
    assert ids(page) == list(dict.fromkeys(run.images["image_id"]))
    assert page.locator(".explorer-count").inner_text() == f"{len(iou)} images"
    for image, text in zip(ids(page), texts(page), strict=True):
        shown = float(re.search(r"IoU (\d\.\d+)", text)[1])
        assert abs(shown - iou[image]) <= 0.005
        assert (iou[image] >= 0.5) == text.endswith(", hit")


def test_judged_by_top1_the_iou_is_that_of_the_first_prediction(blocks, opened, tmp_path):
    line = json.loads(blocks["line-0"])
    ious = np.linspace(0.9, 0.0, 10, dtype=np.float32)
    line["top1_iou"]["data"] = base64.b64encode(ious.tobytes()).decode()
    address = written(tmp_path / "page.html", {**blocks, "line-0": json.dumps(line)})
    page = opened(f"{address}#view=images&judge=top1&sort=iou")
    page.locator(".card").nth(9).wait_for()
    shown = [float(re.search(r"IoU (\d\.\d+)", text)[1]) for text in texts(page)]
    assert shown == pytest.approx(np.sort(ious), abs=0.006)


def test_filters_and_orders_are_in_the_address(explorer, run):
    page = explorer()
    page.get_by_role("combobox", name="Method").select_option("center_gaussian")
    page.get_by_role("combobox", name="Sort").select_option("iou")
    page.locator(".outcome", has_text="too large").click()
    rows = label_rows(run, "center_gaussian")
    found = rows[failure_modes(rows.reset_index(), run.images).to_numpy() == "too_large"]
    assert 0 < len(found) < len(rows)
    page.get_by_text(f"{len(found)} of {len(rows)} images", exact=True).wait_for()
    assert ids(page) == found["iou"].sort_values(kind="stable").index.tolist()
    state = settled_address(page).partition("#")[2]
    assert set(state.split("&")) == {
        "view=images",
        "line=center_gaussian",
        "sort=iou",
        "outcome=too_large",
    }
    assert ids(explorer(state)) == ids(page)


def test_chips_take_filters_away(explorer):
    page = explorer("text=nothing+has+this&flag=counted")
    assert page.locator(".explorer-count").inner_text() == "0 of 10 images"
    assert page.locator(".explorer-empty").is_visible()
    assert page.locator(".card").count() == 0
    page.get_by_label("Remove filter: “nothing has this”").click()
    page.locator(".card").first.wait_for()
    assert page.locator(".chip").all_inner_texts() == ["counted in the error ×", "Clear"]
    page.get_by_text("Clear", exact=True).click()
    page.locator(".chip").first.wait_for(state="detached")


def test_a_hits_and_b_misses(explorer, run):
    page = explorer("a=cam&b=center_gaussian")
    first, second = (label_rows(run, name)["iou"] >= 0.5 for name in ("cam", "center_gaussian"))
    assert ids(page) == first[first & ~second].index.tolist()
    page.get_by_label("Swap A and B").click()
    page.get_by_text("0 of 10 images").wait_for()
    assert not (second & ~first).any()
    assert {"a=center_gaussian", "b=cam"} < set(settled_address(page).split("&"))


def test_a_pair_can_sort_all_images(explorer, run):
    page = explorer("a=cam&b=center_gaussian&sort=difference-down")
    first, second = (label_rows(run, name)["iou"] for name in ("cam", "center_gaussian"))
    page.get_by_label("only where A hits and B misses").uncheck()
    page.get_by_text("10 images", exact=True).wait_for()
    difference = (first - second).astype(np.float32)
    assert ids(page) == difference.sort_values(ascending=False, kind="stable").index.tolist()
    assert page.locator(".chip").count() == 0
    assert {"pair=all", "a=cam", "b=center_gaussian"} < set(settled_address(page).split("&"))


def test_the_order_by_a_pair_is_named_before_there_is_one(explorer):
    page = explorer("a=cam&b=gone&sort=difference")
    sort = page.get_by_role("combobox", name="Sort")
    hint = sort.locator("option", has_text="choose A and B")
    assert hint.is_disabled()
    assert sort.input_value() == ""
    page.get_by_role("combobox", name="B", exact=True).select_option("grad_cam")
    hint.wait_for(state="detached")
    assert sort.input_value() == "difference"


def test_keys_move_open_and_close(explorer):
    page = explorer()
    order = ids(page)
    viewer = page.locator("dialog.viewer")

    def focused():
        return page.evaluate("document.activeElement.querySelector('img')?.alt ?? ''")

    page.keyboard.press("j")
    assert order[0] in focused()
    page.keyboard.press("ArrowRight")
    assert order[1] in focused()
    page.keyboard.press("End")
    assert order[-1] in focused()
    page.keyboard.press("Home")
    assert order[0] in focused()
    page.keyboard.press("Enter")
    viewer.wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    assert f"image={order[2]}" in settled_address(page)
    assert viewer.locator(".viewer-place").inner_text() == f"3 of {len(order)}"
    page.keyboard.press("k")
    page.keyboard.press("Escape")
    page.locator(f".card:focus img[alt*='{order[1]}']").wait_for()
    assert viewer.is_hidden()
    assert "image=" not in settled_address(page)
    page.keyboard.press("/")
    page.keyboard.type("hjt?")  # text, and no keys
    assert page.get_by_label("Search").input_value() == "hjt?"
    assert page.locator("dialog[open]").count() == 0


def test_back_leaves_the_large_view(explorer):
    page = explorer()
    page.locator(".card").nth(3).click()
    page.locator("dialog.viewer").wait_for()
    page.go_back()
    page.locator("dialog.viewer").wait_for(state="hidden")
    page.go_forward()
    page.locator("dialog.viewer").wait_for()


def test_the_slider_gives_the_boxes_of_python(blocks, run, opened, tmp_path):
    """Box and IoU at other thresholds are those that Python takes from the same map."""
    detail = inflated(blocks["image-3"])
    row = next(row for row in detail["rows"] if row["line"] == 0 and row["is_label"])
    place = row["map"]
    y, x = np.indices((place["height"], place["width"]))
    small = np.exp(-np.hypot(y - place["height"] / 3, x - place["width"] / 2)).astype("<f2")
    values = np.frombuffer(zlib.decompress(base64.b64decode(detail["pack"])), "<f2").copy()
    values[place["first"] :][: small.size] = small.ravel()
    detail["pack"] = base64.b64encode(zlib.compress(values.tobytes())).decode()
    changed = {**blocks, "image-3": deflated(detail)}
    image = json.loads(blocks["index"])["ids"][3]
    address = written(tmp_path / "page.html", changed)
    page = opened(f"{address}#view=images&image={image}")

    protocol = StoredRun(run.folder.path).identity.protocol
    size = (protocol.input.size,) * 2
    [large] = upsample(small[None].astype(np.float32), size, protocol.map)
    info = run.images.set_index("image_id").loc[image]
    factor = np.array([info["width"], info["height"]] * 2) / size[0]
    truth = np.asarray(info["boxes"], np.float64).reshape(-1, 4)
    slider = page.get_by_label("Threshold of boxes")
    slider.wait_for()
    assert float(slider.input_value()) == protocol.box.threshold
    seen = set()
    for threshold in (0.05, 0.2, 0.35, 0.6, 0.9):
        slider.fill(str(threshold))
        box = largest_component_box(large, threshold=threshold) * factor
        iou = box_iou(box[None], truth).max()
        verdict, text = "hit" if iou >= 0.5 else "miss", f"IoU {iou:.2f}"
        page.locator(f".viewer-result:has-text('{text}'):has-text('{verdict}')").wait_for()
        seen.add(text)
    assert len(seen) == 5
    page.get_by_role("button", name="Each method's own").click()
    page.locator(f".viewer-result:has-text('IoU {row['iou']:.2f}')").wait_for()


def test_a_copied_link_names_the_line(explorer):
    page = explorer("text=val")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.get_by_role("button", name="Copy link").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    state = page.evaluate("window.copied").partition("#")[2]
    assert set(state.split("&")) == {"view=images", "text=val", "line=cam"}


def test_images_of_a_sweep_are_counted_or_held_out(blocks_of_sweep, swept, opened, tmp_path):
    address = written(tmp_path / "page.html", blocks_of_sweep)
    images = swept.images.drop_duplicates("image_id")
    held_out = images["held_out"]
    counted = ~held_out & ~images["blacklisted"] & (images["boxes"].map(len) > 0)
    for flag, n in (("counted", counted.sum()), ("held_out", held_out.sum())):
        page = opened(f"{address}#view=images&flag={flag}")
        assert 0 < n < 10
        page.get_by_text(f"{n} of 10 images", exact=True).wait_for()
        options = page.get_by_role("combobox", name="Sort").locator("option").all_inner_texts()
        assert not any("IoU" in option for option in options)


def test_classes_are_chosen_by_key_and_click(explorer, run):
    image = run.images["image_id"].iloc[0]
    page = explorer(f"image={image}")
    rows = run.rows[(run.rows["image_id"] == image) & (run.rows["method"] == "cam")]
    chosen = page.locator(".classes tr.chosen")
    label = label_rows(run, "cam").loc[image]
    assert label["class"] in chosen.inner_text()
    assert "label" in chosen.inner_text()
    for rank in (2, 1):
        page.keyboard.press(str(rank))
        wnid = rows.set_index("rank")["class"][rank]
        page.locator(f".classes tr.chosen:has-text('{wnid}')").wait_for()
    page.locator(".classes tbody tr").nth(1).click()
    assert "slot=" in settled_address(page)


def test_a_class_that_one_method_does_not_rank_stands_once(blocks, opened, tmp_path):
    """As with a baseline beside a prediction file, which gives the label a rank."""
    detail = inflated(blocks["image-3"])
    ranked = {row["class"] for row in detail["rows"] if row["rank"]}
    labels = [row for row in detail["rows"] if row["is_label"]]
    labels[1]["rank"] = 0
    address = written(tmp_path / "page.html", {**blocks, "image-3": deflated(detail)})
    name = json.loads(blocks["index"])["ids"][3]
    page = opened(f"{address}#view=images&image={name}")
    page.locator(".classes tr.chosen").wait_for()
    assert page.locator(".classes tbody tr").count() == len(ranked)
    assert page.locator(".classes .badge").count() == 1


def test_every_method_is_beside_the_others(explorer, run):
    page = explorer(f"image={run.images['image_id'].iloc[0]}")
    tiles = page.locator(".tile")
    tiles.nth(2).locator("text=IoU").wait_for()
    assert tiles.count() == 3
    image = run.images["image_id"].iloc[0]
    for name, text in zip(
        ("cam", "grad_cam", "center_gaussian"), tiles.all_inner_texts(), strict=True
    ):
        assert text.startswith(name)
        assert f"IoU {label_rows(run, name).loc[image]['iou']:.2f}" in text
    tiles.nth(1).click()
    page.locator(".viewer-result strong:text-is('grad_cam')").wait_for()


def test_a_link_to_an_image_that_is_not_there_says_so(explorer):
    page = explorer("image=elsewhere")
    page.get_by_text("no image “elsewhere”").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog.viewer").wait_for(state="hidden")


def test_a_link_leads_to_the_same_methods_of_another_page(blocks, opened, tmp_path):
    """A page that was made again has its methods in another order, and more of them."""
    overview = json.loads(blocks["overview"])
    cam, *others = overview["lines"]
    new = {**cam, "method": "new", "name": "new", "key": "new"}
    overview["lines"] = [new, *others, cam]
    overview["charts"] = {name: [] for name in overview["charts"]}
    changed = {**blocks, "overview": json.dumps(overview), "line-3": blocks["line-0"]}
    address = written(tmp_path / "page.html", changed)
    page = opened(f"{address}#view=images&line=cam&lines=cam,grad_cam&a=grad_cam&b=center_gaussian")
    method = page.get_by_role("combobox", name="Method").locator("option:checked")
    assert method.inner_text() == "cam"
    assert page.locator(".shell-notice").is_hidden()
    chips = page.locator(".chip").all_inner_texts()
    assert {"grad_cam hits ×", "center_gaussian misses ×"} <= set(chips)
    page.get_by_label("Remove filter: grad_cam hits").click()
    state = settled_address(page).partition("#")[2].split("&")
    assert set(state) == {"view=images", "line=cam", "lines=cam,grad_cam", "b=center_gaussian"}


def test_a_link_to_a_method_that_is_not_there_says_so(explorer, report, opened):
    page = opened(
        f"{report.as_uri()}#view=images&line=<b>gone&lines=cam,lost,cam&a=cam&model=-2&b=0"
    )
    notice = page.locator(".shell-notice")
    assert notice.inner_text().startswith("This page has no <b>gone, no lost, no -2, no 0, which")
    method = page.get_by_role("combobox", name="Method").locator("option:checked")
    assert method.inner_text() == "cam"
    assert serious_faults(page) == []
    notice.get_by_label("Close").click()
    assert notice.is_hidden()
    page.evaluate("location.hash = 'view=images&line=lost'")
    notice.wait_for()
    page.evaluate("location.hash = 'view=images&line=grad_cam'")
    notice.wait_for(state="hidden")
    page.locator("option:checked", has_text="grad_cam").first.wait_for(state="attached")


def test_texts_of_runs_stay_texts(blocks, opened, tmp_path):
    index = json.loads(blocks["index"])
    overview = json.loads(blocks["overview"])
    index["ids"] = [f"{HOSTILE}{n}" for n in range(len(index["ids"]))]
    for each in index["classes"]:
        each["words"] = HOSTILE
    for line in overview["lines"]:
        line["name"] = line["method"] = HOSTILE
    for name in ("title", "sampling"):
        overview[name] = HOSTILE
    for outcome in overview["outcomes"]:
        outcome["title"] = outcome["meaning"] = HOSTILE
    details = {
        name: deflated(
            json.loads(json.dumps(inflated(text)).replace('"no_map": "', '"no_map": "<img src=x>'))
        )
        for name, text in blocks.items()
        if name.startswith("image-")
    }
    changed = {**blocks, **details, "index": json.dumps(index), "overview": json.dumps(overview)}
    address = written(tmp_path / "page.html", changed)
    page = opened(f"{address}#view=images&text=img&class={HOSTILE}")
    page.get_by_text("Clear all").click()
    page.locator(".card").first.click()
    page.locator(".tile-result").first.wait_for()
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src='x'], img[onerror]").count() == 0
    assert HOSTILE in page.locator(".viewer-title").inner_text()


def test_numbers_that_a_state_cannot_have_are_defaults(browser):
    ask = "(text) => import('http://page.test/state.js').then((page) => page.stateFromText(text))"
    with modules_in(browser) as page:
        usual = page.evaluate(ask, "")
        for text in (
            "threshold=1.5&opacity=-0.1&heat=2&boxes=0.5&slot=-1",
            "threshold=-0.5&opacity=NaN&slot=1.5&heat=Infinity&boxes=1e999",
        ):
            assert page.evaluate(ask, text) == usual
        kept = {"threshold": 0.25, "opacity": 1, "heat": 0, "slot": 5}
        text = "&".join(f"{name}={value}" for name, value in kept.items())
        assert page.evaluate(ask, text) == {**usual, **kept}


def test_images_are_kept_by_their_bytes(browser):
    ask = """async (sequences) => {
      const { detailLoader } = await import("http://page.test/loading.js");
      const kept = [];
      for (const asked of sequences) {
        const loader = detailLoader(async (n) => n, (n) => n, { kept: 100 });
        for (const n of asked) await loader.load(n);
        kept.push([...new Set(asked)].filter((n) => loader.get(n)));
      }
      return kept;
    }"""
    with modules_in(browser) as page:
        asked = [[10, 40, 41], [10, 40, 41, 30], [10, 40, 41, 10, 30], [40, 150], [150, 20]]
        kept = page.evaluate(ask, asked)
    assert kept == [[10, 40, 41], [41, 30], [10, 41, 30], [150], [20]]


def test_a_region_is_drawn_by_the_rule(browser):
    ask = """async (comparison) => {
      const { regionOutline } = await import("http://page.test/outline.js");
      const outline = regionOutline(Float32Array.from([1, 1, 1, 1]), [2, 2], 1, comparison);
      const context = document.createElement("canvas").getContext("2d");
      context.lineWidth = 0.2;
      return context.isPointInStroke(outline, 0, 1); // the left edge of the map
    }"""
    with modules_in(browser) as page:
        assert page.evaluate(ask, "at_least")
        assert not page.evaluate(ask, "above")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_is_accessible_and_fits(scheme, width, explorer, run):
    page = explorer(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert serious_faults(page) == []
    assert fits(page, width)
    page.locator(".card").first.click()
    page.locator(".tile-result").first.wait_for()
    assert serious_faults(page) == []
    assert fits(page, width)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.locator("dialog.sheet").wait_for()
    assert serious_faults(page) == []


def fits(page, width):
    """Return whether nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth") <= width
