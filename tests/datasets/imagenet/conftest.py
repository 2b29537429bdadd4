"""A cache folder of each test's own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of one test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(folder))
    return folder
