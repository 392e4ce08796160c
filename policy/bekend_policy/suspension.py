"""Suspensions (stilzettingen): the kill switch for a node, a purpose, or the whole federation.

A Dutch text in strict YAML, in a signed note. It travels in the directory, counts as soon as it arrives, and is
enforced by each of requester, broker and source. Only a withdrawal, a note of the same signer about the same thing with
a higher number, ends it before its end.

Who may: a partner's ondertekenaar its own node (`knooppunt`) and its own source role under a purpose (`doel`); the
operator's beheerder everything; whom `stilzetten` in afspraken.yaml names, what it names them for. A key that was
replaced since still brings a suspension in, so that renewing a key undoes none; it withdraws, shortens and changes
nothing, so that a thief of the old key cannot start again what was stopped.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from bekend_proto.errors import KeysError, RefusedError, SignatureError, SuspendedError
from bekend_proto.note import note_name, parse_note, parse_vkey, verify_note
from pydantic import Field

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.model import Covenant
from bekend_policy.scalars import JaNee, Moment, Oin, Slug, Text, Whole, is_oin, is_slug
from bekend_policy.signed_text import SignedText, load_signed

KIND = "bekend/1 stilzetting"
NOTE_LIMIT = 16 * 1024
"""Bytes of a note."""

_PURPOSE = re.compile(r"[a-z0-9_-]{1,48}/[a-z0-9_-]{1,48}")


class What(StrEnum):
    """What is suspended."""

    NODE = "knooppunt"
    PURPOSE = "doel"
    FEDERATION = "federatie"


@dataclass(frozen=True)
class Suspension:
    """One note: `about` is suspended from `since` on, or (`lifted`) no more from then on. `by`: OIN of who signs.

    `about`: an OIN for a node, a purpose id for a purpose, empty for the federation. `until`: None for as long as
    nobody withdraws it.
    """

    covenant_id: str
    number: int
    by: str
    what: What
    about: str
    reason: str
    since: datetime
    until: datetime | None = None
    lifted: bool = False
    by_former_key: bool = field(default=False, compare=False)
    """Whether the key that signed it is no longer its signer's."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Of the notes with one key only the one with the highest number counts."""
        return self.covenant_id, self.by, self.what.value, self.about

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """From when until when it suspends; a withdrawal that is dated ahead says only until when."""
        return (None, self.since) if self.lifted else (self.since, self.until)

    def in_force(self, now: datetime) -> bool:
        """Whether it suspends at this moment. A withdrawal that is dated ahead lifts nothing before its moment."""
        since, until = self.span
        return (since is None or since <= now) and (until is None or now < until)

    def ahead(self, now: datetime) -> str:
        """What to say behind it to an operator while its moment is still to come; empty once it has."""
        return f", from {_moment(self.since)} on" if now < self.since else ""

    def text(self) -> str:
        """The text to sign. Raises KeysError when it breaks a rule."""
        _check(self)
        names = {What.NODE: f'knooppunt: "{self.about}"\n', What.PURPOSE: f"doel: {self.about}\n"}
        return (
            f"soort: {KIND}\n"
            f"convenant: {self.covenant_id}\n"
            f"nummer: {self.number}\n"
            f'wie: "{self.by}"\n'
            f"wat: {self.what}\n"
            f"{names.get(self.what, '')}"
            f"intrekking: {'ja' if self.lifted else 'nee'}\n"
            f'reden: "{self.reason}"\n'
            f"vanaf: {_moment(self.since)}\n"
        ) + (f"tot: {_moment(self.until)}\n" if self.until else "")


class _File(SignedText):
    covenant_id: Slug = Field(alias="convenant")
    number: Annotated[Whole, Field(ge=1, lt=2**32)] = Field(alias="nummer")
    by: Oin = Field(alias="wie")
    what: What = Field(alias="wat")
    node: Oin | None = Field(default=None, alias="knooppunt")
    purpose: str | None = Field(default=None, alias="doel")
    lifted: JaNee = Field(alias="intrekking")
    reason: Text = Field(alias="reden")
    since: Moment = Field(alias="vanaf")
    until: Moment | None = Field(default=None, alias="tot")


def parse_suspension(text: str) -> Suspension:
    """Read the text of a suspension or withdrawal. Raises KeysError, in Dutch, with every fault."""
    file = load_signed(text, _File, KIND)
    named = {What.NODE: file.node, What.PURPOSE: file.purpose, What.FEDERATION: ""}
    others = {file.node, file.purpose} - {None, named[file.what]}
    if named[file.what] is None or others:
        raise KeysError("stilzetting: noem alleen wat u stilzet: 'knooppunt' bij een knooppunt, 'doel' bij een doel")
    found = Suspension(
        covenant_id=file.covenant_id,
        number=file.number,
        by=file.by,
        what=file.what,
        about=named[file.what] or "",
        reason=file.reason,
        since=file.since,
        until=file.until,
        lifted=file.lifted,
    )
    _check(found)
    return found


def open_suspension(note: bytes, covenants: Iterable[Covenant]) -> Suspension:
    """The suspension in a note, signed by who may, under one of these versions of the covenant, newest first.

    Raises MalformedError for the note, KeysError for its text, SignatureError when its signer did not sign,
    RefusedError when the signer may not suspend this, or withdraws with a key that was replaced. Says nothing about
    dates.
    """
    if len(note) > NOTE_LIMIT:
        raise KeysError(f"stilzetting: een bericht heeft hoogstens {NOTE_LIMIT} bytes")
    parsed = parse_note(note)
    found = parse_suspension(parsed.text)
    held = [covenant for covenant in covenants if covenant.id == found.covenant_id]
    signed = [verify_note(parsed, vkey) for vkey in _keys_of(found.by, held)]
    if not any(signed):
        raise SignatureError(f"de stilzetting is niet getekend door {found.by} zelf, of niet voor dit convenant")
    if not any(may_suspend(covenant, found) for covenant in held):
        raise RefusedError("stilzetten", f"{found.by} mag dit niet stilzetten: zie 'stilzetten' in afspraken.yaml")
    found = replace(found, by_former_key=not signed[0])
    if found.lifted and found.by_former_key:
        raise RefusedError("stilzetten", "een vervangen sleutel trekt niets in: teken met de sleutel van nu")
    return found


def may_suspend(covenant: Covenant, suspension: Suspension) -> bool:
    """Whether the covenant lets this signer suspend this."""
    what, by, about = suspension.what, suspension.by, suspension.about
    if what is What.PURPOSE and about not in covenant.purposes:
        return False
    if what is What.NODE and about not in covenant.participants:
        return False
    if by == covenant.broker_oin:
        return True
    if by not in covenant.participants:
        return False
    own = by == about if what is What.NODE else what is What.PURPOSE and by in covenant.sources(about)
    return own or by in covenant.agreement.suspenders.get(what.value, ())


class Suspensions:
    """The newest note of each signer about each thing, as one party believes them. Not durable: see the stores."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str, str], Suspension] = {}
        self._notes: dict[tuple[str, str, str, str], bytes] = {}

    def number(self, suspension: Suspension) -> int:
        """The number held under this key; 0 for none."""
        held = self._held.get(suspension.key)
        return held.number if held else 0

    def note(self, suspension: Suspension) -> bytes | None:
        """The note held under this key."""
        return self._notes.get(suspension.key)

    def check_newer(self, suspension: Suspension) -> None:
        """Raise RefusedError when a key that was replaced would change what is held; StaleError is the stores'."""
        if suspension.by_former_key and 0 < self.number(suspension) < suspension.number:
            raise RefusedError("stilzetten", "een vervangen sleutel verandert niets: teken met de sleutel van nu")

    def check_no_gap(self, suspension: Suspension, now: datetime) -> None:
        """Hold a note against what it replaces, where it is first brought in.

        Raises RefusedError when it would begin later than now while its signer's earlier one is in force: only the
        newest is kept, so who hears of it first would stop nothing until then.
        """
        held = self._held.get(suspension.key)
        if held is not None and not suspension.lifted and held.in_force(now) and now < suspension.since:
            raise RefusedError(
                "stilzetten",
                f"nu geldt stilzetting {held.number}, en {suspension.number} begint pas op "
                f"{_moment(suspension.since)}: teken hem met een 'vanaf' die al voorbij is",
            )

    def put(self, suspension: Suspension, note: bytes) -> None:
        """Take in a verified note; the caller has compared the numbers.

        Only a withdrawal or an end lifts what is in force: a later beginning in a newer note leaves no gap.
        """
        held = self._held.get(suspension.key)
        if held is not None and not held.lifted and not suspension.lifted:
            suspension = replace(suspension, since=min(held.since, suspension.since))
        self._held[suspension.key] = suspension
        self._notes[suspension.key] = note

    def notes(self) -> list[bytes]:
        """All notes held, withdrawals too, in a fixed order."""
        return [self._notes[key] for key in sorted(self._notes)]

    def known(self) -> list[tuple[Suspension, bytes]]:
        """All that is held, with the notes."""
        return [(self._held[key], self._notes[key]) for key in sorted(self._held)]

    def in_force(self, covenant: Covenant, now: datetime) -> list[Suspension]:
        """What is suspended now under this covenant."""
        return [
            one
            for key, one in sorted(self._held.items())
            if key[0] == covenant.id and one.in_force(now) and may_suspend(covenant, one)
        ]

    def check(
        self,
        covenant: Covenant,
        purpose: str,
        now: datetime,
        *,
        requester: str,
        source: str | None = None,
        principal: str | None = None,
    ) -> None:
        """Raise SuspendedError when a question by this requester (for this principal) to this source may not be.

        With `source` None: when no question for this purpose may be, whomever it is put to.
        """
        if not self._held:
            return
        parties = {requester, source, principal} - {None, ""}
        for one in self.in_force(covenant, now):
            if _hits(one, covenant, purpose, parties, source):
                raise SuspendedError(reason_of(one, covenant))

    def decided(self, covenant: Covenant, asked: Asked, now: datetime) -> Decision:
        """The covenant's decision on a question that may be asked now.

        Raises RefusedError when it is refused; SuspendedError when a note suspends it.
        """
        self.check(
            covenant,
            asked.purpose,
            now,
            requester=asked.requester,
            source=asked.source,
            principal=asked.on_behalf_of,
        )
        decision = decide(covenant, asked, now)
        if not decision.allowed:
            raise RefusedError(decision.rule, decision.reason)
        return decision

    def check_node(self, covenant: Covenant, oin: str, now: datetime) -> None:
        """Raise SuspendedError when this node, or the federation, is suspended: then it does not enrol either."""
        for one in self.in_force(covenant, now):
            if one.what is What.FEDERATION or (one.what is What.NODE and one.about == oin):
                raise SuspendedError(reason_of(one, covenant))


def reason_of(suspension: Suspension, covenant: Covenant) -> str:
    """Who suspended what, since when and why, in Dutch."""
    names = {one.oin: one.name for one in covenant.participants.values()}
    by = "de beheerder" if suspension.by == covenant.broker_oin else names.get(suspension.by, suspension.by)
    if suspension.what is What.FEDERATION:
        what = "De hele federatie"
    elif suspension.what is What.NODE:
        what = f"Het knooppunt van {names.get(suspension.about, suspension.about)}"
    else:
        what = f"Het doel {suspension.about}"
        what += "" if suspension.by == covenant.broker_oin or _for_all(covenant, suspension) else f" bij {by}"
    since, until = suspension.span
    moments = " ".join(f"{word} {_moment(one)}" for word, one in (("vanaf", since), ("tot", until)) if one)
    return f"{what} is stilgezet door {by}, {moments}: {suspension.reason}"


def _hits(one: Suspension, covenant: Covenant, purpose: str, parties: set[str | None], source: str | None) -> bool:
    if one.what is What.FEDERATION:
        return True
    if one.what is What.NODE:
        return one.about in parties
    return one.about == purpose and (one.by == source or _for_all(covenant, one))


def _for_all(covenant: Covenant, one: Suspension) -> bool:
    """Whether a suspended purpose is suspended for everybody, or only at the source that says so."""
    return one.by == covenant.broker_oin or one.by in covenant.agreement.suspenders.get(What.PURPOSE.value, ())


def _keys_of(oin: str, covenants: list[Covenant]) -> Iterator[str]:
    """The keys by which this signer is known: first that of the newest version, then all that went before."""
    found: list[str] = []
    for covenant in covenants:
        participant = covenant.participants.get(oin)
        if oin == covenant.broker_oin:
            found.append(covenant.operator_key)
        elif participant is not None:
            found += [participant.signer, *participant.former_keys]
    name = note_name(oin, "beheerder" if any(oin == it.broker_oin for it in covenants) else "ondertekenaar")
    yield from (vkey for vkey in dict.fromkeys(found) if parse_vkey(vkey).name == name)


def _check(suspension: Suspension) -> None:
    what, about = suspension.what, suspension.about
    fits = {
        What.NODE: is_oin(about),
        What.PURPOSE: _PURPOSE.fullmatch(about) and about.partition("/")[0] == suspension.covenant_id,
        What.FEDERATION: not about,
    }
    if not is_oin(suspension.by) or not is_slug(suspension.covenant_id) or not 1 <= suspension.number < 2**32:
        raise KeysError("stilzetting: wie is een OIN, convenant een naam in kleine letters, nummer een getal vanaf 1")
    if not fits[what]:
        raise KeysError("stilzetting: knooppunt is een OIN; doel is 'convenant/doel' van dit convenant")
    if suspension.until is not None and suspension.until <= suspension.since:
        raise KeysError("stilzetting: 'tot' ligt niet na 'vanaf'")
    if suspension.lifted and suspension.until is not None:
        raise KeysError("stilzetting: een intrekking heeft geen 'tot'")
    reason = suspension.reason
    if not reason.strip() or len(reason) > 500 or not reason.isprintable() or set('"\\') & set(reason):
        raise KeysError("stilzetting: 'reden' is één regel van hoogstens 500 tekens, zonder aanhalingstekens")


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
