"""The least IoUs at which MaxBoxAcc and MaxBoxAccV2 count a box as a hit.

Both are from Choe et al. (CVPR 2020; arXiv:2007.04178):
``MaxBoxAcc(delta) = max_t BoxAcc(t, delta)``, where BoxAcc(t, delta) is the share of images whose
box at threshold t has an IoU of at least delta (eq. 2 and 3). MaxBoxAccV2 is the mean of
MaxBoxAcc(delta) over the three deltas, each at a best threshold of its own.
"""

__all__ = ["V1", "V2"]

V1 = 0.5
V2 = (0.3, 0.5, 0.7)
