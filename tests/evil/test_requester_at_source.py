"""A hostile requester and a broker that lets everything through: the source stands alone, and holds.

The broker evaluates whatever comes and checks nothing. What is refused here is refused by the source itself, before it
writes or evaluates anything (FG-07: a broker cannot widen what a source answers).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM_CONTEXT,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
)
from bekend_node.answer.answerer import Answerer, budgets
from bekend_node.app import Node
from bekend_proto import dleq, group
from bekend_proto.channel import LABEL_BEGIN, LABEL_QUESTION, sign
from bekend_proto.clock import next_epoch
from bekend_proto.errors import InternalError, MalformedError, code_name
from bekend_proto.v1 import signed_pb2
from bekend_proto.v1.broker_pb2 import EvaluatedQuestion, Failure, RoutedQuestion, SealedAnswer
from bekend_proto.v1.signed_pb2 import Question, Signed

from tests.evil.hostile_broker import Stage, hostile_broker
from tests.evil.hostile_requester import Change, HostileRequester, Lookup, Replies, hostile_requester, put
from tests.evil.world import World, real_node

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_OLD = 61_000
IDENTITY = bytes(32)
NON_CANONICAL = b"\xff" * 32
LIMIT = 200


@dataclass
class Setting:
    """The real police, behind a broker that checks nothing, and OM's keys in hostile hands."""

    world: World
    source: Node
    requester: HostileRequester
    port: int
    folder: Path

    async def ask(self, *, persons: int = 1, **changes: Change) -> Replies:
        """OM asks the police, changed so."""
        people = [self.world.somebody, self.world.nobody][:persons]
        return await self.requester.run(self.requester.lookup(ZSM_CONTEXT, *people), [POLITIE.oin], **changes)

    async def fault(self, **changes: Any) -> str | None:
        """The fault that it ends with; the source must not have written anything of it."""
        before = self.source.store.counts()
        replies = await self.ask(**changes)
        assert self.source.store.counts() == before
        said = [*replies.by_source.values()]
        assert len(said) == 1
        return said[0] if isinstance(said[0], str) else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("source")
    world = World.build(folder / "world", settings=Settings(per_organisation=LIMIT, per_officer=LIMIT))
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(hostile_broker(Stage(world), folder / "broker", blind=True))
        source = await stack.enter_async_context(
            real_node(world, POLITIE.oin, folder / "politie", broker.port, [ZSM_CONTEXT])
        )
        om = await stack.enter_async_context(hostile_requester(world, OM.oin, broker.port))
        yield Setting(world, source, om, broker.port, folder)


def later(milliseconds: int) -> Change:
    def change(message: Any) -> None:
        message.time += milliseconds

    return change


async def test_unchanged_it_is_answered(setting: Setting) -> None:
    lookup = setting.requester.lookup(ZSM_CONTEXT, setting.world.somebody)
    replies = await setting.requester.run(lookup, [POLITIE.oin])
    answer = replies.by_source[POLITIE.oin]
    assert not isinstance(answer, str)
    assert setting.requester.open(lookup, POLITIE.oin, answer).source == POLITIE.oin


QUESTIONS: dict[str, tuple[Change, str]] = {
    "a version to come": (put(protocol_version=2), "version"),
    "a version below the first": (put(protocol_version=0), "version"),
    "a partner's name": (put(requester=ZVH.oin), "signature"),
    "a stranger's name": (put(requester="00000099000000555000"), "keys"),
    "another source": (put(source=VELSEN.oin), "malformed"),
    "an unknown purpose": (put(purpose="demo/onbekend"), "refused"),
    "a purpose that it does not answer": (put(purpose=ZSM_LOCAL), "refused"),
    "a purpose of others": (put(purpose=ZVH_WEIGHING), "refused"),
    "namens, without a mandate": (put(on_behalf_of=HAARLEM.oin), "refused"),
    "another covenant": (put(covenant_hash=bytes(32)), "covenant"),
    "another epoch": (put(epoch="2020Q1"), "keys"),
    "no epoch": (put(epoch="202001"), "keys"),
    "another month": (put(record_month="2020-01"), "keys"),
    "an old manifest of its own": (put(requester_manifest=7), "keys"),
    "an old manifest of the source": (put(source_manifest=7), "keys"),
    "an old manifest of the broker": (put(broker_manifest=7), "keys"),
    "a time gone by": (later(-TOO_OLD), "stale"),
    "a time to come": (later(TOO_OLD), "stale"),
    "a possible person": (put(kind_class=signed_pb2.KIND_CLASS_POSSIBLE), "refused"),
    "no kind of person": (put(kind_class=0), "malformed"),
    "no hash of a record": (put(seal_hashes=[]), "malformed"),
    "a hash of another record": (put(seal_hashes=[bytes(32)]), "record"),
    "a hash more": (lambda q: q.seal_hashes.append(bytes(32)), "record"),
    "short channel keys": (put(mlkem=bytes(1183)), "malformed"),
    "channel keys that are none": (put(mlkem=b"\xff" * 1184), "malformed"),
    "an X25519 key of small order": (put(x25519=bytes(32)), "malformed"),
    "no checkpoint": (put(checkpoint=b""), "malformed"),
    "no commitment to the case": (put(case_commitment=b""), "malformed"),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_must_04_a_question_with_anything_else_in_it_is_refused(setting: Setting, name: str) -> None:
    change, code = QUESTIONS[name]
    assert await setting.fault(question=change) == code


async def test_fg_07_more_persons_than_the_purpose_allows_are_refused(setting: Setting) -> None:
    assert await setting.fault(persons=2) == "refused"


RECORDS: dict[str, list[bytes]] = {
    "none": [],
    "an empty one": [b""],
    "79 octets": [bytes(79)],
    "81 octets": [bytes(81)],
    "another": [bytes(80)],
    "one too many": [bytes(80), bytes(80)],
}


@pytest.mark.parametrize("name", RECORDS)
async def test_must_07_no_record_no_answer(setting: Setting, name: str) -> None:
    assert await setting.fault(routed=put(sealed_records=RECORDS[name])) == "record"


def _unknown_field(setting: Setting, signed: Signed) -> Signed:
    # Field 99, a number: what a later version might add.
    return sign(setting.requester.key, LABEL_QUESTION, signed.payload + b"\x98\x06\x01")


def _reordered(setting: Setting, signed: Signed) -> Signed:
    # The first field (version 1) moved to the end: the same message in another encoding.
    assert signed.payload.startswith(b"\x08\x01")
    return sign(setting.requester.key, LABEL_QUESTION, signed.payload[2:] + signed.payload[:2])


def _unsigned(setting: Setting, signed: Signed) -> Signed:
    return Signed(payload=signed.payload)


def _one_bit(setting: Setting, signed: Signed) -> Signed:
    question = Question.FromString(signed.payload)
    question.time += 1
    return Signed(payload=question.SerializeToString(deterministic=True), signature=signed.signature)


def _other_label(setting: Setting, signed: Signed) -> Signed:
    return sign(setting.requester.key, LABEL_BEGIN, signed.payload)


def _other_key(setting: Setting, signed: Signed) -> Signed:
    return sign(setting.world.signing(ZVH.oin), LABEL_QUESTION, signed.payload)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_unknown_field, "malformed"),
        (_reordered, "malformed"),
        (_unsigned, "signature"),
        (_one_bit, "signature"),
        (_other_label, "signature"),
        (_other_key, "signature"),
    ],
)
async def test_must_16_only_the_transmitted_bytes_count(setting: Setting, make: Any, code: str) -> None:
    def change(routed: Any) -> None:
        routed.question.CopyFrom(make(setting, routed.question))

    assert await setting.fault(routed=change) == code


async def _sent(setting: Setting, change: Change = lambda _: None) -> tuple[Lookup, EvaluatedQuestion]:
    """A question as the broker would forward it, evaluated under the right key."""
    lookup = setting.requester.lookup(ZSM_CONTEXT, setting.world.somebody)
    await setting.requester.run(lookup, [])
    return lookup, forwarded(setting.world, setting.requester.make_question(lookup, POLITIE.oin, change))


def forwarded(world: World, routed: RoutedQuestion) -> EvaluatedQuestion:
    """What an honest broker makes of it."""
    question = Question.FromString(routed.question.payload)
    pair = world.b(question.source, question.purpose, question.epoch)
    inputs = list(question.elements)
    try:
        outputs = [group.multiply(pair.secret, element) for element in inputs]
        proof = dleq.prove(pair.secret, pair.public, inputs, outputs)
    except (MalformedError, InternalError, StopIteration):
        outputs, proof = inputs, bytes(64)
    return EvaluatedQuestion(
        question=routed.question, sealed_records=routed.sealed_records, evaluated=outputs, proof=proof
    )


def answerer(node: Node) -> Answerer:
    return node.attachments[0].answerer


@pytest.mark.parametrize("elements", [[IDENTITY], [NON_CANONICAL], [bytes([1]) + bytes(31)], []])
async def test_must_01_a_signed_element_that_is_none_is_refused(setting: Setting, elements: list[bytes]) -> None:
    _, message = await _sent(setting, put(elements=elements))
    reply = await answerer(setting.source).answer(message)
    assert isinstance(reply, Failure)
    assert code_name(reply.code) == "malformed"


@pytest.mark.parametrize("element", [IDENTITY, NON_CANONICAL])
async def test_must_01_an_evaluated_element_that_is_none_is_refused(setting: Setting, element: bytes) -> None:
    _, message = await _sent(setting)
    message.evaluated[:] = [element]
    reply = await answerer(setting.source).answer(message)
    assert isinstance(reply, Failure)
    assert code_name(reply.code) == "malformed"


async def test_must_04_a_question_of_the_coming_epoch_is_not_answered_with_this_ones_key(setting: Setting) -> None:
    """The broker has that key already, and its proof holds: multiplied with the present m*k it would be a miss."""
    _, message = await _sent(setting, put(epoch=next_epoch(setting.world.epoch)))
    reply = await answerer(setting.source).answer(message)
    assert isinstance(reply, Failure)
    assert code_name(reply.code) == "keys"


async def test_must_05_replays_at_one_moment_give_one_answer(setting: Setting) -> None:
    _, message = await _sent(setting)
    replies = await asyncio.gather(*(answerer(setting.source).answer(message) for _ in range(8)))
    assert [isinstance(reply, SealedAnswer) for reply in replies].count(True) == 1
    assert {code_name(reply.code) for reply in replies if isinstance(reply, Failure)} == {"stale"}


async def test_must_05_a_changed_question_under_an_old_id_is_no_new_one(setting: Setting) -> None:
    _, first = await _sent(setting, put(question_id=b"i" * 16))
    assert isinstance(await answerer(setting.source).answer(first), SealedAnswer)
    _, second = await _sent(setting, put(question_id=b"i" * 16))
    reply = await answerer(setting.source).answer(second)
    assert isinstance(reply, Failure)
    assert code_name(reply.code) == "stale"


async def test_must_04_another_sources_good_question_is_not_answered(setting: Setting) -> None:
    """A Question to Reclassering, honest in every way, delivered to the police."""
    lookup = setting.requester.lookup(ZSM_CONTEXT, setting.world.somebody)
    await setting.requester.run(lookup, [])
    message = forwarded(setting.world, setting.requester.make_question(lookup, RECLASSERING.oin))
    reply = await answerer(setting.source).answer(message)
    assert isinstance(reply, Failure)
    assert code_name(reply.code) == "malformed"


async def test_must_05_and_18_replay_memory_and_budgets_survive_a_restart(tmp_path: Path) -> None:
    world = World.build(tmp_path / "world", settings=Settings(per_organisation=2, per_officer=2))
    async with (
        hostile_broker(Stage(world), tmp_path / "broker", blind=True) as broker,
        hostile_requester(world, OM.oin, broker.port) as om,
    ):
        setting = Setting(world, None, om, broker.port, tmp_path)  # type: ignore[arg-type]
        messages = [(await _sent(setting))[1] for _ in range(3)]
        said = []
        for restart in range(2):
            async with real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]) as node:
                for message in messages[: 2 + restart]:
                    reply = await answerer(node).answer(message)
                    said.append(code_name(reply.code) if isinstance(reply, Failure) else "answered")
        assert said == ["answered", "answered", "stale", "stale", "budget"]


async def test_must_18_a_source_counts_each_person_under_the_purpose_and_in_all(setting: Setting) -> None:
    covenant = setting.world.covenant
    question = Question(requester=OM.oin, source=POLITIE.oin, purpose=ZSM_CONTEXT, elements=[bytes(32)] * 2)
    counted = budgets(question, covenant, setting.world.clock.now())
    found = {one.purpose: (one.scope, one.subject, one.amount, one.limit) for one in counted}
    assert found == {
        ZSM_CONTEXT: ("source", OM.oin, 2, covenant.purposes[ZSM_CONTEXT].limits.per_organisation),
        "": ("source", OM.oin, 2, covenant.totals.per_organisation),
    }


async def test_must_18_asking_itself_has_its_own_small_budget(setting: Setting) -> None:
    """Whom a node asks itself about cannot be seen here: 24 a day is what bounds it."""
    async with hostile_requester(setting.world, POLITIE.oin, setting.port) as police:
        own = replace(setting, requester=police)
        faults = [await _own(own) for _ in range(25)]
    assert faults == [None] * 24 + ["budget"]


async def _own(setting: Setting) -> str | None:
    lookup = setting.requester.lookup(ZSM_CONTEXT, setting.world.somebody)
    return (await setting.requester.run(lookup, [POLITIE.oin])).fault(POLITIE.oin)


FETCHES: dict[str, tuple[Change, str]] = {
    "a version to come": (put(protocol_version=2), "version"),
    "a partner's name": (put(requester=ZVH.oin), "signature"),
    "another source": (put(source=VELSEN.oin), "malformed"),
    "a purpose of others": (put(purpose=ZVH_WEIGHING), "refused"),
    "namens, without a mandate": (put(on_behalf_of=HAARLEM.oin), "refused"),
    "another covenant": (put(covenant_hash=bytes(32)), "covenant"),
    "a time gone by": (later(-TOO_OLD), "stale"),
    "a time to come": (later(TOO_OLD), "stale"),
    "an id that was served": (put(fetch_id=b"f" * 16), "stale"),
}


@pytest.mark.parametrize("name", FETCHES)
async def test_must_04_a_filter_goes_to_whom_the_covenant_admits_alone(setting: Setting, name: str) -> None:
    change, code = FETCHES[name]
    if code == "stale" and name.startswith("an id"):
        assert await setting.requester.fetch(POLITIE.oin, ZSM_CONTEXT, change) == 2
    assert await setting.requester.fetch(POLITIE.oin, ZSM_CONTEXT, change) == code


async def test_must_04_a_partner_without_a_part_in_the_purpose_gets_no_filter(setting: Setting) -> None:
    async with hostile_requester(setting.world, VEILIG_THUIS.oin, setting.port) as stranger:
        assert await stranger.fetch(POLITIE.oin, ZSM_CONTEXT) == "refused"
