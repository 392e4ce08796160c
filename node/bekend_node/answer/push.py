"""Sending the closed filter to a requester that the covenant admits, end to end encrypted (protocol section 6)."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
from bekend_policy.suspension import Suspensions
from bekend_proto import logs
from bekend_proto.clock import REPLAY_MEMORY, Clock, is_fresh
from bekend_proto.errors import (
    BekendError,
    DeadlineError,
    InternalError,
    RefusedError,
    StaleError,
    SuspendedError,
    code_name,
    from_rpc_error,
)
from bekend_proto.filter import class_of_filter
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.answer import decisions
from bekend_node.answer.evaluate import Channel
from bekend_node.answer.question import check_admitted, open_fetch
from bekend_node.broker_link import BrokerLink
from bekend_node.classes import name_of
from bekend_node.directory import Directory
from bekend_node.filters import Filters
from bekend_node.heads import Heads
from bekend_node.rules import RulesInForce
from bekend_node.serving import Serving
from bekend_node.store import Store

PIECE = 64 * 1024
PUSH_SECONDS = 120.0
AT_ONCE = 8
"""Filters under way at once; more wait."""
EACH = 2
"""Of these to one requester: whoever orders many, or reads slowly, keeps nobody else's filter waiting."""
WAIT_SECONDS = 5.0
"""How long an order waits: after this the broker has given up on it. Orders that pile up would keep questions out."""


@dataclass
class Pusher:
    """Sends filters when told. A fault is told to the requester as a code, over the same stream."""

    rules: RulesInForce
    directory: Directory
    filters: Filters
    store: Store
    clock: Clock
    suspensions: Suspensions = field(default_factory=Suspensions)
    heads: Heads = field(default_factory=Heads)
    _seen: dict[bytes, int] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def push(self, order: broker_pb2.PushOrder, link: BrokerLink) -> None:
        """Check an order and send the present filter over a stream of its own. Never raises but for cancellation."""
        claim = _claim(order.order)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await held.enter_async_context(self._turn_of(claim.requester))
                    await held.enter_async_context(self._slots)
            except TimeoutError:
                late = DeadlineError("too many filters are under way: this order had to wait too long")
                _log_refusal(claim, late)
                return
            await self._push(order, claim, link)

    def _turn_of(self, requester: str) -> asyncio.Semaphore:
        """The places of one requester; of all names that the covenant does not know, together."""
        name = requester if requester in self.rules.now.covenant.participants else ""
        return self._turns.setdefault(name, asyncio.Semaphore(EACH))

    async def _push(self, order: broker_pb2.PushOrder, claim: signed_pb2.FetchOrder, link: BrokerLink) -> None:
        try:
            serving, channel, fetch = await self._check(order.order)
            header = self.filters.header_for(serving, fetch.covenant_hash)
            await _send(link, _pieces(fetch, header, serving, channel))
        except BekendError as fault:
            _log_refusal(claim, fault)
            await _refuse(link, claim.fetch_id, fault)
            return
        except Exception as fault:
            log(logs.ANSWER_FAILED, exception=type(fault).__name__, place=logs.place_of(fault.__traceback__))
            await _refuse(link, claim.fetch_id, InternalError("the filter could not be sent"))
            return
        log(
            logs.PUSHED,
            requester=fetch.requester,
            purpose=fetch.purpose,
            kinds=name_of(serving.id.kind_class),
            version=serving.version,
            tags=serving.header.tags,
        )

    async def _check(self, signed: signed_pb2.Signed) -> tuple[Serving, Channel, signed_pb2.FetchOrder]:
        self.heads.check()
        now = self.clock.now()
        rules = self.rules.now
        fetch = await open_fetch(signed, self.directory)
        try:
            covenant, decision = check_admitted(fetch, rules, self.suspensions, now)
        except (RefusedError, SuspendedError) as fault:
            await self.store.keep_decision(decisions.refused(rules.under(fetch.covenant_hash), fetch, fault, now).row())
            raise
        # In memory is enough: what a replay brings is sealed to keys that its sender does not have.
        self._seen = {name: time for name, time in self._seen.items() if is_fresh(time, now, REPLAY_MEMORY)}
        if fetch.fetch_id in self._seen:
            raise StaleError("this fetch was served before")
        self._seen[fetch.fetch_id] = fetch.time
        await self.store.keep_decision(decisions.ordered(fetch, decision, now).row())
        serving = self.filters.serving(fetch.purpose, covenant, kind_class=class_of_filter(fetch))
        channel = Channel.to_requester(fetch.requester, fetch.source, fetch.fetch_id, fetch.x25519, fetch.mlkem)
        return serving, channel, fetch


def _pieces(
    fetch: signed_pb2.FetchOrder, header: signed_pb2.Signed, serving: Serving, channel: Channel
) -> Iterator[broker_pb2.PushRequest]:
    box = channel.open.seal_to_requester(0, header.SerializeToString(deterministic=True))
    first = broker_pb2.FilterPiece(x25519=channel.x25519, mlkem=channel.mlkem, box=box)
    if serving.by_hand:
        yield broker_pb2.PushRequest(fetch_id=fetch.fetch_id, piece=first)
        return
    # Mapped before anything is awaited: a switch meanwhile takes the file away, not what is mapped of it.
    with serving.body() as body:
        yield broker_pb2.PushRequest(fetch_id=fetch.fetch_id, piece=first)
        for number, start in enumerate(range(0, len(body), PIECE), start=1):
            box = channel.open.seal_to_requester(number, body[start : start + PIECE])
            yield broker_pb2.PushRequest(piece=broker_pb2.FilterPiece(box=box))


async def _send(link: BrokerLink, pieces: Iterator[broker_pb2.PushRequest]) -> None:
    call = link.stub.Push(timeout=PUSH_SECONDS)
    try:
        for piece in pieces:
            await call.write(piece)
        await call.done_writing()
        await call
    except asyncio.InvalidStateError:
        # The broker ended the stream: the requester went away, or the order had lapsed.
        raise StaleError("the broker wanted no more of this filter") from None
    except grpc.RpcError as fault:
        raise from_rpc_error(fault) from fault
    finally:
        call.cancel()


async def _refuse(link: BrokerLink, fetch_id: bytes, fault: BekendError) -> None:
    call = link.stub.Push(timeout=PUSH_SECONDS)
    try:
        await call.write(broker_pb2.PushRequest(fetch_id=fetch_id, failure=fault.code))
        await call.done_writing()
        await call
    except (grpc.RpcError, asyncio.InvalidStateError):
        # Whoever waited is gone; the reason stands in the log.
        return
    finally:
        call.cancel()


def _log_refusal(claim: signed_pb2.FetchOrder, fault: BekendError) -> None:
    log(
        logs.PUSH_REFUSED,
        requester=claim.requester,
        purpose=claim.purpose[:100],
        code=code_name(fault.code),
        detail=fault.detail,
    )


def _claim(signed: signed_pb2.Signed) -> signed_pb2.FetchOrder:
    try:
        return signed_pb2.FetchOrder.FromString(signed.payload)
    except Exception:
        return signed_pb2.FetchOrder()
