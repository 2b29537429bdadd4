"""A finished run of four parts, evaluated once, and copies of it."""

import shutil

import pytest
from four_parts import experiment

import wsol_bench


@pytest.fixture(scope="session")
def sound(root):
    """The results of a run of four parts."""
    return wsol_bench.run(experiment(root))


@pytest.fixture
def run(sound, tmp_path):
    """A copy of the folder of that run."""
    return shutil.copytree(sound.folder.path, tmp_path / "run", copy_function=shutil.copy2)
