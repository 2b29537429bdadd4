"""Measure data sets in zip and tar files beside the same files in a folder.

    python benchmarks/archives.py DIR --markdown results/benchmark_archives.md

DIR is a root of the imagenet loader with images. The benchmark packs it as docs/datasets.md says,
into a stored and a deflated zip file and a tar file, in a temporary folder, beside a copy of it. Of
each it measures the first load (with an empty cache), the second load, and decoding by
``load_image`` in one process. Rounds take the places in turn, and the table holds the median of the
ratios of a round to the folder's time in the same round. A second table is of archives of 50,000
files of 3,000 bytes: the time until the first file can be read, without and with the list of
members in the cache. All files are in the memory of the system: on a network disk archives gain,
since they are one file. Runtime: five minutes.

Expected: first loads take at most 1.5 times the folder's time, second loads and decoding 1.1 times
(1.3 times from a deflated zip file).
"""

import argparse
import io
import os
import platform
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from wsol_bench.common import archives, data_files
from wsol_bench.datasets import datasets
from wsol_bench.images.decode import load_image

COMMANDS = {
    "stored.zip": ["zip", "-q", "-0", "-r"],
    "deflated.zip": ["zip", "-q", "-r"],
    "plain.tar": ["tar", "cf"],
}
STEPS = ("first load", "second load", "decoding")
ROUNDS, MEMBERS = 7, 50_000


def seconds(work: Callable[[], object]) -> float:
    """The wall time of a call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measured(root: Path, cache: Path) -> tuple[float, ...]:
    """The seconds of each step."""
    shutil.rmtree(cache, ignore_errors=True)
    archives._known.clear()
    load = datasets.get("imagenet")
    first = seconds(lambda: load(root=root))
    archives._known.clear()
    second = seconds(lambda: load(root=root))
    paths = load(root=root).images["path"].tolist()
    return first, second, seconds(lambda: [load_image(Path(path)) for path in paths])


def compared(root: Path, home: Path) -> list[str]:
    """The lines of the first table."""
    places = {"folder": home / "folder"}
    shutil.copytree(root, places["folder"])
    for name, command in COMMANDS.items():
        places[name] = home / name
        subprocess.run([*command, places[name], "."], cwd=places["folder"], check=True)
    rounds = [
        {name: measured(place, home / "cache") for name, place in places.items()}
        for _ in range(ROUNDS + 1)
    ][1:]  # the first one warms up
    lines = []
    for name in places:
        cells = []
        for step in range(len(STEPS)):
            ratios = [one[name][step] / one["folder"][step] for one in rounds]
            time_s = statistics.median(one[name][step] for one in rounds)
            cells.append(f"{statistics.median(ratios):.2f} ({time_s:.2f} s)")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def indexed(home: Path) -> list[str]:
    """The lines of the second table."""
    content = bytes(3000)
    with (
        zipfile.ZipFile(home / "many.zip", "w") as zipped,
        tarfile.open(home / "many.tar", "w") as tar,
    ):
        for number in range(MEMBERS):
            info = tarfile.TarInfo(f"images/ILSVRC2012_val_{number:08}.JPEG")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            zipped.writestr(info.name, content)
    lines = []
    for kind in ("zip", "tar"):
        path = home / f"many.{kind}" / "images" / "ILSVRC2012_val_00000007.JPEG"
        times = []
        for _ in ("listed", "from the cache"):
            archives._known.clear()
            times.append(seconds(lambda path=path: data_files.read_bytes(path)))
        again = seconds(lambda path=path: [data_files.read_bytes(path) for _ in range(1000)])
        lines.append(f"| {kind} | {times[0]:.2f} | {times[1]:.2f} | {again * 1000:.0f} |")
    folder = home / "one"
    folder.write_bytes(content)
    plain = seconds(lambda: [data_files.read_bytes(folder) for _ in range(1000)])
    return [*lines, f"| a plain file | | | {plain * 1000:.0f} |"]


def main() -> None:
    """Pack, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="Root of the imagenet loader, with images.")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="Also write the tables to a file."
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WSOL_BENCH_CACHE"] = f"{folder}/cache"
        first, second = compared(args.root, Path(folder)), indexed(Path(folder))
    text = "\n".join(
        [
            "# Data sets in archives\n",
            f"    python benchmarks/archives.py DIR --markdown {args.markdown}\n",
            f"Times as multiples of the folder's (and in seconds): medians of {ROUNDS} rounds.\n",
            f"| 510 images in | {' | '.join(STEPS)} |",
            "|---|---|---|---|",
            *first,
            f"\nArchives of {MEMBERS:,} files of 3,000 bytes.\n",
            "| kind | first file, s | with the list in the cache, s | each further file, µs |",
            "|---|---|---|---|",
            *second,
            f"\nPython {platform.python_version()}, {os.cpu_count()} cores; all files in memory.\n",
        ]
    )
    print(text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    main()
