"""The environment of a run: the versions of packages, and the digest of this package's code."""

import hashlib
import platform
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

from wsol_bench.runs.facts import Facts

__all__ = ["Environment"]

# The packages that a number depends on; a run is made with one version of each.
_PACKAGES = ("wsol-bench", "torch", "torchvision", "numpy", "numba", "pillow")


class Environment(Facts):
    """Everything that a number may depend on in addition to the experiment and its data.

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
        versions = {name: version(name) for name in _PACKAGES}
        return cls(versions=versions, python=platform.python_version(), sources=_package_digest())


@lru_cache(maxsize=1)
def _package_digest() -> str:
    """Digest of this package's code and protocols; a change of its documentation does not enter."""
    content = hashlib.sha256()
    for name, file in sorted(_walk(files("wsol_bench"), "")):
        content.update(f"{name}\n".encode())
        content.update(file.read_bytes())
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
