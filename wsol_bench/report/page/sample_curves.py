"""Accuracy over the threshold on some images, for runs that took one box of each map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from wsol_bench.protocols.model import BoxSweepProtocol, OneBoxProtocol, Protocol
from wsol_bench.protocols.sections import Sweep, SweepBoxSection, SweepScoring
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details, LabelMap
from wsol_bench.scoring.box_sweep import BoxSweep

__all__ = ["SAMPLED", "SampleCurves", "curves_of_sample"]

# The number of these curves.
SAMPLED = "box_acc"

_STEP = 0.005


class SampleCurves:
    """Counts, for each line and threshold, the images whose label's box is a hit.

    A run under one threshold keeps no curve over thresholds. So the boxes of some images' maps are
    taken at every threshold, by the run's own rule.

    Args:
        collection: the runs.
        images: for each model the positions of the images that count. They must be drawn without
            regard to their outcomes, or else the curves would be those of easier or harder images.
    """

    def __init__(self, collection: Collection, images: Sequence[Int64[np.ndarray, "..."]]) -> None:
        self._collection = collection
        self._images = [set(of_model.tolist()) for of_model in images]
        self._sweeps = [_swept(run.identity.protocol) for run in collection.runs]
        self._hits: dict[int, list[np.ndarray]] = {}

    def add(self, image: int, map: LabelMap) -> None:
        """Count an image of a line, if it is one of the images and the line's errors count it."""
        line = self._collection.lines[map.line]
        sweep = self._sweeps[self._collection.models[line.model].run]
        if sweep is None or image not in self._images[line.model] or not line.counted[image]:
            return
        [bits] = sweep.score_maps(map.maps, map.batch).curves["hits"]
        hits = np.unpackbits(np.frombuffer(bits, np.uint8), count=len(sweep.thresholds))
        self._hits.setdefault(map.line, []).append(hits)

    def charts(self) -> list[dict[str, Any]]:
        """A curve for each line that has maps, as ``ThresholdCurve``."""
        curves = []
        for line, hits in sorted(self._hits.items()):
            sweep = self._sweeps[self._collection.models[self._collection.lines[line].model].run]
            assert sweep is not None
            thresholds = sweep.thresholds
            shares = np.mean(hits, axis=0)
            curves.append(
                {
                    "line": line,
                    "number": SAMPLED,
                    "title": "box accuracy",
                    "thresholds": thresholds.round(6).tolist(),
                    "shares": shares.round(6).tolist(),
                    "best": float(thresholds[shares.argmax()]),
                    "selected": None,
                    "of": f"{len(hits):,} images{self._how(line)}",
                }
            )
        return curves

    def _how(self, line: int) -> str:
        """Say how the images of a line were chosen, behind their number; "" for all of them."""
        results = self._collection.lines[line]
        counted = np.flatnonzero(results.counted).tolist()
        return "" if self._images[results.model].issuperset(counted) else ", drawn at random"


def curves_of_sample(
    collection: Collection, details: Details, n_images: int, seed: int
) -> list[dict[str, Any]]:
    """The curves of images that are drawn at random, as ``ThresholdCurve``.

    Args:
        collection: the runs.
        details: reads the images of the runs.
        n_images: the number of images of each model, as far as it has them.
        seed: seed of the draw.

    Raises:
        RunError: a file of a run is missing or damaged.
    """
    if not any(isinstance(run.identity.protocol, OneBoxProtocol) for run in collection.runs):
        return []
    order = np.random.default_rng(seed).permutation(len(collection.images))
    # In one order for all models, so that those of equal images have the same ones drawn.
    of_models = [order[model.evaluated[order]][:n_images] for model in collection.models]
    curves = SampleCurves(collection, of_models)
    for image in np.unique(np.concatenate(of_models)).tolist():  # neighbors are in the same files
        details.of(image, watch=curves.add)
    return curves.charts()


def _swept(protocol: Protocol) -> BoxSweep | None:
    """A protocol of one box over all thresholds; None for others."""
    if not isinstance(protocol, OneBoxProtocol):
        return None
    choices = protocol.box.model_dump(exclude={"threshold"})
    return BoxSweep(
        BoxSweepProtocol(
            name=protocol.name,
            input=protocol.input,
            map=protocol.map,
            box=SweepBoxSection(threshold=Sweep(step=_STEP), **choices),
            scoring=SweepScoring(iou=protocol.scoring.iou, frame=protocol.scoring.frame),
        ),
        (),
    )
