"""The browser that the tests of the page share."""

import pytest
from browser import Opened, chromium


@pytest.fixture(scope="package")
def browser():
    """Chromium, started once; it ends with these tests, because an event loop runs meanwhile."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """Opens pages, and fails at the end of the test if anything went wrong in them."""
    opened = Opened(browser)
    yield opened
    opened.close()
    assert opened.faults == []
