"""Measure what boxes cost: all thresholds, one threshold, and the scores of a prediction file.

    python benchmarks/boxes.py --markdown results/benchmark_boxes.md

Needs the extra ``test`` (OpenCV, scikit-image). Runtime: two to ten minutes on one core.

Everything runs on one thread, on 224 x 224 float32 maps of four kinds: Gaussian noise of 7 x 7,
14 x 14 and 28 x 28 cells, rectified and upsampled bilinearly as CAMs are, and white noise, the
worst case. Each repetition times all programs on all maps in turn. Ratios are taken within a
repetition, so that a slow phase of the machine cancels; the median ratio is reported.

- All thresholds: ``threshold_sweep`` at 1000 thresholds, compared with a loop that cuts the map at
  each threshold and takes the largest of OpenCV's contours (as wsolevaluation does, on 8-bit maps),
  and with the same loop over the 256 levels that an 8-bit map has. The sweep is exact on floats.
- One threshold: ``largest_components``, compared with OpenCV's connectedComponentsWithStats on the
  cut map, and with scikit-image's label and regionprops.
- A file: reading and scoring 5 guesses for each of 50,000 images, after start-up, against random
  ground truth.

Expected: the sweep is at least 10 times as fast as the loop; one threshold takes at most 1.2 times
the faster of the others; a file takes less than 5 s.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage.measure import label, regionprops

from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.boxes.threshold_sweep import sweep_best_iou, threshold_sweep
from wsol_bench.datasets import Dataset
from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.upsampling import upsample

SIDE = 224
GRID = np.arange(0, 1, 0.001)
LEVELS = np.arange(256) / 256
TRUTH = np.array([[20.0, 30.0, 150.0, 170.0], [100.0, 90.0, 200.0, 220.0]])
N_IMAGES, N_CLASSES = 50_000, 1000


def maps_of(kind: str, n: int) -> np.ndarray:
    """Maps of a kind, which is the side of the low resolution or ``noise``."""
    rng = np.random.default_rng(0)
    if kind == "noise":
        return rng.random((n, SIDE, SIDE), np.float32)
    low = rng.normal(size=(n, int(kind), int(kind))).astype(np.float32)
    return upsample(low, (SIDE, SIDE), load_protocol("gradcam-2017").map)


def contour_loop(map: np.ndarray, thresholds: np.ndarray) -> list[tuple[int, int, int, int]]:
    """The largest contour's box at each threshold, one after the other, as wsolevaluation does."""
    low = map.min()
    gray = ((map - low) / (map.max() - low) * 255).astype(np.uint8)
    highest = gray.max()
    boxes = []
    for threshold in thresholds:
        _, binary = cv2.threshold(gray, int(threshold * highest), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if contours:
            boxes.append(cv2.boundingRect(max(contours, key=cv2.contourArea)))
    return boxes


def opencv_component(map: np.ndarray) -> np.ndarray | None:
    """The box of the largest component of one map, by OpenCV."""
    mask = (map >= 0.15 * map.max()).astype(np.uint8)
    n, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if n == 1:
        return None
    x, y, width, height, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    return np.array([x, y, x + width, y + height], np.float64)


def skimage_component(map: np.ndarray) -> np.ndarray | None:
    """The box of the largest component of one map, by scikit-image."""
    regions = regionprops(label(map >= 0.15 * map.max(), connectivity=2))
    if not regions:
        return None
    y0, x0, y1, x1 = max(regions, key=lambda region: region.num_pixels).bbox
    return np.array([x0, y0, x1, y1], np.float64)


def our_components(maps: np.ndarray) -> np.ndarray:
    """The boxes of the largest components of all maps in one call, levels included."""
    highest = maps.reshape(len(maps), -1).max(axis=1).astype(np.float64)
    return largest_components(maps, 0.15 * highest)


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    contestants: dict[str, Callable[[np.ndarray], object]], kind: str, n: int, repeats: int
) -> dict[str, tuple[float, float]]:
    """Median milliseconds for a map, and the median ratio to the time of the first program."""
    maps = maps_of(kind, n)
    for work in contestants.values():
        work(maps)
    rounds = [
        {name: seconds(lambda work=work: work(maps)) for name, work in contestants.items()}
        for _ in range(repeats)
    ]
    first = next(iter(contestants))
    return {
        name: (
            1000 * statistics.median(one[name] for one in rounds) / n,
            statistics.median(one[name] / one[first] for one in rounds),
        )
        for name in contestants
    }


def each(work: Callable[[np.ndarray], object]) -> Callable[[np.ndarray], object]:
    """A function that does the work on every map."""
    return lambda maps: [work(map) for map in maps]


SWEEPS = {
    "threshold_sweep, 1000 thresholds": each(lambda map: threshold_sweep(map, GRID)),
    "sweep_best_iou, all components": each(
        lambda map: sweep_best_iou(map, GRID, TRUTH, components="all")
    ),
    "contour_sweep, largest (choe-2020-v1)": each(lambda map: contour_sweep(map, GRID)),
    "contour_sweep, all (choe-2020-v2)": each(lambda map: contour_sweep(map, GRID, every=True)),
    "loop of OpenCV contours, 1000 thresholds": each(lambda map: contour_loop(map, GRID)),
    "loop of OpenCV contours, 256 levels": each(lambda map: contour_loop(map, LEVELS)),
}
SINGLES = {
    "largest_components": our_components,
    "OpenCV connectedComponentsWithStats": each(opencv_component),
    "scikit-image label, regionprops": each(skimage_component),
}


def made_up(folder: Path) -> tuple[Dataset, Path]:
    """Random ground truth of 50,000 images, and a Kaggle file of five guesses for each."""
    rng = np.random.default_rng(0)
    wnids = np.array([f"n{number:08d}" for number in range(N_CLASSES)], dtype=object)
    corners = np.sort(rng.integers(0, 400, (N_IMAGES, 2, 2)), axis=1)
    corners[:, 1] += 50
    boxes = corners.reshape(-1, 4).astype(np.float64)
    labels = wnids[rng.integers(0, N_CLASSES, N_IMAGES)]
    images = pd.DataFrame(
        {
            "image_id": [f"val_{number:08d}" for number in range(N_IMAGES)],
            "path": "", "height": 500, "width": 500, "label": labels,
            "blacklisted": False, "n_boxes": 1,
        }
    )  # fmt: skip
    classes = pd.DataFrame({"wnid": wnids, "words": wnids, "ilsvrc_id": 0})
    guesses = wnids[rng.integers(0, N_CLASSES, (N_IMAGES, 5))]
    guessed = rng.normal(boxes[:, None], 10, (N_IMAGES, 5, 4)).round(2)
    lines = [
        f"{image_id},"
        + " ".join(f"{c} {a} {b} {d} {e}" for c, (a, b, d, e) in zip(names, corners, strict=True))
        for image_id, names, corners in zip(images["image_id"], guesses, guessed, strict=True)
    ]
    file = folder / "predictions.csv"
    file.write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    return Dataset("made up", images, boxes, labels, classes), file


def score_file() -> float:
    """Wall seconds to read and score the prediction file."""
    with tempfile.TemporaryDirectory() as folder:
        dataset, file = made_up(Path(folder))
        start = time.perf_counter()
        score_predictions(read_predictions(file, dataset), dataset, name="predictions")
        return time.perf_counter() - start


def table(
    contestants: dict[str, Callable[[np.ndarray], object]], n: int, repeats: int
) -> list[str]:
    """A Markdown table of milliseconds for a map, and ratios, by kind of map."""
    kinds = ["7", "14", "28", "noise"]
    measured = {kind: compare(contestants, kind, n, repeats) for kind in kinds}
    titles = [f"{kind} x {kind}" if kind != "noise" else kind for kind in kinds]
    lines = [f"| ms a map (ratio) | {' | '.join(titles)} |", "|---" * 5 + "|"]
    for name in contestants:
        cells = (
            f"{milliseconds:.3f} ({ratio:.2f})"
            for milliseconds, ratio in (measured[kind][name] for kind in kinds)
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="Number of repetitions.")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="Also write the page to a file."
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for map in maps_of("7", 20):  # the same box for all
        ours = our_components(map[None])[0]
        assert np.array_equal(ours, opencv_component(map))
        assert np.array_equal(ours, skimage_component(map))
    page = [
        "# What boxes cost", "",
        "    python benchmarks/boxes.py --markdown results/benchmark_boxes.md", "",
        "## All thresholds", "", *table(SWEEPS, 5, arguments.repeats), "",
        "Milliseconds of CPU time a 224 x 224 map, in brackets the time over `threshold_sweep`'s.",
        "The loop has at most 256 distinct levels, those of an 8-bit map; the sweep is exact on",
        "floats.", "", "## One threshold", "", *table(SINGLES, 50, arguments.repeats), "",
        "In brackets the time over `largest_components`'s.", "",
        "## A prediction file", "",
        f"Reading and scoring 5 guesses of {N_IMAGES:,} images: {score_file():.1f} s after "
        "start-up.",
        "",
        f"One thread; Python {platform.python_version()}, numpy {np.__version__}, OpenCV "
        f"{cv2.__version__}.",
    ]  # fmt: skip
    text = "\n".join(page) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
