"""The server of the page: what it answers, and what it refuses."""

import contextlib
import gzip
import json
import os
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from unittest import mock

import pytest
from PIL import Image
from served_page import served, write_run

from wsol_bench.errors import ConfigError
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details
from wsol_bench.report.page.server import listener
from wsol_bench.runs.stored_run import StoredRun


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run on the color world, and beside it what nobody may read."""
    folder = write_run(tmp_path_factory.mktemp("served"))
    (folder / "secret.txt").write_text("secret")
    Image.new("RGB", (8, 8)).save(folder / "secret.jpg")
    return folder


@pytest.fixture(scope="module")
def page(world):
    with served(world / "run") as page:
        yield page


@pytest.fixture
def copy(tmp_path):
    """The same run, which a test may damage."""
    return write_run(tmp_path)


@pytest.fixture(scope="module")
def collection(world):
    return Collection([StoredRun(world / "run")])


def through_json(value):
    return json.loads(json.dumps(value))


class TestAnswers:
    def test_the_page_holds_the_overview(self, page, collection):
        answer = page.ask("")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        text = answer.content.decode()
        assert text.startswith("<!doctype html>")
        block = re.search(r'<script type="application/json" id="overview">(.*?)</script>', text)
        assert json.loads(block[1])["source"] == "server"

    def test_details_are_those_of_the_collection(self, page, collection):
        details = Details(collection, deflate=0)
        for image in range(4):
            assert page.json(f"images/{image}.json") == through_json(details.of(image))

    def test_pictures_are_jpeg_no_larger_than_asked_for(self, page):
        for longest, expected in ((384, (384, 96)), (64, (64, 16)), (1280, (448, 112))):
            answer = page.ask(f"pictures/2.jpg?longest={longest}")
            assert answer.headers["Content-Type"] == "image/jpeg"
            with Image.open(BytesIO(answer.content)) as picture:
                assert (picture.format, picture.size) == ("JPEG", expected)
                assert not picture.getexif()
                red, green, blue = picture.getpixel((picture.width - 5, picture.height // 2))
                assert blue > 200 > 50 > max(red, green)

    def test_are_compressed_for_those_who_take_that(self, page):
        for path in ("", "index.json", "models/0.json", "lines/0.json"):
            plain, packed = page.ask(path), page.ask(path, Accept_Encoding="br, gzip")
            assert packed.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(packed.content) == plain.content
            assert plain.headers["Content-Encoding"] is None
            assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        for path in ("pictures/0.jpg", "images/0.json"):  # of which little would be left to gain
            answer = page.ask(path, Accept_Encoding="gzip")
            assert answer.headers["Content-Encoding"] is None

    def test_to_head_are_the_headers_alone(self, page):
        for path in ("", "index.json", "pictures/0.jpg"):
            whole, head = page.ask(path), page.ask(path, method="HEAD")
            assert (head.status, head.content) == (200, b"")
            assert head.headers["Content-Length"] == str(len(whole.content))

    def test_are_given_to_localhost_too(self, page):
        assert page.ask("index.json", host=[f"localhost:{page.port}"]).status == 200

    def test_twenty_at_a_time(self, page):
        paths = [f"images/{number % 4}.json" for number in range(20)]
        alone = {path: page.ask(path).content for path in set(paths)}
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(page.ask, paths))
        assert [answer.content for answer in answers] == [alone[path] for path in paths]

    def test_the_address_for_a_command_line_works_once(self, world):
        with served(world / "run") as page:
            once = page.served.once.removeprefix(f"http://127.0.0.1:{page.port}")
            assert page.token not in once
            page.error(once, 403, raw=True, host=["evil.example"])
            first = page.ask(once, raw=True)
            assert (first.status, first.headers["Location"]) == (303, page.root)
            page.error(once, 403, raw=True)

    def test_a_lost_slash_at_the_end_is_found_again(self, page):
        answer = page.ask(page.root.rstrip("/"), raw=True)
        assert (answer.status, answer.headers["Location"]) == (307, page.root)


class TestHeaders:
    PATHS = ("", "index.json", "images/0.json", "pictures/0.jpg", "nothing")

    @pytest.mark.parametrize("path", PATHS)
    def test_let_no_other_site_use_an_answer(self, page, path):
        headers = page.ask(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"].startswith(("private", "no-store"))
        assert headers["Access-Control-Allow-Origin"] is None
        assert headers["Server"] is None
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]

    def test_hold_the_policy_of_the_page(self, page):
        answer = page.ask("")
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'sha256-" in policy
        assert "connect-src 'self'" in policy
        of_page = re.search(r'Security-Policy" content="([^"]*)"', answer.content.decode())[1]
        assert policy == of_page.replace("&#x27;", "'") + "; frame-ancestors 'none'"

    def test_of_refusals_are_the_same(self, page):
        for how in ({"host": ["evil.example"]}, {"method": "POST"}, {"raw": True}):
            assert page.ask("/x", **how).headers["X-Content-Type-Options"] == "nosniff"


class TestRefusals:
    def test_without_the_secret(self, page):
        root, token = page.root, page.token
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
        paths = ("/", "//", "/index.json", "/a/", "/%C3%A9/", "/%FF/", "/%00/", "//" + root)
        near = (f"/{wrong}/", f"/{token[:-1]}/", f"/{token}x/", f"/{token.swapcase()}/")
        around = (f"/a/..{root}", f"/.{root}", f"http://127.0.0.1:{page.port}{root}", f"/?{root}")
        for path in (*paths, *near, *around):
            said = page.error(path, 403, raw=True)
            assert "the address lacks the secret" in said
            assert token not in said

    @pytest.mark.parametrize(
        "host",
        [
            ["evil.example"],
            ["127.0.0.1"],
            ["127.0.0.1:1"],
            ["evil.example:{port}"],
            ["127.0.0.1:{port}.evil.example"],
            ["127.0.0.1:{port}", "evil.example"],
            ["[::1]:{port}"],
            [""],
        ],
    )
    def test_of_another_host(self, page, host):
        """As a page asks whose name was made to lead to this machine (DNS rebinding)."""
        answer = page.ask("index.json", host=[one.format(port=page.port) for one in host])
        assert answer.status in (400, 403)
        assert b"ILSVRC" not in answer.content

    def test_of_a_request_without_a_host(self, page):
        with socket.create_connection(("127.0.0.1", page.port), timeout=30) as client:
            client.sendall(f"GET {page.root}index.json HTTP/1.0\r\n\r\n".encode())
            answer = client.makefile("rb").read()
        assert b" 403 " in answer.splitlines()[0]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"])
    def test_of_whatever_might_change_something(self, page, method):
        answer = page.ask("index.json", method=method, body=b"{}")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize(
        "path",
        [
            *("../secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "%2e%2e/secret.txt"),
            *("....//secret.txt", "..\\secret.txt", "..%5csecret.txt", "%252e%252e%252fsecret.txt"),
            *("/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "run/manifest.json"),
            *("pictures/../secret.jpg", "pictures/..%2fsecret.jpg", "pictures/secret.jpg"),
            *("pictures/0.jpg%00.jpg", "pictures/0.jpg/", "images/0.json/..", "index.json/"),
            *("assets/main.js", "favicon.ico", "index", "images/", "images/0", "images"),
        ],
    )
    def test_of_paths(self, page, path):
        assert page.error(path, 404)

    @pytest.mark.parametrize("kind", ["models/{}.json", "lines/{}.json", "images/{}.json",
                                      "pictures/{}.jpg"])  # fmt: skip
    @pytest.mark.parametrize(
        "number",
        ["-1", "4", "99", "1e1", "0x1", "00", "1.0", "%20", "+1", "nan", "%D9%A1", "9" * 5000,
         "1%0a", "true", "", "~", "*"],
    )  # fmt: skip
    def test_of_numbers_that_count_nothing(self, page, kind, number):
        assert page.error(kind.format(number), 404)

    @pytest.mark.parametrize("longest", ["0", "15", "2049", "99999999", "-384", "x", "", "1e2"])
    def test_of_sizes(self, page, longest):
        assert page.error(f"pictures/0.jpg?longest={longest}", 404)

    def test_from_other_machines(self, page):
        """Only the loopback address is bound, so others of this machine lead nowhere."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            with contextlib.suppress(OSError):  # nothing is sent; the system says which way
                route.connect(("192.0.2.1", 9))
            own = route.getsockname()[0]
        others = {own, "127.0.0.2"} - {"0.0.0.0", "127.0.0.1"}
        for address in others:
            with pytest.raises(OSError):
                socket.create_connection((address, page.port), timeout=5)

    def test_leave_no_trace_of_the_secret(self, page, capfd):
        page.ask("nothing")
        page.ask("/", raw=True)
        assert capfd.readouterr() == ("", "")


class TestFiles:
    def test_that_no_run_names_are_never_opened(self, world):
        """Python tells which files are opened while a client asks for all sorts of things."""
        opened = []

        def note(event, arguments):
            if opened is not None and event in ("open", "os.open"):
                opened.append(str(arguments[0]))

        with served(world / "run") as page:
            for path in ("", "index.json", "images/0.json", "pictures/0.jpg"):  # modules load once
                page.ask(path)
            sys.addaudithook(note)
            for path in ("index.json", "images/1.json", "pictures/1.jpg"):
                assert page.ask(path).status == 200
            for path in ("../secret.txt", "secret.jpg", "pictures/%2e%2e%2f%2e%2e%2fsecret.jpg"):
                page.ask(path)
            page.ask("/secret.txt", raw=True)
            names, opened = opened, None
        allowed = (str(world / "run"), str(world / "root"))
        assert [name for name in names if not name.startswith(allowed)] == []
        assert any(name.startswith(allowed[1]) for name in names)  # the hook sees something

    def test_that_are_damaged_are_told_and_the_server_lives_on(self, copy):
        with served(copy / "run") as page:
            part = copy / "run/rows/000001.parquet"
            sound = part.read_bytes()
            part.write_bytes(sound[:-50] + bytes(50))
            said = page.error("images/3.json", 500)
            assert f"{part} is damaged" in said
            assert page.ask("lines/0.json").status == 200
            part.unlink()
            assert f"{part} is missing" in page.error("images/3.json", 500)
            part.write_bytes(sound)
            assert page.ask("images/3.json").status == 200

    def test_that_are_no_picture_are_told(self, copy):
        """A picture that became a pipe would be waited for without end."""
        images = copy / "root/ILSVRC/Data/CLS-LOC/val"
        first, second, third, fourth = sorted(images.iterdir())
        first.unlink()
        second.write_bytes(b"no picture")
        third.unlink()
        os.mkfifo(third)
        fourth.unlink()
        fourth.symlink_to("/dev/zero")
        with served(copy / "run") as page:
            assert "does not exist" in page.error("pictures/0.jpg", 500)
            assert "cannot be decoded" in page.error("pictures/1.jpg", 500)
            assert "found a pipe" in page.error("pictures/2.jpg", 500)
            assert "found a device" in page.error("pictures/3.jpg", 500)
            assert page.ask("images/0.json").status == 200

    def test_a_fault_of_the_code_is_told_too(self, world, capfd):
        with served(world / "run") as page:
            fault = ZeroDivisionError("\x1b[2J")
            with mock.patch("wsol_bench.report.page.server.picture", side_effect=fault):
                assert "the terminal" in page.error("pictures/0.jpg", 500)
            assert page.ask("pictures/0.jpg").status == 200
        assert "ZeroDivisionError: \\x1b[2J\n" in capfd.readouterr().err


class TestListener:
    def test_binds_the_loopback_address(self):
        with listener(None) as listening:
            assert listening.getsockname()[0] == "127.0.0.1"
            assert listening.family == socket.AF_INET

    def test_finds_another_port_if_none_was_asked_for(self):
        with listener(None) as first, listener(None) as second:
            ports = first.getsockname()[1], second.getsockname()[1]
            assert ports[0] != ports[1]

    def test_of_a_taken_port_says_what_to_do(self):
        with listener(None) as first, pytest.raises(ConfigError) as told:
            listener(first.getsockname()[1])
        assert "leave --port out" in str(told.value)
