"""What a release and a collect have in common at the source: whose question, its channel, and the one form of reply.

Whatever fails is a Failure with a code, and the requester has no answer for that moment.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime

from bekend_policy.decide import Asked, decide
from bekend_policy.suspension import Suspensions
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.collecting import seal_collected
from bekend_proto.errors import BekendError, InternalError, RefusedError, StaleError, code_name
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.signed_pb2 import ReleaseState

from bekend_node.answer.pending import Pending, open_pending
from bekend_node.heads import Heads
from bekend_node.keys import NodeKeys
from bekend_node.metrics import NodeMetrics
from bekend_node.rules import RulesInForce
from bekend_node.store import Store


@dataclass(frozen=True)
class Exchanges:
    """Opens what is kept of a question, and replies. Any number at once, on one event loop."""

    keys: NodeKeys
    rules: RulesInForce
    store: Store
    clock: Clock
    metrics: NodeMetrics
    suspensions: Suspensions = field(default_factory=Suspensions)
    heads: Heads = field(default_factory=Heads)

    def pending(self, question_id: bytes, now: datetime) -> Pending:
        """The question that a message is about.

        Raises LogError when the broker's log contradicts itself, StaleError when no question is open under this id,
        SuspendedError when a note suspends it, KeysError.
        """
        self.heads.check()
        kept = self.store.awaiting(question_id)
        if kept is None:
            raise StaleError("no question that a colleague decides on is open under this id")
        pending = open_pending(self.keys.state_box, kept)
        self.check_not_stopped(pending, now)
        return pending

    def check_not_stopped(self, pending: Pending, now: datetime) -> None:
        """Suspended, or stopped by an alarm of the log: from that moment nothing is kept or told.

        Raises SuspendedError, LogError.
        """
        self.heads.check()
        self.suspensions.check(
            self.rules.covenant(),
            pending.purpose,
            now,
            requester=pending.requester,
            source=pending.source,
            principal=pending.on_behalf_of or None,
        )

    def check_may_be_told(self, pending: Pending, now: datetime) -> None:
        """Raise RefusedError once the covenant does not let this requester be told any more: it ended, or its next
        version leaves the partner or the question out.
        """
        rules, named = self.rules.now, bytes.fromhex(pending.covenant)
        covenant = next((one for one in rules.covenants if one.hash == named), rules.covenant)
        asked = Asked(
            requester=pending.requester,
            source=pending.source,
            purpose=pending.purpose,
            on_behalf_of=pending.on_behalf_of or None,
            persons=len(pending.elements),
            kind_class=pending.kind_class,
            covenant_hash=covenant.hash,
        )
        decision = decide(covenant, asked, now)
        if not decision.allowed:
            raise RefusedError(decision.rule, decision.reason)

    def reply(self, pending: Pending, number: int, states: "list[ReleaseState.ValueType]") -> bytes:
        """The source's message with this number: each number is sealed once, its use durable before."""
        return seal_collected(
            pending.open_channel(number),
            self.keys.signing,
            number,
            pending.parties,
            states=states,
            until=pending.until,
        )

    async def answer(
        self, kind: str, exchange_id: bytes, work: Awaitable[bytes]
    ) -> broker_pb2.RoutedCollected | broker_pb2.Failure:
        """The reply that `work` gives, or why there is none; never raises but for cancellation."""
        try:
            box = await work
        except BekendError as fault:
            log(
                logs.EXCHANGE_REFUSED,
                trace=exchange_id.hex(),
                kind=kind,
                code=code_name(fault.code),
                detail=fault.detail,
            )
            self.metrics.refused(fault)
            return broker_pb2.Failure(question_id=exchange_id, code=fault.code)
        except Exception as fault:
            log(logs.ANSWER_FAILED, exception=type(fault).__name__, place=logs.place_of(fault.__traceback__))
            self.metrics.refused(InternalError("unforeseen"))
            return broker_pb2.Failure(question_id=exchange_id, code=InternalError.code)
        self.metrics.exchanged(kind)
        return broker_pb2.RoutedCollected(exchange_id=exchange_id, box=box)
