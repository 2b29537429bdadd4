"""Average drop and increase in confidence of hand-solved confidences."""

import numpy as np
import pytest

from wsol_bench.metrics.confidence import average_drop, increase_in_confidence

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
def test_hand_solved(score: list[float], masked: list[float], drop: float, increase: float) -> None:
    of_both = np.array(score, np.float64), np.array(masked, np.float64)
    assert average_drop(*of_both) == pytest.approx(drop, abs=1e-12, nan_ok=True)
    assert increase_in_confidence(*of_both) == pytest.approx(increase, abs=1e-12, nan_ok=True)
