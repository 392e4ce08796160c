"""The reply to an access request: `u * r * x` per month with its proof, and from it `U` (RFC 9497 section 3.3.2).

The file comes over a node and a broker that need not be believed: each month's proof must hold for the element of this
very request, under the key that the broker's manifest names for that month. A reply to somebody else's request, an
older one, or one that was changed holds no proof about this element.
"""

from collections.abc import Mapping
from typing import Final

from bekend_proto import dleq, oprf
from bekend_proto.channel import parse_strict
from bekend_proto.clock import month_start
from bekend_proto.errors import KeysError, MalformedError, ProofError
from bekend_proto.group import decode_element
from bekend_proto.v1 import broker_pb2

from bekend_node.records.files import StrictFile, file_bytes, from_base64, parse_file, to_base64
from bekend_node.records.request import Asked

KIND: Final = "bekend/1 access-reply"


class _ReplyFile(StrictFile):
    request_hash: str
    response: str


def reply_bytes(request_hash: bytes, response: broker_pb2.AccessResponse) -> bytes:
    """The file of a reply."""
    serialised = response.SerializeToString(deterministic=True)
    return file_bytes(KIND, request_hash=request_hash.hex(), response=to_base64(serialised))


def parse_reply(data: bytes) -> tuple[str, broker_pb2.AccessResponse]:
    """Hash of the request (hex) and the response. Nothing is verified yet. Raises MalformedError."""
    file = parse_file(data, _ReplyFile, KIND)
    response = parse_strict(broker_pb2.AccessResponse, from_base64(file.response))
    months = [one.month for one in response.months]
    if not months or months != sorted(set(months)):
        raise MalformedError("het antwoord noemt geen maand, of een maand tweemaal: het is beschadigd of veranderd")
    return file.request_hash, response


def finish(asked: Asked, data: bytes, record_keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """`U` per month for the person of this request, every proof verified.

    `record_keys`: month -> `u * G` of the broker's manifest. Raises MalformedError, KeysError (a month that the
    manifest does not name), ProofError.
    """
    named, response = parse_reply(data)
    if named != asked.request_hash.hex():
        raise ProofError("dit antwoord hoort bij een ander verzoek: neem het antwoord dat bij dit geheim hoort")
    return {one.month: _finish_month(asked, one, record_keys) for one in response.months}


def _finish_month(asked: Asked, one: broker_pb2.AccessMonth, record_keys: Mapping[str, bytes]) -> bytes:
    public = record_keys.get(_month(one.month))
    if public is None:
        raise KeysError(
            f"het sleuteloverzicht van de makelaar noemt geen sleutel voor {one.month}: maak een nieuwe export"
        )
    try:
        evaluated = decode_element(one.evaluated)
        dleq.verify(public, [asked.element], [evaluated], one.proof)
    except (MalformedError, ProofError):
        raise ProofError(
            f"het bewijs voor {one.month} klopt niet: het antwoord is veranderd of hoort bij een ander verzoek. "
            "Gebruik het niet en meld het aan de beheerder"
        ) from None
    return oprf.finalize(asked.identifier.canonical, oprf.unblind(asked.blind, evaluated))


def _month(text: str) -> str:
    try:
        month_start(text)
    except ValueError:
        raise MalformedError("het antwoord noemt iets wat geen maand is: het is beschadigd of veranderd") from None
    return text
