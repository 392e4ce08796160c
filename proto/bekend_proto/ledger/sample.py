"""Which Questions an audit looks at: one in twenty, by a draw that everybody can make again (protocol section 8).

    selected   BLAKE2b(32, "bekend1-sample", lp(text of the checkpoint) || cosignatures || question hash)  <  2^256 / 20
    cosignatures   lp(OIN) || cosignature, 72 octets, of each witness by OIN, but the Question's requester and source

Nobody whose Question it is can steer the draw. The checkpoint is later than all Questions of the period, so a requester
signed them before it; the broker fixes the text before a witness signs it, so it cannot try texts until one suits; and
what requester and source sign counts for no Question of theirs. Every witness of whom a key is given must have signed,
but those that the auditor names as absent, so that nobody chooses which cosignatures count.

Faults are in Dutch: privacy officers and auditors read them.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final

from bekend_proto.checkpoint import Checkpoint, cosignature_of, open_checkpoint, owner_of
from bekend_proto.clock import AMSTERDAM, from_milliseconds
from bekend_proto.errors import KeysError, MalformedError, ProofError, SignatureError
from bekend_proto.ledger.exported import Export, checkpoint_of
from bekend_proto.ledger.keys import Keys
from bekend_proto.log_table import Entry
from bekend_proto.note import parse_note
from bekend_proto.octets import blake, lp

ONE_IN: Final = 20
"""5 %."""
CASES_A_MONTH: Final = 10
"""Questions of one requester whose case a human looks at, at most, per month."""
LEAST_WITNESSES: Final = 3
"""So that one is left that is neither requester nor source."""
QUESTION: Final = "question"
"""Kind of entry in the broker's log: a Question that was passed on."""


@dataclass(frozen=True)
class Draw:
    """A checkpoint with the cosignatures that count, verified: it says for every earlier Question whether it is drawn.

    `cosignatures`: OIN and 72 octets, in the order of the OINs. `absent`: witnesses that the auditor left out.
    """

    checkpoint: Checkpoint
    cosignatures: tuple[tuple[str, bytes], ...] = field(repr=False)
    absent: tuple[str, ...] = ()

    def check_later(self, until: int) -> None:
        """Raise ProofError, naming who, unless every witness signed when a period had ended (milliseconds)."""
        early = [oin for oin, value in self.cosignatures if int.from_bytes(value[:8], "big") * 1000 < until]
        if early:
            raise ProofError(
                f"{', '.join(early)} tekende dit controlepunt voordat de periode voorbij was: neem een later, of doe "
                "het zonder die node (--zonder)"
            )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text and every cosignature that counts: draws with one digest are the same."""
        return sha256(self._seed("", "")).digest()

    def value(self, requester: str, source: str, question_hash: bytes) -> int:
        """A number of 256 bits for one Question."""
        return int.from_bytes(blake(32, b"bekend1-sample", self._seed(requester, source) + question_hash), "big")

    def selects(self, requester: str, source: str, question_hash: bytes) -> bool:
        """Whether this Question is drawn."""
        return _is_low(self.value(requester, source, question_hash))

    def _seed(self, requester: str, source: str) -> bytes:
        return _seed(self.checkpoint.text(), self.cosignatures, requester, source)


@lru_cache(maxsize=4096)
def _seed(text: str, cosignatures: tuple[tuple[str, bytes], ...], requester: str, source: str) -> bytes:
    others = (lp(oin.encode("ascii")) + value for oin, value in cosignatures if oin not in {requester, source})
    return lp(text.encode()) + b"".join(others)


@dataclass(frozen=True, order=True)
class Selected:
    """A Question that is drawn. `at`: when the broker logged it, in milliseconds. `ask_case`: a human looks at it."""

    value: int = field(repr=False)
    hash: bytes
    requester: str
    source: str
    at: int
    ask_case: bool = False


def open_draw(note: bytes, keys: Keys, absent: Collection[str] = ()) -> Draw:
    """The draw that a cosigned checkpoint of the broker's log makes.

    `absent`: OINs of witnesses that the auditor does without. Raises MalformedError; SignatureError, naming who did not
    sign; KeysError when too few are left: three, and more than half of all.
    """
    checkpoint = open_checkpoint(note, keys.of_log(checkpoint_of(note).origin))
    witnesses = sorted(keys.partners.keys() - {owner_of(checkpoint.origin)})
    parsed = parse_note(note)
    found = {oin: cosignature_of(parsed, oin, keys.partners[oin]) for oin in witnesses if oin not in absent}
    missing = [oin for oin, value in found.items() if value is None]
    if missing:
        raise SignatureError(f"onder dit controlepunt ontbreekt de medeondertekening van {', '.join(missing)}")
    counted = tuple((oin, value) for oin, value in found.items() if value is not None)
    if len(counted) < LEAST_WITNESSES or 2 * len(counted) <= len(witnesses):
        raise KeysError(f"voor een trekking tekenen ten minste {LEAST_WITNESSES} nodes mee, en meer dan de helft")
    return Draw(checkpoint, counted, tuple(oin for oin in witnesses if oin in absent))


def questions(export: Export, draw: Draw, since: int, until: int) -> list[Entry]:
    """The Questions of a period (milliseconds) in a verified export of a broker's log, all of them before the draw.

    A node's Questions to itself are about its canary and are left out. Raises MalformedError when the export does not
    show the whole period and the checkpoint, ProofError when the checkpoint is of another history or not later.
    """
    size = draw.checkpoint.size
    if export.log != draw.checkpoint.origin:
        raise MalformedError(f"het controlepunt is van {draw.checkpoint.origin}, de export van {export.log}")
    if export.since > since or export.until < until:
        raise MalformedError("de export omvat niet de hele periode: maak een export van de hele periode")
    root = export.roots([size]).get(size)
    if root is None:
        raise MalformedError("het controlepunt valt buiten de export: maak een export tot na het controlepunt")
    if root != draw.checkpoint.root:
        raise ProofError("het controlepunt hoort bij een andere geschiedenis dan de export")
    draw.check_later(until)
    inside = [(n, one) for n, one in enumerate(export.entries, export.first) if since <= one.at < until]
    if any(n >= size for n, _ in inside):
        raise ProofError("het controlepunt omvat niet de hele periode: neem een later")
    shown = [one for _, one in inside if isinstance(one, Entry)]
    return [one for one in shown if one.kind == QUESTION and one.requester != one.source]


def sample(found: Iterable[Entry], draw: Draw) -> list[Selected]:
    """Those of these Questions that are drawn, in the order of their numbers.

    Of each requester the first ten of every month (Europe/Amsterdam) are for a human to look at, case and all.
    """
    drawn = sorted(_drawn(found, draw))
    asked: dict[tuple[str, str], int] = {}
    marked = []
    for one in drawn:
        month = one.requester, f"{from_milliseconds(one.at).astimezone(AMSTERDAM):%Y-%m}"
        asked[month] = asked.get(month, 0) + 1
        ask = asked[month] <= CASES_A_MONTH
        marked.append(Selected(one.value, one.hash, one.requester, one.source, one.at, ask))
    return marked


def _drawn(found: Iterable[Entry], draw: Draw) -> Iterator[Selected]:
    for one in found:
        value = draw.value(one.requester, one.source, one.hash)
        if _is_low(value):
            yield Selected(value, one.hash, one.requester, one.source, one.at)


def _is_low(value: int) -> bool:
    return value * ONE_IN < 1 << 256
