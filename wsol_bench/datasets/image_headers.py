"""The sizes of image files, read from their headers."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from wsol_bench.common.files import IMAGE_FORMATS
from wsol_bench.datasets.folders import stamp, with_progress
from wsol_bench.datasets.table_cache import TableCache

__all__ = ["read_headers"]


def read_headers(folder: Path, files: pd.DataFrame, tables: TableCache) -> pd.DataFrame:
    """The sizes of images, from their headers; no pixel is decoded, no EXIF rotation applied.

    Args:
        folder: folder of ``files``.
        files: rows of ``folders.scan``.
        tables: cache of the result.

    Returns:
        One row a file, in order: width, height (pixels), error ("" if the header was read).
    """

    def read() -> pd.DataFrame:
        rows = []
        with warnings.catch_warnings():
            # Such as broken EXIF, which says nothing about the size.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for file in with_progress(files["file"].tolist(), "reading image headers"):
                try:
                    with Image.open(folder / file, formats=IMAGE_FORMATS) as image:
                        rows.append((*image.size, "" if all(image.size) else "no pixels"))
                except Exception as error:  # a bad header can make PIL raise any error
                    rows.append((0, 0, f"{type(error).__name__}: {error}"))
        table = pd.DataFrame(rows, columns=["width", "height", "error"])
        return table.astype({"width": np.int64, "height": np.int64, "error": "str"})

    return tables.table("headers", stamp(folder, files), read)
