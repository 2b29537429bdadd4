"""However a command ends, it ends with one line at most, and with the exit code of that end."""

import contextlib
import inspect
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import pytest
from command_line import cli

from wsol_bench.cli import process
from wsol_bench.cli.process import endings, print_message, print_notice
from wsol_bench.cli.program import COMMANDS
from wsol_bench.common.progress import Verbosity, progress, set_verbosity, step
from wsol_bench.errors import ConfigError

MAIN = "from wsol_bench.cli import main; main()"
# The command gets a signal when it imports the module that the first argument names.
SIGNAL_AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Hook:
    def find_spec(self, name, *_):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), getattr(signal, sent))

_, sent, module, *arguments = sys.argv
sys.argv = ["wsol-bench", *arguments]
sys.meta_path.insert(0, Hook())
""" + MAIN.replace("; ", "\n")


def program(*arguments, code=MAIN, variables=MappingProxyType({}), stdout=subprocess.PIPE):
    """Run the program in a process of its own; its exit code and what it wrote on its streams."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


# A function that each command calls early, and a command line that gets there. None is imported
# by its name, since a module that is first imported here would keep the patched one.
CALLED = {
    "demo": ("pathlib.Path.read_text", ["demo"]),
    "init": ("pathlib.Path.is_dir", ["init", "x/y.yaml"]),
    "run": ("pathlib.Path.open", ["run", "pyproject.toml"]),
    "reproduce": ("pathlib.Path.is_file", ["reproduce", "x.yaml"]),
    "sensitivity": ("pathlib.Path.is_file", ["sensitivity", "x"]),
    "rescore": ("pathlib.Path.is_file", ["rescore", "x"]),
    "merge": ("pathlib.Path.is_file", ["merge", "x", "--out", "y"]),
    "score": ("pathlib.Path.is_dir", ["score", "x.txt"]),
    "score-maps": ("pathlib.Path.is_dir", ["score-maps", "x"]),
    "analyze": ("pathlib.Path.is_file", ["analyze", "x"]),
    "compare": ("pathlib.Path.is_file", ["compare", "x", "y"]),
    "report": ("pathlib.Path.is_file", ["report", "x"]),
    "figures": ("pathlib.Path.is_file", ["figures", "x"]),
    "view": ("pathlib.Path.is_file", ["view", "x"]),
    "explain": ("pathlib.Path.is_dir", ["explain", "x.jpg"]),
    "table": ("pathlib.Path.is_file", ["table", "x"]),
    "leaderboard": ("pathlib.Path.is_dir", ["leaderboard", "x"]),
    "export": ("pathlib.Path.is_file", ["export", "x", "--format", "kaggle"]),
    "convert": ("pathlib.Path.is_file", ["convert", "x.yaml", "--to", "y.csv"]),
    "list": ("wsol_bench.cli.names._names", ["list", "methods"]),
    "schema": ("json.dumps", ["schema"]),
    "doctor": ("pathlib.Path.open", ["doctor", "pyproject.toml"]),
    "check": ("wsol_bench.cli.check._is_metric", ["check", "cam"]),
}


class TestInterrupts:
    def test_are_tried_for_every_command(self):
        assert sorted(CALLED) == sorted(command.name for command in COMMANDS)

    @pytest.mark.parametrize("name", CALLED)
    def test_of_any_command_are_one_line(self, name):
        function, arguments = CALLED[name]
        with mock.patch(function, side_effect=KeyboardInterrupt):
            out, err = cli(*arguments, code=130)
        assert out == ""
        *steps, last = err.splitlines()
        assert last == "Interrupted."
        assert len(steps) <= 1  # what was being done

    @pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGHUP"])
    @pytest.mark.parametrize("module", ["typer", "wsol_bench.runs.experiment_config"])
    def test_while_modules_are_imported_are_one_line(self, sent, module):
        arguments = (sent, module, "schema")
        code, out, err = program(*arguments, code=SIGNAL_AT_IMPORT)
        assert (code, out, err) == (128 + getattr(signal, sent), b"", b"Interrupted.\n")

    def test_leave_a_hang_up_that_is_ignored_alone(self):
        """As ``nohup`` asks for."""
        ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        code, out, _ = program(
            "SIGHUP", "wsol_bench.runs.experiment_config", "schema", code=ignored + SIGNAL_AT_IMPORT
        )
        assert code == 0
        assert b"properties" in out

    def test_leave_the_callers_handlers_as_they_were(self):
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
        cli("list", "protocols")
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before

    def test_the_second_request_to_end_is_not_waited_for(self):
        with process._signals_are_interrupts(), pytest.raises(KeyboardInterrupt):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class TestStandardOutput:
    @pytest.fixture
    def nobody_reads(self):
        """A pipe whose reading end is closed."""
        reading, writing = os.pipe()
        os.close(reading)
        yield writing
        os.close(writing)

    @pytest.mark.parametrize("arguments", [("list", "protocols"), ("schema",)])
    def test_that_nobody_reads_ends_the_command_as_sigpipe_does(self, arguments, nobody_reads):
        code, _, err = program(*arguments, stdout=nobody_reads)
        assert (code, err) == (128 + signal.SIGPIPE, b"")

    @pytest.mark.slow
    def test_of_a_table_that_nobody_reads_is_no_error_either(self, world, nobody_reads):
        code, _, err = program("analyze", world / "run", stdout=nobody_reads)
        assert code == 128 + signal.SIGPIPE, err
        assert b"Traceback" not in err
        assert b"Error" not in err

    @pytest.mark.slow
    @pytest.mark.parametrize("closed", ["1", "2", "0 1 2"])
    def test_that_is_closed_is_written_nowhere(self, closed, world):
        """The files that the command opens must not get the numbers of the closed ones."""
        closing = f"import os; [os.close(int(number)) for number in {closed.split()}]\n"
        starts = f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {MAIN!r}, "
        code = closing + starts + "*sys.argv[1:]])"
        out = world / f"closed {closed}"
        arguments = ("run", world / "experiment.yaml", "--out", out)
        returned, stdout, stderr = program(*arguments, code=code)
        assert returned == 0
        assert b"Traceback" not in stderr
        assert ("2" in closed) == (stderr == b"")
        assert ("1" in closed) == (stdout == b"")
        cli("analyze", out)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_that_is_full_is_one_line(self):
        with Path("/dev/full").open("w") as full:
            code, _, err = program("list", "protocols", stdout=full)
        assert code == 1
        assert err == b"Error: [Errno 28] No space left on device\n"

    @pytest.mark.slow
    def test_in_ascii_is_ascii(self, world):
        ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
        code, out, err = program("analyze", world / "run", variables=ascii_only)
        assert (code, out.isascii(), err.isascii()) == (0, True, True)
        assert b"Traceback" not in err
        assert b"color_net, layer cells" in out

    def test_that_lacks_a_character_escapes_it(self):
        stream = io.TextIOWrapper(io.BytesIO(), "ascii")
        with mock.patch.object(sys, "stdout", stream):
            process._open_streams()
            print("1 ± 2 \udcff")
            stream.flush()
        assert stream.buffer.getvalue() == b"1 \\xb1 2 \\udcff\n"


class TestEndings:
    def test_errors_of_this_package_and_of_the_system_are_a_line_and_exit_code_1(self, capsys):
        for error in (ConfigError("mend it"), OSError(28, "No space left", "a file")):
            with pytest.raises(SystemExit) as end, endings():
                raise error
            assert end.value.code == 1
            assert capsys.readouterr().err == f"Error: {error}\n"

    def test_a_pipe_inside_that_breaks_is_an_error_and_no_missing_reader(self, capsys):
        with (
            Path(os.devnull).open("w") as stdout,
            mock.patch.object(sys, "stdout", stdout),
            pytest.raises(SystemExit) as end,
            endings(),
        ):
            raise BrokenPipeError("to a worker")
        assert end.value.code == 1
        assert capsys.readouterr().err == "Error: to a worker\n"

    def test_an_error_of_the_code_keeps_its_traceback(self):
        with pytest.raises(ZeroDivisionError), endings():
            _ = 1 / 0

    def test_an_interrupt_says_how_to_go_on(self, capsys):
        with pytest.raises(SystemExit), endings():
            raise KeyboardInterrupt("The same command goes on.")
        assert capsys.readouterr().err == "Interrupted. The same command goes on.\n"

    def test_a_message_to_nobody_is_dropped(self, capsys):
        broken = mock.Mock(write=mock.Mock(side_effect=BrokenPipeError))
        with mock.patch.object(sys, "stderr", broken):
            print_message("text")

    def test_a_message_without_a_standard_error_is_not_printed_elsewhere(self, capsys):
        """As in a process without a console, of which ``sys.stderr`` is None."""
        with contextlib.redirect_stderr(None):
            print_message("text")
            print_notice("text")
            step("text")
            with progress("evaluating", 1, "images") as advance:
                advance(1)
        assert capsys.readouterr().out == ""

    def test_quiet_hides_messages_but_neither_notices_nor_errors(self, capsys):
        set_verbosity(Verbosity.QUIET)
        try:
            with pytest.raises(SystemExit), endings():
                print_message("work")
                print_notice("a finding")
                raise ConfigError("the reason")
        finally:
            set_verbosity(Verbosity.NORMAL)
        assert capsys.readouterr().err == "a finding\nError: the reason\n"

    def test_warnings_of_loggers_are_notices_while_a_command_runs(self, capsys):
        logger = logging.getLogger("wsol_bench.somewhere")
        handlers = [*logging.getLogger().handlers]
        with process._warnings_are_notices():
            logger.warning("%s: made of fewer images", "figures\x1b")
            logger.info("a detail")
        assert capsys.readouterr().err == "figures\\x1b: made of fewer images\n"
        assert logging.getLogger().handlers == handlers

    def test_commands_keep_their_signatures(self):
        for command in COMMANDS:
            wrapped = endings()(command.function)
            assert inspect.signature(wrapped) == inspect.signature(command.function)
