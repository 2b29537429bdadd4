"""The data set Caltech 101: one outlined object an image."""

from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.folders import scan, stamp, with_progress
from wsol_bench.datasets.formats.matlab import numbers_of, read_mat
from wsol_bench.datasets.recognition import Recognition
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import ONE_BASED_INCLUSIVE

__all__ = ["caltech101"]

_IMAGES, _ANNOTATIONS = "101_ObjectCategories", "Annotations"
# Images of anything, without annotations.
_BACKGROUND = "BACKGROUND_Google"
# Classes whose annotations lie in a folder of another name.
_FOLDERS = {
    "Faces": "Faces_2",
    "Faces_easy": "Faces_3",
    "Motorbikes": "Motorbikes_16",
    "airplanes": "Airplanes_Side_2",
}
_NO_BOX = (np.nan,) * 4


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the two folders."""
    base = _base(root)
    needs = {name: data_files.is_dir(base / name) for name in (_IMAGES, _ANNOTATIONS)}
    seen = [f"{len(_classes(base / _IMAGES))} classes in {_IMAGES}"] if all(needs.values()) else []
    return Recognition(needs, {"root": str(root)}, tuple(seen))


@dataset("caltech101", recognize=_recognize)
def caltech101(*, root: Path, cache: bool = True) -> Dataset:
    """Caltech 101 (Fei-Fei et al., 2004): 8,677 images of 101 classes, one box an image.

    There are no splits. Images are sorted by id: ``<class>/image_0001``; a class is the name of its
    folder. BACKGROUND_Google, which has no objects, is left out. The box of an image is that of
    its outline (``box_coord``: y0, y1, x0, x1; 1-based and inclusive, as MATLAB counts pixels).

    Args:
        root: folder with 101_ObjectCategories and Annotations, or the folder above (``caltech101``
            or ``caltech-101``).
        cache: whether to keep the parsed annotations and the sizes from image headers for the next
            load.

    Raises:
        DatasetError: a folder is missing, or every image is left out.
    """
    root = _base(existing(root, "root"))
    folder = existing(root / _IMAGES, "root")
    annotations = existing(root / _ANNOTATIONS, "root")
    tables = TableCache(enabled=cache)
    names = _classes(folder)
    listed = pd.concat([_images_of(folder, name) for name in names], ignore_index=True)
    images, findings = find_images(folder, listed, tables)
    objects = pd.concat([_boxes_of(annotations, name, tables) for name in names])
    broken = objects[objects["error"] != ""]
    broken = broken[broken["image_id"].isin(images["image_id"])]
    findings += [
        Finding(Kind.BAD_ANNOTATION, image_id, f"{error}; left out")
        for image_id, error in broken[["image_id", "error"]].itertuples(index=False)
    ]
    images["keep"] &= ~images["image_id"].isin(broken["image_id"])
    unannotated = images["image_id"][~images["image_id"].isin(objects["image_id"])]
    findings += findings_of(Kind.NO_ANNOTATION, unannotated, "no annotation file")
    place = pd.Index(images["image_id"]).get_indexer(objects["image_id"])
    objects = objects.assign(image=place, wnid=objects["class"])
    return assemble(
        "caltech101",
        images,
        objects[(place >= 0) & (objects["error"] == "")],
        class_table({name: name.replace("_", " ") for name in names}),
        findings,
        convention=ONE_BASED_INCLUSIVE,
        source=str(root),
    )


def _base(root: Path) -> Path:
    """The folder with the images' folder: the root, or the archive's folder in it."""
    places = (root, root / "caltech101", root / "caltech-101")
    return next((place for place in places if data_files.is_dir(place / _IMAGES)), root)


def _classes(folder: Path) -> list[str]:
    """The names of the classes, sorted."""
    names = (name for name in data_files.names_in(folder) if data_files.is_dir(folder / name))
    found = sorted(name for name in names if name != _BACKGROUND and not name.startswith("."))
    if not found:
        raise DatasetError(f"{folder}: expected a folder for each class, found none")
    return found


def _images_of(folder: Path, name: str) -> pd.DataFrame:
    """The images of a class: image_id, file, label."""
    files = scan(folder / name, IMAGE_SUFFIXES, nested=False, wanted=())
    table = pd.DataFrame(
        {"image_id": f"{name}/" + files["stem"], "file": f"{name}/" + files["file"]}
    )
    return table.assign(label=name).astype("str")


def _boxes_of(annotations: Path, name: str, tables: TableCache) -> pd.DataFrame:
    """The boxes of a class: image_id, class, ``CORNERS``, error (why there is none, or "")."""
    folder = annotations / _FOLDERS.get(name, name)
    if not data_files.is_dir(folder):
        columns = ["image_id", "class", *CORNERS, "error"]
        return pd.DataFrame({column: [] for column in columns}).astype(
            dict.fromkeys(("image_id", "class", "error"), "str")
            | dict.fromkeys(CORNERS, np.float64)
        )
    files = scan(folder, {"mat"}, nested=False)

    def read() -> pd.DataFrame:
        found = [_read(folder / file) for file in with_progress(files["file"].tolist(), name)]
        table = pd.DataFrame([box for box, _ in found], columns=CORNERS, dtype=np.float64)
        numbers = files["stem"].str.removeprefix("annotation_")
        table.insert(0, "image_id", f"{name}/image_" + numbers)
        return table.assign(**{"class": name, "error": [error for _, error in found]}).astype(
            {"class": "str", "error": "str"}
        )

    return tables.table("caltech101", stamp(folder, files), read)


def _read(path: Path) -> tuple[tuple[float, ...], str]:
    """The corners of the box in a file, and why there are none, or ""."""
    try:
        numbers = numbers_of(read_mat(path, ["box_coord"])["box_coord"])
        if len(numbers) != 4 or not np.isfinite(numbers).all():
            raise ValueError(f"expected four numbers in box_coord, found {numbers.tolist()[:5]}")
    except (DatasetError, ValueError) as error:
        text = str(error)
        return _NO_BOX, text if text.startswith(str(path)) else f"{path}: {text}"
    y0, y1, x0, x1 = numbers.tolist()
    return (x0, y0, x1, y1), ""
