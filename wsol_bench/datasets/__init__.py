"""Data sets: images, boxes, masks and classes, in one convention for all file formats."""

from wsol_bench.datasets.base import (
    ROOT_ID,
    ROOT_SYNSET,
    Dataset,
    MaskFiles,
    Sample,
    counts_for,
    dataset,
    datasets,
)
from wsol_bench.datasets.findings import Finding

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
