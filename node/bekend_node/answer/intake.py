"""(R3) Persons are named: what names them is kept, sealed and durable, and the reply is always the same.

    broker                              source
      | RoutedRelease{D per person} ----->| signature, channel, number, ten minutes, the m of its filter
      |                                   | every D sealed in desk.db, durable; then
      |<------- Collected{waiting} -------| the same work and reply, whoever is named

Nothing is compared here: that is for a process of its own, afterwards (must-list 10). A withdrawal is a message of the
same length; it ends what is open, and its reply is kept, so that one that got lost can be sent again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bekend_proto import logs
from bekend_proto.clock import milliseconds
from bekend_proto.collecting import NAMES, WITHDRAWS, open_release_box
from bekend_proto.errors import StaleError
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.answer.exchange import Exchanges
from bekend_node.answer.pending import Pending
from bekend_node.desk.matter import Matter, Stage
from bekend_node.desk.matters import Matters
from bekend_node.directory import Directory
from bekend_node.filters import Filters
from bekend_node.schedule import RELEASE_SECONDS
from bekend_node.store_desk import Exchange


@dataclass(frozen=True)
class Intake:
    """Takes releases and withdrawals. `named` is called when something waits to be compared."""

    exchanges: Exchanges
    directory: Directory
    filters: Filters
    matters: Matters
    named: Callable[[], None]

    async def release(self, message: broker_pb2.RoutedRelease) -> broker_pb2.RoutedCollected | broker_pb2.Failure:
        """The sealed reply, or why there is none; never raises but for cancellation."""
        return await self.exchanges.answer("release", message.exchange_id, self._release(message))

    async def _release(self, message: broker_pb2.RoutedRelease) -> bytes:
        now = self.exchanges.clock.now()
        pending = self.exchanges.pending(message.question_id, now)
        manifest = await self.directory.require(pending.requester)
        kind, messages = open_release_box(pending.open_channel(0), manifest.signing_keys, pending.parties, message.box)
        if kind == signed_pb2.RELEASE_KIND_WITHDRAWS:
            return await self._withdraw(pending)
        # Anew: the directory may have been asked meanwhile.
        self.exchanges.check_not_stopped(pending, now)
        # (R3): kept and durable before the reply, whatever it is.
        await self._keep(pending, messages, now)
        self.named()
        log(
            logs.RELEASE_KEPT,
            trace=pending.id.hex(),
            requester=pending.requester,
            purpose=pending.purpose,
            persons=len(messages),
        )
        return self._waiting(pending, NAMES + 1)

    async def _keep(self, pending: Pending, messages: Sequence[bytes], now: datetime) -> None:
        if milliseconds(now) - pending.asked > 1000 * RELEASE_SECONDS:
            raise StaleError("the persons are named too late: at most ten minutes after the question")
        self.exchanges.check_may_be_told(pending, now)
        # Each raises NotReadyError: stopped until the next switch, or nothing left to compare with.
        self.filters.check_halt(pending.filter)
        self.filters.by_hand(pending.filter, pending.version)
        exchange = Exchange(pending.id, pending.until, pending.purpose, pending.version, kind_class=pending.kind_class)
        await self.matters.begin(exchange, messages)

    async def _withdraw(self, pending: Pending) -> bytes:
        reply = self._waiting(pending, WITHDRAWS + 1)

        def end(exchange: Exchange, kept: list[Matter]) -> tuple[Exchange, list[Matter]]:
            if exchange.is_withdrawn:
                return exchange, kept
            # What waits for the privacy officer goes on waiting: it is not the person's.
            ended = [one if one.stage is Stage.MISNAMED else one.erased() for one in kept]
            return replace(exchange, withdrawal=reply, compared=True), ended

        exchange = await self.matters.change(pending.id, end)
        log(logs.RELEASE_WITHDRAWN, trace=pending.id.hex(), requester=pending.requester, purpose=pending.purpose)
        # That of the first time: a number of a channel seals one message.
        return exchange.withdrawal

    def _waiting(self, pending: Pending, number: int) -> bytes:
        states = [signed_pb2.RELEASE_STATE_WAITING] * pending.parties.persons
        return self.exchanges.reply(pending, number, states)
