"""What is in a folder, and tables of what was read there, kept so that it is read once."""

import hashlib
import logging
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

import numpy as np
import pandas as pd
from PIL import Image

from wsol_bench.common.files import IMAGE_FORMATS, cache_folder, write_atomically
from wsol_bench.common.progress import progress
from wsol_bench.datasets.annotations import XML_SUFFIXES, XmlAnnotation, XmlObject, parse_xml
from wsol_bench.errors import DatasetError

__all__ = [
    "TableCache",
    "contents",
    "existing",
    "look_up",
    "read_headers",
    "read_xml_folder",
    "scan",
    "stamp",
]

# Part of every key: raise it where the meaning of a cached table changes.
FORMAT = "2"
# Fewer files than this take less than half a second: no progress is shown.
MANY = 2000
# Files between two moves of the progress bar; moving it costs as much as a small file.
STEP = 100

logger = logging.getLogger(__name__)


def existing(path: Path, option: str) -> Path:
    """The path, absolute; DatasetError, saying what is there instead, where there is no such."""
    path = Path(path).expanduser().absolute()
    if not path.exists():
        parent = next(folder for folder in path.parents if folder.exists())
        raise DatasetError(
            f"{option}: no such file or folder: {path}; {parent} exists and holds "
            f"{contents(parent)}"
        )
    return path


def contents(folder: Path) -> str:
    """The first names in a folder, for people."""
    if not folder.is_dir():
        return "a file"
    names = sorted(os.listdir(folder))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "nothing") + more


def scan(
    folder: Path,
    suffixes: Collection[str],
    *,
    nested: bool = True,
    wanted: Collection[str] | None = None,
) -> pd.DataFrame:
    """The files of a folder, sorted by stem.

    Args:
        folder: to look in; hidden files (among them macOS's ``._`` companions) do not count.
        suffixes: extensions to keep, lower case, without the dot; any case matches.
        nested: look in the folder's direct subfolders, too.
        wanted: stems whose size and time are asked for, which costs more than the name; None: all.

    Returns:
        One row a file: stem, folder (name of the subfolder, "" for none), file (path relative to
        ``folder``), bytes and mtime (nanoseconds), both -1 for a file that is not wanted.

    Raises:
        DatasetError: a folder that cannot be read, or two files of the same stem.
    """
    stems: list[str] = []
    parents: list[str] = []
    files: list[str] = []
    stats: list[tuple[int, int]] = []

    pending = [(os.fspath(folder), "")]
    try:
        while pending:
            path, parent = pending.pop()
            prefix = f"{parent}/" if parent else ""
            with _entries(path) as entries:
                for entry in entries:
                    name = entry.name
                    stem, _, suffix = name.rpartition(".")
                    if stem and suffix.lower() in suffixes and name[0] != "." and entry.is_file():
                        stems.append(stem)
                        parents.append(parent)
                        files.append(prefix + name)
                        if wanted is None or stem in wanted:
                            status = entry.stat()
                            stats.append((status.st_size, status.st_mtime_ns))
                        else:
                            stats.append((-1, -1))
                    elif nested and not parent and name[0] != "." and entry.is_dir():
                        pending.append((f"{path}/{name}", name))
        table = pd.DataFrame(
            {
                "stem": pd.Series(stems, dtype="str"),
                "folder": pd.Series(parents, dtype="str"),
                "file": pd.Series(files, dtype="str"),
            }
        )
        table[["bytes", "mtime"]] = np.array(stats, dtype=np.int64).reshape(-1, 2)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed: {error}") from error
    except UnicodeEncodeError as error:
        raise DatasetError(f"{folder}: a file name is not UTF-8: {error.object!r}") from error
    table = table.sort_values("stem", kind="stable", ignore_index=True)
    again = table["stem"].duplicated()
    if again.any():
        second = int(again.to_numpy().argmax())
        first, other = table["file"].iloc[second - 1], table["file"].iloc[second]
        raise DatasetError(
            f"{folder}: a file's stem is its image id, but {first!r} and {other!r} share one"
        )
    return table


def look_up(folder: Path, files: Sequence[str]) -> pd.DataFrame:
    """Files that a list names: file, bytes and mtime as ``scan`` gives them, -1 for a missing one.

    Args:
        folder: that the names are relative to.
        files: names that stay below the folder (``annotations.stays_below``).
    """
    stats = np.full((len(files), 2), -1, np.int64)
    for index, file in enumerate(files):
        try:
            status = Path(f"{folder}/{file}").stat()
        except OSError:
            continue
        if S_ISREG(status.st_mode):
            stats[index] = status.st_size, status.st_mtime_ns
    table = pd.DataFrame({"file": pd.Series(files, dtype="str")})
    return table.assign(bytes=stats[:, 0], mtime=stats[:, 1])


@contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """``os.scandir``, by descriptor where there are such.

    The files' sizes and times are then looked up in one folder and not along a whole path each,
    which takes a third off the look-ups, most of what the second load of a large set does.
    """
    if os.scandir not in os.supports_fd:
        with os.scandir(folder) as entries:
            yield entries
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def stamp(folder: Path, files: pd.DataFrame) -> str:
    """Digest of a folder's path and of the name, size and time of ``files``, rows of ``scan``."""
    digest = hashlib.sha256(os.fsencode(os.path.abspath(folder)))
    digest.update("\n".join(files["file"].tolist()).encode())
    for column in ("bytes", "mtime"):
        digest.update(files[column].to_numpy(np.int64).tobytes())
    return digest.hexdigest()


class TableCache:
    """Tables kept as Parquet under the digest of what they were read from.

    A file that is damaged is written anew; a folder that cannot be written to only means that
    nothing is kept (one warning).
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._folder = cache_folder() / "index" if enabled else None

    def table(self, kind: str, key: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of this kind and key, from the cache or else built and kept.

        Args:
            kind: what it holds; part of the file's name.
            key: digest of everything ``build`` reads.
            build: makes the table; called only where the cache has none.
        """
        if self._folder is None:
            return build()
        name = hashlib.sha256(f"{FORMAT}\n{kind}\n{key}".encode()).hexdigest()[:32]
        path = self._folder / f"{kind}-{name}.parquet"
        try:
            return pd.read_parquet(path, engine="pyarrow", page_checksum_verification=True)
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever a damaged file makes the reader raise
            logger.debug("%s is rebuilt: %s", path, error)
        table = build()
        try:
            write_atomically(
                path, table.to_parquet(engine="pyarrow", index=False, write_page_checksum=True)
            )
        except OSError as error:
            logger.warning("nothing is cached, %s cannot be written: %s", self._folder, error)
            self._folder = None
        return table

    def file(self, kind: str, path: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
        """The table ``read`` makes of one small file, keyed by the file's content."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from error
        return self.table(kind, hashlib.sha256(content).hexdigest(), lambda: read(path))


def read_headers(folder: Path, files: pd.DataFrame, tables: TableCache) -> pd.DataFrame:
    """The sizes of images, from their headers; no pixel is decoded, no EXIF rotation applied.

    Args:
        folder: that holds ``files``.
        files: rows of ``scan``.
        tables: where the answer is kept.

    Returns:
        One row a file, in order: width, height (pixels), error ("" where the header was read).
    """

    def read() -> pd.DataFrame:
        rows = []
        with warnings.catch_warnings():
            # Broken EXIF, for one: it says nothing about the size.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for file in _tracked(files["file"].tolist(), "reading image headers"):
                try:
                    with Image.open(folder / file, formats=IMAGE_FORMATS) as image:
                        rows.append((*image.size, "" if all(image.size) else "no pixels"))
                except Exception as error:  # PIL's plugins raise whatever a bad header leads to
                    rows.append((0, 0, f"{type(error).__name__}: {error}"))
        table = pd.DataFrame(rows, columns=["width", "height", "error"])
        return table.astype({"width": np.int64, "height": np.int64, "error": "str"})

    return tables.table("headers", stamp(folder, files), read)


def read_xml_folder(
    folder: Path, nested: bool, *, wanted: Collection[str] | None, tables: TableCache
) -> pd.DataFrame:
    """The objects in a folder of XML files.

    Args:
        folder: of files, flat or (``nested``) in one subfolder a class.
        nested: look in the subfolders, too.
        wanted: image ids to read; None: all.
        tables: where the answer is kept.

    Returns:
        One row an object: image_id, folder ("" where flat), width and height (of the annotation; 0
        where it does not say), error (why the file cannot be used, or ""), name, xmin, ymin, xmax,
        ymax (as they stand), difficult. A file without an object, or with an error, has one row
        with an empty name and no numbers.
    """
    files = scan(folder, XML_SUFFIXES, nested=nested, wanted=wanted)
    files = files[files["bytes"] >= 0]

    def read() -> pd.DataFrame:
        nothing = XmlObject("", math.nan, math.nan, math.nan, math.nan)
        objects: list[XmlObject] = []
        facts: list[tuple[float, float, str]] = []
        repeats: list[int] = []
        for file in _tracked(files["file"].tolist(), "reading XML annotations"):
            try:
                parsed = parse_xml((folder / file).read_bytes())
                facts.append((parsed.width, parsed.height, ""))
            except (DatasetError, OSError) as error:
                parsed = XmlAnnotation(0, 0, ())
                facts.append((0, 0, f"{folder / file}: {error}"))
            objects.extend(parsed.objects or (nothing,))
            repeats.append(max(1, len(parsed.objects)))
        names = files[["stem", "folder"]].set_axis(["image_id", "folder"], axis=1)
        of_file = pd.DataFrame(facts, columns=["width", "height", "error"], index=names.index)
        table = names.join(of_file).loc[np.repeat(names.index, repeats)].reset_index(drop=True)
        numbers = ("width", "height", "xmin", "ymin", "xmax", "ymax")
        return table.join(pd.DataFrame(objects, columns=XmlObject._fields)).astype(
            dict.fromkeys(numbers, np.float64)
            | {"error": "str", "name": "str", "difficult": np.bool_}
        )

    return tables.table("xml", stamp(folder, files), read)


def _tracked(files: list[str], what: str) -> Iterator[str]:
    """The files, with a progress bar where they are many enough to wait for."""
    if len(files) < MANY:
        yield from files
        return
    with progress(what, len(files), "files") as advance:
        for start in range(0, len(files), STEP):
            yield from files[start : start + STEP]
            advance(len(files[start : start + STEP]))
