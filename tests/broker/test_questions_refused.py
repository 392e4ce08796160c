"""Every reason for which a Question is refused (step 6): one by one, and nothing of it reaches the source."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, VELSEN, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_proto import group
from bekend_proto.channel import LABEL_BEGIN, sign
from bekend_proto.clock import add_months, milliseconds, month_of, previous_epoch
from bekend_proto.errors import MalformedError, code_name
from bekend_proto.identity import MAX_MESSAGE
from bekend_proto.shape import MAX_ASKED, MAX_SOURCES, check_shape
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import PEOPLE, Federation, Lookup, Party, metric

CHANGES: list[tuple[str, Callable[[Federation], dict[str, Any]]]] = [
    ("unknown_partner", lambda f: {"requester": VELSEN.oin}),
    ("version", lambda f: {"protocol_version": 2}),
    ("covenant", lambda f: {"covenant_hash": bytes(32)}),
    ("stale", lambda f: {"time": milliseconds(f.clock.now() - timedelta(seconds=61))}),
    ("keys", lambda f: {"requester_manifest": 2}),
    ("keys", lambda f: {"source_manifest": 2}),
    ("keys", lambda f: {"broker_manifest": 2}),
    ("keys", lambda f: {"epoch": previous_epoch("2020Q1")}),
    ("keys", lambda f: {"epoch": "epoche"}),
    ("ratio", lambda f: {"purpose": ZVH_WEIGHING}),
    ("ratio", lambda f: {"on_behalf_of": HAARLEM.oin}),
    ("ratio", lambda f: {"record_month": add_months(month_of(f.clock.now()), -1)}),
    ("ratio", lambda f: {"elements": [group.random_element()]}),
    ("ratio", lambda f: {"elements": [group.random_element(), group.random_element()]}),
    ("refused", lambda f: {"kind_class": signed_pb2.KIND_CLASS_POSSIBLE}),
    ("malformed", lambda f: {"mlkem": bytes(1183)}),
    ("malformed", lambda f: {"checkpoint": bytes(71)}),
    ("record", lambda f: {"seal_hashes": [bytes(32)]}),
    ("record", lambda f: {"seal_hashes": [bytes(32), bytes(32)]}),
]


@pytest.mark.parametrize(("code", "change"), CHANGES)
async def test_must_04_a_question_that_does_not_fit_is_refused_alone(
    federation: Federation,
    om: Party,
    politie: Party,
    reclassering: Party,
    code: str,
    change: Callable[[Federation], dict[str, Any]],
) -> None:
    async with federation.broker() as broker, politie.attached() as source, reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin, **change(federation)), lookup.question(reclassering.oin))
        replies = await lookup.replies()
        assert replies[politie.oin] == code
        assert isinstance(replies[reclassering.oin], broker_pb2.SealedAnswer)
        assert source.questions.empty()
        # Begin and the one good question.
        assert broker.log_entries() == 2


async def ask_changed(
    federation: Federation, om: Party, politie: Party, change: Callable[[Lookup, broker_pb2.RoutedQuestion], None]
) -> object:
    """The reply to a question that was changed after it was made."""
    async with federation.broker() as broker, politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        routed = lookup.question(politie.oin)
        change(lookup, routed)
        await lookup.ask(routed)
        reply = (await lookup.replies())[politie.oin]
        assert source.questions.empty()
        assert broker.log_entries() == 1
        assert metric(broker, "bekend_broker_questions_total", purpose=ZSM_CONTEXT, decision=str(reply)) == 1
    return reply


async def test_a_sealed_record_left_out(federation: Federation, om: Party, politie: Party) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.ClearField("sealed_records")

    assert await ask_changed(federation, om, politie, change) == "record"


@pytest.mark.parametrize("length", [0, 79, 80, 81])
async def test_another_sealed_record(federation: Federation, om: Party, politie: Party, length: int) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.sealed_records[0] = secrets.token_bytes(length)

    assert await ask_changed(federation, om, politie, change) == "record"


async def test_a_ratio_left_out(federation: Federation, om: Party, politie: Party) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.ClearField("ratios")

    assert await ask_changed(federation, om, politie, change) == "ratio"


@pytest.mark.parametrize("ratio", [bytes(32), b"\xff" * 32, bytes(31), bytes(33)])
async def test_must_01_a_ratio_that_is_no_scalar(
    federation: Federation, om: Party, politie: Party, ratio: bytes
) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.ratios[0] = ratio

    assert await ask_changed(federation, om, politie, change) == "malformed"


async def test_must_19_another_ratio(federation: Federation, om: Party, politie: Party) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.ratios[0] = group.random_scalar()

    assert await ask_changed(federation, om, politie, change) == "ratio"


async def test_a_signature_by_another_key(federation: Federation, om: Party, politie: Party) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.question.CopyFrom(sign(SigningKey.generate(), b"bekend/1 question", routed.question.payload))

    assert await ask_changed(federation, om, politie, change) == "signature"


async def test_must_16_a_question_signed_as_something_else(federation: Federation, om: Party, politie: Party) -> None:
    def change(lookup: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        routed.question.CopyFrom(sign(lookup.party.signing, LABEL_BEGIN, routed.question.payload))

    assert await ask_changed(federation, om, politie, change) == "signature"


async def test_a_question_altered_on_its_way(federation: Federation, om: Party, politie: Party) -> None:
    def change(_: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        question = signed_pb2.Question.FromString(routed.question.payload)
        question.case_commitment = bytes(32)
        routed.question.payload = question.SerializeToString(deterministic=True)

    assert await ask_changed(federation, om, politie, change) == "signature"


async def test_an_unknown_field(federation: Federation, om: Party, politie: Party) -> None:
    def change(lookup: Lookup, routed: broker_pb2.RoutedQuestion) -> None:
        payload = routed.question.payload + b"\xf8\x07\x01"
        routed.question.CopyFrom(sign(lookup.party.signing, b"bekend/1 question", payload))

    assert await ask_changed(federation, om, politie, change) == "malformed"


async def test_must_19_a_sum_of_persons_is_refused(federation: Federation, haarlem: Party, reclassering: Party) -> None:
    """Begin holds two persons; the question asks about their sum, whose ratio to either nobody knows."""
    async with federation.broker(), reclassering.attached() as source:
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:2]).begin()
        first, second = lookup.blinded(reclassering.oin)
        routed = lookup.question(reclassering.oin, elements=[group.add(first, second), second])
        await lookup.ask(routed)
        assert await lookup.replies() == {reclassering.oin: "ratio"}
        assert source.questions.empty()


async def test_must_19_persons_in_another_order_are_refused(
    federation: Federation, haarlem: Party, reclassering: Party
) -> None:
    async with federation.broker(), reclassering.attached():
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:2]).begin()
        await lookup.ask(lookup.question(reclassering.oin, elements=lookup.blinded(reclassering.oin)[::-1]))
        assert await lookup.replies() == {reclassering.oin: "ratio"}


async def test_must_19_one_person_twice_instead_of_two_is_refused(
    federation: Federation, haarlem: Party, reclassering: Party
) -> None:
    async with federation.broker(), reclassering.attached():
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:2]).begin()
        first = lookup.blinded(reclassering.oin)[0]
        await lookup.ask(lookup.question(reclassering.oin, elements=[first, first]))
        assert await lookup.replies() == {reclassering.oin: "ratio"}


async def test_each_source_is_asked_once(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        first, second = lookup.question(politie.oin), lookup.question(politie.oin)
        await lookup.ask(first, second)
        kinds = []
        while (message := await lookup.read()) is not None:
            kinds.append(str(message.WhichOneof("kind")))
        assert sorted(kinds) == ["answer", "failure"]
        assert source.questions.qsize() == 1


async def test_must_05_a_question_is_taken_once(federation: Federation, om: Party, politie: Party) -> None:
    """The requester's own replay under a new Begin: same seed, same ratios, same signed question."""
    async with federation.broker(), politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        routed = lookup.question(politie.oin)
        await lookup.ask(routed)
        assert isinstance((await lookup.replies())[politie.oin], broker_pb2.SealedAnswer)
        again = om.lookup(ZSM_CONTEXT)
        again.seed, again.asked = lookup.seed, lookup.asked
        await again.begin()
        await again.ask(routed)
        assert await again.replies() == {politie.oin: "stale"}
        assert source.questions.qsize() == 1


async def test_must_05_a_question_is_taken_once_also_after_a_restart(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        routed = lookup.question(politie.oin)
        await lookup.ask(routed)
        await lookup.replies()
    async with federation.broker(), politie.attached() as source:
        again = om.lookup(ZSM_CONTEXT)
        again.seed, again.asked = lookup.seed, lookup.asked
        await again.begin()
        await again.ask(routed)
        assert await again.replies() == {politie.oin: "stale"}
        assert source.questions.empty()


async def test_a_question_of_another_begin_is_refused(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached():
        one = await om.lookup(ZSM_CONTEXT).begin()
        other = await om.lookup(ZSM_CONTEXT, PEOPLE[1:2]).begin()
        other.asked = one.asked
        await other.ask(one.question(politie.oin))
        assert await other.replies() == {politie.oin: "ratio"}


async def test_two_questions_with_one_id_end_the_lookup(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker(), politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        same = secrets.token_bytes(16)
        await lookup.ask(
            lookup.question(politie.oin, question_id=same), lookup.question(reclassering.oin, question_id=same)
        )
        with pytest.raises(MalformedError):
            await lookup.read()
        assert source.questions.empty()


async def test_an_ask_that_cannot_be_read_ends_the_lookup(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(broker_pb2.RoutedQuestion(question=signed_pb2.Signed(payload=b"\xff")))
        with pytest.raises(MalformedError):
            await lookup.read()


async def test_more_questions_than_any_purpose_has_sources_end_the_lookup(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(*_copies(lookup, POLITIE.oin, MAX_SOURCES + 1))
        with pytest.raises(MalformedError):
            await lookup.read()


async def test_more_persons_at_more_sources_than_one_ask_is_about_end_the_lookup(
    federation: Federation, haarlem: Party, om: Party
) -> None:
    """Each by itself is allowed: eight persons somewhere, 400 sources elsewhere."""
    async with federation.broker() as broker, om.attached() as source:
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:4]).begin()
        await lookup.ask(*_copies(lookup, om.oin, MAX_ASKED // 4 + 1))
        with pytest.raises(MalformedError):
            await lookup.read()
        assert source.questions.empty()
        assert broker.log_entries() == 1


async def test_the_limits_hold_over_all_asks_of_a_lookup(federation: Federation, haarlem: Party, om: Party) -> None:
    async with federation.broker() as broker, om.attached() as source:
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:4]).begin()
        first, *rest = _copies(lookup, om.oin, MAX_ASKED // 4 + 1)
        await lookup.ask(first, more=True)
        await lookup.ask(*rest)
        with pytest.raises(MalformedError):
            [message async for message in lookup.messages()]
        # Begin, and what came before the limit.
        assert broker.log_entries() == 2
        assert source.questions.qsize() == 1


async def test_more_sources_than_the_purpose_allows_are_refused_over_all_asks(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    most = federation.covenant.purposes[ZSM_CONTEXT].max_sources
    async with federation.broker(), politie.attached(), reclassering.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        last = lookup.question(reclassering.oin)
        await lookup.ask(last, *_copies(lookup, politie.oin, most - 1))
        ended = {one.failure.question_id: one.failure.code async for one in lookup.messages()}
        name = signed_pb2.Question.FromString(last.question.payload).question_id
        assert code_name(ended[name]) == "refused"
        assert source.questions.empty()


def _copies(lookup: Lookup, source: str, count: int) -> Iterator[broker_pb2.RoutedQuestion]:
    """One Question under so many ids, each signed: made in less time than a broker waits for an Ask."""
    routed = lookup.question(source)
    question = signed_pb2.Question.FromString(routed.question.payload)
    for _ in range(count):
        question.question_id = secrets.token_bytes(16)
        yield broker_pb2.RoutedQuestion(
            question=lookup.party.sign(question), sealed_records=routed.sealed_records, ratios=routed.ratios
        )


async def test_the_largest_ask_and_its_promise_fit_in_one_message(federation: Federation, haarlem: Party) -> None:
    async with federation.broker():
        lookup = await haarlem.lookup(ZVH_WEIGHING, PEOPLE[:4]).begin()
        many = lookup.question(OM.oin)
        single = broker_pb2.RoutedQuestion()
        single.CopyFrom(many)
        del single.sealed_records[1:], single.ratios[1:]
    for routed, count in ((many, MAX_ASKED // 4), (single, MAX_SOURCES)):
        assert broker_pb2.Ask(questions=[routed] * count).ByteSize() < MAX_MESSAGE
    entry = signed_pb2.PromisedEntry(question_hash=bytes(32), source=OM.oin, index=2**40)
    promise = signed_pb2.InclusionPromise(log_id=bytes(32), requester=OM.oin, promised=[entry] * MAX_SOURCES)
    check_shape(promise)
    assert promise.ByteSize() < MAX_MESSAGE // 8
    promise.promised.append(entry)
    with pytest.raises(MalformedError):
        check_shape(promise)


@pytest.mark.parametrize("source", [HAARLEM.oin, OM.oin])
async def test_a_source_that_the_covenant_does_not_let_answer_is_not_routed_to(
    federation: Federation, om: Party, source: str
) -> None:
    """Never, and no source at all."""
    async with federation.broker() as broker, federation.parties[source].attached() as attached:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(source) == {source: "refused"}
        assert attached.questions.empty()
        assert broker.log_entries() == 1


async def test_a_party_outside_the_covenant_is_not_routed_to(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(RECLASSERING.oin, source="00000099000000077000"))
        assert await lookup.replies() == {RECLASSERING.oin: "refused"}
