"""Measure how long the imagenet loader takes for 50,000 annotations, parsed and from its cache.

    python benchmarks/annotations.py DIR --markdown results/benchmark_annotations.md

DIR is an annotations-only root (docs/datasets.md) of the whole validation set. The benchmark writes
its boxes as 50,000 XML files beside 50,000 blank JPEG files of the official sizes, in a temporary
folder, in Kaggle's layout. It loads both roots with an empty cache and then twice more. Runtime:
half a minute.

Expected: every second load under one second.
"""

import argparse
import io
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from wsol_bench.datasets import Dataset, datasets
from wsol_bench.geometry import to_inclusive

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{:g}</xmin><ymin>{:g}</ymin><xmax>{:g}</xmax>"
    "<ymax>{:g}</ymax></bndbox></object>"
)


@cache
def blank(width: int, height: int) -> bytes:
    """A gray JPEG file."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, format="JPEG")
    return file.getvalue()


def write_kaggle(truth: Dataset, source: Path, root: Path) -> None:
    """Write the ground truth as XML files, each with an image file."""
    folders = [root / "ILSVRC" / kind / "CLS-LOC/val" for kind in ("Data", "Annotations")]
    for folder in folders:
        folder.mkdir(parents=True)
    images, annotations = folders
    for sample in truth:
        objects = "".join(
            OBJECT.format(label, *box)
            for label, box in zip(sample.box_labels, to_inclusive(sample.boxes), strict=True)
        )
        size = f"<width>{sample.width}</width><height>{sample.height}</height>"
        (annotations / f"{sample.image_id}.xml").write_text(
            f"<annotation><size>{size}</size>{objects}</annotation>"
        )
        (images / f"{sample.image_id}.JPEG").write_bytes(blank(sample.width, sample.height))
    mapping = (f"{wnid} {words}\n" for wnid, words in truth.words.items())
    (root / "LOC_synset_mapping.txt").write_text("".join(mapping))
    (root / "LOC_val_solution.csv").write_bytes((source / "LOC_val_solution.csv").read_bytes())


def loads(root: Path) -> Iterator[tuple[str, float, float]]:
    """Wall and CPU seconds of a load with an empty cache, then of two more loads."""
    for which in ("first", "second", "third"):
        wall, cpu = time.perf_counter(), time.process_time()
        datasets.get("imagenet")(root=root)
        yield which, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Write the files, load them, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "root", type=Path, help="Annotations-only root of the whole validation set."
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="Also write the table to a file."
    )
    args = parser.parse_args()
    lines = ["| root | load | wall, s | CPU, s |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WSOL_BENCH_CACHE"] = f"{folder}/unused"
        truth = datasets.get("imagenet")(root=args.root)
        write_kaggle(truth, args.root, Path(folder, "kaggle"))
        os.environ["WSOL_BENCH_CACHE"] = f"{folder}/cache"
        for name, root in (
            ("50,000 XML + JPEG", Path(folder, "kaggle")),
            ("annotations only", args.root),
        ):
            for which, wall, cpu in loads(root):
                lines.append(f"| {name} | {which} | {wall:.2f} | {cpu:.2f} |")
    text = "\n".join(
        [
            "# Loading the annotations of 50,000 images\n",
            f"    python benchmarks/annotations.py DIR --markdown {args.markdown}\n",
            *lines,
            f"\nPython {platform.python_version()}, {os.cpu_count()} cores; imports excluded.\n",
        ]
    )
    print(text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    main()
