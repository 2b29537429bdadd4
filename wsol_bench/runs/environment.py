"""The environment of a run: the versions of packages, and the digest of this package's code."""

import hashlib
import platform
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from wsol_bench.common.versions import UNKNOWN, installed_version
from wsol_bench.runs.facts import Facts

__all__ = ["Environment"]

# The packages that a number depends on; a run is made with one version of each.
_PACKAGES = ("wsol-bench", "torch", "torchvision", "numpy", "numba", "pillow")


class Environment(Facts):
    """Everything that a number may depend on in addition to the experiment and its data.

    What cannot be told is ``UNKNOWN``, which is not different from anything.

    Attributes:
        versions: the version of each package.
        python: the version of Python.
        sources: digest of this package's own code and protocols.
    """

    versions: dict[str, str]
    python: str
    sources: str

    @classmethod
    def here(cls) -> "Environment":
        """The environment of this process."""
        versions = {name: installed_version(name) for name in _PACKAGES}
        return cls(versions=versions, python=platform.python_version(), sources=_package_digest())


@lru_cache(maxsize=1)
def _package_digest() -> str:
    """Digest of this package's code and protocols; ``UNKNOWN`` if a file cannot be read.

    A change of its documentation does not enter.
    """
    content = hashlib.sha256()
    try:
        for name, file in sorted(_walk(files("wsol_bench"), "")):
            content.update(f"{name}\n".encode())
            content.update(file.read_bytes())
    except OSError:
        return UNKNOWN
    return content.hexdigest()[:16]


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    """The Python and YAML files below a folder, each with its path in the folder."""
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry, f"{name}/")
        elif entry.name.endswith((".py", ".yaml")):
            yield name, entry
