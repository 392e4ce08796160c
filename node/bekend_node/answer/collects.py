"""(R8) The requester collects: at its fixed moments, with a number that only grows, told what stands there then.

The number is durable before the reply, with what becomes of each person by it: a release that was told can not be
undone, a refusal is final, what is over is erased. The work is the same whatever stands there: every matter is opened,
every client looked for in every register, everything written again at one length.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bekend_proto import logs
from bekend_proto.clock import FRESHNESS, milliseconds
from bekend_proto.collecting import check_collect
from bekend_proto.errors import StaleError
from bekend_proto.group import random_element
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.signed_pb2 import ReleaseState

from bekend_node.answer.exchange import Exchanges
from bekend_node.answer.pending import Pending
from bekend_node.desk.belonging import belongs
from bekend_node.desk.matter import Matter
from bekend_node.desk.matters import Matters
from bekend_node.filters import Filters
from bekend_node.schedule import collect_moment
from bekend_node.store_desk import Exchange
from bekend_node.store_registers import Registers


@dataclass(frozen=True)
class Collects:
    """Replies to collects."""

    exchanges: Exchanges
    matters: Matters
    registers: Registers
    filters: Filters

    async def collect(self, message: broker_pb2.RoutedCollect) -> broker_pb2.RoutedCollected | broker_pb2.Failure:
        """The sealed reply, or why there is none; never raises but for cancellation."""
        return await self.exchanges.answer("collect", message.exchange_id, self._collect(message))

    async def _collect(self, message: broker_pb2.RoutedCollect) -> bytes:
        now = self.exchanges.clock.now()
        pending = self.exchanges.pending(message.question_id, now)
        self.exchanges.check_may_be_told(pending, now)
        check_collect(pending.open_channel(0), message.number, pending.parties.question_hash, message.box)
        interval = timedelta(seconds=pending.interval)
        if now + FRESHNESS < _moment(collect_moment(pending.requester, interval, pending.asked, message.number), now):
            raise StaleError("this collect comes before its moment")
        # (R8): what is told, and its number, durable before the reply.
        states = await self._told(pending, message.number, now)
        log(logs.COLLECTED, trace=pending.id.hex(), requester=pending.requester, purpose=pending.purpose)
        return self.exchanges.reply(pending, message.number + 1, states)

    async def _told(self, pending: Pending, number: int, now: datetime) -> "list[ReleaseState.ValueType]":
        before = self.matters.of(pending.id)
        present = await asyncio.to_thread(self._belonging, pending, before, now)
        is_over = milliseconds(now) >= pending.until
        states: list[ReleaseState.ValueType] = []

        def take(exchange: Exchange, matters: list[Matter]) -> tuple[Exchange, list[Matter]]:
            # Anew: registers were read meanwhile. Who is to be shielded may have been released before that.
            self.filters.check_halt(pending.filter)
            self.exchanges.check_not_stopped(pending, self.exchanges.clock.now())
            self.exchanges.check_may_be_told(pending, self.exchanges.clock.now())
            if number <= exchange.highest:
                raise StaleError("a collect with this number, or a later one, was answered before")
            kept = []
            for matter, then in zip(matters, before, strict=True):
                # Released since the registers were looked into: told at the next moment.
                knows = matter.pseudonym == then.pseudonym and matter.pseudonym in present
                state, after = matter.collected(is_over=is_over, belongs=knows)
                states.append(state)
                kept.append(after)
            return replace(exchange, highest=number), kept

        await self.matters.change(pending.id, take)
        return states

    def _belonging(self, pending: Pending, matters: list[Matter], now: datetime) -> set[bytes]:
        """The pseudonyms that are still clients, and not shielded. For who has none a random one is looked for."""
        # Made for each person, so that the time that takes does not tell who has a pseudonym.
        strangers = [random_element() for _ in matters]
        # The own canary stands in no register, and is told to nobody else.
        own = self.registers.canaries(pending.purpose, pending.epoch) if pending.requester == pending.source else ()
        return {
            matter.pseudonym
            for matter, stranger in zip(matters, strangers, strict=True)
            if matter.pseudonym in own
            or belongs(
                matter.pseudonym or stranger,
                pending.purpose,
                pending.epoch,
                rules=self.exchanges.rules.now,
                registers=self.registers,
                now=now,
            )
        }


def _moment(seconds: int, now: datetime) -> datetime:
    return datetime.fromtimestamp(seconds, now.tzinfo)
