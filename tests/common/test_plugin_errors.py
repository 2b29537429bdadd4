"""The message of an exception that a plug-in raised: whose, file and line, and the exception."""

import json

import pytest

from wsol_bench.common.plugin_errors import blamed, plugin_error
from wsol_bench.errors import ConfigError, PluginError


def caught(function, *args):
    """The exception, without the frame of this file."""
    with pytest.raises(Exception) as caught:  # any exception is described
        function(*args)
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


def user_function(monkeypatch, folder, body):
    monkeypatch.chdir(folder)
    path = folder / "my_module.py"
    path.write_text(f"import json\n\ndef mine(x=None):\n    {body}\n")
    space = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space["mine"]


def test_it_names_the_plugin_the_line_and_the_exception(tmp_path, monkeypatch):
    mine = user_function(monkeypatch, tmp_path, "return 1 / 0")
    message = plugin_error("map method 'mine'", caught(mine))
    assert message == "map method 'mine': my_module.py:4: ZeroDivisionError: division by zero"


def test_an_error_in_a_library_is_at_the_users_line(tmp_path, monkeypatch):
    mine = user_function(monkeypatch, tmp_path, "return json.loads('{')")
    assert ": my_module.py:4: JSONDecodeError: " in plugin_error("it", caught(mine))


def test_without_a_line_of_the_user_it_is_in_the_plugins_file_or_the_last():
    error = caught(json.loads, "{")
    assert "decoder.py:" in plugin_error("it", error)
    assert "json/__init__.py:" in plugin_error("it", error, json.loads)


def test_it_is_one_line_and_not_endless(tmp_path, monkeypatch):
    mine = user_function(monkeypatch, tmp_path, "raise RuntimeError('a\\n\\tb ' + 'c' * 9999)")
    message = plugin_error("it", caught(mine))
    assert message.startswith("it: my_module.py:4: RuntimeError: a b cccc")
    assert len(message) < 600


def test_an_exception_without_a_text_leaves_no_colon(tmp_path, monkeypatch):
    mine = user_function(monkeypatch, tmp_path, "raise AssertionError")
    assert plugin_error("it", caught(mine)) == "it: my_module.py:4: AssertionError"


def test_a_syntax_error_is_at_its_own_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = caught(compile, "x = (\n", str(tmp_path / "my_module.py"), "exec")
    assert plugin_error("it", error).startswith("it: my_module.py:1: SyntaxError: ")


def test_an_error_of_this_package_and_a_keyboard_interrupt_pass_as_they_are():
    for error in (ConfigError("mend it"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as passed, blamed("it"):
            raise error
        assert passed.value is error


def test_a_plugin_that_ends_the_program_is_an_error():
    with pytest.raises(PluginError, match=r"it: .*: SystemExit: 2"), blamed("it"):
        raise SystemExit(2)
