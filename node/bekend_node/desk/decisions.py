"""(R5) A colleague at the source looks at what waits, and decides: each time on the record, with a ground.

What was asked by a combination may be about somebody else: the colleague sees the person in full, as the requester
typed it, compares, and says so before anything is released.

Who may: a colleague that node.yaml names for the purpose. A deputy: on what was handed over to it, or when it states
that the first colleague is absent; that is recorded. Everything that is done is sealed to the own privacy officer, with
its hash in the append-only log, before it counts. A decision can be undone until the requester collected it; then the
item is erased.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from bekend_policy.model import Covenant, Mode, Purpose, Source
from bekend_proto.channel import parse_strict
from bekend_proto.clock import Clock, from_milliseconds
from bekend_proto.errors import RefusedError
from bekend_proto.release import described
from bekend_proto.v1 import signed_pb2
from bekend_proto.v1.signed_pb2 import ConsentGiver, Named

from bekend_node.answer.pending import Pending, open_pending
from bekend_node.classes import POSSIBLE
from bekend_node.config import DeskColleague
from bekend_node.described import to_fields
from bekend_node.desk.belonging import belongs
from bekend_node.desk.grounds import check_ground, refusal_grounds, release_grounds
from bekend_node.desk.matter import Matter, Stage
from bekend_node.desk.matters import Matters
from bekend_node.desk.record import seal_desk_record
from bekend_node.keys import NodeKeys
from bekend_node.rules import RulesInForce
from bekend_node.store import Store
from bekend_node.store_desk import NAMED_BY, DeskStore, Exchange
from bekend_node.store_registers import Registers

AT_ONCE: Final = 20
"""What is shown of the list at once."""

_NAME: Final = re.compile(rf"v([0-9a-f]{{{2 * NAMED_BY}}})-([1-9][0-9]?)")
_WORDS = {Stage.OPEN: "wacht", Stage.RELEASED: "vrijgegeven", Stage.REFUSED: "geweigerd"}
_GIVERS: dict["ConsentGiver.ValueType", str] = {
    signed_pb2.CONSENT_GIVER_SELF: "de persoon zelf",
    signed_pb2.CONSENT_GIVER_REPRESENTATIVE: "de wettelijke vertegenwoordiger",
    signed_pb2.CONSENT_GIVER_BOTH: "de persoon en de wettelijke vertegenwoordiger",
}


_COMPARE = (
    "Een naam kan van meer mensen zijn. Vergelijk eerst alle gegevens met uw eigen systeem, en zeg dat u dat deed. "
    "Is het een ander, of twijfelt u? Weiger dan."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item is, and how far: all that is known of it without opening it."""

    question_id: bytes
    person: int
    stage: Stage

    @property
    def name(self) -> str:
        """What the colleague types: the front of the question's id, and which of its persons.

        It begins with a letter: eight digits alone would look like somebody's number.
        """
        return f"v{self.question_id.hex()[: 2 * NAMED_BY]}-{self.person + 1}"

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision."""
        return self.stage is Stage.OPEN


@dataclass(frozen=True, slots=True)
class Listed:
    """What there is for a colleague, by deadline; `privacy_officer`: something waits that is for nobody else."""

    places: list[Place]
    privacy_officer: bool


@dataclass(frozen=True)
class Item:
    """One person of one question that a colleague may see."""

    pending: Pending
    person: int
    matter: Matter
    colleague: DeskColleague

    @property
    def name(self) -> str:
        """What the colleague types."""
        return Place(self.pending.id, self.person, self.matter.stage).name

    @property
    def possible(self) -> bool:
        """Whether it was asked by a combination: who is meant is for the colleague to find out."""
        return self.pending.kind_class == POSSIBLE

    @property
    def stands_in(self) -> bool:
        """Whether it is another's: a deputy then decides only when it states that the first colleague is absent."""
        return self.colleague.deputy and self.matter.handed_to != self.colleague.user

    @property
    def until(self) -> datetime:
        """The end of the term."""
        return from_milliseconds(self.pending.until)


class Desk:
    """What colleagues do. `colleagues` as node.yaml names them."""

    def __init__(
        self,
        colleagues: Sequence[DeskColleague],
        *,
        keys: NodeKeys,
        rules: RulesInForce,
        registers: Registers,
        store: Store,
        desk: DeskStore,
        matters: Matters,
        clock: Clock,
    ) -> None:
        self._colleagues = colleagues
        self._keys = keys
        self._rules = rules
        self._registers = registers
        self._store = store
        self._desk = desk
        self._matters = matters
        self._clock = clock
        self._deciding = asyncio.Lock()

    def purposes(self, user: str) -> frozenset[str]:
        """The purposes for which this colleague decides. Raises RefusedError for who does not work at the desk."""
        return frozenset(purpose for one in self._own(user) for purpose in one.purposes)

    def waiting(self, user: str, page: int = 1) -> dict[str, Any]:
        """What waits for this colleague, by deadline, without any number of a person; and what can be undone.

        AT_ONCE of them, and no other is opened. Past the end is the last page.
        """
        found = self.listed(user)
        pages = max(1, -(-len(found.places) // AT_ONCE))
        number = min(page, pages)
        return {
            "items": self.summaries(user, found.places[(number - 1) * AT_ONCE : number * AT_ONCE]),
            "total": len(found.places),
            "page": number,
            "pages": pages,
            "privacy_officer": found.privacy_officer,
        }

    def listed(self, user: str) -> Listed:
        """What waits, and what can be undone, without opening any of it: a page then opens what it shows."""
        places: list[Place] = []
        privacy_officer = False
        awaited = self._store.awaited()
        for question_id in self._desk.compared(self.purposes(user)):
            if question_id not in awaited:
                continue
            for person, stage in enumerate(self._matters.stages(question_id)):
                if stage is Stage.MISNAMED:
                    privacy_officer = True
                elif stage is not None:
                    places.append(Place(question_id, person, stage))
        return Listed(places, privacy_officer)

    def summaries(self, user: str, places: Iterable[Place]) -> list[dict[str, Any]]:
        """These, without any number of a person. What is over meanwhile is left out."""
        own = self._own(user)
        found = [self._at(own, one.question_id, one.person) for one in places]
        return [self._summary(item) for item in found if item is not None]

    def summary(self, user: str, name: str) -> dict[str, Any]:
        """One, without any number of a person. Raises RefusedError."""
        return self._summary(self._item(user, name))

    async def show(self, user: str, name: str, *, absent: bool) -> dict[str, Any]:
        """Everything that a colleague needs to decide, the person's number among it. That it was seen is recorded."""
        async with self._deciding:
            item = self._item(user, name)
            self._check_turn(item, absent=absent)
            named = self._named(item)
            await self._record(item, named, "shown", absent=absent)
        covenant, purpose, source = self._terms(item)
        return {
            **self._summary(item),
            "person": {"kind": named.kind, "value": named.value},
            "described": to_fields(described(named)) if item.possible else None,
            "purpose_text": purpose.description,
            "mode": str(source.mode_of(item.pending.kind_class)),
            "grounds": _grounds(source),
            "requester_grounds": [
                {"ground": str(one), "status": str(one.status or "")} for one in purpose.requester_grounds
            ],
            "desk": named.desk,
            "on_behalf_of": _name(covenant, item.pending.on_behalf_of) if item.pending.on_behalf_of else None,
            "asked": _iso(from_milliseconds(item.pending.asked)),
            "justification": named.justification,
            "consent": _consent(named),
            "release_grounds": release_grounds(source.mode),
            "refusal_grounds": refusal_grounds(source.mode, possible=item.possible),
            "colleagues": [
                {"user": one.user, "name": one.name, "deputy": one.deputy} for one in self._others(user, item)
            ],
        }

    async def release(
        self, user: str, name: str, *, ground: str | None, text: str, absent: bool, compared: bool = False
    ) -> dict[str, Any]:
        """Let the requester be told that the person is known, or may be. Raises RefusedError.

        `compared`: the colleague says that the data of the person were compared; needed where a combination was asked
        by, and on the record.
        """
        async with self._deciding:
            item = self._item(user, name)
            self._check_open(item, absent=absent)
            _, _, source = self._terms(item)
            chosen = check_ground(ground, text, release_grounds(source.mode))
            named = self._named(item)
            if item.possible and not compared:
                raise RefusedError("vergelijken", _COMPARE)
            if source.mode is Mode.CONSENT and not named.HasField("consent"):
                raise RefusedError("toestemming", "De vrager noemt geen toestemming. Zonder toestemming kan dit niet.")
            if not await self._belongs(item):
                raise RefusedError(
                    "niet-in-lijst",
                    "Deze persoon staat niet meer in uw lijst, of is afgeschermd. Vrijgeven kan niet: weiger.",
                )
            more = {"compared": "yes"} if item.possible else {}
            await self._record(item, named, "released", absent=absent, ground=chosen, text=text, **more)
            return await self._put(item, replace(item.matter, stage=Stage.RELEASED))

    async def refuse(self, user: str, name: str, *, ground: str | None, text: str, absent: bool) -> dict[str, Any]:
        """Let the requester be told nothing. Raises RefusedError."""
        async with self._deciding:
            item = self._item(user, name)
            self._check_open(item, absent=absent)
            _, _, source = self._terms(item)
            chosen = check_ground(ground, text, refusal_grounds(source.mode, possible=item.possible))
            await self._record(item, self._named(item), "refused", absent=absent, ground=chosen, text=text)
            return await self._put(item, replace(item.matter, stage=Stage.REFUSED))

    async def hand_over(self, user: str, name: str, *, to: str | None, absent: bool) -> dict[str, Any]:
        """Ask another colleague, or a deputy, to decide. Raises RefusedError."""
        async with self._deciding:
            item = self._item(user, name)
            self._check_open(item, absent=absent)
            others = [one.user for one in self._others(user, item)]
            if to is None or to not in others:
                raise RefusedError(
                    "collega", f"Kies een collega voor dit doel: {', '.join(others) or 'er is niemand'}."
                )
            await self._record(item, self._named(item), "handed-over", absent=absent, to=to)
            return await self._put(item, replace(item.matter, handed_to=to))

    async def undo(self, user: str, name: str, *, absent: bool) -> dict[str, Any]:
        """Take a decision back that the requester did not collect yet. Raises RefusedError."""
        async with self._deciding:
            item = self._item(user, name)
            self._check_turn(item, absent=absent)
            if item.matter.stage not in {Stage.RELEASED, Stage.REFUSED}:
                raise RefusedError("niet-beslist", "Over dit verzoek is niets beslist dat nog terug kan.")
            await self._record(item, self._named(item), "undone", absent=absent)
            return await self._put(item, replace(item.matter, stage=Stage.OPEN))

    # --- what there is

    def _own(self, user: str) -> list[DeskColleague]:
        own = [one for one in self._colleagues if one.user == user]
        if not own:
            raise RefusedError(
                "onbevoegd",
                f"De gebruiker '{user}' werkt hier niet aan het loket. Vraag uw beheerder om u bij `desk_staff` in "
                "node.yaml te zetten.",
            )
        return own

    def _at(self, own: Sequence[DeskColleague], question_id: bytes, person: int) -> Item | None:
        """The item about this person of a question; None when there is none, or none for these colleagues."""
        kept = self._store.awaiting(question_id)
        if kept is None:
            return None
        pending = open_pending(self._keys.state_box, kept)
        entries = [one for one in own if pending.purpose in one.purposes]
        matter = self._matters.one(question_id, person) if entries else None
        if matter is None or not matter.is_item:
            return None
        # Who is a colleague and a deputy for one purpose is a colleague.
        return Item(pending, person, matter, min(entries, key=lambda one: one.deputy))

    def _item(self, user: str, name: str) -> Item:
        own = self._own(user)
        for question_id, person in self._named_so(name):
            item = self._at(own, question_id, person)
            if item is not None:
                return item
        raise RefusedError(
            "onbekend-verzoek",
            "Dit verzoek is er niet (meer): de termijn is om, de toestemming is ingetrokken of het is opgehaald.",
        )

    def _named_so(self, name: str) -> Iterator[tuple[bytes, int]]:
        """Where what is called so may be, by deadline."""
        found = _NAME.fullmatch(name)
        if found is not None:
            yield from ((one, int(found[2]) - 1) for one in self._desk.beginning(bytes.fromhex(found[1])))

    def _others(self, user: str, item: Item) -> list[DeskColleague]:
        """Who else may decide about it."""
        return [one for one in self._colleagues if item.pending.purpose in one.purposes and one.user != user]

    def _check_turn(self, item: Item, *, absent: bool) -> None:
        if item.stands_in and not absent:
            raise RefusedError(
                "plaatsvervanger",
                "U bent plaatsvervanger. Dit verzoek is niet aan u overgedragen. Is de eerste collega afwezig? "
                "Geef dat dan aan (--afwezig): het wordt vastgelegd.",
            )

    def _check_open(self, item: Item, *, absent: bool) -> None:
        self._check_turn(item, absent=absent)
        if item.matter.stage is not Stage.OPEN:
            raise RefusedError("al-beslist", "Hierover is al beslist. Maak dat eerst ongedaan, als het nog kan.")
        if self._clock.now() >= item.until:
            raise RefusedError("te-laat", "De termijn is om.")

    def _named(self, item: Item) -> Named:
        """Opens the item: from here on the person's number is in memory."""
        return parse_strict(Named, self._keys.desk_box.decrypt(item.matter.message))

    def _terms(self, item: Item) -> tuple[Covenant, Purpose, Source]:
        covenant = self._rules.covenant()
        purpose = covenant.purposes.get(item.pending.purpose)
        source = covenant.sources(item.pending.purpose).get(item.pending.source)
        if purpose is None or source is None or source.mode is Mode.NEVER:
            raise RefusedError("doel", "Uw organisatie is onder dit doel geen bron meer. Er komt geen antwoord.")
        return covenant, purpose, source

    def _summary(self, item: Item) -> dict[str, Any]:
        covenant = self._rules.covenant()
        purpose = covenant.purposes.get(item.pending.purpose)
        return {
            "item": item.name,
            "state": _WORDS[item.matter.stage],
            "possible": item.possible,
            "purpose": item.pending.purpose,
            "title": purpose.title if purpose else item.pending.purpose,
            "requester": _name(covenant, item.pending.requester),
            "until": _iso(item.until),
            "handed_to": item.matter.handed_to or None,
            "stands_in": item.stands_in,
        }

    async def _belongs(self, item: Item) -> bool:
        return await asyncio.to_thread(
            belongs,
            item.matter.pseudonym,
            item.pending.purpose,
            item.pending.epoch,
            rules=self._rules.now,
            registers=self._registers,
            now=self._clock.now(),
        )

    # --- what is done

    # (R5): on the record before it counts.

    async def _record(self, item: Item, named: Named, what: str, *, absent: bool, **more: str) -> None:
        """Sealed to the privacy officer, and durable, before it counts."""
        now = self._clock.now()
        facts = {
            "what": what,
            "at": _iso(now),
            "by": item.colleague.user,
            "name": item.colleague.name,
            "deputy": item.colleague.deputy,
            "absent": absent,
            "question": item.pending.question_id,
            "question_hash": item.pending.question_hash,
            "person": item.person,
            "requester": item.pending.requester,
            "purpose": item.pending.purpose,
            "kind": named.kind,
            "value": named.value,
            **more,
        }
        sealed = seal_desk_record(self._rules.now.manifest.privacy_officer, facts)
        await self._store.keep_desk_record(sealed, now)

    async def _put(self, item: Item, matter: Matter) -> dict[str, Any]:
        def put(exchange: Exchange, kept: list[Matter]) -> tuple[Exchange, list[Matter]]:
            if kept[item.person] != item.matter:
                raise RefusedError("veranderd", "Er veranderde intussen iets aan dit verzoek. Kijk opnieuw.")
            return exchange, [matter if at == item.person else one for at, one in enumerate(kept)]

        await self._matters.change(item.pending.id, put)
        return self._summary(replace(item, matter=matter))


def _name(covenant: Covenant, oin: str) -> str:
    participant = covenant.participants.get(oin)
    return participant.name if participant else oin


def _grounds(source: Source) -> list[dict[str, str]]:
    return [{"ground": str(one), "status": str(one.status or "")} for one in source.ground]


def _consent(named: Named) -> dict[str, str] | None:
    if not named.HasField("consent"):
        return None
    consent = named.consent
    return {
        "reference": consent.reference,
        "date": consent.date,
        "scope": consent.scope,
        "giver": _GIVERS.get(consent.giver, "onbekend"),
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
