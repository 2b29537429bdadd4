"""The versions of installed packages, and the word for a fact that is not known."""

from importlib.metadata import PackageNotFoundError, version

from wsol_bench import __version__

__all__ = ["UNKNOWN", "installed_version"]

# Stands for a version or a digest of code that cannot be told; it differs from no other.
UNKNOWN = "unknown"


def installed_version(distribution: str) -> str:
    """The version of an installed distribution; ``UNKNOWN`` if its metadata is missing.

    This package knows its own version, even if it is imported from a folder.
    """
    if distribution == "wsol-bench":
        return __version__
    try:
        return version(distribution) or UNKNOWN
    except PackageNotFoundError:
        return UNKNOWN
