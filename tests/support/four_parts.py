"""A run of four parts on the color world, an engine that stops early, and a run folder's files."""

import itertools
import json

import pytest
from colors import color_experiment
from timeless import assert_same_tables

import wsol_bench
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.schema import Tables

TABLES = Tables._fields


def experiment(root, **changes):
    """An experiment on four images, each of which is a part."""
    return color_experiment(root, **{"part_size": 1, "batch_size": 1, "workers": 0, **changes})


class StopsAfter(LocalEngine):
    """An engine that is interrupted (Ctrl-C) after n parts, or never if n is None.

    Attributes:
        part_numbers: the numbers of the parts that the engine was given.
    """

    def __init__(self, n=None):
        self.n = n
        self.part_numbers = []

    def evaluate(self, experiment, parts, advance):
        self.part_numbers = [part.number for part in parts]
        yield from itertools.islice(super().evaluate(experiment, parts, advance), self.n)
        if self.n is not None:
            raise KeyboardInterrupt


def stopped_after(n, root, out, **changes):
    """Begin a run that is interrupted after n parts."""
    with pytest.raises(KeyboardInterrupt):
        wsol_bench.run(experiment(root, **changes), out=out, engine=StopsAfter(n))


def written(folder):
    """The time at which each part was written, by table and file name."""
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns
        for path in folder.glob("*/*.parquet")
    }


def manifest(folder):
    """The manifest of a run folder as JSON."""
    return json.loads((folder / "manifest.json").read_text())


def assert_same(results, sound):
    assert_same_tables(results, sound, (*TABLES, "summary"))
