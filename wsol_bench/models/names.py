"""The names of networks, known without torch, so that a misspelled one is told at once."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from wsol_bench.errors import ModelError, did_you_mean

__all__ = ["model_names", "require_model_name"]

# A builder in torchvision's source code. Those of detection, segmentation and video are in folders
# of their own.
_BUILDER = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def model_names() -> list[str]:
    """Sorted names of the networks that need no prefix: torchvision's classifiers and shapes_net.

    Importing torchvision takes seconds, so they are read from its source code.
    """
    spec = find_spec("torchvision")  # which imports nothing
    folders = spec.submodule_search_locations if spec is not None else None
    names = ["shapes_net"]
    for folder in folders or []:
        for file in Path(folder, "models").glob("*.py"):
            names += _BUILDER.findall(file.read_text(encoding="utf-8"))
    return sorted(names)


def require_model_name(name: str) -> None:
    """Raise ModelError if no network can have the name.

    A name with a prefix (``timm/<name>``) or an import path (``my_module:builder``) passes unread.
    """
    if "/" not in name and ":" not in name and name not in model_names():
        raise ModelError(f"unknown model {name!r}; {did_you_mean(name, model_names())}")
