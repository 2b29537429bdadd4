"""Pydantic's validation errors, written as lines that say what to mend."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from wsol_bench.errors import did_you_mean

__all__ = ["ONE", "SEVERAL", "explain"]

# Tags of a union's branches. Pydantic puts them into the location of an error, where a key could
# be; no key has such a name.
ONE = "<one>"
SEVERAL = "<several>"


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The problems of a validation error, one a line: where, key, what is wrong.

    An unknown key is followed by the nearest key of the model.

    Args:
        error: error of validating ``model``.
        model: model that was validated.
        where: name of the validated content in the lines.
    """
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part not in (ONE, SEVERAL))
        if item["type"] == "extra_forbidden":
            parent = _model_at(model, item["loc"][:-1])
            fields = parent.model_fields if parent else ()
            suggestion = did_you_mean(str(item["loc"][-1]), fields)
            lines.append(f"{where}: unknown key '{key}'; {suggestion}")
        elif item["type"] == "missing":
            lines.append(f"{where}: missing key '{key}'")
        else:
            message = item["msg"].removeprefix("Value error, ")
            place = f" '{key}'" if key else ""
            lines.append(f"{where}:{place} {message}, found {item['input']!r}")
    return "\n".join(lines)


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
