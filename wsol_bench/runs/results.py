"""A stored run read: its tables, and one method after the other. No network, and no torch."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from wsol_bench.errors import RunError
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.schema import GROUP, IMAGES
from wsol_bench.scoring import Selection
from wsol_bench.scoring.summary import MethodResults

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
        """The costs of each method, one line a part x model x method x layer."""
        return self.folder.read("costs")

    @property
    def curves(self) -> pd.DataFrame:
        """The hits of each map at every threshold, under a protocol that has many."""
        return self.folder.read("curves")


def summarize_run(folder: RunFolder) -> pd.DataFrame:
    """Summarize a run, in one line a model x method x layer."""
    costs = folder.read("costs")
    lines = []
    for method in methods_of(folder):
        mine = np.ones(len(costs), np.bool_)
        for name in GROUP[:3]:
            mine &= (costs[name] == method.names[name]).to_numpy(bool)
        lines.append(method.line(costs[mine]))
    return pd.DataFrame(lines)


def methods_of(folder: RunFolder) -> Iterator[MethodResults]:
    """Read each method of a run at each layer, model by model, in the experiment's order.

    Of the rows those of the own class and of rank 1 are read: no other one enters a number, and so
    all of a run need not lie in memory.
    """
    identity = folder.identity
    selected = folder.selection()
    for model, parts in folder.parts_by_model().items():
        images = EvaluatedImages.of(folder.read("images", _IMAGE_COLUMNS, parts=parts))
        groups = list(identity.groups(model))
        rows = _RowsByMethod(folder, parts, images, groups)
        curves = _curves(folder, parts, groups, len(images) + images.n_skipped)
        for method, layer in groups:
            names = (model, method, layer, identity.protocol.name, identity.protocol_hash)
            group = dict(zip(GROUP, names, strict=True))
            selection = _selection_of(selected, model, method, layer)
            yield MethodResults(
                group, images, rows.of(group), next(curves), folder.scoring, selection
            )


_IMAGE_COLUMNS = [
    name for name in IMAGES.names if name not in ("path", "masks", "ignore", "reason")
]


def _selection_of(table: pd.DataFrame, model: str, method: str, layer: str) -> Selection:
    """Look up what a method's thresholds are selected by, number by number; see ``SELECTION``."""
    mine = table[
        (table["model"] == model) & (table["method"] == method) & (table["layer"] == layer)
    ]
    means = dict(zip(mine["number"], mine["means"], strict=True))

    def of(number: str) -> Float64[np.ndarray, " m"] | None:
        return np.asarray(means[number], np.float64) if number in means else None

    return of


class _RowsByMethod:
    """The rows of a model that enter a number, from which those of each method are taken.

    These are the rows of the images' own classes and of rank 1. They are in memory once. Text is
    held as codes into the list of its values, so that none is compared or converted again for each
    method.

    Args:
        folder: of the run.
        parts: of the model.
        images: of the model.
        groups: the methods of the run, each with its layer.
    """

    def __init__(
        self,
        folder: RunFolder,
        parts: Sequence[int],
        images: EvaluatedImages,
        groups: Sequence[tuple[str, str]],
    ) -> None:
        table = _rows_that_count(folder, parts, groups)
        declared = {column.name: column for column in folder.tables["rows"].columns}
        self._names = table.column_names
        self._texts = {
            name: _values_of(table[name]) for name in self._names if declared[name].dtype == "text"
        }
        # Part by part, as they were read: to put them together would take the memory twice.
        self._parts = [
            {name: self._array(name, batch[name]) for name in self._names}
            for batch in table.to_batches()
        ]
        # The codes of the images are then their positions.
        position = np.append(images.index.get_indexer(self._texts["image_id"].categories), -1)
        for part in self._parts:
            part["image_id"] = position[part["image_id"]]
        self._texts["image_id"] = pd.CategoricalDtype(images.index)

    def of(self, group: Mapping[str, str]) -> pd.DataFrame:
        """Take the rows of a method at a layer, in their order.

        Args:
            group: the columns ``GROUP``, each of which has one value in all of these rows.
        """
        method, layer = (self._code(name, group[name]) for name in ("method", "layer"))
        rows = [
            np.flatnonzero((part["method"] == method) & (part["layer"] == layer))
            for part in self._parts
        ]
        constant = np.zeros(sum(map(len, rows)), np.int8)
        columns: dict[str, Any] = {
            name: pd.Categorical.from_codes(constant, dtype=pd.CategoricalDtype([value]))
            for name, value in group.items()
        }
        for name in self._names:
            if name in columns:
                continue
            some = [part[name][chosen] for part, chosen in zip(self._parts, rows, strict=True)]
            values = np.concatenate(some) if some else np.zeros(0, np.int64)
            columns[name] = values
            if name in self._texts:
                columns[name] = pd.Categorical.from_codes(values, dtype=self._texts[name])
        return pd.DataFrame(columns, copy=False)

    def _array(self, name: str, column: pa.Array) -> np.ndarray:
        """Read a column of a part, text as codes; -1 of none."""
        if name in self._texts:
            column = column.indices.fill_null(-1)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _code(self, column: str, value: str) -> int:
        """Look up the code of a text; -2, which no row has, where the column does not hold it."""
        values = list(self._texts[column].categories)
        return values.index(value) if value in values else -2


def _values_of(column: pa.ChunkedArray) -> pd.CategoricalDtype:
    """List the values of a column of text, whose chunks are codes into one dictionary."""
    return pd.CategoricalDtype(
        pd.Index(column.chunk(0).dictionary.to_pandas() if column.num_chunks else [])
    )


def _rows_that_count(
    folder: RunFolder, parts: Sequence[int], groups: Sequence[tuple[str, str]]
) -> pa.Table:
    """Read the rows of the images' own classes and of rank 1, text as dictionaries.

    Columns that are equal in all rows of a model are left out.

    Raises:
        RunError: a file that cannot be read, a row of an image that its part does not hold, or one
            of a method and layer that the run does not have.
    """
    same = ("model", "protocol", "protocol_hash")
    columns = [name for name in folder.tables["rows"].names if name not in same]

    def read(part: int) -> pa.Table:
        truth = folder.part("images", part, ["image_id", "label"])
        rows = folder.part("rows", part, columns)
        place = pc.index_in(_text(rows["image_id"]), _text(truth["image_id"]))
        if place.null_count:
            unknown = rows["image_id"][place.is_null().index(True).as_py()]
            raise RunError(
                f"{folder.path}: rows of part {part} hold the image {unknown}, which is not in "
                "its images"
            )
        own = pc.equal(_text(rows["class"]), pc.take(_text(truth["label"]), place))
        chosen = rows.filter(pc.or_(own, pc.equal(rows["rank"], 1)))
        keys = ["method", "layer"]
        for found in chosen.unify_dictionaries().group_by(keys).aggregate([]).to_pylist():
            method, layer = (found[key] for key in keys)
            if (method, layer) not in groups:
                raise RunError(
                    f"{folder.path}: rows of part {part} hold the method {method} at layer "
                    f"{layer!r}, which the run does not have; its methods are "
                    + ", ".join(f"{name} at layer {where!r}" for name, where in groups)
                )
        return chosen

    if not parts:
        return folder.arrow("rows", columns, parts=[])
    with ThreadPoolExecutor(pa.cpu_count()) as readers:
        return pa.concat_tables(readers.map(read, parts)).unify_dictionaries()


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pc.cast(column, pa.string()).combine_chunks()


def _curves(
    folder: RunFolder, parts: Sequence[int], groups: Sequence[tuple[str, str]], n_images: int
) -> Iterator[pd.DataFrame | None]:
    """Read the curves of each method, a few methods at a time; None of a protocol without."""
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
            mine = (pc.field("method") == method) & (pc.field("layer") == layer)
            yield table.filter(mine).to_pandas()
