"""Files that hold one map: NumPy arrays, torch tensors, and images of one channel."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from wsol_bench.common.files import IMAGE_FORMATS, IMAGE_SUFFIXES
from wsol_bench.datasets.image_headers import white_is_zero
from wsol_bench.errors import PredictionError

__all__ = ["GRAY_MODES", "IMAGE_FILES", "MAP_FILES", "read_map"]

_ARRAY_FILES = frozenset({".npy", ".npz"})
_TENSOR_FILES = frozenset({".pt"})
IMAGE_FILES = frozenset(f".{suffix}" for suffix in IMAGE_SUFFIXES)
# The suffixes of files that a map can be read from, in lower case.
MAP_FILES = _ARRAY_FILES | _TENSOR_FILES | IMAGE_FILES

# Pillow's modes of one channel. "I" is what some of its versions make of 16 bits.
GRAY_MODES = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "F"})


def read_map(path: Path) -> Float32[np.ndarray, "h w"]:
    """The map in a file; nothing in the file is executed.

    Leading axes of length 1 are dropped, and any real number type is converted to float32.

    Raises:
        PredictionError: the file cannot be read, or holds something else than one map.
    """
    suffix = path.suffix.lower()
    read = _image if suffix in IMAGE_FILES else _tensor if suffix in _TENSOR_FILES else _array
    try:
        array = read(path)
    except PredictionError:
        raise
    except Exception as error:  # numpy, zipfile, torch and Pillow may raise any error on bad bytes
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
    if not isinstance(array, np.ndarray):  # a member of the archive that is not a .npy file
        raise PredictionError(f"{path}: expected one array, found {type(array).__name__}")
    return array


def _tensor(path: Path) -> Shaped[np.ndarray, "..."]:
    import torch  # only these files need it

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
    # By a path, Pillow maps the file into memory, and scrambles a TIFF that its orientation turns.
    with path.open("rb") as stream, Image.open(stream, formats=IMAGE_FORMATS) as file:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and file.width * file.height > limit:
            raise PredictionError(
                f"{path}: expected at most {limit} pixels, found {file.width} x {file.height}"
            )
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
