"""What every request and reply of the pages goes through, and what is left of a session when it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from bekend_node.web import devsignin
from bekend_node.web.app import build
from bekend_node.web.guard import BODY_LIMIT, HEADERS
from bekend_node.web.pages import MenuItem, Pages, Site
from bekend_node.web.sessions import AT_MOST, COOKIE, IDLE, WHOLE, Person, Sessions
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

ORIGIN = "https://bekend.example"
OWN = {"sec-fetch-site": "same-origin"}
JANSEN = Person("jansen", "J. Jansen", ("zsm-medewerker",))
BAKKER = Person("bakker", "S. Bakker", ("loket",))


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 26, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


@pytest.fixture
def client(sessions: Sessions) -> TestClient:
    pages = Pages(
        lambda: Site("Proef", dev=True, demo=True),
        sessions,
        [MenuItem("/bevragen", "menu.bevragen"), MenuItem("/loket", "menu.loket", frozenset({"loket"}))],
    )

    async def first(request: Request) -> Response:
        return pages.render(request, "fout.html.j2", message=pages.person(request).name)

    async def desk(request: Request) -> Response:
        return pages.render(request, "fout.html.j2", message=pages.in_role(request, "loket")[1].name)

    async def broken(request: Request) -> Response:
        raise ValueError("999990019")

    own = [Route("/", first), Route("/loket", desk), Route("/stuk", broken)]
    app = build(ORIGIN, pages, sessions, [*devsignin.routes(pages, sessions, [JANSEN, BAKKER]), *own])
    return TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)


def signed_in(client: TestClient, user: str = "jansen") -> TestClient:
    assert client.post("/inloggen", data={"user": user}, headers=OWN).status_code == 303
    return client


@pytest.mark.parametrize("path", ["/inloggen", "/", "/niets", "/stuk", "/static/niets.css"])
def test_every_reply_says_what_a_browser_may_do_with_it(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "max-age" in headers["strict-transport-security"]


def test_what_the_replies_say_is_the_strictest_that_there_is(client: TestClient) -> None:
    headers = client.get("/inloggen").headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_files_are_kept_and_pages_are_not(client: TestClient) -> None:
    assert "immutable" in client.get("/static/node.css").headers["cache-control"]
    assert client.get("/inloggen").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://elders.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": ORIGIN},
        {},
    ],
)
def test_a_change_from_another_site_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/inloggen", data={"user": "jansen"}, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [OWN, {"origin": ORIGIN}])
def test_a_change_from_an_own_page_is_taken(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/inloggen", data={"user": "jansen"}, headers=headers).status_code == 303


def test_another_name_for_this_site_is_refused(client: TestClient) -> None:
    assert client.get("/inloggen", headers={"host": "elders.example"}).status_code == 403


def test_a_form_has_a_largest_size(client: TestClient) -> None:
    found = client.post("/inloggen", data={"user": "x" * BODY_LIMIT}, headers=OWN)
    assert found.status_code == 413


def test_a_fault_says_what_to_do_and_quotes_nothing(client: TestClient) -> None:
    found = client.get("/stuk")
    assert (found.status_code, "999990019" in found.text, "Probeer het opnieuw" in found.text) == (500, False, True)


def test_who_is_not_signed_in_goes_to_sign_in(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "/inloggen"
    assert client.get("/", headers={"cookie": f"{COOKIE}=x"}).headers["location"] == "/inloggen"


def test_the_cookie_is_for_this_host_over_tls_and_out_of_reach(client: TestClient) -> None:
    cookie = client.post("/inloggen", data={"user": "jansen"}, headers=OWN).headers["set-cookie"].lower()
    assert cookie.startswith("__host-bekend=")
    assert all(part in cookie for part in ("secure", "httponly", "samesite=lax", "path=/"))
    assert "domain" not in cookie


def test_a_page_of_a_role_is_for_people_in_that_role(client: TestClient) -> None:
    assert signed_in(client).get("/loket").status_code == 403
    assert "Loket" not in client.get("/").text
    assert signed_in(client, "bakker").get("/loket").status_code == 200
    assert "Loket" in client.get("/").text


def test_a_session_gets_a_new_id_at_sign_in(client: TestClient, sessions: Sessions) -> None:
    planted = sessions.begin()
    headers = OWN | {"cookie": f"{COOKIE}={planted.id}"}
    given = client.post("/inloggen", data={"user": "jansen"}, headers=headers).cookies[COOKIE]
    assert given != planted.id
    assert (sessions.find(planted.id), sessions.find(given) is None) == (None, False)


def test_signing_out_ends_the_session_and_what_it_held(client: TestClient, sessions: Sessions) -> None:
    session = sessions.find(signed_in(client).cookies[COOKIE])
    assert session is not None
    session.shelf["x"] = "999990019"
    assert client.post("/uitloggen", headers=OWN).headers["location"] == "/inloggen?uitgelogd"
    assert (sessions.find(session.id), session.shelf) == (None, {})


def test_a_session_ends_when_it_is_not_used(sessions: Sessions, clock: Clock) -> None:
    session = sessions.sign_in(sessions.begin(), JANSEN)
    clock.time += IDLE
    assert sessions.find(session.id) is session
    clock.time += IDLE + timedelta(seconds=1)
    assert sessions.find(session.id) is None


def test_a_session_ends_after_a_day_of_work_however_it_is_used(sessions: Sessions, clock: Clock) -> None:
    session = sessions.sign_in(sessions.begin(), JANSEN)
    end = clock.time + WHOLE
    while clock.time + IDLE <= end:
        clock.time += IDLE
        assert sessions.find(session.id) is session
    clock.time = end + timedelta(seconds=1)
    assert sessions.find(session.id) is None


def test_many_sessions_do_not_fill_the_memory(sessions: Sessions, clock: Clock) -> None:
    first = sessions.begin()
    clock.time += timedelta(seconds=1)
    kept = [sessions.begin() for _ in range(AT_MOST)]
    assert sessions.find(first.id) is None
    assert all(sessions.find(one.id) for one in kept)
