"""How long what is kept about questions may be kept (FG-31): a term per purpose, and what stands before its end.

    term      `bewaartermijn_log` of the purpose, else of the covenant; with police or OM at least four years, and never
              more than five (Wpg 25(1)(c) and 32, Wjsg 39i and 39j, Bgs 1.16, 1.18)
    audit     where police or OM takes part, or a purpose of the WGS: not before the audit that the law demands
    claim     never while it must be kept for a legal claim (AVG 17(3)(e))

The last two are stated by a signed note, the `bewaarbesluit`: Dutch, in strict YAML, signed by every key that the
covenant pins for the organisation (ondertekenaar and, where there is one, jurist: two persons), or by the operator's
beheerder for the broker. The one with the highest number counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Final

from bekend_proto.clock import AMSTERDAM, day_end
from bekend_proto.errors import KeysError, SignatureError
from bekend_proto.note import parse_note, verify_note
from pydantic import Field

from bekend_policy.model import Covenant
from bekend_policy.scalars import Day, Oin, Text, Whole
from bekend_policy.signed_text import SignedText, load_signed
from bekend_policy.words import Frame, Kind

KIND: Final = "bekend/1 bewaarbesluit"
LEAST_JUSTICE: Final = 4
MOST: Final = 5
"""Years."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""Nothing is older than this."""

_JUSTICE: Final = frozenset({Kind.OM, Kind.POLITIE})
_AUDITED_FRAMES: Final = frozenset({Frame.ZVH})
"""Frames of the WGS: audit within two years, and then every four (Bgs 1.18)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a bewaarbesluit says: audited up to and including a day; to be kept until a day, that day included."""

    by: str
    number: int
    audited: date | None
    claim: date | None
    reason: str

    def text(self) -> str:
        """The text to sign. Raises KeysError when it breaks a rule."""
        _check(self)
        lines = [f"soort: {KIND}", f'wie: "{self.by}"', f"nummer: {self.number}"]
        lines += [f"audit_tot_en_met: {self.audited}"] if self.audited else []
        lines += [f"bewaren_tot_en_met: {self.claim}"] if self.claim else []
        return "\n".join([*lines, f'reden: "{self.reason}"', ""])


class _File(SignedText):
    by: Oin = Field(alias="wie")
    number: Annotated[Whole, Field(ge=1, lt=2**32)] = Field(alias="nummer")
    audited: Day | None = Field(default=None, alias="audit_tot_en_met")
    claim: Day | None = Field(default=None, alias="bewaren_tot_en_met")
    reason: Text = Field(alias="reden")


def parse_kept(text: str) -> Kept:
    """Read the text of a bewaarbesluit. Raises KeysError, in Dutch, with every fault."""
    file = load_signed(text, _File, KIND)
    kept = Kept(file.by, file.number, file.audited, file.claim, file.reason)
    _check(kept)
    return kept


def open_kept(note: bytes, by: str, keys: Iterable[str], today: date) -> Kept:
    """The bewaarbesluit in a note that all these keys signed, of this organisation.

    Raises MalformedError, SignatureError (which key is missing), KeysError for its content: an audit of days to come.
    """
    parsed = parse_note(note)
    for vkey in keys:
        if not verify_note(parsed, vkey):
            raise SignatureError(f"het bewaarbesluit mist de handtekening van {vkey.partition('+')[0]}")
    kept = parse_kept(parsed.text)
    if kept.by != by:
        raise KeysError(f"het bewaarbesluit is van {kept.by}, niet van {by}")
    if kept.audited is not None and kept.audited > today:
        raise KeysError("het bewaarbesluit noemt een audit over dagen die nog komen: noem een dag die voorbij is")
    return kept


def kept_in(note: bytes | None) -> Kept | None:
    """What the note in force says, if there is one. It was verified when it came."""
    return None if note is None else parse_kept(parse_note(note).text)


def term_years(covenant: Covenant, purpose: str, parties: Iterable[str]) -> int:
    """The term of a purpose, in years, between these organisations."""
    found = covenant.purposes.get(purpose)
    years = (found.log_years if found else None) or covenant.agreement.log_years
    least = LEAST_JUSTICE if _has_justice(covenant, parties) else 1
    return min(max(years, least), MOST)


def longest_term(covenant: Covenant) -> int:
    """The longest term of any purpose, in years."""
    return max((term_years(covenant, id_, covenant.participants) for id_ in covenant.purposes), default=MOST)


def shortest_term(covenant: Covenant) -> int:
    """A number of years that no term of this covenant is shorter than."""
    years = [covenant.agreement.log_years, *(it.log_years for it in covenant.purposes.values() if it.log_years)]
    return min(*years, LEAST_JUSTICE)


def needs_audit(covenant: Covenant, purpose: str, parties: Iterable[str]) -> bool:
    """Whether the law demands an audit before what is kept of this purpose may be destroyed."""
    found = covenant.purposes.get(purpose)
    # A purpose that the covenant no longer has may have been one of the WGS; no purpose at all was a refusal.
    framed = bool(purpose) if found is None else found.frame in _AUDITED_FRAMES
    return framed or _has_justice(covenant, parties)


def parties_of(covenant: Covenant, purpose: str, *named: str) -> set[str]:
    """The organisations that may stand behind a row: those named, and in whose name the first may ask."""
    requester = covenant.requesters(purpose).get(named[0])
    return {*named, *(requester.on_behalf_of if requester else ())}


def over_before(covenant: Covenant, purpose: str, parties: Iterable[str], kept: Kept | None, now: datetime) -> datetime:
    """What was recorded before this moment is to be destroyed now; NEVER while an audit or a claim stands before it."""
    parties = set(parties)
    audit = needs_audit(covenant, purpose, parties)
    return bounded(years_before(now, term_years(covenant, purpose, parties)), kept, now, audit=audit)


def bounded(end: datetime, kept: Kept | None, now: datetime, *, audit: bool) -> datetime:
    """The end of a term as a bewaarbesluit leaves it; `audit`: whether one must cover what is destroyed."""
    if kept is not None and kept.claim is not None and now < day_end(kept.claim):
        return NEVER
    if not audit:
        return end
    return NEVER if kept is None or kept.audited is None else min(end, day_end(kept.audited))


def years_before(now: datetime, years: int) -> datetime:
    """The same moment so many years ago by the calendar of Europe/Amsterdam; 28 February for a 29th that was not."""
    local = now.astimezone(AMSTERDAM)
    try:
        earlier = local.replace(year=local.year - years)
    except ValueError:
        earlier = local.replace(year=local.year - years, day=28)
    return earlier.astimezone(UTC)


def _has_justice(covenant: Covenant, parties: Iterable[str]) -> bool:
    """Whether police or OM takes part; an organisation that the covenant no longer names may have been one."""
    kinds = {found.kind if (found := covenant.participants.get(oin)) else Kind.OM for oin in parties}
    return bool(kinds & _JUSTICE)


def _check(kept: Kept) -> None:
    if kept.audited is None and kept.claim is None:
        raise KeysError("bewaarbesluit: noem 'audit_tot_en_met', 'bewaren_tot_en_met' of allebei")
    reason = kept.reason
    if not reason.strip() or len(reason) > 500 or not reason.isprintable() or set('"\\') & set(reason):
        raise KeysError("bewaarbesluit: 'reden' is één regel van hoogstens 500 tekens, zonder aanhalingstekens")
