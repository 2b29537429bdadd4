"""YAML texts are of bounded size, and each wrong one is an error in one line."""

import os
import time
from itertools import pairwise

import pytest

from wsol_bench.common.yaml_files import parse_yaml, read_yaml
from wsol_bench.errors import ConfigError
from wsol_bench.runs.experiment_config import load_config

LETTERS = "abcdefghij"
PAIRS = list(pairwise(LETTERS))
# Ten lines that stand for a billion values.
BOMB = "a: &a [1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in PAIRS
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n" for before, name in PAIRS
)
WRONG = {
    "a bomb of aliases": (BOMB, "line 6: expected at most 100000 values, found more; an alias "),
    "a bomb of merged mappings": (MERGED, "expected at most 100000 values, found more"),
    "an alias within itself": ("a: &a [*a]", "an alias leads back into the value that holds it"),
    "a mapping within itself": ("&a {x: *a}", "an alias leads back into the value that holds it"),
    "deep lists": ("[" * 100_000, "line 1: expected at most 50 nested levels, found more"),
    "deep mappings": ("{a: " * 5000, "line 1: expected at most 50 nested levels, found more"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: expected each key once, found 'a' again"),
    "a list as a key": ("{[1]: 2}", "found unhashable key"),
    "a mapping as a key": ("? {a: 1}\n: 2", "found unhashable key"),
    "no date": ("a: 2001-14-45", "a value is not valid: month must be in 1..12"),
    "no number": ("!!int x", "a value is not valid: invalid literal for int"),
    "no timestamp": ("!!timestamp x", "a value is not valid"),
    "no base64": ("!!binary 'a'", "failed to decode base64 data"),
    "an object": ("!!python/object:os.system x", "could not determine a constructor"),
    "an open list": ("[1", "line 1, column 3: while parsing a flow sequence: expected ',' or ']'"),
    "a control character": ("a: \x07", "unacceptable character"),
    "half of a character": ("a: '\ud800'", "unacceptable character"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_text_is_one_short_line_at_once(kind):
    text, message = WRONG[kind]
    start = time.process_time()
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "here")
    assert time.process_time() - start < 5
    told = str(error.value)
    assert told.startswith("here: ")
    assert message in told
    assert len(told) < 500
    assert told.isprintable()


def test_aliases_of_a_few_values_are_values():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "here") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_twenty_thousand_unknown_keys_are_a_short_error_at_once():
    text = "".join(f"key_{number}: 1\n" for number in range(20_000))
    start = time.process_time()
    with pytest.raises(ConfigError) as error:
        load_config(parse_yaml(text, "here"))
    assert time.process_time() - start < 10
    lines = str(error.value).splitlines()
    assert len(str(error.value)) <= 2000
    assert len(lines) <= 12
    assert lines[0].startswith("config: ")
    assert lines[-1] == "config: and 19994 more"


def test_a_long_key_and_a_long_value_are_shown_in_part():
    with pytest.raises(ConfigError) as error:
        load_config({"x" * 100_000: 1, "name": "y" * 100_000, "limit": 10**4000})
    assert len(str(error.value)) <= 2000


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "e.yaml")
    with pytest.raises(ConfigError, match="expected a regular file, found a pipe"):
        read_yaml(tmp_path / "e.yaml", "config")


def test_a_file_that_no_experiment_needs_is_not_read(tmp_path):
    with (tmp_path / "e.yaml").open("wb") as file:
        file.truncate(10**12)  # takes no place on the disk
    with pytest.raises(ConfigError, match="expected at most 10485760 bytes, found 1000000000000"):
        read_yaml(tmp_path / "e.yaml", "config")


@pytest.mark.parametrize(
    ("name", "place"), [("\0", "config: 'protocol': .* without a NUL"), ("x" * 5000, "protocol ")]
)
def test_a_name_that_no_file_can_have_is_an_error(name, place):
    with pytest.raises(ConfigError, match=rf"^{place}"):
        load_config(
            {
                "name": "e",
                "dataset": "shapes",
                "methods": ["center_box"],
                "protocol": f"{name}.yaml",
            }
        ).build_protocol()
