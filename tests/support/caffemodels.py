"""Writes .caffemodel files, by the field numbers of Caffe's caffe.proto."""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray


def varint(value: int) -> bytes:
    """An integer of 7 bits a byte, lowest first; the high bit says that more come."""
    low = bytearray()
    while value >= 0x80:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def field(number: int, content: bytes | int) -> bytes:
    """A field of a message: an integer, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: NDArray[np.float32]) -> bytes:
    """A BlobProto with a shape."""
    shape = b"".join(varint(size) for size in values.shape)
    return field(7, field(1, shape)) + field(5, values.astype("<f4").tobytes())


def layer(name: str, kind: str, *blobs: NDArray[np.float32]) -> bytes:
    """A LayerParameter as a field of NetParameter."""
    content = field(1, name.encode()) + field(2, kind.encode())
    return field(100, content + b"".join(field(7, blob(values)) for values in blobs))


def old_layer(name: bytes, kind: int, values: NDArray[np.float32], shape: tuple[int, ...]) -> bytes:
    """A V1LayerParameter with one blob as a field of NetParameter.

    Args:
        name: name of the layer.
        kind: number of its type.
        values: the blob's values.
        shape: the blob's num, channels, height and width.
    """
    assert prod(shape) == values.size
    sizes = b"".join(field(number, size) for number, size in enumerate(shape, 1))
    content = field(4, name) + field(5, kind)
    return field(2, content + field(6, sizes + field(5, values.astype("<f4").tobytes())))


def caffemodel(weights: Mapping[str, tuple[str, list[NDArray[np.float32]]]]) -> bytes:
    """A NetParameter.

    Args:
        weights: by the layer's name, its type and blobs.
    """
    layers = (layer(name, kind, *blobs) for name, (kind, blobs) in weights.items())
    return field(1, b"net") + b"".join(layers)
