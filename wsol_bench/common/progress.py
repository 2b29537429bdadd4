"""Progress of long work, on standard error: its steps, and how far a step has come."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from enum import IntEnum
from typing import Literal

from wsol_bench.common.harmless import printable
from wsol_bench.errors import ConfigError, shown

__all__ = ["Verbosity", "progress", "second_bar", "set_verbosity", "step", "verbosity"]

# The seconds until the first line of a log, and between two lines.
_SECONDS_TO_FIRST_LINE = 5.0
_SECONDS_BETWEEN_LINES = 30.0
_LEAST_RATE = 0.05  # which is not rounded to 0.0
_STARTED = time.monotonic()


class Verbosity(IntEnum):
    """The amount that is told of work: nothing, its steps and bars, or their times as well."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


# Moves a step forward by a number of units.
_Advance = Callable[[int], None]

# Both are of this process; a list, so that functions need no ``global``. Of each running step there
# is the function that begins a part of it, with a description and a number of units.
_verbosity = [Verbosity.NORMAL]
_running: list[Callable[[str, int], AbstractContextManager[_Advance]]] = []


def set_verbosity(chosen: Verbosity | Literal["quiet", "normal", "verbose"]) -> None:
    """Set how much this process tells of its work on standard error: steps, bars, lines of a log.

    Args:
        chosen: ``quiet`` for nothing, ``normal`` for steps and bars, ``verbose`` for the time of
            each step as well. Ray's workers tell as much as the process that started them.

    Raises:
        ConfigError: it is another value.
    """
    if isinstance(chosen, Verbosity):
        _verbosity[0] = chosen
        return
    known = {one.name.lower(): one for one in Verbosity}
    if chosen not in known:
        raise ConfigError(f"verbosity: expected {', '.join(known)}, found {shown(chosen)}")
    _verbosity[0] = known[chosen]


def verbosity() -> Verbosity:
    """Return how much this process tells of its work."""
    return _verbosity[0]


def step(text: str) -> None:
    """Say that a step of long work begins, such as the loading of a network.

    Args:
        text: what is done, in lower case: ``loading resnet50``. It becomes a line of its own.
    """
    if _verbosity[0] is Verbosity.QUIET:
        return
    seconds = f"{time.monotonic() - _STARTED:7.1f} s  " if _verbosity[0] > Verbosity.NORMAL else ""
    _print(f"{seconds}{text}")


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[_Advance]:
    """Show how far a step has come; yields the function that moves it forward by a number of units.

    In a terminal this is a bar with rate and time left. Elsewhere (the log of a cluster) it is a
    line after 5 seconds and every 30, also while nothing moves, and a line at the end.

    Args:
        description: what is done, such as ``evaluating``.
        total: number of units of the whole step.
        unit: name of the units, plural.
    """
    if _verbosity[0] is Verbosity.QUIET or not total:
        yield lambda n: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(description, total, unit) as advance:
            yield advance
    else:
        with _lines(description, total, unit) as advance:
            yield advance


@contextmanager
def second_bar(description: str, total: int) -> Iterator[_Advance]:
    """Show how far a part of the running step has come: in a second bar, or in the log's lines.

    Yields the function that moves the part forward by a number of units.

    Nothing is shown if no step is running.

    Args:
        description: what is done, such as ``noisy images``.
        total: number of units of the part.
    """
    if not _running:
        yield lambda n: None
        return
    with _running[-1](description, total) as advance:
        yield advance


@contextmanager
def _bar(description: str, total: int, unit: str) -> Iterator[_Advance]:
    """A bar that is drawn in place, as wide as the terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    def whole() -> Column:
        return Column(no_wrap=True)

    class Rate(ProgressColumn):
        """Units per second since the step began, as in a log; a part of a step has none."""

        def render(self, task: Task) -> Text:
            rate = task.completed / task.elapsed if task.elapsed else 0.0
            return Text(f"{rate:,.1f} {unit}/s" if rate >= _LEAST_RATE and task.id == first else "")

    columns = (
        TextColumn("{task.description}", markup=False, table_column=whole()),
        BarColumn(bar_width=None),  # what the other columns leave
        MofNCompleteColumn(table_column=whole()),
        Rate(table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
    )

    class Heedless(Console):
        """A console that falls silent if nobody reads it; rich would end the process."""

        def on_broken_pipe(self) -> None:
            self.quiet = True

    with Progress(*columns, console=Heedless(stderr=True), expand=True) as bar:

        @contextmanager
        def part(description: str, total: int) -> Iterator[_Advance]:
            second = bar.add_task(printable(description), total=total)
            try:
                yield lambda n: bar.update(second, advance=n)
            finally:
                bar.remove_task(second)

        first = bar.add_task(printable(description), total=total)
        with _beginning_parts_with(part):
            yield lambda n: bar.update(first, advance=n)


@contextmanager
def _lines(description: str, total: int, unit: str) -> Iterator[_Advance]:
    """A line every half minute, from a thread, since a single unit may take longer."""
    done, began, over = [0], time.monotonic(), threading.Event()
    parts: list[_Part] = []

    def advance(n: int) -> None:
        done[0] += n

    @contextmanager
    def part(description: str, total: int) -> Iterator[_Advance]:
        parts.append(_Part(description, total))
        try:
            yield parts[-1].advance
        finally:
            parts.pop()

    def tell() -> None:
        within = "".join(part.state() for part in parts[-1:])
        seconds = time.monotonic() - began
        _print(_state(description, done[0], total, unit, seconds) + within)

    def tell_until_over() -> None:
        waited = _SECONDS_TO_FIRST_LINE
        while not over.wait(waited):
            tell()
            waited = _SECONDS_BETWEEN_LINES

    teller = threading.Thread(target=tell_until_over, name="progress", daemon=True)
    teller.start()
    try:
        with _beginning_parts_with(part):
            yield advance
    finally:
        over.set()
        teller.join()
        tell()


class _Part:
    """A part of a step: its description, and how far it has come."""

    def __init__(self, description: str, total: int) -> None:
        self._description, self._total, self._done = description, total, 0

    def advance(self, n: int) -> None:
        self._done += n

    def state(self) -> str:
        """The state behind that of the step: ``; noisy images: 12 of 50``."""
        return f"; {self._description}: {self._done:,} of {self._total:,}"


@contextmanager
def _beginning_parts_with(
    part: Callable[[str, int], AbstractContextManager[_Advance]],
) -> Iterator[None]:
    """Let ``second_bar`` begin parts of this step while it runs."""
    _running.append(part)
    try:
        yield
    finally:
        _running.remove(part)


def _state(description: str, done: int, total: int, unit: str, seconds: float) -> str:
    """The state of a step in a line.

    >>> _state("evaluating", 1200, 50_000, "images", 100.0)
    'evaluating: 1,200 of 50,000 images (2%), 12.0 images/s, 1:07:46 left'
    >>> _state("evaluating", 300, 300, "images", 12.5)
    'evaluating: 300 of 300 images, 24.0 images/s, 0:00:12'
    """
    rate = done / seconds if seconds > 0 else 0.0
    speed = f", {rate:,.1f} {unit}/s" if rate >= _LEAST_RATE else ""
    counts = f"{description}: {done:,} of {total:,} {unit}"
    if done >= total:
        return f"{counts}{speed}, {timedelta(seconds=int(seconds))}"
    left = f", {timedelta(seconds=int((total - done) / rate))} left" if done else ""
    return f"{counts} ({100 * done // max(1, total)}%){speed}{left}"


def _print(text: str) -> None:
    """Print a line on standard error at once, if it can be written to."""
    if sys.stderr is None:  # as without a console; print would take standard output
        return
    with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
        print(printable(text), file=sys.stderr, flush=True)
