"""Options in plain words."""

import ast
from typing import Annotated, Literal

import pytest
from pydantic import Field

from wsol_bench.common.option_texts import Scope, kind_words, options_of
from wsol_bench.common.plugin_options import options_of_function

SOURCE = '''
from math import pi
from wsol_bench.datasets.imagenet.loader import BoxSource as Where

HALF = 0.5
SIDE = math.sqrt(HALF) * (1 + 0)

def function(record, *, where: Where = "auto", side: Annotated[float, Field(gt=0, lt=1)] = SIDE,
             low: float = -1.0, plain, unknown: Foreign[int] = pi, none: int | None = None):
    """Summary.

    Args:
        record: no option.
        where: first ``line``
            and its second: end.
        low: one line.

    Returns:
        plain: nothing of this.
    """
'''


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("int", "whole number"),
        ("pathlib.Path | None", "path"),
        ("Optional[str]", "text"),
        ("Literal['a']", "a"),
        ("Literal['a', 'b', 3]", "a, b or 3"),
        ("Literal['a', 'b'] | bool", "a, b or true or false"),
        ("tuple[float, float, float]", "a list of 3 numbers"),
        ("list[int]", "a list of whole numbers"),
        ("Annotated[int, Field(ge=2, le=9)]", "whole number of at least 2 and at most 9"),
        ("None", "nothing"),
        ("dict[str, int]", "dict[str, int]"),
        ("<class at 0x1>", "<class at 0x1>"),
    ],
)
def test_a_type_in_words(kind, words):
    assert kind_words(kind) == words


def test_names_are_looked_up_in_the_source_and_meanings_in_the_docstring():
    tree = ast.parse(SOURCE)
    where, side, low, plain, unknown, none = options_of(tree.body[-1], Scope(tree))
    assert where.line == "where: auto, xml or csv; default auto"
    assert where.meaning == "first line and its second: end."
    assert side.line == "side: number above 0 and below 1; default 0.7071"
    assert (low.line, low.meaning) == ("low: number; default -1", "one line.")
    assert (plain.line, plain.meaning) == ("plain: any value; required", "")
    assert unknown.line == "unknown: Foreign[int]; default pi"
    assert none.line == "none: whole number; optional"


def test_options_of_a_function_that_is_imported():
    def function(
        *, k: Annotated[int, Field(gt=0)] = 3, mode: Literal["a", "b"], fast: bool = False
    ):
        """Summary.

        Args:
            mode: how.
        """

    k, mode, fast = options_of_function(function)
    assert k.line == "k: whole number above 0; default 3"
    assert (mode.line, mode.meaning) == ("mode: a or b; required", "how.")
    assert fast.line == "fast: true or false; default false"
