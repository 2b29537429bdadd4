"""Messages of errors are harmless and of bounded length, whatever they are about."""

import pickle

import pytest

from wsol_bench import errors
from wsol_bench.errors import ConfigError, did_you_mean, shown


def test_control_characters_are_escaped_and_line_breaks_are_kept():
    told = str(ConfigError("one\x1b[31m\ntwo\r\x07\u202e\ud800 é 图"))
    assert told == "one\\x1b[31m\ntwo\\r\\x07\\u202e\\ud800 é 图"
    assert told.encode()


def test_a_long_message_loses_its_middle():
    told = str(ConfigError("begin " + "x" * 10**6 + " end"))
    assert len(told) <= 2000
    assert told.startswith("begin x")
    assert told.endswith("x end")
    assert "characters more ..." in told


def test_a_long_message_of_control_characters_is_as_short():
    assert len(str(ConfigError("\x1b" * 10**6))) <= 2000


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_an_error_passes_from_process_to_process_as_it_is(name):
    error = getattr(errors, name)("a\x1bb")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error) == "a\\x1bb"


class Unwilling:
    def __repr__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1.5, "two"], "[1.5, 'two']"),
        ("a\nb", r"'a\nb'"),
        (16**9000, "<a whole number of 36001 bits>"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, ...]"),
        ([[[[[1]]]]], "[[[[...]]]]"),
    ],
    ids=["list", "text", "whole number", "long list", "deep list"],
)
def test_a_value_is_shown_in_one_line(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, {str(n): "y" * 99 for n in range(99)}, Unwilling()],
    ids=["text", "mapping", "unwilling"],
)
def test_a_shown_value_has_at_most_200_characters(value):
    assert len(shown(value)) <= 200


def test_a_name_of_a_million_characters_has_no_near_one():
    assert did_you_mean("x" * 10**6, ["cam"]) == "known: cam"
