"""Read a stored run: its tables, and the results of each of its methods, without torch."""

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
from wsol_bench.runs.findings import RunFinding, findings_of_run
from wsol_bench.runs.schema import GROUP, IMAGES, METHOD_KEYS
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.base import Selection
from wsol_bench.scoring.summary import MethodResults

__all__ = ["StoredResults", "methods_of", "summarize_run"]

# The bytes of curves that are read at a time: the curves of several methods, so that each file is
# read a few times only.
_CURVES_AT_A_TIME = 2**27


@dataclass(frozen=True)
class StoredResults:
    """A finished run; each table is read from its folder when it is asked for.

    Attributes:
        summary: one line for each model x method x layer; fractions are in [0, 1].
        folder: the run's folder; for a run without ``out`` a temporary folder, which is deleted
            with these results.
        n_before: the number of parts that were done before this process began.
    """

    summary: pd.DataFrame
    folder: StoredRun
    n_before: int = 0

    @property
    def findings(self) -> list[RunFinding]:
        """The findings of the run: odd maps, outputs and data, and that it is a shard."""
        return findings_of_run(self.folder.identity, self.summary)

    @property
    def rows(self) -> pd.DataFrame:
        """The table ``rows``: one line for each image x model x method x layer x class slot."""
        return self.folder.read("rows")

    @property
    def images(self) -> pd.DataFrame:
        """The table ``images``: one line for each image x model."""
        return self.folder.read("images")

    @property
    def maps(self) -> pd.DataFrame:
        """The table ``maps``: the localization maps that the run keeps (``maps``), as stored."""
        return self.folder.read("maps")

    @property
    def costs(self) -> pd.DataFrame:
        """The table ``costs``: one line for each part x model x method x layer."""
        return self.folder.read("costs")

    @property
    def curves(self) -> pd.DataFrame:
        """The table ``curves``: one line for each map, under a protocol of many thresholds."""
        return self.folder.read("curves")


def summarize_run(folder: StoredRun) -> pd.DataFrame:
    """The summary of a run: one line for each model x method x layer."""
    costs = folder.read("costs")
    lines = []
    for method in methods_of(folder):
        is_of_method = np.ones(len(costs), np.bool_)
        for name in METHOD_KEYS:
            is_of_method &= (costs[name] == method.names[name]).to_numpy(bool)
        lines.append(method.line(costs[is_of_method]))
    return pd.DataFrame(lines)


def methods_of(folder: StoredRun) -> Iterator[MethodResults]:
    """Read the results of each method at each layer, model by model, in the experiment's order.

    Only the rows of the label and of rank 1 are read, since no other row enters a number. So the
    whole run need not fit into memory.

    Raises:
        RunError: a file cannot be read, or a row belongs to no image or method of the run.
    """
    identity = folder.identity
    selected = folder.selection()
    measured = [column.name for column in identity.measured.of_methods]
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
                group, images, rows.of(group), next(curves), folder.scoring, selection, measured
            )


_IMAGE_COLUMNS = [
    name for name in IMAGES.names if name not in ("path", "masks", "ignore", "reason")
]


def _selection_of(table: pd.DataFrame, model: str, method: str, layer: str) -> Selection:
    """The means that the thresholds of a method are selected by; see ``SELECTION``."""
    lines = table[
        (table["model"] == model) & (table["method"] == method) & (table["layer"] == layer)
    ]
    means = dict(zip(lines["number"], lines["means"], strict=True))

    def means_of(number: str) -> Float64[np.ndarray, " m"] | None:
        return np.asarray(means[number], np.float64) if number in means else None

    return means_of


class _RowsByMethod:
    """The rows of a model that enter a number, from which the rows of each method are taken.

    These are the rows of the images' labels and of rank 1, held in memory once. Text is held as
    codes into the list of its values, so that no text is compared or converted for each method.

    Args:
        folder: the run.
        parts: the numbers of the model's parts.
        images: the evaluated images of the model.
        groups: each method of the run with each of its layers.
    """

    def __init__(
        self,
        folder: StoredRun,
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
        # The parts stay apart: to concatenate them would take the memory twice.
        self._parts = [
            {name: self._array(name, batch[name]) for name in self._names}
            for batch in table.to_batches()
        ]
        # From here on the code of an image is its position.
        position = np.append(images.index.get_indexer(self._texts["image_id"].categories), -1)
        for part in self._parts:
            part["image_id"] = position[part["image_id"]]
        self._texts["image_id"] = pd.CategoricalDtype(images.index)

    def of(self, group: Mapping[str, str]) -> pd.DataFrame:
        """The rows of a method at a layer, in their order.

        Args:
            group: the value of each of the columns ``GROUP``.
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
            chosen = [part[name][places] for part, places in zip(self._parts, rows, strict=True)]
            values = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
            columns[name] = values
            if name in self._texts:
                columns[name] = pd.Categorical.from_codes(values, dtype=self._texts[name])
        return pd.DataFrame(columns, copy=False)

    def _array(self, name: str, column: pa.Array) -> np.ndarray:
        """A column of a part as an array: text as codes, with -1 for no text."""
        if name in self._texts:
            column = column.indices.fill_null(-1)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _code(self, column: str, value: str) -> int:
        """The code of a text in a column; -2, which no row has, if the column does not hold it."""
        values = list(self._texts[column].categories)
        return values.index(value) if value in values else -2


def _values_of(column: pa.ChunkedArray) -> pd.CategoricalDtype:
    """The values of a column of text, whose chunks are codes into one dictionary."""
    return pd.CategoricalDtype(
        pd.Index(column.chunk(0).dictionary.to_pandas() if len(column) else [])
    )


def _rows_that_count(
    folder: StoredRun, parts: Sequence[int], groups: Sequence[tuple[str, str]]
) -> pa.Table:
    """Read the rows of the images' labels and of rank 1, with text as dictionaries.

    Columns that are equal in all rows of a model are left out.

    Raises:
        RunError: a file cannot be read, a row's image is not in its part, or a row's method and
            layer are not in the run.
    """
    same = ("model", "protocol", "protocol_hash")
    columns = [name for name in folder.tables["rows"].names if name not in same]

    def read(part: int) -> pa.Table:
        truth = folder.coded_part("images", part, ["image_id", "label"])
        rows = folder.coded_part("rows", part, columns)
        place = pc.index_in(_text(rows["image_id"]), _text(truth["image_id"]))
        if place.null_count:
            unknown = rows["image_id"][place.is_null().index(True).as_py()]
            raise RunError(
                f"{folder.path}: rows of part {part} hold the image {unknown}, which is not in "
                "the table images of that part"
            )
        is_label = pc.equal(_text(rows["class"]), pc.take(_text(truth["label"]), place))
        chosen = rows.filter(pc.or_(is_label, pc.equal(rows["rank"], 1)))
        keys = ["method", "layer"]
        for line in chosen.unify_dictionaries().group_by(keys).aggregate([]).to_pylist():
            method, layer = (line[key] for key in keys)
            if (method, layer) not in groups:
                raise RunError(
                    f"{folder.path}: rows of part {part} hold the method {method} at layer "
                    f"{layer!r}, which the run does not have; its methods are "
                    + ", ".join(f"{name} at layer {at!r}" for name, at in groups)
                )
        return chosen

    if not parts:
        return folder.arrow("rows", columns, parts=[])
    with ThreadPoolExecutor(pa.cpu_count()) as readers:
        return pa.concat_tables(readers.map(read, parts)).unify_dictionaries()


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pc.cast(column, pa.string()).combine_chunks()


def _curves(
    folder: StoredRun, parts: Sequence[int], groups: Sequence[tuple[str, str]], n_images: int
) -> Iterator[pd.DataFrame | None]:
    """Read the curves of each method, a few methods at a time; None if the protocol has none."""
    if not folder.scoring.curve_columns:
        yield from (None for _ in groups)
        return
    first = folder.arrow("curves", parts=parts[:1])
    line_bytes = first.nbytes / max(1, len(first))
    at_once = max(1, int(_CURVES_AT_A_TIME / max(1, line_bytes * n_images)))
    for start in range(0, len(groups), at_once):
        chosen = groups[start : start + at_once]
        wanted = pc.field("method").isin([method for method, _ in chosen])
        table = folder.arrow("curves", parts=parts, where=wanted)
        for method, layer in chosen:
            is_of_method = (pc.field("method") == method) & (pc.field("layer") == layer)
            yield table.filter(is_of_method).to_pandas()
