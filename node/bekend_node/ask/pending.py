"""A question whose answer is still to come: what the requester keeps of it, sealed under the state key.

    row   from before a person is named to the source (release.py), until whatever can come has had its lifetime
    told  per person what came: in behandeling -> bekend, or (by a combination) mogelijk bekend, at any collect
                                               -> geen uitsluitsel or geen antwoord, when the term is over
          whichever it is -> destroyed at the end of the result's lifetime, counted from the moment when it came

No identifier and no D is in it. Every row is of one length, there as long and looked at as often as any other, so that
none tells what came (must-list 9, 11).
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from bekend_proto.channel import OpenChannel
from bekend_proto.collecting import FIRST_COLLECT, Parties
from bekend_proto.errors import StorageError
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bekend_node.classes import CERTAIN, POSSIBLE, KindClass
from bekend_node.schedule import collect_moment, collect_number
from bekend_node.store_pending import PendingRow

KIND: Final = "bekend/1 pending"
GRACE: Final = timedelta(hours=1)
"""How long after the term a source that did not reply is tried again."""
GRACE_MOMENTS: Final = 4
_SPREAD: Final = 3
"""Collects of one moment are spread over a third of the interval, each question always at the same place."""
_ROOM: Final = 2048
_WIDTH: Final = 16


class Told(StrEnum):
    """What is known about one person."""

    NOTHING_YET = "in_behandeling"
    KNOWN = "bekend"
    POSSIBLE = "mogelijk_bekend"
    CLOSED = "geen_uitsluitsel"
    UNANSWERED = "geen_antwoord"
    WITHDRAWN = "ingetrokken"
    CORRECTED = "onterecht"
    DESTROYED = "vernietigd"


RELEASED: Final = frozenset({Told.KNOWN, Told.POSSIBLE})
"""What a colleague at the source released."""


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """One Question to one source. `asked`, `until` and the moments in `told` are milliseconds since 1970."""

    question_id: bytes
    question_hash: bytes
    begin_id: bytes
    requester: str
    source: str
    asked: int
    until: int
    interval: int
    """Seconds between two collects."""
    purpose: str
    kind_class: KindClass
    on_behalf_of: str | None
    covenant_hash: bytes
    lifetime: int
    """Seconds that a result lives."""
    case: str
    officer: str
    consent: int | None
    deferred: bool
    """Whether the source said, authenticated, that it has the names: without that no end of a term is believed."""
    kept: bytes | None = field(repr=False)
    """The open channel; destroyed when nothing more is collected."""
    told: tuple[tuple[Told, int], ...] = field(repr=False)

    @property
    def parties(self) -> Parties:
        """What every message of the exchange repeats."""
        return Parties(self.question_hash, self.requester, self.source, len(self.told))

    @property
    def released(self) -> Told:
        """What a release says: by the class that the signed Question names, and by nothing that comes later."""
        return Told.POSSIBLE if self.kind_class == POSSIBLE else Told.KNOWN

    @property
    def open(self) -> bool:
        """Whether more is collected."""
        return self.kept is not None

    def channel(self, first: int) -> OpenChannel:
        """The channel of the Question, to seal message `first` and no earlier one."""
        assert self.kept is not None
        return OpenChannel.restore(self.kept, first)

    # --- when

    def number_at(self, now: datetime) -> int:
        """The number that is due at a moment."""
        return collect_number(self.requester, self._every, self.asked, int(now.timestamp()) - self._place)

    def due(self, number: int) -> int:
        """When this number is sent, in seconds since 1970."""
        return collect_moment(self.requester, self._every, self.asked, number) + self._place

    def due_after(self, now: datetime) -> int:
        """When the next number after this moment is sent, or what is left is looked at, in seconds since 1970."""
        return self.due(self.number_at(now) + 1)

    @property
    def last_number(self) -> int:
        """The number of the first moment at or after the end of the term."""
        end = -(-self.until // 1000)
        return collect_number(self.requester, self._every, self.asked, end - 1) + 1

    @property
    def end_number(self) -> int:
        """The last number at all, for a source that did not reply at the end of the term."""
        end = self.until // 1000 + int(GRACE.total_seconds())
        bound = collect_number(self.requester, self._every, self.asked, end)
        return max(self.last_number, min(self.last_number + GRACE_MOMENTS, bound))

    @property
    def gone_from(self) -> int:
        """From when on nothing can be left of it, in milliseconds: by its last moment of all, and not by what came."""
        return 1000 * (self.due(self.end_number) + self.lifetime)

    @property
    def _every(self) -> timedelta:
        return timedelta(seconds=self.interval)

    @property
    def _place(self) -> int:
        """Seconds after the moment: from the Question's id, which the broker knows, so it tells nothing."""
        return int.from_bytes(self.question_id[:4], "big") % max(1, self.interval // _SPREAD)

    # --- what came

    def confirmed(self) -> Self:
        """The same, once the source said that it has the names."""
        return replace(self, deferred=True)

    def with_came(self, came: Sequence[Told | None], at: int) -> Self:
        """The same with what came, per person of whom nothing was told yet; nothing that was told is taken back."""
        news = [*came, *[None] * (len(self.told) - len(came))]
        found = tuple(
            (new, at) if told is Told.NOTHING_YET and new is not None else (told, moment)
            for (told, moment), new in zip(self.told, news, strict=True)
        )
        return replace(self, told=found)

    def closed(self, at: int) -> Self:
        """The same, with nothing more to come: the channel goes, and who is left has had no answer."""
        return replace(self.with_came([Told.UNANSWERED] * len(self.told), at), kept=None)

    def withdrawn(self, at: int) -> Self:
        """The same, once the consent was withdrawn: whatever came is destroyed, and what still comes is dropped."""
        return replace(self, told=((Told.WITHDRAWN, at),) * len(self.told))

    def corrected(self, person: int | None) -> Self:
        """The same, once a release was reported to be wrong: of this person, or (None) of all. It lives no longer."""
        found = tuple(
            (Told.CORRECTED if told in RELEASED and person in {None, index} else told, moment)
            for index, (told, moment) in enumerate(self.told)
        )
        return replace(self, told=found)

    def expires(self, moment: int) -> int:
        """When what came at a moment is destroyed, in milliseconds."""
        return moment + 1000 * self.lifetime

    def without_expired(self, now: int) -> Self:
        """The same, without what has had its lifetime (milliseconds)."""
        found = tuple(
            (one if one is Told.NOTHING_YET or now < self.expires(moment) else Told.DESTROYED, moment)
            for one, moment in self.told
        )
        return replace(self, told=found)

    @property
    def is_destroyed(self) -> bool:
        """Whether nothing that came is left."""
        return all(one is Told.DESTROYED for one, _ in self.told)


def row_of(box: SecretBox, one: PendingQuestion, due: int) -> PendingRow:
    """Its first row: nothing collected yet."""
    return PendingRow(one.question_id, due, FIRST_COLLECT - 1, one.consent, seal_pending(box, one))


def seal_pending(box: SecretBox, one: PendingQuestion) -> bytes:
    """The content of its row."""
    content = {
        "kind": KIND,
        "question_id": one.question_id.hex(),
        "question_hash": one.question_hash.hex(),
        "begin_id": one.begin_id.hex(),
        "requester": one.requester,
        "source": one.source,
        "asked": one.asked,
        "until": one.until,
        "interval": one.interval,
        "purpose": one.purpose,
        "kind_class": one.kind_class,
        "on_behalf_of": one.on_behalf_of,
        "covenant_hash": one.covenant_hash.hex(),
        "lifetime": one.lifetime,
        "case": one.case,
        "officer": one.officer,
        "consent": one.consent,
        "deferred": one.deferred,
        "kept": base64.b64encode(one.kept or b"").decode("ascii"),
        "told": [(told.value.ljust(_WIDTH), at) for told, at in one.told],
    }
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return bytes(box.encrypt(data.ljust(-(-len(data) // _ROOM) * _ROOM)))


def open_pending(box: SecretBox, row: PendingRow) -> PendingQuestion:
    """What a row holds. Raises StorageError under another state key, or for another row's content."""
    return open_sealed(box, row.question_id, row.sealed)


def open_sealed(box: SecretBox, question_id: bytes, sealed: bytes) -> PendingQuestion:
    """As `open_pending`, for the content alone."""
    try:
        content = json.loads(box.decrypt(sealed))
    except CryptoError:
        raise StorageError("a pending question does not open under state.key: restore that key") from None
    if content.pop("kind") != KIND or bytes.fromhex(content["question_id"]) != question_id:
        raise StorageError("a pending question holds another one's content: restore a backup of node.db")
    hexed = {name: bytes.fromhex(content[name]) for name in _BYTES}
    told = tuple((Told(told.strip()), at) for told, at in content["told"])
    kept = base64.b64decode(content["kept"]) or None
    # Before there were two classes, there was the certain one.
    return PendingQuestion(**{"kind_class": CERTAIN, **content, **hexed, "told": told, "kept": kept})


_BYTES: Final = ("question_id", "question_hash", "begin_id", "covenant_hash")
