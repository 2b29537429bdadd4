"""The command line, called in this process."""

import contextlib
import io
import shlex
import sys
from unittest import mock

import pytest

from wsol_bench.cli import main

# The columns that every summary has if the protocol makes one box for each map.
SUMMARY_KEYS = [
    "model", "method", "layer", "protocol", "n_images", "n_blacklisted",
    "top1_cls_error", "top5_cls_error", "top1_loc_error", "top5_loc_error",
    "gt_known_loc_error", "top1_loc_error_all", "top5_loc_error_all",
]  # fmt: skip


def cli(*arguments, cwd=".", code=0):
    """Call the entry point with these arguments; return standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["wsol-bench", *map(str, arguments)]
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "path", [*sys.path]),
        pytest.raises(SystemExit) as exit,
    ):
        main()
        sys.exit(0)
    assert (exit.value.code or 0) == code, f"{argv}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue(), err.getvalue()


def run(line):
    """Call a command of a documentation page, which must succeed; return its standard output."""
    program, *arguments = shlex.split(line)
    assert program == "wsol-bench", line
    if arguments[0] == "run":
        arguments += ["--set", "workers=0", "--device", "cpu"]
    return cli(*arguments)[0]
