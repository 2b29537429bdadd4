"""Measure `wsol-bench view` on a large stored run.

    python benchmarks/analysis.py make synthetic --maps
    python benchmarks/page.py view synthetic
    python benchmarks/page.py view synthetic --browser $(which chromium)

`view` starts the server in a process of its own, asks it for the results of all lines and for 300
random images, and prints times and resident memory. With `--browser` it also opens the page in that
browser (needs playwright), sets filters, and prints how long it takes until the page shows their
number of images.

Expected: a filter within 1 s, and the server below 2 GB.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

N_DETAILS, N_PICTURES = 300, 50
# Filters as they stand in the page's address; each leaves another number of images. Where a line is
# named for the first time, its results of all images are loaded.
FILTERS = {
    "an outcome": "line=method_01&outcome=hit",
    "another outcome of the same line": "line=method_01&outcome=background",
    "two other lines: a hits, b misses": "a=method_02&b=method_03",
    "the same two, the other way round": "a=method_03&b=method_02",
    "a class": "class=n00000007",
    "a text": "text=0001",
    "none": "",
}
# The time until the page shows another number of images, and has drawn it, in ms.
TIME_FILTER = """(filter) => new Promise((done) => {
  const count = document.querySelector(".explorer-count");
  const [before, began] = [count.textContent, performance.now()];
  new MutationObserver((_, observer) => {
    if (count.textContent === before) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
  }).observe(count, { childList: true, characterData: true, subtree: true });
  location.hash = `view=images&${filter}`;
})"""
COMMAND = "import sys; from wsol_bench.cli import main; main()"


@contextmanager
def view(run: Path) -> Iterator[tuple[str, int]]:
    """Serve the page of a run; yields its address and the number of the process."""
    arguments = [sys.executable, "-c", COMMAND, "view", str(run)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                sys.exit(process.wait())
            yield address, process.pid
        finally:
            process.terminate()


def memory(process: int) -> str:
    """The resident memory of a process and its largest so far, in MiB (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    now, most = (int(values[key].split()[0]) // 1024 for key in ("VmRSS", "VmHWM"))
    return f"{now} MiB, largest {most} MiB"


def cpu_seconds(process: int) -> float:
    """The seconds that a process has computed (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request) as answer:
        content: bytes = answer.read()
    return content


def timed(act: Callable[[str], object], addresses: list[str]) -> str:
    """Median, 95th percentile and maximum of the time that an act takes, in ms."""
    times = []
    for address in addresses:
        began = time.perf_counter()
        act(address)
        times.append(1000 * (time.perf_counter() - began))
    high = statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]
    return f"{statistics.median(times):.0f}, {high:.0f}, {max(times):.0f}"


def measure_server(address: str, process: int) -> None:
    """Ask for columns, images and pictures as the page does."""
    read(address)
    print(f"| resident memory after the start | {memory(process)} |")
    with urllib.request.urlopen(f"{address}index.json") as answer:
        n_images = len(json.load(answer)["ids"])
    n_lines = 0
    while is_there(f"{address}lines/{n_lines}.json"):
        n_lines += 1
    chosen = random.Random(0).sample(range(n_images), min(n_images, N_DETAILS))
    lines = [f"{address}lines/{line}.json" for line in range(n_lines)]
    images = [f"{address}images/{image}.json" for image in chosen]
    near = [f"{address}images/{image}.json" for image in range(min(n_images, 100))]
    pictures = [f"{address}pictures/{image}.jpg?longest=384" for image in chosen[:N_PICTURES]]
    print(f"| {n_lines} lines: median, 95%, largest ms | {timed(read, lines)} |")
    print(f"| {len(images)} random images | {timed(read, images)} |")
    print(f"| the first {len(near)} images, one by one | {timed(read, near)} |")
    print(f"| {len(pictures)} thumbnails | {timed(read, pictures)} |")
    began, slowest = time.perf_counter(), "-"
    while json.loads(urllib.request.urlopen(f"{address}curves.json").read())["curves"] is None:
        slowest = timed(read, lines)
    took = time.perf_counter() - began
    print(f"| curves over thresholds | {took:.1f} s; the lines meanwhile: {slowest} |")
    print(f"| resident memory after that | {memory(process)} |")


def measure_browser(address: str, program: Path) -> None:
    """Open the page, and set one filter after the other."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        began = time.perf_counter()
        page.goto(f"{address}#view=images")
        page.locator(".explorer-count:not(:has-text('Loading'))").wait_for()
        print(f"| page opened until it shows images | {time.perf_counter() - began:.1f} s |")
        for name, filter in FILTERS.items():
            took = page.evaluate(TIME_FILTER, filter)
            print(f"| filter: {name} | {took:.0f} ms |")
        browser.close()


def is_there(address: str) -> bool:
    try:
        read(address)
    except OSError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["view"], help="Command to measure.")
    parser.add_argument("folder", type=Path, help="Folder of the run.")
    parser.add_argument("--browser", type=Path, help="Chromium in which filters are timed.")
    given = parser.parse_args()
    print("| what | measured |\n| --- | --- |")
    began = time.perf_counter()
    with view(given.folder) as (address, process):
        wall, cpu = time.perf_counter() - began, cpu_seconds(process)
        print(f"| start until the address is printed | {wall:.1f} s, {cpu:.1f} CPU s |")
        measure_server(address, process)
        if given.browser is not None:
            measure_browser(address, given.browser)
            print(f"| resident memory at the end | {memory(process)} |")


if __name__ == "__main__":
    main()
