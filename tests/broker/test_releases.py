"""When a colleague at the source decides: releases and collects on their way (protocol section 9)."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bekend_broker import covenants
from bekend_broker.app import Broker, start_broker
from bekend_broker.releases import RELEASES
from bekend_deploy.partners import POLITIE, RECLASSERING, VEILIG_THUIS, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_proto import channel, collecting
from bekend_proto.clock import milliseconds
from bekend_proto.collecting import COLLECT_BOX, COLLECTED_BOX, FIRST_COLLECT, NAMES, Parties, release_box
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    CovenantError,
    DeadlineError,
    MalformedError,
    NotReadyError,
    StaleError,
    StorageError,
    SuspendedError,
    UnreachableError,
)
from bekend_proto.release import RELEASE_LENGTH
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2

from tests.broker.test_covenants import write_second
from tests.broker.test_suspensions import SlowDisk, publish
from tests.support.federation import (
    PEOPLE,
    Attached,
    Federation,
    Party,
    metric,
    plain_reply,
    until,
)
from tests.support.suspensions import signed, suspension

TERM = timedelta(days=1)
INTERVAL = timedelta(minutes=15)
LEFT = {"method": "BrokerService/Collect", "code": "CANCELLED"}


@pytest.fixture
def vt(federation: Federation) -> Party:
    """A colleague of Veilig Thuis decides, within a day."""
    return federation.parties[VEILIG_THUIS.oin]


async def ask(requester: Party, source: str, purpose: str = ZSM_CONTEXT, persons: int = 1) -> bytes:
    """The id of a question that the source has answered."""
    name = secrets.token_bytes(16)
    lookup = await requester.lookup(purpose, PEOPLE[:persons]).begin()
    await lookup.ask(lookup.question(source, question_id=name))
    assert isinstance((await lookup.replies())[source], broker_pb2.SealedAnswer)
    return name


@asynccontextmanager
async def open_question(federation: Federation, om: Party, vt: Party) -> AsyncIterator[tuple[Broker, Attached, bytes]]:
    """A broker, the attached source, and a question that its colleague may decide about."""
    async with federation.broker() as broker, vt.attached() as source:
        yield broker, source, await ask(om, vt.oin)


def rows(federation: Federation) -> list[tuple[Any, ...]]:
    return federation.rows("SELECT * FROM open_question")


async def under_way(
    source: Attached, sending: Coroutine[Any, Any, bytes]
) -> "tuple[asyncio.Task[bytes], broker_pb2.RoutedRelease | broker_pb2.RoutedCollect]":
    """A release or collect that has reached its source, which has not replied yet."""
    source.reply = lambda _: None
    return asyncio.create_task(sending), await source.exchanges.get()


def ends(broker: Broker, kind: str) -> dict[str, float]:
    """How exchanges ended so far, those that did."""
    names = ("refused", "answered", "failed", "unreachable", "deadline")
    found = {end: metric(broker, "bekend_broker_exchanges_total", kind=kind, end=end) for end in names}
    return {end: count for end, count in found.items() if count}


class Ends:
    """Both ends of one question's channel, as requester and source hold them."""

    def __init__(self, requester: Party, source: Party) -> None:
        self.requester, self.source = requester, source
        self.at_source: channel.OpenChannel | None = None

    def answer(self, party: Party, message: broker_pb2.EvaluatedQuestion) -> broker_pb2.SealedAnswer:
        question = signed_pb2.Question.FromString(message.question.payload)
        self.at_source, x25519, mlkem = channel.respond(
            question.requester, party.oin, question.question_id, question.x25519, question.mlkem
        )
        self.parties = Parties(channel.question_hash(message.question), question.requester, party.oin, 1)
        return broker_pb2.SealedAnswer(
            question_id=question.question_id, x25519=x25519, mlkem=mlkem, box=self.at_source.seal_to_requester(0, b"")
        )

    def reply(self, exchange: broker_pb2.RoutedRelease | broker_pb2.RoutedCollect) -> broker_pb2.RoutedCollected:
        """What an honest source says: it checks what came, and nobody has decided."""
        assert self.at_source is not None
        if isinstance(exchange, broker_pb2.RoutedRelease):
            keys = [bytes(self.requester.signing.verify_key)]
            kind, messages = collecting.open_release_box(self.at_source, keys, self.parties, exchange.box)
            assert (kind, len(messages)) == (signed_pb2.RELEASE_KIND_NAMES, 1)
            number = NAMES
        else:
            number = exchange.number
            collecting.check_collect(self.at_source, number, self.parties.question_hash, exchange.box)
        states = [signed_pb2.RELEASE_STATE_WAITING]
        box = collecting.seal_collected(
            self.at_source, self.source.signing, number + 1, self.parties, states=states, until=7
        )
        return broker_pb2.RoutedCollected(exchange_id=exchange.exchange_id, box=box)


async def test_releases_and_collects_go_from_end_to_end_and_nobody_between_reads_them(
    federation: Federation, om: Party, vt: Party
) -> None:
    both = Ends(om, vt)
    async with federation.broker() as broker, vt.attached(both.answer) as source:
        source.reply = both.reply
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        name = secrets.token_bytes(16)
        await lookup.ask(lookup.question(vt.oin, question_id=name))
        answer = (await lookup.replies())[vt.oin]
        assert isinstance(answer, broker_pb2.SealedAnswer)
        own = lookup.asked[name][1].open(om.oin, vt.oin, name, answer.x25519, answer.mlkem)
        keys = [bytes(vt.signing.verify_key)]
        messages = [secrets.token_bytes(RELEASE_LENGTH)]
        box = collecting.seal_release_box(own, om.signing, NAMES, both.parties, messages)
        replies = [(NAMES + 1, await om.release(name, box))]
        for number in (FIRST_COLLECT, FIRST_COLLECT + 4):
            collect = collecting.seal_collect(own, number, both.parties.question_hash)
            replies.append((number + 1, await om.collect(name, number, collect)))
        for number, reply in replies:
            states = collecting.open_collected(own, keys, number, both.parties, until=7, box=reply)
            assert states == (signed_pb2.RELEASE_STATE_WAITING,)
        seen = [source.exchanges.get_nowait() for _ in replies]
        assert {one.question_id for one in seen} == {name}
        assert seen[0].box == box
        assert len({one.exchange_id for one in seen} | {name}) == 4
        assert ends(broker, "release") == {"answered": 1}
        assert ends(broker, "collect") == {"answered": 2}


async def test_several_persons_are_released_in_one_message_of_its_own_length(
    federation: Federation, haarlem: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached():
        name = await ask(haarlem, politie.oin, ZVH_WEIGHING, persons=3)
        for persons in (1, 2, 4):
            with pytest.raises(MalformedError):
                await haarlem.release(name, bytes(release_box(persons)))
        assert len(await haarlem.release(name, bytes(release_box(3)))) == COLLECTED_BOX


async def test_a_row_is_kept_wherever_a_colleague_may_decide_and_nowhere_else(
    federation: Federation, om: Party, politie: Party, reclassering: Party, vt: Party
) -> None:
    asked = milliseconds(federation.clock.now())
    async with federation.broker(), politie.attached(), reclassering.attached(), vt.attached():
        await ask(om, politie.oin)
        standing, manual = await ask(om, RECLASSERING.oin), await ask(om, vt.oin)
        kept = {row[0]: row[1:] for row in rows(federation)}
    day, hour = 86_400_000, 3_600_000
    assert kept == {
        standing: (om.oin, RECLASSERING.oin, ZSM_CONTEXT, "", 1, asked + 3 * day + hour, b"", 0, 0, 73 * 4 + 2),
        manual: (om.oin, vt.oin, ZSM_CONTEXT, "", 1, asked + day + hour, b"", 0, 0, 25 * 4 + 2),
    }


async def test_a_question_that_was_not_forwarded_leaves_no_row(federation: Federation, om: Party, vt: Party) -> None:
    async with federation.broker() as broker:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(vt.oin) == {vt.oin: "unreachable"}
        async with vt.attached():
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            await federation.break_once(broker)
            assert await lookup.outcomes(vt.oin) == {vt.oin: "storage"}
        assert rows(federation) == []


# --- a hostile requester ------------------------------------------------------------------------


async def test_must_04_only_the_requester_of_a_question_may_send_on_it(
    federation: Federation, om: Party, haarlem: Party, politie: Party, vt: Party
) -> None:
    """Another's id, one of nobody, one that was answered by machine: all alike, and no source hears of it."""
    async with open_question(federation, om, vt) as (broker, source, name), politie.attached() as other:
        by_machine = await ask(om, politie.oin)
        for party, stray in ((haarlem, name), (vt, name), (om, secrets.token_bytes(16)), (om, by_machine), (om, b"")):
            with pytest.raises(StaleError):
                await party.release(stray)
            with pytest.raises(StaleError):
                await party.collect(stray, FIRST_COLLECT)
        assert source.exchanges.empty()
        assert other.exchanges.empty()
        assert ends(broker, "release") == {"refused": 5}
        # Whoever tried used up nothing of its owner's.
        await om.release(name)
        await om.collect(name, FIRST_COLLECT)


async def test_must_04_a_certificate_of_another_opens_no_question(
    federation: Federation, om: Party, haarlem: Party, vt: Party
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        await om.close()
        await om.connect(broker.port, haarlem.tls)
        with pytest.raises(StaleError):
            await om.release(name)
        assert source.exchanges.empty()


async def test_nothing_is_sent_on_a_question_before_it_is_asked(federation: Federation, om: Party, vt: Party) -> None:
    async with federation.broker(), vt.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        name = secrets.token_bytes(16)
        routed = lookup.question(vt.oin, question_id=name)
        with pytest.raises(StaleError):
            await om.release(name)
        await lookup.ask(routed)
        assert isinstance((await lookup.replies())[vt.oin], broker_pb2.SealedAnswer)
        await om.release(name)
        assert source.exchanges.qsize() == 1


@pytest.mark.parametrize("size", [0, RELEASE_LENGTH, release_box(1) - 1, release_box(1) + 1, release_box(2)])
async def test_must_09_a_release_of_another_length_is_not_passed_on(
    federation: Federation, om: Party, vt: Party, size: int
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        with pytest.raises(MalformedError):
            await om.release(name, bytes(size))
        assert source.exchanges.empty()


@pytest.mark.parametrize(
    ("number", "size"),
    [
        (0, COLLECT_BOX),
        (1, COLLECT_BOX),
        (FIRST_COLLECT, COLLECT_BOX - 1),
        (FIRST_COLLECT, COLLECT_BOX + 1),
        (FIRST_COLLECT, 0),
    ],
)
async def test_must_09_a_collect_of_another_length_or_number_is_not_passed_on(
    federation: Federation, om: Party, vt: Party, number: int, size: int
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        with pytest.raises(MalformedError):
            await om.collect(name, number, bytes(size))
        assert source.exchanges.empty()
        assert ends(broker, "collect") == {"refused": 1}


async def test_must_05_a_collect_that_is_not_higher_than_the_last_is_not_passed_on(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        await om.collect(name, 5)
        for number in (5, 4, FIRST_COLLECT):
            with pytest.raises(StaleError):
                await om.collect(name, number)
        await om.collect(name, 6)
        seen = [source.exchanges.get_nowait() for _ in range(2)]
        assert [one.number for one in seen if isinstance(one, broker_pb2.RoutedCollect)] == [5, 6]
        assert source.exchanges.empty()


async def test_must_05_equal_collects_at_once_are_passed_on_once(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        tries = await asyncio.gather(*(om.collect(name, 9) for _ in range(20)), return_exceptions=True)
        assert [isinstance(one, StaleError) for one in tries].count(True) == 19
        assert source.exchanges.qsize() == 1


async def test_a_question_has_two_releases_and_a_lost_one_may_be_sent_again(
    federation: Federation, om: Party, vt: Party
) -> None:
    names, withdraws, third = (secrets.token_bytes(release_box(1)) for _ in range(3))
    async with open_question(federation, om, vt) as (_, source, name):
        for box in (names, withdraws, withdraws, names):
            await om.release(name, box)
        with pytest.raises(StaleError):
            await om.release(name, third)
        assert [source.exchanges.get_nowait().box for _ in range(4)] == [names, withdraws, withdraws, names]
        assert source.exchanges.empty()


async def test_the_same_release_is_not_passed_on_without_end(federation: Federation, om: Party, vt: Party) -> None:
    box = secrets.token_bytes(release_box(1))
    async with open_question(federation, om, vt) as (_, source, name):
        for _ in range(RELEASES):
            await om.release(name, box)
        with pytest.raises(StaleError):
            await om.release(name, box)
        assert source.exchanges.qsize() == RELEASES


async def test_a_question_is_collected_as_often_as_its_term_has_moments(
    federation: Federation, om: Party, vt: Party
) -> None:
    moments = (TERM + timedelta(hours=1)) // INTERVAL + 2
    async with open_question(federation, om, vt) as (_, source, name):
        for number in range(moments):
            await om.collect(name, FIRST_COLLECT + number)
        with pytest.raises(StaleError):
            await om.collect(name, FIRST_COLLECT + moments)
        assert source.exchanges.qsize() == moments


async def test_after_the_term_and_an_hour_nothing_is_passed_on_and_nothing_is_kept(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        federation.clock.advance(TERM + timedelta(hours=1) - timedelta(seconds=1))
        await om.collect(name, 98)
        federation.clock.advance(timedelta(seconds=1))
        for late in (om.collect(name, 99), om.release(name)):
            with pytest.raises(StaleError):
                await late
        assert source.exchanges.qsize() == 1
    async with federation.broker() as broker:
        assert rows(federation) == []
        assert metric(broker, "bekend_broker_open_questions") == 0


async def test_a_term_that_ends_while_the_broker_runs_is_forgotten_by_itself(
    federation: Federation, om: Party, vt: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bekend_broker.releases.FORGET_SECONDS", 0.01)
    async with open_question(federation, om, vt) as (broker, _, _name):
        await until(lambda: metric(broker, "bekend_broker_open_questions") == 1)
        # A disk that takes nothing once does not end it.
        await federation.break_once(broker)
        await until(lambda: metric(broker, "bekend_broker_storage_faults_total") == 1)
        federation.clock.advance(TERM + timedelta(hours=1))
        await until(lambda: not rows(federation))
        await until(lambda: metric(broker, "bekend_broker_open_questions") == 0)


async def test_no_more_are_under_way_for_one_requester_than_the_limit(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with federation.broker(exchanges_per_requester=2) as broker, vt.attached() as source:
        names = [await ask(om, vt.oin) for _ in range(3)]
        running = [await under_way(source, om.collect(name, FIRST_COLLECT)) for name in names[:2]]
        with pytest.raises(BudgetError):
            await om.collect(names[2], FIRST_COLLECT)
        for call, exchange in running:
            await source.send(plain_reply(exchange))
            await call
        source.reply = plain_reply
        # What was refused used up no number.
        await om.collect(names[2], FIRST_COLLECT)
        assert ends(broker, "collect") == {"answered": 3, "refused": 1}


async def test_a_requester_that_leaves_costs_nobody_else_anything(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        running, exchange = await under_way(source, om.collect(name, FIRST_COLLECT))
        running.cancel()
        await until(lambda: metric(broker, "bekend_grpc_requests_total", **LEFT) == 1)
        await source.send(plain_reply(exchange))
        source.reply = plain_reply
        await om.collect(name, FIRST_COLLECT + 1)
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1


# --- a hostile source ---------------------------------------------------------------------------


async def test_must_04_a_reply_over_another_sources_stream_goes_nowhere(
    federation: Federation, om: Party, vt: Party, reclassering: Party
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name), reclassering.attached() as other:
        theirs = await ask(om, reclassering.oin)
        running, exchange = await under_way(source, om.collect(name, FIRST_COLLECT))
        await other.send(plain_reply(exchange))
        await other.send(broker_pb2.Failure(question_id=exchange.exchange_id, code=errors_pb2.ERROR_CODE_NOT_READY))
        # When the other's own reply came through, the forged ones were read before it.
        await om.collect(theirs, FIRST_COLLECT)
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 2
        own = plain_reply(exchange)
        await source.send(own)
        assert await running == own.box


async def test_must_06_one_reply_per_exchange(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        running, exchange = await under_way(source, om.collect(name, FIRST_COLLECT))
        first, second = plain_reply(exchange), plain_reply(exchange)
        await source.send(first)
        await source.send(second)
        assert await running == first.box
        source.reply = plain_reply
        await om.collect(name, FIRST_COLLECT + 1)
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1


@pytest.mark.parametrize("named", ["question", "other"])
async def test_a_reply_must_name_its_exchange(federation: Federation, om: Party, vt: Party, named: str) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        stray = name if named == "question" else secrets.token_bytes(16)
        source.reply = lambda _: broker_pb2.RoutedCollected(exchange_id=stray, box=bytes(COLLECTED_BOX))
        running = asyncio.create_task(om.collect(name, FIRST_COLLECT))
        await until(lambda: metric(broker, "bekend_broker_replies_unclaimed_total") == 1)
        exchange = source.exchanges.get_nowait()
        # Nor is it settled by an answer to a question under its id.
        await source.send(
            broker_pb2.SealedAnswer(question_id=exchange.exchange_id, x25519=bytes(32), mlkem=bytes(1088))
        )
        await until(lambda: metric(broker, "bekend_broker_replies_unclaimed_total") == 2)
        assert not running.done()
        await source.send(plain_reply(exchange))
        await running


@pytest.mark.parametrize("size", [0, COLLECTED_BOX - 1, COLLECTED_BOX + 1, 10_000])
async def test_must_09_a_reply_of_another_length_is_a_fault_of_its_source(
    federation: Federation, om: Party, vt: Party, size: int
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        source.reply = lambda it: broker_pb2.RoutedCollected(exchange_id=it.exchange_id, box=bytes(size))
        with pytest.raises(MalformedError):
            await om.release(name)
        assert ends(broker, "release") == {"failed": 1}


@pytest.mark.parametrize(
    ("code", "raised"),
    [(errors_pb2.ERROR_CODE_NOT_READY, NotReadyError), (errors_pb2.ERROR_CODE_STALE, StaleError), (99, MalformedError)],
)
async def test_a_fault_of_the_source_is_passed_on(
    federation: Federation, om: Party, vt: Party, code: Any, raised: type[BekendError]
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        source.reply = lambda it: broker_pb2.Failure(question_id=it.exchange_id, code=code)
        for sending in (om.release(name), om.collect(name, FIRST_COLLECT)):
            with pytest.raises(raised):
                await sending


async def test_a_source_that_never_replies_is_late_and_gets_no_second_chance(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with federation.broker(reply_seconds=0.2) as broker, vt.attached() as source:
        name = await ask(om, vt.oin)
        source.reply = lambda _: None
        with pytest.raises(DeadlineError):
            await om.release(name)
        with pytest.raises(DeadlineError):
            await om.collect(name, FIRST_COLLECT)
        await source.send(plain_reply(source.exchanges.get_nowait()))
        source.reply = plain_reply
        await om.collect(name, FIRST_COLLECT + 1)
        assert metric(broker, "bekend_broker_replies_unclaimed_total") == 1
        assert ends(broker, "release") == {"deadline": 1}
        assert ends(broker, "collect") == {"deadline": 1, "answered": 1}


async def test_a_source_that_is_away_is_unreachable_at_once_and_uses_up_no_number(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with federation.broker() as broker:
        async with vt.attached():
            name = await ask(om, vt.oin)
        await until(lambda: metric(broker, "bekend_broker_attached_partners") == 0)
        with pytest.raises(UnreachableError):
            await om.collect(name, FIRST_COLLECT)
        assert ends(broker, "collect") == {"unreachable": 1}
        async with vt.attached():
            await om.collect(name, FIRST_COLLECT)


async def test_a_source_that_goes_away_meanwhile_is_unreachable_at_once(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        running, _ = await under_way(source, om.release(name))
        source.call.cancel()
        with pytest.raises(UnreachableError):
            await running


# --- crash, replica, disk, covenant -------------------------------------------------------------


async def test_must_05_what_was_passed_on_is_remembered_over_a_restart(
    federation: Federation, om: Party, vt: Party
) -> None:
    """Between the Question and its release, and between collects; also when the reply never came."""
    boxes = [secrets.token_bytes(release_box(1)) for _ in range(2)]
    async with open_question(federation, om, vt) as (_, _source, name):
        pass
    async with federation.broker() as broker, vt.attached() as source:
        assert metric(broker, "bekend_broker_open_questions") == 1
        for box in boxes:
            await om.release(name, box)
        source.reply = lambda _: None
        running = asyncio.create_task(om.collect(name, 3))
        await until(lambda: source.exchanges.qsize() == 3)
        await broker.stop(0)
        with pytest.raises(BekendError):
            await running
    async with federation.broker(), vt.attached() as source:
        with pytest.raises(StaleError):
            await om.release(name)
        with pytest.raises(StaleError):
            await om.collect(name, 3)
        assert source.exchanges.empty()
        await om.collect(name, 4)


async def test_must_05_two_replicas_pass_a_number_on_once(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (_, first, name):
        replica = await start_broker(federation.config(), federation.clock)
        try:
            there = Party(federation, om.oin, om.tls)
            source = Party(federation, vt.oin, vt.tls, number=vt.number)
            for party in (there, source):
                await party.connect(replica.port)
            async with source.attached() as second:
                tries = await asyncio.gather(
                    *(party.collect(name, 7) for party in (om, there) for _ in range(5)), return_exceptions=True
                )
                assert [isinstance(one, StaleError) for one in tries].count(True) == 9
                await there.collect(name, 8)
                with pytest.raises(StaleError):
                    await om.collect(name, 8)
                assert first.exchanges.qsize() + second.exchanges.qsize() == 2
            await there.close()
            await source.close()
        finally:
            await replica.stop(1)


@pytest.mark.parametrize("kind", ["release", "collect"])
async def test_must_07_what_cannot_be_written_is_not_passed_on(
    federation: Federation, om: Party, vt: Party, kind: str
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        send = partial(om.release, name, bytes(release_box(1)))
        if kind == "collect":
            send = partial(om.collect, name, FIRST_COLLECT)
        await federation.break_once(broker)
        with pytest.raises(StorageError):
            await send()
        assert source.exchanges.empty()
        assert metric(broker, "bekend_broker_storage_faults_total") == 1
        await send()
        assert source.exchanges.qsize() == 1


@pytest.mark.parametrize(("what", "about"), [("federatie", ""), ("doel", ZSM_CONTEXT), ("knooppunt", VEILIG_THUIS.oin)])
async def test_fg_43_what_is_suspended_is_not_passed_on_until_that_is_lifted(
    federation: Federation, om: Party, vt: Party, what: str, about: str
) -> None:
    async with open_question(federation, om, vt) as (_, source, name):
        await publish(om, signed(federation, suspension(federation, what, about)))
        for sending in (om.release(name), om.collect(name, FIRST_COLLECT)):
            with pytest.raises(SuspendedError):
                await sending
        assert source.exchanges.empty()
        await publish(om, signed(federation, suspension(federation, what, about, number=2, lifted=True)))
        await om.release(name)
        await om.collect(name, FIRST_COLLECT)


async def test_fg_43_no_person_is_named_to_who_is_stopped_while_the_number_is_taken(
    federation: Federation, om: Party, vt: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        disk = SlowDisk.under(broker, om, monkeypatch)
        disk.note = signed(federation, suspension(federation, "knooppunt", VEILIG_THUIS.oin))
        with pytest.raises(SuspendedError):
            await om.release(name)
        assert source.exchanges.empty()


async def test_a_suspended_purpose_stops_no_other(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (_, _source, name):
        await publish(om, signed(federation, suspension(federation, "doel", ZVH_WEIGHING)))
        await publish(om, signed(federation, suspension(federation, "knooppunt", POLITIE.oin)))
        await om.release(name)


async def test_an_open_question_outlives_the_version_that_it_was_asked_under(
    federation: Federation, om: Party, vt: Party
) -> None:
    second = write_second(federation)
    async with federation.broker() as broker:
        async with vt.attached():
            name = await ask(om, vt.oin)
            covenants.add(federation.config(), second, federation.clock.now())
            assert await broker.reload()
            await om.release(name)
        covenants.retire(federation.config(), 1, federation.clock.now())
        assert await broker.reload()
        federation.covenant_name = "convenant-2"
        async with vt.attached() as source:
            await om.collect(name, FIRST_COLLECT)
            assert source.exchanges.qsize() == 1


async def test_a_covenant_that_has_ended_ends_its_open_questions_too(
    federation: Federation, om: Party, vt: Party
) -> None:
    today = federation.clock.now().date()

    def until_tonight(folder: Path) -> None:
        for path in (folder / "afspraken.yaml", *(folder / "doelen").iterdir()):
            text = re.sub(r"(geldig_tot_en_met|einddatum): .*", rf"\1: '{today}'", path.read_text("utf-8"))
            path.write_text(text, "utf-8")

    federation.write_covenant(until_tonight)
    async with open_question(federation, om, vt) as (_, source, name):
        await om.collect(name, FIRST_COLLECT)
        federation.clock.advance(timedelta(hours=13))
        for sending in (om.release(name), om.collect(name, FIRST_COLLECT + 1)):
            with pytest.raises(CovenantError):
                await sending
        assert source.exchanges.qsize() == 1


async def test_no_budget_and_no_log_entry_is_used_by_a_release_or_collect(
    federation: Federation, om: Party, vt: Party
) -> None:
    async with open_question(federation, om, vt) as (broker, _, name):
        day = federation.clock.now().date()
        before = broker.log_entries(), broker.store.spent_on(day)
        await om.release(name)
        for number in range(FIRST_COLLECT, 20):
            await om.collect(name, number)
        assert (broker.log_entries(), broker.store.spent_on(day)) == before


async def test_stopping_lets_an_exchange_under_way_end(federation: Federation, om: Party, vt: Party) -> None:
    async with open_question(federation, om, vt) as (broker, source, name):
        running, exchange = await under_way(source, om.collect(name, FIRST_COLLECT))
        stopping = asyncio.create_task(broker.stop(20))
        with pytest.raises(UnreachableError):
            await _without_end(om.directory)
        reply = plain_reply(exchange)
        await source.send(reply)
        assert await running == reply.box
        await stopping
        assert isinstance(await source.ended, UnreachableError)


async def _without_end(call: Callable[[], Any]) -> None:
    while True:
        await call()
