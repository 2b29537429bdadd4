"""The class of every loaded data set: tables of images and boxes in one convention."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from wsol_bench.common.catalog import DATASETS
from wsol_bench.common.registry import Registry
from wsol_bench.datasets.findings import Finding
from wsol_bench.datasets.masks import MaskFiles
from wsol_bench.datasets.recognition import Recognize
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import Boxes

__all__ = [
    "ROOT_ID",
    "ROOT_SYNSET",
    "Dataset",
    "Sample",
    "counts_for",
    "dataset",
    "datasets",
]

# The devkit's label 1001: the root of the hierarchy, which is above every class.
ROOT_SYNSET = "root"
ROOT_ID = 1001


def counts_for(
    labels: str | np.ndarray, box_labels: Shaped[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Return whether each box counts for a class: boxes of that class, or all boxes for the root.

    Args:
        labels: wnid of the class, one for all boxes or one a box.
        box_labels: wnid of each box.
    """
    return np.asarray((box_labels == labels) | (labels == np.asarray(ROOT_SYNSET)), dtype=bool)


class Sample(NamedTuple):
    """One image of a data set.

    Attributes:
        image_id: name that is unique in the data set.
        path: path of the image file; None in an annotations-only data set.
        height, width: size in pixels; 0 if unknown.
        label: wnid of the image's class.
        boxes: (n, 4) ground-truth boxes, half-open xyxy pixels of the original image.
        box_labels: wnid of each box.
        blacklisted: whether the official protocol leaves the image out of the localization error.
        mask: the mask; None in a data set of boxes.
        held_out: whether a threshold is selected on the image, which then enters no number.
    """

    image_id: str
    path: Path | None
    height: int
    width: int
    label: str
    boxes: Boxes
    box_labels: tuple[str, ...]
    blacklisted: bool
    mask: MaskFiles | None = None
    held_out: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set: images in order, their boxes or masks, and their classes.

    Attributes:
        name: name of the data set, as configured.
        images: one row an image: image_id, path ("" for none), height, width, label, blacklisted,
            n_boxes; also held_out if a threshold is selected on some of the images.
        boxes: (m, 4) boxes of all images in order, half-open xyxy pixels of the original images.
        box_labels: (m,) wnid of each box.
        classes: one row a class in sorted-wnid order: wnid, words, ilsvrc_id (0 if no devkit
            was read).
        findings: oddities that the loader repaired or left out.
        masks: the mask of each image; empty in a data set of boxes.
    """

    name: str
    images: pd.DataFrame
    boxes: Boxes
    box_labels: np.ndarray
    classes: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    masks: tuple[MaskFiles, ...] = ()

    def __post_init__(self) -> None:
        ends = np.cumsum(self.images["n_boxes"].to_numpy(np.int64))
        object.__setattr__(self, "_ends", ends)
        repeated = self.images["image_id"][self.images["image_id"].duplicated()]
        if len(repeated):
            raise DatasetError(
                f"{self.name}: expected each image id once, found {repeated.iloc[0]!r} twice"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        row = self.images.iloc[index]
        span = self._span(index)
        return Sample(
            image_id=str(row["image_id"]),
            path=Path(row["path"]) if row["path"] else None,
            height=int(row["height"]),
            width=int(row["width"]),
            label=str(row["label"]),
            boxes=self.boxes[span],
            box_labels=tuple(self.box_labels[span].tolist()),
            blacklisted=bool(row["blacklisted"]),
            mask=self.masks[index] if self.masks else None,
            held_out=bool(row.get("held_out", False)),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def _span(self, index: int) -> slice:
        ends: np.ndarray = self.__dict__["_ends"]
        return slice(int(ends[index]) - int(self.images["n_boxes"].iloc[index]), int(ends[index]))

    def take(self, indices: Sequence[int]) -> "Dataset":
        """The data set of the images at ``indices``, in that order."""
        ends: np.ndarray = self.__dict__["_ends"]
        counts = self.images["n_boxes"].to_numpy(np.int64)[list(indices)]
        # The distance from each image's first box in the new list to its first box in the old one.
        shifts = ends[list(indices)] - np.cumsum(counts)
        flat = np.repeat(shifts, counts) + np.arange(counts.sum())
        return replace(
            self,
            images=self.images.iloc[list(indices)].reset_index(drop=True),
            boxes=self.boxes[flat],
            box_labels=self.box_labels[flat],
            masks=tuple(self.masks[index] for index in indices) if self.masks else (),
        )

    def select(self, image_ids: Sequence[str]) -> "Dataset":
        """The data set of the images with these ids, in that order.

        Raises:
            DatasetError: an id is not in the data set.
        """
        position = {name: index for index, name in enumerate(self.images["image_id"])}
        unknown = [name for name in image_ids if name not in position]
        if unknown:
            example = f"; image ids look like {next(iter(position))!r}" if position else ""
            raise DatasetError(
                f"{self.name}: {len(unknown)} of {len(image_ids)} listed images are not in the "
                f"data set, the first is {unknown[0]!r}{example}"
            )
        return self.take([position[name] for name in image_ids])

    def apart(self) -> "Dataset":
        """The same data set with tables and arrays of its own: what is written there stays there.

        Plug-ins are given such a data set.
        """
        return replace(
            self,
            images=self.images.copy(),
            boxes=self.boxes.copy(),
            box_labels=self.box_labels.copy(),
            classes=self.classes.copy(),
        )

    @property
    def words(self) -> dict[str, str]:
        """The names of the classes for people, by wnid; two classes may share a name ("crane")."""
        return dict(zip(self.classes["wnid"], self.classes["words"], strict=True))

    @property
    def fingerprint(self) -> str:
        """The digest of the ground truth: ids, labels, blacklist, boxes; mask names and sizes."""
        digest = hashlib.sha256()
        for column in ("image_id", "label", "blacklisted", "n_boxes"):
            digest.update("\n".join(self.images[column].astype(str)).encode())
        digest.update(np.ascontiguousarray(self.boxes).tobytes())
        digest.update("\n".join(self.box_labels.tolist()).encode())
        for mask in self.masks:
            digest.update(mask.identity().encode())
        return digest.hexdigest()[:16]

    def require_pixels(self) -> None:
        """Raise DatasetError if the data set has no image files."""
        if not (self.images["path"] != "").any():
            raise DatasetError(
                f"{self.name}: expected image files, found none: the data set has no pixels for a "
                "network (it can still score prediction files). Check the option 'root', or name "
                "an image folder elsewhere with the option 'images'"
            )


Loader = Callable[..., Dataset]


@dataclass(frozen=True)
class DatasetLoader:
    """A registered loader: a function of keyword-only options that returns a Dataset.

    Attributes:
        load: the function.
        summary: the first line of its docstring.
        recognize: tells what it would read in a folder; None if it needs no folder, or cannot tell.
    """

    load: Loader
    summary: str
    recognize: Recognize | None = None

    def __call__(self, **options: Any) -> Dataset:
        return self.load(**options)


datasets: Registry[DatasetLoader] = Registry(DatasetLoader, DATASETS)


def dataset(name: str, *, recognize: Recognize | None = None) -> Callable[[Loader], DatasetLoader]:
    """Register a loader under ``name``; its keyword-only parameters are its options.

    Args:
        name: the name.
        recognize: function that tells what the loader would read in a folder (an absolute path),
            for ``wsol-bench init``; it may raise OSError or DatasetError.
    """

    def register(load: Loader) -> DatasetLoader:
        summary = (load.__doc__ or "").strip().partition("\n")[0]
        return datasets.register(name, DatasetLoader(load, summary, recognize), load)

    return register
