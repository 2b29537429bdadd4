"""The places of the pieces of an ImageNet root: images, annotations, classes, the devkit's files.

The layouts (Kaggle's, the official tars', torchvision's folders, our annotations-only one) hold the
same pieces in different places, so each piece has a list of places and the loader knows nothing of
layouts.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from wsol_bench.common import data_files
from wsol_bench.common.files import contents, existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.datasets.folders import has_content
from wsol_bench.datasets.formats.xml import XML_SUFFIXES
from wsol_bench.errors import DatasetError

__all__ = ["Folder", "Pieces", "find_class_ids", "find_pieces", "look_for_pieces"]

P = ParamSpec("P")
T = TypeVar("T")

# Places relative to the root; the first that exists counts. A folder counts if it holds files of
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
    """A folder of files.

    Attributes:
        path: path of the folder.
        nested: whether the files in its direct subfolders, one a class, count, too.
    """

    path: Path
    nested: bool


@dataclass(frozen=True)
class Pieces:
    """The places of the pieces of one split; None for a piece that the root does not hold.

    Attributes:
        images: folder of the image files.
        xml: folder of the XML annotations.
        solution: CSV of boxes, as Kaggle has it.
        image_list: list of the split's image ids.
        mapping: wnids and words, as Kaggle has them.
        sizes: CSV of the sizes of the images that the boxes were drawn on.
        meta: the devkit's meta.mat.
        synsets: CSV of wnids, words and the devkit's IDs.
        ground_truth: the devkit's ID of each image.
        blacklist: the devkit's numbers of blacklisted images.
    """

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
    """Let a function raise DatasetError if it searches in a folder that cannot be listed."""

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
    """The pieces of one split under ``root``, or in the places that the options name.

    Raises:
        DatasetError: a place does not exist or does not hold its piece, or the root has neither
            images nor a list of images, or has no boxes.
    """
    pieces = look_for_pieces(root, split, images, annotations, devkit, classes)
    _require_pieces(pieces, existing(root, "root"), _names_of(split), devkit)
    return pieces


def _names_of(split: str) -> dict[str, str]:
    """The names of a split that places hold."""
    # The devkit writes "validation" where the image archives write "val".
    return {"split": split, "official": "validation" if split == "val" else split}


@_searching
def look_for_pieces(
    root: Path,
    split: str,
    images: Path | None = None,
    annotations: Path | None = None,
    devkit: Path | None = None,
    classes: Path | None = None,
) -> Pieces:
    """The pieces of one split, as ``find_pieces``, also if essential ones are missing."""
    names = _names_of(split)
    root = existing(root, "root")
    if not data_files.is_dir(root):
        raise DatasetError(f"root: expected a folder, found a file: {root}")
    devkits = list(_matches(root, DEVKIT, names))
    if devkit is not None:
        devkit = existing(devkit, "devkit")
        devkits = [path for path in _matches(devkit, DEVKIT, names) if data_files.is_dir(path)]

    def in_devkit(places: Iterable[str]) -> Path | None:
        files = (_first_file(folder, places, names) for folder in devkits)
        return next(filter(None, files), None)

    xml, solution = _find_boxes(root, names, annotations)
    mapping = _first_file(root, MAPPING, names)
    beside = (root, *([solution.parent] if solution else []), *devkits)
    sizes = (_first_file(folder, SIZES, names) for folder in beside)
    return Pieces(
        images=_folder(root, IMAGES, names, IMAGE_SUFFIXES, images, "images"),
        xml=xml,
        solution=solution,
        image_list=_first_file(root, IMAGE_LIST, names),
        mapping=mapping if classes is None else existing(classes, "classes"),
        sizes=next(filter(None, sizes), None),
        meta=in_devkit(META),
        synsets=in_devkit(SYNSETS),
        ground_truth=in_devkit(GROUND_TRUTH),
        blacklist=in_devkit(BLACKLIST),
    )


def _find_boxes(
    root: Path, names: dict[str, str], annotations: Path | None
) -> tuple[Folder | None, Path | None]:
    """The folder of XML files and the solution CSV, under the root or as the option names them."""
    solution = _first_file(root, SOLUTION, names)
    if annotations is not None:
        annotations = existing(annotations, "annotations")
        if data_files.is_file(annotations):
            return None, annotations
        beside = _first_file(annotations, SOLUTION, names)
        if beside is not None and not _holds(annotations, XML_SUFFIXES):
            return None, beside
        solution = beside or solution
    return _folder(root, XML, names, XML_SUFFIXES, annotations, "annotations"), solution


def _require_pieces(pieces: Pieces, root: Path, names: dict[str, str], devkit: Path | None) -> None:
    """Raise DatasetError if an essential piece is missing, with the places that were searched."""
    if devkit is not None and not any(
        (pieces.meta, pieces.synsets, pieces.ground_truth, pieces.blacklist)
    ):
        files = _spell((*META, *SYNSETS, *GROUND_TRUTH, *BLACKLIST), names)
        raise DatasetError(f"devkit: expected one of {files} in {devkit}, found {contents(devkit)}")
    split = names["split"]
    if not (pieces.images or pieces.image_list or pieces.solution or pieces.sizes or pieces.xml):
        splits = _splits_there(root)
        has = f" (it has {splits})" if splits else ""
        raise DatasetError(
            f"{root}: expected images of split {split!r}{has} or a list of images: image files in "
            f"one of {_spell(IMAGES, names)}, XML files in one of {_spell(XML, names)}, or one of "
            f"{_spell((*SOLUTION, *SIZES), names)}; found {contents(root)}. Options name pieces "
            "that lie elsewhere: images= the image folder, annotations= the folder of XML files or "
            "the CSV, devkit= the devkit's folder, classes= LOC_synset_mapping.txt."
        )
    if not (pieces.xml or pieces.solution):
        raise DatasetError(
            f"{root}: expected boxes of split {split!r}: XML files in one of "
            f"{_spell(XML, names)}, or one of {_spell(SOLUTION, names)}; found {contents(root)}. "
            "The option annotations= names a folder of XML files or a CSV that lies elsewhere."
        )


def _splits_there(root: Path) -> str:
    """The folders of images that a root holds as a split, by name; "" for none."""
    parents = [place.removesuffix("{split}") for place in IMAGES if place.endswith("/{split}")]
    folders = [path for parent in parents for path in data_files.matching(root / parent, "*")]
    return ", ".join(
        sorted(
            path.name
            for path in folders
            if data_files.is_dir(path) and _holds(path, IMAGE_SUFFIXES)
        )
    )


@_searching
def find_class_ids(devkit: Path) -> Path:
    """The file of a devkit that holds the ILSVRC2012_IDs.

    Raises:
        DatasetError: the devkit has no such file.
    """
    devkit = existing(devkit, "devkit")
    for folder in _matches(devkit, DEVKIT, {}):
        for name in (*META, *SYNSETS):
            if has_content(folder / name):
                return folder / name
    files = _spell((*META, *SYNSETS), {})
    raise DatasetError(f"devkit: expected one of {files} in {devkit}, found {contents(devkit)}")


def _folder(
    root: Path,
    places: Iterable[str],
    names: dict[str, str],
    suffixes: frozenset[str],
    option: Path | None,
    key: str,
) -> Folder | None:
    """The first folder that holds files of a kind.

    Args:
        root: folder that the places are relative to.
        places: places to look at.
        names: names to put into the places.
        suffixes: extensions of the kind of files.
        option: folder that the user names instead; None to look at the places.
        key: name of the user's option, for the error message.

    Raises:
        DatasetError: the user's folder does not exist or holds no such files.
    """
    kinds = ", ".join(sorted(suffixes))
    if option is not None:
        option = existing(option, key)
        if not data_files.is_dir(option) or not _holds(option, suffixes):
            raise DatasetError(
                f"{key}: expected a folder of {kinds} files, flat or in one folder a class, found "
                f"{option}, which holds {contents(option)}"
            )
        return Folder(option, nested=True)
    official = re.compile(rf"_{re.escape(names['split'])}_\d+$")
    for path in _matches(root, places, names):
        if path == root:
            if _holds(path, suffixes, official=official):
                return Folder(path, nested=False)
        elif data_files.is_dir(path) and _holds(path, suffixes):
            return Folder(path, nested=True)
    return None


def _holds(folder: Path, suffixes: frozenset[str], official: re.Pattern[str] | None = None) -> bool:
    """Return whether files with one of ``suffixes`` lie in the folder or in its direct subfolders.

    If ``official`` is given, only files in the folder itself count, and only with such a stem.
    """
    subfolders = []
    with data_files.entries(folder) as entries:
        for entry in entries:
            stem, _, suffix = entry.name.rpartition(".")
            if stem and suffix.lower() in suffixes and entry.name[0] != ".":
                if official is None or official.search(stem):
                    return True
            elif official is None and entry.is_dir():
                subfolders.append(folder / entry.name)
    return any(
        name[0] != "." and name.rpartition(".")[2].lower() in suffixes
        for subfolder in subfolders
        for name in data_files.names_in(subfolder)
    )


def _first_file(base: Path, places: Iterable[str], names: dict[str, str]) -> Path | None:
    """The first file at places under a folder that is not empty."""
    return next(filter(has_content, _matches(base, places, names)), None)


def _matches(base: Path, places: Iterable[str], names: dict[str, str]) -> Iterator[Path]:
    """The existing paths at places under a folder, in order; places may hold wildcards."""
    for place in places:
        paths = [base]
        for part in place.format(**names).split("/"):
            if part == ".":
                continue
            if any(character in part for character in "*?["):
                paths = [
                    folder / name
                    for folder in paths
                    # The newest year of several files comes first.
                    for name in sorted(fnmatch.filter(_names(folder), part), reverse=True)
                ]
            else:
                paths = [folder / part for folder in paths]
        yield from filter(data_files.lexists, paths)


def _names(folder: Path) -> list[str]:
    """The names in a folder, without those that are many in a flat root, and without archives.

    Images and XML files are 50,000. An archive is read if an option leads into it, but not if it
    lies beside what has been unpacked from it.
    """
    if not data_files.is_dir(folder):
        return []
    ignored = tuple(f".{suffix}" for suffix in IMAGE_SUFFIXES | XML_SUFFIXES)
    names = (name for name in data_files.names_in(folder) if not name.lower().endswith(ignored))
    return [name for name in names if not data_files.is_archive(Path(name))]


def _spell(places: Iterable[str], names: dict[str, str]) -> str:
    """Places as text for people."""
    return ", ".join(place.format(**names) for place in places)
