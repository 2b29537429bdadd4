"""Overlaps of boxes, for tests that compare every box with every other box."""

from wsol_bench.geometry import box_iou


def pairwise_iou(first, second):
    """The IoU of every box of ``first`` with every box of ``second``: (n, m)."""
    return box_iou(first[:, None], second[None])
