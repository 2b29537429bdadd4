"""A page that is served in a thread, and how a test asks for it."""

import contextlib
import http.client
import json
import queue
import re
import threading
from contextlib import contextmanager
from types import SimpleNamespace

from colors import color_experiment, write_colors

from wsol_bench.report.page.server import serve
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import StoredRun


class Page:
    """A page that is served, and how a test asks for it."""

    def __init__(self, served):
        self.served = served
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/([\w-]{32,})/)", served.address)
        self.port, self.root, self.token = int(found[1]), found[2], found[3]

    def ask(self, path, *, method="GET", body=None, host=None, raw=False, **headers):
        """The answer to a request; a path that begins with no slash lies below the secret."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            target = path if raw else self.root + path
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for value in [f"127.0.0.1:{self.port}"] if host is None else host:
                connection.putheader("Host", value)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        return SimpleNamespace(status=answer.status, headers=answer.headers, content=content)

    def json(self, path, **how):
        answer = self.ask(path, **how)
        assert answer.headers["Content-Type"] == "application/json"
        return json.loads(answer.content)

    def error(self, path, status, **how):
        """The sentence of an answer that has to have this status."""
        answer = self.ask(path, **how)
        assert answer.status == status, answer.content[:300]
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        return json.loads(answer.content)["error"]


@contextmanager
def served(*runs):
    """Serve the page of runs in a thread."""
    ready = queue.Queue()
    stored = [StoredRun(run) for run in runs]
    thread = threading.Thread(target=serve, args=[stored], kwargs={"ready": ready.put})
    thread.start()
    page = ready.get(timeout=60)
    try:
        yield Page(page)
    finally:
        page.stop()
        thread.join(30)
        assert not thread.is_alive()


def write_run(folder):
    """Write a run on the color world, ``folder / "run"``, and its images; returns the folder.

    It has two parts of two images. A server reads the first part by itself.
    """
    write_colors(folder / "root")
    experiment = color_experiment(folder / "root", workers=0, part_size=2)
    run_experiment(experiment, out=folder / "run")
    return folder
