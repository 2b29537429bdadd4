"""Data sets of FiftyOne: the detections of a label field, read from its database."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS, to_corners
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.datasets.listed_objects import assemble_objects
from wsol_bench.errors import DatasetError, did_you_mean

__all__ = ["fiftyone"]


@dataset("fiftyone")
def fiftyone(
    *,
    dataset: str,
    label_field: str = "ground_truth",
    tag: str | None = None,
    cache: bool = True,
) -> Dataset:
    """A data set of FiftyOne: one sample for each class of an image, from a field of detections.

    Boxes are shares of the image's sides, as FiftyOne keeps them; its instance masks are not read.
    An image's id is its path below the folder of all images, a sample's id ``<image>/<class>``.
    FiftyOne is no extra of this package, since it pins other versions of libraries that both need:
    install it with ``pip install fiftyone``.

    Args:
        dataset: name of the data set (``fiftyone datasets list``).
        label_field: field of the detections.
        tag: tag of the images to read, such as "test"; all by default.
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: FiftyOne is missing or its database cannot be reached, there is no such data
            set or field, or the field holds no detections.
    """
    samples, all_paths = _samples(dataset, label_field, tag)
    paths, objects, names = _read(samples, dataset, label_field)
    if not paths:
        raise DatasetError(
            f"dataset: expected images in FiftyOne's data set {dataset!r}, found none"
            + (f" with the tag {tag!r}" if tag else "")
        )
    # Of all images, so that an id does not depend on the tag.
    folder = Path(os.path.commonpath({Path(os.path.abspath(path)).parent for path in all_paths}))
    ids = [Path(path).relative_to(folder).as_posix() for path in paths]
    repeated = pd.Series(ids)[pd.Series(ids).duplicated()]
    if len(repeated):
        raise DatasetError(
            f"FiftyOne's data set {dataset!r}: expected each image once, found "
            f"{repeated.iloc[0]!r} twice"
        )
    listed = pd.DataFrame({"image_id": ids, "file": ids}, dtype="str")
    form = CONVENTIONS["normalized_xywh"]
    objects["image_id"] = np.array(ids, object)[objects.pop("position").to_numpy(np.int64)]
    objects[CORNERS] = to_corners(objects[CORNERS].to_numpy(np.float64), form)
    return assemble_objects(
        "fiftyone",
        find_images(folder, listed, TableCache(enabled=cache)),
        objects,
        class_table({name: name for name in names}),
        convention=form,
        source=f"the field {label_field!r} of FiftyOne's data set {dataset!r}",
    )


def _samples(name: str, label_field: str, tag: str | None) -> tuple[Iterable[Any], list[str]]:
    """The samples of a data set, and the paths of all its images.

    Raises:
        DatasetError: FiftyOne cannot give them.
    """
    try:
        import fiftyone as library
    except ImportError as error:
        raise DatasetError(
            "the data set fiftyone needs FiftyOne, which is no extra of wsol-bench: "
            "pip install fiftyone"
        ) from error
    try:
        known = library.list_datasets()
        if name not in known:
            raise DatasetError(
                f"dataset: FiftyOne has no data set {name!r}; {did_you_mean(name, known)}"
            )
        loaded = library.load_dataset(name)
        fields = list(loaded.get_field_schema())
        if label_field not in fields:
            raise DatasetError(
                f"label_field: FiftyOne's data set {name!r} has no field {label_field!r}; "
                f"{did_you_mean(label_field, fields)}"
            )
        chosen = loaded if tag is None else loaded.match_tags(tag)
        return chosen.iter_samples(), loaded.values("filepath")
    except DatasetError:
        raise
    except Exception as error:  # a database in another process: any error can come of it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(f"FiftyOne cannot load the data set {name!r}: {reason}") from error


def _read(
    samples: Iterable[Any], name: str, label_field: str
) -> tuple[list[str], pd.DataFrame, set[str]]:
    """The paths of the images, their objects, and the names of all classes.

    An object has position (of its image's path), wnid, and its four numbers as ``CORNERS``, NaN if
    one of them is no number.

    Raises:
        DatasetError: a sample's field holds no detections.
    """
    paths: list[str] = []
    found: list[tuple[int, str, float, float, float, float]] = []
    for sample in samples:
        label = sample[label_field]
        detections = getattr(label, "detections", [] if label is None else [label])
        for detection in detections or []:
            box = getattr(detection, "bounding_box", None)
            if box is None:
                raise DatasetError(
                    f"FiftyOne's data set {name!r}, {sample.filepath}: expected detections with "
                    f"bounding boxes in the field {label_field!r}, found "
                    f"{type(detection).__name__}; name another with the option label_field"
                )
            numbers = [float(one) for one in box]
            if len(numbers) != 4 or not all(abs(one) <= LARGEST for one in numbers):
                numbers = [np.nan] * 4
            x, y, w, h = numbers
            found.append((len(paths), detection.label or "", x, y, w, h))
        paths.append(os.path.abspath(sample.filepath))
    objects = pd.DataFrame(found, columns=["position", "wnid", *CORNERS])
    kinds = {"wnid": "str"} | dict.fromkeys(CORNERS, np.float64)
    return paths, objects.astype(kinds), set(objects["wnid"]) - {""}
