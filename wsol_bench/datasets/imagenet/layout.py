"""Where the pieces of an ImageNet root lie.

The published layouts (Kaggle's, the official tars', torchvision's folders, our annotations-only
one) hold the same pieces in different places, so each piece has a list of places and the loader
knows nothing of layouts.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from wsol_bench.datasets.annotations import IMAGE_SUFFIXES, XML_SUFFIXES
from wsol_bench.datasets.index import contents, existing
from wsol_bench.errors import DatasetError

__all__ = ["Folder", "Pieces", "find_class_ids", "find_pieces"]

P = ParamSpec("P")
T = TypeVar("T")

# Places relative to the root, the first that exists counts. A folder counts if it holds files of
# its kind, directly or in its direct subfolders; the root itself only if their names are official.
IMAGES = (
    "ILSVRC/Data/CLS-LOC/{split}",
    "Data/CLS-LOC/{split}",
    "{split}",
    "ILSVRC2012_img_{split}",
    "images/{split}",
    "{split}/images",
    "images",
    ".",
)
XML = (
    "ILSVRC/Annotations/CLS-LOC/{split}",
    "Annotations/CLS-LOC/{split}",
    "ILSVRC*_bbox_{split}*/{split}",
    "ILSVRC*_bbox_{split}*",
    "bbox/{split}",
    "bbox_{split}*/{split}",
    "bbox_{split}*",
    "{split}_bbox*",
    "xml/{split}",
    "{split}_xml*",
    "xml_{split}*",
    "[Aa]nnotations/{split}",
    "{split}_annotations",
    "{split}/[Aa]nnotations",
    "[Aa]nnotations",
    "bbox",
    "xml",
    "{split}",
    ".",
)
SOLUTION = ("LOC_{split}_solution.csv", "ILSVRC/LOC_{split}_solution.csv")
IMAGE_LIST = tuple(
    f"{folder}ImageSets/CLS-LOC/{{split}}{kind}.txt"
    for folder in ("ILSVRC/", "")
    for kind in ("_loc", "", "_cls")
)
MAPPING = ("LOC_synset_mapping.txt", "ILSVRC/LOC_synset_mapping.txt")
SIZES = ("image_sizes.csv",)
DEVKIT = (".", "data", "*devkit*/data", "*devkit*", "ILSVRC/*devkit*/data", "ILSVRC/*devkit*")
META = ("meta.mat",)
SYNSETS = ("synsets.csv",)
GROUND_TRUTH = ("ILSVRC2012_{official}_ground_truth.txt",)
BLACKLIST = ("*clsloc*{official}*blacklist*.txt",)


class Folder(NamedTuple):
    """A folder of files; ``nested``: its direct subfolders, one a class, count too."""

    path: Path
    nested: bool


@dataclass(frozen=True)
class Pieces:
    """The places of the pieces of one split; None for a piece that the root does not hold."""

    images: Folder | None
    xml: Folder | None
    solution: Path | None
    image_list: Path | None
    mapping: Path | None
    sizes: Path | None
    meta: Path | None
    synsets: Path | None
    ground_truth: Path | None
    blacklist: Path | None


def _searching(find: Callable[P, T]) -> Callable[P, T]:
    """A folder that cannot be listed is a DatasetError of whoever searches there."""

    @wraps(find)
    def searched(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return find(*args, **kwargs)
        except OSError as error:
            raise DatasetError(f"cannot be searched: {error}") from error

    return searched


@_searching
def find_pieces(
    root: Path,
    split: str,
    *,
    images: Path | None,
    annotations: Path | None,
    devkit: Path | None,
    classes: Path | None,
) -> Pieces:
    """The pieces of one split under ``root``; each option names the place of a piece instead.

    Raises:
        DatasetError: a place that does not exist or does not hold its piece, or a root without
            images and without any list of them.
    """
    # The devkit writes "validation" where the image archives write "val".
    names = {"split": split, "official": "validation" if split == "val" else split}
    root = existing(root, "root")
    if not root.is_dir():
        raise DatasetError(f"root: expected a folder, found a file: {root}")

    def first(places: Iterable[str], base: Path = root) -> Path | None:
        return next((path for path in _matches(base, places, names) if path.is_file()), None)

    devkits = list(_matches(root, DEVKIT, names))
    if devkit is not None:
        devkit = existing(devkit, "devkit")
        devkits = [path for path in _matches(devkit, DEVKIT, names) if path.is_dir()]

    def in_devkit(places: Iterable[str]) -> Path | None:
        return next(filter(None, (first(places, folder) for folder in devkits)), None)

    solution, xml = first(SOLUTION), None
    if annotations is not None:
        annotations = existing(annotations, "annotations")
        if annotations.is_file():
            solution = annotations
        else:
            beside = first(SOLUTION, annotations)
            solution = beside or solution
            if beside is None or _holds(annotations, XML_SUFFIXES):
                xml = _folder(root, XML, names, XML_SUFFIXES, annotations, "annotations")
    else:
        xml = _folder(root, XML, names, XML_SUFFIXES, None, "annotations")
    pieces = Pieces(
        images=_folder(root, IMAGES, names, IMAGE_SUFFIXES, images, "images"),
        xml=xml,
        solution=solution,
        image_list=first(IMAGE_LIST),
        mapping=first(MAPPING) if classes is None else existing(classes, "classes"),
        sizes=first(SIZES),
        meta=in_devkit(META),
        synsets=in_devkit(SYNSETS),
        ground_truth=in_devkit(GROUND_TRUTH),
        blacklist=in_devkit(BLACKLIST),
    )
    if devkit is not None and not any(
        (pieces.meta, pieces.synsets, pieces.ground_truth, pieces.blacklist)
    ):
        wanted = _spell((*META, *SYNSETS, *GROUND_TRUTH, *BLACKLIST), names)
        raise DatasetError(f"devkit: {devkit} holds none of {wanted}; found {contents(devkit)}")
    if not (pieces.images or pieces.image_list or pieces.solution or pieces.sizes or pieces.xml):
        raise DatasetError(
            f"{root}: no images of split {split!r} and no list of them; looked for image files in "
            f"{_spell(IMAGES, names)}, for XML files in {_spell(XML, names)}, and for "
            f"{_spell((*SOLUTION, *SIZES), names)}; found {contents(root)}. Pieces that lie "
            "elsewhere are named by options: images= the image folder, annotations= the folder of "
            "XML files or the CSV, devkit= the devkit's folder, classes= LOC_synset_mapping.txt."
        )
    if not (pieces.xml or pieces.solution):
        raise DatasetError(
            f"{root}: no boxes of split {split!r}; looked for XML files in {_spell(XML, names)}, "
            f"and for {_spell(SOLUTION, names)}; found {contents(root)}. The option annotations= "
            "names a folder of XML files or a CSV elsewhere."
        )
    return pieces


@_searching
def find_class_ids(devkit: Path) -> Path:
    """The file of a devkit that holds the ILSVRC2012_IDs; DatasetError where there is none."""
    devkit = existing(devkit, "devkit")
    for folder in _matches(devkit, DEVKIT, {}):
        for name in (*META, *SYNSETS):
            if (folder / name).is_file():
                return folder / name
    wanted = _spell((*META, *SYNSETS), {})
    raise DatasetError(f"devkit: {devkit} holds none of {wanted}; found {contents(devkit)}")


def _folder(
    root: Path,
    places: Iterable[str],
    names: dict[str, str],
    suffixes: frozenset[str],
    option: Path | None,
    key: str,
) -> Folder | None:
    kinds = ", ".join(sorted(suffixes))
    if option is not None:
        option = existing(option, key)
        if not option.is_dir() or not _holds(option, suffixes):
            raise DatasetError(
                f"{key}: {option} is no folder of {kinds} files, flat or in one folder a class"
            )
        return Folder(option, nested=True)
    official = re.compile(rf"_{re.escape(names['split'])}_\d+$")
    for path in _matches(root, places, names):
        if path == root:
            if _holds(path, suffixes, official=official):
                return Folder(path, nested=False)
        elif path.is_dir() and _holds(path, suffixes):
            return Folder(path, nested=True)
    return None


def _holds(folder: Path, suffixes: frozenset[str], official: re.Pattern[str] | None = None) -> bool:
    """Whether files with one of ``suffixes`` lie in the folder or in its direct subfolders.

    With ``official``: only in the folder itself, and with such a stem.
    """
    subfolders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, _, suffix = entry.name.rpartition(".")
            if stem and suffix.lower() in suffixes and entry.name[0] != ".":
                if official is None or official.search(stem):
                    return True
            elif official is None and entry.is_dir():
                subfolders.append(entry.path)
    return any(
        name[0] != "." and name.rpartition(".")[2].lower() in suffixes
        for subfolder in subfolders
        for name in os.listdir(subfolder)
    )


def _matches(base: Path, places: Iterable[str], names: dict[str, str]) -> Iterator[Path]:
    """The existing paths at ``places`` under ``base``, in order; wildcards allowed."""
    for place in places:
        found = [base]
        for part in place.format(**names).split("/"):
            if part == ".":
                continue
            if any(character in part for character in "*?["):
                found = [
                    folder / name
                    for folder in found
                    # The newest year of several files comes first.
                    for name in sorted(fnmatch.filter(_names(folder), part), reverse=True)
                ]
            else:
                found = [folder / part for folder in found]
        yield from (path for path in found if path.exists())


def _names(folder: Path) -> list[str]:
    """The entries of a folder; not the images, of which a flat root holds 50,000."""
    if not folder.is_dir():
        return []
    ignored = tuple(f".{suffix}" for suffix in IMAGE_SUFFIXES | XML_SUFFIXES)
    return [name for name in os.listdir(folder) if not name.lower().endswith(ignored)]


def _spell(places: Iterable[str], names: dict[str, str]) -> str:
    return ", ".join(place.format(**names) for place in places)
