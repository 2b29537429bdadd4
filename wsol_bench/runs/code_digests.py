"""Digests of code: a changed method, metric or model builder makes another run."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

from wsol_bench.common.files import digest
from wsol_bench.common.registry import import_object
from wsol_bench.common.versions import UNKNOWN, installed_version

__all__ = ["builder_digest", "code_digest", "output_digest"]


def code_digest(function: Any) -> str:
    """Digest of the file that defines a function; ``UNKNOWN`` if no file can be read."""
    while isinstance(function, partial):
        function = function.func
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):  # defined in a notebook or in a C extension
        return UNKNOWN
    return digest(content)


def builder_digest(name: str) -> str | None:
    """Return what identifies the code of a model that is not torchvision's.

    Returns:
        The version of timm for a model of timm, the digest of its builder's file for one by import
        path (both may be ``UNKNOWN``), and None for one of torchvision.
    """
    if name.startswith("timm/"):
        timm = installed_version("timm")
        return timm if timm == UNKNOWN else f"timm {timm}"
    return code_digest(import_object(name, "model builder")) if ":" in name else None


def output_digest(output: int | str | None) -> str | None:
    """Digest of the file of the function that reads a network's scores; None if none does."""
    if not isinstance(output, str) or ":" not in output:
        return None
    return code_digest(import_object(output, "function of a network's output"))
