"""Made-up tables of one method for the summary: images of class a with a box, rows, curves."""

import pandas as pd
from method_results import method_of
from metric_tables import images as images_table
from metric_tables import rows as rows_table

from wsol_bench.protocols.load import load_protocol

NAN = float("nan")
BOX = (0, 0, 10, 10)
GRID = {"step": 0.25}  # thresholds 0, 0.25, 0.5, 0.75
V1 = load_protocol("choe-2020-v1", {"box": {"threshold": GRID}})
V2 = load_protocol("choe-2020-v2", {"box": {"threshold": GRID}})
SELECTED = load_protocol("choe-2020-v1", {"box": {"threshold": {**GRID, "select_on": 0.5}}})
PIXELS = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.5}})


def images(*lines):
    """Images of class a with one box; each line holds what differs."""
    held_out = [line.pop("held_out", False) for line in lines]
    table = images_table(*({"boxes": [BOX], **line} for line in lines))
    return table.assign(held_out=held_out)


def rows(*lines):
    """A rows table from tuples of image, rank, class, IoU, and an optional dict of other values."""
    names = ("image_id", "rank", "class", "iou")
    return rows_table(
        *(
            {**dict(zip(names, line[:4], strict=True)), "box": BOX, **dict(*line[4:])}
            for line in lines
        )
    )


def line_of(*tables, **options):
    """The line of the summary that a method's tables make."""
    return method_of(*tables, **options).line()


def numbers(line, *names):
    """The named columns of a line."""
    return [line[name] for name in names]


def curves(**hits):
    """A table of curves from text such as "0110 0011": each image's hits at four thresholds."""
    return pd.DataFrame(
        [
            {
                "model": "m", "method": "cam", "layer": "l", "image_id": image_id,
                "hits": bytes(int(f"{curve:0<8}", 2) for curve in text.split()),
            }
            for image_id, text in hits.items()
        ]
    )  # fmt: skip


def swept(*image_ids):
    """The rows of images under a threshold sweep, which have no box."""
    return rows(*((image_id, 1, "a", NAN, {"status": "swept"}) for image_id in image_ids))
