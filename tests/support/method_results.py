"""The results of methods, made from made-up tables as a run makes them from stored tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import localization_numbers
from wsol_bench.protocols.load import load_protocol
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.runs.schema import GROUP
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.summary import MethodResults, no_selection

NAMES = dict(zip(GROUP, ("m", "cam", "l", "p", "h"), strict=True))
ILSVRC = load_protocol("gradcam-2017")


def method_of(
    rows, images, curves=None, *, protocol=ILSVRC, metrics=None, selection=no_selection, names=NAMES
):
    """The results of one method: its rows and curves, and the images of its model.

    Args:
        metrics: by default the protocol's, with faithfulness where the rows have its columns.
    """
    if metrics is None:
        metrics = build_metrics(None, protocol, faithfulness="insertion" in rows)
    scoring = scoring_of(protocol, metrics)
    if curves is None and scoring.curve_columns:
        names_of_curves = [column.name for column in scoring.curve_columns]
        curves = pd.DataFrame(columns=["image_id", *names_of_curves])
    return MethodResults(names, EvaluatedImages.of(images), rows, curves, scoring, selection)


def per_image(method):
    """The contribution of each image to each number that is a mean, by image id.

    The numbers at thresholds that are selected on other images are included.
    """
    numbers = method.numbers()
    selected = [number.selected() for number in numbers]
    numbers += [number for number in selected if number is not None]
    columns = {
        number.name: pd.Series(np.asarray(number.values, np.float64), index=number.image_ids)
        for number in numbers
        if number.is_mean
    }
    return pd.DataFrame(columns).reindex(method.scores.image_ids)


def errors_of(rows, images, *, iou=0.5):
    """Errors of rows and images as ``localization_numbers`` counts them.

    Attributes of the answer: cls and loc, for k = 1 to 5; loc_all, for k = 1 and 5; gt_known.
    """
    scores = ImageScores(EvaluatedImages(images), rows)
    values = {number.name: number.value() for number in localization_numbers(scores, iou=iou)}
    return SimpleNamespace(
        cls=np.array([values[f"top{k}_cls_error"] for k in range(1, 6)]),
        loc=np.array([values[f"top{k}_loc_error"] for k in range(1, 6)]),
        loc_all=np.array([values[f"top{k}_loc_error_all"] for k in (1, 5)]),
        gt_known=values["gt_known_loc_error"],
    )
