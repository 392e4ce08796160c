"""What the broker decided about questions and orders, for the record: organisations, purpose, moment and rule.

Nothing of what it evaluates stands in it. A text of a peer that the covenant does not know is not kept: it could say
anything.
"""

from collections.abc import Sequence
from datetime import datetime

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.decided import About, Decided, Judged, judged
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.model import Covenant
from bekend_proto.clock import milliseconds
from bekend_proto.errors import BekendError, RefusedError, SuspendedError
from bekend_proto.filter import class_of_filter
from bekend_proto.v1.signed_pb2 import KIND_CLASS_CERTAIN, Begin, FetchOrder, KindClass

from bekend_broker.present import Present

UNKNOWN = "?"
"""Stands for an organisation that the covenant does not name."""


def rule_of(fault: BekendError) -> str | None:
    """The rule behind a refusal by covenant or signed note; None for any other fault."""
    if isinstance(fault, RefusedError):
        return fault.rule
    return SUSPENDED if isinstance(fault, SuspendedError) else None


def of_begin(
    covenant: Covenant,
    begin: Begin,
    decisions: Sequence[Judged],
    now: datetime,
    kind_class: "KindClass.ValueType" = KIND_CLASS_CERTAIN,
) -> Decided:
    """A lookup: what was decided about each of its Questions, which are of this class."""
    return _decided(covenant, begin, decisions, now, kind_class)


def of_refused_begin(present: Present, begin: Begin, fault: BekendError, now: datetime) -> Decided:
    """A Begin that may be followed by no Question: what would have been decided about each source of its purpose.

    By a number: nothing says yet by what it would have been asked.
    """
    covenant = present.under(begin.covenant_hash)
    others = [oin for oin in covenant.sources(begin.purpose) or covenant.participants if oin != begin.requester]
    suspended = isinstance(fault, SuspendedError)
    found = [
        Judged(oin, False, SUSPENDED) if suspended else judged(oin, _decide(covenant, begin, oin, now))
        for oin in others
    ]
    # Where one was allowed, it was refused in a mode that is not routed: the fault says which.
    found = [one if not one.allowed else Judged(one.source, False, rule_of(fault) or one.rule) for one in found]
    return of_begin(covenant, begin, found, now)


def of_order(covenant: Covenant, order: FetchOrder, now: datetime, *, allowed: bool, rule: str) -> Decided:
    """An order for a filter, allowed or refused."""
    source = order.source if order.source in covenant.participants else UNKNOWN
    one = Judged(source, allowed, rule, order.fetch_id)
    return _decided(covenant, order, [one], now, class_of_filter(order))


def _decide(covenant: Covenant, begin: Begin, source: str, now: datetime) -> Decision:
    asked = Asked(
        begin.requester,
        source,
        begin.purpose,
        begin.on_behalf_of or None,
        len(begin.elements),
        KIND_CLASS_CERTAIN,
        covenant.hash,
    )
    return decide(covenant, asked, now)


def _decided(
    covenant: Covenant,
    message: Begin | FetchOrder,
    decisions: Sequence[Judged],
    now: datetime,
    kind_class: "KindClass.ValueType",
) -> Decided:
    principal = message.on_behalf_of
    begins = isinstance(message, Begin)
    return Decided(
        trace=message.begin_id if isinstance(message, Begin) else message.fetch_id,
        at=milliseconds(now),
        about=About.LOOKUP if begins else About.FILTER,
        requester=message.requester,
        purpose=message.purpose if message.purpose in covenant.purposes else "",
        on_behalf_of=None if not principal else principal if principal in covenant.participants else UNKNOWN,
        persons=len(message.elements) if isinstance(message, Begin) else 1,
        kind_class=kind_class,
        covenant_hash=covenant.hash,
        judged=tuple(decisions),
    )
