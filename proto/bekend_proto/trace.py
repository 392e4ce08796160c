"""Trace context (W3C) of a lookup: ids that every party finds for itself, and that lead to no person.

    trace id     of a lookup: its begin_id, known to requester and broker
                 of a Question: its question_id, known to requester, broker and this one source
    span id      8 octets of BLAKE2b over the trace id and whose part of the work it is

Both trace ids are 16 fresh random octets inside a signed message, so that nobody on the way can change them, and the
spans follow from them, so that no party has to tell another which span is its parent. Two sources of one lookup see two
trace ids that have nothing in common: they must not be able to compare notes (protocol section 7). That the two belong
to one lookup stands in the log of the requester, and the broker sees it anyway.

A header `traceparent` goes with the call `Lookup`, for whatever stands between node and broker. It is not signed and
not believed.
"""

from typing import Final

from bekend_proto.octets import blake, lp

HEADER: Final = "traceparent"
"""Name of the gRPC metadata that carries the trace context of a lookup."""

REQUESTER: Final = "requester"
BROKER: Final = "broker"
SOURCE: Final = "source"


def span_of(trace_id: bytes, *part: str) -> bytes:
    """The span id (8 octets) of one party's part of a trace; other parts have other ids."""
    text = b"".join(lp(one.encode()) for one in part)
    return blake(8, b"bekend1-span", trace_id + text)


def traceparent(trace_id: bytes, span_id: bytes) -> str:
    """The value of the header (W3C Trace Context 1, section 3.2), with the sampled bit: no sampling here."""
    return f"00-{trace_id.hex()}-{span_id.hex()}-01"
