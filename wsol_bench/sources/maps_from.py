"""Maps that any other tool made, by image id."""

from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32

from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.sources.base import digest, source
from wsol_bench.sources.given import GivenMaps

__all__ = ["maps_from"]

_SUFFIXES = (".npy", ".npz")


@source("maps_from", gives="maps")
def maps_from(dataset: Dataset | None, *, path: Path) -> GivenMaps:
    """Maps in a folder: ``<image id>.npy``, or ``<image id>.npz`` with one array in it.

    Each is an array of shape (h, w), or with axes of length 1 before these, of any size and number
    type, over the whole of the network's input, higher where there is more of the object. An image
    id may hold folders (``val/0001.JPEG`` is ``val/0001.JPEG.npy``, or ``val/0001.npy``).

    Args:
        dataset: not needed.
        path: of the folder, relative to the working directory.

    Raises:
        ConfigError: no such folder, or none of these files in it.
        PredictionError: a file that is no such array; raised when it is read.
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
        as_path = PurePosixPath(image_id)
        stem = str(as_path.with_suffix("")) if as_path.name else ""
        names = [f"{name}{suffix}" for name in (image_id, stem) for suffix in _SUFFIXES]
        # Names that were listed: an id cannot lead out of the folder.
        return next((files[name] for name in names if name in files), None)

    def map(image_id: str) -> Float32[np.ndarray, "h w"] | None:
        file = find(image_id)
        return None if file is None else _read(file)

    stats = ((name, file.stat()) for name, file in sorted(files.items()))
    listing = "".join(f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats)
    return GivenMaps(
        map, digest(listing.encode()), known=lambda image_id: find(image_id) is not None
    )


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
