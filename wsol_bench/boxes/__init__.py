"""Bounding boxes of a localization map, at one threshold or at every threshold of a list."""

from wsol_bench.boxes.component import largest_component, largest_component_box
from wsol_bench.boxes.threshold_sweep import sweep_best_iou, threshold_sweep

__all__ = ["largest_component", "largest_component_box", "sweep_best_iou", "threshold_sweep"]
