"""Records of the Logboek Dataverwerkingen (LDV 1.0): one per processing, and per person where the person is known.

    requester   one per person of a lookup: `data_subject_id` names the own record in which the person stands sealed
    broker      one per question that it passed on, without a person
    source      one per question that it answered, without a person
    source      one per import, without a person
    both        one per access request, without a person: records exported at a node, an evaluation at the broker

They are made when the log is read, from rows that were durable before anything was disclosed. A party that does not
know the person names none (0 persons is allowed).

Fields: https://logius-standaarden.github.io/logboek-dataverwerkingen/ (section Interface).
"""

from collections.abc import Iterator
from typing import Any, Final

from bekend_proto import trace

from bekend_policy.decided import About, Decided

Record = dict[str, Any]

ACCESS: Final = "inzage"
"""The activity of answering access requests; no purpose id reads so."""
SEALED_TYPE: Final = "urn:bekend:eigen-vastlegging"
"""Type of a `data_subject_id`: the person with this number in the own record under this id, which only the own privacy
officer can open. The id is fresh per lookup: two lookups about one person have nothing in common."""


def activity_id(oin: str, purpose: str) -> str:
    """URI of an organisation's entry for a purpose in its register of processing activities (AVG 30)."""
    return f"urn:nld:oin:{oin}:verwerking:{purpose}"


def system_of(oin: str) -> str:
    """URI of an organisation's node or broker."""
    return f"urn:nld:oin:{oin}:systeem:bekend"


def lookup_records(decided: Decided, oin: str, ended: int | None) -> Iterator[Record]:
    """At the requester: a record per person. `ended`: when the outcomes were there (milliseconds), None for never.

    Nothing for a lookup that was refused, or about the own canary, which is nobody.
    """
    if not any(one.question_id for one in decided.judged) or _is_canary(decided):
        return
    for person in range(decided.persons):
        record = _record(
            decided.trace,
            (trace.REQUESTER, str(person)),
            name="partners bevraagd over een persoon",
            times=(decided.at, decided.at if ended is None else ended),
            activity=activity_id(oin, decided.purpose),
            status="Error" if ended is None else "Ok",
        )
        record["attributes"]["dpl.core.data_subject_id"] = f"{decided.trace.hex()}:{person}"
        record["attributes"]["dpl.core.data_subject_id_type"] = SEALED_TYPE
        yield record


def passed_on_records(decided: Decided, oin: str) -> Iterator[Record]:
    """At the broker: a record per question that was passed on."""
    for one in decided.judged:
        if one.allowed and one.question_id and decided.about is About.LOOKUP and not _is_canary(decided):
            yield _record(
                one.question_id,
                (trace.BROKER, one.source),
                name=f"vraag over {_persons(decided.persons)} doorgegeven",
                times=(decided.at, decided.at),
                activity=activity_id(oin, decided.purpose),
                caller=(trace.REQUESTER, one.source, decided.requester),
            )


def answered_records(decided: Decided, oin: str, broker: str) -> Iterator[Record]:
    """At the source: a record of a question that was answered."""
    for one in decided.judged:
        if one.allowed and decided.about is About.LOOKUP and not _is_canary(decided):
            yield _record(
                one.question_id,
                (trace.SOURCE, one.source),
                name=f"vraag over {_persons(decided.persons)} beantwoord",
                times=(decided.at, decided.at),
                activity=activity_id(oin, decided.purpose),
                caller=(trace.BROKER, one.source, broker),
            )


def access_record(oin: str, entry_hash: bytes, at: int, party: str) -> Record:
    """An access request was worked on. Its trace is named after the log entry, which is about no person."""
    what = {
        trace.SOURCE: "verzegelde vastleggingen uitgelezen voor een inzageverzoek",
        trace.BROKER: "inzageverzoek doorgerekend onder de maandsleutels",
    }
    return _record(
        entry_hash[:16],
        (party, ACCESS),
        name=what[party],
        times=(at, at),
        activity=activity_id(oin, ACCESS),
    )


def import_record(*, oin: str, trace_id: bytes, register: str, purpose: str, at: int, full: bool) -> Record:
    """At the source: a list of clients was imported, for one purpose."""
    what = "lijst" if full else "wijzigingen"
    return _record(
        trace_id,
        (trace.SOURCE, "import", register, purpose),
        name=f"{what} van register {register} ingelezen",
        times=(at, at),
        activity=activity_id(oin, purpose),
    )


def _record(
    trace_id: bytes,
    part: tuple[str, ...],
    *,
    name: str,
    times: tuple[int, int],
    activity: str,
    status: str = "Ok",
    caller: tuple[str, str, str] | None = None,
) -> Record:
    """`caller`: party, source and OIN of whoever asked this one to work."""
    record: Record = {
        "trace_id": trace_id.hex(),
        "span_id": trace.span_of(trace_id, *part).hex(),
        "status": status,
        "name": name,
        "start_time": times[0],
        "end_time": times[1],
        "attributes": {"dpl.core.processing_activity_id": activity},
    }
    if caller is not None:
        party, source, oin = caller
        record["parent_span_id"] = trace.span_of(trace_id, party, source).hex()
        record["attributes"]["dpl.core.foreign_operation.processor"] = system_of(oin)
    return record


def _is_canary(decided: Decided) -> bool:
    return all(one.source == decided.requester for one in decided.judged)


def _persons(count: int) -> str:
    return "een persoon" if count == 1 else f"{count} personen"
