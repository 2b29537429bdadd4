"""The figures of runs as files: a sheet of images, curves, and bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsol_bench.common.progress import progress
from wsol_bench.common.vocabulary import FigureFormat
from wsol_bench.report.figures.bars import bars_figure
from wsol_bench.report.figures.choice import Choice
from wsol_bench.report.figures.curves import curves_figure
from wsol_bench.report.figures.images import images_figure
from wsol_bench.report.figures.style import FORMATS, save
from wsol_bench.report.page.collection import Collection
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["WrittenFigures", "write_figures"]


class WrittenFigures(NamedTuple):
    """What was written.

    Attributes:
        files: the files.
        n_images: the number of images on the sheet.
        without_picture: why each image whose file cannot be read has no picture.
        remark: what a person should know of the sheet; "" for nothing.
    """

    files: list[Path]
    n_images: int
    without_picture: list[str]
    remark: str


def write_figures(
    runs: Sequence[StoredRun],
    folder: Path,
    choice: Choice | None = None,
    *,
    formats: Sequence[FigureFormat] = FORMATS,
) -> WrittenFigures:
    """Write ``images_<rule>``, ``curves`` and ``bars`` into a folder.

    Runs that have no curves get none.

    Args:
        runs: finished runs.
        folder: the folder of the files.
        choice: the images and methods of the sheet.
        formats: the formats of each figure.

    Raises:
        ConfigError: the choice names what the runs do not have, or finds no image.
        RunError: a run is not finished, or a file of it is missing or damaged.
        OSError: a file cannot be written.
    """
    collection = Collection(runs)
    with progress("drawing", 3, "figures") as advance:
        images = images_figure(collection, choice or Choice())
        files = save(images.figure, folder / images.name, formats)
        advance(1)
        for name, draw in (("curves", curves_figure), ("bars", bars_figure)):
            if (figure := draw(collection)) is not None:
                files += save(figure, folder / name, formats)
            advance(1)
    return WrittenFigures(files, images.n_images, images.without_picture, images.remark)
