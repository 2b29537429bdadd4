"""What the loader ``imagenet`` would read in a folder."""

from pathlib import Path

from wsol_bench.common import data_files
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.datasets.folders import stems
from wsol_bench.datasets.formats.xml import XML_SUFFIXES
from wsol_bench.datasets.imagenet.layout import Folder, Pieces, find_class_ids, look_for_pieces
from wsol_bench.datasets.recognition import Recognition, first_line, n_files, n_lines
from wsol_bench.datasets.synsets import WNID
from wsol_bench.errors import DatasetError

__all__ = ["recognize"]

# What stands for the classes of ImageNet where no name of one is at hand.
_ANY_WNID = "n00000000"
_SPLITS = ("val", "train", "test")


def recognize(root: Path) -> Recognition:
    """The first split whose images (or list of images) and boxes lie in one of the layouts.

    Raises:
        OSError: a folder or file cannot be read.
        DatasetError: the root is no folder, or cannot be searched.
    """
    found = [_in_split(root, split, look_for_pieces(root, split)) for split in _SPLITS]
    return max(found, key=lambda one: one.n_found)


def _in_split(root: Path, split: str, pieces: Pieces) -> Recognition:
    """Look for the pieces of a split."""
    listed = pieces.image_list or pieces.solution or pieces.sizes or pieces.xml
    needs = {
        f"images in {split}/ or ILSVRC/Data/CLS-LOC/{split}/, or a list of them": bool(
            pieces.images or listed
        ),
        f"boxes in LOC_{split}_solution.csv or XML files in ILSVRC/Annotations/CLS-LOC/{split}/, "
        f"bbox/{split}/ or annotations/": bool(pieces.xml or pieces.solution),
    }
    if not all(needs.values()):
        return Recognition(needs, {})

    def place(path: Path) -> str:
        return "the folder itself" if path == root else str(path.relative_to(root))

    seen, class_name = [], ""
    if pieces.images:
        folder, nested = pieces.images
        seen += [f"{n_files(folder, IMAGE_SUFFIXES, nested=nested)} images in {place(folder)}"]
        class_name = _class_in(pieces.images)
    if pieces.xml:
        folder, nested = pieces.xml
        seen += [f"{n_files(folder, XML_SUFFIXES, nested=nested)} XML files in {place(folder)}"]
    if pieces.solution:
        seen += [
            f"boxes of {n_lines(pieces.solution, header=1)} images in {place(pieces.solution)}"
        ]
    if pieces.mapping:
        seen += [f"{n_lines(pieces.mapping)} classes in {place(pieces.mapping)}"]
        class_name = first_line(pieces.mapping).partition(" ")[0]
    options, unsure = {"root": str(root), "split": split}, {}
    if devkit := pieces.meta or pieces.synsets:
        seen += [f"the IDs of the devkit in {place(devkit)}"]
        class_name = class_name or _ANY_WNID
    elif beside := _devkit_beside(root):
        options["devkit"] = str(beside)
    else:
        unsure["devkit"] = "/path/to/ILSVRC2012_devkit_t12  # IDs of classes, and the blacklist"
    unsure["subset"] = "ids.txt  # evaluate these image ids only, one a line"
    is_wnid = WNID.fullmatch(class_name) is not None
    return Recognition(
        needs, options, tuple(seen), unsure, images=pieces.images is not None, wnids=is_wnid
    )


def _class_in(images: Folder) -> str:
    """The name of a folder of a class; for official names of images any wnid; "" if unknown."""
    if next(stems(images.path, IMAGE_SUFFIXES, nested=False), "").startswith("ILSVRC"):
        return _ANY_WNID
    names = data_files.names_in(images.path) if images.nested else []
    return next((name for name in names if data_files.is_dir(images.path / name)), "")


def _devkit_beside(root: Path) -> Path | None:
    """A devkit in the folder that the root lies in; None for none."""
    for folder in data_files.matching(root.parent, "*devkit*"):
        try:
            find_class_ids(folder)
        except DatasetError:
            continue
        return folder
    return None
