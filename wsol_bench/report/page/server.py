"""The page of runs of any size, served to the browsers of this machine.

The server is reached by the loopback address only, and every address on it begins with a secret, so
that neither other users of this machine nor pages of other sites can read a run. A client names
images, models and lines by their numbers; no address holds a path of a file.
"""

import gzip
import json
import logging
import re
import secrets
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from wsol_bench.common.harmless import printable_lines
from wsol_bench.errors import ConfigError, WsolBenchError
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.columns import image_index, line_columns, model_columns
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.document import page_html
from wsol_bench.report.page.overview import overview
from wsol_bench.report.page.pictures import picture, why_no_picture
from wsol_bench.report.page.sample_curves import curves_of_sample
from wsol_bench.runs.stored_run import StoredRun

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Gate", "Served", "listener", "page_app", "serve"]

_log = logging.getLogger("uvicorn.error")  # which is on standard error while uvicorn runs

_HOST, _PORT = "127.0.0.1", 8117
# The longer side that a client may ask for, in pixels, and how many pictures are decoded at a time:
# one may take 300 MB.
_SHORTEST, _LONGEST = 16, 2048
_PICTURES_AT_A_TIME = 4
# Images whose maps are cut at every threshold, for the curves of runs under one threshold. Each may
# be in a file of its own, and takes a millisecond a line.
_CURVE_IMAGES, _CURVE_SEED = 200, 0
_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
_POLICY = re.compile('http-equiv="Content-Security-Policy" content="([^"]*)"')
# What browsers are told with every answer. An answer that is no page may do nothing at all.
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


@dataclass(frozen=True)
class Served:
    """A page that is being served.

    Attributes:
        address: the address of the page, which holds the secret.
        once: an address that leads to the page the first time it is asked for. A command line that
            holds it is worth nothing to other users of the machine.
        stop: ends the server, soon after it is called.
    """

    address: str
    once: str
    stop: Callable[[], None]


def serve(
    runs: Sequence[StoredRun], *, port: int | None = None, ready: Callable[[Served], object]
) -> None:
    """Serve the page of runs until this process is interrupted, or until it is told to stop.

    Args:
        runs: the runs.
        port: the port; by default 8117, or any that is free if that is taken.
        ready: called when browsers can open the page.

    Raises:
        ConfigError: the port is taken or not allowed.
        RunError: a run cannot be read.
        KeyboardInterrupt: the process was interrupted.
    """
    with listener(port) as listening:
        collection = Collection(runs)
        authority = f"{_HOST}:{listening.getsockname()[1]}"
        token, once = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        hosts = (authority, authority.replace(_HOST, "localhost"))
        config = uvicorn.Config(
            Gate(page_app(collection, token), token=token, once=once, hosts=hosts),
            http="h11", ws="none", loop="asyncio", lifespan="off", log_level="warning",
            access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        # The socket listens already: who connects now is answered in a moment.
        ready(
            Served(
                address=f"http://{authority}/{token}/",
                once=f"http://{authority}/{once}",
                stop=lambda: setattr(server, "should_exit", True),
            )
        )
        with _ended_by_a_closed_terminal(server):
            server.run(sockets=[listening])


@contextmanager
def _ended_by_a_closed_terminal(server: uvicorn.Server) -> Iterator[None]:
    """End the server by SIGHUP as by Ctrl-C, which uvicorn sees to: at rest, then interrupted.

    An exception amid an answer would leave the threads behind that give the answers.
    """
    number = getattr(signal, "SIGHUP", None)
    in_main = threading.current_thread() is threading.main_thread()
    if number is None or not in_main or signal.getsignal(number) == signal.SIG_IGN:
        yield
        return
    received = []

    def stop(*_: object) -> None:
        received.append(number)
        server.should_exit = True

    before = signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, before)
    if received:
        signal.raise_signal(number)


def listener(port: int | None) -> socket.socket:
    """A socket that listens on a port of the loopback address; see ``serve``.

    Raises:
        ConfigError: the port was asked for, and is taken or not allowed.
    """
    try:
        return socket.create_server((_HOST, _PORT if port is None else port))
    except OSError as error:
        if port is None:
            return socket.create_server((_HOST, 0))
        raise ConfigError(
            f"--port {port} cannot be used: {error.strerror}; leave --port out, which finds a free "
            "one, or name another port"
        ) from error


def page_app(collection: Collection, token: str) -> Starlette:
    """The answers to requests whose path begins with the token; all of them are given in threads.

    Whatever fails becomes an answer with a sentence, in JSON: ``{"error": "..."}``.
    """
    data = _Answers(collection)
    endpoints = {
        "/": data.page,
        "/index.json": data.index,
        "/curves.json": data.curves,
        "/models/{number}.json": data.model,
        "/lines/{number}.json": data.line,
        "/images/{number}.json": data.image,
        "/pictures/{number}.jpg": data.picture,
    }
    app = Starlette(
        routes=[Route(f"/{token}{path}", _with_sentences(one)) for path, one in endpoints.items()]
    )
    app.router.redirect_slashes = False
    app.router.default = _sentence(404, "there is nothing at this address")
    threading.Thread(target=data.read_ahead, daemon=True).start()
    return app


def _with_sentences(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """The endpoint, with an answer that is a sentence in place of an exception."""

    def answer(request: Request) -> Response:
        try:
            return endpoint(request)
        except HTTPException as error:
            return _sentence(error.status_code, error.detail)
        except (WsolBenchError, OSError) as error:
            return _sentence(500, str(error))
        except Exception:
            _log.error(printable_lines(traceback.format_exc()))
            return _sentence(500, "wsol_bench failed; the terminal of 'wsol-bench view' says where")

    return answer


class _Answers:
    """The answer at each address."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._all = np.arange(len(collection.images))
        self._details = Details(collection, deflate=0)
        self._decoding = threading.Semaphore(_PICTURES_AT_A_TIME)
        self._starting_curves = threading.Lock()
        self._curves: Future[list[dict[str, Any]]] | None = None
        seen = overview(collection, source="server")
        collection.forget_numbers()
        blocks = [("overview", _json(seen))]
        self._page = "".join(page_html(seen["title"], blocks, connects=True))
        policy = _POLICY.search(self._page)
        assert policy is not None
        # What a page may not say of itself in a meta element is said here.
        self._policy = f"{policy[1]}; frame-ancestors 'none'"

    def read_ahead(self) -> None:
        """Read the first image: what that imports takes seconds, which nobody should wait for."""
        with suppress(Exception):  # who asks for the image is told
            self._details.of(0)

    def page(self, request: Request) -> Response:
        """The page, with the overview in it."""
        answer = _compressed(request, self._page, "text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = self._policy
        return answer

    def index(self, request: Request) -> Response:
        """All images, as ``ImageIndex`` of assets/types.d.ts."""
        return _as_json(request, image_index(self._collection, self._all))

    def curves(self, request: Request) -> Response:
        """Curves over thresholds of some images, as ``ThresholdCurve``; null until they are drawn.

        They are drawn from the first request on, in a thread that does not outlive the server.
        """
        with self._starting_curves:
            curves = self._curves
            if curves is None:
                curves = self._curves = Future()
                threading.Thread(target=self._draw_curves, args=[curves], daemon=True).start()
            if curves.done() and curves.exception() is not None:
                self._curves = None  # who asks after this error begins anew
        return _as_json(request, {"curves": curves.result() if curves.done() else None})

    def _draw_curves(self, curves: "Future[list[dict[str, Any]]]") -> None:
        try:
            drawn = curves_of_sample(self._collection, self._details, _CURVE_IMAGES, _CURVE_SEED)
            curves.set_result(drawn)
        except Exception as error:
            curves.set_exception(error)

    def model(self, request: Request) -> Response:
        """A model, as ``ModelColumns``."""
        number = _position(request, len(self._collection.models))
        return _as_json(request, model_columns(self._collection, number, self._all))

    def line(self, request: Request) -> Response:
        """A line, as ``LineColumns``."""
        number = _position(request, len(self._collection.lines))
        return _as_json(request, line_columns(self._collection, number, self._all))

    def image(self, request: Request) -> Response:
        """An image, as ``Detail``."""
        number = _position(request, len(self._all))
        reason = why_no_picture(self._collection.images.paths[number])
        # Not compressed: that would take longer than all the rest, and maps do not shrink much.
        detail = self._details.of(number, no_picture=reason)
        return Response(_json(detail), media_type="application/json")

    def picture(self, request: Request) -> Response:
        """A picture of an image, whose longer side has at most ``longest`` pixels."""
        number = _position(request, len(self._all))
        longest = _number(request.query_params.get("longest", "384"))
        if not _SHORTEST <= longest <= _LONGEST:
            raise HTTPException(404, f"expected longest from {_SHORTEST} to {_LONGEST} pixels")
        with self._decoding:
            content = picture(Path(self._collection.images.paths[number]), longest)
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(content, headers=headers, media_type="image/jpeg")


class Gate:
    """Lets only requests through that come from the page itself, and only reading ones.

    Args:
        app: what answers them.
        token: the secret that every path begins with.
        once: a secret whose path leads to the page the first time it is asked for.
        hosts: the host names, with port, under which this server is known. A page of another site
            whose name was made to lead here names itself as host.
    """

    def __init__(self, app: "ASGIApp", *, token: str, once: str, hosts: Sequence[str]) -> None:
        self._app, self._token, self._once, self._hosts = app, token, once, hosts

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request (ASGI)."""

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: "Scope") -> Response | None:
        """The answer to a request that is not let through; None if it is."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _sentence(
                403,
                f"this server is known as http://{self._hosts[0]} only; a tunnel has "
                "to have that port at both ends",
            )
        first, slash, _ = scope["path"].removeprefix("/").partition("/")
        if self._once and _is_same(first, self._once):
            self._once = ""
            return RedirectResponse(f"/{self._token}/", 303)
        if not _is_same(first, self._token):
            return _sentence(
                403, "the address lacks the secret of 'wsol-bench view': open the address that it "
                "printed"
            )  # fmt: skip
        if scope["method"] not in ("GET", "HEAD"):
            answer = _sentence(405, "nothing can be changed here: expected GET or HEAD")
            answer.headers["Allow"] = "GET, HEAD"
            return answer
        return None if slash else RedirectResponse(f"/{self._token}/")


def _is_same(given: str, secret: str) -> bool:
    """Return whether two texts are the same, in a time that does not tell how much of them is."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _position(request: Request, n: int) -> int:
    """The number in a path, which counts n things from 0; HTTPException (404) if there is none."""
    found = _number(request.path_params["number"])
    if found >= n:
        raise HTTPException(404, f"expected a number below {n}, found {found}")
    return found


def _number(text: str) -> int:
    """A whole number that is not negative; HTTPException (404) if the text is none, or huge."""
    if not _NUMBER.fullmatch(text):
        raise HTTPException(404, "expected a whole number")
    return int(text)


def _as_json(request: Request, content: Any) -> Response:
    """An answer in JSON."""
    return _compressed(request, _json(content), "application/json")


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _compressed(request: Request, text: str, media_type: str) -> Response:
    """An answer in text, compressed if the client takes that: a tunnel may lie between the two."""
    content, headers = text.encode(), {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        content = gzip.compress(content, compresslevel=3, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=media_type)


def _sentence(status: int, text: str) -> Response:
    """An answer that says why there is no other."""
    return Response(
        json.dumps({"error": text}), status, {"Cache-Control": "no-store"}, "application/json"
    )
