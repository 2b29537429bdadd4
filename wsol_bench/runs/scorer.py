"""The scorer turns unscored batches into the tables of a part. No network is used here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.errors import DatasetError
from wsol_bench.protocols.model import Protocol
from wsol_bench.runs.schema import COSTS, CURVE_KEYS, FAILED, IMAGES, MAPS, Tables
from wsol_bench.runs.scored_batches import (
    CostLine,
    ImageOutcome,
    ScoredGroup,
    ScoredMethod,
    UnscoredBatch,
)
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.measured_columns import MeasuredColumns
from wsol_bench.scoring.scores import Scores

__all__ = ["Scorer", "curve_columns"]


@dataclass(frozen=True)
class Scorer:
    """Scores batches of a model, and puts their scores into tables.

    Attributes:
        model: the model's name in the results.
        protocol: the protocol.
        scoring: the scoring of the protocol, with the metrics of the run.
        measured: the columns that the network pass fills.
        strict: whether an image that cannot be evaluated is an error.
    """

    model: str
    protocol: Protocol
    scoring: Scoring
    measured: MeasuredColumns
    strict: bool

    def score(self, batch: UnscoredBatch) -> list[ScoredGroup]:
        """The scored groups of a batch; this runs while the network works on the next batch."""
        groups = [group.scored(self.scoring) for group in batch.groups]
        return [ScoredGroup(batch.failed, []), *groups]

    def tables(self, left_out: Sequence[ImageOutcome], groups: Sequence[ScoredGroup]) -> Tables:
        """The tables of a part.

        Args:
            left_out: the outcomes of the part's images that are in no group.
            groups: the scored groups of the part's batches, in order.

        Raises:
            DatasetError: an image cannot be evaluated, and ``strict`` is set.
        """
        in_groups = (outcome for group in groups for outcome in group.outcomes)
        outcomes = sorted([*left_out, *in_groups], key=lambda outcome: outcome.position)
        for outcome in outcomes:
            if self.strict and outcome.status in FAILED:
                raise DatasetError(
                    f"{outcome.sample.image_id} cannot be evaluated by {self.model}: "
                    f"{outcome.reason}; without 'strict' the run counts the image and leaves it out"
                )
        methods = [method for group in groups for method in group.methods]
        scored = [(self._keys(method), method) for method in methods]
        rows = self.scoring.rows_table.with_columns(self.measured.all)
        return Tables(
            images=_images(self.model, outcomes),
            rows=rows.frame([self._rows(keys, method) for keys, method in scored]),
            maps=MAPS.frame(
                [_maps(keys, method) for keys, method in scored if method.maps is not None]
            ),
            curves=self.scoring.curves_table.frame(
                [curve_columns(keys, method.scores) for keys, method in scored]
                if self.scoring.curve_columns
                else []
            ),
            costs=_costs(self.model, methods),
        )

    def _keys(self, method: ScoredMethod) -> dict[str, np.ndarray]:
        """The columns that name the rows of a method."""
        n = len(method.rows)
        names = {"model": self.model, "method": method.method, "layer": method.layer}
        return {
            **{key: np.full(n, value, dtype=object) for key, value in names.items()},
            "image_id": method.rows.image_ids,
            "rank": method.rows.rank,
        }

    def _rows(self, keys: Mapping[str, np.ndarray], method: ScoredMethod) -> dict[str, np.ndarray]:
        """The columns of ``rows`` of a method."""
        n = len(method.rows)
        not_measured = np.full(n, np.nan)
        return {
            **keys,
            "protocol": np.full(n, self.protocol.name, dtype=object),
            "protocol_hash": np.full(n, self.protocol.hash, dtype=object),
            "class": method.rows.wnid,
            "score": method.rows.score,
            "status": method.scores.status,
            **method.scores.rows,
            **{
                column.name: method.measured.get(column.name, not_measured)
                for column in self.measured.all
            },
        }


def _images(model: str, outcomes: Iterable[ImageOutcome]) -> pd.DataFrame:
    """The table ``images`` of a model."""
    lines = []
    for _, sample, status, reason, label_rank, label_score in outcomes:
        boxes = ImageTruth.of(sample).boxes
        masks, ignore = sample.mask.names if sample.mask else ([], "")
        lines.append(
            {
                "model": model,
                "image_id": sample.image_id,
                "path": str(sample.path or ""),
                "height": sample.height,
                "width": sample.width,
                "label": sample.label,
                "blacklisted": sample.blacklisted,
                "n_label_boxes": len(boxes),
                "boxes": boxes.ravel().tolist(),
                "masks": masks,
                "ignore": ignore,
                "held_out": sample.held_out,
                "status": status.value,
                "reason": reason,
                "label_rank": label_rank,
                "label_score": label_score,
            }
        )
    return pd.DataFrame(lines, columns=IMAGES.names)


def curve_columns(keys: Mapping[str, np.ndarray], scores: Scores) -> dict[str, np.ndarray]:
    """The columns of ``curves``: one line for each row that has a curve, in the rows' order."""
    ordered = scores.in_order()
    return {**{name: keys[name][ordered.curve_rows] for name in CURVE_KEYS.names}, **ordered.curves}


def _maps(keys: Mapping[str, np.ndarray], method: ScoredMethod) -> dict[str, np.ndarray]:
    """The columns of ``maps`` of a method."""
    assert method.maps is not None
    rows, values, scale = method.maps
    n = len(values)
    return {
        **{name: column[rows] for name, column in keys.items()},
        "scale": scale,
        "height": np.full(n, values.shape[1]),
        "width": np.full(n, values.shape[2]),
        "map": np.array([map.tobytes() for map in values], dtype=object),
    }


def _costs(model: str, methods: Iterable[ScoredMethod]) -> pd.DataFrame:
    """The table ``costs`` of a part: the sum over its groups for each method and layer."""
    sums: dict[tuple[str, str], CostLine] = {}
    for scored in methods:
        key = scored.method, scored.layer
        sums[key] = sums[key].plus(scored.cost) if key in sums else scored.cost
    lines = [
        {"model": model, "method": method, "layer": layer, **cost._asdict()}
        for (method, layer), cost in sums.items()
    ]
    return pd.DataFrame(lines, columns=COSTS.names)
