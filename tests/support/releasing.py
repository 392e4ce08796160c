"""The requester's side of section 9 as a test writes it: an honest one, with everything in its hands to be another."""

import getpass
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bekend_broker.app import Broker
from bekend_deploy.partners import HAARLEM, OM, POLITIE, ZVH_WEIGHING
from bekend_deploy.questions import CASES, CONDITIONS
from bekend_node.app import Node
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.desk.matter import SEALED_LENGTH
from bekend_node.desk.record import open_desk_record
from bekend_node.schedule import collect_moment, next_switch
from bekend_proto import channel, collecting, oprf, release
from bekend_proto.channel import OpenChannel
from bekend_proto.clock import milliseconds
from bekend_proto.identifiers import Identifier
from bekend_proto.records import record_context
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.public import SealedBox
from nacl.secret import SecretBox

from tests.support.federation import PEOPLE, Federation, Lookup, Party, told
from tests.support.nodes import NodeHome, open_answer
from tests.support.pki import Authority

WAITING, KNOWN, CLOSED = "waiting", "known", "closed"
_WORDS = {
    signed_pb2.RELEASE_STATE_WAITING: WAITING,
    signed_pb2.RELEASE_STATE_KNOWN: KNOWN,
    signed_pb2.RELEASE_STATE_CLOSED: CLOSED,
}


@dataclass
class Asked:
    """One question that a colleague decides on, after its Answer."""

    party: Party
    source: str
    lookup: Lookup
    question: signed_pb2.Question
    hashed: bytes
    channel: OpenChannel
    answer: signed_pb2.Answer
    term: timedelta
    interval: timedelta
    boxes: list[int] = field(default_factory=list)
    """Lengths of the replies as they came."""

    @property
    def parties(self) -> collecting.Parties:
        return collecting.Parties(self.hashed, self.party.oin, self.source, len(self.lookup.persons))

    @property
    def until(self) -> int:
        """Milliseconds since 1970."""
        return int(self.question.time) + int(self.term.total_seconds() * 1000)

    def w(self, person: int = 0) -> bytes:
        return oprf.unblind(self.blind(person), self.answer.evaluated[person])

    def blind(self, person: int = 0) -> bytes:
        return oprf.lookup_blind(self.lookup.seed, self.source, person)

    def context(self, person: int = 0) -> bytes:
        return record_context(self.party.oin, self.source, self.question.purpose, self.question.question_id, person)

    def named(self, person: int = 0, **changes: Any) -> signed_pb2.Named:
        who = self.lookup.persons[person]
        facts = {
            "kind": who.kind,
            "value": who.value,
            "blind": self.blind(person),
            "desk": "loket@zvh.example.nl",
            "justification": "nodig: weging; middel: alleen dit; minder: kan niet",
        }
        return signed_pb2.Named(**(facts | changes))

    def d(self, person: int = 0, **changes: Any) -> bytes:
        """An honest D, but for the changes in what it names."""
        payload = release.pack_named(self.named(person, **changes))
        return release.seal_release(self.w(person), self.context(person), payload)

    def fresh(self) -> OpenChannel:
        """The channel without its memory of what it sealed."""
        return OpenChannel.restore(self.channel.keep(), 0)

    def box(self, messages: Sequence[bytes] | None = None, number: int = collecting.NAMES) -> bytes:
        sent = [self.d(person) for person in range(len(self.lookup.persons))] if messages is None else messages
        return collecting.seal_release_box(self.fresh(), self.party.signing, number, self.parties, sent)

    async def send(self, box: bytes) -> bytes:
        """A release as it is. Raises the refusal as a BekendError."""
        request = broker_pb2.ReleaseRequest(question_id=self.question.question_id, box=box)
        reply: broker_pb2.ReleaseResponse = await told(self.party.stub.Release(request, timeout=10))
        return reply.box

    async def release(self, messages: Sequence[bytes] | None = None) -> list[str]:
        return self.open(1, await self.send(self.box(messages)))

    async def withdraw(self) -> list[str]:
        noise = [bytes(release.RELEASE_LENGTH)] * len(self.lookup.persons)
        return self.open(2, await self.send(self.box(noise, collecting.WITHDRAWS)))

    def collect_request(self, number: int) -> broker_pb2.CollectRequest:
        box = collecting.seal_collect(self.fresh(), number, self.hashed)
        return broker_pb2.CollectRequest(question_id=self.question.question_id, number=number, box=box)

    async def collect(self, number: int) -> list[str]:
        """What the source says under this number, whatever the moment."""
        reply = await told(self.party.stub.Collect(self.collect_request(number), timeout=10))
        return self.open(number + 1, reply.box)

    async def collect_at(self, number: int) -> list[str]:
        """The clock to the moment of this number, then collect."""
        moment = collect_moment(self.party.oin, self.interval, int(self.question.time), number)
        self.advance_to(moment * 1000)
        return await self.collect(number)

    async def collect_last(self) -> list[str]:
        """At the first moment at or after the end of the term."""
        number = collecting.FIRST_COLLECT
        while collect_moment(self.party.oin, self.interval, int(self.question.time), number) * 1000 < self.until:
            number += 1
        return await self.collect_at(number)

    def advance_to(self, moment: int) -> None:
        """The clock to this many milliseconds since 1970, never back."""
        clock = self.party.federation.clock
        clock.advance(timedelta(milliseconds=max(0, moment - milliseconds(clock.now()))))

    def open(self, number: int, box: bytes) -> list[str]:
        self.boxes.append(len(box))
        keys = [bytes(self.party.federation.parties[self.source].signing.verify_key)]
        states = collecting.open_collected(self.fresh(), keys, number, self.parties, until=self.until, box=box)
        return [_WORDS[state] for state in states]


async def ask_by_hand(party: Party, source: str, purpose: str, *persons: Identifier, **changes: Any) -> Asked:
    """Question and Answer of a source that a colleague answers for."""
    lookup = await party.lookup(purpose, persons).begin()
    routed = lookup.question(source, **changes)
    await lookup.ask(routed)
    reply = (await lookup.replies())[source]
    assert not isinstance(reply, str), reply
    question = signed_pb2.Question.FromString(routed.question.payload)
    _, own = lookup.asked[question.question_id]
    opened = own.open(party.oin, source, question.question_id, reply.x25519, reply.mlkem)
    covenant = party.federation.covenant
    term = covenant.sources(purpose)[source].reply_term
    assert term is not None
    return Asked(
        party=party,
        source=source,
        lookup=lookup,
        question=question,
        hashed=channel.question_hash(routed.question),
        channel=opened,
        answer=open_answer(lookup, reply),
        term=term,
        interval=covenant.collect_interval,
    )


CLIENT, OTHER, STRANGER = PEOPLE[0], PEOPLE[2], PEOPLE[1]
"""Two clients of the source, and somebody whom it does not know."""
USER = getpass.getuser()
"""Who decides at the desk in a test."""


@dataclass
class Scene:
    """A police node that decides by hand on what a municipality asks, and answers by machine what the OM asks."""

    federation: Federation
    home: NodeHome
    broker: Broker

    @property
    def haarlem(self) -> Party:
        return self.federation.parties[HAARLEM.oin]

    @property
    def om(self) -> Party:
        return self.federation.parties[OM.oin]

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        async with self.home.node(self.broker.port) as node:
            yield node

    async def ask(self, *persons: Identifier, **changes: Any) -> Asked:
        return await ask_by_hand(self.haarlem, POLITIE.oin, ZVH_WEIGHING, *(persons or (CLIENT,)), **changes)

    async def named(self, node: Node, *persons: Identifier) -> Asked:
        """Asked, named, and compared."""
        asked = await self.ask(*persons)
        assert set(await asked.release()) == {WAITING}
        await node.comparing.compare_all()
        return asked

    async def switch(self, node: Node) -> None:
        """The next version of the filter for answering by hand, at its moment."""
        moment = node.filters.next_switch(ZVH_WEIGHING)
        assert moment is not None
        self.advance(seconds=max(0, moment - 5 - self.federation.clock.now().timestamp()))
        await node.filters.tick()
        await node.filters.settle()
        self.advance(seconds=max(0, moment - self.federation.clock.now().timestamp()))
        await node.filters.tick()

    def advance(self, **step: float) -> None:
        self.federation.clock.advance(timedelta(**step))

    def records(self, node: Node) -> list[dict[str, object]]:
        """What the privacy officer reads, off line."""
        return [open_desk_record(SealedBox(self.home.party.officer), one) for one in node.store.desk_records()]


@asynccontextmanager
async def scene_of(
    folder: Path, authority: Authority, change: Callable[[Path], None] = lambda _: None
) -> AsyncIterator[Scene]:
    """A running broker, and the police's registers imported. `change` is made in the folder of the covenant."""
    federation = Federation.create(folder, authority)
    federation.write_covenant(change)
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        home.fill(broker.port, [CLIENT, OTHER, *PEOPLE[3:]])
        yield Scene(federation, home, broker)


class CountingBox(SecretBox):
    """A desk key that counts how many items it opened."""

    def __init__(self, node: Node) -> None:
        super().__init__(bytes(node.keys.desk_box))
        self.items = 0

    @classmethod
    def of(cls, node: Node) -> "CountingBox":
        """This node's, from now on."""
        made = cls(node)
        node.keys.__dict__["desk_box"] = made
        return made

    def decrypt(self, *args: Any, **more: Any) -> bytes:
        self.items += len(args[0]) == SEALED_LENGTH
        return bytes(super().decrypt(*args, **more))


def items(node: Node, user: str = USER) -> list[str]:
    """What this colleague sees waiting."""
    return [one["item"] for one in node.desk.waiting(user)["items"]]


async def let_go(node: Node, name: str, ground: str = "nodig", user: str = USER) -> None:
    """A colleague releases."""
    await node.desk.release(user, name, ground=ground, text="", absent=False)


async def refuse(node: Node, name: str, ground: str = "geheim") -> None:
    """A colleague refuses."""
    await node.desk.refuse(USER, name, ground=ground, text="", absent=False)


# --- the whole way: the real node that asks

OFFICER = OfficerRef("devries", "A. de Vries", "procesregisseur")


async def ask(node: Node, *persons: Identifier) -> list[Outcome]:
    inquiry = Inquiry(
        purpose=ZVH_WEIGHING,
        persons=persons,
        sources=(POLITIE.oin,),
        officer=OFFICER,
        case_reference=CASES[ZVH_WEIGHING],
        attested=frozenset(CONDITIONS[ZVH_WEIGHING]),
        justification="nodig: wie erbij moet; middel: alleen deze vraag; minder: kan hier niet",
    )
    return [outcome async for outcome in node.asker.ask(inquiry) if outcome.oin == POLITIE.oin]


async def moments(scene: Scene, node: Node, count: int) -> None:
    """Let the requester's next moments pass, each to its end."""
    interval = scene.federation.covenant.collect_interval
    for _ in range(count):
        now = int(scene.federation.clock.now().timestamp())
        scene.advance(seconds=next_switch(HAARLEM.oin, interval, now) - now + interval.total_seconds() - 1)
        await node.asker.collector.tick()
        await node.asker.collector.settle()


async def late(node: Node) -> list[OutcomeKind]:
    found = await node.asker.cases.late_answers(lambda _: True)
    return [outcome.outcome for one in found for outcome in one.outcomes]
