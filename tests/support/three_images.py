"""A data set of three images and two classes, for files of predictions."""

import numpy as np
import pandas as pd

from wsol_bench.datasets.base import Dataset
from wsol_bench.geometry import from_inclusive


def dataset(*, ids=("a_1", "a_2", "a_3"), ilsvrc_ids=(7, 9)):
    """Three images of n00000001, n00000002, n00000001, with a 10 x 10 box (the third has two)."""
    boxes = [[0, 0, 9, 9], [20, 20, 29, 29], [0, 0, 9, 9], [50, 50, 59, 59]]
    wnids = ["n00000001", "n00000002"]
    return Dataset(
        name="three",
        images=pd.DataFrame(
            {
                "image_id": list(ids),
                "path": "",
                "height": 100,
                "width": 100,
                "label": [wnids[0], wnids[1], wnids[0]],
                "blacklisted": False,
                "n_boxes": [1, 1, 2],
            }
        ),
        boxes=from_inclusive(np.array(boxes, np.float64)),
        box_labels=np.array([wnids[0], wnids[1], wnids[0], wnids[0]], dtype=object),
        classes=pd.DataFrame({"wnid": wnids, "words": wnids, "ilsvrc_id": list(ilsvrc_ids)}),
    )
