"""The operator's page, and the page of test persons: who sees them, and what they never hold."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from bekend_node.web.app import build
from bekend_node.web.operator import ROLE, OperatorPages
from bekend_node.web.pages import Pages, Site, give_cookie, see_other
from bekend_node.web.practice import PracticePages
from bekend_node.web.sessions import Person, Sessions
from bekend_node.web.texts import texts
from bekend_policy.faults import YamlFaults
from bekend_proto.identifiers import InvalidIdentifier, parse_identifier
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support.clocks import SteeredClock

ORIGIN = "http://127.0.0.1:8480"
PEOPLE = {"beheer": Person("bakker", "S. Bakker", (ROLE,)), "officer": Person("jansen", "J. Jansen", ("zsm",))}

WELL: dict[str, Any] = {
    "oin": "00000099000000001000",
    "covenant": {"id": "demo", "version": 1, "hash": "ab" * 32, "until": "2027-01-01T00:00:00Z"},
    "covenants": [],
    "manifest": {"number": 1, "until": "2027-01-01T00:00:00Z"},
    "brokers": {"broker.example:8443": True},
    "purposes": {},
    "registers": [],
    "suspensions": [],
    "log": {"seen": {"bekend/log": 12}, "stopped": None, "alarms": []},
    "deferrals": {"due": 0, "pending": 0},
    "retention_waits": 0,
    "now": "2026-11-26T09:00:00Z",
}


async def rows() -> dict[str, int]:
    return {"log": 4}


def site(status: dict[str, Any] = WELL, *, demo: bool = True, practice: Path | None = None) -> TestClient:
    sessions = Sessions(SteeredClock())
    pages = Pages(lambda: Site("Proef", dev=False, demo=demo, practice=demo), sessions, [])

    async def enter(request: Request) -> Response:
        response = see_other("/")
        give_cookie(response, sessions.sign_in(sessions.begin(), PEOPLE[request.path_params["who"]]))
        return response

    routes = [Route("/in/{who}", enter), *OperatorPages(pages, lambda: status, rows).routes()]
    routes += PracticePages(pages, practice).routes() if practice else []
    return TestClient(build(ORIGIN, pages, sessions, routes), base_url=ORIGIN, follow_redirects=False)


def as_who(client: TestClient, who: str) -> TestClient:
    client.headers["cookie"] = client.get(f"/in/{who}").headers["set-cookie"].split(";")[0]
    return client


def test_the_operators_page_is_for_operators() -> None:
    assert site().get("/beheer").headers["location"] == "/inloggen"
    assert as_who(site(), "officer").get("/beheer").status_code == 403
    reply = as_who(site(), "beheer").get("/beheer")
    assert "Nothing needs anybody now" in reply.text
    assert '<html lang="en">' in reply.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"brokers": {"broker.example:8443": False}}, "Not attached to broker.example:8443"),
        ({"log": WELL["log"] | {"stopped": "x"}}, "The log stopped this node"),
        ({"deferrals": {"due": 1, "pending": 1}}, "2 deferral(s)"),
        ({"retention_waits": 3}, "3 rows past their term"),
        (
            {
                "log": WELL["log"]
                | {
                    "alarms": [
                        {"number": 3, "at": "x", "origin": "bekend/log", "kind": "fork", "stops": True, "detail": "y"}
                    ]
                }
            },
            "Alarm 3",
        ),
        (
            {
                "suspensions": [
                    {
                        "what": "doel",
                        "about": "demo/x",
                        "by": "y",
                        "number": 1,
                        "since": "z",
                        "until": None,
                        "reason": "oefening",
                    }
                ]
            },
            "oefening",
        ),
    ],
)
def test_what_needs_somebody_stands_first(changes: dict[str, Any], said: str) -> None:
    text = as_who(site(WELL | changes), "beheer").get("/beheer").text
    assert said in text.split("<dl")[0]
    assert "Nothing needs anybody" not in text


def test_what_every_page_says_is_there_in_english() -> None:
    dutch, english = texts("nl"), texts("en")
    shared = {key for key in dutch if key.startswith(("site.", "menu."))}
    assert shared <= english.keys()


def practice_file(folder: Path, *persons: str) -> Path:
    path = folder / "oefenen.yaml"
    path.write_text("persons:\n" + "".join(f'  - person: {one}\n    shows: "Bekend."\n' for one in persons))
    return path


def test_test_persons_are_shown_with_a_demo_alone(tmp_path: Path) -> None:
    path = practice_file(tmp_path, "bsn:999900006")
    assert site(practice=path).get("/oefenen").headers["location"] == "/inloggen"
    assert "999900006" in as_who(site(practice=path), "officer").get("/oefenen").text
    assert as_who(site(practice=path, demo=False), "officer").get("/oefenen").status_code == 404


def somebodys() -> str:
    """A number outside the reserved ones, which is not written down anywhere."""
    for number in range(10**8, 10**8 + 100):
        with contextlib.suppress(InvalidIdentifier):
            return str(parse_identifier("bsn", str(number)) and number)
    raise AssertionError


@pytest.mark.parametrize("person", [f"bsn:{somebodys()}", "bsn:999900007", "999900006", "naam:jansen", "bsn:"])
def test_a_number_that_somebody_may_have_stands_on_no_page(tmp_path: Path, person: str) -> None:
    with pytest.raises(YamlFaults):
        site(practice=practice_file(tmp_path, person))
