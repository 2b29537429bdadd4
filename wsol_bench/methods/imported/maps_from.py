"""Maps that any other tool made, by image id."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from wsol_bench.common.files import IMAGE_FORMATS, digest
from wsol_bench.common.progress import progress
from wsol_bench.datasets import Dataset
from wsol_bench.datasets.formats.file_names import IMAGE_SUFFIXES
from wsol_bench.errors import ConfigError, PredictionError
from wsol_bench.methods.network_free import (
    ImageMaps,
    MapsOrBoxes,
    NetworkFreeMethod,
    network_free_method,
    network_free_methods,
)

__all__ = ["maps_from"]

_ARRAYS = frozenset({".npy", ".npz"})
_TENSORS = frozenset({".pt"})
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# Pillow's modes of one channel. "I" is what some of its versions make of 16 bits.
_GRAY = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L"})


@network_free_method("maps_from", gives="maps")
def maps_from(dataset: Dataset | None, *, path: Path) -> ImageMaps:
    """Maps in a folder: a file an image, named by its id.

    ``<image id>.npy``, ``.npz`` with one array in it, ``.pt`` with a tensor, or an image file of
    one channel of 8 or 16 bits. Each is an array of shape (h, w), or with axes of length 1 before
    these, of any size and number type, over the whole of the network's input, higher where there is
    more of the object. An image id may hold folders, and its image suffix may be left out:
    ``val/0001.JPEG`` is ``val/0001.JPEG.npy``, ``val/0001.npy`` or ``val/0001.png``. All files are
    read once for the fingerprint, which is of their names and content. Nothing in them is executed.

    ``maps_from/FOLDER`` is short for ``{name: maps_from, path: FOLDER}``.

    Args:
        dataset: not needed.
        path: of the folder, relative to the working directory.

    Raises:
        ConfigError: no such folder, none of these files in it, or the images themselves.
        PredictionError: a file that cannot be read; when a map is asked for, also one that is no
            such array, or two files of one image.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"maps_from: {folder} is no folder")
    files = {
        str(PurePosixPath(file.relative_to(folder))): file
        for file in folder.rglob("*")
        if file.suffix.lower() in _ARRAYS | _TENSORS | _IMAGES
    }
    if not files:
        raise ConfigError(
            f"maps_from: {folder} holds no .npy, .npz, .pt or image file; expected one an image, "
            "named by its id, such as ILSVRC2012_val_00000001.npy"
        )
    _refuse_photographs(folder, files)
    # By what is before the suffix. Names that were listed: an id cannot lead out of the folder.
    named: dict[str, list[Path]] = defaultdict(list)
    for name, file in files.items():
        named[name[: -len(file.suffix)]].append(file)

    def find(image_id: str) -> Path | None:
        found = [file for name in _names(image_id) for file in named.get(name, ())]
        if len(found) > 1:
            raise PredictionError(
                f"maps_from: image {image_id!r} has {len(found)} maps, expected one: "
                f"{' and '.join(str(file) for file in found)}"
            )
        return found[0] if found else None

    def map(image_id: str) -> Float32[np.ndarray, "h w"] | None:
        file = find(image_id)
        return None if file is None else _read(file)

    return ImageMaps(map, _fingerprint(files), known=lambda image_id: find(image_id) is not None)


@network_free_methods.family("maps_from")
def _of_folder(folder: str) -> NetworkFreeMethod:
    """``maps_from`` of a folder, without options."""

    def opener(dataset: Dataset | None) -> MapsOrBoxes:
        return maps_from.opener(dataset, path=Path(folder))

    return replace(maps_from, name=f"maps_from/{folder}", opener=opener)


def _refuse_photographs(folder: Path, files: Mapping[str, Path]) -> None:
    """Raise ConfigError where a folder of images alone begins with one in color.

    Before all are read: it may be a whole data set. What stands beside arrays may be pictures of
    them, which nobody asks for.
    """
    if any(file.suffix.lower() not in _IMAGES for file in files.values()):
        return
    first = files[min(files)]
    try:
        with Image.open(first, formats=IMAGE_FORMATS) as file:
            mode = file.mode
    except Exception:  # it is an error when it is asked for
        return
    if mode not in _GRAY:
        raise ConfigError(
            f"maps_from: {first} is an image in color (mode {mode}), and a map has one channel; "
            f"is {folder} the folder of the images themselves?"
        )


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
    suffix = path.suffix.lower()
    read = _image if suffix in _IMAGES else _tensor if suffix in _TENSORS else _array
    try:
        array = read(path)
    except PredictionError:
        raise
    except Exception as error:  # whatever numpy, zipfile, torch and Pillow raise of such bytes
        raise PredictionError(f"{path}: no map can be read: {error}") from error
    leading = array.shape[:-2]
    if array.ndim < 2 or any(length != 1 for length in leading) or 0 in array.shape:
        raise PredictionError(f"{path}: expected a map of shape (h, w), found {array.shape}")
    if array.dtype.kind not in "fiub":
        raise PredictionError(f"{path}: expected numbers, found {array.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 a value is infinite: such a map has no box
        return array.reshape(array.shape[-2:]).astype(np.float32)


def _array(path: Path) -> Shaped[np.ndarray, "..."]:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        arrays = [content] if isinstance(content, np.ndarray) else list(content.values())
    if len(arrays) != 1:
        raise PredictionError(f"{path}: expected one array, found {len(arrays)}")
    [array] = arrays
    if not isinstance(array, np.ndarray):  # a member of the archive that is no .npy
        raise PredictionError(f"{path}: expected one array, found {type(array).__name__}")
    return array


def _tensor(path: Path) -> Shaped[np.ndarray, "..."]:
    import torch  # for these files alone

    tensor = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(tensor, torch.Tensor):
        raise PredictionError(f"{path}: expected one tensor, found {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise PredictionError(f"{path}: expected a dense tensor, found {tensor.type()}")
    # A few bytes may be repeated to any size.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise PredictionError(
            f"{path}: expected a tensor that holds its values, found {tuple(tensor.shape)} of "
            f"{tensor.untyped_storage().nbytes()} bytes"
        )
    tensor = tensor.detach()
    # numpy knows neither bfloat16 nor float8.
    return (tensor.float() if tensor.is_floating_point() else tensor).resolve_conj().numpy()


def _image(path: Path) -> Shaped[np.ndarray, "..."]:
    with Image.open(path, formats=IMAGE_FORMATS) as file:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and file.width * file.height > limit:
            raise PredictionError(f"{path}: {file.width} x {file.height} pixels are too many")
        if file.mode not in _GRAY:
            raise PredictionError(
                f"{path}: expected one channel of 8 or 16 bits, found an image in color (mode "
                f"{file.mode}); is it the image itself?"
            )
        if (n := getattr(file, "n_frames", 1)) != 1:
            raise PredictionError(f"{path}: expected one image, found {n}")
        return np.array(file)
