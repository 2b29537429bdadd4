"""Hand-solved confidences: the average drop and the increase in confidence of their images."""

import pytest
from metric_tables import images, rows

from wsol_bench.metrics.base import metrics
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores

NAN = float("nan")

CASES = {
    # name: Y, O, average drop, increase
    "half of it is lost": ([0.8], [0.4], 0.5, 0.0),
    "all of it is lost": ([0.8], [0.0], 1.0, 0.0),
    "none is lost, and equal is no increase": ([0.8], [0.8], 0.0, 0.0),
    "a gain does not make up for a loss": ([0.5, 0.2], [0.25, 0.9], 0.25, 0.5),
    "each image has its own denominator": ([1.0, 0.1], [0.5, 0.1], 0.25, 0.0),
    "what cannot fall does not": ([0.0, 0.0], [0.0, 0.3], 0.0, 0.5),
    "an image without a confidence is left out": ([0.5, 0.5], [0.75, NAN], 0.0, 1.0),
    "on either side": ([NAN, 0.5], [0.75, 0.25], 0.5, 0.0),
    "no image": ([], [], NAN, NAN),
    "no image that counts": ([0.5], [NAN], NAN, NAN),
}


@pytest.mark.parametrize(("score", "masked", "drop", "increase"), CASES.values(), ids=CASES)
def test_hand_solved(score, masked, drop, increase):
    ids = [{"image_id": f"i{index}"} for index in range(len(score))]
    # Insertion says that the network was asked about the maps.
    table = rows(*ids).assign(score=score, masked_score=masked, insertion=0.5)
    scores = ImageScores.of(EvaluatedImages.of(images(*ids)), table)
    for name, expected in (("average_drop", drop), ("increase_in_confidence", increase)):
        number = metrics.get(name).number(scores)
        value = NAN if number is None else number.value()
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
