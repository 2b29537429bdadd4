"""Commands of a page, run in this process."""

import contextlib
import io
import shlex
import sys
from unittest import mock

import pytest

from wsol_bench.cli import main


def run(line):
    """What a command prints; it must end well."""
    arguments = shlex.split(line)
    assert arguments[0] == "wsol-bench", line
    if arguments[1] == "run":
        arguments += ["--set", "workers=0", "--device", "cpu"]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(sys, "path", [*sys.path]),
        pytest.raises(SystemExit) as end,
    ):
        main()
        sys.exit(0)
    assert not end.value.code, f"{line}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue()
