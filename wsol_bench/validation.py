"""Validation errors of configurations, said so that they can be mended."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from wsol_bench.errors import did_you_mean

__all__ = ["explain"]


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line a problem: source, key, what is wrong, and the nearest known key for a typo."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parent = _model_at(model, item["loc"][:-1])
            known = parent.model_fields if parent else ()
            lines.append(
                f"{source}: unknown key '{key}'; {did_you_mean(str(item['loc'][-1]), known)}"
            )
        elif item["type"] == "missing":
            lines.append(f"{source}: missing key '{key}'")
        else:
            message = item["msg"].removeprefix("Value error, ")
            place = f" '{key}'" if key else ""
            lines.append(f"{source}:{place} {message}, found {item['input']!r}")
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
