"""Data sets: loaders end where conventions end."""

from wsol_bench.datasets.base import ROOT_SYNSET, Dataset, Finding, Sample, dataset, datasets

__all__ = ["ROOT_SYNSET", "Dataset", "Finding", "Sample", "dataset", "datasets"]
