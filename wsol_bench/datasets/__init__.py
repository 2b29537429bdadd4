"""Data sets: images, boxes, masks and classes, in one convention for all file formats."""

from wsol_bench.datasets.base import (
    ROOT_ID,
    ROOT_SYNSET,
    Dataset,
    Sample,
    counts_for,
    dataset,
    datasets,
)
from wsol_bench.datasets.findings import Finding
from wsol_bench.datasets.masks import MaskFiles

__all__ = [
    "ROOT_ID",
    "ROOT_SYNSET",
    "Dataset",
    "Finding",
    "MaskFiles",
    "Sample",
    "counts_for",
    "dataset",
    "datasets",
]
