"""The check that a data set, or a stored run, has the ground truth that a protocol scores by."""

from pathlib import Path

import pandas as pd

from wsol_bench.datasets import Dataset
from wsol_bench.errors import DatasetError, RunError
from wsol_bench.protocols.model import PixelProtocol, Protocol

__all__ = ["require_ground_truth", "require_stored_ground_truth"]


def require_ground_truth(dataset: Dataset, protocol: Protocol, *, only_localized: bool) -> None:
    """Raise DatasetError if a data set has nothing that a protocol can score by.

    Args:
        dataset: the whole data set.
        protocol: the protocol that it is to be scored by.
        only_localized: whether the experiment is about localization alone, so that a data set
            without boxes has nothing to score.
    """
    if isinstance(protocol, PixelProtocol):
        if not dataset.masks:
            raise DatasetError(
                f"{protocol.name} scores pixels, but {dataset.name} has no masks; choose a "
                "protocol of boxes, or a data set with masks such as openimages"
            )
    elif not len(dataset.boxes) and (dataset.masks or only_localized):
        truth, advice = "no boxes", "give the data set its annotations"
        if dataset.masks:
            truth, advice = "masks", "choose a protocol of pixels, such as choe-2020-pxap"
        raise DatasetError(
            f"{protocol.name} scores boxes, but {dataset.name} has {truth}; {advice}"
        )


def require_stored_ground_truth(run: Path, images: pd.DataFrame, protocol: Protocol) -> None:
    """Raise RunError if a stored run has nothing that a protocol can score by.

    Args:
        run: the run's folder, for the message.
        images: the columns ``masks`` and ``n_label_boxes`` of its table ``images``.
        protocol: the protocol that it is to be scored by.
    """
    has_masks = bool(images["masks"].map(len).any())
    has_boxes = bool(images["n_label_boxes"].any())
    of_pixels = isinstance(protocol, PixelProtocol)
    if (of_pixels and not has_masks) or (not of_pixels and has_masks and not has_boxes):
        scored, truth = ("pixels", "masks") if of_pixels else ("boxes", "boxes")
        other = "boxes" if of_pixels else "pixels"
        raise RunError(
            f"{protocol.name} scores {scored}, but the images of {run} have no {truth}; choose a "
            f"protocol of {other}"
        )
