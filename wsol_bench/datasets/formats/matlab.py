"""MATLAB files of annotations, which are untrusted: only named arrays of a sane size are read."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from wsol_bench.common import data_files
from wsol_bench.common.files import require_regular
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.errors import DatasetError

__all__ = ["numbers_of", "read_mat", "texts_of"]

_MOST_BYTES = 2**26


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The arrays of a MATLAB file by their names.

    Args:
        path: path of the file.
        names: names of the arrays, all of which must be there.

    Raises:
        DatasetError: the file cannot be read, is no MATLAB file, lacks an array, or has one of more
            elements than any list of annotations.
    """
    # Slow to import, and needed by few data sets.
    from scipy.io import loadmat, whosmat

    try:
        require_regular(path)
        content = data_files.read_bytes(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MOST_BYTES:
        raise DatasetError(
            f"{path}: expected at most {_MOST_BYTES:,} bytes of annotations, found {len(content):,}"
        )
    try:
        file: Any = io.BytesIO(content)  # which the stubs of scipy do not allow
        shapes = {name: shape for name, shape, _ in whosmat(file)}
        lacking = [name for name in names if name not in shapes]
        large = [name for name in names if math.prod(shapes.get(name, ())) > LARGEST]
        if not lacking and not large:
            file.seek(0)
            found = loadmat(file, variable_names=list(names))
            return {name: found[name] for name in names}
    except Exception as error:  # a damaged file can make scipy raise any error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(f"{path}: expected a MATLAB file, found {reason}") from error
    if lacking:
        there = ", ".join(sorted(shapes)) or "nothing"
        raise DatasetError(f"{path}: expected the array {lacking[0]!r}, found {there}")
    raise DatasetError(
        f"{path}: expected at most {LARGEST:,} elements in {large[0]!r}, found "
        f"{math.prod(shapes[large[0]]):,}"
    )


def numbers_of(value: Any) -> Float64[np.ndarray, " n"]:
    """The numbers in an array of any shape, in one row; ValueError if there are none or others."""
    flat = np.asarray(value)
    if flat.dtype.kind not in "iuf":
        raise ValueError(f"expected numbers, found {flat.dtype}")
    return flat.reshape(-1).astype(np.float64)


def texts_of(value: Any) -> list[str]:
    """The texts in a cell array; ValueError if a cell holds anything else."""
    texts = []
    for cell in np.asarray(value).reshape(-1).tolist():
        while isinstance(cell, np.ndarray) and cell.size == 1:
            cell = cell.reshape(-1)[0]
        if not isinstance(cell, str):
            raise ValueError(f"expected text in every cell, found {type(cell).__name__}")
        texts.append(str(cell))
    return texts
