"""Torchvision's published weights: from a folder, or downloaded, into torchvision's cache."""

import contextlib
import hashlib
import io
import os
import re
import shutil
from pathlib import Path

import torch

from wsol_bench.common.progress import step
from wsol_bench.errors import ModelError

__all__ = ["Remarks", "obtain"]

# The digits of a file's SHA-256 that torchvision puts at the end of its name.
_DIGEST = re.compile(r"-([0-9a-f]{8})\.\w+$")


class Remarks(io.TextIOBase):
    """Takes what torch prints of a download, as a step of long work."""

    def write(self, text: str) -> int:
        """Say which file is downloaded."""
        if text.strip():
            step(text.strip().replace("Downloading: ", "downloading ", 1).replace('"', ""))
        return len(text)


def obtain(name: str, weights: str, folder: Path) -> None:
    """Have torchvision's published weights in its cache: from a folder, or else downloaded.

    Nothing is done for networks that are not torchvision's, and for names of weights that
    torchvision does not know; loading them says what is wrong.

    Args:
        name: the name of the network.
        weights: the name of published weights, such as ``IMAGENET1K_V1``.
        folder: where the file is looked for, under the name of its download.

    Raises:
        ModelError: the weights are in neither place and cannot be downloaded; or the file in the
            folder is not what its name says.
    """
    if name == "shapes_net" or "/" in name or ":" in name:
        return
    import torchvision  # its import takes seconds

    sets = torchvision.models.get_model_weights(name)
    if weights not in {"DEFAULT", *(one.name for one in sets)}:
        return
    url = sets[weights].url
    file = url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if cached.is_file():
        return
    if (folder / file).is_file():
        _require_digest(folder / file)
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_name(f".{file}.{os.getpid()}")
        shutil.copyfile(folder / file, partial)
        partial.replace(cached)
        return
    try:
        with contextlib.redirect_stdout(Remarks()):
            sets[weights].get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a damaged download
        raise ModelError(
            f"{name}: torchvision's weights could not be downloaded ({error}). Get {url} on a "
            f"machine with internet access, and put it into {folder}"
        ) from error


def _require_digest(file: Path) -> None:
    """Raise ModelError if a file of torchvision is not what its name says."""
    expected = _DIGEST.search(file.name)
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected is not None and not found.startswith(expected[1]):
        raise ModelError(
            f"{file}: expected a file whose SHA-256 begins with {expected[1]}, as its name says, "
            f"found {found[:8]}; download it again"
        )
