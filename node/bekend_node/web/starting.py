"""Where a page asks: from an inquiry to a lookup on the session's shelf, and room for it before anything leaves."""

from typing import Final

from bekend_policy.model import Covenant

from bekend_node.ask.asker import Asker
from bekend_node.ask.rules import Inquiry
from bekend_node.web.running import Running
from bekend_node.web.sessions import Session
from bekend_node.web.shelf import check_room, keep

_ROOM: Final = 8 * 1024
_ROOM_PER_OUTCOME: Final = 2 * 1024
"""Octets that a lookup takes at the most: persons and receipt, and each outcome with its texts."""


def start(session: Session, asker: Asker, covenant: Covenant, inquiry: Inquiry, numbers: tuple[int, ...] = ()) -> str:
    """Ask; returns the id of the lookup's page. `numbers`: how persons are numbered who are asked about anew.

    Raises RefusedError when the rules admit nothing of it, ShelfFullError; then nothing has left.
    """
    purpose, now = covenant.purposes[inquiry.purpose], asker.asking().clock.now()
    octets = _ROOM + _ROOM_PER_OUTCOME * len(inquiry.persons) * len(covenant.sources(purpose.id))
    check_room(session, octets, now)
    running = Running(
        purpose.id,
        inquiry.case_reference or "",
        len(inquiry.persons),
        inquiry.sources,
        now,
        now + purpose.result_lifetime,
        inquiry=inquiry,
        numbers=numbers,
        octets=octets,
    )
    running.follow(asker.ask(inquiry))
    return keep(session, running, now)
