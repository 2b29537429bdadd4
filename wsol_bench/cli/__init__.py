"""The command line: ``program`` lists the commands, and each group of commands is a module.

The commands import what they need when they are called, so that ``--help`` is instant.
"""

from wsol_bench.cli.entry import main

__all__ = ["main"]
