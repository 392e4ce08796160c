"""What a session looks at stands on its shelf under a random id: the address of a page names no case and no person.

A shelf is bounded. Views are addresses only: the oldest makes room. What holds a question or its outcomes is never
pushed out by another: when the shelf is full, nothing more is asked until something is wiped.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar, runtime_checkable

from starlette.exceptions import HTTPException

from bekend_node.web.sessions import Session

LONGEST_CASE: Final = 200
"""Characters of a case reference, as the control socket takes it."""
MOST_VIEWS: Final = 400
MOST_KEPT: Final = 60
"""Questions and lookups of one session at once."""
MOST_OCTETS: Final = 2 * 1024 * 1024
"""What they may take together."""

T = TypeVar("T")


class ShelfFullError(Exception):
    """There is no room for one more: nothing was asked."""


@runtime_checkable
class Kept(Protocol):
    """What is kept until it expires, is wiped, or its case is not taken in. `octets` is the most room that it takes."""

    case: str
    expires: datetime
    octets: int


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case that the session looks at."""

    case: str


def shelved(session: Session, view: object) -> str:
    """The id under which the session holds this view, the same each time."""
    for id_, one in session.shelf.items():
        if one == view:
            return id_
    views = [id_ for id_, one in session.shelf.items() if not isinstance(one, Kept)]
    if len(views) >= MOST_VIEWS:
        del session.shelf[views[0]]
    return _put(session, view)


def check_room(session: Session, octets: int, now: datetime) -> None:
    """Raises ShelfFullError when this much more is not kept. What has expired makes room first."""
    for id_, one in list(session.shelf.items()):
        if isinstance(one, Kept) and one.expires <= now:
            del session.shelf[id_]
    kept = [one.octets for one in session.shelf.values() if isinstance(one, Kept)]
    if len(kept) >= MOST_KEPT or sum(kept) + octets > MOST_OCTETS:
        raise ShelfFullError


def keep(session: Session, one: Kept, now: datetime) -> str:
    """Keep it under a new id. Raises ShelfFullError."""
    check_room(session, one.octets, now)
    return _put(session, one)


def on_shelf(session: Session, id_: str, kind: type[T]) -> T:
    """What stands under an id. Raises HTTPException 404."""
    found = session.shelf.get(id_)
    if not isinstance(found, kind):
        raise HTTPException(404)
    return found


def _put(session: Session, one: object) -> str:
    id_ = secrets.token_urlsafe(16)
    session.shelf[id_] = one
    return id_
