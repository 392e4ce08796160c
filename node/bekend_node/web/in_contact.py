"""`Al in contact`: a colleague says that the own organisation already speaks with a partner about a case.

It stands beside a `bekend` of that partner in that case, for colleagues of the own organisation who may see it, and no
longer than that. It is in the node's memory alone: it is sent to nobody, is in no record and is gone after a restart.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bekend_proto.clock import Clock
from starlette.datastructures import FormData

from bekend_node.web.sessions import Person

AT_MOST: Final = 10_000
"""Marks at once; the oldest makes room."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who said so, when, and until when it is shown."""

    user: str
    name: str
    at: datetime
    expires: datetime


class InContact:
    """The marks of this node, by case, purpose and partner."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: dict[tuple[str, str, str], Mark] = {}

    def add(self, case: str, purpose: str, partner: str, *, user: str, name: str, expires: datetime) -> None:
        """Somebody is in contact; who said so first stays."""
        self._forget()
        if case and self.of(case, purpose, partner) is None:
            if len(self._marks) >= AT_MOST:
                del self._marks[next(iter(self._marks))]
            self._marks[case, purpose, partner] = Mark(user, name, self._clock.now(), expires)

    def put(self, form: FormData, case: str, purpose: str, partner: str, *, person: Person, expires: datetime) -> None:
        """What a form says: in contact, or with `weg` no longer."""
        if form.get("weg"):
            self.remove(case, purpose, partner)
        else:
            self.add(case, purpose, partner, user=person.user, name=person.name, expires=expires)

    def remove(self, case: str, purpose: str, partner: str) -> None:
        """And no longer."""
        self._marks.pop((case, purpose, partner), None)

    def of(self, case: str, purpose: str, partner: str) -> Mark | None:
        """Who is in contact with this partner in this case."""
        mark = self._marks.get((case, purpose, partner))
        return mark if mark is not None and mark.expires > self._clock.now() else None

    def forget_case(self, case: str) -> None:
        """The case was not taken in."""
        for key in [key for key in self._marks if key[0] == case]:
            del self._marks[key]

    def _forget(self) -> None:
        now = self._clock.now()
        for key in [key for key, mark in self._marks.items() if mark.expires <= now]:
            del self._marks[key]
