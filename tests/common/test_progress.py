"""What is told of work in progress, in a terminal and in a log."""

import contextlib
import io
import threading

import pytest
import rich.progress

from wsol_bench.common import progress as progress_module
from wsol_bench.common.progress import Verbosity, progress, second_bar, set_verbosity, step


@pytest.fixture(autouse=True)
def _normal():
    """Another test's command may have been quiet."""
    set_verbosity(Verbosity.NORMAL)
    yield
    set_verbosity(Verbosity.NORMAL)


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self):
        return True


def told(work, stream=None):
    """What some work tells on standard error; by default that leads to a file."""
    with contextlib.redirect_stderr(stream or io.StringIO()) as err:
        work()
    return err.getvalue()


def evaluate(n=4, total=4):
    """Evaluate some of the images."""
    with progress("evaluating", total, "images") as advance:
        advance(n)
        if n < total:
            raise RuntimeError


class TestLog:
    def test_has_a_line_at_the_end(self):
        [line] = told(evaluate).splitlines()
        assert line.startswith("evaluating: 4 of 4 images, ")
        assert line.endswith(", 0:00:00")
        assert line.isprintable()

    @pytest.fixture
    def lines(self, monkeypatch):
        """The lines of a step so far, and a function that waits for the next one."""
        lines, told_one = [], threading.Event()

        def tell(text):
            lines.append(text)
            told_one.set()

        def wait_for_next():
            told_one.clear()
            assert told_one.wait(10)
            return lines[-1]

        monkeypatch.setattr(progress_module, "_print", tell)
        return wait_for_next

    def test_has_a_line_every_half_minute_although_nothing_moves(self, monkeypatch, lines):
        assert progress_module._SECONDS_BETWEEN_LINES == 30
        monkeypatch.setattr(progress_module, "_SECONDS_TO_FIRST_LINE", 0.001)
        monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.001)
        with progress("evaluating", 8, "images") as advance:
            advance(2)
            lines()
            for _ in range(2):
                assert lines().startswith("evaluating: 2 of 8 images (25%), ")

    def test_the_first_line_comes_soon(self, monkeypatch, lines):
        assert progress_module._SECONDS_TO_FIRST_LINE == 5
        monkeypatch.setattr(progress_module, "_SECONDS_TO_FIRST_LINE", 0.001)
        with progress("evaluating", 8, "images"):
            assert lines() == "evaluating: 0 of 8 images (0%)"

    def test_a_line_says_how_far_the_part_of_a_step_has_come(self, monkeypatch, lines):
        monkeypatch.setattr(progress_module, "_SECONDS_TO_FIRST_LINE", 0.001)
        monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.001)
        with progress("evaluating", 8, "images"):
            with second_bar("noisy images", 50) as advance:
                advance(12)
                lines()
                assert lines() == "evaluating: 0 of 8 images (0%); noisy images: 12 of 50"
            lines()
            assert lines() == "evaluating: 0 of 8 images (0%)"

    def test_says_how_far_a_step_came_that_failed(self):
        def fail():
            with pytest.raises(RuntimeError):
                evaluate(1)

        assert told(fail).startswith("evaluating: 1 of 4 images (25%)")


class TestTerminal:
    def test_a_bar_fits_into_80_columns_whole(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm")

        def read():
            with progress("reading XML annotations", 50_000, "files") as advance:
                advance(50_000)

        drawn = told(read, Terminal())
        assert "50000/50000" in drawn
        assert "\u2026" not in drawn

    def test_the_rate_is_that_of_the_whole_step(self, monkeypatch):
        """Not that of the last moments, in which the images of a batch are counted one by one."""
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(rich.progress.Task, "elapsed", 2.0)

        def read():
            with progress("evaluating", 50, "images") as advance:
                with second_bar("noisy images", 7) as advance_part:
                    advance_part(7)
                for _ in range(50):
                    advance(1)

        drawn = told(read, Terminal())
        assert "25.0 images/s" in drawn
        assert "3.5 images/s" not in drawn


class TestVerbosity:
    def test_a_step_is_a_line(self):
        assert told(lambda: step("loading resnet50")) == "loading resnet50\n"

    def test_verbose_steps_say_when_they_began(self):
        set_verbosity(Verbosity.VERBOSE)
        time, unit, text = told(lambda: step("loading resnet50")).strip().split(" ", 2)
        assert float(time) >= 0
        assert (unit, text.strip()) == ("s", "loading resnet50")

    def test_nothing_is_told_of_nothing(self):
        assert told(lambda: evaluate(0, 0)) == ""

    def test_quiet_tells_nothing(self):
        set_verbosity(Verbosity.QUIET)
        assert told(lambda: step("loading resnet50")) == ""
        assert told(evaluate) == ""
