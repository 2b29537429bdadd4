"""From what a loader read, in its source's convention, to a ``Dataset``: the way of all of them.

A loader says which images there are and which boxes its source draws; here files are looked up and
measured, boxes repaired and converted, and what is odd becomes a finding.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.datasets.base import ROOT_SYNSET, Dataset, Finding
from wsol_bench.datasets.index import TableCache, look_up, read_headers
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import Convention, repair

__all__ = ["CORNERS", "assemble", "class_table", "find_images", "measure", "note"]

CORNERS = ["x0", "y0", "x1", "y1"]


def note(findings: list[Finding], kind: str, ids: Iterable[str], detail: str) -> None:
    """Add a finding of one kind for each of several images."""
    findings.extend(Finding(kind, image_id, detail) for image_id in ids)


def class_table(words: Mapping[str, str]) -> pd.DataFrame:
    """The table of classes of a data set without ILSVRC2012_IDs, from wnid to words."""
    rows = [(wnid, text, 0) for wnid, text in sorted(words.items())]
    table = pd.DataFrame(rows, columns=["wnid", "words", "ilsvrc_id"])
    return table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})


def find_images(
    folder: Path, listed: pd.DataFrame, tables: TableCache, findings: list[Finding]
) -> pd.DataFrame:
    """``measure`` of those listed images that are there; a finding for each of the others.

    Args:
        folder: of the images.
        listed: one row an image: image_id, file (path that stays below the folder), and more.
        tables: where the headers are kept.
        findings: what was odd is added to them.
    """
    found = look_up(folder, listed["file"].tolist())
    missing = (found["bytes"] < 0).to_numpy()
    detail = f"listed, but no such image in {folder}; left out"
    note(findings, "missing_file", listed["image_id"][missing], detail)
    there = listed[~missing].reset_index(drop=True)
    stats = found.loc[~missing, ["bytes", "mtime"]].reset_index(drop=True)
    return measure(folder, there.join(stats), tables, findings)


def measure(
    folder: Path, files: pd.DataFrame, tables: TableCache, findings: list[Finding]
) -> pd.DataFrame:
    """Image files with their path, width and height; keep is False where the header is unreadable.

    Args:
        folder: of the images.
        files: one row an image: image_id, file, bytes and mtime (as ``scan`` gives them), and more.
        tables: where the headers are kept.
        findings: what was odd is added to them.
    """
    headers = read_headers(folder, files, tables)
    broken = headers["error"] != ""
    for image_id, error in zip(files["image_id"][broken], headers["error"][broken], strict=True):
        findings.append(Finding("unreadable_image", image_id, f"{error}; left out"))
    return files.assign(
        path=f"{folder}/" + files["file"],
        width=headers["width"],
        height=headers["height"],
        keep=~broken,
    )


def assemble(
    name: str,
    images: pd.DataFrame,
    objects: pd.DataFrame,
    classes: pd.DataFrame,
    findings: Iterable[Finding],
    *,
    convention: Convention,
    source: str,
) -> Dataset:
    """The data set of images and of boxes that stand in their source's convention.

    Images without a label, or with one that ``classes`` does not hold, are left out; boxes are
    repaired, and rescaled where they were drawn on another size of the image.

    Args:
        name: of the data set.
        images: one row an image, in order: image_id, path ("" for none), width, height (0 where
            nothing says), label ("" where nothing says), keep (False: left out, and said so).
            There may be blacklisted, and said_width, said_height: of the image that the boxes were
            drawn on, 0 where nothing says.
        objects: one row a box: image (its place in ``images``), wnid ("" where no class is called
            as name says), and its ``CORNERS`` as they stand in the source.
        classes: wnid (sorted), words, ilsvrc_id.
        findings: so far.
        convention: of the corners.
        source: of the images, for the error.

    Raises:
        DatasetError: no image is left.
    """
    frame, findings = images.reset_index(drop=True), list(findings)
    _leave_out_unlabeled(frame, classes, findings)
    objects = _place_boxes(objects, frame, findings, convention)
    kept = frame[frame["keep"]]
    if kept.empty:
        raise DatasetError(f"no image of {source} is left; {_summary(findings)}")
    if "blacklisted" not in kept:
        kept = kept.assign(blacklisted=False)
    columns = ["image_id", "path", "height", "width", "label", "blacklisted", "n_boxes"]
    return Dataset(
        name=name,
        images=kept[columns].reset_index(drop=True),
        boxes=objects[CORNERS].to_numpy(np.float64),
        box_labels=objects["wnid"].to_numpy(object),
        classes=classes,
        findings=tuple(sorted(findings, key=lambda finding: finding.image_id)),
    )


def _leave_out_unlabeled(
    frame: pd.DataFrame, classes: pd.DataFrame, findings: list[Finding]
) -> None:
    labels, keep = frame["label"], frame["keep"].to_numpy(np.bool_)
    unlabeled = (labels == "").to_numpy()
    unknown = ~unlabeled & ~labels.isin([*classes["wnid"], ROOT_SYNSET]).to_numpy()
    note(findings, "no_label", frame["image_id"][keep & unlabeled], "no class said; left out")
    for index in np.flatnonzero(keep & unknown):
        detail = f"class {labels.iloc[index]!r} is not among the {len(classes)} classes; left out"
        findings.append(Finding("unknown_class", frame["image_id"].iloc[index], detail))
    frame["keep"] = keep & ~unlabeled & ~unknown


def _place_boxes(
    objects: pd.DataFrame, frame: pd.DataFrame, findings: list[Finding], convention: Convention
) -> pd.DataFrame:
    """The boxes of the kept images, in the images' order, half-open; adds ``n_boxes``."""
    ids, keep = frame["image_id"], frame["keep"].to_numpy(np.bool_)
    objects = objects[keep[objects["image"]]]
    nameless = objects[objects["wnid"] == ""]
    for image, name in nameless.reindex(columns=["image", "name"]).itertuples(index=False):
        detail = f"object {name!r} is of no known class; object left out"
        findings.append(Finding("unknown_class", ids.iloc[image], detail))
    objects = objects[objects["wnid"] != ""].sort_values("image", kind="stable")

    size = frame[["width", "height"]].to_numpy(np.float64)
    shown = size
    if "said_width" in frame:
        said = frame[["said_width", "said_height"]].to_numpy(np.float64)
        differs = (said > 0).all(axis=1) & (size > 0).all(axis=1) & (said != size).any(axis=1)
        for index in np.flatnonzero(differs & keep):
            (width, height), (real_width, real_height) = said[index], size[index]
            detail = (
                f"boxes refer to {width:g} x {height:g} pixels, the image has "
                f"{real_width:g} x {real_height:g}; boxes rescaled"
            )
            findings.append(Finding("size_mismatch", ids.iloc[index], detail))
        shown = np.where(differs[:, None], said, size)
    image = objects["image"].to_numpy(np.int64)
    corners = objects[CORNERS].to_numpy(np.float64)
    # Repaired in the frame they were drawn in, then rescaled: swapped corners are swapped there.
    limits = np.where(shown > 0, shown, np.inf)[image]
    repaired = repair(convention.to_half_open(corners), limits, convention)
    for position, remark in repaired.remarks.items():
        findings.append(Finding("odd_box", ids.iloc[image[position]], remark))
    scale = np.divide(size, shown, out=np.ones_like(size), where=shown > 0)
    boxes = repaired.boxes * np.tile(scale, 2)[image]

    objects = objects[["image", "wnid"]].assign(**dict(zip(CORNERS, boxes.T, strict=True)))
    objects = objects[repaired.kept]
    frame["n_boxes"] = np.bincount(objects["image"], minlength=len(frame))
    note(findings, "no_box", ids[keep & (frame["n_boxes"] == 0).to_numpy()], "no box")
    labels = frame["label"].to_numpy(object)
    agrees = labels[objects["image"]] == objects["wnid"].to_numpy(object)
    own = np.bincount(objects["image"], weights=agrees, minlength=len(frame)) > 0
    foreign = (frame["n_boxes"] > 0).to_numpy() & ~own & (labels != ROOT_SYNSET)
    for index in np.flatnonzero(foreign):
        detail = f"labeled {labels[index]}, but no box is of that class"
        findings.append(Finding("label_mismatch", ids.iloc[index], detail))
    return objects


def _summary(findings: list[Finding]) -> str:
    counts = pd.Series([finding.kind for finding in findings], dtype="str").value_counts()
    kinds = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
    return f"{kinds}; the first: {', '.join(findings[0])}" if findings else "none was there"
