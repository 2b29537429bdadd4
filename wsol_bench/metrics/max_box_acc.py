"""MaxBoxAcc and MaxBoxAccV2 (Choe et al., CVPR 2020; arXiv:2007.04178, eq. 2 and 3).

``MaxBoxAcc(delta) = max_t BoxAcc(t, delta)``, where BoxAcc(t, delta) is the share of images whose
box at threshold t has an IoU of at least delta. MaxBoxAccV2 is the mean of MaxBoxAcc(delta) over
three deltas, each at its own best threshold. The hits come from ``scoring.box_sweep``.
"""

import numpy as np
from jaxtyping import Float64

__all__ = ["MAX_BOX_ACC_IOU", "MAX_BOX_ACC_V2_IOUS", "max_box_acc"]

# The least IoUs, delta, at which a box is a hit.
MAX_BOX_ACC_IOU = 0.5
MAX_BOX_ACC_V2_IOUS = (0.3, 0.5, 0.7)


def max_box_acc(
    accuracies: Float64[np.ndarray, "*resamples deltas thresholds"],
) -> Float64[np.ndarray, "*resamples"]:
    """The mean over deltas of the largest accuracy over thresholds.

    Args:
        accuracies: BoxAcc(t, delta), each in [0, 1]. With one delta the result is MaxBoxAcc.

    Examples:
        >>> float(max_box_acc(np.array([[0.2, 0.6, 0.4], [0.1, 0.2, 0.4]])))
        0.5
    """
    return np.asarray(accuracies.max(axis=-1).mean(axis=-1))
