"""The pages against who does not keep to the rules: odd requests, raw sockets, many sessions, streams left open."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx2
import pytest
from bekend_node.ask.asker import Asker
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.stream import Outcomes
from bekend_node.config import Web
from bekend_node.store_corrections import Correction
from bekend_node.web import guard, server
from bekend_node.web.app import build
from bekend_node.web.guard import BODY_LIMIT, HEADERS, Guard
from bekend_node.web.in_contact import InContact
from bekend_node.web.officer import OfficerPages
from bekend_node.web.pages import Pages, Site, give_cookie, see_other
from bekend_node.web.reach import Reach
from bekend_node.web.running import Running
from bekend_node.web.server import WebServer
from bekend_node.web.sessions import AT_MOST, COOKIE, IDLE, Person, Sessions
from bekend_node.web.site import check_safe
from bekend_node.web.theme import LARGEST, Theme
from bekend_proto.errors import KeysError, StorageError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from tests.support.clocks import SteeredClock
from tests.support.covenants import signed
from tests.web.signing_in import sign_in_at

ORIGIN = "http://127.0.0.1:8480"
OWN = {"sec-fetch-site": "same-origin"}
JANSEN = Person("jansen", "J. Jansen", ("zsm-medewerker",))
DOORS = ["inloggen", "uitloggen", "static/node.css"]


@pytest.fixture
def clock() -> SteeredClock:
    return SteeredClock()


@pytest.fixture
def sessions(clock: SteeredClock) -> Sessions:
    return Sessions(clock)


@pytest.fixture
def app(sessions: Sessions) -> ASGIApp:
    """A small site: a form, and whoever asks is signed in."""
    pages = Pages(lambda: Site("Proef", dev=True, demo=True), sessions, [])

    async def form(request: Request) -> Response:
        given = await request.form()
        return pages.render(request, "fout.html.j2", message=", ".join(f"{k}={v}" for k, v in given.items()))

    async def enter(request: Request) -> Response:
        response = see_other("/")
        give_cookie(response, sessions.sign_in(sessions.begin(), JANSEN))
        return response

    routes = [Route("/form", form, methods=["POST"]), Route("/in", enter), Route("/", form, methods=["GET"])]
    return build(ORIGIN, pages, sessions, routes)


@pytest.fixture
def client(app: ASGIApp) -> TestClient:
    return TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)


# --- requests


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "BEKEND"])
@pytest.mark.parametrize("path", ["/", "/form", "/uitloggen", "/static/node.css", "/niets"])
def test_a_method_that_no_page_has_is_refused_with_the_same_headers(client: TestClient, method: str, path: str) -> None:
    reply = client.request(method, path, headers=OWN)
    assert reply.status_code in {404, 405}
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in reply.headers


def test_the_content_policy_lets_nothing_in_from_elsewhere() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert not any(word in HEADERS["content-security-policy"] for word in ("unsafe", "data:", "blob:", "*", "http"))


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/vendor/../../texts/nl.yaml",
        "/static/node.css%00.txt",
        "/static/",
        "/static/vendor",
    ],
)
def test_no_path_leads_out_of_the_folder_of_files(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404, reply.text
    assert "import" not in reply.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"user": "jansen"}'),
        ("text/plain", b"user=jansen"),
        ("multipart/form-data", b"geen grens"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\ny\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"\x00\xff" * 99,
        ),
        ("application/x-www-form-urlencoded", b"a=%ff%fe&b=%00&=&&&==&%"),
        ("application/x-www-form-urlencoded", b"a=1&" * 5_000),
        ("", b"\x00\x01\x02"),
    ],
)
def test_a_body_of_another_kind_breaks_nothing(client: TestClient, kind: str, body: bytes) -> None:
    reply = client.post("/form", content=body, headers=OWN | {"content-type": kind})
    assert reply.status_code in {200, 400}, reply.text


def test_a_file_that_is_sent_along_is_bounded_too(client: TestClient) -> None:
    reply = client.post("/form", files={"a": ("x.bin", b"x" * BODY_LIMIT)}, headers=OWN)
    assert reply.status_code == 413


def test_a_body_without_a_length_is_bounded_too(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        yield b"a="
        for _ in range(BODY_LIMIT // 1000 + 1):
            yield b"x" * 1000

    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/form", content=parts(), headers=OWN | kind).status_code == 413


def test_text_from_a_form_is_shown_as_text(client: TestClient) -> None:
    reply = client.post("/form", data={"a": "<script>alert(1)</script>\"'&"}, headers=OWN)
    assert "<script>alert" not in reply.text
    assert "&lt;script&gt;" in reply.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8481", "elders.example", "127.0.0.1:8480.elders.example", ""])
def test_the_site_answers_to_its_own_name_alone(client: TestClient, host: str) -> None:
    reply = client.get("/", headers={"host": host, "x-forwarded-host": "127.0.0.1:8480"})
    assert reply.status_code == 403


# --- sessions


def test_who_is_not_signed_in_pushes_out_nobody_who_is(sessions: Sessions, clock: SteeredClock) -> None:
    signed_in = sessions.sign_in(sessions.begin(), JANSEN)
    clock.advance(timedelta(seconds=1))
    for _ in range(AT_MOST + 10):
        sessions.begin()
    assert sessions.find(signed_in.id) is signed_in


def test_looking_whether_a_session_is_open_does_not_keep_it_open(sessions: Sessions, clock: SteeredClock) -> None:
    session = sessions.sign_in(sessions.begin(), JANSEN)
    for _ in range(4):
        clock.advance(IDLE / 2)
        found = sessions.peek(session.id)
    assert found is None


def test_a_session_that_was_left_alone_holds_nothing_any_more(sessions: Sessions, clock: SteeredClock) -> None:
    session = sessions.sign_in(sessions.begin(), JANSEN)
    session.shelf["x"] = "999990019"
    clock.advance(IDLE + timedelta(seconds=1))
    assert sessions.find(session.id) is None
    assert session.shelf == {}


class Uncorrected:
    """An asker, and its cases, to which nobody reported anything."""

    @property
    def cases(self) -> "Uncorrected":
        return self

    def corrections(self, *_: object) -> list[Correction]:
        return []


class Late:
    """Outcomes that come when a test says so."""

    receipt = None

    def __init__(self) -> None:
        self.come = asyncio.Event()

    async def batch(self) -> list[Outcome]:
        await self.come.wait()
        return []


async def test_a_stream_ends_with_the_session(sessions: Sessions, clock: SteeredClock, tmp_path: Path) -> None:
    """What comes after signing out is not sent to a page that stayed open."""
    covenant = signed(tmp_path / "covenant")
    purpose = next(iter(covenant.purposes))
    pages = Pages(lambda: Site("Proef", dev=True, demo=True), sessions, [])
    session = sessions.sign_in(sessions.begin(), JANSEN)
    running = Running(purpose, "zaak", 1, (), clock.now(), clock.now() + timedelta(hours=1))
    late = Late()
    running.follow(cast(Outcomes, late))
    session.shelf["x"] = running
    officer = OfficerPages(
        pages,
        cast(Asker, Uncorrected()),
        lambda: covenant,
        "",
        lambda _: None,
        clock,
        cast(Reach, None),
        InContact(clock),
    )
    cookie = [(b"cookie", f"{COOKIE}={session.id}".encode())]
    about = {
        "type": "http",
        "method": "GET",
        "path": "/uitkomst/x/stroom",
        "headers": cookie,
        "path_params": {"id": "x"},
    }
    stream = await officer.stream(Request(about))
    assert isinstance(stream, StreamingResponse)
    events = aiter(stream.body_iterator)
    assert "data:" in str(await anext(events))
    sessions.end(session)
    late.come.set()
    assert [event async for event in events] == []


# --- the server


@contextlib.asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    web = WebServer(Guard(app, f"http://127.0.0.1:{port}"), "127.0.0.1", port, None)
    await web.start()
    try:
        yield port
    finally:
        await web.stop()


async def seen_by_app(heads: list[tuple[str, str]], raw: Callable[[int], bytes]) -> bytes:
    """What comes back over a raw connection until it is closed; `heads` gets what reached the application."""

    async def app(scope: object, receive: object, send: object) -> None:
        request = Request(scope, receive)  # type: ignore[arg-type]
        body = await request.body()
        heads.append((request.url.path, body.decode()))
        await Response("ok")(scope, receive, send)  # type: ignore[arg-type]

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw(port))
        await writer.drain()
        writer.write_eof()
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    return found


POST = "POST /form HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n"
SECOND = "GET /tweede HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 50\r\n\r\nabcde",
        "Content-Length: 5, 50\r\n\r\nabcde",
        "Content-Length: +5\r\n\r\nabcde",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x5\r\n\r\nabcde",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "X: a\r\n\tfolded: yes\r\nContent-Length : 5\r\n\r\nabcde",
        "X\x00: a\r\n\r\n",
        "X: a\x00b\r\n\r\n",
    ],
)
async def test_a_request_of_which_the_length_is_unclear_reaches_no_page(head: str) -> None:
    reached: list[tuple[str, str]] = []
    raw = POST + head + SECOND
    found = await seen_by_app(reached, lambda port: raw.replace("{port}", str(port)).encode())
    assert reached == []
    assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))


async def test_of_two_ways_to_say_the_length_nothing_is_left_over_for_a_second_request() -> None:
    """RFC 9112, section 6.1: with both, the connection carries nothing after it."""
    reached: list[tuple[str, str]] = []
    body = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    found = await seen_by_app(reached, lambda port: (POST + body + SECOND).replace("{port}", str(port)).encode())
    assert reached == []
    assert found.startswith(b"HTTP/1.1 400")
    assert found.count(b"HTTP/1.1") == 1


async def test_a_head_that_does_not_end_is_cut_off() -> None:
    reached: list[tuple[str, str]] = []
    found = await seen_by_app(reached, lambda _: b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000)
    assert (reached, found[:12]) == ([], b"HTTP/1.1 400")


async def test_a_request_without_a_host_is_refused() -> None:
    reached: list[tuple[str, str]] = []
    found = await seen_by_app(reached, lambda _: b"GET / HTTP/1.0\r\n\r\n")
    assert reached == []
    assert found.startswith(b"HTTP/1.1 403")


async def test_the_server_does_not_say_what_it_is() -> None:
    found = await seen_by_app([], lambda port: f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    head = found.split(b"\r\n\r\n")[0].lower()
    assert b"server:" not in head
    assert b"uvicorn" not in found


async def test_a_connection_that_asks_nothing_is_closed(app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HT")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


@pytest.mark.parametrize(
    "first",
    [
        "GET / HTTP/1.1\r\nHost: elders\r\n\r\n",
        # Refused before its body was read: of that, too, octet after octet may come.
        "POST /form HTTP/1.1\r\nHost: elders\r\nContent-Length: 60000\r\n\r\n",
    ],
    ids=["a head", "a body"],
)
async def test_a_second_request_does_not_come_in_for_ever(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first.encode())
        assert await asyncio.wait_for(reader.read(12), 20) == b"HTTP/1.1 403"
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while not reader.at_eof():
                    writer.write(b"G")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(65536), 0.1)
        writer.close()


async def test_a_request_that_comes_in_time_is_answered_on_the_same_connection(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(b"GET /niets HTTP/1.1\r\nHost: elders\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(b"HTTP/1.1 403")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await asyncio.wait_for(reader.readexactly(length), 20)
            await asyncio.sleep(0.4)
        writer.close()


async def test_who_takes_nothing_of_what_is_sent_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TAKE_SECONDS", 0.2)
    ended = asyncio.Event()

    async def endless(scope: object, receive: Callable[[], object], send: object) -> None:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 16)
                    await asyncio.sleep(0)
            finally:
                ended.set()

        await StreamingResponse(parts())(scope, receive, send)  # type: ignore[arg-type]

    async with served(endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert await asyncio.wait_for(reader.read(12), 20) == b"HTTP/1.1 200"
        await asyncio.wait_for(ended.wait(), 20)
        writer.close()


@pytest.mark.parametrize(("lines", "files"), [(3, 1024), (1_500, 15)], ids=["at most", "of few files"])
async def test_no_more_connections_are_held_than_there_is_room_for(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch, lines: int, files: int
) -> None:
    """Each is an open file of the node, which has to open its own."""
    monkeypatch.setattr(server, "LINES", lines)
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    monkeypatch.setattr(server, "HEAD_SECONDS", 60.0)
    async with served(app) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await asyncio.wait_for(held[-1][0].read(), 20) == b""
        assert not held[0][0].at_eof()
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(20):
            found = b""
            while not found:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: elders\r\n\r\n")
                found = await reader.read(12)
                writer.close()
        assert found == b"HTTP/1.1 403"


async def test_a_form_that_comes_in_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch, app: ASGIApp) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sessions = Sessions(SteeredClock())
    pages = Pages(lambda: Site("Proef", dev=True, demo=True), sessions, [])

    async def form(request: Request) -> Response:
        await request.form()
        return Response("ok")

    slow = build(f"http://127.0.0.1:{port}", pages, sessions, [Route("/form", form, methods=["POST"])])
    web = WebServer(slow, "127.0.0.1", port, None)
    await web.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        kind = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\na="
        writer.write((POST + kind).replace("{port}", str(port)).encode())
        assert (await asyncio.wait_for(reader.read(12), 20)) == b"HTTP/1.1 408"
        writer.close()
    finally:
        await web.stop()


async def test_a_stream_may_stay_open_longer_than_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)
    go_on = asyncio.Event()

    async def app(scope: object, receive: object, send: object) -> None:
        async def events() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await go_on.wait()
            yield "data: 2\n\n"

        await StreamingResponse(events())(scope, receive, send)  # type: ignore[arg-type]

    async with served(app) as port:
        loop = asyncio.get_running_loop()
        loop.call_later(0.4, go_on.set)
        found = await asyncio.to_thread(lambda: httpx2.get(f"http://127.0.0.1:{port}/").content)
    assert found == b"data: 1\n\ndata: 2\n\n"


# --- what is not served at all


def web(**given: object) -> Web:
    return Web.model_validate({"listen": "127.0.0.1:8480", "origin": "https://bekend.example"} | given)


def test_pages_without_sign_in_are_not_served(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="no way to sign in"):
        check_safe(web(), "127.0.0.1", dev=False)
    sign_in = sign_in_at("https://login.example", tmp_path / "key")
    check_safe(web(sign_in=sign_in), "127.0.0.1", dev=False)


@pytest.mark.parametrize(
    ("given", "host", "said"),
    [
        ({"origin": "http://127.0.0.1:8480"}, "127.0.0.1", "https alone"),
        ({}, "0.0.0.0", "without TLS"),
        ({}, "192.0.2.1", "without TLS"),
        ({"certificate": "a.pem"}, "127.0.0.1", "belong together"),
        ({"key": "a.key"}, "192.0.2.1", "belong together"),
    ],
)
def test_pages_that_would_travel_in_the_open_are_not_served(
    tmp_path: Path, given: dict[str, object], host: str, said: str
) -> None:
    sign_in = sign_in_at("https://login.example", tmp_path / "key")
    with pytest.raises(KeysError, match=said):
        check_safe(web(sign_in=sign_in, **given), host, dev=False)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8480", "0.0.0.0"),
        ("http://127.0.0.1:8480", "192.0.2.1"),
        ("http://127.0.0.1:8480", "bekend.example"),
        ("https://bekend.example", "127.0.0.1"),
        ("http://192.0.2.1:8480", "127.0.0.1"),
    ],
)
def test_a_trial_is_served_on_loopback_under_a_name_of_loopback_alone(origin: str, host: str) -> None:
    with pytest.raises(KeysError, match="loopback alone"):
        check_safe(web(origin=origin), host, dev=True)
    check_safe(web(origin="http://127.0.0.1:8480"), "127.0.0.1", dev=True)
    check_safe(web(origin="http://localhost:8480"), "::1", dev=True)


def test_a_theme_is_a_style_sheet_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "huisstijl.css"
    path.write_text("</style><script>alert(1)</script>")
    theme = Theme(path)
    sessions = Sessions(SteeredClock())
    pages = Pages(lambda: Site("Proef", dev=False, demo=False, theme=theme.address), sessions, [])

    async def page(request: Request) -> Response:
        return pages.render(request, "fout.html.j2", message="x")

    site = TestClient(build(ORIGIN, pages, sessions, [*theme.routes(), Route("/", page)]), base_url=ORIGIN)
    assert f'href="{theme.address}"' in site.get("/").text
    reply = site.get(theme.address)
    assert (reply.headers["content-type"], reply.headers["x-content-type-options"]) == (
        "text/css; charset=utf-8",
        "nosniff",
    )


@pytest.mark.parametrize("content", [b"x" * (LARGEST + 1), b"\xff\xfe\x00"])
def test_a_theme_that_is_too_large_or_no_text_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "huisstijl.css"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="theme_css"):
        Theme(path)
    with pytest.raises(StorageError, match="check the path"):
        Theme(tmp_path / "niets.css")
