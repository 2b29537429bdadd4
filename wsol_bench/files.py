"""Files: written whole or not at all, and the folder of what can be made again."""

import os
from pathlib import Path

__all__ = ["IMAGE_FORMATS", "cache_folder", "write_atomically"]

# What an image file may be, whatever its name says: no format that starts a program to be read.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def cache_folder() -> Path:
    """The folder of parsed annotations and of the embedded data set.

    ``$WSOL_BENCH_CACHE``, or the user's cache folder. All of it can be deleted at any time.
    """
    import platformdirs

    configured = os.environ.get("WSOL_BENCH_CACHE")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("wsol_bench"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
