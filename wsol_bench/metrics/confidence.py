"""Average drop and increase in confidence, from the confidences of each image."""

import numpy as np
from jaxtyping import Float64

__all__ = ["average_drop", "drops", "increase_in_confidence", "increases"]


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
    return _mean(drops(score, masked_score))


def increase_in_confidence(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> float:
    """Increase in confidence: how often the class is surer when only the map's part is seen.

    ``mean over images of [Y < O]``; a fraction in [0, 1], more is better. The paper prints it
    times 100.

    Args, Returns, NetworkFreeMethod: as for ``average_drop``; (ii) of the paper.
    """
    return _mean(increases(score, masked_score))


def drops(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """What each image contributes to ``average_drop``; NaN where it does not count."""
    return np.maximum(score - masked_score, 0) / np.where(score > 0, score, 1)


def increases(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """What each image contributes to ``increase_in_confidence``: 0, 1, or NaN."""
    unknown = np.isnan(score) | np.isnan(masked_score)
    return np.where(unknown, np.nan, score < masked_score)


def _mean(values: Float64[np.ndarray, " n"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
