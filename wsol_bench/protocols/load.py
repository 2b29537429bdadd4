"""Loading of protocols by name or file, with the fields that a configuration changes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wsol_bench.common.yaml_files import read_yaml
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.protocols.model import AnyProtocol, parse_protocol

__all__ = ["SUMMARIES", "load_protocol", "protocol_names", "read_protocol"]

# A line about each built-in protocol, for lists.
SUMMARIES = {
    "choe-2020-pxap": "pixels of masks, at all thresholds",
    "choe-2020-v1": "the largest box at all thresholds, IoU 0.5",
    "choe-2020-v2": "boxes at all thresholds, IoU 0.3, 0.5, 0.7",
    "gradcam-2017": "boxes at 15% of a map's maximum, IoU 0.5",
    "wsol-2018-crop": "boxes as in wsol-2018-squash, of the central square of an image",
    "wsol-2018-squash": "the largest box at all thresholds, IoU 0.5: top-1, top-5, GT-known",
    "zhou-2016": "boxes at 20% of a map's maximum, IoU 0.5",
}


def protocol_names() -> list[str]:
    """The names of the built-in protocols."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def load_protocol(name: str, changes: Mapping[Any, Any] | None = None) -> AnyProtocol:
    """A protocol by built-in name or by path of a YAML file.

    Args:
        name: name of a built-in protocol, or a path that ends in .yaml or .yml.
        changes: nested fields to replace. The result's name then lists them, so that a changed
            protocol is never reported under the published name.

    Raises:
        ConfigError: an unknown name or key, a value out of range, or a file that has the name of a
            built-in protocol and differs from it.
    """
    content = read_protocol(name)
    content.pop("open", None)  # which ``open_choices`` reads
    changed: list[str] = []
    for section, fields in (changes or {}).items():
        changed += _change(content, section, fields)
    if changed:
        content["name"] = f"{content.get('name')}+{','.join(changed)}"
    protocol = parse_protocol(content, f"protocol {name}")
    borrowed = protocol.name != name and protocol.name in protocol_names()
    if borrowed and protocol.hash != load_protocol(protocol.name).hash:
        raise ConfigError(
            f"protocol {name}: {protocol.name!r} is the name of a built-in protocol, from "
            "which this file differs; give the file another 'name'"
        )
    return protocol


def read_protocol(name: str) -> dict[Any, Any]:
    """The content of a protocol's YAML, as it is written.

    Args:
        name: see ``load_protocol``.

    Raises:
        ConfigError: there is no such protocol, or its file cannot be read.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        if name not in protocol_names():
            raise ConfigError(f"unknown protocol {name!r}; {did_you_mean(name, protocol_names())}")
        path = Path(__file__).with_name(f"{name}.yaml")
    return dict(read_yaml(path, "protocol"))


def _change(content: dict[Any, Any], key: Any, value: Any, path: str = "") -> Iterator[str]:
    """Set a key, or the keys within it if both values are mappings; yields each change as text."""
    if isinstance(value, dict) and isinstance(content.get(key), dict):
        content[key] = dict(content[key])
        for name, item in value.items():
            yield from _change(content[key], name, item, f"{path}{key}.")
    elif isinstance(value, dict) and value:
        content[key] = value
        yield from (f"{path}{key}.{name}={_in_yaml(item)}" for name, item in value.items())
    else:
        content[key] = value
        yield f"{path}{key}={_in_yaml(value)}"


def _in_yaml(value: Any) -> Any:
    """True and false as YAML writes them; other values as they are."""
    return str(value).lower() if isinstance(value, bool) else value
