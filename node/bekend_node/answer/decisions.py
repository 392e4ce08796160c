"""What this node decided about a message of another, for the record."""

from dataclasses import replace
from datetime import datetime

from bekend_policy.decide import Decision
from bekend_policy.decided import About, Decided, Judged
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.model import Covenant
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError, SuspendedError
from bekend_proto.filter import class_of_filter
from bekend_proto.v1 import signed_pb2

UNKNOWN = "?"
"""Stands for an organisation that the covenant does not name."""


def refused(
    covenant: Covenant,
    message: signed_pb2.Question | signed_pb2.FetchOrder,
    fault: RefusedError | SuspendedError,
    at: datetime,
) -> Decided:
    """A Question or order that the covenant, or a signed note, does not allow. Its signature was verified before.

    A text of the peer that the covenant does not know is not kept: it could say anything.
    """
    rule = fault.rule if isinstance(fault, RefusedError) else SUSPENDED
    found = decided(message, at, allowed=False, rule=rule)
    return replace(
        found,
        purpose=found.purpose if found.purpose in covenant.purposes else "",
        on_behalf_of=UNKNOWN if found.on_behalf_of not in {None, *covenant.participants} else found.on_behalf_of,
    )


def ordered(order: signed_pb2.FetchOrder, decision: Decision, at: datetime) -> Decided:
    """An order for the filter that is served."""
    return decided(order, at, allowed=True, rule=decision.rule)


def decided(message: signed_pb2.Question | signed_pb2.FetchOrder, at: datetime, *, allowed: bool, rule: str) -> Decided:
    """The facts of a message, and what was decided; also of a Question that was answered, from its row."""
    asks = isinstance(message, signed_pb2.Question)
    trace = message.question_id if isinstance(message, signed_pb2.Question) else message.fetch_id
    return Decided(
        trace=trace,
        at=milliseconds(at),
        about=About.LOOKUP if asks else About.FILTER,
        requester=message.requester,
        purpose=message.purpose,
        on_behalf_of=message.on_behalf_of or None,
        persons=len(message.elements) if isinstance(message, signed_pb2.Question) else 1,
        kind_class=message.kind_class if isinstance(message, signed_pb2.Question) else class_of_filter(message),
        covenant_hash=message.covenant_hash,
        judged=(Judged(message.source, allowed, rule, trace),),
    )
