"""Fixtures that the tests of runs share."""

import tempfile
from pathlib import Path

import pytest
from colors import write_colors


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """The color world; no test writes to it."""
    return write_colors(tmp_path_factory.mktemp("colors"))


@pytest.fixture
def files(monkeypatch):
    """An empty folder of temporary files, whose path is short enough for those of sockets."""
    with tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)
