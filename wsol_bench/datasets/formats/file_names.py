"""File names in annotations: the image ids in them, and whether they stay in their folder."""

import re

from wsol_bench.common.image_files import IMAGE_SUFFIXES

__all__ = ["image_id_of", "stays_below"]

# Absolute, on a drive, through a parent folder, or no path at all.
_OUTSIDE = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|\0")


def image_id_of(name: str) -> str:
    """The image id in a file name or path: its stem."""
    name = name.strip().rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix.lower() in IMAGE_SUFFIXES else name


def stays_below(name: str) -> bool:
    """Return whether a path in an annotation, joined to a folder, cannot lead out of it."""
    return not _OUTSIDE.search(name)
