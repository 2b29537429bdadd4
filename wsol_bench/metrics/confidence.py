"""The change of a network's confidence when the network sees only the part of an image in a map.

Source: Chattopadhay et al., Grad-CAM++, WACV 2018, "Objective Evaluation for Object Recognition".
"""

import numpy as np
from jaxtyping import Float64

__all__ = ["confidence_drops", "confidence_increases"]


def confidence_drops(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The share of the confidence that each image loses when only the map's part is seen.

    ``max(0, Y - O) / Y``; 0 if Y is 0. Its mean over images is the average drop (the paper's (i)),
    which the paper prints times 100; less is better.

    Args:
        score: Y, probability of the class for the image, in [0, 1].
        masked_score: O, probability of the same class for what the map leaves of the image; NaN if
            the map ranks no pixels.

    Returns:
        Fractions in [0, 1]; NaN if an image does not count, since Y or O is NaN.
    """
    return np.maximum(score - masked_score, 0) / np.where(score > 0, score, 1)


def confidence_increases(
    score: Float64[np.ndarray, " n"], masked_score: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Return whether the network is surer of each image's class when only the map's part is seen.

    ``[Y < O]``. Its mean over images is the increase in confidence (the paper's (ii)), which the
    paper prints times 100; more is better.

    Args:
        score: Y, probability of the class for the image, in [0, 1].
        masked_score: O, probability of the same class for what the map leaves of the image; NaN if
            the map ranks no pixels.

    Returns:
        0 or 1; NaN if an image does not count, since Y or O is NaN.
    """
    unknown = np.isnan(score) | np.isnan(masked_score)
    return np.where(unknown, np.nan, score < masked_score)
