"""Changes to a configuration before it is validated: ``key=value`` overrides and ``${VAR}``."""

import os
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from wsol_bench.common.plain_values import DEEPEST
from wsol_bench.common.yaml_files import parse_yaml
from wsol_bench.errors import ConfigError, shown

__all__ = ["expand_variables", "with_override"]


def with_override(content: dict[Any, Any], override: str) -> dict[Any, Any]:
    """A copy of a configuration with one value set.

    Args:
        content: the configuration.
        override: ``key.path=value``, the value in YAML; list positions count from 0.

    Raises:
        ConfigError: the override is malformed, or its path does not fit the configuration.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"override {shown(override)}: expected key.path=value")
    *parents, last = path.split(".")
    changed = deepcopy(content)
    node: Any = changed
    for key in parents:
        node = _child(node, key, override)
    value = parse_yaml(text, f"override {shown(override)}")
    if isinstance(node, list):
        node[_position(node, last, override)] = value
    else:
        node[last] = value
    return changed


def expand_variables(
    value: Any,
    where: str,
    key: tuple[str, ...] = (),
    variables: Mapping[str, str] = os.environ,
) -> Any:
    """A configuration with each ``${VAR}`` in its strings replaced by the variable's value.

    Args:
        value: the configuration, or a value in it.
        where: its file, for messages.
        key: the path of the value in the configuration.
        variables: the variables; by default those of the environment.

    Raises:
        ConfigError: a variable is not set, or the configuration is nested within itself.
    """
    if len(key) > DEEPEST:
        raise ConfigError(
            f"{where}: expected at most {DEEPEST} nested levels, found more; does a YAML alias "
            "lead back into itself?"
        )
    if isinstance(value, dict):
        return {
            name: expand_variables(item, where, (*key, str(name)), variables)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [
            expand_variables(item, where, (*key, str(index)), variables)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise ConfigError(
                f"{where}: '{'.'.join(key)}' needs the environment variable {name}, "
                "which is not set"
            )
        return variables[name]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def _child(node: Any, key: str, override: str) -> Any:
    """The mapping or list at a key; a bare name there becomes the mapping that it stands for."""
    place: Any = _position(node, key, override) if isinstance(node, list) else key
    child = node[place] if isinstance(node, list) else node.setdefault(place, {})
    if isinstance(child, str):
        child = node[place] = {"name": child}
    if not isinstance(child, (dict, list)):
        raise ConfigError(
            f"override {shown(override)}: expected a mapping at {key!r}, found {shown(child)}"
        )
    return child


def _position(node: list[Any], key: str, override: str) -> int:
    """The list position that a key names."""
    if not key.isdecimal() or int(key) >= len(node):
        raise ConfigError(
            f"override {shown(override)}: expected a position from 0 to {len(node) - 1}, found "
            f"{shown(key)}"
        )
    return int(key)
