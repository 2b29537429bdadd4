"""Files that hold one map: NumPy arrays, torch tensors, and images of one channel.

A file is untrusted: a few bytes can stand for any number of values. So the size of a map is read
from the file's header, and bounded, before memory is taken for it.
"""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from wsol_bench.common.files import require_regular
from wsol_bench.common.image_files import IMAGE_SUFFIXES, opened_image
from wsol_bench.datasets.image_headers import white_is_zero
from wsol_bench.errors import ImageError, PredictionError

__all__ = ["GRAY_MODES", "IMAGE_FILES", "LARGEST_MAP", "MAP_FILES", "read_map"]

_ARRAY_FILES = frozenset({".npy", ".npz"})
_TENSOR_FILES = frozenset({".pt"})
IMAGE_FILES = frozenset(f".{suffix}" for suffix in IMAGE_SUFFIXES)
# The suffixes of files that a map can be read from, in lower case.
MAP_FILES = _ARRAY_FILES | _TENSOR_FILES | IMAGE_FILES

# Pillow's modes of one channel. "I" is what some of its versions make of 16 bits.
GRAY_MODES = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "F"})

# The most values of a map: as many as Pillow's limit of the pixels of an image.
LARGEST_MAP = 2**30 // 4 // 3
# The most bytes of a tensor's file, which is read whole: those of such a map of complex numbers.
_MOST_BYTES = 16 * LARGEST_MAP


def read_map(path: Path) -> Float32[np.ndarray, "h w"]:
    """The map in a file; nothing in the file is executed.

    Leading axes of length 1 are dropped, and any real number type is converted to float32.

    Raises:
        PredictionError: the file cannot be read, or holds something else than one map.
    """
    suffix = path.suffix.lower()
    read = _image if suffix in IMAGE_FILES else _tensor if suffix in _TENSOR_FILES else _array
    try:
        require_regular(path)
        array = read(path)
    except PredictionError:
        raise
    except ImageError as error:
        raise PredictionError(f"{path}: {error}") from error
    except Exception as error:  # numpy, zipfile, torch and Pillow may raise any error on bad bytes
        raise PredictionError(f"{path}: no map can be read: {error}") from error
    _require_map(path, array.shape, array.dtype)
    with np.errstate(over="ignore"):  # beyond float32 a value is infinite: such a map has no box
        return array.reshape(array.shape[-2:]).astype(np.float32)


def _require_map(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise PredictionError unless arrays of this shape and type are maps of bounded size."""
    if len(shape) < 2 or any(length != 1 for length in shape[:-2]) or 0 in shape:
        raise PredictionError(f"{path}: expected a map of shape (h, w), found {shape}")
    if dtype.kind not in "fiub":
        raise PredictionError(f"{path}: expected numbers, found {dtype}")
    if math.prod(shape) > LARGEST_MAP:
        raise PredictionError(
            f"{path}: expected a map of at most {LARGEST_MAP} values, found {shape}"
        )


def _array(path: Path) -> Shaped[np.ndarray, "..."]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _npy(path, file, path.stat().st_size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise PredictionError(f"{path}: expected one array, found {len(members)}")
            if not members[0].filename.endswith(".npy"):
                raise PredictionError(
                    f"{path}: expected one array, found the file {members[0].filename!r}"
                )
            with archive.open(members[0]) as member:
                assert isinstance(member, io.BufferedIOBase)
                return _npy(path, member, members[0].file_size)


def _npy(path: Path, file: io.BufferedIOBase, n_bytes: int) -> Shaped[np.ndarray, "..."]:
    """The array in the format .npy; its header is checked before its values are read."""
    version = np.lib.format.read_magic(file)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:  # 3.0 is for names of fields, which a map has not
        raise PredictionError(f"{path}: expected an array of numbers, found .npy version {version}")
    shape, is_fortran, dtype = headers[version](file)
    if dtype.hasobject:
        raise ValueError("objects are not read, since that executes what they say")
    _require_map(path, shape, dtype)
    n_values = math.prod(shape)
    if file.tell() + n_values * dtype.itemsize > n_bytes:
        raise PredictionError(
            f"{path}: expected {n_values * dtype.itemsize} bytes for shape {shape}, found "
            f"{n_bytes - file.tell()}; the file is cut off"
        )
    content = file.read(n_values * dtype.itemsize)
    array: np.ndarray = np.frombuffer(content, dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _tensor(path: Path) -> Shaped[np.ndarray, "..."]:
    import torch  # only these files need it

    n_bytes = path.stat().st_size
    if zipfile.is_zipfile(path):  # torch takes memory for what its parts say they hold
        with zipfile.ZipFile(path) as archive:
            n_bytes = max(n_bytes, sum(member.file_size for member in archive.infolist()))
    if n_bytes > _MOST_BYTES:
        raise PredictionError(
            f"{path}: expected a map of at most {LARGEST_MAP} values, found {n_bytes} bytes"
        )
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
    with opened_image(path) as file:
        if file.mode not in GRAY_MODES:
            raise PredictionError(
                f"{path}: expected one channel of gray, found an image in color (mode "
                f"{file.mode}); is it the image itself?"
            )
        if (n := getattr(file, "n_frames", 1)) != 1:
            raise PredictionError(f"{path}: expected one image, found {n}")
        if file.mode not in ("1", "L") and white_is_zero(file):  # Pillow inverts 8 bits alone
            raise PredictionError(
                f"{path}: expected a map whose greatest value is white, found black"
            )
        return np.array(file)
