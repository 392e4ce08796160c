"""The requester's own record of a lookup, sealed to its own privacy officer before it touches a disk (section 8).

Two records per lookup, under the id of its Begin, and one per Question whose answer came later, under its own id:

    lookup     officer, case, purpose; identifiers, seed, salts, Begin, Begun: durable before a Question leaves
    outcomes   what came, per partner and person: written at the end
    late       what came of what was in behandeling then, per person, and when: written when the term is over

All are JSON, filled up with spaces: the length of a sealed record must not tell an identifier's or an outcome's, so
every outcome takes the same room.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bekend_policy.manifest import KeyManifest
from bekend_proto.errors import KeysError
from bekend_proto.identifiers import MOST_LETTERS, Identifier
from bekend_proto.v1 import broker_pb2, signed_pb2
from google.protobuf.message import Message
from nacl.public import PublicKey, SealedBox

from bekend_node.ask.blinds import Blinds
from bekend_node.ask.consent import Consent
from bekend_node.ask.messages import Facts, Pending
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.pending import PendingQuestion
from bekend_node.ask.rules import Inquiry
from bekend_node.classes import POSSIBLE, wire_class
from bekend_node.store_own import OwnRecord

KIND_LOOKUP: Final = "lookup"
KIND_OUTCOMES: Final = "outcomes"
KIND_LATE: Final = "late"
KIND_LAPSED: Final = "lapsed"
ROOM: Final = 1024
"""Records are a multiple of this long."""
OfficerBox = SealedBox[PublicKey]
"""Seals to a privacy officer; opens nothing."""
_WIDTH: Final = 16
"""Characters that every outcome takes; dates take ten."""
_NUMBER: Final = 18
"""Characters that the value of any number takes."""
_COMBINATION: Final = 2 * MOST_LETTERS + 32
"""The same of a combination: two names, a date, an address."""


def officer_box(manifest: KeyManifest) -> OfficerBox:
    """Seals to the own privacy officer. Raises KeysError when the manifest names none: no record, no question."""
    if manifest.privacy_officer is None:
        raise KeysError("the own key manifest names no privacy officer: without a record no question may be asked")
    return SealedBox(PublicKey(manifest.privacy_officer))


def lookup_record(
    box: OfficerBox,
    begin_id: bytes,
    facts: Facts,
    *,
    inquiry: Inquiry,
    secret: Blinds,
    exchanged: tuple[signed_pb2.Signed, broker_pb2.Begun],
    pending: Iterable[Pending],
    consents: Mapping[str, Consent],
) -> OwnRecord:
    """All that an audit needs to make `A0`, `A_i`, `U` and `E_i` again, byte for byte.

    Values of identifiers stand behind spaces, to one width for all kinds of a class.
    """
    begin, begun = exchanged
    content = {
        "kind": "bekend/1 lookup",
        "begin_id": begin_id.hex(),
        "time": facts.time.isoformat(),
        "officer": inquiry.officer.user,
        "officer_name": inquiry.officer.name,
        "role": inquiry.officer.role,
        "second": inquiry.second.user if inquiry.second else None,
        "second_name": inquiry.second.name if inquiry.second else None,
        "emergency": inquiry.emergency or None,
        "case": inquiry.case_reference,
        "justification": inquiry.justification,
        **({"reasons": list(inquiry.reasons)} if any(inquiry.reasons) else {}),
        "attested": sorted(inquiry.attested),
        "requester": facts.requester,
        "on_behalf_of": inquiry.on_behalf_of,
        "purpose": inquiry.purpose,
        "covenant_hash": facts.covenant_hash.hex(),
        "identifiers": [{"kind": one.kind, "value": one.value.rjust(_room(one))} for one in secret.identifiers],
        "seed": secret.seed.hex(),
        "begin": _base64(begin),
        "begun": _base64(begun),
        "questions": [
            {
                "source": one.source.oin,
                "question_id": one.question_id.hex(),
                "question_hash": one.question_hash.hex(),
                "case_salt": one.salt.hex(),
                "consent": consents[one.source.oin].reference if one.source.oin in consents else None,
            }
            for one in pending
        ],
    }
    return OwnRecord(begin_id, KIND_LOOKUP, _seal(box, content))


def committed_officers(user: str, second: str | None) -> str:
    """Who stands in the commitment of a Question: the officer, and on a line below who agreed beforehand (FG-37)."""
    return user if second is None else f"{user}\n{second}"


def outcomes_record(box: OfficerBox, begin_id: bytes, expires: int, outcomes: Iterable[Outcome]) -> OwnRecord:
    """What came of the lookup; `expires` is the end of the result's lifetime, in milliseconds."""
    content = {
        "kind": "bekend/1 outcomes",
        "begin_id": begin_id.hex(),
        "expires": expires,
        "outcomes": [
            {
                "source": one.oin,
                "person": one.person,
                "outcome": one.outcome.value.ljust(_WIDTH),
                "as_of": one.as_of or "-" * 10,
            }
            for one in sorted(outcomes, key=lambda one: (one.oin, one.person))
        ],
    }
    return OwnRecord(begin_id, KIND_OUTCOMES, _seal(box, content))


def late_record(box: OfficerBox, one: PendingQuestion, kind: str = KIND_LATE) -> OwnRecord:
    """What came of one Question after the lookup had ended; moments are milliseconds since 1970.

    `kind`: KIND_LATE at its end, KIND_LAPSED when its case was not taken in.
    """
    content = {
        "kind": f"bekend/1 {kind}",
        "begin_id": one.begin_id.hex(),
        "question_id": one.question_id.hex(),
        "source": one.source,
        "asked": one.asked,
        "until": one.until,
        "outcomes": [
            {"person": person, "outcome": told.value.ljust(_WIDTH), "at": at}
            for person, (told, at) in enumerate(one.told)
        ],
    }
    return OwnRecord(one.question_id, kind, _seal(box, content))


def _seal(box: OfficerBox, content: dict[str, Any]) -> bytes:
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return box.encrypt(data.ljust(-(-len(data) // ROOM) * ROOM))


def _room(identifier: Identifier) -> int:
    return _COMBINATION if wire_class(identifier.kind) == POSSIBLE else _NUMBER


def _base64(message: Message) -> str:
    return base64.b64encode(message.SerializeToString(deterministic=True)).decode("ascii")
