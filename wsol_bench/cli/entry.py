"""The entry point of the program ``wsol-bench``."""

import sys
from pathlib import Path

from wsol_bench.cli.process import command_process

__all__ = ["main"]


def main() -> None:
    """Run the command that was typed; an error of this package is a message, not a traceback."""
    with command_process():
        # ``my_module:my_cam`` may lie in the working directory, as with ``python -m``; last, so
        # that nothing there hides an installed module.
        sys.path.append(str(Path.cwd()))
        from wsol_bench.cli.program import app

        app()
