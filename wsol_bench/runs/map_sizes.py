"""The size of a run's maps on the disk, before they fill it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_bench.common.vocabulary import KeptMaps
from wsol_bench.metrics.localization import TOP_K

if TYPE_CHECKING:
    from wsol_bench.methods.base import MapMethod
    from wsol_bench.models.classifiers import Classifier

__all__ = ["bytes_of_maps", "expected_size", "size_of_maps"]

_GIGABYTE = 10**9
# Maps of fewer bytes are no reason to choose others.
_LARGE = 10 * _GIGABYTE
_BYTES_A_VALUE = 2


def expected_size(folder: Path, n_bytes: int, kept: KeptMaps) -> str:
    """A sentence on the maps that a run has still to write; "" if they are few and fit.

    Args:
        folder: the folder of the run.
        n_bytes: their expected size.
        kept: the maps that the run keeps.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes < min(_LARGE, free):
        return ""
    advice = ""
    if kept == "all":
        advice = "; with 'maps: label' a run keeps those of the labels only, with 'maps: none' none"
    elif kept == "label":
        advice = "; with 'maps: none' a run keeps none"
    return (
        f"{folder}: maps of about {size_of_maps(n_bytes)} are still to be written (maps: {kept}), "
        f"and the disk has {size_of_maps(free)} left{advice}. Another choice belongs into another "
        "folder"
    )


def bytes_of_maps(
    classifier: "Classifier", methods: Sequence["MapMethod"], kept: KeptMaps, input_size: int
) -> int:
    """The largest size of the maps of one image, from one pass of the network.

    A method of layers is taken to make maps of the layer's size, and one of the whole image maps of
    the input's size. Parquet makes them smaller where they are zero.

    Args:
        classifier: the network.
        methods: the map methods.
        kept: the maps that the run keeps.
        input_size: the side of the input in pixels.
    """
    import torch

    from wsol_bench.capture import Plan, capture

    cells = 0
    if classifier.targets:
        black = torch.zeros(1, 3, input_size, input_size)
        record = capture(classifier.module, black, classifier.targets, Plan())
        cells = sum(layer.activations[0, 0].numel() for layer in record.layers)
    n_slots = min(TOP_K + 1, len(classifier.classes))
    n_bytes = 0
    for method in methods:
        size = cells if method.scope == "layer" else input_size**2
        n_maps = {"all": n_slots if method.classes == "all" else 1, "label": 1, "none": 0}[kept]
        n_bytes += _BYTES_A_VALUE * size * n_maps
    return n_bytes


def size_of_maps(n_bytes: int) -> str:
    """A size in bytes for people: ``1.2 GB``."""
    if n_bytes >= 1000 * _GIGABYTE:
        return f"{n_bytes / _GIGABYTE / 1000:.3g} TB"
    return f"{n_bytes / _GIGABYTE:.3g} GB"
