"""A user's data set in a CSV or Parquet file with one row a box."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from wsol_bench.common.files import digest, existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, class_table, find_images
from wsol_bench.datasets.base import ROOT_SYNSET, Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS, ConventionName, in_pixels
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.datasets.table_recognition import recognize
from wsol_bench.datasets.table_rows import read_rows

__all__ = ["table"]

_SIZE = ["width", "height"]


@dataset("table", recognize=recognize)
def table(
    *,
    path: Path,
    convention: ConventionName,
    columns: dict[str, int | str] | None = None,
    images: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """A CSV or Parquet file of your own with one row a box: image, label, x0, y0, x1, y1.

    Images come in the order of their first rows; ``image`` is the path in ``images``, and the id. A
    row without corners names an image that has no box. An image with several labels is a sample for
    each of them, with the id ``<image>/<label>``, and the boxes of that label.

    The columns width and height, if any, are the size of the image that the boxes were drawn on.
    Further columns that are read are those that ``wsol-bench convert`` writes: sample_id (rows of
    one id are one sample), box_label (class of a box, if it is not the sample's), blacklisted and
    held_out (true or false). Other columns do not count.

    Args:
        path: path of the file: Parquet if its name ends with ``.parquet``, else cells between
            commas, tabs or semicolons, with a header or without.
        convention: convention of the boxes. Corners x0, y0, x1, y1: "half_open" (x1 is the end
            behind the last pixel), "inclusive" (x1 is the last pixel, the first pixel of an image
            is 0), "one_based_inclusive" (the first is 1, as in Pascal VOC). Columns x, y, w, h:
            "xywh" (w is the number of pixels) or "one_based_xywh". Columns cx, cy, w, h, the center
            of the box: "cxcywh". In shares of the image's width and height, from 0 to 1, which need
            the sizes of the images: "normalized" (x0, y0, x1, y1), "normalized_xywh",
            "normalized_cxcywh".
        columns: name in the file, or position from 0, of columns that have another name there, such
            as {image: filename, label: class, x0: xmin}.
        images: folder that the images' paths are relative to; without it there are annotations
            only, which can score predictions.
        classes: file with a class and its words a line (or a file that ``imagenet`` takes); by
            default the labels. Classes are sorted as text.
        cache: whether to keep the parsed file and the sizes from image headers for the next load.

    Raises:
        DatasetError: the file, a column or a cell is not as described, an image has two sizes, a
            path leaves the folder, all images are left out, or boxes are no pixels.
    """
    path = existing(path, "path")
    tables = TableCache(enabled=cache)
    form, given = CONVENTIONS[convention], columns or {}
    kind = f"table-{convention}-{digest(repr(sorted(given.items())).encode())}"
    rows = tables.file(kind, path, lambda file: read_rows(file, form, given))
    frame, findings = _find_images(rows, images, tables)
    frame, several = _samples(frame, rows)
    place = pd.Index(frame["image_id"]).get_indexer(rows["image_id"])
    objects = rows.assign(image=place, wnid=rows["box_label"])
    objects = objects[(place >= 0) & rows["x0"].notna()]
    if form.normalized:
        objects[CORNERS] = in_pixels(
            objects,
            frame,
            source=str(path),
            advice="name the folder of the images with images=, or add the columns width and "
            "height",
        )
    names = {*rows["label"], *rows["box_label"]} - {"", ROOT_SYNSET}
    known_classes = class_table({name: name for name in names})
    if classes is not None:
        files = [existing(classes, "classes")]
        known_classes = read_class_table(files, tables, otherwise=names)
    loaded = assemble(
        "table",
        frame,
        objects,
        known_classes,
        [*findings, *several],
        convention=form.corners,
        source=f"{path}",
    )
    return _with_held_out(loaded, rows)


def _find_images(rows: pd.DataFrame, folder: Path | None, tables: TableCache) -> ImageFiles:
    """The images that exist, each once; all of them if there are annotations only."""
    listed = rows.drop_duplicates("image").assign(image_id=rows["image"], file=rows["image"])
    listed = listed[["image_id", "file", *_SIZE]].reset_index(drop=True)
    if folder is None:
        return ImageFiles(listed.assign(path="", keep=True), [])
    annotated = listed.rename(columns={side: f"annotated_{side}" for side in _SIZE})
    return find_images(existing(folder, "images"), annotated, tables)


def _samples(images: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """The samples of the images, in the order of their first rows, and what is to be said of them.

    Args:
        images: table of ``ImageFiles``, one row an image.
        rows: rows of the file.
    """
    first = rows.drop_duplicates("image_id")
    place = pd.Index(images["file"]).get_indexer(first["image"])
    first = first[place >= 0]
    samples = images.iloc[place[place >= 0]].reset_index(drop=True)
    own = first[["image_id", "label", "blacklisted"]].reset_index(drop=True)
    samples = samples.drop(columns="image_id").join(own)
    n_several = rows.loc[rows["several"], "image"].nunique()
    if not n_several:
        return samples, []
    example = rows.loc[rows["several"], "image_id"].iloc[0]
    detail = (
        f"{n_several} of {rows['image'].nunique()} images have several labels: each is a sample "
        f"for each of its labels, with the boxes of that label, and its id is <image>/<label>, as "
        f"in {example!r}"
    )
    return samples, [Finding(Kind.SEVERAL_LABELS, "", detail)]


def _with_held_out(loaded: Dataset, rows: pd.DataFrame) -> Dataset:
    """The data set with the images on which a threshold is selected, if the file names any."""
    held_out = set(rows.loc[rows["held_out"], "image_id"])
    if not held_out:
        return loaded
    flags = loaded.images["image_id"].isin(held_out)
    return replace(loaded, images=loaded.images.assign(held_out=flags))
