"""Data sets that come as images and lists of their objects, of several classes an image."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.box_conventions import BoxConvention, in_pixels
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.per_class import per_class

__all__ = ["assemble_objects"]


def assemble_objects(
    name: str,
    images: ImageFiles,
    objects: pd.DataFrame,
    classes: pd.DataFrame,
    findings: Iterable[Finding] = (),
    *,
    convention: BoxConvention,
    source: str,
    left_out: str | None = None,
    reason: str = "",
) -> Dataset:
    """Make a data set with a sample for each class of an image; other images are left out.

    Args:
        name: name of the data set.
        images: the images that exist.
        objects: one row an object: image_id, wnid, and the ``CORNERS`` by the convention, NaN if
            the object has no box, and then its sample counts for the classification error only.
        classes: one row a class: wnid (sorted), words, ilsvrc_id.
        findings: further findings.
        convention: convention of the corners, and whether they are shares of the images' sides.
        source: where the annotations come from, for errors.
        left_out: column of ``objects`` that is true for objects that do not count.
        reason: why a class of an image is left out if all its objects are so, for findings.

    Raises:
        DatasetError: no sample is left, or the boxes are not in the convention's unit.
    """
    frame = images.table
    place = pd.Index(frame["image_id"]).get_indexer(objects["image_id"])
    objects = objects.assign(image=place)[place >= 0]
    without = frame["keep"].to_numpy(np.bool_, copy=True)
    without[objects["image"]] = False
    bare = findings_of(Kind.NO_LABEL, frame["image_id"][without], "no object; left out")
    if left_out is not None:
        counts = ~objects[left_out].to_numpy(np.bool_)
        ids = objects["image_id"] + "/" + objects["wnid"]
        idle = ids[~ids.isin(ids[counts])].drop_duplicates()
        bare += findings_of(Kind.NO_LABEL, idle, f"{reason}; left out")
        objects = objects[counts]
    samples, placed = per_class(frame, objects)
    placed = placed[placed[CORNERS].notna().all(axis=1)]
    if convention.normalized:
        advice = "only image files, or their sizes in the annotations, can tell them"
        placed[CORNERS] = in_pixels(placed, samples, source=source, advice=advice)
    return assemble(
        name,
        samples,
        placed,
        classes,
        [*images.findings, *bare, *findings],
        convention=convention.corners,
        source=source,
    )
