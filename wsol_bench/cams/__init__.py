"""Map methods, one file each; importing the package imports none of them."""

from wsol_bench.cams.base import (
    Classes,
    MapMethod,
    Sanity,
    cam_method,
    cam_methods,
    distinct,
    merged_plan,
)

__all__ = [
    "Classes",
    "MapMethod",
    "Sanity",
    "cam_method",
    "cam_methods",
    "distinct",
    "merged_plan",
]
