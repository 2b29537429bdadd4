"""Progress bars of long steps, on standard error, with rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wsol_bench.common.harmless import printable

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["progress", "second_bar"]

_running: "list[Progress]" = []


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; yields the function that moves it forward by a number of units.

    In a terminal the bar is drawn in place; elsewhere (a log file) its last state is one line.

    Args:
        description: text before the bar.
        total: number of units of the whole step.
        unit: name of the units, plural.
    """
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

    class Rate(ProgressColumn):
        """Units per second, over the whole step once it is over."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    class Heedless(Console):
        """A console that falls silent if nobody reads it; rich would end the process."""

        def on_broken_pipe(self) -> None:
            self.quiet = True

    with Progress(*columns, console=Heedless(stderr=True)) as bar:
        task = bar.add_task(printable(description), total=total)
        _running.append(bar)
        try:
            yield lambda n: bar.update(task, advance=n)
        finally:
            _running.remove(bar)


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
