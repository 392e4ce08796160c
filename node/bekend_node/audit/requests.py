"""What the auditor's draw takes of the own Questions, by when it is to be opened, and what the auditor found.

    auditor's checkpoint -----> this node: verified, kept; own log + checkpoint say which Questions are drawn
    (off line)                  privacy officer: bekend audit steekproef -> a file for the auditor
    auditor's signed result --> this node: verified under the covenant, kept, shown

No person is opened here, and nothing of the file for the auditor passes the node: opening stays off line.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from bekend_policy.audited import Audited, open_audited
from bekend_policy.log_keys import log_keys
from bekend_policy.log_use import Days
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_proto.checkpoint import cosigned_at
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, MalformedError, RefusedError
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.sample import Draw, Selected, open_draw, sample
from bekend_proto.note import parse_note

from bekend_node.store_audits import AuditRequest, Audits

RULE: Final = "steekproef"
_NO_CHECKPOINT: Final = (
    "Dit controlepunt telt niet: het is geen heel bestand, het is niet van de makelaar, of te weinig partners tekenden "
    "mee. Plak het hele bestand dat de auditor u gaf."
)
_TOO_EARLY: Final = (
    "Te veel nodes tekenden dit controlepunt voordat de periode voorbij was. Vraag de auditor om een punt van "
    "na de periode."
)
_NO_AUDITOR: Final = (
    "Er kan nog geen uitslag worden bewaard: het convenant noemt geen auditor die tekent. Vraag de beheerder van het "
    "convenant om 'auditor_ondertekent' in de volgende versie."
)
_NO_RESULT: Final = (
    "Deze uitslag telt niet: het is geen getekend bestand. Plak het hele bestand, ook de laatste regels."
)


@dataclass(frozen=True)
class Asked:
    """One request as it stands: what is drawn of the own Questions, and the result of its period when there is one.

    `fault`: in Dutch, when the checkpoint cannot be verified now, under the keys that the node knows.
    """

    request: AuditRequest
    drawn: tuple[Selected, ...]
    result: Audited | None
    fault: str | None

    def is_late(self, today: date) -> bool:
        """Whether nothing came of it by the day on which it was to be opened."""
        return self.result is None and today > self.request.due


@dataclass(frozen=True)
class AuditDesk:
    """Serves the page. `manifest_of` gives a party's key manifest, and raises BekendError when there is none."""

    audits: Audits
    covenant: Callable[[], Covenant]
    manifest_of: Callable[[str], KeyManifest]
    oin: str
    clock: Clock
    _verified: dict[tuple[bytes, bytes], Audited | None] = field(default_factory=dict, repr=False)
    """By the hash of the covenant and the note: a signature that was verified under a covenant holds under it."""

    async def ask(self, note: bytes, first: date, last: date, due: date, by: str) -> None:
        """Take the checkpoint that the auditor drew by. Raises RefusedError in Dutch, StorageError."""
        now = self.clock.now()
        if last < first or day_of(now) <= last:
            raise RefusedError(RULE, "De periode moet voorbij zijn, en de eerste dag ligt niet na de laatste.")
        try:
            self._draw(note, 0)
        except BekendError:
            raise RefusedError(RULE, _NO_CHECKPOINT) from None
        try:
            self._draw(note, Days(first, last).span[1])
        except BekendError:
            raise RefusedError(RULE, _TOO_EARLY) from None
        await self.audits.ask(AuditRequest(0, now, by, first, last, due, note))

    async def answer(self, note: bytes) -> Audited:
        """Take the result that the auditor signed. Raises RefusedError in Dutch, StorageError."""
        if self.covenant().agreement.auditor_signer is None:
            raise RefusedError(RULE, _NO_AUDITOR)
        try:
            found = open_audited(note, self.covenant())
        except MalformedError:
            raise RefusedError(RULE, _NO_RESULT) from None
        except BekendError as fault:
            raise RefusedError(RULE, f"Deze uitslag telt niet: {fault.detail}.") from None
        if found.by != self.oin:
            raise RefusedError(RULE, "Deze uitslag gaat over een andere organisatie.")
        await self.audits.answer(note, self.clock.now())
        return found

    def requests(self) -> list[AuditRequest]:
        """Every request, the newest first."""
        return self.audits.requests()

    def asked(self, requests: Sequence[AuditRequest]) -> list[Asked]:
        """These as they stand: what is drawn is found anew, in the own log of each period."""
        results = list(self._results())
        return [self._asked(one, results) for one in requests]

    def waiting(self) -> int:
        """How many requests have no result yet."""
        results = list(self._results())
        return sum(_result_of(one, results) is None for one in self.audits.requests())

    def _asked(self, request: AuditRequest, results: list[Audited]) -> Asked:
        result = _result_of(request, results)
        span = Days(request.first, request.last).span
        try:
            draw = self._draw(request.note, span[1])
        except BekendError:
            return Asked(request, (), result, _NO_CHECKPOINT)
        found = self.audits.asked(*span)
        return Asked(request, tuple(sorted(sample(found, draw), key=lambda one: one.at)), result, None)

    def _draw(self, note: bytes, until: int) -> Draw:
        """Those who did not cosign, or before the period ended (milliseconds), are left out here: the auditor names
        them, and the result says so.
        """
        keys = self._keys()
        parsed = parse_note(note)
        moments = {oin: cosigned_at(parsed, oin, some) for oin, some in keys.partners.items()}
        absent = [oin for oin, seconds in moments.items() if seconds is None or seconds * 1000 < until]
        return open_draw(note, keys, absent)

    def _keys(self) -> Keys:
        covenant = self.covenant()
        lines: list[str] = []
        for oin in (covenant.broker_oin, *covenant.participants):
            try:
                lines += log_keys(self.manifest_of(oin), is_broker=oin == covenant.broker_oin)
            except BekendError:
                # Not connected: it signs nothing either.
                continue
        return Keys.parse(lines)

    def _results(self) -> Iterator[Audited]:
        covenant = self.covenant()
        for key in [one for one in self._verified if one[0] != covenant.hash]:
            del self._verified[key]
        for note in self.audits.results():
            if (covenant.hash, note) not in self._verified:
                self._verified[covenant.hash, note] = _open(note, covenant)
            if (found := self._verified[covenant.hash, note]) is not None:
                yield found


def _open(note: bytes, covenant: Covenant) -> Audited | None:
    """None for a result of an auditor whom the covenant no longer names."""
    try:
        return open_audited(note, covenant)
    except BekendError:
        return None


def _result_of(request: AuditRequest, results: list[Audited]) -> Audited | None:
    return next((one for one in results if (one.first, one.last) == (request.first, request.last)), None)
