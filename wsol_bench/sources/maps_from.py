"""Maps that any other tool made, by image id."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32

from wsol_bench.datasets import Dataset
from wsol_bench.datasets.annotations import IMAGE_SUFFIXES
from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.progress import progress
from wsol_bench.sources.base import digest, source
from wsol_bench.sources.given import GivenMaps

__all__ = ["maps_from"]

_SUFFIXES = (".npy", ".npz")


@source("maps_from", gives="maps")
def maps_from(dataset: Dataset | None, *, path: Path) -> GivenMaps:
    """Maps in a folder: ``<image id>.npy``, or ``<image id>.npz`` with one array in it.

    Each is an array of shape (h, w), or with axes of length 1 before these, of any size and number
    type, over the whole of the network's input, higher where there is more of the object. An image
    id may hold folders, and its image suffix may be left out: ``val/0001.JPEG`` is
    ``val/0001.JPEG.npy``, or ``val/0001.npy``. All files are read once for the fingerprint, which
    is of their names and content.

    Args:
        dataset: not needed.
        path: of the folder, relative to the working directory.

    Raises:
        ConfigError: no such folder, or none of these files in it.
        PredictionError: a file that cannot be read; when a map is asked for, also one that is no
            such array, or two files of one image.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"maps_from: {folder} is no folder")
    files = {
        str(PurePosixPath(file.relative_to(folder))): file
        for suffix in _SUFFIXES
        for file in folder.rglob(f"*{suffix}")
    }
    if not files:
        raise ConfigError(
            f"maps_from: {folder} holds no .npy or .npz file; expected one an image, named by its "
            "id, such as ILSVRC2012_val_00000001.npy"
        )

    def find(image_id: str) -> Path | None:
        names = (f"{name}{suffix}" for name in _names(image_id) for suffix in _SUFFIXES)
        # Names that were listed: an id cannot lead out of the folder.
        found = [files[name] for name in names if name in files]
        if len(found) > 1:
            raise PredictionError(
                f"maps_from: image {image_id!r} has {len(found)} maps, expected one: "
                f"{' and '.join(str(file) for file in found)}"
            )
        return found[0] if found else None

    def map(image_id: str) -> Float32[np.ndarray, "h w"] | None:
        file = find(image_id)
        return None if file is None else _read(file)

    return GivenMaps(map, _fingerprint(files), known=lambda image_id: find(image_id) is not None)


def _names(image_id: str) -> list[str]:
    """What an image's map may be called: its id, and that without an image suffix."""
    stem, _, suffix = image_id.rpartition(".")
    is_image = stem.rpartition("/")[2] and suffix.lower() in IMAGE_SUFFIXES
    return [image_id, stem] if is_image else [image_id]


def _fingerprint(files: Mapping[str, Path]) -> str:
    """Digest of the names and the content of all files."""
    names, paths = zip(*sorted(files.items()), strict=True)
    lines = []
    with progress("reading maps", len(names), "files") as advance, ThreadPoolExecutor() as pool:
        for name, content in zip(names, pool.map(_content, paths), strict=True):
            lines.append(f"{name!a} {content}\n")
            advance(1)
    return digest("".join(lines).encode())


def _content(path: Path) -> str:
    """Digest of a file; "" of what is no file, an error where it is asked for."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PredictionError(f"{path}: no map can be read: {error}") from error


def _read(path: Path) -> Float32[np.ndarray, "h w"]:
    """One map; nothing in the file is executed."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = [content] if isinstance(content, np.ndarray) else list(content.values())
    except Exception as error:  # whatever numpy, zipfile and zlib raise of somebody's bytes
        raise PredictionError(f"{path}: no map can be read: {error}") from error
    if len(arrays) != 1:
        raise PredictionError(f"{path}: expected one array, found {len(arrays)}")
    [array] = arrays
    if not isinstance(array, np.ndarray):  # a member of the archive that is no .npy
        raise PredictionError(f"{path}: expected one array, found {type(array).__name__}")
    leading = array.shape[:-2]
    if array.ndim < 2 or any(length != 1 for length in leading) or 0 in array.shape:
        raise PredictionError(f"{path}: expected a map of shape (h, w), found {array.shape}")
    if array.dtype.kind not in "fiub":
        raise PredictionError(f"{path}: expected numbers, found {array.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 a value is infinite: such a map has no box
        return array.reshape(array.shape[-2:]).astype(np.float32)
