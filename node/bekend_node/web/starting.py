"""Where a page asks: from an inquiry to a lookup on the session's shelf, and room for it before anything leaves."""

from typing import Final

from bekend_policy.model import Covenant

from bekend_node.ask.asker import Asker
from bekend_node.ask.four_eyes import AtScreen
from bekend_node.ask.rules import Inquiry, lifetime_of
from bekend_node.ask.stream import Outcomes
from bekend_node.web.running import Anew, Running
from bekend_node.web.sessions import Session
from bekend_node.web.shelf import check_room, keep

_ROOM: Final = 8 * 1024
_ROOM_PER_OUTCOME: Final = 2 * 1024
"""Octets that a lookup takes at the most: persons and receipt, and each outcome with its texts."""


def start(
    session: Session,
    asker: Asker,
    covenant: Covenant,
    inquiry: Inquiry,
    *,
    viewer: AtScreen,
    anew: Anew | None = None,
) -> str:
    """Ask, or let it wait for a second officer; returns the address of the page to go on with.

    `anew`: where it asks anew. Raises RefusedError when the rules admit nothing of it, ShelfFullError; then nothing has
    left.
    """
    make_room(session, asker, covenant, inquiry)
    found = asker.submit(inquiry, viewer)
    if isinstance(found, Outcomes):
        return follow(session, asker, covenant, inquiry, found, anew=anew)
    if anew is not None:
        # For when the second officer agreed: under the id of the question that waits, which is random too.
        session.shelf[found.id] = anew
    return f"/meekijken/{found.id}"


def make_room(session: Session, asker: Asker, covenant: Covenant, inquiry: Inquiry) -> int:
    """The octets that this lookup takes at the most. Raises ShelfFullError when the session has no such room."""
    octets = room_of(covenant, inquiry)
    check_room(session, octets, asker.asking().clock.now())
    return octets


def room_of(covenant: Covenant, inquiry: Inquiry) -> int:
    """The octets that a lookup takes at the most."""
    return _ROOM + _ROOM_PER_OUTCOME * len(inquiry.persons) * len(covenant.sources(inquiry.purpose))


def follow(
    session: Session,
    asker: Asker,
    covenant: Covenant,
    inquiry: Inquiry,
    outcomes: Outcomes,
    *,
    anew: Anew | None = None,
) -> str:
    """Keep a lookup that began for the session; returns the address of its page. Raises ShelfFullError."""
    purpose, now = covenant.purposes[inquiry.purpose], asker.asking().clock.now()
    running = Running(
        purpose.id,
        inquiry.case_reference or "",
        len(inquiry.persons),
        inquiry.sources,
        now,
        now + lifetime_of(purpose, inquiry.kind_class),
        inquiry=inquiry,
        anew=anew or Anew(),
        octets=make_room(session, asker, covenant, inquiry),
    )
    running.follow(outcomes)
    return f"/uitkomst/{keep(session, running, now)}"
