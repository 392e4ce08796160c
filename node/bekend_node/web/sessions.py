"""Who is signed in: kept in the node's memory, under a random id that the browser holds in a cookie.

A restart of the node signs everybody out, and nothing about a session ever touches a disk. Half an hour without a
request ends it, and so do eight hours.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bekend_proto.clock import Clock

COOKIE: Final = "__Host-bekend"
"""The prefix lets a browser take the cookie from this host alone, over TLS alone, for every path."""

IDLE: Final = timedelta(minutes=30)
WHOLE: Final = timedelta(hours=8)
AT_MOST: Final = 2_000
"""Sessions of people at once, and as many of nobody yet: of each kind the one that was quiet longest makes room.

Whoever is not signed in can so push out nobody who is.
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in: `user` as the identity provider names it, and the roles that node.yaml gives to its claims."""

    user: str
    name: str
    roles: tuple[str, ...]
    mail: str = ""
    """Where to say that something waits, as the provider gave it; may be empty."""


@dataclass(slots=True)
class Session:
    """One browser's session. `person` is None until sign-in is done; `state` is what that needs in between.

    `shelf` holds, under opaque ids, what pages show of a person: it is in no address, and ends with the session.
    """

    id: str = field(repr=False)
    begun: datetime
    seen: datetime
    person: Person | None = None
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    shelf: dict[str, Any] = field(default_factory=dict, repr=False)
    name: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    """Tells this session from another where it matters; it opens nothing."""


class Sessions:
    """All sessions of this node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}

    def begin(self) -> Session:
        """A new session of nobody yet."""
        return self._begin(None)

    def find(self, id_: str | None) -> Session | None:
        """The session with this id, if it has not ended; being looked for counts as being used."""
        session = self._open.get(id_ or "")
        if session is None:
            return None
        now = self._clock.now()
        if self._over(session, now):
            self.end(session)
            return None
        session.seen = now
        return session

    def peek(self, id_: str | None) -> Session | None:
        """The same, without being used by it: an open stream keeps no session open."""
        session = self._open.get(id_ or "")
        return None if session is None or self._over(session, self._clock.now()) else session

    def of_people(self) -> list[Session]:
        """The sessions of people."""
        return [one for one in self._open.values() if one.person is not None]

    def sign_in(self, session: Session, person: Person) -> Session:
        """The session of somebody who signed in, under a new id: one that was planted beforehand is worth nothing."""
        self.end(session)
        return self._begin(person)

    def end(self, session: Session) -> None:
        """Sign out: what the session held is gone."""
        self._open.pop(session.id, None)
        session.shelf.clear()
        session.state.clear()

    def _begin(self, person: Person | None) -> Session:
        self._forget()
        alike = [one for one in self._open.values() if (one.person is None) == (person is None)]
        if len(alike) >= AT_MOST:
            self.end(min(alike, key=lambda one: one.seen))
        now = self._clock.now()
        session = Session(secrets.token_urlsafe(32), now, now, person)
        self._open[session.id] = session
        return session

    def _forget(self) -> None:
        now = self._clock.now()
        for session in [one for one in self._open.values() if self._over(one, now)]:
            self.end(session)

    @staticmethod
    def _over(session: Session, now: datetime) -> bool:
        return now - session.seen > IDLE or now - session.begun > WHOLE
