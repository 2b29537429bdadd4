"""Arrays that several plug-ins are given, and none of them may change."""

from typing import TypeVar

import numpy as np

__all__ = ["read_only"]

Array = TypeVar("Array", bound=np.ndarray)


def read_only(array: Array) -> Array:
    """The same values as an array that refuses to be written."""
    shared = array.view()
    shared.flags.writeable = False
    return shared
