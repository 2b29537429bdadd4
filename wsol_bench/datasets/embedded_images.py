"""Images that a table embeds as bytes, written once as the files that the package reads."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from wsol_bench.common.files import cache_folder, digest
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.progress import progress
from wsol_bench.errors import DatasetError

__all__ = ["NamedFiles", "image_files"]

_ROWS = 100  # whose images are in memory at a time


class NamedFiles(NamedTuple):
    """Image files by their names.

    Attributes:
        folder: folder that the names are relative to.
        names: name of each row's file, of which none need exist.
    """

    folder: Path
    names: list[str]


def image_files(rows: Any, column: str, path: str) -> NamedFiles:
    """The files of a column of images of the library ``datasets``.

    Bytes are written, not decoded, to the cache folder, in a folder of their own for each
    fingerprint of the data set. If all of its files are there with the sizes that the bytes have,
    nothing is written. Images that are no bytes but files must lie in the data set's own folder, or
    in the cache of the library.

    Args:
        rows: a ``datasets.Dataset``.
        column: name of the column.
        path: where the data set comes from.

    Raises:
        DatasetError: the column holds no images, a file lies elsewhere, or no file can be written.
    """
    import datasets as library

    if not isinstance(rows.features[column], library.Image):
        kind = str(rows.features[column])[:80]
        raise DatasetError(f"{path}: expected images in the column {column!r}, found {kind}")
    raw = rows.cast_column(column, library.Image(decode=False)).select_columns([column])
    raw = raw.with_format("arrow")
    sizes, paths = _sizes_and_paths(raw, column)
    if (sizes < 0).all():
        return _own_files(paths, path)
    names = []
    for row, name in enumerate(paths):
        suffix = name.rpartition(".")[2].lower()
        names.append(f"{row:08}.{suffix if suffix in IMAGE_SUFFIXES else 'img'}")
    folder = cache_folder() / "images" / digest(f"{rows._fingerprint}\n{column}".encode())
    if not _are_there(folder, names, sizes):
        try:
            _write(folder, names, _contents(raw, column))
        except OSError as error:
            raise DatasetError(
                f"{path}: its images cannot be written to {folder}: {error.strerror or error}; "
                "the variable WSOL_BENCH_CACHE names another cache folder"
            ) from error
    return NamedFiles(folder, names)


def _sizes_and_paths(raw: Any, column: str) -> tuple[Int64[np.ndarray, " n"], list[str]]:
    """The number of bytes of each image, -1 if it is a file; and its path, "" for none."""
    import pyarrow.compute as pc

    sizes: list[int] = []
    paths: list[str] = []
    for batch in raw.iter(batch_size=_ROWS):
        cells = batch.column(column).combine_chunks()
        lengths = pc.binary_length(pc.struct_field(cells, "bytes")).to_pylist()
        sizes += [-1 if length is None else length for length in lengths]
        paths += [name or "" for name in pc.struct_field(cells, "path").to_pylist()]
    return np.array(sizes, np.int64), paths


def _contents(raw: Any, column: str) -> Iterator[bytes | None]:
    """The bytes of each image; None if it has none."""
    for batch in raw.iter(batch_size=_ROWS):
        for cell in batch.column(column).to_pylist():
            yield None if cell is None else cell["bytes"]


def _are_there(folder: Path, names: list[str], sizes: Int64[np.ndarray, " n"]) -> bool:
    """Return whether all files are there, each with its number of bytes."""
    for name, size in zip(names, sizes.tolist(), strict=True):
        try:
            if size >= 0 and (folder / name).stat().st_size != size:
                return False
        except OSError:
            return False
    return True


def _write(folder: Path, names: list[str], contents: Iterator[bytes | None]) -> None:
    """Write all files, or none: the folder gets its name when all are written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with progress("writing the embedded images", len(names), "images") as advance:
            for name, content in zip(names, contents, strict=True):
                if content is not None:
                    (temporary / name).write_bytes(content)
                advance(1)
        if folder.exists():  # of other sizes
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _own_files(paths: list[str], path: str) -> NamedFiles:
    """The files of images that are not embedded; DatasetError if one lies in a foreign folder."""
    from datasets import config

    own = [Path(path).expanduser().absolute(), Path(config.HF_CACHE_HOME).absolute()]
    own = [folder.resolve() for folder in own]
    for name in paths:
        place = Path(os.path.abspath(name)).resolve()
        if name and not any(place.is_relative_to(folder) for folder in own):
            raise DatasetError(
                f"{path}: expected image files in its own folder, or in the cache of the library "
                f"datasets, found {name!r}; save the data set with its images embedded "
                "(Dataset.save_to_disk after Dataset.map, or push_to_hub)"
            )
    there = [os.path.abspath(name) for name in paths if name]
    folder = Path(os.path.commonpath([Path(name).parent for name in there] or [own[0]]))
    names = [
        Path(os.path.abspath(name)).relative_to(folder).as_posix() if name else f"row {row}"
        for row, name in enumerate(paths)
    ]
    return NamedFiles(folder, names)
