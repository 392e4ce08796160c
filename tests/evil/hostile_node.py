"""A source that may do anything: it holds the real keys of a partner, and every step of its work can be replaced.

Changed in nothing it answers as protocol section 7 says, written here a second time and apart from the node's own code.
It checks nothing of what it is asked: that is what the real node is tested for.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from bekend_proto import dleq, group
from bekend_proto.channel import LABEL_ANSWER, LABEL_FILTER, OpenChannel, question_hash, respond, sign_message
from bekend_proto.clock import day_of
from bekend_proto.filter import body_hash, m_hash, pad_and_sort, size_class, tag
from bekend_proto.identifiers import Identifier
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2
from bekend_proto.v1.broker_pb2 import AttachRequest, EvaluatedQuestion, SealedAnswer
from bekend_proto.v1.signed_pb2 import Answer, FetchOrder, FilterHeader, Question, Signed

from tests.evil.world import World

PIECE = 1 << 16


class HostileNode:
    """One partner's source side. Subclasses replace the step that they spoil."""

    def __init__(self, world: World, oin: str, purpose: str, known: Collection[Identifier]) -> None:
        self.world = world
        self.oin = oin
        self.purpose = purpose
        self.known = known
        self.secret = group.random_scalar()
        self.version = int(world.clock.now().timestamp()) - 1
        self.asked: list[EvaluatedQuestion] = []
        self.answered: list[SealedAnswer] = []
        self._call: Any = None
        self._stub: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- keys and filter

    @property
    def mk(self) -> bytes:
        """The scalar m*k."""
        return group.scalar_multiply(self.secret, self.world.k(self.oin, self.purpose).secret)

    @property
    def m(self) -> bytes:
        """The element M that the filter's header names."""
        return group.multiply_base(self.mk)

    def tag_of(self, person: Identifier) -> bytes:
        w = group.multiply(self.secret, self.world.pseudonym(self.oin, self.purpose, person))
        return tag(w, self.oin, self.purpose, self.version)

    def body(self) -> bytes:
        tags = [self.tag_of(person) for person in self.known]
        return pad_and_sort(tags, size_class(len(tags)))

    def header(self, body: bytes) -> FilterHeader:
        return FilterHeader(
            protocol_version=1,
            source=self.oin,
            purpose=self.purpose,
            epoch=self.world.epoch,
            mode=signed_pb2.FILTER_MODE_AUTOMATIC,
            version=self.version,
            m=self.m,
            as_of=day_of(self.world.clock.now()).isoformat(),
            kinds=[self.world.population.kind],
            end=int((self.world.clock.now() + timedelta(minutes=15)).timestamp()),
            tags=len(body) // 8,
            body_hash=body_hash(body),
            covenant_hash=self.world.covenant.hash,
        )

    def sign_header(self, header: FilterHeader) -> Signed:
        return sign_message(self.world.signing(self.oin), LABEL_FILTER, header)

    def pieces(self, order: FetchOrder) -> Iterable[broker_pb2.PushRequest]:
        body = self.body()
        channel, x25519, mlkem = respond(order.requester, self.oin, order.fetch_id, order.x25519, order.mlkem)
        signed = self.sign_header(self.header(body))
        box = channel.seal_to_requester(0, signed.SerializeToString(deterministic=True))
        yield broker_pb2.PushRequest(
            fetch_id=order.fetch_id, piece=broker_pb2.FilterPiece(x25519=x25519, mlkem=mlkem, box=box)
        )
        for number, at in enumerate(range(0, len(body), PIECE), 1):
            piece = channel.seal_to_requester(number, body[at : at + PIECE])
            yield broker_pb2.PushRequest(piece=broker_pb2.FilterPiece(box=piece))

    # --- an answer, step by step

    def received(self, question: EvaluatedQuestion) -> list[bytes]:
        """V, as the source says to have received it."""
        return list(question.evaluated)

    def evaluate(self, received: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        """Z = m*k*V and its proof."""
        evaluated = [group.multiply(self.mk, element) for element in received]
        return evaluated, dleq.prove(self.mk, self.m, received, evaluated)

    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        received = self.received(asked)
        evaluated, proof = self.evaluate(received)
        return Answer(
            protocol_version=1,
            question_hash=question_hash(asked.question),
            requester=question.requester,
            source=self.oin,
            received=received,
            evaluated=evaluated,
            proof=proof,
            filter_version=self.version,
            m_hash=m_hash(self.m),
            transcript=channel.transcript,
            checkpoint=bytes(72),
        )

    def sign_answer(self, answer: Answer) -> Signed:
        return sign_message(self.world.signing(self.oin), LABEL_ANSWER, answer)

    def respond(self, question: Question) -> tuple[OpenChannel, bytes, bytes]:
        return respond(question.requester, self.oin, question.question_id, question.x25519, question.mlkem)

    def seal(self, asked: EvaluatedQuestion) -> SealedAnswer:
        question = Question.FromString(asked.question.payload)
        channel, x25519, mlkem = self.respond(question)
        signed = self.sign_answer(self.answer(asked, question, channel))
        box = channel.seal_to_requester(0, signed.SerializeToString(deterministic=True))
        return SealedAnswer(question_id=question.question_id, x25519=x25519, mlkem=mlkem, box=box)

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        """What is said when a question comes."""
        yield AttachRequest(answer=self.seal(asked))

    # --- the line

    async def attach(self, stub: Any) -> None:
        """Attach, and serve until `detach`."""
        self._stub = stub
        self._call = stub.Attach()
        await self._call.write(AttachRequest(hello=self.hello()))
        assert (await self._call.read()).WhichOneof("kind") == "welcome"
        self._task(self._serve())

    def hello(self) -> broker_pb2.Hello:
        return broker_pb2.Hello(
            protocol_versions=[1],
            covenant_hash=self.world.covenant.hash,
            manifest=self.world.manifest(self.oin).number,
        )

    async def say(self, message: AttachRequest) -> None:
        await self._call.write(message)

    async def detach(self) -> None:
        self._call.cancel()
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
                await task

    async def _serve(self) -> None:
        while (message := await self._call.read()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") == "push":
                self._task(self._push(message.push.order))
                continue
            self.asked.append(message.question)
            for reply in self.replies(message.question):
                if reply.WhichOneof("kind") == "answer":
                    self.answered.append(reply.answer)
                await self._call.write(reply)

    async def _push(self, order: Signed) -> None:
        call = self._stub.Push()
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            for message in self.pieces(FetchOrder.FromString(order.payload)):
                await call.write(message)
            await call.done_writing()
            await call

    def _task(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def failure(asked: EvaluatedQuestion, code: int = errors_pb2.ERROR_CODE_INTERNAL) -> AttachRequest:
    """A fault in place of an answer."""
    question = Question.FromString(asked.question.payload)
    return AttachRequest(failure=broker_pb2.Failure(question_id=question.question_id, code=code))  # type: ignore[arg-type]


@asynccontextmanager
async def attached(node: HostileNode, port: int) -> AsyncIterator[HostileNode]:
    """The node, attached to the broker at this port."""
    async with node.world.stub(port, node.world.tls(node.oin)) as stub:
        await node.attach(stub)
        try:
            yield node
        finally:
            await node.detach()


def random_id() -> bytes:
    """An id that nobody asked under."""
    return secrets.token_bytes(16)
