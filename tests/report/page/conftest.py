"""The browser that the tests of the page share."""

import pytest
from browser import Opened, chromium


@pytest.fixture(scope="package")
def browser():
    """Chromium, started once. It ends with these tests: an event loop runs as long as it is open."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """Opens pages, and fails at the end of the test if anything went wrong in them."""
    opened = Opened(browser)
    yield opened
    opened.close()
    assert opened.faults == []
