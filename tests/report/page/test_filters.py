"""Filters and orders of images in the page, against pandas on random columns."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from page_boxes import modules_in

from wsol_bench.metrics.breakdown import SIZE_EDGES

OUTCOMES = ["hit", "wrong_class", "no_box", "part"]
UNDEFINED = 255
CLASSES = [
    {"wnid": "n01", "words": "Siamese cat, Siamese"},
    {"wnid": "n02", "words": "<b>tabby</b> cat"},
    {"wnid": "n03", "words": "tench"},
    {"wnid": "n04", "words": "İstanbul"},
]
EDGES = [0, 0.01, 0.04, 0.09, 0.16, 0.25, 0.36, 0.49, 0.64, 0.81, 1]
NO_QUERY = {
    "judge": "gt_known", "line": 0, "outcomes": [], "hit": 0, "a": -1, "b": -1, "split": True,
    "wnid": "", "size": None, "text": "", "flag": "", "sort": "",
}  # fmt: skip
# Typed arrays do not travel as JSON.
COLUMNS = """
  const page = await import("http://page.test/filters.js");
  const { images, model, lines, queries } = JSON.parse(text);
  const kinds = { u8: Uint8Array, i32: Int32Array, f32: Float32Array };
  const typed = (columns) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [
    name,
    kinds[values[0]] ? kinds[values[0]].from(values[1], (value) => value ?? NaN) : values,
  ]));
  const columns = [typed(images), typed(model), new Map(lines.map((line, n) => [n, typed(line)]))];
"""
ANSWERS = f"""async (text) => {{ {COLUMNS}
  return queries.map((query) => [
    [...page.filterImages(...columns, query)],
    [...page.countOutcomes(...columns, query)],
  ]);
}}"""
MILLISECONDS = f"""async (text) => {{ {COLUMNS}
  return queries.map((query) => {{
    const before = performance.now();
    page.filterImages(...columns, query);
    page.countOutcomes(...columns, query);
    return performance.now() - before;
  }});
}}"""


def random_columns(n, seed=0):
    """A table with a row for each image, and all columns that the page has of images."""
    random = np.random.default_rng(seed)
    few = np.float32([0, -0.0, 0.25, 0.5, np.nan])  # ties, and images without a number
    table = pd.DataFrame({"id": [f"val_{i:05d}.JPEG" for i in random.permutation(n)]})
    table["label"] = random.integers(0, len(CLASSES), n)
    table["n_boxes"] = random.integers(0, 4, n)
    edges = np.float32(random.choice(EDGES, n))
    size = np.where(random.random(n) < 0.3, edges, random.random(n).astype(np.float32))
    table["size"] = np.where(table["n_boxes"] > 0, size, np.float32(0)).astype(np.float32)
    for name in ("blacklisted", "held_out", "evaluated"):
        table[name] = random.integers(0, 5, n) == 0
    table["evaluated"] = ~table["evaluated"]
    table["top1"] = random.integers(-1, len(CLASSES), n)
    table["label_score"] = np.where(random.random(n) < 0.5, random.choice(few, n), random.random(n))
    for line in range(3):
        table[f"counted_{line}"] = random.integers(0, 3, n) > 0
        for judge in ("gt_known", "top1"):
            table[f"{judge}_{line}"] = random.choice([0, 0, 1, 2, 3, UNDEFINED], n)
        for name in ("iou", "top1_iou"):
            table[f"{name}_{line}"] = np.where(
                random.random(n) < 0.5, random.choice(few, n), random.random(n)
            )
    reals = table.select_dtypes("float64").columns
    return table.astype(dict.fromkeys(reals, np.float32))


def as_columns(table):
    """The table as the page has it."""

    def column(kind, values):
        values = np.asarray(values)
        return [kind, [None if value != value else value for value in values.tolist()]]

    return {
        "images": {
            "ids": table["id"].tolist(),
            "classes": CLASSES,
            "label": column("i32", table["label"]),
            "n_boxes": column("i32", table["n_boxes"]),
            "size": column("f32", table["size"]),
            "blacklisted": column("u8", table["blacklisted"].astype(int)),
        },
        "model": {
            "held_out": column("u8", table["held_out"].astype(int)),
            "evaluated": column("u8", table["evaluated"].astype(int)),
            "top1": column("i32", table["top1"]),
            "label_score": column("f32", table["label_score"]),
        },
        "lines": [
            {
                "gt_known": column("u8", table[f"gt_known_{line}"]),
                "top1": column("u8", table[f"top1_{line}"]),
                "iou": column("f32", table[f"iou_{line}"]),
                "top1_iou": column("f32", table[f"top1_iou_{line}"]),
                "counted": column("u8", table[f"counted_{line}"].astype(int)),
            }
            for line in range(3)
        ],
    }


def kept_but_outcome(table, query):
    """The images that all filters but the outcomes keep, as pandas finds them."""
    kept = table["evaluated"].copy()
    if query["wnid"]:
        kept &= table["label"].map(lambda label: CLASSES[label]["wnid"]) == query["wnid"]
    if query["text"]:
        words = table["label"].map(lambda label: "{wnid} {words}".format(**CLASSES[label]).lower())
        text = query["text"]
        kept &= words.str.contains(text, regex=False) | table["id"].str.lower().str.contains(
            text, regex=False
        )
    if query["size"]:
        low, high = np.float32(query["size"])
        below = table["size"] <= high if high == 1 else table["size"] < high
        kept &= (table["n_boxes"] > 0) & (table["size"] >= low) & below
    kept &= {
        "": True,
        "counted": table[f"counted_{query['line']}"],
        "blacklisted": table["blacklisted"],
        "held_out": table["held_out"],
        "several": table["n_boxes"] > 1,
        "no_box": table["n_boxes"] == 0,
        "right": table["top1"] == table["label"],
        "wrong": (table["top1"] != table["label"]) & (table["top1"] >= 0),
    }[query["flag"]]
    if query["a"] >= 0 and query["split"]:
        kept &= table[f"{query['judge']}_{query['a']}"] == query["hit"]
    if query["b"] >= 0 and query["split"]:
        outcome = table[f"{query['judge']}_{query['b']}"]
        kept &= (outcome != query["hit"]) & (outcome != UNDEFINED)
    return table[kept]


def expected(table, query):
    """The images that the page must show, in order, and the number of images by outcome."""
    kept = kept_but_outcome(table, query)
    outcome = kept[f"{query['judge']}_{query['line']}"]
    counts = np.bincount(outcome, minlength=256)
    if query["outcomes"]:
        kept = kept[outcome.isin(query["outcomes"])]
    name, _, down = query["sort"].partition("-")
    iou = "top1_iou" if query["judge"] == "top1" else "iou"
    key = {
        "": pd.Series(0, kept.index),
        "iou": kept[f"{iou}_{query['line']}"],
        "confidence": kept["label_score"],
        "size": kept["size"].where(kept["n_boxes"] > 0),
        "difference": kept[f"{iou}_{query['a']}"] - kept[f"{iou}_{query['b']}"]
        if min(query["a"], query["b"]) >= 0
        else pd.Series(0, kept.index),
    }[name]
    order = key.sort_values(ascending=not down, kind="stable", na_position="last").index
    return [order.tolist(), counts.tolist()]


def queries(table, n, seed=1):
    """Random combinations of filters and orders."""
    random = np.random.default_rng(seed)
    choices = {
        "judge": ["gt_known", "top1"],
        "line": [0, 1, 2],
        "outcomes": [[], [], [0], [1, 3], [2]],
        "a": [-1, -1, 0, 1],
        "b": [-1, -1, 0, 2],
        "split": [True, True, False],
        "wnid": ["", "", "n02", "n99"],
        "size": [None, None, *([low, high] for low, high in pairwise(EDGES))],
        "text": ["", "", "cat", "n03", "<b>", "tench", "val_000", ".jpeg", "nothing", "i̇stanbul"],
        "flag": [
            "", "", "", "counted", "blacklisted", "held_out", "several", "no_box", "right", "wrong",
        ],
        "sort": [
            f"{name}{down}"
            for name in ("iou", "confidence", "size", "difference")
            for down in ("", "-down")
        ]
        + [""],
    }  # fmt: skip
    for _ in range(n):
        picked = {name: values[random.integers(len(values))] for name, values in choices.items()}
        yield {**NO_QUERY, **picked}
    for name, values in choices.items():  # and each choice alone
        for value in values:
            yield {**NO_QUERY, name: value}


@pytest.fixture(scope="module")
def page(browser):
    with modules_in(browser) as page:
        yield page


def test_they_are_those_of_pandas(page):
    table = random_columns(400)
    asked = list(queries(table, 300))
    found = page.evaluate(ANSWERS, json.dumps({**as_columns(table), "queries": asked}))
    shown = 0
    for query, (images, counts) in zip(asked, found, strict=True):
        assert [images, counts] == expected(table, query), query
        shown += 0 < len(images) < len(table)
    assert shown > 100


ASKED = """async ({ lines, a, b, bins }) => {
  const page = await import("http://page.test/filters.js");
  const runs = ["one_box", "box_sweep", "pixels"].map((kind) => ({ kind }));
  const overview = { runs, lines, charts: { by_size: bins.map((bin) => ({ bin })) } };
  const orders = (line) => page.possibleOrders(overview, { line, a, b }).map(({ name }) => name);
  return [orders(0), orders(1), orders(2), page.sizeBins(overview)];
}"""


def test_only_numbers_that_lines_have_can_be_sorted_by(page):
    lines = [{"run": run} for run in (0, 1, 2, 0)]
    bins = ["0.81-1", "0.01-0.04", "0.81-1"]
    of_any = {"", "confidence", "confidence-down", "size", "size-down"}
    of_iou, of_pair = {"iou", "iou-down"}, {"difference", "difference-down"}
    for a, b, pair in ((0, 3, of_pair), (0, -1, set()), (0, 1, set()), (2, 1, set())):
        asked = {"lines": lines, "a": a, "b": b, "bins": bins}
        one_box, swept, pixels, sizes = page.evaluate(ASKED, asked)
        assert set(one_box) == of_any | of_iou | pair
        assert set(swept) == set(pixels) == of_any | pair
        assert sizes == ["0.01-0.04", "0.81-1"]


def test_without_tables_all_sizes_can_be_chosen(page):
    *_, sizes = page.evaluate(ASKED, {"lines": [], "a": -1, "b": -1, "bins": []})
    assert sizes == [f"{low:g}-{high:g}" for low, high in pairwise(SIZE_EDGES)]


def test_fifty_thousand_images_are_filtered_while_a_key_is_down(page):
    asked = [{**NO_QUERY, "text": "cat", "sort": "iou-down", "a": 0, "b": 1}] * 9
    columns = {**as_columns(random_columns(50_000)), "queries": asked}
    assert np.median(page.evaluate(MILLISECONDS, json.dumps(columns))) < 100
