"""Boxes that another tool predicted: prediction files, and tables of one box an image."""

from pathlib import Path

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError
from wsol_bench.methods.imported.prediction_files import Readable, read_predictions
from wsol_bench.methods.maps_or_boxes import ImageBoxes, RankedBox
from wsol_bench.methods.network_free import network_free_method
from wsol_bench.runs.schema import boxes_of

__all__ = ["boxes_from"]


@network_free_method("boxes_from", gives="boxes")
def boxes_from(dataset: Dataset, *, path: Path, format: Readable | None = None) -> ImageBoxes:
    """Boxes in a file of predictions, or in a table of one box for each image.

    docs/experiments.md gives the columns of such a table ("Network-free methods").
    Without a model, the file's predictions are scored by their ranks. Beside a model, each of the
    model's predictions has the file's box of its class. A box of a table is class-agnostic.

    Args:
        dataset: the data set that the file predicts.
        path: the file, relative to the working directory.
        format: devkit, kaggle or boxes (a table); by default the first line decides.

    Raises:
        ConfigError: the file does not exist.
        PredictionError: the file has another format; the message names the line, what was expected
            there and what was found.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise ConfigError(f"boxes_from: {file} does not exist")
    predictions = read_predictions(file, dataset, format=format)
    table = predictions.table
    boxes: dict[str, list[RankedBox]] = {image_id: [] for image_id in predictions.image_ids}
    lines = zip(
        table["image_id"], table["rank"], table["class"], boxes_of(table).tolist(), strict=True
    )
    for image_id, rank, predicted_class, (x0, y0, x1, y1) in lines:
        boxes[image_id].append(RankedBox(int(rank), str(predicted_class), (x0, y0, x1, y1)))
    return ImageBoxes(boxes, digest(file.read_bytes()), predictions.ranked)
