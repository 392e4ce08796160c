"""What this node decided about a lookup of its own, for the record: the facts without what an officer typed."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from bekend_policy.decided import About, Decided, Judged, Stated, attested_ids
from bekend_policy.decision_log import OUTSIDE
from bekend_policy.model import Covenant
from bekend_proto.clock import day_of, milliseconds
from bekend_proto.decision_table import DecisionRow
from bekend_proto.errors import RefusedError
from bekend_proto.v1 import signed_pb2

from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.consent import Consent
from bekend_node.ask.rules import Inquiry, judge


def row(
    covenant: Covenant, oin: str, inquiry: Inquiry, trace: bytes, judged: Sequence[Judged], *, at: datetime, key: bytes
) -> DecisionRow:
    """The row of a lookup that was planned. `key` hashes the case reference."""
    return _decided(covenant, oin, inquiry, trace, judged, at=at, key=key).row()


def refusal(
    covenant: Covenant,
    oin: str,
    inquiry: Inquiry,
    fault: RefusedError,
    *,
    at: datetime,
    key: bytes,
    consents: Mapping[str, Consent],
) -> DecisionRow:
    """The row of a lookup that the own rules refused as a whole: each source under the rule that refused it."""
    chosen = [one for one in dict.fromkeys(inquiry.sources) if one in covenant.participants] or [oin]
    if fault.rule in OUTSIDE:
        judged = [Judged(one, False, fault.rule) for one in chosen]
    else:
        judged = [judge(covenant, oin, one, inquiry, now=at, consents=consents) for one in chosen]
    purpose = covenant.purposes.get(inquiry.purpose)
    kept = inquiry.settled(purpose, day_of(at)) if purpose is not None else inquiry
    return _decided(covenant, oin, kept, secrets.token_bytes(16), judged, at=at, key=key).row()


def _decided(
    covenant: Covenant, oin: str, inquiry: Inquiry, trace: bytes, judged: Sequence[Judged], *, at: datetime, key: bytes
) -> Decided:
    purpose = covenant.purposes.get(inquiry.purpose)
    mandated = inquiry.on_behalf_of if inquiry.on_behalf_of in covenant.participants else None
    return Decided(
        trace=trace,
        at=milliseconds(at),
        about=About.LOOKUP,
        requester=oin,
        # What is no purpose of the covenant was typed by somebody, and is not kept.
        purpose=purpose.id if purpose else "",
        on_behalf_of=mandated,
        persons=len(inquiry.persons),
        kind_class=signed_pb2.KIND_CLASS_CERTAIN,
        covenant_hash=covenant.hash,
        judged=tuple(judged),
        stated=Stated(
            user=inquiry.officer.user,
            role=inquiry.officer.role,
            kind=inquiry.persons[0].kind if inquiry.persons else "",
            attested=attested_ids(purpose, inquiry.attested),
            chosen=len(inquiry.sources),
            case=case_tag(key, inquiry.case_reference),
            second=inquiry.second.user if inquiry.second else "",
        ),
    )
