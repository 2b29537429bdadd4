"""Fixtures that the tests of runs share."""

import pytest
from colors import write_colors


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """The color world; no test writes to it."""
    return write_colors(tmp_path_factory.mktemp("colors"))
