"""Pydantic's validation errors, written as lines that say what to mend."""

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wsol_bench.errors import did_you_mean, shown

__all__ = [
    "AUTO",
    "NOT_AUTO",
    "ONE",
    "SEVERAL",
    "CompleteError",
    "explain",
    "plain_words",
    "require_no_flag",
]

# The most problems that are shown, and the most characters of a key.
_MOST, _LONGEST_KEY = 10, 80

# Tags of a union's branches. Pydantic puts them into the location of an error, where a key could
# be; no key has such a name.
ONE = "<one>"
SEVERAL = "<several>"
AUTO = "<auto>"
NOT_AUTO = "<not auto>"
_TAGS = (ONE, SEVERAL, AUTO, NOT_AUTO)


# What pydantic's types of errors expected, in plain words. The names in braces are those of the
# error's context.
_EXPECTED = {
    "string_type": "a text",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "string_too_short": "a text of at least {min_length} characters",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, such as [a, b]",
    "tuple_type": "a list, such as [a, b]",
    "dict_type": "a mapping, such as {{key: value}}",
    "model_type": "a mapping, such as {{name: value}}",
    "model_attributes_type": "a mapping, such as {{name: value}}",
    "path_type": "a path",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "nothing",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


# Forms of texts in words.
_FORMS = {r"^\w[\w.-]*$": "letters, digits, '_', '-' and '.' alone, not first '-' or '.'"}


class CompleteError(ValueError):
    """A value is not valid, and the message already says what was found."""


def require_no_flag(value: Any, annotation: Any) -> Any:
    """The value, unless it is true or false, or a list with these, where only numbers fit.

    Pydantic, as Python itself, takes true for 1: ``limit: true`` would evaluate a single image.

    Args:
        value: a value that is not validated yet.
        annotation: the type that it shall have.

    Raises:
        ValueError: the value is, or holds, a flag.
    """
    kinds = set(_leaves(annotation))
    if not kinds & {int, float} or bool in kinds:
        return value
    if isinstance(value, bool):
        raise ValueError("expected a number")
    if isinstance(value, list | tuple) and any(isinstance(one, bool) for one in value):
        raise ValueError("expected numbers")
    return value


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types that a type is made of."""
    if get_origin(annotation) is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif get_origin(annotation) in (list, tuple, Sequence, Union, types.UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The problems of a validation error, one a line: where, key, what is wrong.

    An unknown key is followed by the nearest key of the model. Of more than ten problems the first
    ones are shown, and the number of the others.

    Args:
        error: error of validating ``model``.
        model: model that was validated.
        where: name of the validated content in the lines.
    """
    problems = error.errors(include_url=False)
    lines = [_explained(item, model, where) for item in problems[:_MOST]]
    if len(problems) > _MOST:
        lines.append(f"{where}: and {len(problems) - _MOST} more")
    return "\n".join(lines)


def _explained(item: ErrorDetails, model: type[BaseModel], where: str) -> str:
    """The line of one problem."""
    parts = [_short(part) for part in item["loc"] if part not in _TAGS]
    key = ".".join(parts)
    if item["type"] == "extra_forbidden":
        parent = _model_at(model, item["loc"][:-1])
        fields = parent.model_fields if parent else ()
        return f"{where}: unknown key '{key}'; {did_you_mean(parts[-1], fields)}"
    if item["type"] == "missing" and isinstance(item["loc"][-1], int):
        *parents, position = parts
        found = shown(item["input"])
        return f"{where}: '{'.'.join(parents)}': nothing at position {position} of {found}"
    if item["type"] == "missing":
        return f"{where}: missing key '{key}'"
    place = f" '{key}':" if key else ""
    is_complete = isinstance(item.get("ctx", {}).get("error"), CompleteError)
    found = "" if is_complete else f", found {shown(item['input'])}"
    otherwise = " or auto" if NOT_AUTO in item["loc"] else ""
    return f"{where}:{place} {plain_words(item)}{otherwise}{found}"


def plain_words(item: ErrorDetails) -> str:
    """Say in plain words what was expected where a value is not valid."""
    if (expected := _EXPECTED.get(item["type"])) is not None:
        context = item.get("ctx", {})
        expected = _FORMS.get(context.get("pattern", ""), expected)
        shortest = {name: f"{n:g}" if isinstance(n, float) else n for name, n in context.items()}
        return f"expected {expected.format(**shortest)}"
    words = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return words.replace("Input should be", "expected", 1)


def _short(part: int | str) -> str:
    text = str(part)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The model class that a validation error's location leads to."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is not None and part in current.model_fields:
            current = _model_in(current.model_fields[part].annotation)
        # Other parts are list positions or union tags: they stay in the same model.
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, list, tuple, Union, types.UnionType):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
