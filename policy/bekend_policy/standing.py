"""Standing decisions (standaardbesluit): a source decides beforehand, for one purpose, that its node may answer.

A Dutch text in strict YAML, in a signed note by the source's ondertekenaar, kept at the source, valid for a year at
most. Without a valid one the source does not answer by machine (protocol section 9).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

from bekend_proto.clock import day_end, day_start
from bekend_proto.errors import KeysError
from bekend_proto.note import note_name, open_note, parse_vkey
from pydantic import Field

from bekend_policy.directions import first_denial
from bekend_policy.model import Covenant, Mode
from bekend_policy.pairs import pairings
from bekend_policy.scalars import Day, Oin, Slug, is_oin, is_slug
from bekend_policy.signed_text import SignedText, load_signed

KIND = "bekend/1 standaardbesluit"
MAX_DAYS = 366


@dataclass(frozen=True)
class StandingDecision:
    """One source, one purpose, from the first to the last day, both included (Europe/Amsterdam)."""

    covenant_id: str
    source: str
    purpose: str
    first_day: date
    last_day: date
    decision: str
    """Where the decision itself is kept, and why it was taken."""

    @cached_property
    def valid_from(self) -> datetime:
        """First moment (UTC) at which it holds."""
        return day_start(self.first_day)

    @cached_property
    def valid_until(self) -> datetime:
        """First moment (UTC) at which it holds no more."""
        return day_end(self.last_day)

    def in_force(self, now: datetime) -> bool:
        """Whether it holds at this moment."""
        return self.valid_from <= now < self.valid_until

    def text(self) -> str:
        """The text to sign. Raises KeysError when it breaks a rule."""
        _check(self)
        return (
            f"soort: {KIND}\n"
            f"convenant: {self.covenant_id}\n"
            f'bron: "{self.source}"\n'
            f"doel: {self.purpose}\n"
            f"geldig_vanaf: {self.first_day.isoformat()}\n"
            f"geldig_tot_en_met: {self.last_day.isoformat()}\n"
            f'besluit: "{self.decision}"\n'
        )


class _File(SignedText):
    covenant_id: Slug = Field(alias="convenant")
    source: Oin = Field(alias="bron")
    purpose: str = Field(alias="doel")
    first_day: Day = Field(alias="geldig_vanaf")
    last_day: Day = Field(alias="geldig_tot_en_met")
    decision: str = Field(alias="besluit")


def parse_standing(text: str) -> StandingDecision:
    """Read the text of a standing decision. Raises KeysError, in Dutch, with every fault."""
    file = load_signed(text, _File, KIND)
    standing = StandingDecision(
        covenant_id=file.covenant_id,
        source=file.source,
        purpose=file.purpose,
        first_day=file.first_day,
        last_day=file.last_day,
        decision=file.decision,
    )
    _check(standing)
    return standing


def open_standing(note: bytes, vkey: str, now: datetime, covenant: Covenant | None = None) -> StandingDecision:
    """The decision in a note that the source's ondertekenaar signed, in force now.

    With a covenant, also refused where the covenant does not ask for one or a direction rule forbids it.
    Raises MalformedError or SignatureError for the note, KeysError for its content.
    """
    standing = parse_standing(open_note(note, vkey))
    if parse_vkey(vkey).name != note_name(standing.source, "ondertekenaar"):
        raise KeysError("het standaardbesluit is niet getekend door de ondertekenaar van de bron zelf")
    if not standing.in_force(now):
        raise KeysError(
            f"het standaardbesluit geldt van {standing.first_day} tot en met {standing.last_day}, niet nu: "
            "laat een nieuw besluit tekenen"
        )
    if covenant is not None:
        check_standing(covenant, standing)
    return standing


def check_standing(covenant: Covenant, standing: StandingDecision) -> None:
    """Raise KeysError unless the covenant asks this source for such a decision and no direction rule forbids it."""
    source = covenant.sources(standing.purpose).get(standing.source)
    if standing.covenant_id != covenant.id or source is None or source.mode is not Mode.STANDING:
        raise KeysError(
            f"het convenant {covenant.id} vraagt van {standing.source} geen standaardbesluit voor {standing.purpose}"
        )
    purpose = covenant.purposes[standing.purpose]
    for requester in covenant.requesters(standing.purpose).values():
        if requester.oin == standing.source:
            continue
        principals = [*requester.on_behalf_of, *([None] if requester.for_itself else [])]
        for principal in principals:
            asking = [covenant.participants[oin] for oin in (requester.oin, principal) if oin is not None]
            if not all(source.answers(one) for one in asking):
                continue
            for pairing in pairings(covenant, purpose, requester.oin, principal, source):
                direction = first_denial(pairing)
                # Another house's partner asks in vain (D12), but that is no fault of this source's decision.
                if direction is not None and direction.id != "D12":
                    raise KeysError(f"{direction.id}: {direction.reason} ({direction.article})")


def _check(standing: StandingDecision) -> None:
    if not is_oin(standing.source) or not is_slug(standing.covenant_id):
        raise KeysError("standaardbesluit: bron is een OIN en convenant een naam in kleine letters")
    if standing.purpose.partition("/")[0] != standing.covenant_id:
        raise KeysError("standaardbesluit: het doel hoort bij een ander convenant")
    if not timedelta(0) <= standing.last_day - standing.first_day < timedelta(days=MAX_DAYS):
        raise KeysError("standaardbesluit: het geldt ten hoogste een jaar: kies een eerdere einddatum")
    if not standing.decision.isprintable() or set('"\\') & set(standing.decision):
        raise KeysError("standaardbesluit: 'besluit' is één regel zonder aanhalingstekens")
