"""The choices that a protocol's paper leaves open, with other values that would be as good."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wsol_bench.common.plain_values import plain
from wsol_bench.errors import ConfigError
from wsol_bench.protocols.load import load_protocol, read_protocol
from wsol_bench.protocols.model import Protocol

__all__ = ["OpenChoice", "open_choices"]


class OpenChoice(NamedTuple):
    """Another value of a field of a protocol that its paper does not decide.

    Attributes:
        key: the field, such as ``box.comparison``, or a section, such as ``input``.
        value: the other value; of a section the fields that change.
        own: the protocol's value, as text.
        changes: the protocol's changes to its named protocol, with this one; see ``load_protocol``.
        protocol: the protocol with the other value.
    """

    key: str
    value: Any
    own: str
    changes: dict[str, Any]
    protocol: Protocol

    @property
    def changed(self) -> str:
        """The changed fields in words, such as ``box.comparison=above``."""
        if not isinstance(self.value, Mapping):
            return f"{self.key}={_text(self.value)}"
        fields = ",".join(f"{name}={_text(one)}" for name, one in self.value.items())
        return f"{self.key}.{fields}"

    @property
    def needs_new_maps(self) -> bool:
        """Return whether the network must run again: stored maps are of another input."""
        return self.key.partition(".")[0] == "input"


def open_choices(name: str, changes: Mapping[str, Any]) -> list[OpenChoice]:
    """The open choices of a protocol, without those that it makes or excludes itself.

    The YAML of a protocol lists them under ``open``: for each field other values.

    Args:
        name: the name or the file of a protocol.
        changes: the fields that an experiment changes in it.

    Raises:
        ConfigError: the list is malformed, the protocol has no such field or value, or nothing is
            open.
    """
    choices = list(_open_choices(name, changes))
    if not choices:
        raise ConfigError(
            f"the protocol {name} lists no other values under 'open', so there is nothing to vary; "
            "list some in a protocol file of your own (docs/protocols.md)"
        )
    return choices


def _open_choices(name: str, changes: Mapping[str, Any]) -> Iterator[OpenChoice]:
    base = load_protocol(name, changes)
    listed = read_protocol(name).get("open") or {}
    where = f"protocol {name}: open"
    if not isinstance(listed, Mapping):
        raise ConfigError(f"{where}: expected fields with lists of values, found {listed!r}")
    for key, values in plain(listed).items():
        if not isinstance(values, list):
            raise ConfigError(f"{where}.{key}: expected a list of values, found {values!r}")
        for value in values:
            path = str(key).split(".")
            changed = _merged(changes, path, value)
            try:
                load_protocol(name, _merged({}, path, value))
            except ConfigError as error:
                raise ConfigError(f"{where}.{key}: {error}") from error
            try:
                protocol = load_protocol(name, changed)
            except ConfigError:  # it does not go with what the experiment changes
                continue
            if protocol.hash != base.hash:
                yield OpenChoice(str(key), value, _own(base, str(key), value), changed, protocol)


def _merged(changes: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """The changes with one more, at a path of keys."""
    first, *others = path
    before = changes.get(first)
    inner = before if isinstance(before, Mapping) else {}
    if others:
        return {**changes, first: _merged(inner, others, value)}
    return {**changes, first: {**inner, **value} if isinstance(value, Mapping) else value}


def _own(protocol: Protocol, key: str, value: Any) -> str:
    """The protocol's own value of a field, or of the fields of a section that change."""
    content: Any = protocol.model_dump(mode="json")
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(content, Mapping):
        return _text(content)
    set_values = [content[name] for name in value if content.get(name) is not None]
    return ", ".join(map(_text, set_values)) or "none"


def _text(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(one)}" for name, one in value.items() if one is not None)
    return str(value).lower() if isinstance(value, bool) else str(value)
