"""Rows and images tables of made-up runs, as docs/rows.md describes them."""

import pandas as pd

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.runs.schema import GROUP

GROUP_OF_TEST = {"method": "cam", "layer": "l", "protocol": "p", "protocol_hash": "h"}


def images(*lines):
    """An images table; each line holds what differs from an image of class a with no boxes."""
    table = []
    for line in lines:
        image = {
            "model": "m",
            "height": 100,
            "width": 100,
            "label": "a",
            "blacklisted": False,
            "boxes": [],
            "status": "evaluated",
            **line,
        }
        flat = [float(corner) for box in image["boxes"] for corner in box]
        table.append({**image, "boxes": flat, "n_label_boxes": len(flat) // 4})
    columns = ["model", "image_id", "height", "width", "label", "blacklisted", "n_label_boxes"]
    return pd.DataFrame(table, columns=[*columns, "boxes", "status"])


def rows(*lines):
    """A rows table; each line holds what differs from a row of rank 1 and class a without a box."""
    table = []
    for line in lines:
        row = {"model": "m", **GROUP_OF_TEST, "rank": 1, "class": "a", "iou": 0.0, **line}
        box = row.pop("box", None) or [float("nan")] * 4
        corners = dict(zip(("x0", "y0", "x1", "y1"), map(float, box), strict=True))
        status = "no_box" if line.get("box") is None else "box"
        table.append({"status": status, **row, **corners})
    columns = ["model", *GROUP_OF_TEST, "image_id", "rank", "class", "x0", "y0", "x1", "y1", "iou"]
    return pd.DataFrame(table, columns=[*columns, "status"])


def each_method(function, table, of_image, **options):
    """A function's tables for the scores of each method, with the method's names in front."""
    tables = []
    for names, method_rows in table.groupby(GROUP, sort=False):
        of_model = of_image[of_image["model"] == names[0]]
        scores = ImageScores.of(EvaluatedImages.of(of_model.reset_index(drop=True)), method_rows)
        result = function(scores, **options)
        named = pd.DataFrame(dict(zip(GROUP, names, strict=True)), index=result.index)
        tables.append(pd.concat([named, result], axis=1))
    return pd.concat(tables, ignore_index=True)
