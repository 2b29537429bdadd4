"""Data sets in the format of YOLO: a text file an image, and a data.yaml or classes.txt."""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS, in_pixels, to_corners
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.folders import has_content, look_up, scan
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.yolo import read_description, read_labels, read_names
from wsol_bench.datasets.per_class import per_class
from wsol_bench.datasets.recognition import Recognition, head, n_files
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import HALF_OPEN

__all__ = ["yolo"]

# The names of a split: Roboflow writes "valid".
_ALIASES = {"val": ("val", "valid", "validation"), "valid": ("valid", "val", "validation")}
_SPLITS = ("val", "valid", "test", "train")
_NUMBERS = ["cx", "cy", "w", "h"]
# Tools write shares with six digits: they are off by half a millionth, and edges by a little more.
_ROUNDING = 1e-6


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: a data.yaml or classes.txt, and images with label files."""
    base = root.parent if data_files.is_file(root) else root
    description = _description(root)
    content = {} if description is None else read_description(description)
    splits = [split for split in _SPLITS if _has_split(base, content, split)]
    source = next(_sources(base, content, splits[0] if splits else None), ".")
    if source.endswith(".txt"):
        source = posixpath.dirname(_of_source(base, source)["file"].iloc[0])
    images = base / source
    labels = base / _label_file(f"{source}/x").rpartition("/")[0]
    n_images = n_files(images, IMAGE_SUFFIXES) if data_files.is_dir(images) else "0"
    folders = [folder for folder in (labels, images) if data_files.is_dir(folder)]
    texts = [path for folder in folders for path in data_files.matching(folder, "*.txt")[:5]]
    needs = {
        "data.yaml with names, or classes.txt": "names" in content
        or any(data_files.is_file(base / place / "classes.txt") for place in (".", "labels")),
        "images (images/val, valid/images, or any folder)": n_images != "0",
        "label files (labels/val, ..., or beside the images)": any(map(_is_label_file, texts)),
    }
    if not all(needs.values()):
        return Recognition(needs, {})
    options = {"root": str(root)} | ({"split": splits[0]} if splits else {})
    seen = f"{n_images} images in {source}, and label files"
    return Recognition(needs, options, (seen,))


def _has_split(base: Path, content: dict[str, Any], split: str) -> bool:
    """Return whether a split is there: a data.yaml names others that were not downloaded, too."""
    try:
        return any(_sources(base, content, split))
    except DatasetError:
        return False


def _is_label_file(path: Path) -> bool:
    """Return whether the first line of a text file is that of an object."""
    cells = (head(path).splitlines() or [""])[0].split()
    return len(cells) >= 5 and all(cell.replace(".", "", 1).isdecimal() for cell in cells)


@dataset("yolo", recognize=_recognize)
def yolo(
    *,
    root: Path,
    split: str | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """Label files of YOLO: one sample for each class of an image, with the boxes of that class.

    A label file holds a line an object: the number of its class, and center, width and height of
    its box, as shares of the image as it is shown (turned by its EXIF tag, as YOLO reads it). An
    outline (``class x y x y x y ...``) becomes the box around it. Samples come in the order of the
    images' names (or of a list); their ids are ``<path without extension>/<class>``.

    Edges are off a whole pixel by up to a millionth of the image's side, because shares are written
    with six digits; such an edge is that pixel's.

    Args:
        root: folder with data.yaml (or classes.txt), images and labels; or the path of a YAML file.
            The names of the classes come from there; without either a class is its number.
        split: ``train``, ``val`` or ``test`` of data.yaml, or else the folder images/<split> or
            <split>/images. By default "val", or all images if there is no such folder and
            data.yaml names no split.
        images: folder of the images, in place of ``split``.
        labels: folder of the label files; by default ``images`` in an image's path is replaced by
            ``labels``, and without such a folder the label file lies beside the image.
        cache: whether to keep the parsed files and the sizes from image headers for the next load.

    Raises:
        DatasetError: a file or folder is missing or lies outside of the root, a line has a sixth
            column (a prediction), a number that is no share, or a class without a name, or every
            image is left out.
    """
    path = existing(root, "root")
    description = _description(path)
    base = path if description is None else description.parent
    content = {} if description is None else read_description(description)
    tables = TableCache(enabled=cache)
    place = _listed(base, content, split, images, labels)
    names = _names(place, base, description, content)
    frame, findings = find_images(place.images, place.files, tables)
    objects, unlabeled = _objects(place, frame, len(names), _n_point_columns(content), tables)
    if not names:
        count = int(objects["number"].to_numpy(np.int64).max(initial=-1)) + 1
        names = [f"{number:0{len(str(max(0, count - 1)))}}" for number in range(count)]
    objects["wnid"] = np.array(names, object)[objects["number"]]
    samples, boxes = per_class(_as_shown(frame), objects)
    boxes[CORNERS] = _whole_pixels(boxes, samples, str(place.labels))
    return assemble(
        "yolo",
        samples,
        boxes,
        class_table({name: name for name in names}),
        [*findings, *unlabeled],
        convention=HALF_OPEN,
        source=f"{path}" if split is None else f"split {split!r} of {path}",
    )


class _Place(NamedTuple):
    """The images of a split, and where their label files lie.

    Attributes:
        images: folder that the images' files are relative to.
        labels: folder that the label files are relative to.
        files: one row an image: image_id, file, label_file.
    """

    images: Path
    labels: Path
    files: pd.DataFrame


def _description(path: Path) -> Path | None:
    """The YAML file of a data set: the path itself, data.yaml, or the only one in the folder."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return path
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if has_content(path / name):
            return path / name
    files = scan(path, ("yaml", "yml"), nested=False) if data_files.is_dir(path) else pd.DataFrame()
    return path / files["file"].iloc[0] if len(files) == 1 else None


def _listed(
    base: Path, content: dict[str, Any], split: str | None, images: Path | None, labels: Path | None
) -> _Place:
    """The images of a split and their label files; see ``yolo`` for the arguments."""
    if split is not None and images is not None:
        raise DatasetError(f"expected split or images, found both: {split!r} and {images}")
    label_folder = None if labels is None else existing(labels, "labels")
    if images is not None:
        folder = existing(images, "images")
        files = _in_folder(folder, "").assign(label_file=lambda table: table["image_id"] + ".txt")
        if label_folder is None:
            beside = Path(f"/{_label_file(f'{folder}/x')}").parent
            label_folder = beside if data_files.is_dir(beside) else folder
    else:
        folder = base
        sources = list(_sources(base, content, split))
        if not sources:
            named = ", ".join(name for name in (*_SPLITS, "validation") if content.get(name))
            raise DatasetError(
                f"split: expected images of the split {split or 'val'!r} in {base}, found none"
                + (f"; data.yaml names {named}" if named else "")
                + "; name their folder with images="
            )
        files = pd.concat([_of_source(base, source) for source in sources], ignore_index=True)
        if len(sources) == 1 and not sources[0].endswith(".txt"):
            ids = files["image_id"].map(lambda name: posixpath.relpath(name, sources[0]))
            files["image_id"] = ids
        if len(sources) == 1 and label_folder is not None:
            files["label_file"] = files["file"].map(
                lambda file: posixpath.splitext(posixpath.relpath(file, sources[0]))[0] + ".txt"
            )
    if files.empty:
        raise DatasetError(f"images: expected images, found none in {images or base}")
    absent = look_up(label_folder or folder, files["label_file"].tolist())["bytes"] < 0
    if label_folder is None and absent.all():
        # LabelImg and Darknet write label files beside the images, whatever the folder's name.
        files["label_file"] = files["file"].map(lambda file: posixpath.splitext(file)[0] + ".txt")
    return _Place(folder, label_folder or folder, files)


def _sources(base: Path, content: dict[str, Any], split: str | None) -> Iterator[str]:
    """The folders or lists of a split, relative to the root; ".", too, if None is asked for.

    Raises:
        DatasetError: data.yaml names a folder or list that does not exist below the root.
    """
    name_of_split = split or "val"
    for name in _ALIASES.get(name_of_split, (name_of_split,)):
        value = content.get(name)
        if not value:
            continue
        inner = str(content.get("path") or "")
        for text in map(str, value if isinstance(value, list) else [value]):
            # ``path`` is a folder of the author's disk as often as not, and Roboflow's folders
            # begin with "../" though they lie beside the file: YOLO looks there, too.
            plain = text.removeprefix("../") if text.startswith("../") else text
            places = [posixpath.normpath(place) for place in (f"{inner}/{plain}", plain)]
            places = [place for place in places if stays_below(place)]
            found = [place for place in places if data_files.exists(base / place)]
            if not found:
                raise DatasetError(
                    f"{name} of data.yaml: expected a folder or list below {base}, found none at "
                    f"{text!r}; name the folders with images= and labels="
                )
            yield found[0]
        return
    if any(content.get(name) for name in _SPLITS):
        return
    places = [f"images/{name_of_split}", f"{name_of_split}/images", name_of_split]
    for place in places + (["images", "."] if split is None else []):
        # Folders in "images" are splits, which are not taken together.
        nested = place not in ("images", ".")
        if data_files.is_dir(base / place) and len(_images_in(base / place, nested)):
            yield place
            return


def _of_source(base: Path, source: str) -> pd.DataFrame:
    """The images in a folder, or in a list of paths."""
    if not source.endswith(".txt"):
        prefix = "" if source == "." else f"{source}/"
        return _in_folder(base / source, prefix, nested=source not in ("images", "."))
    files = []
    for line, text in enumerate(read_lines(base / source), start=1):
        if not (name := text.strip()):
            continue
        # "./" is the folder of the list.
        at = posixpath.dirname(source) if name.startswith("./") else ""
        name = posixpath.normpath(posixpath.join(at, name))
        if not stays_below(name):
            raise DatasetError(
                f"{base / source}, line {line}: expected the path of an image below {base}, found "
                f"{text.strip()[:80]!r}"
            )
        files.append(name)
    return _with_labels(pd.Series(files, dtype="str"))


def _images_in(folder: Path, nested: bool) -> pd.Series:
    return scan(folder, IMAGE_SUFFIXES, nested=nested, wanted=())["file"]


def _in_folder(folder: Path, prefix: str, *, nested: bool = True) -> pd.DataFrame:
    """The images in a folder (and in those in it), sorted; their paths begin with ``prefix``."""
    return _with_labels(prefix + _images_in(folder, nested).sort_values(ignore_index=True))


def _with_labels(files: pd.Series) -> pd.DataFrame:
    ids = files.map(lambda file: posixpath.splitext(file)[0])
    return pd.DataFrame({"image_id": ids, "file": files, "label_file": files.map(_label_file)})


def _label_file(image: str) -> str:
    """The path of an image's label file: the last folder ``images`` is ``labels`` there."""
    folder, _, name = image.rpartition("/")
    parts = folder.split("/")
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return "/".join([*parts, posixpath.splitext(name)[0] + ".txt"]).lstrip("/")


def _names(
    place: _Place, base: Path, description: Path | None, content: dict[str, Any]
) -> list[str]:
    """The names of the classes, from data.yaml or classes.txt; none if neither is there."""
    if description is not None and content.get("names") is not None:
        return read_names(description, content["names"])
    first = posixpath.dirname(place.files["label_file"].iloc[0])
    for folder in (base, base / "labels", place.labels, place.labels / first):
        if has_content(path := folder / "classes.txt"):
            lines = [line.strip() for line in read_lines(path)]
            while not lines[-1]:
                lines.pop()
            return read_names(path, lines)
    return []


def _n_point_columns(content: dict[str, Any]) -> int:
    """The number of columns of key points, which data.yaml tells by kpt_shape; 0 for none."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(n) is int and 0 < n < 10_000 for n in shape)
    ):
        raise DatasetError(f"kpt_shape of data.yaml: expected two numbers, found {shape!r:.80}")
    return int(shape[0] * shape[1])


def _objects(
    place: _Place, frame: pd.DataFrame, n_classes: int, n_point_columns: int, tables: TableCache
) -> tuple[pd.DataFrame, list[Finding]]:
    """The objects of the images in ``frame``, in shares; findings of images without an object."""
    found = look_up(place.labels, frame["label_file"].tolist())
    there = (found["bytes"] >= 0).to_numpy()
    images = np.flatnonzero(there)
    objects = read_labels(
        place.labels,
        found[there].reset_index(drop=True),
        tables,
        n_classes=n_classes,
        n_point_columns=n_point_columns,
    )
    objects = objects.assign(image=images[objects["file"]])
    corners = to_corners(objects[_NUMBERS].to_numpy(np.float64), CONVENTIONS["normalized_cxcywh"])
    objects[CORNERS] = corners
    idle = frame["keep"].to_numpy(np.bool_, copy=True)
    idle[objects["image"]] = False
    findings = []
    for index in np.flatnonzero(idle):
        reason = "its label file is empty" if there[index] else "no label file"
        detail = f"{reason}: background; left out"
        findings.append(Finding(Kind.NO_LABEL, frame["image_id"].iloc[index], detail))
    return objects, findings


def _as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The images with the size on which shares were drawn: that of the image as EXIF shows it."""
    turned = (frame["orientation"] >= 5).to_numpy()
    size = frame[["width", "height"]].to_numpy(np.int64)
    shown = np.where(turned[:, None], size[:, ::-1], size)
    return frame.assign(annotated_width=shown[:, 0], annotated_height=shown[:, 1])


def _whole_pixels(boxes: pd.DataFrame, samples: pd.DataFrame, source: str) -> np.ndarray:
    """The corners in pixels; an edge that rounding moved off a whole pixel is put back."""
    corners = in_pixels(boxes, samples, source=source, advice="no image file tells them")
    sides = samples[["annotated_width", "annotated_height"]].to_numpy(np.float64)[boxes["image"]]
    whole = np.rint(corners)
    near = np.abs(corners - whole) <= _ROUNDING * np.tile(sides, 2)
    return np.asarray(np.where(near, whole, corners))
