"""A requester that may do anything: it holds the real keys of a partner, and says what a test tells it to.

What it makes when a test changes nothing is exactly what protocol section 7 asks for, written here a second time and
apart from the node's own code.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from bekend_policy.manifest import KeyManifest
from bekend_proto import group, oprf, records
from bekend_proto.channel import LABEL_BEGIN, LABEL_FETCH, LABEL_QUESTION, RequesterChannel, open_signed, sign_message
from bekend_proto.clock import milliseconds
from bekend_proto.errors import code_name, from_rpc_error
from bekend_proto.identifiers import Identifier
from bekend_proto.identity import TlsFiles
from bekend_proto.v1 import broker_pb2, signed_pb2
from bekend_proto.v1.signed_pb2 import Signed
from nacl.signing import SigningKey

from tests.evil.world import World, statement

Change = Callable[[Any], Any]
"""Changes a message in place before it is signed, or (for what carries it) before it is sent."""


def nothing(_: Any) -> None:
    """No change."""


def put(**fields: Any) -> Change:
    """A change that sets fields."""

    def change(message: Any) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(message, name)[:] = value
            else:
                setattr(message, name, value)

    return change


@dataclass
class Lookup:
    """One lookup with its secrets."""

    requester: str
    purpose: str
    persons: tuple[Identifier, ...]
    namens: str = ""
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    begin_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    begun: broker_pb2.Begun = field(default_factory=broker_pb2.Begun)
    channels: dict[str, RequesterChannel] = field(default_factory=dict)
    questions: dict[str, broker_pb2.RoutedQuestion] = field(default_factory=dict)

    def blind(self, target: str, person: int) -> bytes:
        return oprf.lookup_blind(self.seed, target, person)

    def elements(self, target: str) -> list[bytes]:
        return [
            group.multiply(self.blind(target, at), oprf.hash_identifier(person))
            for at, person in enumerate(self.persons)
        ]

    def ratios(self, source: str) -> list[bytes]:
        return [
            group.scalar_multiply(self.blind(source, at), group.scalar_invert(self.blind("begin", at)))
            for at in range(len(self.persons))
        ]


@dataclass
class Replies:
    """What came back: per source a sealed answer or the name of a fault; `whole` is the fault of the lookup."""

    whole: str | None = None
    begun: broker_pb2.Begun | None = None
    by_source: dict[str, broker_pb2.SealedAnswer | str] = field(default_factory=dict)

    def fault(self, source: str) -> str | None:
        """The fault that ended a question, or None when it was answered."""
        reply = self.by_source.get(source)
        return reply if isinstance(reply, str) else None if reply is not None else self.whole


class HostileRequester:
    """Asks over one broker, in the name of one partner."""

    def __init__(self, world: World, oin: str, stub: Any) -> None:
        self.world = world
        self.oin = oin
        self.stub = stub
        self.key: SigningKey = world.signing(oin)
        self.manifest: KeyManifest = world.manifest(oin)
        self.broker_manifest = 1

    def lookup(self, purpose: str, *persons: Identifier, namens: str = "") -> Lookup:
        """A fresh lookup."""
        return Lookup(self.oin, purpose, persons, namens)

    def make_begin(self, lookup: Lookup, change: Change = nothing) -> Signed:
        """A signed Begin."""
        begin = signed_pb2.Begin(
            protocol_version=1,
            begin_id=lookup.begin_id,
            requester=lookup.requester,
            on_behalf_of=lookup.namens,
            purpose=lookup.purpose,
            covenant_hash=self.world.covenant.hash,
            record_month=self.world.month,
            requester_manifest=self.manifest.number,
            broker_manifest=self.broker_manifest,
            time=milliseconds(self.world.clock.now()),
            elements=lookup.elements("begin"),
        )
        change(begin)
        return sign_message(self.key, LABEL_BEGIN, begin)

    def seal(self, lookup: Lookup, source: str, question_id: bytes) -> list[bytes]:
        """The sealed records that an honest requester makes; the broker's proof is not looked at."""
        officer = self.world.manifest(source).privacy_officer
        assert officer is not None
        sealed = []
        for at, (person, evaluated) in enumerate(zip(lookup.persons, lookup.begun.evaluated, strict=True)):
            u = oprf.finalize(person.canonical, oprf.unblind(lookup.blind("begin", at), evaluated))
            context = records.record_context(lookup.requester, source, lookup.purpose, question_id, at)
            sealed.append(records.seal_record(lookup.seed, source, at, officer, records.record_value(u, context)))
        return sealed

    def make_question(
        self,
        lookup: Lookup,
        source: str,
        change: Change = nothing,
        routed: Change = nothing,
        resigned: Change = nothing,
    ) -> broker_pb2.RoutedQuestion:
        """A routed Question. `change` comes before the signature, `resigned` after it, `routed` on what carries it."""
        question_id = secrets.token_bytes(16)
        channel = lookup.channels[source] = RequesterChannel()
        sealed = self.seal(lookup, source, question_id)
        question = signed_pb2.Question(
            protocol_version=1,
            question_id=question_id,
            requester=lookup.requester,
            source=source,
            on_behalf_of=lookup.namens,
            purpose=lookup.purpose,
            covenant_hash=self.world.covenant.hash,
            epoch=self.world.epoch,
            record_month=self.world.month,
            requester_manifest=self.manifest.number,
            source_manifest=self.world.manifest(source).number,
            broker_manifest=self.broker_manifest,
            time=milliseconds(self.world.clock.now()),
            kind_class=signed_pb2.KIND_CLASS_CERTAIN,
            elements=lookup.elements(source),
            seal_hashes=[records.seal_hash(one) for one in sealed],
            x25519=channel.x25519,
            mlkem=channel.mlkem,
            checkpoint=bytes(72),
            case_commitment=secrets.token_bytes(32),
        )
        change(question)
        signed = sign_message(self.key, LABEL_QUESTION, question)
        resigned(signed)
        made = broker_pb2.RoutedQuestion(question=signed, sealed_records=sealed, ratios=lookup.ratios(source))
        routed(made)
        lookup.questions[source] = made
        return made

    async def begin(self, call: Any, signed: Signed) -> broker_pb2.Begun:
        """Send a Begin. Raises RpcError when the broker refuses it."""
        await _write(call, broker_pb2.LookupRequest(begin=signed))
        reply = await call.read()
        assert reply is not grpc.aio.EOF
        begun: broker_pb2.Begun = reply.begun
        return begun

    async def run(
        self,
        lookup: Lookup,
        sources: Sequence[str],
        *,
        begin: Change = nothing,
        question: Change = nothing,
        routed: Change = nothing,
        ask: Change = nothing,
    ) -> Replies:
        """A whole lookup, with these changes, and everything that comes back."""
        replies = Replies()
        call = self.stub.Lookup(timeout=20)
        try:
            lookup.begun = replies.begun = await self.begin(call, self.make_begin(lookup, begin))
            made = broker_pb2.Ask(questions=[self.make_question(lookup, one, question, routed) for one in sources])
            ask(made)
            await self.send(call, made, replies, lookup)
        except grpc.RpcError as error:
            replies.whole = code_name(from_rpc_error(error).code)
        finally:
            call.cancel()
        return replies

    async def send(self, call: Any, ask: broker_pb2.Ask, replies: Replies, lookup: Lookup) -> None:
        """Send an Ask and take every reply until the broker ends the call."""
        names = {_id_of(routed): source for source, routed in lookup.questions.items()}
        await _write(call, broker_pb2.LookupRequest(ask=ask))
        while (reply := await call.read()) is not grpc.aio.EOF:
            kind = reply.WhichOneof("kind")
            body = getattr(reply, kind)
            source = names.get(body.question_id, "?")
            replies.by_source[source] = code_name(body.code) if kind == "failure" else body

    async def fetch(self, source: str, purpose: str, change: Change = nothing) -> str | int:
        """Order a filter; the number of its pieces, or the name of the fault."""
        channel = RequesterChannel()
        order = signed_pb2.FetchOrder(
            protocol_version=1,
            fetch_id=secrets.token_bytes(16),
            requester=self.oin,
            source=source,
            purpose=purpose,
            covenant_hash=self.world.covenant.hash,
            requester_manifest=self.manifest.number,
            time=milliseconds(self.world.clock.now()),
            x25519=channel.x25519,
            mlkem=channel.mlkem,
        )
        change(order)
        signed = sign_message(self.key, LABEL_FETCH, order)
        call = self.stub.Fetch(broker_pb2.FetchRequest(order=signed), timeout=20)
        pieces = 0
        try:
            while await call.read() is not grpc.aio.EOF:
                pieces += 1
        except grpc.RpcError as error:
            return code_name(from_rpc_error(error).code)
        return pieces

    def open(self, lookup: Lookup, source: str, answer: broker_pb2.SealedAnswer) -> signed_pb2.Answer:
        """What a source sealed for this requester."""
        keys = self.world.manifest(source).signing_keys
        channel = lookup.channels[source].open(
            lookup.requester, source, answer.question_id, answer.x25519, answer.mlkem
        )
        signed = Signed.FromString(channel.open_from_source(0, answer.box))
        return open_signed(signed_pb2.Answer, signed, b"bekend/1 answer", keys)


async def _write(call: Any, message: broker_pb2.LookupRequest) -> None:
    # A call that was refused says why when it is read.
    with contextlib.suppress(asyncio.InvalidStateError, grpc.RpcError):
        await call.write(message)


def _id_of(routed: broker_pb2.RoutedQuestion) -> bytes:
    try:
        return signed_pb2.Question.FromString(routed.question.payload).question_id
    except Exception:
        return b""


@asynccontextmanager
async def hostile_requester(
    world: World, oin: str, port: int, tls: TlsFiles | None = None
) -> AsyncIterator[HostileRequester]:
    """A partner that asks as a test tells it to; `tls` may be another's certificate."""
    async with world.stub(port, tls or world.tls(oin), b"" if tls else statement(world, oin)) as stub:
        yield HostileRequester(world, oin, stub)
