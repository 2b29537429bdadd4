"""Maps with numbers by quantus, and the script that wrote tests/reference/quantus.json.

    python -m venv quantus-venv
    quantus-venv/bin/pip install quantus==0.6.0 scikit-learn==1.9.1
    quantus-venv/bin/python tests/support/quantus_reference.py

The tests read the numbers and draw the maps again, so they need neither package. The maps are made
from numpy.random.RandomState, whose numbers never change between versions, by additions and
products alone, which every machine rounds alike; a checksum of each map stands beside its numbers.
"""

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

STORED = Path(__file__).resolve().parent.parent / "reference/quantus.json"
# (height, width), half-open box (x0, y0, x1, y1) of the object, seed.
SCENES = [
    ((36, 40), (4, 6, 15, 20), 0),
    ((48, 40), (10, 0, 40, 30), 1),
    ((60, 60), (29, 29, 31, 31), 2),
    ((56, 72), (8, 4, 70, 52), 3),
]
KINDS = ["noise", "blob", "signed", "relu", "cells"]
# No two pixels have one value; the pixels of the others are tied in part.
DISTINCT = {"noise", "blob", "signed"}


class Case(NamedTuple):
    name: str
    values: np.ndarray
    truth: np.ndarray
    distinct: bool


def cases():
    for (height, width), (x0, y0, x1, y1), seed in SCENES:
        truth = np.zeros((height, width), np.uint8)
        truth[y0:y1, x0:x1] = 1
        for kind in KINDS:
            values = draw(kind, truth.shape, ((x0 + x1) / 2, (y0 + y1) / 2), seed)
            yield Case(f"{kind} {height}x{width} {seed}", values, truth, kind in DISTINCT)


def draw(kind, shape, center, seed):
    """A map in [0, 1], or with negative values (signed): noise, or a blob beside the object."""
    random = np.random.RandomState(seed)
    height, width = shape
    noise = (random.permutation(height * width) + 1.0).reshape(shape) / (height * width)
    if kind == "noise":
        return noise.astype(np.float32)
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = (x - center[0] - 0.1 * width) / width, (y - center[1]) / height
    # Steps of 1/64, and the noise between them, which keeps all pixels apart in float32 too.
    blob = (np.floor(63 * (1.0 - 0.5 * (x * x + y * y))) + noise) / 64
    if kind == "signed":
        blob = blob - 0.85
    elif kind == "relu":
        blob = np.maximum(blob - 0.9, 0.0)
    elif kind == "cells":
        blob = np.repeat(np.repeat(blob[::8, ::8], 8, axis=0), 8, axis=1)[:height, :width]
    return blob.astype(np.float32)


def checksum(case):
    return zlib.crc32(case.values.tobytes() + case.truth.tobytes())


def stored():
    """The cases with quantus' stored numbers, after a check that the maps are still the same."""
    answers = json.loads(STORED.read_text())["cases"]
    drawn = list(cases())
    assert [case.name for case in drawn] == list(answers)
    for case in drawn:
        assert checksum(case) == answers[case.name]["crc32"], f"another map: {case.name}"
    return [(case, answers[case.name]) for case in drawn]


def main():
    import quantus
    import sklearn
    from sklearn.metrics import roc_auc_score

    options = {"abs": False, "normalise": False, "disable_warnings": True}
    metrics = {
        "relevance_rank_accuracy": quantus.RelevanceRankAccuracy(**options),
        "relevance_mass_accuracy": quantus.RelevanceMassAccuracy(**options),
        "top_100_intersection": quantus.TopKIntersection(k=100, **options),
        "top_1000_intersection": quantus.TopKIntersection(**options),
        "auc": quantus.AUC(**options),
    }

    def ask(metric, values, truth):
        [answer] = metric(
            model=None,
            x_batch=np.zeros((1, 3, *values.shape), np.float32),
            y_batch=np.zeros(1, np.int64),
            a_batch=values.astype(np.float64)[None, None],
            s_batch=truth[None, None],
            channel_first=True,
        )
        return float(answer)

    answers = {}
    for case in cases():
        distinct = len(np.unique(case.values)) == case.values.size
        assert distinct == case.distinct, case.name
        answers[case.name] = {
            "crc32": checksum(case),
            **{name: ask(metric, case.values, case.truth) for name, metric in metrics.items()},
            "relevance_mass_accuracy of max(values, 0)": ask(
                metrics["relevance_mass_accuracy"], np.maximum(case.values, 0), case.truth
            ),
            "roc_auc_score": float(roc_auc_score(case.truth.ravel(), case.values.ravel())),
        }
    header = {
        "source": f"quantus {quantus.__version__}; roc_auc_score: scikit-learn "
        f"{sklearn.__version__}; numpy {np.__version__}",
        "call": "Metric(abs=False, normalise=False)(model=None, x_batch=zeros, y_batch=[0], "
        "a_batch=float64 values, s_batch=truth): RelevanceRankAccuracy, RelevanceMassAccuracy, "
        "TopKIntersection(k=100), TopKIntersection() with its default of k=1000, AUC",
        "maps": "cases() of tests/support/quantus_reference.py, from numpy.random.RandomState",
        "made_by": "tests/support/quantus_reference.py, whose first lines are the commands",
    }
    STORED.write_text(json.dumps({**header, "cases": answers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
