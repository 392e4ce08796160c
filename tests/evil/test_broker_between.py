"""A hostile broker between real nodes: an officer is never told a false `geen uitsluitsel`, nor a false `bekend`."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_proto import dleq, group
from bekend_proto.clock import add_months
from bekend_proto.identifiers import Identifier
from bekend_proto.v1.broker_pb2 import (
    Ask,
    AttachRequest,
    AttachResponse,
    Begun,
    Failure,
    FilterPiece,
    GetDirectoryResponse,
    LookupResponse,
    SealedAnswer,
)
from bekend_proto.v1.errors_pb2 import ERROR_CODE_INTERNAL
from bekend_proto.v1.signed_pb2 import Begin, Question, Signed

from tests.evil.hostile_broker import Hands, Stage, hostile_broker
from tests.evil.world import World, ask, real_node, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCES = (POLITIE.oin, RECLASSERING.oin)
PURPOSES = {POLITIE.oin: [ZSM_CONTEXT], RECLASSERING.oin: [ZSM_CONTEXT, ZVH_WEIGHING]}
BOTH = ["bekend", "bekend"]
NEITHER = ["geen_uitsluitsel", "geen_uitsluitsel"]
FAULTS = ["geen_antwoord", "geen_antwoord"]


@dataclass
class Setting:
    """A real requester and two real sources, with a broker between them that changes hands."""

    stage: Stage
    om: Node
    zvh: Node
    sources: dict[str, Node]
    port: int
    folder: Path

    @property
    def world(self) -> World:
        return self.stage.world

    async def told(self, hands: Hands, person: Identifier | None = None) -> list[str]:
        """What the officer is told about somebody whom both sources know, over a broker in these hands."""
        self.stage.take(hands)
        self.om.asker.shelf.forget_covenant()  # filters are fetched anew, through these hands
        return await told(self.om, self.world, ZSM_CONTEXT, person or self.world.somebody, *SOURCES)

    def answered(self) -> int:
        """Questions that the sources have admitted so far."""
        return sum(node.store.counts()["answered"] for node in self.sources.values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("between")
    stage = Stage(World.build(folder / "world"))
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(hostile_broker(stage, folder / "broker", reply_seconds=0.4))
        sources = {
            oin: await stack.enter_async_context(real_node(stage.world, oin, folder / oin, broker.port, PURPOSES[oin]))
            for oin in SOURCES
        }
        om = await stack.enter_async_context(real_node(stage.world, OM.oin, folder / "om", broker.port))
        zvh = await stack.enter_async_context(real_node(stage.world, ZVH.oin, folder / "zvh", broker.port))
        yield Setting(stage, om, zvh, sources, broker.port, folder)
        stage.take(Hands(stage.world))


async def test_in_honest_hands_it_is_the_truth(setting: Setting) -> None:
    assert await setting.told(Hands(setting.world)) == BOTH
    assert await setting.told(Hands(setting.world), setting.world.nobody) == NEITHER


# --- Begun


class OtherMonth(Hands):
    """u of another month, with a proof that holds under its key."""

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        pair = self.world.u(add_months(self.world.month, 1))
        outputs = [group.multiply(pair.secret, element) for element in begin.elements]
        return Begun(evaluated=outputs, proof=dleq.prove(pair.secret, pair.public, list(begin.elements), outputs))


class MatchingKey(Hands):
    """b in place of u."""

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        pair = self.world.b(POLITIE.oin, ZSM_CONTEXT)
        outputs = [group.multiply(pair.secret, element) for element in begin.elements]
        return Begun(evaluated=outputs, proof=dleq.prove(pair.secret, pair.public, list(begin.elements), outputs))


class NoProof(Hands):
    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return Begun(evaluated=begun.evaluated, proof=bytes(64))


class Identity(Hands):
    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return Begun(evaluated=[bytes(32)], proof=begun.proof)


class Fewer(Hands):
    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return Begun(proof=begun.proof)


class Reflected(Hands):
    """The elements of Begin sent back as they came."""

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return Begun(evaluated=begin.elements, proof=begun.proof)


@pytest.mark.parametrize("hands", [OtherMonth, MatchingKey, NoProof, Identity, Fewer, Reflected])
async def test_must_02_begun_is_verified_before_a_record_is_made(setting: Setting, hands: type[Hands]) -> None:
    before = setting.answered()
    assert await setting.told(hands(setting.world)) == FAULTS
    # No question left, so nobody has a record that nobody could open.
    assert setting.answered() == before


# --- on the way to a source, and back


def _changed(message: AttachResponse, **fields: Any) -> AttachResponse:
    changed = AttachResponse(question=message.question)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(changed.question, name)[:] = value
        else:
            setattr(changed.question, name, value)
    return changed


class OtherKey(Hands):
    """b of another source, with a proof that holds under that key."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if message.HasField("question"):
            pair = self.world.b(HAARLEM.oin, ZVH_WEIGHING)
            inputs = list(Question.FromString(message.question.question.payload).elements)
            outputs = [group.multiply(pair.secret, element) for element in inputs]
            proof = dleq.prove(pair.secret, pair.public, inputs, outputs)
            return [_changed(message, evaluated=outputs, proof=proof)]
        return [message]


class OtherElement(Hands):
    """b times something else, with a proof that holds for that."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if message.HasField("question"):
            pair = self.world.b(source, ZSM_CONTEXT)
            inputs = [group.random_element()]
            outputs = [group.multiply(pair.secret, inputs[0])]
            return [_changed(message, evaluated=outputs, proof=dleq.prove(pair.secret, pair.public, inputs, outputs))]
        return [message]


class OldQuestion(Hands):
    """The second question becomes the first one again."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.first: dict[str, AttachResponse] = {}

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if not message.HasField("question"):
            return [message]
        return [self.first.setdefault(source, message)]


class Dropped(Hands):
    """Nothing arrives."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        return [] if message.HasField("question") else [message]


class Invented(Hands):
    """An answer of its own making."""

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        invented = SealedAnswer(
            question_id=message.answer.question_id,
            x25519=b"\x09" + bytes(31),
            mlkem=bytes(1088),
            box=bytes(len(message.answer.box)),
        )
        return [AttachRequest(answer=invented)]


class BoxChanged(Hands):
    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        box = bytearray(message.answer.box)
        box[-1] ^= 1
        message.answer.box = bytes(box)
        return [message]


class KeyChanged(Hands):
    """The source's ephemeral key replaced."""

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        message.answer.x25519 = b"\x09" + bytes(31)
        return [message]


class CiphertextChanged(Hands):
    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        ciphertext = bytearray(message.answer.mlkem)
        ciphertext[0] ^= 1
        message.answer.mlkem = bytes(ciphertext)
        return [message]


class Failed(Hands):
    """Says that the source failed."""

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        return [LookupResponse(failure=Failure(question_id=_id(message), code=ERROR_CODE_INTERNAL))]


class FailedWhole(Hands):
    """Says that the whole lookup failed."""

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        return [LookupResponse(failure=Failure(code=ERROR_CODE_INTERNAL))]


class UnknownCode(Hands):
    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        return [LookupResponse(failure=Failure(question_id=_id(message), code=999))]  # type: ignore[arg-type]


class SecondBegun(Hands):
    """A Begun in place of a reply."""

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        return [LookupResponse(begun=Begun())]


class Empty(Hands):
    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        return [LookupResponse()]


class Swapped(Hands):
    """Each source's answer under the id of the other's question."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.held: list[LookupResponse] = []

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        self.held.append(message)
        if len(self.held) < 2:
            return []
        one, other = self.held
        if not (one.HasField("answer") and other.HasField("answer")):
            return self.held
        one.answer.question_id, other.answer.question_id = other.answer.question_id, one.answer.question_id
        return [one, other]


class Reflects(Hands):
    """The Question itself, in the box of its answer."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.questions: dict[bytes, Signed] = {}

    def ask(self, ask: Ask) -> Ask:
        for routed in ask.questions:
            self.questions[Question.FromString(routed.question.payload).question_id] = routed.question
        return ask

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        question = Question.FromString(self.questions[message.answer.question_id].payload)
        answer = SealedAnswer(
            question_id=question.question_id,
            x25519=question.x25519,
            mlkem=bytes(1088),
            box=self.questions[message.answer.question_id].SerializeToString(),
        )
        return [AttachRequest(answer=answer)]


class OtherRecord(Hands):
    """Another sealed record than the Question names."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        return [_changed(message, sealed_records=[bytes(80)])] if message.HasField("question") else [message]


class NoRecord(Hands):
    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        return [_changed(message, sealed_records=[])] if message.HasField("question") else [message]


class Altered(Hands):
    """One bit of the signed Question."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if message.HasField("question"):
            question = Question.FromString(message.question.question.payload)
            question.time += 1
            message.question.question.payload = question.SerializeToString(deterministic=True)
        return [message]


class NoBrokerProof(Hands):
    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        return [_changed(message, proof=bytes(64))] if message.HasField("question") else [message]


class Unevaluated(Hands):
    """The Question's own elements in place of b times them."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if not message.HasField("question"):
            return [message]
        return [_changed(message, evaluated=list(Question.FromString(message.question.question.payload).elements))]


REFUSED_BY_THE_SOURCE: list[type[Hands]] = [
    OtherKey, OtherElement, OtherRecord, NoRecord, Altered, NoBrokerProof, Unevaluated,
]  # fmt: skip


@pytest.mark.parametrize("hands", REFUSED_BY_THE_SOURCE)
async def test_must_02_and_07_the_source_takes_nothing_that_the_requester_did_not_sign(
    setting: Setting, hands: type[Hands]
) -> None:
    before = setting.answered()
    assert await setting.told(hands(setting.world)) == FAULTS
    assert setting.answered() == before


@pytest.mark.parametrize(
    "hands",
    [Dropped, Invented, BoxChanged, KeyChanged, CiphertextChanged, Failed, FailedWhole, UnknownCode, SecondBegun,
     Empty, Swapped, Reflects],
)  # fmt: skip
async def test_must_04_whatever_the_broker_does_to_an_answer_is_no_answer(setting: Setting, hands: type[Hands]) -> None:
    assert await setting.told(hands(setting.world)) == FAULTS


async def test_must_05_an_old_question_gives_no_second_answer(setting: Setting) -> None:
    hands = OldQuestion(setting.world)
    assert await setting.told(hands) == BOTH
    before = setting.answered()
    assert await setting.told(hands, setting.world.nobody) == FAULTS
    assert setting.answered() == before


class OldAnswer(Hands):
    """The answer of an earlier lookup under the new question's id."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.first: dict[str, SealedAnswer] = {}

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        first = self.first.setdefault(source, message.answer)
        old = SealedAnswer()
        old.CopyFrom(first)
        old.question_id = message.answer.question_id
        return [AttachRequest(answer=old)]


async def test_must_05_an_old_answer_is_none(setting: Setting) -> None:
    hands = OldAnswer(setting.world)
    assert await setting.told(hands, setting.world.nobody) == NEITHER
    assert await setting.told(hands) == FAULTS


class Repeated(Hands):
    """Every answer three times, with a failure for it between."""

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        failed = LookupResponse(failure=Failure(question_id=_id(message), code=ERROR_CODE_INTERNAL))
        return [message, failed, message, message]


class LastFirst(Hands):
    """The answers in the other order, after others of nobody's question."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.held: list[LookupResponse] = []

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        self.held.append(message)
        if len(self.held) < 2:
            stranger = LookupResponse(failure=Failure(question_id=b"n" * 16, code=ERROR_CODE_INTERNAL))
            return [stranger, LookupResponse(answer=SealedAnswer(question_id=b"n" * 16))]
        return reversed(self.held)


@pytest.mark.parametrize("hands", [Repeated, LastFirst])
async def test_must_06_a_question_has_one_outcome_however_often_it_is_answered(
    setting: Setting, hands: type[Hands]
) -> None:
    assert await setting.told(hands(setting.world)) == BOTH


class PersonsExchanged(Hands):
    """Two persons of one question exchanged on the way to the source."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if not message.HasField("question"):
            return [message]
        return [_changed(message, evaluated=list(reversed(message.question.evaluated)))]


class RecordsExchanged(Hands):
    """Their sealed records exchanged, so that each would be recorded for the other."""

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        if not message.HasField("question"):
            return [message]
        return [_changed(message, sealed_records=list(reversed(message.question.sealed_records)))]


class BegunExchanged(Hands):
    """Two persons of one Begin exchanged on the way back."""

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return Begun(evaluated=list(reversed(begun.evaluated)), proof=begun.proof)


@pytest.mark.parametrize("hands", [Hands, PersonsExchanged, RecordsExchanged, BegunExchanged])
async def test_must_02_persons_of_one_lookup_are_not_exchanged(setting: Setting, hands: type[Hands]) -> None:
    world = setting.world
    setting.stage.take(hands(world))
    people = [world.somebody, world.nobody]
    found = await ask(setting.zvh, world, ZVH_WEIGHING, people, [RECLASSERING.oin], HAARLEM.oin)
    expected = ["bekend", "geen_uitsluitsel"] if hands is Hands else FAULTS
    assert [str(one.outcome) for one in found] == expected


class CrossRouted(Hands):
    """The question to the one is sent to the other, whose answer is passed off as the first one's."""

    def ask(self, ask: Ask) -> Ask:
        register = self.broker._register
        # Shadows the method for this lookup; taken away again by the test.
        register.find = lambda oin: type(register).find(register, next(one for one in SOURCES if one != oin))
        return ask


async def test_must_04_a_question_to_one_is_not_answered_by_another(setting: Setting) -> None:
    before = setting.answered()
    try:
        assert await setting.told(CrossRouted(setting.world)) == FAULTS
    finally:
        del setting.stage.broker._register.find
    assert setting.answered() == before


# --- filters


class OtherFilter(Hands):
    """The filter of another source."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.first: Sequence[FilterPiece] = ()

    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        self.first = self.first or pieces
        return self.first


class NoTags(Hands):
    """The header alone: an empty filter would be a miss for everybody."""

    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        return pieces[:1]


class TagsChanged(Hands):
    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        return [pieces[0], FilterPiece(box=bytes(len(pieces[1].box)))]


class TagsTwice(Hands):
    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        return [*pieces, *pieces[1:]]


class NoPieces(Hands):
    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        return []


class NoHeader(Hands):
    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        return pieces[1:]


@pytest.mark.parametrize("hands", [NoTags, TagsChanged, TagsTwice, NoPieces, NoHeader])
async def test_must_06_a_filter_that_was_touched_is_not_used(setting: Setting, hands: type[Hands]) -> None:
    assert await setting.told(hands(setting.world)) == FAULTS


async def test_must_04_anothers_filter_is_not_used(setting: Setting) -> None:
    told_ = await setting.told(OtherFilter(setting.world))
    # One of the two came first, and was its own.
    assert sorted(told_) == ["bekend", "geen_antwoord"]


# --- keys and directory


class ForgedManifests(Hands):
    """Manifests that nobody's ondertekenaar signed."""

    def directory(self, response: GetDirectoryResponse) -> GetDirectoryResponse:
        for entry in response.entries:
            entry.manifest = entry.manifest.replace(b"register_sizes", b"register_sizee")
        response.broker_manifest = response.broker_manifest.replace(b"2", b"3")
        return response


class ManifestsSwapped(Hands):
    """Each partner's good manifest under another's name."""

    def directory(self, response: GetDirectoryResponse) -> GetDirectoryResponse:
        notes = [entry.manifest for entry in response.entries]
        for entry, note in zip(response.entries, notes[1:] + notes[:1], strict=True):
            entry.manifest = note
        return response


class NoManifests(Hands):
    def directory(self, response: GetDirectoryResponse) -> GetDirectoryResponse:
        return GetDirectoryResponse(protocol_versions=[1])


class OldManifests(Hands):
    """A manifest of the police from before, with keys that are no longer trusted."""

    def __init__(self, world: World, old: bytes) -> None:
        super().__init__(world)
        self.old = old

    def directory(self, response: GetDirectoryResponse) -> GetDirectoryResponse:
        for entry in response.entries:
            entry.manifest = self.old if entry.oin == POLITIE.oin else entry.manifest
        return response


@pytest.mark.parametrize("hands", [ForgedManifests, ManifestsSwapped, NoManifests])
async def test_must_03_keys_come_from_signed_manifests_alone(setting: Setting, hands: type[Hands]) -> None:
    before = setting.answered()
    setting.stage.take(hands(setting.world))
    data = setting.folder / f"newcomer-{hands.__name__}"
    async with real_node(setting.world, OM.oin, data, setting.port) as newcomer:
        assert await told(newcomer, setting.world, ZSM_CONTEXT, setting.world.somebody, *SOURCES) == FAULTS
    assert setting.answered() == before


async def test_must_03_an_older_manifest_never_comes_back(setting: Setting) -> None:
    """Not in memory, and not after a restart: the highest number is remembered."""
    world = setting.world
    older = world.note(POLITIE.oin)
    newer = world.renumbered(POLITIE.oin, 2)
    data = setting.folder / "remembers"
    setting.stage.take(OldManifests(world, newer))
    async with real_node(world, OM.oin, data, setting.port) as node:
        assert node.directory.get(POLITIE.oin).number == 2
        setting.stage.take(OldManifests(world, older))
        await node.directory.refresh()
        assert node.directory.get(POLITIE.oin).number == 2
    async with real_node(world, OM.oin, data, setting.port) as node:
        assert node.directory.get(POLITIE.oin).number == 2


def _id(message: LookupResponse) -> bytes:
    if message.WhichOneof("kind") == "answer":
        return message.answer.question_id
    return message.failure.question_id
