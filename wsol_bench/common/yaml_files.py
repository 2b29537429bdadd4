"""Reading of YAML texts and files into plain values."""

from pathlib import Path
from typing import Any

import yaml

from wsol_bench.errors import ConfigError

__all__ = ["parse_yaml", "read_yaml"]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a repeated key in a mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                line = node.value[position][0].start_mark.line + 1
                raise ConfigError(f"line {line}: expected each key once, found {key!r} again")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: text to parse.
        where: name of the text in error messages.

    Raises:
        ConfigError: the text is not valid YAML, or repeats a key.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it builds plain values only
    except (yaml.YAMLError, ConfigError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}") from error


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: path of the file.
        kind: what the file describes ("protocol"), for error messages.

    Raises:
        ConfigError: the file is missing, cannot be read, or holds no mapping.
    """
    where = f"{kind} {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{where} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    content = parse_yaml(text, where)
    if not isinstance(content, dict):
        kind_found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{where}: expected a mapping, found {kind_found}")
    return content
