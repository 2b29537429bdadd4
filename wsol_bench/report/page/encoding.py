"""Arrays as JSON holds them: the type, and the values in base64."""

import base64

import numpy as np
from jaxtyping import Shaped

__all__ = ["encoded"]

_TYPES = {"u8": "<u1", "i32": "<i4", "f32": "<f4"}


def encoded(array: Shaped[np.ndarray, " n"]) -> dict[str, str]:
    """An array as JSON: ``type`` (u8, i32 or f32) and ``data``, little-endian in base64.

    Bools and small unsigned integers become u8, other integers i32, floats f32.
    """
    kind = "f32" if array.dtype.kind == "f" else "u8" if array.dtype.itemsize == 1 else "i32"
    return {"type": kind, "data": base64.b64encode(array.astype(_TYPES[kind]).tobytes()).decode()}
