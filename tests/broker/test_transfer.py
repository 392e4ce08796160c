"""A filter on its way: passed on unread, in order, to who ordered it and from who was ordered (protocol section 6)."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from bekend_deploy.partners import HAARLEM, POLITIE, RECLASSERING, VEILIG_THUIS, VELSEN, ZSM_CONTEXT
from bekend_proto.clock import milliseconds
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    CovenantError,
    KeysError,
    MalformedError,
    NotReadyError,
    RefusedError,
    StaleError,
    UnknownPartnerError,
    UnreachableError,
)
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2

from tests.support.federation import Attached, Federation, Party, told

KIB = 1024


def pieces(count: int, size: int = 64 * KIB + 16) -> list[broker_pb2.FilterPiece]:
    """Pieces as a source seals them: to the broker they are random octets."""
    first = broker_pb2.FilterPiece(
        x25519=secrets.token_bytes(32), mlkem=secrets.token_bytes(1088), box=secrets.token_bytes(300)
    )
    return [first, *(broker_pb2.FilterPiece(box=secrets.token_bytes(size)) for _ in range(count - 1))]


async def fetch_id(source: Attached) -> bytes:
    """The id of the next order that a source is given."""
    order = await source.orders.get()
    return signed_pb2.FetchOrder.FromString(order.order.payload).fetch_id


async def push(party: Party, name: bytes, what: Iterable[broker_pb2.FilterPiece]) -> None:
    async def requests() -> AsyncIterator[broker_pb2.PushRequest]:
        for index, piece in enumerate(what):
            yield broker_pb2.PushRequest(fetch_id=b"" if index else name, piece=piece)

    await told(party.stub.Push(requests()))


async def test_a_filter_arrives_as_it_was_sent(federation: Federation, om: Party, politie: Party) -> None:
    sent = pieces(9)
    async with federation.broker() as broker, politie.attached() as source:
        fetching = asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT))
        await push(politie, await fetch_id(source), sent)
        assert await fetching == sent
        assert broker.log_entries() == 1


async def test_a_source_gets_the_order_as_it_was_signed(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        signed = om.sign(om.order(politie.oin, ZSM_CONTEXT))
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=signed))
        assert (await source.orders.get()).order == signed
        call.cancel()


async def test_two_filters_at_once_do_not_mix(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    one, other = pieces(6), pieces(6)
    async with federation.broker(), politie.attached() as police, reclassering.attached() as probation:
        fetching = [
            asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT)),
            asyncio.create_task(om.fetch(reclassering.oin, ZSM_CONTEXT)),
        ]
        await asyncio.gather(
            push(politie, await fetch_id(police), one), push(reclassering, await fetch_id(probation), other)
        )
        assert await asyncio.gather(*fetching) == [one, other]


REFUSALS: list[tuple[type[BekendError], Callable[[Federation], dict[str, Any]]]] = [
    (UnknownPartnerError, lambda f: {"requester": VELSEN.oin}),
    (CovenantError, lambda f: {"covenant_hash": bytes(32)}),
    (StaleError, lambda f: {"time": milliseconds(f.clock.now() - timedelta(seconds=61))}),
    (KeysError, lambda f: {"requester_manifest": 2}),
    (RefusedError, lambda f: {"purpose": "demo/bestaat-niet"}),
    (RefusedError, lambda f: {"source": HAARLEM.oin}),
    (RefusedError, lambda f: {"on_behalf_of": VELSEN.oin}),
    (MalformedError, lambda f: {"fetch_id": bytes(15)}),
    (UnreachableError, lambda f: {"source": RECLASSERING.oin}),
    (UnreachableError, lambda f: {"source": VEILIG_THUIS.oin}),
]


@pytest.mark.parametrize(("refusal", "change"), REFUSALS)
async def test_an_order_that_does_not_fit_is_refused(
    federation: Federation,
    om: Party,
    politie: Party,
    refusal: type[BekendError],
    change: Callable[[Federation], dict[str, Any]],
) -> None:
    async with federation.broker() as broker, politie.attached() as source:
        order = om.order(POLITIE.oin, ZSM_CONTEXT)
        for name, value in change(federation).items():
            setattr(order, name, value)
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(order)))
        with pytest.raises(refusal):
            await told(call.read())
        assert source.orders.empty()
        assert broker.log_entries() == 0


async def test_must_05_an_order_is_taken_once(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        request = broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT)))
        first = om.stub.Fetch(request)
        await fetch_id(source)
        with pytest.raises(StaleError):
            await told(om.stub.Fetch(request).read())
        first.cancel()


async def test_must_04_a_filter_from_another_source_is_refused(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    sent = pieces(2)
    async with federation.broker(), politie.attached() as source:
        fetching = asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT))
        name = await fetch_id(source)
        with pytest.raises(StaleError):
            await push(reclassering, name, pieces(2))
        await push(politie, name, sent)
        assert await fetching == sent


async def test_a_filter_that_nobody_ordered_is_refused(federation: Federation, politie: Party) -> None:
    async with federation.broker():
        with pytest.raises(StaleError):
            await push(politie, secrets.token_bytes(16), pieces(1))
        with pytest.raises(StaleError):
            await push(politie, b"", pieces(1))


async def test_a_second_push_for_one_order_is_refused(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT))))
        name = await fetch_id(source)
        pushing = politie.stub.Push()
        await pushing.write(broker_pb2.PushRequest(fetch_id=name, piece=pieces(1)[0]))
        await told(call.read())
        with pytest.raises(StaleError):
            await push(politie, name, pieces(1))
        await pushing.done_writing()
        assert await told(call.read()) is grpc.aio.EOF


async def test_a_source_that_has_no_filter_says_so(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        fetching = asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT))
        call = politie.stub.Push()
        failure = broker_pb2.PushRequest(fetch_id=await fetch_id(source), failure=errors_pb2.ERROR_CODE_NOT_READY)
        await call.write(failure)
        await call.done_writing()
        with pytest.raises(NotReadyError):
            await fetching


async def test_a_source_that_does_not_dial_is_unreachable(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(reply_seconds=0.1), politie.attached():
        with pytest.raises(UnreachableError):
            await om.fetch(politie.oin, ZSM_CONTEXT)


async def test_a_source_that_breaks_off_ends_the_transfer(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT))))
        pushing = politie.stub.Push()
        await pushing.write(broker_pb2.PushRequest(fetch_id=await fetch_id(source), piece=pieces(1)[0]))
        await told(call.read())
        pushing.cancel()
        # The requester gets an error or an early end; the signed header says how many tags there should have been.
        with contextlib.suppress(UnreachableError):
            assert await told(call.read()) is grpc.aio.EOF


async def test_a_source_that_falls_silent_gives_no_whole_filter(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(piece_seconds=0.1), politie.attached() as source:
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT))))
        pushing = politie.stub.Push()
        await pushing.write(broker_pb2.PushRequest(fetch_id=await fetch_id(source), piece=pieces(1)[0]))
        await told(call.read())
        with pytest.raises(UnreachableError):
            await told(call.read())


async def test_a_requester_that_leaves_ends_the_push(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached() as source:
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT))))
        pushing = politie.stub.Push()
        await pushing.write(broker_pb2.PushRequest(fetch_id=await fetch_id(source), piece=pieces(1)[0]))
        await told(call.read())
        call.cancel()
        more = broker_pb2.PushRequest(piece=broker_pb2.FilterPiece(box=bytes(64 * KIB)))
        with pytest.raises(UnreachableError):
            await _write_without_end(pushing, more)


async def _write_without_end(stream: Any, message: broker_pb2.PushRequest) -> None:
    while True:
        try:
            await stream.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError):
            await told(stream)


async def test_a_requester_that_does_not_read_slows_its_source_down(
    federation: Federation, om: Party, politie: Party
) -> None:
    """Everybody's buffers together hold a few MiB: a source that would send 64 MiB stops long before."""
    async with federation.broker(), politie.attached() as source:
        call = om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT))))
        name = await fetch_id(source)
        sent = 0
        stalled = asyncio.Event()
        what = pieces(1024)

        async def pushing() -> None:
            nonlocal sent
            stream = politie.stub.Push()
            for index, piece in enumerate(what):
                message = broker_pb2.PushRequest(fetch_id=b"" if index else name, piece=piece)
                writing = asyncio.ensure_future(stream.write(message))
                done, _ = await asyncio.wait({writing}, timeout=0.3)
                if not done:
                    stalled.set()
                await writing
                sent += 1
            await stream.done_writing()
            await stream

        task = asyncio.create_task(pushing())
        await stalled.wait()
        assert sent < 512
        received = []
        while (message := await told(call.read())) is not grpc.aio.EOF:
            received.append(message.piece)
        assert received == what
        await task


EVIL_PIECES: list[Callable[[list[broker_pb2.FilterPiece]], None]] = [
    lambda p: p[0].ClearField("x25519"),
    lambda p: p[0].ClearField("mlkem"),
    lambda p: p[0].ClearField("box"),
    lambda p: p[1].ClearField("box"),
    lambda p: setattr(p[1], "x25519", bytes(32)),
    lambda p: setattr(p[1], "box", bytes(64 * KIB + 17)),
]


@pytest.mark.parametrize("spoil", EVIL_PIECES)
async def test_pieces_of_impossible_form_end_the_transfer(
    federation: Federation, om: Party, politie: Party, spoil: Callable[[list[broker_pb2.FilterPiece]], None]
) -> None:
    async with federation.broker(), politie.attached() as source:
        fetching = asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT))
        name, sent = await fetch_id(source), pieces(3)
        spoil(sent)
        with pytest.raises(MalformedError):
            await push(politie, name, sent)
        with pytest.raises(UnreachableError):
            await fetching


async def test_a_requester_that_asks_for_many_filters_at_once_has_no_more_on_their_way(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(fetches_per_requester=2), politie.attached() as source:
        calls = [
            om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT)))) for _ in range(9)
        ]
        reading = [asyncio.ensure_future(told(call.read())) for call in calls]
        done, waiting = await asyncio.wait(reading, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
        while len(done) < 7:
            more, waiting = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
            assert more
            done |= more
        assert {type(one.exception()) for one in done} == {BudgetError}
        for _ in waiting:
            await source.orders.get()
        assert source.orders.empty()
        for call in calls:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_requester_has_so_many_filters_on_their_way(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(fetches_per_requester=2), politie.attached() as source:
        calls = [
            om.stub.Fetch(broker_pb2.FetchRequest(order=om.sign(om.order(politie.oin, ZSM_CONTEXT)))) for _ in range(2)
        ]
        for _ in calls:
            await source.orders.get()
        with pytest.raises(BudgetError):
            await om.fetch(politie.oin, ZSM_CONTEXT)
        for call in calls:
            call.cancel()
