"""Records of the Authorization Decision Log (Logius, working version), and replaying them.

One record per decision about one source, made when the log is read from what was kept when the decision was made. Its
body is a request and response of the AuthZEN Access Evaluation API; the covenant's hash is the policy source. What the
officer typed is left out: it stands sealed in the requester's own record, which is named as an information source. So a
refusal for such a text can be replayed only beside the opened record.

Fields: https://logius-standaarden.github.io/authorization-decision-log/ (sections Interface and Source references).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any, Final

from bekend_proto import trace
from bekend_proto.clock import from_milliseconds
from bekend_proto.errors import MalformedError
from bekend_proto.v1 import signed_pb2

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.decided import About, Decided, Judged
from bekend_policy.model import Covenant

Record = dict[str, Any]

EVENT: Final = "adl.access_evaluation"
OWN_RECORD: Final = "eigen-vastlegging"
"""Information source: the requester's sealed own record, under the trace id of the lookup."""
LOOKUP: Final = "bekend.lookup.trace_id"
"""Attribute of our own: which lookup a question was part of. Only requester and broker have it."""
SUSPENDED: Final = "stilgezet"
"""Rule of a decision that a signed note made, whatever the covenant says."""
FOUR_EYES: Final = "vier-ogen"
"""Rule of a lookup that a second officer had to see first, or did not agree to (FG-37)."""

_TEXTS: Final = frozenset({"zaaknummer", "motivering", "motivering-persoon", "afweging", "voorwaarde"})
"""Rules that judge what the officer typed."""
_ACTIONS: Final = {About.LOOKUP: "bevragen", About.FILTER: "filter-ophalen"}
_PARENTS: Final = {trace.BROKER: trace.REQUESTER, trace.SOURCE: trace.BROKER}


def decision_records(decided: Decided, party: str, oin: str) -> Iterator[Record]:
    """A record per source of a bundle. `party`: the part that this organisation (`oin`) has in it."""
    for one in decided.judged:
        trace_id = one.question_id or decided.trace
        record: Record = {
            "trace_id": trace_id.hex(),
            "span_id": trace.span_of(trace_id, party, one.source).hex(),
            "event_name": EVENT,
            "timestamp": decided.at,
            "status": "Unset",
            "attributes": _attributes(decided, one, party),
            "resource": {
                "service.name": "bekend",
                "organisation": f"urn:nld:oin:{oin}:systeem:bekend",
                "party": party,
            },
            "body": {"adl.core.request": _request(decided, one), "adl.core.response": _response(one)},
        }
        parent = _PARENTS.get(party)
        if parent is not None:
            record["parent_span_id"] = trace.span_of(trace_id, parent, one.source).hex()
        yield record


def _attributes(decided: Decided, one: Judged, party: str) -> Record:
    found: Record = {
        "adl.core.policies": {"convenant": f"sha256:{decided.covenant_hash.hex()}"},
        "adl.core.configuration": {"bekend": version("bekend")},
    }
    if one.question_id and party != trace.SOURCE:
        found[LOOKUP] = decided.trace.hex()
    if one.question_id and decided.stated is not None:
        found["adl.core.information"] = {OWN_RECORD: decided.trace.hex()}
    return found


def _request(decided: Decided, one: Judged) -> Record:
    said = decided.stated
    subject: Record = {}
    if decided.on_behalf_of:
        subject["namens"] = decided.on_behalf_of
    if said is not None:
        subject |= {"gebruiker": said.user, "rol": said.role}
        if said.second:
            subject["meegekeken"] = said.second
    context: Record = {
        "time": from_milliseconds(decided.at).isoformat(timespec="milliseconds"),
        "personen": decided.persons,
        "identificatie": _class_name(decided.kind_class),
    }
    if said is not None:
        context |= {"soort": said.kind, "bevestigd": list(said.attested), "bronnen": said.chosen}
    return {
        "subject": {"type": "organisatie", "id": decided.requester, "properties": subject},
        "action": {"name": _ACTIONS[decided.about]},
        "resource": {"type": "doel", "id": decided.purpose, "properties": {"bron": one.source}},
        "context": context,
    }


def _class_name(kind_class: "signed_pb2.KindClass.ValueType") -> str:
    """As the wire names it; a number that it does not know is as good as none."""
    known = kind_class in signed_pb2.KindClass.values()
    return signed_pb2.KindClass.Name(kind_class if known else signed_pb2.KIND_CLASS_UNSPECIFIED)


def _response(one: Judged) -> Record:
    return {"decision": one.allowed, "context": {"id": one.rule}}


class Verdict(StrEnum):
    """What replaying a record showed."""

    EQUAL = "gelijk"
    DIFFERENT = "verschil"
    WITHHELD = "tekst ontbreekt"
    """It was refused for a text that is not in the record: the opened own record decides."""
    OUTSIDE = "buiten het convenant"
    """A signed note, a signature that was not there yet, or a check before the covenant refused it."""
    UNKNOWN = "versie ontbreekt"
    """The covenant that it went by is not at hand."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One record, decided again: what it says, what comes out now."""

    trace_id: str
    span_id: str
    verdict: Verdict
    recorded: tuple[bool, str]
    again: tuple[bool, str] | None = None


def replay(record: Record, covenants: Mapping[str, Covenant], opened: Mapping[str, Record] | None = None) -> Replayed:
    """Decide a record again, by the covenant that it names and at its moment.

    `covenants`: by hash (hex). `opened`: the requester's own records of lookups as its privacy officer opened them, by
    begin_id (hex); with one, what the officer typed is judged too. Raises MalformedError when it is no record of ours.
    """
    try:
        response = record["body"]["adl.core.response"]
        recorded = (bool(response["decision"]), str(response["context"]["id"]))
        attributes = record["attributes"]
        covenant = covenants.get(attributes["adl.core.policies"]["convenant"].removeprefix("sha256:"))
        own = (opened or {}).get(attributes.get("adl.core.information", {}).get(OWN_RECORD, ""))
        names = (record["trace_id"], record["span_id"])
        if covenant is None:
            return Replayed(*names, Verdict.UNKNOWN, recorded)
        decision = decide(covenant, _asked(record, covenant, own), from_milliseconds(record["timestamp"]))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise MalformedError(f"not a decision record of bekend ({type(fault).__name__})") from None
    again = (decision.allowed, decision.rule)
    return Replayed(*names, _verdict(recorded, decision, with_texts=own is not None), recorded, again)


def _asked(record: Record, covenant: Covenant, own: Record | None) -> Asked:
    request = record["body"]["adl.core.request"]
    subject, context = request["subject"], request["context"]
    properties = subject.get("properties", {})
    return Asked(
        requester=subject["id"],
        source=request["resource"]["properties"]["bron"],
        purpose=request["resource"]["id"],
        on_behalf_of=properties.get("namens"),
        persons=context["personen"],
        kind_class=signed_pb2.KindClass.Value(context["identificatie"]),
        covenant_hash=covenant.hash,
        role=properties.get("rol"),
        kind=context.get("soort"),
        case_reference=own["case"] or "" if own else None,
        attested=frozenset(own["attested"]) | _justified(own) if own else None,
        sources=context.get("bronnen"),
        justification=own["justification"] or "" if own else None,
        reasons=tuple(own.get("reasons") or ()) if own else (),
    )


def _justified(own: Record) -> frozenset[str]:
    """Who wrote a justification down has confirmed that there is one (as the requester's rules have it)."""
    return frozenset({"motivering"}) if (own["justification"] or "").strip() else frozenset()


def _verdict(recorded: tuple[bool, str], decision: Decision, *, with_texts: bool) -> Verdict:
    if recorded == (decision.allowed, decision.rule):
        return Verdict.EQUAL
    if not recorded[0] and recorded[1] in OUTSIDE:
        return Verdict.OUTSIDE
    if not recorded[0] and decision.allowed and recorded[1] in _TEXTS and not with_texts:
        return Verdict.WITHHELD
    return Verdict.DIFFERENT


OUTSIDE: Final = frozenset(
    {
        SUSPENDED,
        "niet-ondertekend",
        "modus",
        "FG-09",
        "partner-onbekend",
        "eigen-organisatie",
        "partner-dubbel",
        "persoon-dubbel",
        "persoonsgegevens",
        "soort-gemengd",
        "te-lang",
        "handmatig",
        FOUR_EYES,
        "eigen-lijst",
    }
)
"""Rules that a party holds beside the covenant's text: signed notes, a signature that had not come yet, checks of the
form before there is a decision, and a second officer who was not asked or did not agree."""
