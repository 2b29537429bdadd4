"""Time runs of other settings; the commands ``options`` and ``auto`` of ``pipeline.py``."""

import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import wsol_bench
from wsol_bench.runs.engines.local import LocalEngine

GOAL_AUTO = 1.05
AUTO_MODELS = ("mobilenet_v2", "resnet50", "vgg16", "timm/deit_tiny_patch16_224")
BATCH_SIZES, WORKERS = (1, 2, 4, 8, 16, 32), (0, 1, 2, 4)
BEFORE = {"batch_size": 16, "workers": 4, "channels_last": True}  # the defaults before auto
# The images of a run, the settings that are left after one look at each, and their repetitions.
IMAGES, FINALISTS, REPEATS = 64, 5, 5
# The repetitions of an option.
TRIALS = 3

Settings = dict[str, Any]
Real = Callable[..., dict[str, Any]]
Seconds = Callable[[dict[str, Any]], float]

OPTIONS: dict[str, dict[str, Any]] = {
    "workers: 0": {"workers": 0},
    "workers: 1": {"workers": 1},
    "workers: 2": {"workers": 2},
    "workers: 8": {"workers": 8},
    "batch_size: 4": {"batch_size": 4},
    "batch_size: 64": {"batch_size": 64},
    "channels_last: false": {"channels_last": False},
    "all three auto": dict.fromkeys(BEFORE, "auto"),
    "precision: bf16": {"precision": "bf16"},
    "compile: true": {"compile": True},
}


def shown(settings: Settings) -> str:
    """Settings in a cell of a table."""
    order = "last" if settings["channels_last"] else "first"
    return f"{settings['batch_size']}, {settings['workers']}, {order}"


def chosen(experiment: dict[str, Any]) -> Settings:
    """What auto chooses here."""
    with tempfile.TemporaryDirectory() as folder:
        content = {**experiment, "limit": 4}
        results = wsol_bench.run(content, out=Path(folder) / "run", engine=LocalEngine())
        [session] = results.folder.manifest.sessions
    [settings] = session.settings.values()
    return settings.model_dump(include=set(BEFORE))


def options(real: Real, seconds: Seconds) -> Iterator[str]:
    """A table of the options; see ``beside_the_grid``."""
    yield "| option | mobilenet_v2 | resnet50 |"
    yield "|---|---|---|"
    columns = []
    for model, limit in (("mobilenet_v2", 256), ("resnet50", 128)):
        experiment = real(model, limit=limit, **BEFORE)
        seconds({**experiment, "limit": 32})
        column = {}
        for name, change in OPTIONS.items():
            ratios = []
            for _ in range(TRIALS):
                default = seconds(experiment)
                ratios.append(seconds({**experiment, **change}) / default)
            column[name] = statistics.median(ratios)
            print(model, name, column[name], file=sys.stderr)
        columns.append(column)
    for name in OPTIONS:
        yield f"| `{name}` | {columns[0][name]:.2f} | {columns[1][name]:.2f} |"


def beside_the_grid(real: Real, seconds: Seconds) -> Iterator[str]:
    """Tables of auto beside the grid.

    Each setting of the grid runs once, between two runs of auto: its ratio is that to their mean.
    The best of them, and the defaults before auto, then run beside auto in each repetition; ratios
    are taken within it. The best is the one of the least median, so that chance is on its side.

    Args:
        real: makes the experiment of a network.
        seconds: the wall time of a run.
    """
    grid = [
        {"batch_size": batch_size, "workers": workers, "channels_last": channels_last}
        for batch_size, workers, channels_last in itertools.product(
            BATCH_SIZES, WORKERS, (True, False)
        )
    ]
    looks: dict[str, dict[str, float]] = {}
    seconds({**real("mobilenet_v2"), "limit": 32})  # kernels compile, files come into the cache
    yield (
        "| network | auto chooses | auto, s | best of the grid | its time / auto's (median) | all "
        "| auto / best | goal | auto / defaults before |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for model in AUTO_MODELS:
        experiment = real(model, limit=IMAGES)
        choice = chosen(experiment)
        first = looks[model] = {}
        previous = seconds(experiment)
        for settings in grid:
            time = seconds({**experiment, **settings})
            following = seconds(experiment)
            first[shown(settings)] = 2 * time / (previous + following)
            previous = following
            print(model, shown(settings), f"{first[shown(settings)]:.3f}", file=sys.stderr)
        best_first = sorted(grid, key=lambda settings: first[shown(settings)])
        finalists = [one for one in best_first if one not in (choice, BEFORE)][:FINALISTS]
        autos: list[float] = []
        ratios: dict[str, list[float]] = {shown(one): [] for one in (*finalists, BEFORE)}
        for repeat in range(REPEATS):
            auto = seconds(experiment)
            autos.append(auto)
            # In turn from both ends, so that none always comes first.
            order = [*finalists, BEFORE][:: 1 if repeat % 2 else -1]
            for settings in order:
                ratios[shown(settings)].append(seconds({**experiment, **settings}) / auto)
        medians = {name: statistics.median(of) for name, of in ratios.items()}
        best = min(medians, key=lambda name: medians[name])
        listed = ", ".join(f"{ratio:.3f}" for ratio in sorted(ratios[best]))
        yield (
            f"| {model} | {shown(choice)} | {statistics.median(autos):.2f} | {best} "
            f"| {medians[best]:.3f} | {listed} | {1 / min(1.0, medians[best]):.3f} "
            f"| ≤ {GOAL_AUTO} | {1 / medians[shown(BEFORE)]:.3f} |"
        )
    yield ""
    yield "Settings are batch_size, workers, channels. The first look: time / auto's, one run each."
    yield ""
    yield f"| batch_size, workers, channels | {' | '.join(looks)} |"
    yield "|---" * (1 + len(looks)) + "|"
    for settings in grid:
        cells = " | ".join(f"{first[shown(settings)]:.2f}" for first in looks.values())
        yield f"| {shown(settings)} | {cells} |"
