"""Boxes: from a localization map to a bounding box, by a named rule."""

from wsol_bench.boxes.component import largest_component, largest_component_box

__all__ = ["largest_component", "largest_component_box"]
