"""What is told of work in progress, in a terminal and in a log."""

import io
import sys
import threading

import pytest

from wsol_bench.common import progress as progress_module
from wsol_bench.common.progress import Verbosity, progress, set_verbosity, step


@pytest.fixture(autouse=True)
def _normal_afterwards():
    yield
    set_verbosity(Verbosity.NORMAL)


@pytest.fixture
def log(monkeypatch):
    """Standard error that leads to a file."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return sys.stderr


@pytest.fixture
def terminal(monkeypatch):
    """Standard error that is a terminal of 80 columns."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return stream


class TestLog:
    def test_has_a_line_at_the_end(self, log):
        with progress("evaluating", 4, "images") as advance:
            advance(4)
        [line] = log.getvalue().splitlines()
        assert line.startswith("evaluating: 4 of 4 images, ")
        assert line.endswith(", 0:00:00")

    def test_has_a_line_every_half_minute_although_nothing_moves(self, log, monkeypatch):
        told = threading.Event()

        def tell(text):
            print(text, file=log)
            told.set()

        monkeypatch.setattr(progress_module, "_print", tell)
        assert progress_module._SECONDS_BETWEEN_LINES == 30
        monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.001)
        with progress("evaluating", 8, "images") as advance:
            advance(2)
            assert told.wait(10)
            told.clear()
            assert told.wait(10)
        first, second, *_ = log.getvalue().splitlines()
        for line in (first, second):
            assert line.startswith("evaluating: ")
            assert "of 8 images (" in line

    def test_says_how_far_a_step_came_that_failed(self, log):
        with pytest.raises(RuntimeError), progress("evaluating", 4, "images") as advance:
            advance(1)
            raise RuntimeError
        assert log.getvalue().startswith("evaluating: 1 of 4 images (25%)")

    def test_has_no_codes_of_a_terminal(self, log):
        with progress("evaluating", 1, "images") as advance:
            advance(1)
        assert log.getvalue().rstrip("\n").isprintable()


class TestTerminal:
    def test_a_bar_fits_into_80_columns_whole(self, terminal):
        with progress("reading XML annotations", 50_000, "files") as advance:
            advance(50_000)
        drawn = terminal.getvalue()
        assert "50000/50000" in drawn
        assert "files/s" in drawn
        assert "…" not in drawn


class TestVerbosity:
    def test_a_step_is_a_line(self, log):
        step("loading resnet50")
        assert log.getvalue() == "loading resnet50\n"

    def test_verbose_steps_say_when_they_began(self, log):
        set_verbosity(Verbosity.VERBOSE)
        step("loading resnet50")
        time, word, text = log.getvalue().strip().split(" ", 2)
        assert float(time) >= 0
        assert (word, text.strip()) == ("s", "loading resnet50")

    def test_quiet_tells_nothing(self, log):
        set_verbosity(Verbosity.QUIET)
        step("loading resnet50")
        with progress("evaluating", 4, "images") as advance:
            advance(4)
        assert log.getvalue() == ""
