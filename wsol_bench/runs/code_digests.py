"""Digests of code: a changed method, metric or model builder makes another run."""

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any

from wsol_bench.common.files import digest
from wsol_bench.common.registry import import_object
from wsol_bench.common.versions import UNKNOWN, installed_version
from wsol_bench.models.names import GIVEN, HUGGING_FACE
from wsol_bench.runs.given_digests import object_digest

__all__ = ["builder_digest", "code_digest", "output_digest"]

# The package of a network, by the beginning of the network's name.
_PACKAGES = {"timm/": "timm", HUGGING_FACE: "transformers"}
# What a configuration of Hugging Face says of its files, and not of the network.
_OF_FILES = {"_name_or_path", "_commit_hash", "transformers_version", "dtype", "torch_dtype"}


def code_digest(function: Any) -> str:
    """Digest of the file that defines a function; ``UNKNOWN`` if no file can be read."""
    while isinstance(function, partial):
        function = function.func
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):  # defined in a notebook or in a C extension
        return UNKNOWN
    return digest(content)


def builder_digest(name: str, module: Any = None) -> str | None:
    """Return what identifies the code of a model that is not torchvision's.

    Args:
        name: the name that it was built by.
        module: the network; only one of Hugging Face is asked for its configuration, which says
            what its weights do not: its activation function, the number of its heads.

    Returns:
        The version of timm for a model of timm, that of transformers and the digest of the
        configuration for one of Hugging Face, the digest of its builder's file for one by import
        path (all may be ``UNKNOWN``), that of its code for one that is given as an object, and None
        for one of torchvision.
    """
    for prefix, package in _PACKAGES.items():
        if name.startswith(prefix):
            version = installed_version(package)
            configured = _configuration_digest(module) if prefix == HUGGING_FACE else ""
            return version if version == UNKNOWN else f"{package} {version}{configured}"
    if ":" not in name:
        return None
    builder = import_object(name, "model builder")
    return object_digest(builder.network) if name.startswith(GIVEN) else code_digest(builder)


def _configuration_digest(module: Any) -> str:
    """The digest of the configuration of a network of Hugging Face, for ``builder_digest``."""
    config = getattr(module, "config", None)
    if config is None:
        return ""
    values = {key: value for key, value in config.to_dict().items() if key not in _OF_FILES}
    return f", config {digest(json.dumps(values, sort_keys=True, default=str).encode())}"


def output_digest(output: int | str | None) -> str | None:
    """Digest of the function that reads a network's scores; None if none does.

    It is that of the file which an import path names, or of a function that is given as an object.
    """
    if not isinstance(output, str) or ":" not in output:
        return None
    function = import_object(output, "function of a network's output")
    return object_digest(function) if output.startswith(GIVEN) else code_digest(function)
