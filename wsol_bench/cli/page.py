"""Commands that show runs as a page: report, view."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import reading, utf8_path
from wsol_bench.common.files import require_writable
from wsol_bench.errors import ConfigError

if TYPE_CHECKING:
    from wsol_bench.runs.stored_run import StoredRun

__all__ = ["report", "view", "write_and_say"]

RunFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders of finished runs.", show_default=False),
]
OpenBrowser = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def report(
    run_folders: RunFolders,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The HTML file. By default RUN/report.html of a single run.",
            callback=utf8_path,
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Largest number of images on the page; they are drawn so that every method's hits "
            "and misses are among them.",
        ),
    ] = 500,
    seed: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Seed of the sample of images, and of intervals."),
    ] = 0,
    open_browser: OpenBrowser = False,
) -> None:
    """Write a page of runs: summary, charts, images with maps.

    Reads the stored results of one or several finished runs, and their image files. Writes one HTML
    file, which holds everything that it shows: it opens in any browser, without a network, and can
    be sent to others. wsol-bench view shows all images of runs of any size.
    """
    if out is None and len(run_folders) > 1:
        raise ConfigError(
            f"--out: expected the HTML file of a report of {len(run_folders)} runs, found none; "
            "add --out report.html"
        )
    reading(*run_folders)
    from wsol_bench.runs.stored_run import REPORT, StoredRun

    runs = [StoredRun(path) for path in run_folders]
    file = out or run_folders[0] / REPORT
    require_writable(file)
    write_and_say(runs, file, n_images=images, seed=seed)
    if open_browser:
        import webbrowser

        webbrowser.open(file.resolve().as_uri())


def view(
    run_folders: RunFolders,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P",
            min=1024,
            max=65535,
            help="Port of the address. By default 8117, or a free one if that is taken.",
        ),
    ] = None,
    open_browser: OpenBrowser = False,
) -> None:
    """Show runs in a browser: the page of report, with all images.

    Reads the stored results of one or several finished runs, and their image files. Prints the
    address of the page, which holds a secret and leads there from this machine only, until Ctrl-C.
    Writes nothing. The page of another machine is seen through a tunnel: ssh -L 8117:127.0.0.1:8117
    MACHINE.
    """
    reading(*run_folders)
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "wsol-bench view needs starlette and uvicorn: pip install 'wsol-bench[view]'"
        ) from error
    from wsol_bench.report.page.server import Served, serve
    from wsol_bench.runs.stored_run import StoredRun

    def ready(page: Served) -> None:
        print(page.address, flush=True)
        print_message("Ctrl-C ends the server.")
        if open_browser:
            import threading
            import webbrowser

            # A browser of the terminal returns only when it is closed.
            threading.Thread(target=webbrowser.open, args=[page.once], daemon=True).start()

    serve([StoredRun(path) for path in run_folders], port=port, ready=ready)


def write_and_say(runs: "Sequence[StoredRun]", file: Path, **options: int) -> None:
    """Write the page of runs as one file, and say where it is and what it lacks."""
    from wsol_bench.report.page.file import write_report

    written = write_report(runs, file, **options)
    if written.without_picture:
        print_notice(
            f"{len(written.without_picture)} of {written.n_images} images have no picture; the "
            f"first: {written.without_picture[0]}"
        )
    print_message(f"Report: {file}")
