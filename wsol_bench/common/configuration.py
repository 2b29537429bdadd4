"""The base of everything that is read from an experiment's YAML."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from wsol_bench.common.plain_values import plain
from wsol_bench.common.validation_errors import require_no_flag

__all__ = ["Configuration"]


class Configuration(BaseModel):
    """A part of a configuration: its JSON is read back as it was, infinite numbers included."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    @model_validator(mode="before")
    @classmethod
    def _of_plain_values(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        configs = {key: value for key, value in content.items() if _is_configuration(value)}
        others = {key: value for key, value in content.items() if key not in configs}
        return plain(others) | configs

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag(cls, value: Any, field: Any) -> Any:
        return require_no_flag(value, cls.model_fields[field.field_name].annotation)


def _is_configuration(value: object) -> bool:
    """Return whether a value is a part of a configuration, or a list of them."""
    values = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, BaseModel) for one in values)
