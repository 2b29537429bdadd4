"""Measure time and memory of the summary and of `wsol-bench analyze` on a large stored run.

    python benchmarks/analysis.py make FOLDER                         under gradcam-2017
    python benchmarks/analysis.py make FOLDER --protocol choe-2020-v2
    python benchmarks/analysis.py make FOLDER --maps                  for benchmarks/page.py
    python benchmarks/analysis.py summary FOLDER
    python benchmarks/analysis.py analyze FOLDER
    python benchmarks/analysis.py start

`make` writes a synthetic run of 50,000 images x 30 methods, as a real run would have written it
(391 parts; a few minutes, 0.5 GB; 2 GB under a sweep). `--maps` adds random maps of 7 x 7 cells
(1 GB) and, beside the folder, a picture that is that of every image. `summary` and `analyze` read
the run as the commands do, and print CPU seconds, wall seconds and the largest resident memory.
`start` prints the same for a command that needs no network.

Expected: below 1 GB, and below 30 s under a protocol of one threshold.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

N_IMAGES, N_METHODS, PART = 50_000, 30, 128


def make(
    folder: Path, protocol_name: str, n_images: int, n_methods: int, *, maps: bool = False
) -> None:
    """Write the synthetic run."""
    import numpy as np
    from PIL import Image

    from wsol_bench.datasets import Sample
    from wsol_bench.metrics.base import metrics
    from wsol_bench.protocols.load import load_protocol
    from wsol_bench.runs.environment import Environment
    from wsol_bench.runs.experiment_config import load_config
    from wsol_bench.runs.facts import DatasetFacts, MethodFacts, MetricFacts, ModelFacts
    from wsol_bench.runs.finish import finish
    from wsol_bench.runs.folder import RunFolder
    from wsol_bench.runs.identity import Identity
    from wsol_bench.runs.scorer import Scorer
    from wsol_bench.scoring.kinds import default_metrics
    from wsol_bench.scoring.measured_columns import NOTHING_MEASURED

    rng = np.random.default_rng(0)
    protocol = load_protocol(protocol_name)
    names = [f"method_{number:02d}" for number in range(n_methods)]
    config = load_config(
        {"name": "synthetic", "dataset": "imagenet", "protocol": protocol_name,
         "models": ["resnet50"], "methods": ["grad_cam"]}
    )  # fmt: skip
    n_parts = -(-n_images // PART)
    identity = Identity(
        config=config.model_dump(mode="json", exclude={"workers", "strict", "max_failed"}),
        protocol=protocol,
        protocol_hash=protocol.hash,
        dataset=DatasetFacts(name="synthetic", n_images=n_images, fingerprint="0", findings={}),
        models={"resnet50": ModelFacts(layers=("layer4",))},
        methods={name: MethodFacts(source="0", paper="", scope="layer") for name in names},
        sources={},
        metrics={
            name: MetricFacts.of(metrics.get(name), "0") for name in default_metrics(protocol)
        },
        selected_on=None,
        environment=Environment.here(),
        n_parts=n_parts,
    )
    import pandas as pd

    picture = Path("x.JPEG")
    if maps:
        picture = folder.with_suffix(".JPEG").resolve()
        noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((500, 375)).save(picture)
    classes = [f"n{number:08d}" for number in range(1000)]
    table = pd.DataFrame({"wnid": classes, "words": classes, "ilsvrc_id": range(1, 1001)})
    # One image in so many ways is enough: what is read is rows, not how they came about.
    with RunFolder.writing(folder, identity, config.model_dump(mode="json"), table) as run:
        scorer = Scorer("resnet50", protocol, run.scoring, NOTHING_MEASURED, strict=False)
        run.begin_session(engine="synthetic")
        for number in range(n_parts):
            first = number * PART
            samples = []
            for index in range(first, min(first + PART, n_images)):
                x0, y0 = rng.uniform(0, 200, 2)
                x1, y1 = x0 + rng.uniform(50, 300), y0 + rng.uniform(50, 175)
                label = classes[int(rng.integers(1000))]
                samples.append(
                    Sample(f"ILSVRC2012_val_{index + 1:08d}", picture, 375, 500, label,
                           np.array([[x0, y0, min(x1, 500), min(y1, 375)]]), (label,),
                           blacklisted=bool(rng.random() < 0.035))
                )  # fmt: skip
            group = _group(samples, names, run.scoring, classes, rng)
            if maps:
                group = _with_maps(group, rng)
            run.write_part(number, scorer.tables([], [group]))
        run.end_session(n_parts)
        finish(run)


def _group(samples, names, scoring, classes, rng):  # type: ignore[no-untyped-def]
    """The random scores of all methods on the images of a part."""
    import numpy as np

    from wsol_bench.datasets.ground_truth import ImageTruth
    from wsol_bench.geometry import place
    from wsol_bench.runs.schema import ImageStatus
    from wsol_bench.runs.scored_batches import CostLine, ImageOutcome, ScoredGroup, ScoredMethod
    from wsol_bench.scoring.batches import ImageBatch, RowBatch

    n = len(samples)
    images = ImageBatch(
        tuple(sample.image_id for sample in samples),
        tuple(map(ImageTruth.of, samples)),
        tuple(place(375, 500, geometry="squash", size=224) for _ in samples),
    )
    own_rank = np.minimum(rng.geometric(0.7, n), 12)
    image, rank, label = [], [], []
    for index, sample in enumerate(samples):
        drawn = [classes[one] for one in rng.choice(1000, 6, replace=False)]
        guesses = [one for one in drawn if one != sample.label][:5]
        ranks = [1, 2, 3, 4, 5]
        if own_rank[index] <= 5:
            guesses[own_rank[index] - 1] = sample.label
        else:
            guesses.append(sample.label)
            ranks.append(int(own_rank[index]))
        image += [index] * len(guesses)
        rank += ranks
        label += guesses
    rows = RowBatch(
        images, np.array(image), np.array(rank), np.array(label, dtype=object),
        rng.random(len(image)),
    )  # fmt: skip
    methods = []
    for name in names:
        columns = {
            column: rng.random(len(rows)) * (375 if column in ("x1", "y1") else 1)
            for column in scoring.not_applicable(len(rows)).rows
        }
        for column in ("pointing_game", "pointing_game_15px"):
            if column in columns:
                columns[column] = np.where(rows.is_label, rng.random(len(rows)) < 0.6, np.nan)
        curve_rows = np.flatnonzero(rows.is_label) if scoring.curve_columns else ()
        curves = {int(row): {"hits": _hits(rng)} for row in curve_rows}
        boxes = np.column_stack([columns[corner] for corner in ("x0", "y0", "x1", "y1")])
        scores = scoring.scores_of(scoring.status_of_maps(boxes), boxes, columns, curves)
        cost = CostLine(n, n, n * 6, 0, 0.01 * n)
        methods.append(ScoredMethod(name, "layer4", rows, scores, cost))
    outcomes = [
        ImageOutcome(index, sample, ImageStatus.EVALUATED, "", int(own_rank[index]), 0.5)
        for index, sample in enumerate(samples)
    ]
    return ScoredGroup(outcomes, methods)


def _with_maps(group, rng):  # type: ignore[no-untyped-def]
    """The same scores, with random maps of 7 x 7 cells."""
    from dataclasses import replace

    import numpy as np

    from wsol_bench.runs.scored_batches import StoredMaps

    def of(method):  # type: ignore[no-untyped-def]
        values = rng.random((len(method.rows), 7, 7))
        values /= values.max((1, 2), keepdims=True)
        return replace(method, maps=StoredMaps(values.astype("<f2"), np.ones(len(values))))

    return group._replace(methods=[of(method) for method in group.methods])


def _hits(rng) -> bytes:  # type: ignore[no-untyped-def]
    """Six curves of 1000 thresholds; each is a hit within one random interval."""
    import numpy as np

    thresholds = np.arange(1000)
    bits = []
    for _ in range(6):
        low, high = np.sort(rng.integers(0, 1000, 2))
        bits.append(np.packbits((thresholds >= low) & (thresholds < high)).tobytes())
    return b"".join(bits)


def measure(code: str) -> None:
    """Run code in a process of its own; print its time and memory."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"| {used.ru_utime + used.ru_stime:.1f} | {wall:.1f} | {used.ru_maxrss / 1024:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["make", "summary", "analyze", "start"], help="Step to carry out."
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("synthetic"), help="Folder of the run."
    )
    parser.add_argument("--protocol", default="gradcam-2017", help="Protocol of the run.")
    parser.add_argument("--images", type=int, default=N_IMAGES, help="Number of images.")
    parser.add_argument("--methods", type=int, default=N_METHODS, help="Number of methods.")
    parser.add_argument("--maps", action="store_true", help="Give the run maps and a picture.")
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, given.protocol, given.images, given.methods, maps=given.maps)
        return
    print("| CPU s | wall s | largest resident memory, MiB |\n| --- | --- | --- |")
    folder = f"RunFolder(Path({str(given.folder)!r}))"
    imports = "from pathlib import Path; from wsol_bench.runs.folder import RunFolder\n"
    if given.what == "summary":
        measure(
            f"{imports}from wsol_bench.runs.results import summarize_run\nsummarize_run({folder})"
        )
    elif given.what == "analyze":
        measure(f"{imports}from wsol_bench.report.analysis import analyze\nanalyze([{folder}])")
    else:
        measure(
            "import sys; sys.argv[1:] = ['list', 'methods']\n"
            "from wsol_bench.cli.program import app; app(standalone_mode=False)"
        )


if __name__ == "__main__":
    main()
