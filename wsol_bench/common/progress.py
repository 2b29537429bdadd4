"""Progress of long work, on standard error: its steps, and how far a step has come."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from wsol_bench.common.harmless import printable
from wsol_bench.errors import ConfigError, shown

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Verbosity", "progress", "second_bar", "set_verbosity", "step", "verbosity"]

# The seconds between two lines of a log.
_SECONDS_BETWEEN_LINES = 30.0
_STARTED = time.monotonic()


class Verbosity(IntEnum):
    """The amount that is told of work: nothing, its steps and bars, or their times as well."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


# Both are of this process; a list, so that functions need no ``global``.
_verbosity = [Verbosity.NORMAL]
_running: "list[Progress]" = []


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
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how far a step has come; yields the function that moves it forward by a number of units.

    In a terminal this is a bar with rate and time left. Elsewhere (the log of a cluster) it is a
    line every 30 seconds, also while nothing moves, and a line at the end.

    Args:
        description: what is done, such as ``evaluating``.
        total: number of units of the whole step.
        unit: name of the units, plural.
    """
    if _verbosity[0] is Verbosity.QUIET:
        yield lambda n: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(description, total, unit) as advance:
            yield advance
    else:
        with _lines(description, total, unit) as advance:
            yield advance


@contextmanager
def second_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a second bar under the running bar, for a part of its step.

    Yields the function that moves the second bar forward by a number of units.

    Nothing is shown if no bar is running.
    """
    if not _running:
        yield lambda n: None
        return
    bar = _running[-1]
    task = bar.add_task(printable(description), total=total)
    try:
        yield lambda n: bar.update(task, advance=n)
    finally:
        bar.remove_task(task)


@contextmanager
def _bar(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
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
        """Units per second, over the whole step once it is over."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else "")

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
        task = bar.add_task(printable(description), total=total)
        _running.append(bar)
        try:
            yield lambda n: bar.update(task, advance=n)
        finally:
            _running.remove(bar)


@contextmanager
def _lines(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A line every half minute, from a thread, since a single unit may take longer."""
    done, began, over = [0], time.monotonic(), threading.Event()

    def advance(n: int) -> None:
        done[0] += n

    def tell() -> None:
        while not over.wait(_SECONDS_BETWEEN_LINES):
            _print(_state(description, done[0], total, unit, time.monotonic() - began))

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield advance
    finally:
        over.set()
        teller.join()
        _print(_state(description, done[0], total, unit, time.monotonic() - began))


def _state(description: str, done: int, total: int, unit: str, seconds: float) -> str:
    """The state of a step in a line.

    >>> _state("evaluating", 1200, 50_000, "images", 100.0)
    'evaluating: 1,200 of 50,000 images (2%), 12.0 images/s, 1:07:46 left'
    >>> _state("evaluating", 300, 300, "images", 12.5)
    'evaluating: 300 of 300 images, 24.0 images/s, 0:00:12'
    """
    rate = done / seconds if seconds > 0 else 0.0
    speed = f", {rate:,.1f} {unit}/s" if rate >= 0.05 else ""
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
