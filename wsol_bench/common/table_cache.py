"""A cache of the tables read from annotations and image headers, so that they are read once."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import cache_folder, require_regular, write_atomically
from wsol_bench.errors import DatasetError

__all__ = ["TableCache"]

# Part of every key: raise it when the meaning of a cached table changes.
FORMAT = "4"

logger = logging.getLogger(__name__)


class TableCache:
    """A cache of tables as Parquet files, by the digest of the content that they were read from.

    A damaged file is written anew. If the folder cannot be written to, nothing is kept (one
    warning).

    Args:
        enabled: whether to keep tables at all.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._folder = cache_folder() / "index" if enabled else None

    def table(self, kind: str, key: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of this kind and key, from the cache, or else built and then kept.

        Args:
            kind: what the table holds; part of the file's name.
            key: digest of everything that ``build`` reads.
            build: function that makes the table; called only if the cache does not hold the table.
        """
        if self._folder is None:
            return build()
        name = hashlib.sha256(f"{FORMAT}\n{kind}\n{key}".encode()).hexdigest()[:32]
        path = self._folder / f"{kind}-{name}.parquet"
        try:
            return pd.read_parquet(path, engine="pyarrow", page_checksum_verification=True)
        except FileNotFoundError:
            pass
        except Exception as error:  # a damaged file can make the reader raise any error
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
        """The table that ``read`` makes of one small file, by the file's content.

        Raises:
            DatasetError: the file cannot be read.
        """
        try:
            require_regular(path)
            content = data_files.read_bytes(path)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
        return self.table(kind, hashlib.sha256(content).hexdigest(), lambda: read(path))
