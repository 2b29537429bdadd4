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
    """The figures that were written.

    Attributes:
        files: the files.
        n_images: the number of images on the sheet.
        without_picture: why each image whose file cannot be read has no picture.
        remarks: what a person should know of them.
    """

    files: list[Path]
    n_images: int
    without_picture: list[str]
    remarks: list[str]


def write_figures(
    runs: Sequence[StoredRun],
    folder: Path,
    choice: Choice | None = None,
    *,
    formats: Sequence[FigureFormat] = FORMATS,
) -> WrittenFigures:
    """Write ``images_<rule>``, ``curves`` and ``bars`` into a folder.

    Runs that have no curves get none, and a remark says why.

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
    choice = choice or Choice()
    collection = Collection(runs, seed=choice.seed)
    with progress("drawing", 3, "figures") as advance:
        images = images_figure(collection, choice)
        files = save(images.figure, folder / images.name, formats)
        advance(1)
        curves = curves_figure(collection, choice.seed)
        if curves.figure is not None:
            files += save(curves.figure, folder / "curves", formats)
        advance(1)
        bars = bars_figure(collection)
        if bars is not None:
            files += save(bars, folder / "bars", formats)
        advance(1)
    remarks = [remark for remark in (images.remark, curves.remark) if remark]
    return WrittenFigures(files, images.n_images, images.without_picture, remarks)
