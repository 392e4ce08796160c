"""One lookup, from Begin to the last reply (protocol section 7)."""

import asyncio
from datetime import timedelta
from typing import Any

import bekend_broker.lookup
import pytest
from bekend_broker import streams
from bekend_deploy.partners import HAARLEM, RECLASSERING, VELSEN, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_policy.decided import Decided
from bekend_proto.clock import FRESHNESS, epoch_of, epoch_start, next_epoch
from bekend_proto.decision_table import decisions_between
from bekend_proto.errors import Code, DeadlineError, MalformedError, UnreachableError
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2
from bekend_proto.v1.signed_pb2 import InclusionPromise

from tests.support.federation import PEOPLE, Federation, Party, honest_answer, metric, no_answer, until


async def test_every_source_tells_its_own_bit_and_nothing_else(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:2])
        await reclassering.enrol(ZSM_CONTEXT, "clienten", PEOPLE[1:3])
        async with politie.attached(), reclassering.attached():
            for person, knows in ((0, (True, False)), (1, (True, True)), (2, (False, True)), (3, (False, False))):
                lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[person : person + 1]).begin()
                assert await lookup.outcomes(politie.oin, reclassering.oin) == {
                    politie.oin: [knows[0]],
                    reclassering.oin: [knows[1]],
                }


async def test_several_persons_in_the_name_of_another(federation: Federation, haarlem: Party) -> None:
    zvh, velsen = federation.parties[ZVH.oin], federation.parties[VELSEN.oin]
    async with federation.broker():
        await haarlem.enrol(ZVH_WEIGHING, "wmo", PEOPLE[::2])
        await velsen.enrol(ZVH_WEIGHING, "wmo", PEOPLE[1:3])
        async with haarlem.attached(), velsen.attached():
            lookup = await zvh.lookup(ZVH_WEIGHING, PEOPLE[:4], on_behalf_of=HAARLEM.oin).begin()
            assert await lookup.outcomes(haarlem.oin, velsen.oin) == {
                haarlem.oin: [True, False, True, False],
                velsen.oin: [False, True, True, False],
            }


async def test_the_source_gets_the_question_as_signed_and_never_the_ratios(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        routed = lookup.question(politie.oin)
        await lookup.ask(routed)
        await lookup.replies()
        seen = source.questions.get_nowait()
        assert seen.question == routed.question
        assert seen.sealed_records == routed.sealed_records
        assert routed.ratios[0] not in seen.SerializeToString()


async def test_two_requesters_at_once_get_their_own_answers(
    federation: Federation, om: Party, haarlem: Party, reclassering: Party
) -> None:
    async with federation.broker():
        await reclassering.enrol(ZSM_CONTEXT, "clienten", PEOPLE[:1])
        await reclassering.enrol(ZVH_WEIGHING, "clienten", PEOPLE[1:2])
        async with reclassering.attached():

            async def ask(party: Party, purpose: str, person: int) -> object:
                lookup = await party.lookup(purpose, PEOPLE[person : person + 1]).begin()
                return (await lookup.outcomes(reclassering.oin))[reclassering.oin]

            answers = await asyncio.gather(
                *(ask(om, ZSM_CONTEXT, person) for person in (0, 1, 0, 1)),
                *(ask(haarlem, ZVH_WEIGHING, person) for person in (0, 1, 0, 1)),
            )
        assert answers == [[True], [False], [True], [False], [False], [True], [False], [True]]


async def test_a_source_that_is_away_is_unreachable_at_once(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(politie.oin, RECLASSERING.oin) == {
            politie.oin: [False],
            RECLASSERING.oin: "unreachable",
        }


async def test_a_source_that_goes_away_while_asked_is_unreachable_at_once(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached(no_answer) as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        await source.questions.get()
        source.call.cancel()
        assert await lookup.replies() == {politie.oin: "unreachable"}


async def test_a_source_that_is_late_gets_no_second_chance(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(reply_seconds=0.2) as broker, politie.attached(no_answer) as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        assert await lookup.replies() == {politie.oin: "deadline"}
        await source.send(honest_answer(politie, source.questions.get_nowait()))
        # The next answer comes over the same stream: by then the late one was taken in, and went nowhere.
        source.answer = honest_answer
        again = await om.lookup(ZSM_CONTEXT).begin()
        assert await again.outcomes(politie.oin) == {politie.oin: [False]}
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1


@pytest.mark.parametrize("code", [errors_pb2.ERROR_CODE_NOT_READY, errors_pb2.ERROR_CODE_RECORD])
async def test_a_fault_of_the_source_is_passed_on(
    federation: Federation, om: Party, politie: Party, code: Code
) -> None:
    def fail(_: Party, message: broker_pb2.EvaluatedQuestion) -> broker_pb2.Failure:
        question = signed_pb2.Question.FromString(message.question.payload)
        return broker_pb2.Failure(question_id=question.question_id, code=code)

    async with federation.broker(), politie.attached(fail):
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        name = errors_pb2.ErrorCode.Name(code).removeprefix("ERROR_CODE_").lower()
        assert await lookup.outcomes(politie.oin) == {politie.oin: name}


async def test_must_04_an_answer_over_another_sources_stream_goes_nowhere(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with (
        federation.broker() as broker,
        politie.attached(no_answer) as asked,
        reclassering.attached() as other,
    ):
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        question = await asked.questions.get()
        forged = honest_answer(politie, question)
        await other.send(forged)
        # When the other source's own answer came through, the forged one was read before it.
        second = await om.lookup(ZSM_CONTEXT).begin()
        assert await second.outcomes(reclassering.oin) == {reclassering.oin: [False]}
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1
        await asked.send(honest_answer(politie, question))
        replies = await lookup.replies()
    answer = replies[politie.oin]
    assert isinstance(answer, broker_pb2.SealedAnswer)
    assert answer != forged


async def test_must_06_one_answer_per_question(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker, politie.attached(no_answer) as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        question = await source.questions.get()
        first, second = honest_answer(politie, question), honest_answer(politie, question)
        await source.send(first)
        await source.send(second)
        assert await lookup.replies() == {politie.oin: first}
        source.answer = honest_answer
        again = await om.lookup(ZSM_CONTEXT).begin()
        await again.outcomes(politie.oin)
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1


async def test_an_answer_of_impossible_length_is_a_fault_of_its_source(
    federation: Federation, om: Party, politie: Party
) -> None:
    def too_long(party: Party, message: broker_pb2.EvaluatedQuestion) -> broker_pb2.SealedAnswer:
        answer = honest_answer(party, message)
        answer.box += bytes(10_000)
        return answer

    async with federation.broker(), politie.attached(too_long):
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(politie.oin) == {politie.oin: "malformed"}


async def test_a_requester_that_leaves_costs_nobody_else_anything(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker, politie.attached(no_answer) as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        question = await source.questions.get()
        lookup.call.cancel()
        await until(lambda: metric(broker, "bekend_broker_lookups_running") == 0)
        await source.send(honest_answer(politie, question))
        source.answer = honest_answer
        again = await om.lookup(ZSM_CONTEXT).begin()
        assert await again.outcomes(politie.oin) == {politie.oin: [False]}


async def test_a_begin_without_questions_is_counted_and_reported(
    federation: Federation, om: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    async with federation.broker() as broker:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.call.done_writing()
        assert await lookup.replies() == {}
        assert metric(broker, "bekend_broker_begins_without_questions_total", purpose=ZSM_CONTEXT) == 1
    report = next(line for line in capsys.readouterr().err.splitlines() if "begin-without-questions" in line)
    assert om.oin in report
    assert ZSM_CONTEXT in report


async def test_a_begin_whose_questions_never_come_ends(federation: Federation, om: Party) -> None:
    async with federation.broker(ask_seconds=0.1) as broker:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        with pytest.raises(DeadlineError):
            await lookup.read()
        assert metric(broker, "bekend_broker_begins_without_questions_total", purpose=ZSM_CONTEXT) == 1


async def test_an_ask_before_begin_is_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = om.lookup(ZSM_CONTEXT)
        await lookup.ask()
        with pytest.raises(MalformedError):
            await lookup.read()


async def test_a_second_begin_is_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.call.write(broker_pb2.LookupRequest(begin=om.sign(lookup.make_begin())))
        with pytest.raises(MalformedError):
            await lookup.read()


async def test_questions_may_come_in_several_asks(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker() as broker, politie.attached(), reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        await lookup.ask(lookup.question(reclassering.oin))
        messages = [message async for message in lookup.messages()]
        assert {lookup.asked[message.answer.question_id][0] for message in messages} == {politie.oin, reclassering.oin}
        # Each Ask has its own promise, and together they name every Question.
        promises = [InclusionPromise.FromString(message.promise.payload) for message in messages]
        assert [len(promise.promised) for promise in promises] == [1, 1]
        assert {entry.source for promise in promises for entry in promise.promised} == {politie.oin, reclassering.oin}
        (decided,) = broker.store.read(lambda connection: list(decisions_between(connection, 0, 1 << 60)))
        assert {one.source: bool(one.question_id) for one in Decided.of(decided).judged} == {
            politie.oin: True,
            reclassering.oin: True,
        }


async def test_the_first_ask_is_answered_while_others_are_to_come(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker(), politie.attached(), reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        first = await lookup.read()
        assert first is not None
        assert lookup.asked[first.answer.question_id][0] == politie.oin
        await lookup.ask(lookup.question(reclassering.oin))
        assert set(await lookup.replies()) == {reclassering.oin}


async def test_must_19_a_source_is_asked_once_over_all_asks(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker(), politie.attached() as source, reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        assert isinstance((await lookup.read()).answer, broker_pb2.SealedAnswer)  # type: ignore[union-attr]
        await lookup.ask(lookup.question(politie.oin), lookup.question(reclassering.oin))
        replies = await lookup.replies()
        assert replies[politie.oin] == "ratio"
        assert isinstance(replies[reclassering.oin], broker_pb2.SealedAnswer)
        assert source.questions.qsize() == 1


async def test_an_id_of_an_ask_before_is_refused(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        question = lookup.question(politie.oin)
        await lookup.ask(question, more=True)
        await lookup.ask(question)
        with pytest.raises(MalformedError):
            await lookup.replies()


async def test_an_ask_without_questions_ends_what_more_should_follow(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(more=True)
        with pytest.raises(MalformedError):
            await lookup.replies()


async def test_asks_that_never_end_do_not_keep_a_lookup_open(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(ask_seconds=0.2) as broker, politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        with pytest.raises(DeadlineError):
            await lookup.replies()
        await until(lambda: metric(broker, "bekend_broker_lookups_running") == 0)


async def test_the_time_for_asks_counts_from_begun_for_all_of_them_together(
    federation: Federation, om: Party, politie: Party, reclassering: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lets one Ask after another come at the last moment keeps no lookup open."""
    given: list[float] = []

    async def noted(requests: Any, seconds: float, what: str) -> Any:
        given.append(seconds)
        return await streams.next_message(requests, seconds, what)

    monkeypatch.setattr(bekend_broker.lookup, "next_message", noted)
    async with federation.broker(), politie.attached(), reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), more=True)
        await lookup.read()
        await lookup.ask(lookup.question(reclassering.oin))
        await lookup.replies()
    first, second = given
    assert 0 < second < first <= 30


async def test_the_previous_epoch_is_served_for_seven_days(federation: Federation, om: Party, politie: Party) -> None:
    old = epoch_of(federation.clock.now())
    new = next_epoch(old)
    federation.make_keys(epoch_start(new))
    async with federation.broker(), politie.attached():

        async def outcome(epoch: str) -> object:
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            await lookup.ask(lookup.question(politie.oin, epoch=epoch))
            return (await lookup.replies())[politie.oin]

        assert await outcome(new) == "keys"
        federation.clock.set(epoch_start(new) + timedelta(days=7) - timedelta(seconds=1))
        assert isinstance(await outcome(old), broker_pb2.SealedAnswer)
        assert isinstance(await outcome(new), broker_pb2.SealedAnswer)
        federation.clock.advance(timedelta(seconds=1))
        assert await outcome(old) == "keys"


async def test_a_node_asks_itself_about_its_canary(federation: Federation, politie: Party) -> None:
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:1])
        async with politie.attached():
            lookup = await politie.lookup(ZSM_CONTEXT).begin()
            assert await lookup.outcomes(politie.oin) == {politie.oin: [True]}


async def test_who_may_only_ask_itself_reaches_nobody_else(
    federation: Federation, politie: Party, reclassering: Party
) -> None:
    async with federation.broker(), politie.attached(), reclassering.attached() as other:
        lookup = await politie.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(politie.oin, reclassering.oin) == {
            politie.oin: [False],
            reclassering.oin: "refused",
        }
        assert other.questions.empty()


async def test_stopping_lets_running_lookups_end_and_takes_no_new_ones(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker, politie.attached(no_answer) as source:
        running = await om.lookup(ZSM_CONTEXT).begin()
        await running.ask(running.question(politie.oin))
        question = await source.questions.get()
        stopping = asyncio.create_task(broker.stop(20))
        with pytest.raises(UnreachableError):
            await _begin_without_end(om)
        await source.send(honest_answer(politie, question))
        assert isinstance((await running.replies())[politie.oin], broker_pb2.SealedAnswer)
        await stopping
        assert isinstance(await source.ended, UnreachableError)


async def test_a_lookup_across_the_edge_of_a_day_counts_on_the_day_of_its_begin(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        federation.clock.advance(FRESHNESS)
        assert await lookup.outcomes(politie.oin) == {politie.oin: [False]}


async def _begin_without_end(party: Party) -> None:
    while True:
        await party.lookup(ZSM_CONTEXT, seconds=5).begin()
