"""YAML and its validation errors, said so that they can be mended."""

import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from wsol_bench.errors import ConfigError, did_you_mean

__all__ = ["ONE", "SEVERAL", "explain", "parse_yaml", "read_yaml"]

# What pydantic puts in the place of an error to tell the branch of a union; no key is called so.
ONE = "<one>"
SEVERAL = "<several>"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key that stands twice in a mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise ConfigError(f"line {mark.line + 1}: key {key!r} stands twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; ConfigError, which names the source, where it is none."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it builds plain values only
    except (yaml.YAMLError, ConfigError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{source}: {error}") from error


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError with its path where it is missing or none."""
    source = f"{kind} {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{source} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: {error}") from error
    content = parse_yaml(text, source)
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{source}: expected a mapping, found {found}")
    return content


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line a problem: source, key, what is wrong, and the nearest known key for a typo."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part not in (ONE, SEVERAL))
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
