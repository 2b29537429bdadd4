"""Reading of YAML texts and files into plain values, of bounded size."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from wsol_bench.common.files import require_regular
from wsol_bench.common.plain_values import DEEPEST
from wsol_bench.errors import ConfigError, shown

__all__ = ["parse_yaml", "read_yaml"]

# No experiment and no protocol comes near these bounds.
_MOST_BYTES = 10 * 2**20
_MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a repeated key and too many values are errors.

    An alias (``*name``) stands for all values of its anchor, each time: a few lines of aliases of
    aliases are billions of values.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._n_values: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one value with all that is in it."""
        is_alias = self.check_event(yaml.AliasEvent)
        line = self.current_event.start_mark.line + 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConfigError(f"line {line}: expected at most {DEEPEST} nested levels, found more")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias and node not in self._n_values:  # it is not complete yet
            raise ConfigError(f"line {line}: an alias leads back into the value that holds it")
        if not is_alias:
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            pairs = [child if isinstance(child, tuple) else (child,) for child in children]
            self._n_values[node] = 1 + sum(self._n_values[one] for pair in pairs for one in pair)
        if self._n_values[node] > _MOST_VALUES:
            raise ConfigError(
                f"line {line}: expected at most {_MOST_VALUES} values, found more; an alias counts "
                "as all values that it stands for"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; ConfigError if a key is there twice."""
        earlier = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # the error of such a key comes below
            if key in earlier:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"line {line}: expected each key once, found {shown(key)} again")
            earlier.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: text to parse.
        where: name of the text in error messages.

    Raises:
        ConfigError: the text is not valid YAML, repeats a key, is nested more than 50 levels deep,
            or holds more than 100,000 values.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it builds plain values only
    except Exception as error:  # PyYAML may raise any error on odd texts, such as !!int x
        raise ConfigError(f"{where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why a text is not valid, in one line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return ": ".join(part for part in (place, error.context, error.problem) if part)
    if isinstance(error, (yaml.YAMLError, ConfigError)):
        return " ".join(str(error).split())
    return f"a value is not valid: {' '.join(str(error).split()) or type(error).__name__}"


def read_yaml(path: Path, kind: str) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Args:
        path: path of the file.
        kind: what the file describes ("protocol"), for error messages.

    Raises:
        ConfigError: the file is missing, cannot be read, has more than 10 MiB, or holds no mapping.
    """
    where = f"{kind} {path}"
    try:
        require_regular(path)
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ConfigError(f"{where}: expected at most {_MOST_BYTES} bytes, found {size}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{where} does not exist") from error
    except (OSError, ValueError) as error:  # of a path, or of UTF-8
        raise ConfigError(f"{where}: {error}") from error
    content = parse_yaml(text, where)
    if not isinstance(content, dict):
        kind_found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{where}: expected a mapping, found {kind_found}")
    return content
