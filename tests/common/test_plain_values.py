"""Plain values are read back from YAML and JSON as they are; others are refused by name."""

import datetime
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.common.plain_values import plain

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),
    TEXT,
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))


@given(VALUES)
def test_a_plain_value_stays_and_is_read_back(value):
    assert plain(value) == value
    assert json.loads(json.dumps(plain(value))) == value
    assert yaml.safe_load(yaml.safe_dump(plain(value))) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2.5, "x")), [1, [2.5, "x"]]),
        (Path("a/b"), "a/b"),
        (np.int64(3), 3),
        (np.float32(0.1), float(np.float32(0.1))),
        (math.inf, math.inf),
        ({"a": (Path("b"),)}, {"a": ["b"]}),
    ],
)
def test_what_would_be_read_back_otherwise_is_made_plain(value, expected):
    assert plain(value) == expected
    assert repr(plain(value)) == repr(expected)


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "expected a number, found NaN"),
        (np.float64("nan"), "expected a number, found NaN"),
        (datetime.date(2020, 1, 2), "found date datetime.date"),
        (b"x", "found bytes b'x'"),
        ({1}, "found set"),
        (Fraction(1, 3), "found Fraction"),
        (1j, "found complex"),
        (object(), "found object"),
        (print, "found builtin_function_or_method"),
        (np.ones(2), "found ndarray"),
        (2**64, "at most 64 bits"),
        (16**9000, "at most 64 bits, found <a whole number of 36001 bits>"),
        ("\ud800", "text that UTF-8 can hold"),
        ("x\0", "without a NUL character, found 'x\\x00'"),
        ({1: 2}, "keys that are text, found the key 1"),
        (LOOP, "at most 50 nested levels"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isprintable() else "",
)
def test_what_is_not_plain_is_refused_with_its_key(value, message):
    with pytest.raises(ValueError, match=r"^'a\.0(\.\w+)*': expected ") as error:
        plain({"a": [value]})
    assert message in str(error.value)
