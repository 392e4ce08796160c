"""Questions that officers asked through case systems: in memory alone, each under a random id, for its officer alone.

    asked -> loopt -> klaar, or later while a colleague at a partner decides
          -> wacht-op-tweede-collega -> akkoord -> (sent by the first officer) -> loopt
    ended, deleted, or its case not taken in -> gone: for a day its id says so, and nothing else is left of it

An Idempotency-Key belongs to one officer and lives as long as its question may give results. Of the body under it a
keyed hash is kept, under a key of this process: it holds identifiers.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from bekend_policy.model import Covenant
from bekend_proto.channel import parse_strict
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError
from bekend_proto.v1 import signed_pb2

from bekend_node.ask.asker import Asker
from bekend_node.ask.four_eyes import WAITS, Prepared
from bekend_node.ask.four_eyes import State as Eyes
from bekend_node.ask.late import LateAnswers, late_receipt
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.pending import GRACE
from bekend_node.ask.rules import Inquiry, lifetime_of
from bekend_node.ask.stream import Outcomes
from bekend_node.receipt import ReceiptFile
from bekend_node.rest.problems import FULL, GONE, NOT_FOUND, NOT_YET, OTHER_BODY, Problem
from bekend_node.rest.tokens import Caller
from bekend_node.web.running import Running
from bekend_node.web.starting import room_of

MOST: Final = 60
"""Questions of one officer at once."""
MOST_OCTETS: Final = 2 * 1024 * 1024
"""What they may take together."""
MOST_ENDED: Final = 500
"""Ids of one officer that are remembered to be gone."""
REMEMBERED: Final = timedelta(days=1)

_GONE: Final = "Deze vraag is verlopen, gewist of elders gesteld. Er is hier niets meer van."


class State(StrEnum):
    """How a question stands, as it is spelled on the wire."""

    WAITS = "wacht-op-tweede-collega"
    """Nothing has left: another officer looks first (FG-37)."""
    AGREED = "akkoord"
    """The second officer agreed: the first may send it, once."""
    REFUSED = "niet-akkoord"
    RUNNING = "loopt"
    LATER = "later"
    """A colleague at a partner is still to decide."""
    DONE = "klaar"
    FAILED = "mislukt"
    """Nothing was recorded, so nothing may be taken from it."""


@dataclass(slots=True)
class Asked:
    """One question of one officer; without lookup and without `waits` it is gone."""

    id: str
    user: str
    key: str = field(repr=False)
    digest: bytes = field(repr=False)
    purpose: str
    case: str
    kind: str
    persons: int
    sources: tuple[str, ...]
    at: datetime
    lifetime: timedelta
    """How long an outcome is kept, from when it came."""
    until: datetime
    """Nothing can come any more after this."""
    octets: int
    waits: str = ""
    """Id of the question that waits for a second officer."""
    running: Running | None = None

    @property
    def gone(self) -> bool:
        """Whether nothing is left of it but its id."""
        return self.running is None and not self.waits

    def wipe(self) -> None:
        """Leave nothing but the id."""
        self.running, self.waits, self.case, self.octets = None, "", "", 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a question stands now, and until when its address says so. `remark` is Dutch."""

    state: State
    ends: datetime
    outcomes: tuple[Outcome, ...] = ()
    remark: str = ""


class Questions:
    """All questions of one facade. `covenant` gives the covenant in force."""

    def __init__(self, asker: Asker, covenant: Callable[[], Covenant], clock: Clock, say: Callable[..., str]) -> None:
        self._asker = asker
        self._covenant = covenant
        self._clock = clock
        self._say = say
        self._secret = secrets.token_bytes(32)
        self._asked: dict[str, Asked] = {}
        asker.cases.watch_lapses(self.forget_case)

    def before(self, caller: Caller, key: str, body: bytes) -> Asked | None:
        """The question that this officer asked under this key. Raises Problem when it was another one, or is gone."""
        self._tidy()
        found = next((one for one in self._of(caller) if one.key == key), None)
        if found is not None and not secrets.compare_digest(found.digest, self._digest(body)):
            raise Problem(OTHER_BODY, "Gebruik voor elke vraag een nieuwe Idempotency-Key.")
        if found is not None and found.gone:
            raise Problem(GONE, _GONE)
        return found

    def ask(self, caller: Caller, key: str, body: bytes, inquiry: Inquiry) -> Asked:
        """Ask, or let it wait for a second officer. Raises Problem without room, RefusedError; then nothing left."""
        covenant = self._covenant()
        octets = room_of(covenant, inquiry)
        self._check_room(caller, octets)
        found = self._asker.submit(inquiry, caller.viewer)
        # No await between the two: who sends the same twice at once gets the same.
        purpose, now = covenant.purposes[inquiry.purpose], self._clock.now()
        lifetime = lifetime_of(purpose, inquiry.kind_class)
        terms = [one.term_of(inquiry.kind_class) or timedelta() for one in covenant.sources(purpose.id).values()]
        asked = Asked(
            id=secrets.token_urlsafe(16),
            user=caller.person.user,
            key=key,
            digest=self._digest(body),
            purpose=purpose.id,
            case=inquiry.case_reference or "",
            kind=inquiry.persons[0].kind,
            persons=len(inquiry.persons),
            sources=inquiry.sources,
            at=now,
            lifetime=lifetime,
            until=now + WAITS + lifetime + max(terms) + GRACE,
            octets=octets,
        )
        if isinstance(found, Prepared):
            asked.waits = found.id
        else:
            self._follow(asked, found)
        self._asked[asked.id] = asked
        return asked

    def find(self, caller: Caller, id_: str) -> Asked:
        """One of this officer's. Raises Problem: 404 for whatever is not, 410 once it is gone."""
        self._tidy()
        found = self._asked.get(id_)
        if found is None or found.user != caller.person.user:
            raise Problem(NOT_FOUND, "Deze vraag staat hier niet, of is niet van u.")
        if found.gone:
            raise Problem(GONE, _GONE)
        return found

    def send(self, caller: Caller, asked: Asked) -> None:
        """Ask what a second officer agreed to, once. Raises Problem, RefusedError; then nothing has left."""
        if asked.running is not None:
            raise Problem(NOT_YET, "Deze vraag is al gesteld.")
        if self._prepared(caller, asked).state is not Eyes.AGREED:
            raise Problem(NOT_YET, "Een tweede medewerker is nog niet akkoord. Er is niets gevraagd.")
        outcomes = self._asker.ask_agreed(asked.waits, caller.viewer)
        asked.waits = ""
        self._follow(asked, outcomes)

    async def standing(self, caller: Caller, asked: Asked) -> Standing:
        """How it stands now. Raises Problem once it has had its time."""
        running = asked.running
        if running is None:
            return self._with_colleague(self._prepared(caller, asked))
        if running.failure:
            return Standing(State.FAILED, running.expires, remark=self._say(running.failure))
        late = await self._late(asked)
        if asked.running is not running:
            # Its case was not taken in meanwhile.
            raise Problem(GONE, _GONE)
        now = self._clock.now()
        if now >= running.expires and not late:
            asked.wipe()
            raise Problem(GONE, _GONE)
        running.take_back(self._asker.cases.corrections(asked.case, running.asked_at))
        came = {(it.oin, it.person): it for one in late for it in one.outcomes}
        outcomes = tuple(_now(running, came, over=now >= running.expires))
        ends = asked.until if late else running.expires
        if not running.done:
            return Standing(State.RUNNING, ends, outcomes)
        to_come = any(one.outcome is OutcomeKind.PENDING for one in outcomes)
        return Standing(State.LATER if to_come else State.DONE, ends, outcomes)

    def receipt(self, asked: Asked) -> ReceiptFile:
        """The signed receipt of the lookup. Raises Problem while it is under way."""
        running = asked.running
        if running is None or running.receipt is None or self._clock.now() >= running.expires:
            raise Problem(NOT_YET, "Er is nog geen bewijs, of niet meer.")
        return running.receipt

    async def late_receipt(self, asked: Asked) -> ReceiptFile:
        """The receipt of what colleagues decided, as it stands now. Raises Problem when there is none."""
        late = await self._late(asked)
        if asked.gone:
            raise Problem(GONE, _GONE)
        if not late:
            raise Problem(NOT_YET, "Bij deze vraag beslist geen collega, of wat er kwam is verlopen.")
        return late_receipt(self._asker.asking(), late[0])

    async def drop(self, caller: Caller, asked: Asked) -> None:
        """The case is not taken in: what came of it is destroyed (Bgs 1.16(1)(b)); what waits is taken back."""
        if asked.running is None:
            with contextlib.suppress(RefusedError):
                self._asker.four_eyes.withdraw(asked.waits, caller.viewer)
        else:
            # Nothing was recorded of a lookup that failed: then there is nothing to destroy but what is shown.
            with contextlib.suppress(RefusedError):
                await self._asker.cases.lapse(asked.case, caller.person.user, {asked.purpose})
        asked.wipe()

    def forget_case(self, case: str) -> None:
        """Nothing of a case is told any more that was not taken in."""
        for one in self._asked.values():
            if case and one.case.strip() == case:
                one.wipe()

    def _of(self, caller: Caller) -> Iterator[Asked]:
        return (one for one in self._asked.values() if one.user == caller.person.user)

    def _follow(self, asked: Asked, outcomes: Outcomes) -> None:
        now = self._clock.now()
        running = Running(asked.purpose, asked.case, asked.persons, asked.sources, now, now + asked.lifetime)
        running.follow(outcomes)
        asked.running = running

    def _prepared(self, caller: Caller, asked: Asked) -> Prepared:
        try:
            found = self._asker.four_eyes.find(asked.waits, caller.viewer)
        except RefusedError:
            asked.wipe()
            raise Problem(GONE, _GONE) from None
        if found.state is Eyes.LAPSED:
            asked.wipe()
            raise Problem(GONE, _GONE)
        return found

    def _with_colleague(self, prepared: Prepared) -> Standing:
        states = {Eyes.WAITING: State.WAITS, Eyes.AGREED: State.AGREED, Eyes.REFUSED: State.REFUSED}
        return Standing(states[prepared.state], prepared.until, remark=prepared.reason)

    async def _late(self, asked: Asked) -> tuple[LateAnswers, ...]:
        running = asked.running
        if running is None or running.receipt is None:
            return ()
        receipt = parse_strict(signed_pb2.Receipt, running.receipt.receipt.payload)
        hashes = {line.question_hash for line in receipt.lines if line.question_hash}
        return tuple(await self._asker.cases.late_answers(lambda one: one.question_hash in hashes))

    def _check_room(self, caller: Caller, octets: int) -> None:
        open_ = [one for one in self._of(caller) if not one.gone]
        if len(open_) >= MOST or sum(one.octets for one in open_) + octets > MOST_OCTETS:
            raise Problem(FULL, "Er staan te veel vragen open. Wis wat u niet meer nodig hebt.")

    def _digest(self, body: bytes) -> bytes:
        return blake2b(body, key=self._secret, digest_size=32).digest()

    def _tidy(self) -> None:
        """Wipe what is over, and forget what has been gone for a day."""
        now = self._clock.now()
        ended: dict[str, list[str]] = {}
        for id_, one in list(self._asked.items()):
            if one.until <= now and not one.gone:
                one.wipe()
            if one.until <= now:
                one.key, one.digest = "", b""
            if one.until + REMEMBERED <= now:
                del self._asked[id_]
            elif one.gone:
                ended.setdefault(one.user, []).append(id_)
        for ids in ended.values():
            for id_ in ids[:-MOST_ENDED]:
                del self._asked[id_]


def _now(running: Running, came: dict[tuple[str, int], Outcome], *, over: bool) -> Iterator[Outcome]:
    """Each outcome as it is now; what had its lifetime is left out."""
    for one in running.outcomes:
        later = came.get((one.oin, one.person))
        if later is not None:
            yield later
        elif not over and not (running.receipt is not None and one.outcome is OutcomeKind.PENDING):
            yield one
