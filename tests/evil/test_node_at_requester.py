"""A hostile source at the real requester, over the real broker: whatever it does, no false answer comes of it.

The checks of a single Answer or header are tested one by one with the asking side itself (tests/node); here is what a
source can do with the keys of a partner, on the wire.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio
from bekend_broker.app import Broker
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_proto import dleq, group
from bekend_proto.channel import LABEL_QUESTION, OpenChannel, sign, sign_message
from bekend_proto.clock import previous_epoch
from bekend_proto.filter import m_hash, pad_and_sort
from bekend_proto.v1 import errors_pb2, signed_pb2
from bekend_proto.v1.broker_pb2 import AttachRequest, EvaluatedQuestion, Hello, PushRequest, SealedAnswer
from bekend_proto.v1.signed_pb2 import Answer, FetchOrder, FilterHeader, Question, Signed

from tests.evil.hostile_node import HostileNode, attached, failure
from tests.evil.world import World, ask, broker_of, real_node, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULT = ["geen_antwoord"]


@dataclass
class Setting:
    world: World
    broker: Broker
    om: Node
    zvh: Node

    async def told(self, source: type[HostileNode], *, known: bool = True) -> list[str]:
        """What OM is told about somebody whom this source knows, or about nobody."""
        node = source(self.world, POLITIE.oin, ZSM_CONTEXT, self.world.known(POLITIE.oin, ZSM_CONTEXT))
        return await self.told_by(node, known=known)

    async def told_by(self, node: HostileNode, *, known: bool = True) -> list[str]:
        self.om.asker.shelf.forget_covenant()
        person = self.world.somebody if known else self.world.nobody
        async with attached(node, self.broker.port):
            return await told(self.om, self.world, ZSM_CONTEXT, person, POLITIE.oin)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("requester")
    world = World.build(folder / "world")
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(broker_of(world, folder / "broker", reply_seconds=0.4))
        om = await stack.enter_async_context(real_node(world, OM.oin, folder / "om", broker.port))
        zvh = await stack.enter_async_context(real_node(world, ZVH.oin, folder / "zvh", broker.port))
        yield Setting(world, broker, om, zvh)


async def test_an_honest_one_is_believed(setting: Setting) -> None:
    assert await setting.told(HostileNode) == ["bekend"]
    assert await setting.told(HostileNode, known=False) == ["geen_uitsluitsel"]


# --- another m, another element, another proof


class OtherM(HostileNode):
    """Multiplies with another m than the filter's, and proves that."""

    def evaluate(self, received: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        other = group.random_scalar()
        outputs = [group.multiply(other, element) for element in received]
        return outputs, dleq.prove(other, group.multiply_base(other), received, outputs)


class OtherMNamed(OtherM):
    """And names that M in the Answer."""

    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.m_hash = m_hash(group.random_element())
        return answer


class OtherPerson(HostileNode):
    """Answers about an element of its own choosing, honestly proved."""

    def received(self, question: EvaluatedQuestion) -> list[bytes]:
        return [group.random_element()]


class ProofOfAnother(HostileNode):
    """The proof of another evaluation."""

    def evaluate(self, received: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        outputs, _ = super().evaluate(received)
        other = [group.random_element()]
        return outputs, super().evaluate(other)[1]


class OtherVersion(HostileNode):
    """A version that it never published."""

    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.filter_version += 1
        return answer


class WrongMHash(HostileNode):
    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.m_hash = bytes(32)
        return answer


class OtherQuestion(HostileNode):
    """Signed over another Question than the one that its channel belongs to."""

    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.question_hash = bytes(32)
        return answer


class OtherTranscript(HostileNode):
    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.transcript = bytes(32)
        return answer


class ToAnother(HostileNode):
    """Made out to another requester."""

    def answer(self, asked: EvaluatedQuestion, question: Question, channel: OpenChannel) -> Answer:
        answer = super().answer(asked, question, channel)
        answer.requester = ZVH.oin
        return answer


class Unsigned(HostileNode):
    def sign_answer(self, answer: Answer) -> Signed:
        return Signed(payload=answer.SerializeToString(deterministic=True), signature=bytes(64))


class SignedByAnother(HostileNode):
    """With the good key of another partner."""

    def sign_answer(self, answer: Answer) -> Signed:
        return sign_message(self.world.signing(RECLASSERING.oin), b"bekend/1 answer", answer)


class SignedAsQuestion(HostileNode):
    def sign_answer(self, answer: Answer) -> Signed:
        key = self.world.signing(self.oin)
        return sign(key, LABEL_QUESTION, answer.SerializeToString(deterministic=True))


class ReflectsQuestion(HostileNode):
    """The signed Question in place of an Answer."""

    def seal(self, asked: EvaluatedQuestion) -> SealedAnswer:
        question = Question.FromString(asked.question.payload)
        channel, x25519, mlkem = self.respond(question)
        box = channel.seal_to_requester(0, asked.question.SerializeToString(deterministic=True))
        return SealedAnswer(question_id=question.question_id, x25519=x25519, mlkem=mlkem, box=box)


class OtherDirection(HostileNode):
    """Sealed with the requester's own direction key."""

    def seal(self, asked: EvaluatedQuestion) -> SealedAnswer:
        question = Question.FromString(asked.question.payload)
        channel, x25519, mlkem = self.respond(question)
        signed = self.sign_answer(self.answer(asked, question, channel))
        box = channel.seal_to_source(0, signed.SerializeToString(deterministic=True))
        return SealedAnswer(question_id=question.question_id, x25519=x25519, mlkem=mlkem, box=box)


class Silent(HostileNode):
    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        return []


class AnotherId(HostileNode):
    """Its answer under an id that it was not asked under."""

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        answer = self.seal(asked)
        answer.question_id = secrets.token_bytes(16)
        return [AttachRequest(answer=answer)]


class HugeBox(HostileNode):
    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        answer = self.seal(asked)
        answer.box += bytes(100_000)
        return [AttachRequest(answer=answer)]


class StrangeCode(HostileNode):
    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        return [failure(asked, 4711)]


class FailsFirst(HostileNode):
    """A fault, and then a good answer all the same: a question ends once."""

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        return [failure(asked, errors_pb2.ERROR_CODE_STORAGE), AttachRequest(answer=self.seal(asked))]


class Babbles(HostileNode):
    """Says Hello again in place of an answer."""

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        return [AttachRequest(hello=Hello(protocol_versions=[1]))]


ANSWERS: list[type[HostileNode]] = [
    OtherM, OtherMNamed, OtherPerson, ProofOfAnother, OtherVersion, WrongMHash,
    OtherQuestion, OtherTranscript, ToAnother, Unsigned, SignedByAnother,
    SignedAsQuestion, ReflectsQuestion, OtherDirection, Silent, AnotherId, HugeBox, StrangeCode, FailsFirst, Babbles,
]  # fmt: skip


@pytest.mark.parametrize("source", ANSWERS)
async def test_must_02_a_false_answer_is_no_answer(setting: Setting, source: type[HostileNode]) -> None:
    told_ = [await setting.told(source), await setting.told(source, known=False)]
    if source is OtherPerson:
        # It signs that it received another element than was sent. V is not the requester's to know, so what it gives is
        # a person unlike any: it can deny, as it can by leaving somebody out of its list (protocol section 11).
        assert told_[1] == ["geen_uitsluitsel"]
        assert told_[0] != ["bekend"]
        return
    assert told_ == [FAULT, FAULT]


class Twice(HostileNode):
    """One good answer, and one about somebody else under the same id."""

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        first = AttachRequest(answer=self.seal(asked))
        asked.evaluated[:] = [group.random_element()]
        return [first, AttachRequest(answer=self.seal(asked))]


async def test_must_06_of_two_answers_one_counts(setting: Setting) -> None:
    assert await setting.told(Twice) == ["bekend"]


class OldAnswer(HostileNode):
    """Its first answer for ever, under the new id."""

    def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
        if self.answered:
            old = SealedAnswer()
            old.CopyFrom(self.answered[0])
            old.question_id = Question.FromString(asked.question.payload).question_id
            return [AttachRequest(answer=old)]
        return super().replies(asked)


async def test_must_05_a_replayed_answer_is_none(setting: Setting) -> None:
    node = OldAnswer(setting.world, POLITIE.oin, ZSM_CONTEXT, setting.world.known(POLITIE.oin, ZSM_CONTEXT))
    assert await setting.told_by(node) == ["bekend"]
    assert await setting.told_by(node, known=False) == FAULT


class PersonsExchanged(HostileNode):
    """Two persons of one question exchanged after the proof."""

    def evaluate(self, received: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        outputs, proof = super().evaluate(received)
        return list(reversed(outputs)), proof


async def test_must_02_persons_of_one_question_are_not_exchanged(setting: Setting) -> None:
    world = setting.world
    for source, expected in (
        (HostileNode, ["bekend", "geen_uitsluitsel"]),
        (PersonsExchanged, ["geen_antwoord", "geen_antwoord"]),
    ):
        node = source(world, RECLASSERING.oin, ZVH_WEIGHING, world.known(RECLASSERING.oin, ZVH_WEIGHING))
        setting.zvh.asker.shelf.forget_covenant()
        async with attached(node, setting.broker.port):
            found = await ask(
                setting.zvh, world, ZVH_WEIGHING, [world.somebody, world.nobody], [RECLASSERING.oin], HAARLEM.oin
            )
        assert [str(one.outcome) for one in found] == expected


# --- false filters


class OtherEpoch(HostileNode):
    def header(self, body: bytes) -> FilterHeader:
        header = super().header(body)
        header.epoch = previous_epoch(previous_epoch(header.epoch))
        return header


class Ended(HostileNode):
    def header(self, body: bytes) -> FilterHeader:
        header = super().header(body)
        header.end = int((self.world.clock.now() - timedelta(minutes=2)).timestamp())
        return header


class ToCome(HostileNode):
    def header(self, body: bytes) -> FilterHeader:
        self.version = int((self.world.clock.now() + timedelta(minutes=5)).timestamp())
        return super().header(body)


class OldList(HostileNode):
    def header(self, body: bytes) -> FilterHeader:
        header = super().header(body)
        header.as_of = (self.world.clock.now() - timedelta(days=30)).date().isoformat()
        return header


class FalseM(HostileNode):
    """A header with an M that its answers do not fit."""

    def header(self, body: bytes) -> FilterHeader:
        header = super().header(body)
        header.m = group.random_element()
        return header


class Manual(HostileNode):
    def header(self, body: bytes) -> FilterHeader:
        header = super().header(body)
        header.mode = signed_pb2.FILTER_MODE_MANUAL
        return header


class UnsignedHeader(HostileNode):
    def sign_header(self, header: FilterHeader) -> Signed:
        return Signed(payload=header.SerializeToString(deterministic=True), signature=bytes(64))


class OddSize(HostileNode):
    """Padded to no size class."""

    def body(self) -> bytes:
        return pad_and_sort([self.tag_of(person) for person in self.known], 1000)


class Unsorted(HostileNode):
    """Tags in an order in which a search would miss."""

    def body(self) -> bytes:
        body = super().body()
        return b"".join(body[at : at + 8] for at in range(len(body) - 8, -1, -8))


class Shorter(HostileNode):
    """Half of what its header says."""

    def pieces(self, order: FetchOrder) -> Iterable[PushRequest]:
        for piece in super().pieces(order):
            yield piece
            if piece.fetch_id:
                return


class AnothersFetch(HostileNode):
    """Its filter for another fetch."""

    def pieces(self, order: FetchOrder) -> Iterable[PushRequest]:
        for piece in super().pieces(order):
            if piece.fetch_id:
                piece.fetch_id = secrets.token_bytes(16)
            yield piece


FILTERS: list[type[HostileNode]] = [
    OtherEpoch, Ended, ToCome, OldList, FalseM, Manual, UnsignedHeader, OddSize, Unsorted, Shorter, AnothersFetch,
]  # fmt: skip


@pytest.mark.parametrize("source", FILTERS)
async def test_must_14_and_23_a_false_filter_is_no_answer(setting: Setting, source: type[HostileNode]) -> None:
    assert await setting.told(source) == FAULT


# --- in another's place


@pytest.mark.parametrize(
    "hello",
    [
        Hello(protocol_versions=[1], covenant_hash=bytes(32), manifest=1),
        Hello(protocol_versions=[2, 99], manifest=1),
        Hello(protocol_versions=[1], manifest=77),
        Hello(),
    ],
)
async def test_must_04_who_says_hello_otherwise_is_sent_away(setting: Setting, hello: Hello) -> None:
    if not hello.covenant_hash:
        hello.covenant_hash = setting.world.covenant.hash

    class Stranger(HostileNode):
        def hello(self) -> Hello:
            return hello

    node = Stranger(setting.world, RECLASSERING.oin, ZSM_CONTEXT, ())
    with pytest.raises(grpc.RpcError):
        async with attached(node, setting.broker.port):
            pass
    assert not setting.broker._register.is_attached(RECLASSERING.oin)


async def test_must_04_a_source_answers_for_itself_alone(setting: Setting) -> None:
    """Reclassering answers a question to the police, which it saw, over its own stream."""
    world = setting.world
    known = world.known(POLITIE.oin, ZSM_CONTEXT)
    helper = HostileNode(world, RECLASSERING.oin, ZSM_CONTEXT, ())

    class Shares(HostileNode):
        """Lets the other answer in its place."""

        def replies(self, asked: EvaluatedQuestion) -> Iterable[AttachRequest]:
            self._task(helper.say(AttachRequest(answer=self.seal(asked))))
            return []

    async with attached(helper, setting.broker.port):
        assert await setting.told_by(Shares(world, POLITIE.oin, ZSM_CONTEXT, known)) == FAULT
