"""Fixtures and settings of all tests: checked shapes, a cache folder, the folder of real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Before anything imports wsol_bench: beartype then checks every signature and shape in it.
install_import_hook("wsol_bench", "beartype.beartype")

os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples every time, and no deadline: the first call may compile.
settings.register_profile("wsol_bench", derandomize=True, deadline=None)
settings.load_profile("wsol_bench")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process waits for one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def cache_dir() -> Iterator[Path]:
    """The cache folder of this checkout's tests: kept between runs, apart from the user's own."""
    folder = Path(__file__).resolve().parent.parent / ".cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSOL_BENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Thousands of small files are written, and no power fails while they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; tests that ask for it are skipped without one."""
    if "WSOL_BENCH_DATA" not in os.environ:
        pytest.skip("set WSOL_BENCH_DATA to the folder of real data to run this test")
    return Path(os.environ["WSOL_BENCH_DATA"])
