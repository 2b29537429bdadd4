"""Boxes and IoU of maps at thresholds: by the page's modules in a browser, and by Python."""

import base64
import json
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scoring_cases import image_batch, row_batch

from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.levels import levels_of
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Placement
from wsol_bench.protocols.model import OneBoxProtocol
from wsol_bench.report.page import overview
from wsol_bench.report.page.taps import encoded_taps
from wsol_bench.scoring.extrema import extrema
from wsol_bench.scoring.frames import truth_in_frame
from wsol_bench.scoring.one_box import OneBox
from wsol_bench.scoring.upsampling import upsample

ASSETS = Path(overview.__file__).parent / "assets"
PLACE = "http://page.test/"
# Boxes and IoU of every map at every threshold, case by case.
OF_CASES = f"""async (text) => {{
  const page = await import("{PLACE}map.js");
  const results = [];
  const unpacked = {{}};
  for (const {{ pack, places, rule, taps, placements, truths, thresholds }} of JSON.parse(text)) {{
    const values = (unpacked[pack] ??= await page.unpackMaps(pack));
    places.forEach((place, n) => {{
      const map = page.mapAt(values, place);
      const large = page.upsampledMap(map, placements[n].input, taps, rule);
      for (const threshold of thresholds) {{
        const box = page.boxAtThreshold(map, large, placements[n], rule, threshold);
        results.push([box, page.bestIouOf(box, truths[n], placements[n], rule)]);
      }}
    }});
  }}
  return JSON.stringify(results);
}}"""
# Box and IoU of every row with a map at the threshold of its line, image by image.
OF_DETAILS = f"""async (text) => {{
  const page = await import("{PLACE}map.js");
  const {{ overview, details }} = JSON.parse(text);
  const results = [];
  for (const {{ pack, rows, taps, placements, truth }} of details) {{
    const values = await page.unpackMaps(pack);
    for (const row of rows.filter((row) => row.map)) {{
      const {{ run, threshold }} = overview.lines[row.line];
      const {{ rule }} = overview.runs[run];
      const map = page.mapAt(values, row.map);
      const large = page.upsampledMap(map, placements[run].input, taps[run], rule);
      const box = page.boxAtThreshold(map, large, placements[run], rule, threshold);
      results.push([box, page.bestIouOf(box, truth[run], placements[run], rule)]);
    }}
  }}
  return JSON.stringify(results);
}}"""
# The maps of every case at the size of the input: base64 of their float32 values.
UPSAMPLED = f"""async (text) => {{
  const page = await import("{PLACE}map.js");
  const results = [];
  for (const {{ pack, places, rule, taps, placements }} of JSON.parse(text)) {{
    const values = await page.unpackMaps(pack);
    for (const place of places) {{
      const map = page.mapAt(values, place);
      const large = page.upsampledMap(map, placements[0].input, taps, rule);
      const bytes = Array.from(new Uint8Array(large.buffer), (byte) => String.fromCharCode(byte));
      results.push(btoa(bytes.join("")));
    }}
  }}
  return results;
}}"""


class Case(NamedTuple):
    """Maps (n, h, w) in float16 of images whose inputs have one size, and how they are scored."""

    protocol: OneBoxProtocol
    maps: np.ndarray
    truths: list
    placements: list[Placement]
    thresholds: list[float]


@contextmanager
def modules_in(browser):
    """A blank page that can import the page's modules."""
    page = browser.new_page()
    page.route(f"{PLACE}**", _fulfill)
    page.goto(f"{PLACE}blank")
    yield page
    page.close()


def _fulfill(route):
    name = route.request.url.removeprefix(PLACE)
    if name == "blank":
        route.fulfill(body="<!doctype html>", content_type="text/html")
    else:
        route.fulfill(path=ASSETS / name, content_type="text/javascript")


def of_page(page, cases):
    """Of each case, map and threshold the box (None for none) and its best IoU."""
    return json.loads(page.evaluate(OF_CASES, _as_json(cases)))


def details_of_page(page, seen, details):
    """Of each image, and each of its rows with a map, the box and its best IoU.

    ``seen`` is the page's `Overview`, ``details`` has the `Detail` of each image.
    """
    text = json.dumps({"overview": seen, "details": details})
    return json.loads(page.evaluate(OF_DETAILS, text))


def upsampled_by_page(page, cases):
    """The maps (n, height, width) of each case at the size of the input."""
    texts = iter(page.evaluate(UPSAMPLED, _as_json(cases)))
    for case in cases:
        flat = [np.frombuffer(base64.b64decode(next(texts)), "<f4") for _ in case.maps]
        yield np.reshape(flat, (len(case.maps), *case.placements[0].input))


def _as_json(cases):
    return json.dumps(list(map(_as_detail, cases)))


def packed(maps):
    """Maps as `Detail.pack`."""
    return base64.b64encode(zlib.compress(maps.astype("<f2").tobytes())).decode()


def _as_detail(case):
    frame = case.protocol.scoring.frame
    n, height, width = case.maps.shape
    sizes = zip((height, width), case.placements[0].input, strict=True)
    return {
        "pack": packed(case.maps),
        "places": [
            {"first": index * height * width, "height": height, "width": width}
            for index in range(n)
        ],
        "rule": overview._rule(case.protocol),
        "taps": encoded_taps(sizes, case.protocol.map),
        "placements": list(map(vars, case.placements)),
        "truths": [
            truth_in_frame(truth, place, frame).tolist()
            for truth, place in zip(case.truths, case.placements, strict=True)
        ],
        "thresholds": case.thresholds,
    }


def of_python(cases):
    """The same as ``of_page``, by the package's own scoring, with all thresholds at once."""
    return [result for case in cases for result in _scored(case)]


def _scored(case):
    protocol, maps = case.protocol, case.maps.astype(np.float32)
    large = upsample(maps, case.placements[0].input, protocol.map)
    low, high = extrema(large, maps, protocol.map, protocol.box)
    thresholds = np.array(case.thresholds)
    levels = levels_of(low[:, None], high[:, None], threshold=thresholds, of=protocol.box.of)
    boxes = largest_components(
        np.repeat(large, len(thresholds), axis=0),
        levels.ravel(),
        comparison=protocol.box.comparison,
        connectivity=protocol.box.connectivity,
    )
    images = image_batch(case.truths, protocol, case.placements)
    rows = row_batch(images, image=np.repeat(np.arange(len(maps)), len(thresholds)))
    boxes, columns = OneBox(protocol, ()).place_boxes(boxes, rows)
    for box, iou in zip(boxes.tolist(), columns["iou"].tolist(), strict=True):
        yield [None if np.isnan(box[0]) else box, iou]


def cases_of_run(run, thresholds, at_once=16):
    """The stored maps of a run under a protocol of one threshold, a few at a time."""
    protocol = run.folder.identity.protocol
    maps = run.maps.rename(columns={"height": "rows", "width": "columns"})
    lines = maps.merge(run.images[["model", "image_id", "height", "width", "label", "boxes"]])
    lines["input"] = [
        protocol.input.place(height, width).input
        for height, width in zip(lines["height"], lines["width"], strict=True)
    ]
    for shape, same in lines.groupby(["rows", "columns", "input"]):
        for start in range(0, len(same), at_once):
            few = same.iloc[start : start + at_once]
            yield Case(
                protocol,
                np.frombuffer(b"".join(few["map"]), "<f2").reshape(-1, *shape[:2]),
                [
                    ImageTruth(label, np.reshape(boxes, (-1, 4)))
                    for label, boxes in zip(few["label"], few["boxes"], strict=True)
                ],
                list(map(protocol.input.place, few["height"], few["width"])),
                thresholds,
            )
