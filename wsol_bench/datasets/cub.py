"""The data sets CUB-200-2011, 200 species of birds with one box an image, and CUBV2."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Kind, findings_of
from wsol_bench.datasets.formats.lists import read_columns
from wsol_bench.datasets.recognition import Recognition, n_lines
from wsol_bench.datasets.wsol_metadata import wsol_metadata
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import HALF_OPEN

__all__ = ["cub"]


_LISTS = ("images", "classes", "image_class_labels", "train_test_split", "bounding_boxes")


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the five lists, and the images."""
    base = _base(root)
    needs = {f"{name}.txt": data_files.is_file(base / f"{name}.txt") for name in _LISTS}
    needs["images"] = data_files.is_dir(base / "images")
    seen = []
    if all(needs.values()):
        images, classes = (n_lines(base / f"{name}.txt") for name in ("images", "classes"))
        seen = [f"{images} images of all splits, one box each", f"{classes} classes in classes.txt"]
    return Recognition(needs, {"root": str(root), "split": "test"}, tuple(seen))


@dataset("cub", recognize=_recognize)
def cub(
    *,
    root: Path,
    split: Literal["train", "test", "v2"] = "test",
    images: Path | None = None,
    metadata: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """CUB-200-2011 (Wah et al., 2011), 200 species of birds, one box an image; and CUBV2.

    The split "train" has 5,994 images, "test" 5,794, and "v2" 1,000.

    Images are sorted by id: their path in images.txt, without the extension. A class is its name in
    classes.txt (``001.Black_footed_Albatross``).

    Boxes are ``x y width height``, half-open x, y, x + width, y + height: x reaches 0 (image 146),
    so the first pixel is 0, and x + width reaches the image's width (image 28), so it is the end
    behind the last pixel. Image 47 goes one pixel further: such boxes are clipped.

    Split "v2" is CUBV2, on which Choe et al. (CVPR 2020) choose thresholds for "test". It has the
    classes of this data set, and image ids and the convention of boxes of ``wsol_metadata``.

    Args:
        root: folder with images.txt, or the folder above it.
        split: "train" or "test" of train_test_split.txt, or "v2".
        images: folder of the classes' folders; ``images`` in the root by default.
        metadata: wsolevaluation's folder metadata/CUB/val; for "v2" only.
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: a file is missing or malformed, or every image is left out.
    """
    root = _base(existing(root, "root"))
    images = existing(root / "images", "root") if images is None else existing(images, "images")
    names = _read(root / "classes.txt", "class", "name")["name"]
    classes = class_table({name: _words(name) for name in names})
    if (metadata is None) == (split == "v2"):
        raise DatasetError(
            f"{root}: expected metadata=, the folder metadata/CUB/val of wsolevaluation, for split "
            f"'v2' only, found split={split!r}, metadata={metadata}"
        )
    if metadata is not None:
        return _read_v2(metadata, images, names, classes, cache=cache)
    return _read_split(root, split, images, names, classes, TableCache(enabled=cache))


def _base(root: Path) -> Path:
    """The folder with images.txt: the root, or the archive's folder in it."""
    inner = root / "CUB_200_2011"
    return inner if data_files.is_dir(inner) else root


def _read_split(
    root: Path,
    split: str,
    image_folder: Path,
    names: pd.Series,
    classes: pd.DataFrame,
    tables: TableCache,
) -> Dataset:
    """The images of train_test_split.txt that are in a split.

    Args:
        root: folder with images.txt.
        split: "train" or "test".
        image_folder: folder of the classes' folders.
        names: names of the classes, by their number.
        classes: table of the classes.
        tables: cache of the headers.
    """
    listed = _read(root / "images.txt", "id", "file")
    listed = listed[_is_training(root / "train_test_split.txt", listed) == (split == "train")]
    listed = listed.assign(image_id=listed["file"].str.replace(r"\.[^./]+$", "", regex=True))
    label = _read(root / "image_class_labels.txt", "id", "class")["class"].reindex(listed.index)
    listed["label"] = label.map(names).fillna(label).fillna("")
    listed = listed.sort_values("image_id").reset_index()
    images, findings = find_images(image_folder, listed, tables)

    boxes = _read(root / "bounding_boxes.txt", "id", *CORNERS, numbers=4)
    boxes[["x1", "y1"]] += boxes[["x0", "y0"]].to_numpy()
    unannotated = images["image_id"][~images["id"].isin(boxes.index)]
    findings += findings_of(Kind.NO_ANNOTATION, unannotated, "no line in bounding_boxes.txt")
    boxes["image"] = pd.Index(images["id"]).get_indexer(boxes.index)
    boxes = boxes[boxes["image"] >= 0]
    return assemble(
        "cub",
        images,
        boxes.assign(wnid=images["label"].to_numpy(object)[boxes["image"]]),
        classes,
        findings,
        convention=HALF_OPEN,
        source=f"split {split!r} of {root}",
    )


def _read(path: Path, *columns: str, numbers: int = 0) -> pd.DataFrame:
    """A table in the root, indexed by its first column."""
    table = read_columns(existing(path, "root"), columns, numbers=numbers, key=columns[0])
    return table.set_index(columns[0])


def _words(name: str) -> str:
    """The name of a class for people: "Black footed Albatross" of "001.Black_footed_Albatross"."""
    return (name.partition(".")[2] or name).replace("_", " ")


def _is_training(path: Path, listed: pd.DataFrame) -> np.ndarray:
    """Return whether each listed image is in the training set."""
    flags = _read(path, "id", "training")["training"].reindex(listed.index).fillna("nothing")
    wrong = ~flags.isin(["0", "1"]).to_numpy()
    if wrong.any():
        first = flags.index[int(wrong.argmax())]
        raise DatasetError(
            f"{path}: expected 0 or 1 for every image of images.txt, found {flags[first]!r} for "
            f"image {first}, {listed.loc[first, 'file']}"
        )
    return (flags == "1").to_numpy(np.bool_)


def _read_v2(
    metadata: Path, images: Path, names: pd.Series, classes: pd.DataFrame, *, cache: bool
) -> Dataset:
    """CUBV2, whose labels are positions in classes.txt, from 0.

    Args:
        metadata: folder of the metadata.
        images: folder of the images.
        names: names of the classes, in the order of classes.txt.
        classes: table of the classes.
        cache: whether to keep the sizes read from image headers for the next load.
    """
    loaded = wsol_metadata(metadata=metadata, images=images, cache=cache)
    if len(loaded.classes) > len(classes):
        raise DatasetError(
            f"{metadata}: expected the {len(classes)} classes of classes.txt, found a class "
            f"{loaded.classes['wnid'].iloc[-1]}"
        )
    wnids = names.to_numpy(object)
    return replace(
        loaded,
        name="cub",
        images=loaded.images.assign(label=wnids[loaded.images["label"].astype(np.int64)]),
        box_labels=wnids[loaded.box_labels.astype(np.int64)],
        classes=classes,
    )
