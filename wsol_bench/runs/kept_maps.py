"""The maps that a run keeps (``maps`` of an experiment), and what is said where one is missing."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from wsol_bench.common.vocabulary import KeptMaps
from wsol_bench.errors import RunError
from wsol_bench.runs.identity import Identity
from wsol_bench.scoring.batches import RowBatch

__all__ = ["kept_rows", "no_maps", "require_maps", "why_no_map"]

_ADVICE = "run the experiment again with 'maps: label', or 'maps: all', in another folder"
_ONLY_A_BOX = "The run keeps the box of this method, not its map."
_NOT_STORED = "The run keeps no map of this class."
_ONLY_LABELS = (
    "This run keeps the maps of the images' labels, not those of predictions (maps: label); run it "
    "again with maps: all to see them."
)


def kept_rows(rows: RowBatch, kept: KeptMaps) -> Int64[np.ndarray, " m"]:
    """The positions of the rows whose maps are kept.

    Args:
        rows: the rows of a method.
        kept: ``all`` of them, those of each image's ``label``, or ``none``.
    """
    if kept == "none":
        return np.zeros(0, np.int64)
    if kept == "label":
        return np.flatnonzero(rows.is_label)
    return np.arange(len(rows))


def no_maps(identity: Identity) -> str:
    """A sentence which says that a run keeps no maps of its networks; "" if it keeps some."""
    if identity.kept_maps != "none" or not identity.methods:
        return ""
    return "This run keeps no maps (maps: none); run it again with maps: label."


def require_maps(identity: Identity, path: Path) -> None:
    """Raise RunError if maps are to be scored again that the run in a folder does not keep."""
    if no_maps(identity):
        raise RunError(
            f"the run in {path} keeps no maps (maps: none), so there is nothing to score again; "
            f"{_ADVICE}"
        )


def why_no_map(identity: Identity, method: str, *, is_label: bool, has_box: bool) -> str:
    """A sentence which says why a run has no map of a row.

    Args:
        identity: the identity of the run.
        method: the method's name in the results.
        is_label: whether the row's class is the label of its image.
        has_box: whether the row has a box.
    """
    if method in identity.methods:
        if why := no_maps(identity):
            return why
        if identity.kept_maps == "label" and not is_label:
            return _ONLY_LABELS
    return _ONLY_A_BOX if has_box else _NOT_STORED
