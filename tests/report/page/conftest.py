"""The browser that the tests of the page share."""

import pytest
from browser import Opened, chromium

from wsol_bench.report.page.file import write_report


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


@pytest.fixture(scope="package")
def report(run, tmp_path_factory):
    """The file of the report of a run of three methods on ten images."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report([run.folder], path)
    return path
