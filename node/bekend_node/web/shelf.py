"""What a session looks at stands on its shelf under a random id: the address of a page names no case and no person."""

import secrets
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.exceptions import HTTPException

from bekend_node.web.sessions import Session

LONGEST_CASE: Final = 200
"""Characters of a case reference, as the control socket takes it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case that the session looks at."""

    case: str


def shelved(session: Session, view: object) -> str:
    """The id under which the session holds this, the same each time."""
    for id_, one in session.shelf.items():
        if one == view:
            return id_
    id_ = secrets.token_urlsafe(16)
    session.shelf[id_] = view
    return id_


def on_shelf(session: Session, id_: str, kind: type[T]) -> T:
    """What stands under an id. Raises HTTPException 404."""
    found = session.shelf.get(id_)
    if not isinstance(found, kind):
        raise HTTPException(404)
    return found
