"""(R5) A colleague at the source looks at what waits, and decides: each time on the record, with a ground.

What was asked by a combination may be about somebody else: the colleague sees the person in full, as the requester
typed it, compares, and says so before anything is released.

Who may: a colleague that node.yaml names for the purpose. A deputy: on what was handed over to it, or when it states
that the first colleague is absent; that is recorded. Everything that is done is sealed to the own privacy officer, with
its hash in the append-only log, before it counts. A decision can be undone until the requester collected it; then the
item is erased.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

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
from bekend_node.desk.matter import Matter, Stage, open_matter
from bekend_node.desk.record import seal_desk_record
from bekend_node.keys import NodeKeys
from bekend_node.rules import RulesInForce
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore, Exchange
from bekend_node.store_registers import Registers

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


@dataclass(frozen=True)
class Item:
    """One person of one question that a colleague may see."""

    pending: Pending
    person: int
    matter: Matter
    colleague: DeskColleague

    @property
    def name(self) -> str:
        """What the colleague types: the front of the question's id, and which of its persons.

        It begins with a letter: eight digits alone would look like somebody's number.
        """
        return f"v{self.pending.question_id[:8]}-{self.person + 1}"

    @property
    def possible(self) -> bool:
        """Whether it was asked by a combination: who is meant is for the colleague to find out."""
        return self.pending.kind_class == POSSIBLE

    @property
    def is_there(self) -> bool:
        """Whether there is something to decide, or a decision to undo: what it named was not erased."""
        return self.matter.stage in _WORDS and bool(self.matter.message)

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
        clock: Clock,
    ) -> None:
        self._colleagues = colleagues
        self._keys = keys
        self._rules = rules
        self._registers = registers
        self._store = store
        self._desk = desk
        self._clock = clock
        self._deciding = asyncio.Lock()

    def purposes(self, user: str) -> frozenset[str]:
        """The purposes for which this colleague decides. Raises RefusedError for who does not work at the desk."""
        return frozenset(purpose for one in self._own(user) for purpose in one.purposes)

    def waiting(self, user: str) -> dict[str, Any]:
        """What waits for this colleague, by deadline, without any number of a person; and what can be undone."""
        own = self._own(user)
        found = list(self._items(own))
        return {
            "items": [self._summary(item) for item in found if item.is_there],
            "privacy_officer": any(item.matter.stage is Stage.MISNAMED for item in found),
        }

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

    def _items(self, own: Sequence[DeskColleague]) -> Iterator[Item]:
        """All persons of questions under these colleagues' purposes, by deadline."""
        for exchange in self._desk.exchanges():
            entries = [one for one in own if exchange.purpose in one.purposes]
            kept = self._store.awaiting(exchange.question_id) if entries else None
            if kept is None:
                continue
            pending = open_pending(self._keys.state_box, kept)
            # Who is a colleague and a deputy for one purpose is a colleague.
            entry = min(entries, key=lambda one: one.deputy)
            for person, sealed in enumerate(self._desk.matters(exchange.question_id)):
                yield Item(pending, person, open_matter(self._keys.desk_box, sealed), entry)

    def _item(self, user: str, name: str) -> Item:
        for item in self._items(self._own(user)):
            if item.name == name and item.is_there:
                return item
        raise RefusedError(
            "onbekend-verzoek",
            "Dit verzoek is er niet (meer): de termijn is om, de toestemming is ingetrokken of het is opgehaald.",
        )

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
        box = self._keys.desk_box

        def put(exchange: Exchange, sealed: list[bytes]) -> tuple[Exchange, list[bytes]]:
            if open_matter(box, sealed[item.person]) != item.matter:
                raise RefusedError("veranderd", "Er veranderde intussen iets aan dit verzoek. Kijk opnieuw.")
            return exchange, [matter.seal(box) if at == item.person else one for at, one in enumerate(sealed)]

        await self._desk.change(item.pending.id, put)
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
