"""Measure the time and memory of a whole run, beside decoding and forward passes alone.

    WSOL_BENCH_DATA=<folder of the real data> python benchmarks/pipeline.py cost
    WSOL_BENCH_DATA=<folder of the real data> python benchmarks/pipeline.py options
    WSOL_BENCH_DATA=<folder of the real data> python benchmarks/pipeline.py auto
    python benchmarks/pipeline.py memory
    python benchmarks/pipeline.py ray
    python benchmarks/pipeline.py rescore
    WSOL_BENCH_DATA=<folder of the real data> python benchmarks/pipeline.py pieces

Each command prints a Markdown table; results/benchmark_pipeline.md holds all of them. Runtime on 2
cores: about 4, 12, 40, 2, 4, 1 and 1 minutes.

cost: the wall time of a run (grad_cam + cam, the five best predictions and the label; with a run
folder and a summary), divided by the wall time of decoding and bare forward passes of the same
images, by the same processes, batches and memory format (those that auto chooses). Neither
includes start-up (loading data set and network). Goal: at most 1.25 for mobilenet_v2 and resnet50,
1.3 for squeezenet1_1, which ends in a class convolution. The table also has the ratio of CPU time
(user and system, decoding processes included), which the load of other users changes less.

options: the wall time of a run with one option changed, divided by that with batches of 16, 4
workers and channels last.

auto: the wall time of a run with the settings that auto chooses, divided by that with the best of a
grid over batch_size, workers and channels_last (pipeline_settings.py says how). Goal: at most 1.05.

memory: the largest resident memory of a run on 500 and on 20,000 synthetic images. Goal: within
10% of each other.

ray: images per second of two Ray workers, divided by those of one, with one thread each. Goal: at
least 1.6.

rescore: seconds to score 50,000 stored maps by another protocol. Goal: under a minute.

pieces: the numbers that docs/scaling.md calculates with, for mobilenet_v2 on ilsvrc-mini: the time
of one thread to decode an image and to take a box from a map (beside torch's interpolation and
scikit-image's labels, by which boxes were taken before), and the bytes stored.

Repetitions are interleaved and ratios are taken within each repetition, so that a slow phase of the
machine cancels; the median is reported.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pipeline_settings import beside_the_grid, options
from skimage.measure import label

import wsol_bench
from wsol_bench.images.loading import decoded
from wsol_bench.images.preprocess import normalize
from wsol_bench.runs.engines.local import LocalEngine
from wsol_bench.runs.experiment import Experiment, Part
from wsol_bench.runs.pass_settings import settings_of
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.schema import Tables
from wsol_bench.scoring.base import CHUNK, Chunk
from wsol_bench.scoring.one_box import OneBox
from wsol_bench.scoring.upsampling import upsample

GOAL_COST, GOAL_MEMORY, GOAL_RAY = 1.25, 1.10, 1.6
GOAL_CLASS_CONVOLUTION = 1.3
REPEATS = 3


class Spent(NamedTuple):
    """Seconds by the clock, and CPU seconds of all processes together."""

    wall: float
    cpu: float

    @classmethod
    def until_now(cls) -> "Spent":
        """Measure this process and its children that have ended."""
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages))

    def since(self, before: "Spent") -> "Spent":
        return Spent(self.wall - before.wall, self.cpu - before.cpu)


class Timed:
    """An engine that notes when it begins, and when each part arrives with how many images."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.began = Spent.until_now()
        self.arrivals: list[tuple[float, int]] = []

    def facts(self, experiment: Experiment) -> dict[str, Any]:
        return self._engine.facts(experiment)

    def evaluate(
        self, experiment: Experiment, parts: Sequence[Part], advance: Callable[[int], object]
    ) -> Iterator[tuple[Part, Tables]]:
        self.began = Spent.until_now()
        for part, tables in self._engine.evaluate(experiment, parts, advance):
            self.arrivals.append((time.perf_counter(), len(part.images)))
            yield part, tables


def real(model: str, **changes: Any) -> dict[str, Any]:
    """An experiment on ilsvrc-mini, with 500 images of 20 classes or all 510 images."""
    data = Path(os.environ["WSOL_BENCH_DATA"])
    weights = {
        "mobilenet_v2": str(data / "weights/mobilenet_v2_20cls.pth"),
        "squeezenet1_1": str(data / "weights/squeezenet1_1_imagenet.pth"),
    }
    return {
        "name": "pipeline",
        "dataset": {"name": "imagenet", "root": str(data / "ilsvrc-mini")},
        "models": [{"name": model, "weights": weights.get(model, "random")}],
        "methods": ["grad_cam", "cam"],
        "protocol": "gradcam-2017",
        "device": "cpu",
        **changes,
    }


def synthetic(root: Path, n_images: int) -> Path:
    """A data set of 100 drawn 375 x 500 JPEG files under many names, in the Kaggle layout."""
    folder = root / "ILSVRC/Data/CLS-LOC/val"
    folder.mkdir(parents=True)
    wnids = [f"n{index:08d}" for index in range(10)]
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{w} class {w}\n" for w in wnids))
    rng = np.random.default_rng(0)
    lines = ["ImageId,PredictionString"]
    for index in range(n_images):
        name = f"ILSVRC2012_val_{index:08d}"
        if index < 100:
            coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            coarse.resize((500, 375)).save(folder / f"{name}.JPEG", quality=90)
        else:
            os.link(folder / f"ILSVRC2012_val_{index % 100:08d}.JPEG", folder / f"{name}.JPEG")
        lines.append(f"{name},{wnids[index % 10]} 50 50 400 300 ")
    (root / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")
    return root


def whole_run(experiment: dict[str, Any]) -> Spent:
    """The time of a run from the first image to the finished folder."""
    engine = Timed(LocalEngine())
    with tempfile.TemporaryDirectory() as folder:
        wsol_bench.run(experiment, out=Path(folder) / "run", engine=engine)
        return Spent.until_now().since(engine.began)


def decode_and_forward(content: dict[str, Any]) -> Spent:
    """The time of decoding and bare forward passes, which every benchmark needs."""
    experiment = Experiment.resolve(wsol_bench.load_config(content))
    config, dataset = experiment.config, experiment.dataset
    classifier = experiment.classifier(0)
    module = classifier.module
    rule = experiment.protocol.input
    device = experiment.device()
    settings = settings_of(config, classifier, experiment.map_methods, rule, device)
    if settings.channels_last:
        module = module.to(memory_format=torch.channels_last)
    known = dataset.images["label"].isin(classifier.classes).to_numpy()
    batches = []
    for part in experiment.parts():
        images = [index for index in part.images if known[index]]
        size = settings.batch_size
        batches += [images[start : start + size] for start in range(0, len(images), size)]
    began = Spent.until_now()
    with torch.inference_mode():
        for batch in decoded(dataset, batches, rule, workers=settings.workers):
            for group in batch.groups:
                pixels = group.pixels
                if settings.channels_last:
                    pixels = pixels.contiguous(memory_format=torch.channels_last)
                module(normalize(pixels, classifier.mean, classifier.std))
    return Spent.until_now().since(began)


def cost() -> Iterator[str]:
    yield (
        "| network | images | decode + forward, s | whole run, s | ratio (median) | all | goal "
        "| CPU: decode + forward, s | whole run, s | ratio (median) | all |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for model in ("mobilenet_v2", "resnet50", "squeezenet1_1"):
        experiment = real(model)
        whole_run({**experiment, "limit": 32})  # kernels compile, files come into the cache
        pairs = [(decode_and_forward(experiment), whole_run(experiment)) for _ in range(REPEATS)]
        goal = f"≤ {GOAL_CLASS_CONVOLUTION if model == 'squeezenet1_1' else GOAL_COST}"
        wall = ratio_cells([(bare.wall, whole.wall) for bare, whole in pairs])
        cpu = ratio_cells([(bare.cpu, whole.cpu) for bare, whole in pairs])
        yield f"| {model} | 510 | {wall} | {goal} | {cpu} |"


def ratio_cells(pairs: Sequence[tuple[float, float]]) -> str:
    """Cells of a table: the medians of both times, the median of their ratio, all ratios."""
    ratios = sorted(whole / bare for bare, whole in pairs)
    bare, whole = (statistics.median(times) for times in zip(*pairs, strict=True))
    listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    return f"{bare:.2f} | {whole:.2f} | {statistics.median(ratios):.3f} | {listed}"


def seconds(experiment: dict[str, Any]) -> float:
    """The wall time of a run."""
    return whole_run(experiment).wall


def on_synthetic(root: Path, model: str, **changes: Any) -> dict[str, Any]:
    """An experiment on the synthetic images."""
    return {
        "name": "synthetic",
        "dataset": {"name": "imagenet", "root": str(root)},
        "models": [{"name": model, "weights": "random", "arguments": {"num_classes": 10}}],
        "methods": ["grad_cam", "cam"],
        "protocol": "gradcam-2017",
        "device": "cpu",
        **changes,
    }


def memory_of(root: Path, n_images: int) -> dict[str, float]:
    """The largest resident memory of a run in a process of its own, in MiB."""
    experiment = on_synthetic(root, "shapes_net", limit=n_images, workers=2)
    code = (
        "import json, resource, sys, wsol_bench\n"
        "wsol_bench.run(json.loads(sys.argv[1]), out=sys.argv[2])\n"
        "usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(json.dumps({'run': usage / 1024, 'largest decoder': children / 1024}))"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, json.dumps(experiment), str(Path(folder) / "run")]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory() -> Iterator[str]:
    yield "| process | 500 images, MiB | 20,000 images, MiB | ratio | goal |"
    yield "|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        root = synthetic(Path(folder) / "root", 20_000)
        memory_of(root, 16)  # kernels compile, annotations come into the cache
        few, many = memory_of(root, 500), memory_of(root, 20_000)
    for name, before in few.items():
        ratio = many[name] / before
        yield f"| {name} | {before:.0f} | {many[name]:.0f} | {ratio:.3f} | ≤ {GOAL_MEMORY} |"


def rate_of(experiment: dict[str, Any], n_actors: int) -> float:
    """Images per second, from the arrival of the first part to that of the last."""
    from wsol_bench.runs.engines.ray import RayEngine

    engine = Timed(RayEngine(n_actors=n_actors))
    with tempfile.TemporaryDirectory() as folder:
        wsol_bench.run(experiment, out=Path(folder) / "run", engine=engine)
    (first, _), *later = engine.arrivals
    return sum(n for _, n in later) / (later[-1][0] - first)


def ray() -> Iterator[str]:
    yield "| Ray workers | images/s | ratio (median) | all | goal |"
    yield "|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        root = synthetic(Path(folder) / "root", 1600)
        experiment = on_synthetic(root, "mobilenet_v2", part_size=32, workers=0)
        pairs = [(rate_of(experiment, 1), rate_of(experiment, 2)) for _ in range(REPEATS)]
    ratios = sorted(two / one for one, two in pairs)
    one, two = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield f"| 1 | {one:.1f} | 1 | | |"
    yield f"| 2 | {two:.1f} | {statistics.median(ratios):.2f} | {listed} | ≥ {GOAL_RAY} |"


def rescoring() -> Iterator[str]:
    yield "| maps | seconds | goal |"
    yield "|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        root = synthetic(Path(folder) / "root", 4600)
        run = wsol_bench.run(on_synthetic(root, "shapes_net"), out=Path(folder) / "run")
        n_maps = len(run.maps)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            rescore(run.folder, "zhou-2016")
            times.append(time.perf_counter() - start)
    yield f"| {n_maps} | {statistics.median(times):.1f} | ≤ 60 |"


def pieces() -> Iterator[str]:
    yield "| piece | measured |"
    yield "|---|---|"
    torch.set_num_threads(1)
    experiment = real("mobilenet_v2")
    config = wsol_bench.load_config(experiment)
    dataset, protocol = config.dataset.load(), config.build_protocol()
    start = time.perf_counter()
    n_images = sum(
        len(group.indices)
        for batch in decoded(dataset, [list(range(len(dataset)))], protocol.input, workers=0)
        for group in batch.groups
    )
    each = 1e3 * (time.perf_counter() - start) / n_images
    yield f"| decoding and resizing | {each:.2f} ms an image |"
    with tempfile.TemporaryDirectory() as folder:
        run = wsol_bench.run(experiment, out=Path(folder) / "run")
        counts = {name: len(run.folder.read(name)) for name in ("images", "rows", "maps")}
        sizes = {
            name: sum(file.stat().st_size for file in (run.folder.path / name).iterdir())
            for name in counts
        }
        first = run.maps[:1000]
    stored = np.stack([np.frombuffer(m, np.float16).reshape(7, 7) for m in first["map"]])
    maps = stored.astype(np.float32)
    side = (protocol.input.size, protocol.input.size)

    scoring = OneBox(protocol, ())

    def ours() -> None:
        for start in range(0, len(maps), CHUNK):
            some = maps[start : start + CHUNK]
            large = upsample(some, side, protocol.map)
            scoring.boxes_of_maps(Chunk(np.arange(len(some)), some, large))

    def theirs() -> None:
        large = F.interpolate(torch.from_numpy(maps).relu()[:, None], size=side, mode="bilinear")
        for values in large[:, 0].numpy():
            labels = label(values >= 0.15 * float(values.max()), connectivity=2)
            largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
            np.flatnonzero(largest.any(axis=0)), np.flatnonzero(largest.any(axis=1))

    for name, make in (
        ("a box of a map", ours),
        ("the same by torch and scikit-image", theirs),
    ):
        make()
        start = time.perf_counter()
        make()
        yield f"| {name} | {1e3 * (time.perf_counter() - start) / len(maps):.3f} ms |"
    for name, size in sizes.items():
        yield f"| {name} | {size / counts[name]:.0f} bytes a line |"


TABLES = {
    "cost": cost,
    "options": partial(options, real, seconds),
    "auto": partial(beside_the_grid, real, seconds),
    "memory": memory,
    "ray": ray,
    "rescore": rescoring,
    "pieces": pieces,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES, help="Table to measure.")
    table = parser.parse_args().table
    for line in TABLES[table]():
        print(line, flush=True)
    print(
        f"\ntorch {version('torch')}, numpy {version('numpy')}, Python "
        f"{platform.python_version()}; {os.cpu_count()} CPU cores, {torch.get_num_threads()} "
        f"threads; {time.strftime('%Y-%m-%d')}."
    )


if __name__ == "__main__":
    main()
