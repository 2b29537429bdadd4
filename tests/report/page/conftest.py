"""What the tests of the page share: the browser, and a report."""

import pytest
from browser import Opened, chromium
from report_file import blocks_of

from wsol_bench.report.page.file import write_report


@pytest.fixture(scope="module")
def browser():
    """Chromium. It ends with a file of tests, because asyncio.run fails as long as it is open."""
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


@pytest.fixture(scope="package")
def blocks(report):
    """The data of that report, by block."""
    return blocks_of(report)


@pytest.fixture(scope="package")
def blocks_of_sweep(swept, tmp_path_factory):
    """The data of the report of the run over a sweep of thresholds, by block."""
    file = tmp_path_factory.mktemp("sweep") / "report.html"
    write_report([swept.folder], file)
    return blocks_of(file)
