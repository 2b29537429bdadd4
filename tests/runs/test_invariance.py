"""Where and how fast a run is carried out moves its boxes by float noise at most."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from timeless import timeless

import wsol_bench
from wsol_bench.geometry import box_iou

# Each test makes a run of shapes or of photographs, or two.
pytestmark = pytest.mark.slow

BOX = ["x0", "y0", "x1", "y1"]
KEYS = ["method", "image_id", "rank"]


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shapes():
    return {"dataset": "shapes", "models": ["shapes_net"], "limit": 60}


@pytest.fixture(scope="module")
def photographs(data_dir):
    """Of many sizes, one of a class that the network does not know."""
    weights = data_dir / "weights/mobilenet_v2_20cls.pth"
    return {
        "dataset": {"name": "imagenet", "root": str(data_dir / "ilsvrc-mini")},
        "models": [{"name": "mobilenet_v2", "weights": str(weights)}],
        "limit": 40,
    }


@pytest.fixture(scope="module", params=["shapes", "photographs"])
def experiment(request):
    return {
        "name": "invariance",
        "methods": ["cam", "grad_cam"],
        "protocol": "gradcam-2017",
        "batch_size": 16,
        "workers": 0,
        "channels_last": True,
        "device": "cpu",
        **request.getfixturevalue(request.param),
    }


@pytest.fixture(scope="module")
def results(experiment):
    with threads(1):
        return wsol_bench.run(experiment)


def aligned(results):
    return results.rows.sort_values(KEYS, ignore_index=True)


def overlaps(ours, theirs):
    """IoU of each box with its other: 1 where both have none, 0 where one has none."""
    boxes, others = (results[BOX].to_numpy(np.float64) for results in (ours, theirs))
    none, no_other = np.isnan(boxes[:, 0]), np.isnan(others[:, 0])
    iou = np.where(none & no_other, 1.0, 0.0)
    iou[~none & ~no_other] = box_iou(boxes[~none & ~no_other], others[~none & ~no_other])
    return iou


@pytest.mark.parametrize(
    ("changes", "n_threads"),
    [
        ({"batch_size": 1}, 1),
        ({"batch_size": 7}, 1),
        ({"batch_size": 7, "part_size": 10}, 1),
        ({"batch_size": 40}, 1),
        ({"workers": 2}, 1),
        ({"channels_last": False}, 1),
        ({}, 2),
        ({"batch_size": 7, "workers": 2, "channels_last": False}, 2),
    ],
    ids=lambda value: str(value),
)
def test_batches_processes_memory_format_and_threads_move_next_to_no_box(
    experiment, results, changes, n_threads
):
    with threads(n_threads):
        again = wsol_bench.run({**experiment, **changes})
    columns = ["image_id", "status", "label_rank", "height", "width"]
    assert again.images[columns].equals(results.images[columns])
    ours, theirs = aligned(again), aligned(results)
    assert len(ours) > 380
    columns = [*KEYS, "class", "status", "protocol_hash"]
    assert ours[columns].equals(theirs[columns])
    assert np.allclose(ours["score"], theirs["score"], rtol=1e-4, atol=1e-7)
    assert (overlaps(ours, theirs) < 0.999).mean() <= 0.005


@pytest.mark.parametrize("changes", [{}, {"batch_size": 7, "workers": 2}], ids=str)
def test_the_same_settings_give_the_same_bits(experiment, results, changes):
    with threads(1):
        once = wsol_bench.run({**experiment, **changes}) if changes else results
        again = wsol_bench.run({**experiment, **changes})
    for name in ("rows", "images", "maps", "summary"):
        pd.testing.assert_frame_equal(
            timeless(getattr(again, name)), timeless(getattr(once, name)), check_exact=True
        )


def test_bfloat16_gives_most_boxes_and_says_so_in_the_protocols_name(experiment, results):
    """Ranks may change places, so boxes are compared by their class."""
    again = wsol_bench.run({**experiment, "precision": "bf16"})
    assert set(again.rows["protocol"]) == {"gradcam-2017+precision=bf16"}
    assert not np.array_equal(again.rows["score"], results.rows["score"])
    pairs = again.rows.merge(
        results.rows, on=["method", "image_id", "class"], suffixes=("", "_other")
    )
    assert len(pairs) > 0.9 * len(results.rows)
    others = pairs[[f"{name}_other" for name in BOX]].set_axis(BOX, axis=1)
    assert (overlaps(pairs, others) > 0.5).mean() > 0.8
