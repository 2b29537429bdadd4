"""Commands that show stored runs as a page: view."""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli.process import print_message
from wsol_bench.cli.shared_options import utf8_path
from wsol_bench.errors import ConfigError

__all__ = ["view"]

RunFolderPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN",
        help="Folders of finished runs.",
        show_default=False,
        callback=lambda paths: [utf8_path(path) for path in paths],
    ),
]


def view(
    run_folders: RunFolderPaths,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P",
            min=1024,
            max=65535,
            help="Port of the address. By default 8117, or a free one if that is taken.",
        ),
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open", help="Open the page in this machine's browser.")
    ] = False,
) -> None:
    """Show runs in a browser: all images, with maps and boxes.

    Reads one or several runs, and serves a page with their numbers, charts and images until Ctrl-C.
    Prints the page's address, which holds a secret: it works in browsers of this machine only, or
    at the other end of a tunnel (ssh -L 8117:127.0.0.1:8117). Writes nothing. Images are read where
    they were when the run was made.
    """
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
        if opens:
            # Such a call lasts as long as the browser if that is one of the terminal's.
            threading.Thread(target=webbrowser.open, args=[page.once], daemon=True).start()

    serve([StoredRun(path) for path in run_folders], port=port, ready=ready)
