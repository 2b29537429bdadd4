"""The process of a command: how it ends, whatever it is that ends it.

| what ends it                                     | exit code   | on standard error |
|--------------------------------------------------|-------------|-------------------|
| an error of this package or of the system        | 1           | the error         |
| a command line that is not valid (typer)         | 2           | usage             |
| Ctrl-C (SIGINT)                                  | 130         | a line            |
| a closed terminal (SIGHUP), a request (SIGTERM)  | 129, 143    | a line            |
| nobody reads standard output, as behind ``head`` | 141         | nothing           |

This module imports nothing that takes time, so that there is no moment at which Ctrl-C is a
traceback.
"""

import contextlib
import io
import logging
import os
import re
import select
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from wsol_bench.common.harmless import printable_lines
from wsol_bench.common.progress import Verbosity, verbosity
from wsol_bench.errors import PluginError, WsolBenchError

__all__ = ["command_process", "endings", "print_message", "print_notice", "wrapped_lines"]

_HANDLED = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_FAILED, _NO_READER = 1, 141

# A command up to the end of its line: alone there, or behind a colon, but not within a sentence.
_COMMAND = re.compile(r"(?:^|(?<=:)) *(wsol-bench \S.*)$")

# The signal that ends this process.
_received = [signal.SIGINT]


@contextmanager
def command_process() -> Iterator[None]:
    """Prepare this process for a command, and end it as the table above says."""
    _open_streams()
    with _signals_are_interrupts(), _warnings_are_notices(), endings():
        yield


def print_message(text: str) -> None:
    """Print a line for the person at the keyboard, on standard error, unless it is to be quiet."""
    if verbosity() is not Verbosity.QUIET:
        _print(text)


def print_notice(text: str) -> None:
    """Print a line on standard error that belongs to the result, also if it is to be quiet."""
    _print(text)


def wrapped_lines(line: str, width: int, *, hanging: int = 2) -> list[str]:
    """A line of text in lines that a terminal does not have to break.

    Paths and other long words stay whole. So does a command that ends the line: it gets a line of
    its own if it does not fit, so that it can be copied.

    Args:
        line: a line of printable text; the blanks before it stay.
        width: the number of columns.
        hanging: the blanks before each further line, in addition.
    """
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + hanging)
    command = _COMMAND.search(line)
    prose = line if command is None else line[: command.start(1)]
    if not prose.strip():
        return [line]
    lines = textwrap.wrap(
        prose, max(width, 20), subsequent_indent=indent, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
    return lines if command is None else [*lines, f"{indent}{command[1]}"]


def _print(text: str) -> None:
    """Print a line on standard error, if it can be written to; in a log it stays one line."""
    if sys.stderr is None:  # print would take standard output
        return
    lines = printable_lines(text).split("\n")
    with contextlib.suppress(OSError):
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns
            lines = [part for line in lines for part in wrapped_lines(line, width)]
        print("\n".join(lines), file=sys.stderr, flush=True)


@contextmanager
def endings() -> Iterator[None]:
    """End this process as the table above says, if the command inside is ended by an exception.

    A KeyboardInterrupt may have a sentence on how to go on.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        advice = f" {error}" if str(error) else ""
        _print(f"Interrupted.{advice}")
        _end(128 + _received[0])
    except (WsolBenchError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader(sys.stdout):
            _end(_NO_READER)
        if verbosity() is Verbosity.VERBOSE:
            _print(traceback.format_exc().rstrip("\n"))
        _print(f"Error: {error}")
        if isinstance(error, PluginError) and error.__cause__ and verbosity() < Verbosity.VERBOSE:
            _print("The same command with --verbose prints the traceback, too.")
        _end(_FAILED)


def _end(code: int) -> None:
    """Exit; what cannot be written any more is dropped, since Python would complain of it later."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
    sys.exit(code)


def _has_no_reader(stream: object) -> bool:
    """Return whether a stream is a pipe whose other end is closed."""
    if not (isinstance(stream, io.TextIOWrapper) and hasattr(select, "poll")):
        return True
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _open_streams() -> None:
    """Make each standard stream one that can be written to whatever is printed.

    A stream that was closed (``>&-``) leads nowhere; the next file that is opened would have its
    number otherwise, and receive what libraries print. A character that the encoding lacks (as in
    ASCII, or of a file name that is no UTF-8) is escaped.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _warnings_are_notices() -> Iterator[None]:
    """Print warnings of loggers as notices are printed: in lines that a terminal need not break."""
    handler = _Notices(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Notices(logging.Handler):
    """Prints what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, and the traceback that it may have."""
        try:
            _print(self.format(record))
        except Exception:  # as every handler does: logging never ends a program
            self.handleError(record)


@contextmanager
def _signals_are_interrupts() -> Iterator[None]:
    """Let signals that ask for an end do what Ctrl-C does; a second one ends the process at once.

    A signal that is ignored, as by ``nohup``, stays so.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        _received[0] = signal.Signals(number)
        raise KeyboardInterrupt

    _received[0] = signal.SIGINT
    before = {
        number: signal.signal(number, interrupt)
        for number in _HANDLED
        if signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
