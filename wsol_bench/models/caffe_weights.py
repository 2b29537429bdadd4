"""Weights files of Caffe (.caffemodel): tensors by the names of layers.

The file is a NetParameter of Caffe's caffe.proto, in the wire format of protobuf, of which only the
fields that lead to the weights are read. Nothing in the file is executed, and no length in it is
believed before it is compared with what is there.
"""

import math
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsol_bench.errors import ModelError

__all__ = ["read_caffemodel"]


class _LayerFields(NamedTuple):
    """The numbers of the fields of a layer, and the type that says that it is an inner product."""

    name: int
    type: int
    blobs: int
    inner_product: int | bytes


# By the field of NetParameter: "layers" (V1LayerParameter), until 2014, and "layer"
# (LayerParameter) since then.
_LAYERS = {
    2: _LayerFields(name=4, type=5, blobs=6, inner_product=14),
    100: _LayerFields(name=1, type=2, blobs=7, inner_product=b"InnerProduct"),
}
# Fields of BlobProto: the shape as it was until 2014 (num, channels, height, width), float32 and
# float64 values, and the shape since then, a BlobShape, whose field 1 lists the sizes.
_OLD_SHAPE = (1, 2, 3, 4)
_FLOATS, _SHAPE, _DOUBLES = 5, 7, 8
_SIZES = 1
# The kinds of fields in the wire format, by their numbers.
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
# More than any layer of Caffe has. The objects of Python that a few bytes of a hostile file would
# become take a hundred times the memory.
_MOST_BLOBS, _MOST_SIZES = 64, 32


class _DamagedError(Exception):
    """The bytes are no NetParameter."""


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """The weights in a .caffemodel file, as float32, by the keys that a network of torch has.

    The blobs of a layer are "<layer>.weight", "<layer>.bias" and, if there are more, "<layer>.2"
    and so on. A slash in a layer's name becomes a dot, as in the names of torch's modules:
    "inception_3a/1x1" has the key "inception_3a.1x1.weight". Biases and inner products have the
    shapes (n) and (outputs, inputs), also in old files, which give each blob four dimensions.

    Raises:
        ModelError: the file is damaged or of another kind, or holds no weights.
    """
    try:
        state = _weights(memoryview(path.read_bytes()))
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read: {error.strerror}") from error
    except _DamagedError as error:
        raise ModelError(
            f"weights file {path} is not a whole .caffemodel file: {error}; download it again"
        ) from error
    if not state:
        raise ModelError(
            f"weights file {path} holds no layers with weights: expected a .caffemodel file of "
            "Caffe since 2014"
        )
    return state


def _weights(data: memoryview) -> dict[str, Tensor]:
    """The weights of all layers of a NetParameter."""
    state: dict[str, Tensor] = {}
    for number, value in _fields(data):
        if number not in _LAYERS:
            continue
        for key, tensor in _layer(_bytes(value), _LAYERS[number]):
            if key in state:
                raise _DamagedError(f"{key!r} is there twice")
            state[key] = tensor
    return state


def _layer(data: memoryview, numbers: _LayerFields) -> Iterator[tuple[str, Tensor]]:
    """The weights of a layer, with their keys."""
    name, blobs = b"", list[memoryview]()
    kind: int | bytes = b""
    for number, value in _fields(data):
        if number == numbers.name:
            name = bytes(_bytes(value))
        elif number == numbers.type:
            kind = value if isinstance(value, int) else bytes(value)
        elif number == numbers.blobs:
            blobs.append(_bytes(value))
            if len(blobs) > _MOST_BLOBS:
                raise _DamagedError(f"a layer has more than {_MOST_BLOBS} blobs")
    if blobs and not name:
        raise _DamagedError("a layer with weights has no name")
    try:
        module = name.decode().replace("/", ".")
    except UnicodeDecodeError as error:
        raise _DamagedError("the name of a layer is no text") from error
    for position, blob in enumerate(blobs):
        values, shape = _blob(blob)
        if position == 1 and max(shape, default=1) == values.size:
            shape = [values.size]
        elif position == 0 and kind == numbers.inner_product and shape[:-2] == [1, 1]:
            shape = shape[2:]
        key = {0: "weight", 1: "bias"}.get(position, str(position))
        yield f"{module}.{key}", torch.from_numpy(values.reshape(shape))


def _blob(data: memoryview) -> tuple[np.ndarray, list[int]]:
    """The values of a BlobProto, and their shape."""
    parts = {_FLOATS: bytearray(), _DOUBLES: bytearray()}
    old_shape: dict[int, int] = {}
    shape: list[int] | None = None
    for number, value in _fields(data):
        if number in parts:
            parts[number] += _bytes(value)
        elif number in _OLD_SHAPE:
            old_shape[number] = _integer(value)
        elif number == _SHAPE:
            shape = _sizes(_bytes(value))
    if shape is None:
        shape = [old_shape.get(number, 0) for number in _OLD_SHAPE] if old_shape else []
    field = _FLOATS if parts[_FLOATS] else _DOUBLES
    content = parts[field]
    size = 4 if field == _FLOATS else 8
    if not content or len(content) != size * math.prod(shape):
        raise _DamagedError(f"{len(content)} bytes of values where the shape is {shape[:8]}")
    with np.errstate(over="ignore"):  # a float64 beyond the range of float32 is infinite
        return np.frombuffer(content, f"<f{size}").astype(np.float32), shape


def _sizes(data: memoryview) -> list[int]:
    """The sizes that a BlobShape lists, packed or one by one."""
    sizes = list[int]()
    for number, value in _fields(data):
        if number == _SIZES and isinstance(value, int):
            sizes.append(value)
        elif number == _SIZES:
            packed, at = _bytes(value), 0
            while at < len(packed):
                size, at = _varint(packed, at)
                sizes.append(size)
                _require_few(sizes)
        _require_few(sizes)
    return sizes


def _require_few(sizes: Sized) -> None:
    if len(sizes) > _MOST_SIZES:
        raise _DamagedError(f"a blob has more than {_MOST_SIZES} sizes")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message by number: integers, and bytes of any other kind."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise _DamagedError("a field has the number 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise _DamagedError(f"field {number} has the wire type {kind}")
        if at + size > len(data):
            raise _DamagedError(f"field {number} has {size} bytes where {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and the position behind it."""
    value = 0
    for position, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise _DamagedError("an integer has no end")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _DamagedError("an integer is where bytes were expected")
    return value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _DamagedError("bytes are where an integer was expected")
    return value
