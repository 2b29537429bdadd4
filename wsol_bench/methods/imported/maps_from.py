"""Maps that another tool wrote into a folder, one file for each image."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32

from wsol_bench.common.files import digest
from wsol_bench.common.image_files import IMAGE_SUFFIXES, opened_image
from wsol_bench.common.progress import progress
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.methods.imported.map_files import GRAY_MODES, IMAGE_FILES, MAP_FILES, read_map
from wsol_bench.methods.maps_or_boxes import ImageMaps, MapsOrBoxes
from wsol_bench.methods.network_free import (
    NetworkFreeMethod,
    network_free_method,
    network_free_methods,
)

__all__ = ["maps_from"]


@network_free_method("maps_from", gives="maps")
def maps_from(dataset: Dataset | None, *, path: Path) -> ImageMaps:
    """Maps in a folder, one file for each image, named by the image's id.

    A file is ``<image id>.npy``, ``.npz`` with one array in it, ``.pt`` with a tensor, or an image
    file of one channel of 8 or 16 bits, or of floats. It holds an array of shape (h, w), or with
    axes of length 1 before these, of any size and number type. The map covers the whole of the
    network's input; higher values mean the object. An image id may hold folders, and its image
    suffix may be left out: the map of ``val/0001.JPEG`` is ``val/0001.JPEG.npy``,
    ``val/0001.npy`` or ``val/0001.png``. All files are read once for the fingerprint, which is of
    their names and content. Nothing in them is executed.

    ``maps_from/FOLDER`` is short for ``{name: maps_from, path: FOLDER}``.

    Args:
        dataset: not needed.
        path: the folder, relative to the working directory.

    Raises:
        ConfigError: the folder does not exist, holds none of these files, or holds the images
            themselves.
        PredictionError: a file cannot be read; or, when an image's map is read, the file holds no
            such array, or two files have the image's name.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"maps_from: {folder} is no folder; expected a folder of map files")
    files = {
        str(PurePosixPath(file.relative_to(folder))): file
        for file in folder.rglob("*")
        if file.suffix.lower() in MAP_FILES
    }
    if not files:
        raise ConfigError(
            f"maps_from: {folder} holds no .npy, .npz, .pt or image file; expected one for each "
            "image, named by its id, such as ILSVRC2012_val_00000001.npy"
        )
    _refuse_photographs(folder, files)
    # Files by their listed names, without suffix: an image id cannot lead out of the folder.
    files_of_name: dict[str, list[Path]] = defaultdict(list)
    for name, file in files.items():
        files_of_name[name[: -len(file.suffix)]].append(file)

    def file_of(image_id: str) -> Path | None:
        candidates = [file for name in _names(image_id) for file in files_of_name.get(name, ())]
        if len(candidates) > 1:
            raise PredictionError(
                f"maps_from: image {image_id!r}: expected one map, found {len(candidates)}: "
                f"{' and '.join(str(file) for file in candidates)}"
            )
        return candidates[0] if candidates else None

    def map_of(image_id: str) -> Float32[np.ndarray, "h w"] | None:
        file = file_of(image_id)
        return None if file is None else read_map(file)

    return ImageMaps(map_of, _fingerprint(files), lambda image_id: file_of(image_id) is not None)


@network_free_methods.family("maps_from")
def _of_folder(folder: str) -> NetworkFreeMethod:
    """``maps_from`` of a folder, without options."""

    def opener(dataset: Dataset | None) -> MapsOrBoxes:
        return maps_from.opener(dataset, path=Path(folder))

    return replace(maps_from, name=f"maps_from/{folder}", opener=opener)


def _refuse_photographs(folder: Path, files: Mapping[str, Path]) -> None:
    """Raise ConfigError if a folder holds nothing but images, and the first one is in color.

    Such a folder may be a whole data set, so it is refused before all files are read. Color images
    beside arrays may be pictures of the maps; they are an error only when they are read as maps.
    """
    if any(file.suffix.lower() not in IMAGE_FILES for file in files.values()):
        return
    first = files[min(files)]
    try:
        with opened_image(first) as file:
            mode = file.mode
    except Exception:  # reported when its map is asked for
        return
    if mode not in GRAY_MODES:
        raise ConfigError(
            f"maps_from: {first} is an image in color (mode {mode}), and a map has one channel; "
            f"is {folder} the folder of the images themselves?"
        )


def _names(image_id: str) -> list[str]:
    """The names that an image's map may have: its id, and its id without an image suffix."""
    stem, _, suffix = image_id.rpartition(".")
    is_image = stem.rpartition("/")[2] and suffix.lower() in IMAGE_SUFFIXES
    return [image_id, stem] if is_image else [image_id]


def _fingerprint(files: Mapping[str, Path]) -> str:
    """Digest of the names and the content of all files."""
    names, paths = zip(*sorted(files.items()), strict=True)
    lines = []
    with progress("reading maps", len(names), "files") as advance, ThreadPoolExecutor() as pool:
        for name, content in zip(names, pool.map(_content_digest, paths), strict=True):
            lines.append(f"{name!a} {content}\n")
            advance(1)
    return digest("".join(lines).encode())


def _content_digest(path: Path) -> str:
    """Digest of a file; "" for a folder, which is reported when its map is asked for."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PredictionError(f"{path}: no map can be read: {error}") from error
