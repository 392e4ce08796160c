"""What a session holds is bounded; what is asked for is open under every principal."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from bekend_node.ask.asker import Asker
from bekend_node.ask.rules import OfficerRef
from bekend_node.web import reach
from bekend_node.web.reach import Reach, principals_of
from bekend_node.web.sessions import Session, Sessions
from bekend_node.web.shelf import (
    MOST_KEPT,
    MOST_OCTETS,
    MOST_VIEWS,
    CaseView,
    ShelfFullError,
    check_room,
    keep,
    on_shelf,
    shelved,
)
from bekend_policy.model import Requester
from bekend_proto.errors import RefusedError
from starlette.exceptions import HTTPException

from tests.support.clocks import SteeredClock
from tests.support.covenants import signed

NOW = datetime(2026, 11, 26, 23, tzinfo=UTC)
LATER = NOW + timedelta(hours=4)


@dataclass
class Something:
    octets: int
    expires: datetime = LATER
    case: str = ""


@pytest.fixture
def session() -> Session:
    return Sessions(SteeredClock(NOW)).begin()


def test_a_full_shelf_takes_no_more_and_pushes_nothing_out(session: Session) -> None:
    first = keep(session, Something(1), NOW)
    for _ in range(MOST_KEPT - 1):
        keep(session, Something(1), NOW)
    with pytest.raises(ShelfFullError):
        keep(session, Something(1), NOW)
    assert on_shelf(session, first, Something)


def test_what_is_kept_has_a_largest_size(session: Session) -> None:
    keep(session, Something(MOST_OCTETS - 10), NOW)
    check_room(session, 10, NOW)
    with pytest.raises(ShelfFullError):
        check_room(session, 11, NOW)


def test_what_has_expired_makes_room(session: Session) -> None:
    old = keep(session, Something(MOST_OCTETS), NOW)
    keep(session, Something(MOST_OCTETS), LATER)
    with pytest.raises(HTTPException):
        on_shelf(session, old, Something)


def test_of_many_views_the_oldest_makes_room_and_no_question_does(session: Session) -> None:
    kept = keep(session, Something(1), NOW)
    first = shelved(session, CaseView("1"))
    for number in range(2, MOST_VIEWS + 2):
        shelved(session, CaseView(str(number)))
    assert len(session.shelf) == MOST_VIEWS + 1
    assert first not in session.shelf
    assert on_shelf(session, kept, Something)


class Lines:
    """Which filters were opened, for whom. A source answers to its own principal alone."""

    def __init__(self, openable: dict[str | None, tuple[str, ...]]) -> None:
        self._openable = openable
        self.opened: list[tuple[str, str | None]] = []

    def openable(self, purpose: str, sources: tuple[str, ...], principal: str | None, role: str) -> tuple[str, ...]:
        if principal not in self._openable:
            raise RefusedError("namens", "Niet namens deze organisatie.")
        return self._openable[principal]

    async def open_purpose(self, purpose: str, sources: list[str], principal: str | None) -> dict[str, Any]:
        self.opened += [(oin, principal) for oin in sources]
        return dict.fromkeys(sources)

    def asking(self) -> None:
        pass

    shelf = None


async def at_once(_asking: None, _shelf: None, _purpose: str, sources: list[str]) -> dict[str, Any]:
    """What may be expected of sources that answer by machine."""
    return {oin: {"until": None} for oin in sources}


async def test_filters_come_for_every_principal_that_may_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "expectations", at_once)
    covenant = signed(tmp_path / "covenant")
    purpose = next(iter(covenant.purposes.values()))
    sources = covenant.sources(purpose.id)
    first, second, third = list(sources)[:3]
    lines = Lines({"a": (first,), "c": (first, second)})
    found = await Reach(cast(Asker, lines), SteeredClock(NOW)).of(
        purpose, sources, OfficerRef("jansen", "J. Jansen", "rol"), (None, "a", "b", "c")
    )
    assert sorted(lines.opened) == sorted([(first, "a"), (second, "c")])
    assert (found[first].key, found[second].key, found[third].key) == (
        "partner.direct",
        "partner.direct",
        "partner.niet_nu",
    )


def test_principals_are_the_organisation_itself_first_and_then_all() -> None:
    assert principals_of(Requester("0", frozenset(), frozenset({"2", "1"}), for_itself=True)) == (None, "1", "2")
    assert principals_of(Requester("0", frozenset(), frozenset({"2", "1"}), for_itself=False)) == ("1", "2")
