"""Maps, ground truth and batches for tests of scoring, and readers of the scores."""

import numpy as np

from wsol_bench.boxes import largest_component_box
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import place
from wsol_bench.runs.metrics import build_metrics
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.upsampling import upsample

SIZES = [(180, 250), (640, 427), (224, 224), (97, 501)]  # (height, width)


def truth_of(boxes=(), mask=None):
    """The ground truth of an image of class a."""
    return ImageTruth("a", np.array(boxes, np.float64).reshape(-1, 4), mask)


def default_scoring(protocol):
    """The scoring of a protocol with the metrics that it reports by default."""
    return scoring_of(protocol, build_metrics(None, protocol, faithfulness=False))


def image_batch(truths, protocol, placements=None):
    """Images of ``SIZES``, over and over, by default."""
    if placements is None:
        placements = [
            protocol.input.place(*SIZES[index % len(SIZES)]) for index in range(len(truths))
        ]
    ids = tuple(f"i{index}" for index in range(len(truths)))
    return ImageBatch(ids, tuple(truths), tuple(placements))


def row_batch(images, *, image=None, is_label=None):
    """Rows of an image batch: by default the n-th row is for the n-th image's label."""
    image = np.arange(len(images)) if image is None else np.array(image, np.int64)
    n = len(image)
    is_label = np.ones(n, bool) if is_label is None else np.array(is_label)
    wnid = np.where(is_label, "a", "b").astype(object)
    return RowBatch(images, image, np.ones(n, np.int64), wnid, np.full(n, np.nan))


def scored(maps, truths, protocol, *, placements=None, image=None, is_label=None):
    """Scores of maps: by default the n-th map is for the n-th image's label."""
    rows = row_batch(image_batch(truths, protocol, placements), image=image, is_label=is_label)
    return default_scoring(protocol).score_maps(np.asarray(maps, np.float32), rows)


def scored_boxes(boxes, truths, protocol, *, is_label=None, with_curve=None, sizes=SIZES):
    """Scores of boxes without maps, one for each image; boxes of the label may have a curve."""
    placements = [protocol.input.place(*size) for size in sizes[: len(truths)]]
    rows = row_batch(image_batch(truths, protocol, placements), is_label=is_label)
    with_curve = rows.is_label if with_curve is None else np.array(with_curve)
    return default_scoring(protocol).score_boxes(np.array(boxes, float), rows, with_curve)


def boxes_in(scores):
    """The boxes of scores, (n, 4)."""
    return np.column_stack([scores.rows[name] for name in ("x0", "y0", "x1", "y1")])


def boxes_in_input(maps, protocol, size=224):
    """The box of each map, (n, 4), in pixels of a square input of the images' size."""
    maps = np.asarray(maps, np.float32)
    placements = [place(size, size, geometry="squash", size=size)] * len(maps)
    return boxes_in(scored(maps, [truth_of()] * len(maps), protocol, placements=placements))


def peaks_in(scores):
    """The peaks of scores, (n, 2)."""
    return np.column_stack([scores.rows["peak_x"], scores.rows["peak_y"]])


def curves_in(scores, column="hits"):
    """The bytes of a column of curves, by row."""
    return dict(zip(scores.curve_rows.tolist(), scores.curves[column], strict=True))


def hits_in(packed, n_thresholds):
    """A curve's hits as booleans (curves, thresholds), bit by bit."""
    digits = "".join(f"{byte:08b}" for byte in packed)
    width = 8 * -(-n_thresholds // 8)
    rows = [digits[at : at + width] for at in range(0, len(digits), width)]
    assert all(set(row[n_thresholds:]) <= {"0"} for row in rows)
    return np.array([[digit == "1" for digit in row[:n_thresholds]] for row in rows])


def blobs(n, shape=(7, 9), seed=0):
    """Signed maps, as CAM makes them."""
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def some_truths(n, seed=0):
    """Up to three boxes an image, on whole pixels of images of SIZES."""
    random = np.random.default_rng(seed)
    truths = []
    for index in range(n):
        height, width = SIZES[index % len(SIZES)]
        n_boxes = random.integers(1, 4)
        x = np.sort(random.integers(0, width, (n_boxes, 2)), axis=1)
        y = np.sort(random.integers(0, height, (n_boxes, 2)), axis=1)
        boxes = np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)
        truths.append(truth_of(boxes))
    return truths


def truths_near(maps, protocol, seed=0):
    """For each map, the box at one threshold, moved a little, and a second box at random."""
    random = np.random.default_rng(seed)
    truths = []
    for index, large in enumerate(upsample(maps, (224, 224), protocol.map)):
        height, width = SIZES[index % len(SIZES)]
        box = largest_component_box(large, threshold=random.uniform(0.3, 0.7), of="range")
        box += random.integers(-9, 10, 4)
        near = (np.clip(box, 0, 224) * [width, height, width, height] / 224).round()
        truths.append(truth_of(np.stack([near, some_truths(index + 1, seed)[index].boxes[0]])))
    return truths
