"""What the officer is told of a lookup: an outcome for each source and person, as it comes; why, the own log keeps."""

from collections.abc import Callable, Iterable
from datetime import datetime

from bekend_policy.model import Covenant
from bekend_proto import logs
from bekend_proto.errors import BekendError, code_name

from bekend_node.ask.outcomes import (
    BROKER,
    PARTNER,
    Outcome,
    inconclusive,
    known,
    no_answer,
    not_asked,
    pending_until,
    suspended,
)

Emit = Callable[[Outcome], None]


class Telling:
    """Gives every outcome of one lookup to `emit`, and keeps them for its record and receipt."""

    def __init__(self, covenant: Covenant, purpose: str, persons: int, emit: Emit) -> None:
        self.outcomes: list[Outcome] = []
        self.begin_id: bytes | None = None
        """The id of the Begin whose Questions leave; None while none does."""
        self.question_ids: dict[str, bytes] = {}
        """By source, of those that left."""
        self._covenant = covenant
        self._purpose = purpose
        self._persons = range(persons)
        self._emit = emit

    def found(self, oin: str, hits: Iterable[bool], as_of: str, desk: str | None) -> None:
        """What the tags of a source said, person by person. `as_of`: date of the oldest list behind it."""
        name = self._name(oin)
        for person, hit in enumerate(hits):
            self._tell(known(person, oin, name, as_of, desk) if hit else inconclusive(person, oin, name, as_of))

    def pending(self, oin: str, until: datetime) -> None:
        """A colleague at the source decides, at the latest then."""
        self._each(lambda person: pending_until(person, oin, self._name(oin), until))

    def not_asked(self, oin: str, reason: str) -> None:
        """A source that is not asked, and why."""
        self._each(lambda person: not_asked(person, oin, self._name(oin), reason))

    def suspended(self, oin: str, reason: str) -> None:
        """A source that is not asked because somebody suspended it."""
        self._each(lambda person: suspended(person, oin, self._name(oin), reason))

    def fault(self, oin: str, error: BekendError, who: str = PARTNER) -> None:
        """`geen antwoord` of one source; `who` is at fault."""
        question_id = self.question_ids.get(oin)
        logs.log(
            logs.NO_ANSWER,
            trace=question_id.hex() if question_id is not None else None,
            lookup=self.begin_id.hex() if self.begin_id is not None else None,
            source=oin,
            purpose=self._purpose,
            code=code_name(error.code),
            detail=error.detail,
        )
        self._each(lambda person: no_answer(person, oin, self._name(oin), error, who))

    def give_up(self, error: BekendError, sources: Iterable[str], who: str = BROKER) -> None:
        """`geen antwoord` for those of these sources that have no outcome yet."""
        done = {outcome.oin for outcome in self.outcomes}
        for oin in sources:
            if oin not in done:
                self.fault(oin, error, who)

    def _each(self, make: Callable[[int], Outcome]) -> None:
        for person in self._persons:
            self._tell(make(person))

    def _tell(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._emit(outcome)

    def _name(self, oin: str) -> str:
        return self._covenant.participants[oin].name
