"""Numbers and arrays as JSON holds them."""

import base64
import math

import numpy as np
from jaxtyping import Shaped

__all__ = ["encoded", "finite"]

_TYPES = {"u8": "<u1", "i32": "<i4", "f32": "<f4"}


def encoded(array: Shaped[np.ndarray, " n"]) -> dict[str, str]:
    """An array as JSON: ``type`` (u8, i32 or f32) and ``data``, little-endian in base64.

    Bools and small unsigned integers become u8, other integers i32, floats f32.
    """
    kind = "f32" if array.dtype.kind == "f" else "u8" if array.dtype.itemsize == 1 else "i32"
    return {"type": kind, "data": base64.b64encode(array.astype(_TYPES[kind]).tobytes()).decode()}


def finite(value: float | None) -> float | None:
    """The number; None, as JSON has it, if it is NaN or infinite, or if there is none."""
    return float(value) if value is not None and math.isfinite(value) else None
