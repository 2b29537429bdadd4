"""Everything that the page shows of several runs, read once: images, models and lines.

Positions of images, models and lines are the same everywhere on the page. What is kept of each line
is small (some bytes an image), so that 50,000 images x 30 methods stay in memory.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int32, Int64, Shaped, UInt8

from wsol_bench.common.progress import progress
from wsol_bench.datasets import MaskFiles
from wsol_bench.errors import RunError
from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.report.analysis import details_of, numbers_of
from wsol_bench.report.comparisons import MethodNumbers, require_same_truth
from wsol_bench.report.method_kinds import Kind, kind_of
from wsol_bench.report.page.condensed import Curve, condensed, curves_of
from wsol_bench.report.page.outcomes import NOT_DEFINED, outcomes_of
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import METHOD_KEYS, ImageStatus
from wsol_bench.runs.stored_run import StoredRun
from wsol_bench.scoring.summary import MethodResults
from wsol_bench.statistics.intervals import Interval

__all__ = ["Collection", "Line", "Model", "PageImages"]

_IMAGE_COLUMNS = [
    *("image_id", "path", "height", "width", "label", "blacklisted", "n_label_boxes", "boxes"),
    *("held_out", "status", "label_rank", "label_score", "masks", "ignore"),
]


@dataclass(frozen=True, eq=False)
class PageImages:
    """The images of all runs, each once, in the order in which they are met.

    Attributes:
        ids: the id of each image.
        label: the position of each image's label in the page's classes.
        size: (height, width) of each image in pixels.
        boxes: the ground-truth boxes of each image's label, half-open xyxy, (n, 4).
        share: area of the largest of these boxes as a fraction of the image.
        blacklisted: the flag of the table ``images``.
        paths: the image files.
        masks: the mask files of each image's label; None in a data set without masks.
    """

    ids: list[str]
    label: Int32[np.ndarray, " n"]
    size: Int32[np.ndarray, "n 2"]
    boxes: list[Float64[np.ndarray, "_ 4"]]
    share: Float32[np.ndarray, " n"]
    blacklisted: Bool[np.ndarray, " n"]
    paths: list[str]
    masks: list[MaskFiles | None]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Model:
    """A model of a run, with one value for each image of the page.

    Attributes:
        run: the position of its run.
        name: its name in the run.
        part: the part that holds the image; -1 if the run does not hold it.
        evaluated: whether the model was evaluated on the image.
        held_out: whether the run selects a threshold on the image.
        label_rank: the rank of the label, from 1; 0 if unknown.
        label_score: the probability of the label; NaN if unknown.
        top1: the position of the first prediction in the page's classes; -1 for none.
        top1_score: the probability of the first prediction; NaN for none.
    """

    run: int
    name: str
    part: Int32[np.ndarray, " n"]
    evaluated: Bool[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"]
    label_rank: Int32[np.ndarray, " n"]
    label_score: Float32[np.ndarray, " n"]
    top1: Int32[np.ndarray, " n"]
    top1_score: Float32[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Line:
    """A line of a summary: a method at a target layer of a model, with a value for each image.

    Attributes:
        model: the position of its model.
        method, layer: the columns of these names.
        kind: whether it is a method, a baseline or a sanity check.
        summary: the line of the run's summary.
        numbers: its numbers with a value, condensed.
        intervals: the interval of each of them, by name.
        curves: the share of hits at each threshold, by the name of the number.
        details: tables of why and where its boxes fail, by name; see ``Scoring.details``.
        threshold: the threshold of its boxes and outcomes; None if they depend on none.
        selected: the threshold that a sweep selects on other images for the same boxes; None
            without a selection.
        gt_known, top1: the position in ``OUTCOMES`` of the outcome of the label's box, and of the
            first prediction's; ``NOT_DEFINED`` for none.
        iou, top1_iou: the IoU of the label's box, and of the first prediction's; NaN for none.
        counted: whether its errors or accuracies count the image.
        complete: whether each counted image has an outcome of its label; see ``Outcomes``.
    """

    model: int
    method: str
    layer: str
    kind: Kind
    summary: dict[str, Any]
    numbers: MethodNumbers
    intervals: dict[str, Interval]
    curves: dict[str, Curve]
    details: dict[str, pd.DataFrame]
    threshold: float | None
    selected: float | None
    gt_known: UInt8[np.ndarray, " n"]
    top1: UInt8[np.ndarray, " n"]
    iou: Float32[np.ndarray, " n"]
    top1_iou: Float32[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]
    complete: bool


class Collection:
    """The runs of a page.

    Args:
        runs: finished runs.
        seed: seed of the resamples of intervals, and of the random signs of paired tests.

    Attributes:
        runs: the same runs.
        seed: the seed.
        images: all their images.
        models: the models of all runs, run by run.
        lines: the lines of all models, model by model.

    Raises:
        RunError: a run is not finished or given twice, a file of it is missing or damaged, or the
            runs differ in the ground truth of an image.
    """

    def __init__(self, runs: Sequence[StoredRun], *, seed: int = 0) -> None:
        for run in runs:
            run.require_finished()
        for path, n in Counter(run.path.resolve() for run in runs).items():
            if n > 1:
                raise RunError(f"{path}: expected each run once, found it {n} times")
        self.runs = tuple(runs)
        self.seed = seed
        self._classes = _Classes(self.runs)
        tables = [
            (index, model, _read_images(run, parts))
            for index, run in enumerate(runs)
            for model, parts in run.parts_by_model().items()
        ]
        self.images = _union(
            [(self.runs[index], table) for index, _, table in tables], self._classes
        )
        self._position = pd.Index(self.images.ids)
        self.models = [self._model(*table) for table in tables]
        self.lines: list[Line] = []
        n_methods = sum(run.identity.n_methods for run in runs)
        with progress("reading", n_methods, "methods") as advance:
            for index, run in enumerate(runs):
                costs = run.read("costs")
                for method in methods_of(run):
                    self._add(index, method, costs)
                    advance(1)

    @cached_property
    def classes(self) -> list[tuple[str, str]]:
        """The wnid and the words of each class that is a label or a first prediction."""
        return self._classes.listed()

    def words(self, wnid: str) -> str:
        """The class in words; the wnid itself if the runs know no words."""
        return self._classes.words.get(wnid) or wnid

    def lines_of(self, model: int) -> list[int]:
        """The positions of the lines of a model."""
        return [number for number, line in enumerate(self.lines) if line.model == model]

    def forget_numbers(self) -> None:
        """Drop the numbers and details of all lines: once the overview is made, nobody needs them.

        They are most of what a line keeps: some fifty bytes an image, beside eleven of its results.
        """
        self.lines = [
            replace(line, numbers=replace(line.numbers, numbers={}), details={})
            for line in self.lines
        ]

    def _model(self, run: int, name: str, table: pd.DataFrame) -> Model:
        """A model, from its images table; its first predictions come with its first line."""
        place = self._position.get_indexer(pd.Index(table["image_id"]))
        scattered = _Scattered(len(self.images), place)
        evaluated = (table["status"] == ImageStatus.EVALUATED).to_numpy(bool)
        return Model(
            run=run,
            name=name,
            part=scattered.of(table["part"].to_numpy(np.int32), -1),
            evaluated=scattered.of(evaluated, False),
            held_out=scattered.of(table["held_out"].to_numpy(bool), False),
            label_rank=scattered.of(table["label_rank"].to_numpy(np.int32), 0),
            label_score=scattered.of(table["label_score"].to_numpy(np.float32), np.nan),
            top1=np.full(len(self.images), -1, np.int32),
            top1_score=np.full(len(self.images), np.nan, np.float32),
        )

    def _add(self, run: int, method: MethodResults, costs: pd.DataFrame) -> None:
        """Add the line of a method."""
        names, scores = method.names, method.scores
        model = next(
            number
            for number, model in enumerate(self.models)
            if (model.run, model.name) == (run, names["model"])
        )
        scattered = _Scattered(len(self.images), self._position.get_indexer(scores.evaluated.index))
        self._add_first_predictions(self.models[model], scores, scattered)
        of_method = np.logical_and.reduce([costs[key] == names[key] for key in METHOD_KEYS])
        stored = self.runs[run]
        numbers = numbers_of(method, stored)
        outcomes = outcomes_of(scores, numbers, stored.scoring.least_iou, stored.identity.protocol)
        # Boxes that come from no map are the same at every threshold.
        source = stored.identity.sources.get(names["method"])
        has_threshold = source is None or source.gives != "boxes"
        self.lines.append(
            Line(
                model=model,
                method=names["method"],
                layer=names["layer"],
                kind=kind_of(stored.identity, names["method"]),
                summary=method.line(costs[of_method]),
                numbers=condensed(numbers),
                intervals={
                    name: number.interval(seed=self.seed)
                    for name, number in numbers.numbers.items()
                },
                curves=curves_of(numbers),
                details=details_of(method, stored, numbers),
                threshold=outcomes.threshold if has_threshold else None,
                selected=outcomes.selected if has_threshold else None,
                gt_known=scattered.of(outcomes.gt_known, NOT_DEFINED),
                top1=scattered.of(outcomes.top1, NOT_DEFINED),
                iou=scattered.of(outcomes.iou.astype(np.float32), np.nan),
                top1_iou=scattered.of(outcomes.top1_iou.astype(np.float32), np.nan),
                counted=scattered.of(outcomes.counted, False),
                complete=outcomes.complete,
            )
        )

    def _add_first_predictions(
        self, model: Model, scores: ImageScores, scattered: "_Scattered"
    ) -> None:
        """Fill in the model's first predictions, unless an earlier line did.

        Without a model each prediction file has first predictions of its own.
        """
        found = scores.first_rows >= 0
        if model.name == NO_MODEL or (model.top1 >= 0).any() or not found.any():
            return
        rows = scores.rows.iloc[scores.first_rows[found]]
        codes = np.full(len(scores), -1, np.int32)
        codes[found] = self._classes.codes(rows["class"].to_numpy(object))
        model.top1[:] = scattered.of(codes, -1)
        model.top1_score[:] = scattered.of(scores.first("score").astype(np.float32), np.nan)


class _Classes:
    """The classes of the page, numbered as they are met."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self.words: dict[str, str] = {}
        for run in runs:
            table = run.read("classes")
            self.words |= dict(zip(table["wnid"], table["words"], strict=True))
        self._codes: dict[str, int] = {}

    def codes(self, wnids: Shaped[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
        """The number of each class."""
        codes = self._codes
        return np.array([codes.setdefault(wnid, len(codes)) for wnid in wnids.tolist()], np.int32)

    def listed(self) -> list[tuple[str, str]]:
        """The wnid and the words of each numbered class."""
        return [(wnid, self.words.get(wnid) or wnid) for wnid in self._codes]


@dataclass(frozen=True)
class _Scattered:
    """Values of some images, brought to the order of all images of the page.

    Attributes:
        n: the number of images of the page.
        place: the position on the page of each image that has a value.
    """

    n: int
    place: Int64[np.ndarray, " m"]

    def of(self, values: Shaped[np.ndarray, " m"], missing: Any) -> Any:
        """One value for each image of the page."""
        array = np.full(self.n, missing, values.dtype)
        array[self.place] = values
        return array


def _read_images(run: StoredRun, parts: Sequence[int]) -> pd.DataFrame:
    """The images of a model, with the number of the part that holds each."""

    def read(part: int) -> pa.Table:
        table = run.arrow("images", _IMAGE_COLUMNS, parts=[part])
        return table.append_column("part", pa.array(np.full(len(table), part, np.int32)))

    with ThreadPoolExecutor(pa.cpu_count()) as readers:
        table: pd.DataFrame = pa.concat_tables(readers.map(read, parts)).to_pandas()
    return table


def _union(tables: Sequence[tuple[StoredRun, pd.DataFrame]], classes: _Classes) -> PageImages:
    """The images of all models, each once.

    Raises:
        RunError: runs on different data sets differ in the ground truth of an image.
    """
    first_run, whole = tables[0]
    for run, table in tables[1:]:
        known = pd.Index(whole["image_id"])
        ids = pd.Index(table["image_id"])
        if run.identity.dataset.fingerprint != first_run.identity.dataset.fingerprint:
            require_same_truth(whole, table, known.intersection(ids))
        new = table[~ids.isin(known)]
        whole = pd.concat([whole, new], ignore_index=True) if len(new) else whole
    truth = EvaluatedImages(whole)
    flat = [np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in whole["boxes"]]
    return PageImages(
        ids=whole["image_id"].tolist(),
        label=classes.codes(whole["label"].to_numpy(object)),
        size=whole[["height", "width"]].to_numpy(np.int32),
        boxes=flat,
        share=np.nan_to_num(truth.largest_share).astype(np.float32),
        blacklisted=whole["blacklisted"].to_numpy(bool),
        paths=whole["path"].tolist(),
        masks=list(map(MaskFiles.of_names, whole["masks"], whole["ignore"])),
    )
