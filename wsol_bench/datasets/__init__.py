"""Data sets: loaders end where conventions end."""

from wsol_bench.datasets.base import (
    ROOT_ID,
    ROOT_SYNSET,
    Dataset,
    Finding,
    MaskFiles,
    Sample,
    counts_for,
    dataset,
    datasets,
)

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
