"""What came of an audit by sample: a note that the auditor whom the covenant names signed (protocol section 8).

    soort: bekend/1 audituitslag
    wie: "00000099000000001000"        whose Questions were audited
    van: 2026-11-16                    first and last day, in Amsterdam
    tot_en_met: 2026-11-22
    trekking: "<64 hex digits>"        SHA-256 over the cosigned checkpoints by which they were drawn
    zonder: []                         witnesses that the draw did without
    vragen: 2501                       Questions of the period
    getrokken: 130
    getoetst: 120                      of those, made again octet for octet
    onbeantwoord: 9                    not answered by the source: nothing was disclosed
    niet_getoetst: 1                   what the source keeps was not given
    inbreuken: 0

It lets a bewaarbesluit be drafted (retention.py): what was audited, and found good, may be destroyed after its term.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from bekend_proto.errors import KeysError, MalformedError, SignatureError
from bekend_proto.note import open_note, parse_vkey
from pydantic import Field

from bekend_policy.model import Covenant
from bekend_policy.scalars import Day, Hex32, Oin, Whole
from bekend_policy.signed_text import SignedText, load_signed

KIND: Final = "bekend/1 audituitslag"
AUDITOR: Final = "auditor"
"""Role in the name of the auditor's key."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audituitslag says. `draw`: SHA-256 over the checkpoints and the cosignatures that counted."""

    by: str
    first: date
    last: date
    draw: bytes
    absent: tuple[str, ...]
    questions: int
    drawn: int
    tested: int
    unanswered: int
    untested: int
    breaches: int

    @property
    def is_good(self) -> bool:
        """Whether all that was drawn was looked at, and nothing was wrong."""
        return not self.untested and not self.breaches

    def text(self) -> str:
        """The text to sign. Raises KeysError when it breaks a rule."""
        _check(self)
        absent = ", ".join(f'"{oin}"' for oin in self.absent)
        return (
            f'soort: {KIND}\nwie: "{self.by}"\nvan: {self.first}\ntot_en_met: {self.last}\n'
            f'trekking: "{self.draw.hex()}"\nzonder: [{absent}]\nvragen: {self.questions}\ngetrokken: {self.drawn}\n'
            f"getoetst: {self.tested}\nonbeantwoord: {self.unanswered}\nniet_getoetst: {self.untested}\n"
            f"inbreuken: {self.breaches}\n"
        )


class _File(SignedText):
    by: Oin = Field(alias="wie")
    first: Day = Field(alias="van")
    last: Day = Field(alias="tot_en_met")
    draw: Hex32 = Field(alias="trekking")
    absent: tuple[Oin, ...] = Field(alias="zonder")
    questions: Whole = Field(alias="vragen")
    drawn: Whole = Field(alias="getrokken")
    tested: Whole = Field(alias="getoetst")
    unanswered: Whole = Field(alias="onbeantwoord")
    untested: Whole = Field(alias="niet_getoetst")
    breaches: Whole = Field(alias="inbreuken")


def parse_audited(text: str) -> Audited:
    """Read the text of an audituitslag. Raises KeysError, in Dutch, with every fault."""
    file = load_signed(text, _File, KIND)
    found = Audited(**file.model_dump(exclude={"kind"}))
    _check(found)
    return found


def open_audited(note: bytes, covenant: Covenant) -> Audited:
    """The audituitslag that the covenant's auditor signed. Raises MalformedError, SignatureError, KeysError."""
    vkey = covenant.agreement.auditor_signer
    if vkey is None:
        raise KeysError("het convenant noemt geen sleutel van een auditor: zet 'auditor_ondertekent' in afspraken.yaml")
    try:
        text = open_note(note, vkey)
    except SignatureError:
        raise SignatureError("de uitslag is niet getekend door de auditor die het convenant noemt") from None
    return parse_audited(text)


def audited_until(found: Sequence[Audited], by: str, before: date | None) -> date:
    """The last day of results that join one another, of this organisation, and join what was audited `before`.

    Raises KeysError, in Dutch: another organisation's, a gap between two, or one that is not good.
    """
    ordered = sorted(found, key=lambda one: one.first)
    last = before
    for one in ordered:
        if one.by != by:
            raise KeysError(f"deze uitslag gaat over {one.by}, niet over {by}")
        if not one.is_good:
            raise KeysError(
                f"de uitslag van {one.first} tot en met {one.last} is niet goed: {one.breaches} inbreuken, "
                f"{one.untested} niet getoetst. Bewaar alles, en bespreek dit eerst met de auditor en de FG"
            )
        if last is not None and one.first > last + timedelta(days=1):
            raise KeysError(f"tussen {last} en {one.first} is niet getoetst: geef ook de uitslag van die dagen")
        last = one.last if last is None else max(last, one.last)
    if last is None:
        raise KeysError("geef ten minste één uitslag")
    return last


def oin_of(vkey: str) -> str:
    """The OIN in the name of a key; empty when it has none."""
    try:
        parts = parse_vkey(vkey).name.split("/")
    except MalformedError:
        return ""
    return parts[1] if len(parts) == 3 else ""


def _check(one: Audited) -> None:
    if one.last < one.first:
        raise KeysError("audituitslag: 'tot_en_met' ligt voor 'van'")
    if one.drawn != one.tested + one.unanswered + one.untested + one.breaches or one.drawn > one.questions:
        raise KeysError("audituitslag: de aantallen kloppen niet met elkaar")
