"""A network and a file of its classes, for the tests of classifiers."""

from pathlib import Path

import pytest
from small_squeezenet import WNIDS, squeezenet
from torch import nn


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return squeezenet()


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("".join(f"{wnid} some words, more words\n" for wnid in WNIDS) + "\n")
    return path
