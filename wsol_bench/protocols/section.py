"""The base of the sections of a protocol."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from wsol_bench.common.validation_errors import require_no_flag

__all__ = ["Section"]


class Section(BaseModel):
    """A section of a protocol, which cannot be changed; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag(cls, value: Any, field: Any) -> Any:
        return require_no_flag(value, cls.model_fields[field.field_name].annotation)
