"""Trace context: as W3C writes it, and nothing that joins two sources."""

from secrets import token_bytes

from bekend_proto import trace


def test_the_header_reads_as_w3c_writes_it() -> None:
    trace_id, span = token_bytes(16), token_bytes(8)
    header = trace.traceparent(trace_id, span)
    assert header == f"00-{trace_id.hex()}-{span.hex()}-01"


def test_every_part_of_every_trace_has_a_span_of_its_own() -> None:
    one, other = token_bytes(16), token_bytes(16)
    parts = [(party, source) for party in (trace.REQUESTER, trace.BROKER, trace.SOURCE) for source in ("1", "12")]
    spans = {trace.span_of(id_, *part) for id_ in (one, other) for part in parts}
    assert len(spans) == 2 * len(parts)
    # Joined fields have one reading only.
    assert trace.span_of(one, "a", "bc") != trace.span_of(one, "ab", "c")
