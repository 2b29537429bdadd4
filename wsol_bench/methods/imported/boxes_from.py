"""Boxes that any other tool predicts: prediction files, and class-agnostic regressors."""

from pathlib import Path

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError
from wsol_bench.methods.imported.prediction_files import Readable, read_predictions
from wsol_bench.methods.network_free import ImageBoxes, RankedBox, network_free_method
from wsol_bench.runs.schema import boxes_of

__all__ = ["boxes_from"]


@network_free_method("boxes_from", gives="boxes")
def boxes_from(dataset: Dataset, *, path: Path, format: Readable | None = None) -> ImageBoxes:
    """Boxes in a file: predictions, or a table of boxes whatever the class (format "boxes").

    docs/experiments.md says the columns of such a table ("Maps and boxes from elsewhere").
    Without a model its guesses are scored as they are ranked. Beside a model, a guess of a class is
    the box of the model's prediction of that class; a box without a class is the box of all.

    Args:
        dataset: what the file predicts.
        path: of the file, relative to the working directory.
        format: devkit, kaggle or boxes; by default told from the first line.

    Raises:
        ConfigError: no such file.
        PredictionError: with the line, what was expected and what was found.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"boxes_from: {file} does not exist")
    predictions = read_predictions(file, dataset, format=format)
    table = predictions.table
    guesses: dict[str, list[RankedBox]] = {image_id: [] for image_id in predictions.image_ids}
    lines = zip(
        table["image_id"], table["rank"], table["class"], boxes_of(table).tolist(), strict=True
    )
    for image_id, rank, label, (x0, y0, x1, y1) in lines:
        guesses[image_id].append(RankedBox(int(rank), str(label), (x0, y0, x1, y1)))
    return ImageBoxes(guesses, digest(file.read_bytes()), predictions.ranked)
