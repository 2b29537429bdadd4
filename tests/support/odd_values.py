"""Values of every kind that YAML and callers can give, for a fuzz of what takes them."""

import datetime

from hypothesis import strategies as st

from wsol_bench.errors import WsolBenchError

# No text leads out of the folder that a test works in.
_TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("\x1b[31m\x07\n\r\t\x00\u202e\ud800<script>&'\"`|${}", max_size=12),
    st.sampled_from(
        ["", " ", "null", "1e999", "-0", "0x10", "${NOT_SET}", "cam", "all", "label", "auto", "val",
         "largest", "x" * 5000, "a.yaml", "a:b", "os:path", "maps_from/nothing", "1/0", "é", "¹"]
    ),
).filter(lambda text: not text.startswith(("/", "~")) and ".." not in text)  # fmt: skip
_NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.integers(),
    st.sampled_from([2**63, -(2**64), 10**400, 10**4000, 10**18]),
    st.floats(),
    st.sampled_from([1e-9, 1e-300, -0.0, 1e308, 0.5]),
)
_KEYS = st.one_of(_TEXTS, st.integers(-3, 9), st.none(), st.booleans(), st.floats())
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    _NUMBERS,
    _TEXTS,
    st.dates(),
    st.datetimes(),
    st.binary(max_size=8),
    st.just({1, "a"}),
    st.just((1, 2)),
    st.just(datetime.timedelta(1)),
)
# Values of every kind, nested a few levels deep.
ODD_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)
ODD_KEYS = _KEYS
ODD_TEXTS = _TEXTS


def answer_or_harmless_error(call):
    """Call a function; return whether it gave an answer, and not an error of this package.

    The error must be of at most 2,000 characters, none of which steers a terminal.
    """
    try:
        call()
    except WsolBenchError as error:
        told = str(error)
        assert told.strip(), repr(error)
        assert len(told) <= 2000, told
        assert told.replace("\n", "").isprintable(), ascii(told)
        assert told.encode()
        return False
    return True
