"""Findings of loaders: what is odd about a data set's files, and what a loader did about it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

__all__ = ["MEANINGS", "Finding", "Kind", "findings_of", "missing_images"]


class Kind(StrEnum):
    """The kind of a finding; a loader of a plug-in may have others.

    docs/datasets.md describes them, and all built-in loaders treat a kind in the same way.
    """

    MISSING_FILE = "missing_file"
    NO_LABEL = "no_label"
    UNREADABLE_IMAGE = "unreadable_image"
    BAD_ANNOTATION = "bad_annotation"
    NO_ANNOTATION = "no_annotation"
    NO_BOX = "no_box"
    ODD_BOX = "odd_box"
    SIZE_MISMATCH = "size_mismatch"
    UNKNOWN_SIZE = "unknown_size"
    RESIZED_IMAGES = "resized_images"
    ROTATED = "rotated"
    ORIENTATION = "orientation"
    SWAPPED_SIZE = "swapped_size"
    DEEP_PIXELS = "deep_pixels"
    SEVERAL_FRAMES = "several_frames"
    SEVERAL_LABELS = "several_labels"
    UNKNOWN_CLASS = "unknown_class"
    LABEL_MISMATCH = "label_mismatch"


# What a kind means and what a loader does, in words.
MEANINGS: Mapping[str, str] = {
    Kind.MISSING_FILE: "listed, but the image file does not exist: left out",
    Kind.NO_LABEL: "the class is not known: left out",
    Kind.UNREADABLE_IMAGE: "the file is no image: left out",
    Kind.BAD_ANNOTATION: "the annotation cannot be parsed: left out",
    Kind.NO_ANNOTATION: "no annotation file: counts for the classification error only",
    Kind.NO_BOX: "no ground-truth box: counts for the classification error only",
    Kind.ODD_BOX: "a box was repaired or dropped",
    Kind.SIZE_MISMATCH: "the annotation was made for another image size: it was rescaled",
    Kind.UNKNOWN_SIZE: "the annotation's image size is no size: boxes are taken as they are",
    Kind.RESIZED_IMAGES: "images seem resized since their boxes were drawn: give the earlier sizes",
    Kind.ROTATED: "the boxes were drawn on the image as EXIF shows it: rotated into its pixels",
    Kind.ORIENTATION: "EXIF turns the image, no size tells what was annotated: pixels as stored",
    Kind.SWAPPED_SIZE: "the annotation has the image on its side: its boxes or masks were left out",
    Kind.DEEP_PIXELS: "more than 8 bits a sample: scaled to 8 bits by the range of the type",
    Kind.SEVERAL_FRAMES: "the file holds several images: the first was taken",
    Kind.SEVERAL_LABELS: "images have several labels: each is a sample for each of them",
    Kind.UNKNOWN_CLASS: "an object or image of a class that the data set does not name: left out",
    Kind.LABEL_MISMATCH: "the sources of the class disagree: is the class order right?",
}


class Finding(NamedTuple):
    """Something odd in a data set's files, which the loader repaired or left out.

    Attributes:
        kind: kind of finding: a ``Kind``, or a name of a plug-in's own.
        image_id: image that the finding concerns; "" if it concerns the data set as a whole.
        detail: what is odd, and what the loader did.
    """

    kind: str
    image_id: str
    detail: str


def missing_images(image_ids: Iterable[str], folder: Path) -> list[Finding]:
    """The findings of images that are listed, but are not in their folder."""
    detail = f"listed, but no such image in {folder}; left out"
    return findings_of(Kind.MISSING_FILE, image_ids, detail)


def findings_of(kind: str, image_ids: Iterable[str], detail: str) -> list[Finding]:
    """A finding with the same kind and detail for each of several images."""
    return [Finding(kind, image_id, detail) for image_id in image_ids]
