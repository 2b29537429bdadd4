"""A stored run read: its tables, and one method after the other. No network, and no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wsol_bench.runs.folder import RunFolder
from wsol_bench.schema import GROUP, IMAGES
from wsol_bench.scoring.summary import MethodResults, no_selection

__all__ = ["Results", "methods_of", "summarize_run"]

# Bytes of curves that are read at a time: those of several methods, so that files are read seldom.
_CURVES_AT_A_TIME = 2**27


@dataclass(frozen=True)
class Results:
    """A finished run; its tables are read from its folder when they are asked for.

    Attributes:
        summary: one line a model x method x layer; fractions in [0, 1].
        folder: where the run lies; of a run without ``out``, for as long as these results live.
        n_before: parts that an earlier process had done.
    """

    summary: pd.DataFrame
    folder: RunFolder
    n_before: int = 0

    @property
    def rows(self) -> pd.DataFrame:
        """One line an image x method x layer x class slot."""
        return self.folder.read("rows")

    @property
    def images(self) -> pd.DataFrame:
        """One line an image x model."""
        return self.folder.read("images")

    @property
    def maps(self) -> pd.DataFrame:
        """The localization maps, as stored."""
        return self.folder.read("maps")

    @property
    def costs(self) -> pd.DataFrame:
        """What each method cost, one line a part x model x method x layer."""
        return self.folder.read("costs")

    @property
    def curves(self) -> pd.DataFrame:
        """What maps are worth at every threshold, under a protocol that has many."""
        return self.folder.read("curves")


def summarize_run(folder: RunFolder) -> pd.DataFrame:
    """The summary of a run: one line a model x method x layer."""
    costs = folder.read("costs")
    lines = []
    for method in methods_of(folder):
        mine = np.ones(len(costs), np.bool_)
        for name in GROUP[:3]:
            mine &= (costs[name] == method.names[name]).to_numpy(bool)
        lines.append(method.line(costs[mine]))
    return pd.DataFrame(lines)


def methods_of(folder: RunFolder) -> Iterator[MethodResults]:
    """Each method of a run at each layer, model by model, in the order of the experiment.

    Of the rows those of the own class and of rank 1 are read: no other one enters a number, and so
    all of a run need not lie in memory.
    """
    from wsol_bench.runs.selection import selection_of

    identity = folder.identity
    selected = folder.selection()
    for model, parts in folder.parts_by_model().items():
        images = folder.read("images", _IMAGE_COLUMNS, parts=parts)
        rows = _rows_that_count(folder, parts)
        groups = list(identity.groups(model))
        curves = _curves(folder, parts, groups, len(images))
        for method, layer in groups:
            names = (model, method, layer, identity.protocol.name, identity.protocol_hash)
            selection = (
                selection_of(selected, model, method, layer) if len(selected) else no_selection
            )
            group = dict(zip(GROUP, names, strict=True))
            yield MethodResults(
                group,
                images,
                _of_method(rows, method, layer).to_pandas().assign(**group),
                next(curves),
                folder.scoring,
                selection,
            )


_IMAGE_COLUMNS = [
    name for name in IMAGES.names if name not in ("path", "masks", "ignore", "reason")
]


def _rows_that_count(folder: RunFolder, parts: Sequence[int]) -> pa.Table:
    """The rows of the images' own classes and of rank 1, text as dictionaries.

    Without the columns that are equal in all rows of a model.
    """
    same = ("model", "protocol", "protocol_hash")
    columns = [name for name in folder.tables["rows"].names if name not in same]
    images = folder.by_part("images", ["image_id", "label"], parts)
    tables = []
    for rows, truth in zip(folder.by_part("rows", columns, parts), images, strict=True):
        place = pc.index_in(_text(rows["image_id"]), _text(truth["image_id"]))
        label = pc.take(_text(truth["label"]), place)
        own = pc.equal(_text(rows["class"]), label)
        tables.append(rows.filter(pc.or_(own, pc.equal(rows["rank"], 1))))
    if not tables:
        return folder.arrow("rows", columns, parts=[])
    return pa.concat_tables(tables).unify_dictionaries()


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pc.cast(column, pa.string()).combine_chunks()


def _of_method(table: pa.Table, method: str, layer: str) -> pa.Table:
    names = [pc.cast(table[name], pa.string()) for name in ("method", "layer")]
    return table.filter(pc.and_(pc.equal(names[0], method), pc.equal(names[1], layer)))


def _curves(
    folder: RunFolder, parts: Sequence[int], groups: Sequence[tuple[str, str]], n_images: int
) -> Iterator[pd.DataFrame | None]:
    """The curves of each method, a few methods at a time; None where a protocol has none."""
    if not folder.scoring.curve_columns:
        yield from (None for _ in groups)
        return
    first = folder.arrow("curves", parts=parts[:1])
    a_line = first.nbytes / max(1, len(first))
    at_once = max(1, int(_CURVES_AT_A_TIME / max(1, a_line * n_images)))
    for start in range(0, len(groups), at_once):
        some = groups[start : start + at_once]
        wanted = pc.field("method").isin([method for method, _ in some])
        table = folder.arrow("curves", parts=parts, where=wanted)
        for method, layer in some:
            yield _of_method(table, method, layer).to_pandas()
