"""Map methods, one file each; importing the package imports none of them."""

from wsol_bench.cams.base import (
    MapMethod,
    cam_method,
    cam_methods,
    distinct,
    is_applicable,
    merged_plan,
)

__all__ = [
    "MapMethod",
    "cam_method",
    "cam_methods",
    "distinct",
    "is_applicable",
    "merged_plan",
]
