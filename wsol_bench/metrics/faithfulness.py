"""Average drop and increase in confidence, from the confidences of each image."""

import numpy as np
from jaxtyping import Bool, Float64

__all__ = ["average_drop", "increase_in_confidence"]


def average_drop(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> float:
    """Average drop: the share of the confidence that is lost when only the map's part is seen.

    ``mean over images of max(0, Y - O) / Y``; a fraction in [0, 1], less is better. The paper
    prints it times 100. It is 0 where Y is 0.

    Args:
        score: Y, probability of the class given the image, in [0, 1].
        masked_score: O, probability of the same class given what the map leaves of the image. NaN
            (a map that ranks no pixels) leaves the image out.

    Returns:
        NaN where no image is left.

    Source: Chattopadhay et al., Grad-CAM++, WACV 2018, "Objective Evaluation for Object
    Recognition", (i).
    """
    counted = _counted(score, masked_score)
    if not counted.any():
        return float("nan")
    whole, part = score[counted], masked_score[counted]
    return float((np.maximum(whole - part, 0) / np.where(whole > 0, whole, 1)).mean())


def increase_in_confidence(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> float:
    """Increase in confidence: how often the class is surer when only the map's part is seen.

    ``mean over images of [Y < O]``; a fraction in [0, 1], more is better. The paper prints it
    times 100.

    Args, Returns, Source: as for ``average_drop``; (ii) of the paper.
    """
    counted = _counted(score, masked_score)
    if not counted.any():
        return float("nan")
    return float((score[counted] < masked_score[counted]).mean())


def _counted(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    return ~(np.isnan(score) | np.isnan(masked_score))
