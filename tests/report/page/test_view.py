"""The served page in a browser, and the command that serves it."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from unittest import mock

import pytest
from command_line import cli
from served_page import Page, served, write_run

from wsol_bench.report.page.server import Served, listener

# What ends the server besides Ctrl-C: a request, a closed terminal.
ENDS = ("SIGTERM", "SIGHUP")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run on the color world."""
    return write_run(tmp_path_factory.mktemp("served"))


def wait_until(page, condition):
    """Wait for a condition; the page's policy forbids what playwright would do in the page."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never: {condition}")


class TestInABrowser:
    def test_all_images_are_shown(self, world, opened):
        with served(world / "run") as page:
            seen = opened(f"{page.served.address}#view=images")
            seen.get_by_text("4 images", exact=True).wait_for()
            pictures = seen.locator(".card img")
            assert pictures.count() == 4
            wait_until(
                seen,
                "[...document.querySelectorAll('.card img')].every((each) => each.naturalWidth)",
            )
            pictures.first.click()
            seen.locator("dialog.viewer").wait_for()
            wait_until(
                seen,
                "[...document.querySelectorAll('dialog.viewer img')].some((each) =>"
                " each.naturalWidth === 224 && each.src.endsWith('pictures/0.jpg?longest=1280'))",
            )

    def test_curves_over_thresholds_are_drawn(self, world, opened, tmp_path):
        """They are those of a report, which has all four images, too."""
        with served(world / "run") as page:
            seen = opened(f"{page.served.address}#view=charts")
            seen.locator("[data-chart=thresholds] .chart-note", has_text="Of 4 images").wait_for()
            while (curves := page.json("curves.json")["curves"]) is None:
                time.sleep(0.05)
        cli("report", world / "run", "--out", tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text()
        assert curves == json.loads(re.search(r'id="curves">(.*?)</script>', text, re.DOTALL)[1])
        assert curves

    def test_why_there_are_no_curves_is_told(self, world, tmp_path, opened):
        copy = write_run(tmp_path)
        with served(copy / "run") as page:
            seen = opened(page.served.address)
            part = copy / "run/rows/000001.parquet"
            part.write_bytes(b"damaged")
            seen.evaluate("location.hash = '#view=charts'")
            card = seen.locator("[data-chart=thresholds]")
            told = card.get_by_text(f"There are no curves over thresholds: {part} is damaged")
            told.wait_for()
            shutil.copy(world / "run/rows/000001.parquet", part)
            for tab in ("Summary", "Charts"):  # asks again
                seen.get_by_role("tab", name=tab).click()
            card.locator(".chart-note", has_text="Of 4 images").wait_for()
            opened.taken_faults()

    def test_it_ends_while_curves_are_drawn(self, world):
        """Their thread does not keep the process, or this test, alive."""
        drawing, go_on = threading.Event(), threading.Event()

        def drawn(*_):
            drawing.set()
            go_on.wait(60)

        with mock.patch("wsol_bench.report.page.server.curves_of_sample", drawn):
            with served(world / "run") as page:
                assert page.json("curves.json") == {"curves": None}
                assert drawing.wait(60)
                threads = [one for one in threading.enumerate() if "_draw_curves" in one.name]
                assert threads and all(one.daemon for one in threads)
            go_on.set()

    def test_a_server_that_has_ended_is_told(self, world, opened):
        with served(world / "run") as page:
            seen = opened(page.served.address)
            seen.locator("#app > *").first.wait_for()
        seen.evaluate("location.hash = '#view=images'")
        seen.get_by_text("wsol-bench view does not answer; start it again").wait_for()
        assert any("ERR_CONNECTION_REFUSED" in fault for fault in opened.taken_faults())

    def test_what_is_damaged_is_told(self, tmp_path, opened):
        copy = write_run(tmp_path)
        with served(copy / "run") as page:
            seen = opened(page.served.address)
            part = copy / "run/rows/000001.parquet"
            part.write_bytes(b"damaged")
            shutil.rmtree(copy / "root")
            seen.evaluate("location.hash = '#view=images'")
            seen.locator(".card").last.click()
            seen.locator("dialog.viewer", has_text=f"{part} is damaged").wait_for()
            opened.taken_faults()


class TestCommand:
    @pytest.fixture
    def started(self, world):
        """The command in a process of its own, once it serves."""
        # A shell's background jobs ignore SIGINT.
        handled = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{handled}\nfrom wsol_bench.cli import main; main()"
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", code, "view", world / "run"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables, text=True,
        ) as process:  # fmt: skip
            address = process.stdout.readline().strip()
            yield process, Page(SimpleNamespace(address=address))
            process.kill()

    @pytest.mark.parametrize(
        "name", ["SIGINT", *(pytest.param(one, marks=pytest.mark.slow) for one in ENDS)]
    )
    def test_serves_until_it_is_interrupted(self, started, name):
        process, page = started
        assert len(page.json("index.json")["ids"]) == 4
        page.error("/", 403, raw=True)
        number = getattr(signal, name)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (128 + number, "")
        # Nothing is said of requests, whose paths hold the secret.
        assert err.splitlines()[-2:] == ["Ctrl-C ends the server.", "Interrupted."]
        assert page.token not in err

    def test_names_the_extra_that_it_needs(self, world, monkeypatch):
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        out, err = cli("view", world / "run", "--quiet", code=1)
        assert (out, err) == (
            "", "Error: wsol-bench view needs starlette and uvicorn: pip install "
            "'wsol-bench[view]'\n",
        )  # fmt: skip

    def test_opens_an_address_that_is_worth_nothing_afterwards(self, world):
        opened = queue.Queue()
        address, once = "http://127.0.0.1:1/secret/", "http://127.0.0.1:1/once"
        page = Served(address, once, lambda: None)

        def serve(runs, *, port, ready):
            ready(page)

        with (
            mock.patch("wsol_bench.report.page.server.serve", serve),
            mock.patch("webbrowser.open", opened.put),
        ):
            out, _ = cli("view", world / "run", "--open")
            assert opened.get(timeout=10) == page.once
            assert out == f"{page.address}\n"
            cli("view", world / "run")
        assert opened.empty()

    def test_of_a_taken_port_fails_before_the_runs_are_read(self, world):
        with listener(None) as taken:
            port = str(taken.getsockname()[1])
            shutil.copytree(world / "run", world / "other", dirs_exist_ok=True)
            (world / "other/classes.parquet").unlink()
            out, err = cli("view", world / "other", "--port", port, "--quiet", code=1)
        assert out == ""
        assert err.startswith(f"Error: --port {port} cannot be used: ")

    def test_of_no_run_says_so(self, tmp_path):
        assert str(tmp_path) in cli("view", tmp_path, code=1)[1]

    @pytest.mark.parametrize("port", ["80", "-1", "65536", "x"])
    def test_of_an_impossible_port_is_a_usage_error(self, world, port):
        assert "--port" in cli("view", world / "run", "--port", port, code=2)[1]
