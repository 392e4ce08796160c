"""The covenant in Cedar, and a question put to Cedar: written from the law and the file format, not from `decide`.

Every purpose becomes permit policies (who asks: `organisaties`, `namens`; whom: one per line of `bronnen`), the
direction rules become forbid policies over attributes that name kinds of organisation. Cedar knows nothing of order:
any permit and no forbid. What comes out is compared with `decide`, which knows nothing of Cedar.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import cedarpy
from bekend_policy.model import Covenant, Purpose
from bekend_policy.terms import Participant, SourceTerms

_LAWS = {
    "strafvordering": ["RO", "Sv", "Wpg", "Wjsg"],
    "sociaal_domein": ["Wmo 2015", "Jeugdwet"],
    "veilig_thuis": ["Wmo 2015"],
    "zvh": ["WGS"],
    "nazorg": ["Pbw"],
    "verward_gedrag": ["Wvggz"],
    "radicalisering": ["WG-PGA"],
}

# Law file, section 3.3. `asker` is who asks, or the one in whose name is asked: each rule holds for both.
_DIRECTIONS = {
    "D1": """["wijkteam", "college_bw"].contains({asker}.kind)
        && ["om", "reclassering", "dji", "halt"].contains(resource.kind)
        && !(["zvh", "radicalisering"].contains(resource.frame))
        && !(resource.frame == "nazorg" && {asker}.kind == "college_bw")""",
    "D2": """["wijkteam", "college_bw"].contains({asker}.kind) && resource.kind == "politie"
        && !(["zvh", "radicalisering"].contains(resource.frame))
        && !({asker}.kind == "college_bw" && resource.mode == "handmatig"
             && (resource.youth || resource.frame == "verward_gedrag"))""",
    "D3": """["om", "politie", "reclassering", "dji"].contains({asker}.kind)
        && resource.mode != "toestemming" && resource.frame != "zvh"
        && (["wijkteam", "wmo_aanbieder", "jeugdhulp"].contains(resource.kind)
            || (["college_bw", "burgemeester", "schuldhulp"].contains(resource.kind)
                && !(["veiligheid", "nazorg", "leerplicht"].containsAll(resource.registers))))""",
    "D4": """resource.machine && (["ggz", "jeugdhulp"].contains(resource.kind)
        || resource.registers.containsAny(["ggz", "jeugdhulp"]))""",
    "D5": """resource.machine && resource.kind == "veilig_thuis\"""",
    "D6": """resource.machine && resource.kind == "politie" && {asker}.kind != "om\"""",
    "D7": """resource.closed""",
    "D8": """resource.frame == "radicalisering"
        && (["ggz", "veilig_thuis", "gi", "gi_jeugdreclassering", "halt", "wijkteam"].contains(resource.kind)
            || ["ggz", "veilig_thuis", "gi", "gi_jeugdreclassering", "halt", "wijkteam"].contains({asker}.kind))""",
    "D9": """resource.frame == "zvh"
        && (["halt", "slachtofferhulp", "woningcorporatie"].contains(resource.kind)
            || ["halt", "slachtofferhulp", "woningcorporatie"].contains({asker}.kind))""",
    "D10": """["zorgverzekeraar", "werkgever", "school", "verhuurder", "commercieel"].contains(resource.kind)
        || ["zorgverzekeraar", "werkgever", "school", "verhuurder", "commercieel"].contains({asker}.kind)""",
    "D11": """resource.frame == "zvh"
        && !(["om", "politie", "rvdk", "dji", "burgemeester", "college_bw", "ggd"].contains({asker}.kind))
        && !({asker}.kind == "zvh" && {otherlid1})""",
    "D12": """(principal.kind == "zvh" || {named_zvh} || resource.frame == "zvh") && resource.kind != "zvh"
        && !({asker}.houses.containsAny(resource.houses))""",
    "D13": """resource.nolaw""",
    "D14": """{asker}.kind == "ggz"
        && ["om", "politie", "reclassering", "dji", "halt", "rvdk", "cjib", "gi_jeugdreclassering"]
           .contains(resource.kind)""",
    # WGS 2.28(1): another house, not one's own.
    "eigen-zvh": """resource.frame == "zvh" && resource.kind == "zvh"
        && {asker}.houses.containsAny(resource.houses)""",
    "kader": "!resource.framed",
    "ongetoetst": "!resource.tested",
}  # fmt: skip
_LID1 = '["om", "politie", "rvdk", "dji", "burgemeester", "college_bw", "ggd"]'


@dataclass(frozen=True)
class Put:
    """A question as Cedar gets it. None: not known to who decides, so not looked at."""

    purpose: str
    requester: str
    source: str
    namens: str | None = None
    persons: int = 1
    certain: bool = True
    day: date = date(2026, 12, 1)
    role: str | None = None
    kind: str | None = None
    case_reference: str | None = None
    sources: int | None = None
    stated: dict[str, str] | None = field(default=None, hash=False)
    weighed: bool = False
    """Whether the justification holds the three texts."""
    reasoned: bool = False
    """Whether each person has a text of its own."""


class Oracle:
    """Cedar with one covenant loaded."""

    def __init__(self, covenant: Covenant, without: Iterable[str] = ()) -> None:
        self._covenant = covenant
        self._modes: dict[str, list[str]] = {}
        self._sets: dict[str, cedarpy.PolicySet] = {}
        forbids = _forbids(set(without))
        for purpose in covenant.purposes.values():
            texts, modes = _permits(covenant, purpose)
            self._modes[purpose.id] = modes
            self._sets[purpose.id] = cedarpy.PolicySet.from_str("\n".join([*texts, *forbids]))
        self._entities = cedarpy.Entities.from_json_str(json.dumps(_entities(covenant)))

    def ask(self, questions: Sequence[Put]) -> list[str | None]:
        """The mode of the answer to each question about one purpose, or None for a refusal."""
        purpose = questions[0].purpose
        assert all(one.purpose == purpose for one in questions)
        found = cedarpy.is_authorized_batch(
            [self._request(one) for one in questions], self._sets[purpose], self._entities
        )
        modes = self._modes[purpose]
        answers: list[str | None] = []
        for result in found:
            assert not result.diagnostics.errors, result.diagnostics.errors
            permitted = {modes[int(reason.removeprefix("policy"))] for reason in result.diagnostics.reasons} \
                if result.allowed else set()  # fmt: skip
            assert len(permitted) <= 1, "two modes for one question"
            answers.append(next(iter(permitted), None))
        return answers

    def _request(self, one: Put) -> dict[str, Any]:
        purpose = self._covenant.purposes[one.purpose]
        context: dict[str, Any] = {
            "persons": one.persons,
            "certain": one.certain,
            "day": one.day.toordinal(),
            "weighed": one.weighed,
            "reasoned": one.reasoned,
        }
        if one.namens is not None:
            context["namens"] = {"__entity": {"type": "Org", "id": one.namens}}
        for name, value in (("role", one.role), ("kind", one.kind), ("sources", one.sources)):
            if value is not None:
                context[name] = value
        if one.case_reference is not None:
            pattern = re.compile(purpose.case.pattern, re.ASCII)
            context["fits"] = pattern.fullmatch(one.case_reference) is not None
        if one.stated is not None:
            forms = {it.id: str(it.form) for it in purpose.conditions}
            context["stated"] = {id_: _value(forms.get(id_, ""), value) for id_, value in one.stated.items()}
        return {
            "principal": f'Org::"{one.requester}"',
            "action": 'Action::"ask"',
            "resource": f'Offer::"{one.purpose} {one.source}"',
            "context": context,
        }


_WORKED_OUT = -2
"""Of an age that is stated by its id alone: a node worked out that it held."""


def _value(form: str, text: str) -> int | str:
    """Dates and ages are numbers to Cedar; what is none, is a number that fits nowhere."""
    if form in {"datum", "toestemming"}:
        return date.fromisoformat(text).toordinal() if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else -1
    if form == "leeftijd":
        return int(text) if text.isdigit() else _WORKED_OUT if not text else -1
    return text


# --- entities --------------------------------------------------------------------------------------------------


def _entities(covenant: Covenant) -> list[dict[str, Any]]:
    every = [one.oin for one in covenant.participants.values() if one.kind == "zvh"]
    entities = [_entity("Org", one.oin, _org(covenant, one, every)) for one in covenant.participants.values()]
    for purpose in covenant.purposes.values():
        for one in covenant.participants.values():
            terms = purpose.source_terms.get(one.oin, purpose.source_terms.get(str(one.kind)))
            attributes = _org(covenant, one, every) | _offer(purpose, terms)
            entities.append(_entity("Offer", f"{purpose.id} {one.oin}", attributes))
    return entities


def _entity(kind: str, id_: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"uid": {"type": kind, "id": id_}, "attrs": attributes, "parents": []}


def _org(covenant: Covenant, one: Participant, every: list[str]) -> dict[str, Any]:
    houses = [one.oin] if one.kind == "zvh" else list(one.houses) or every
    return {
        "oin": one.oin,
        "kind": str(one.kind),
        "signed": one.oin in covenant.signed_by,
        "houses": houses if every else ["nergens"],
    }


def _offer(purpose: Purpose, terms: SourceTerms | None) -> dict[str, Any]:
    own = terms.grounds if terms is not None else ()
    laws = [it.law for it in purpose.requester_grounds]
    mode = str(terms.mode) if terms is not None else "geen"
    registers = list(terms.registers) if terms is not None else []
    untested = any(str(it.status) != "getoetst" for it in (*purpose.requester_grounds, *own))
    return {
        "named": terms is not None,
        "mode": mode,
        "machine": mode in {"automatisch", "standaardbesluit"},
        "registers": registers,
        "frame": str(purpose.frame),
        "youth": any(it.law == "Jeugdwet" and re.match(r"2\.[34]\b", it.article) for it in purpose.requester_grounds),
        "closed": any(it in {"wvggz", "wzd", "wpg-9"} for it in registers)
        or any(it.law == "Wpg" and it.article.split("(")[0] in {"9", "10"} for it in own),
        "nolaw": any(it.law in {"Wams", "Convenant"} for it in (*purpose.requester_grounds, *own)),
        "framed": bool(set(laws) & set(_LAWS[str(purpose.frame)]))
        and not ("WGS" in laws and purpose.frame != "zvh")
        and not ("WG-PGA" in laws and purpose.frame != "radicalisering"),
        "tested": not untested or None not in {purpose.dpia, purpose.advice, purpose.last_day},
    }


# --- policies --------------------------------------------------------------------------------------------------


def _permits(covenant: Covenant, purpose: Purpose) -> tuple[list[str], list[str]]:
    """Per line of `bronnen` one permit for who asks in its own name, and one per mandate."""
    texts: list[str] = []
    modes: list[str] = []
    for party, terms in purpose.source_terms.items():
        if terms.mode == "nooit":
            continue
        whom = f'resource.oin == "{party}"' if party.isdigit() else _kind_line(purpose, party)
        for certain, mode in _ways(purpose, terms):
            common = [whom, *_common(covenant, purpose, terms), *_named(purpose, terms, certain=certain)]
            for own in _in_whose_name(purpose, terms):
                texts.append(_permit([*common, *own]))
                modes.append(mode)
    return texts, modes


def _ways(purpose: Purpose, terms: SourceTerms) -> list[tuple[bool, str]]:
    """By a number as the file says; by name and date, where terms for that are agreed on, never by a machine."""
    ways = [(True, str(terms.mode))]
    if purpose.possible is not None:
        ways.append((False, "toestemming" if terms.mode == "toestemming" else "handmatig"))
    return ways


def _named(purpose: Purpose, terms: SourceTerms, *, certain: bool) -> list[str]:
    """By which kinds: those of the purpose that the source's own line, where it has one, names too."""
    own = {str(it) for it in terms.own_kinds} if terms.own_kinds else {str(it) for it in purpose.kinds}
    kinds = {it for it in own & {str(it) for it in purpose.kinds} if it.startswith("naam-") != certain}
    lines = ["context.certain" if certain else "!context.certain"]
    return [*lines, _known("kind", f"{_set(kinds)}.contains(context.kind)") if kinds else "false"]


def _in_whose_name(purpose: Purpose, terms: SourceTerms) -> list[list[str]]:
    """Conditions for who asks in its own name, and for each mandate."""
    found = [["!(context has namens)", _party("principal", purpose.asker.organisations)]]
    for mandate in purpose.asker.mandates:
        until = f"context.day <= {mandate.last_day.toordinal()}" if mandate.last_day else "true"
        own = [
            f'principal == Org::"{mandate.requester}"',
            "context has namens",
            f'context.namens == Org::"{mandate.principal}"',
            "context.namens.signed",
            _party("context.namens", purpose.asker.organisations),
            _party("context.namens", terms.only_for) if terms.only_for else "true",
            until,
        ]
        # A source that is asked in its own name is itself: `alleen_voor` says nothing about it.
        if terms.only_for:
            own[5] = f"(context.namens.oin == resource.oin || {own[5]})"
        found.append(own)
    return found


def _kind_line(purpose: Purpose, kind: str) -> str:
    """A kind stands for everybody of that kind that has no line of its own."""
    named = ", ".join(f'"{it}"' for it in purpose.source_terms if it.isdigit())
    return f'(resource.kind == "{kind}" && !([{named}].contains(resource.oin)))'


def _permit(conditions: list[str]) -> str:
    return 'permit(principal, action == Action::"ask", resource) when {\n  ' + "\n  && ".join(conditions) + "\n};"


def _party(who: str, parties: Iterable[str]) -> str:
    names = ", ".join(f'"{it}"' for it in parties)
    return f"([{names}].contains({who}.kind) || [{names}].contains({who}.oin))"


def _common(covenant: Covenant, purpose: Purpose, terms: SourceTerms) -> list[str]:
    agreement = covenant.agreement
    lines = [
        "principal.oin != resource.oin",
        "principal.signed",
        "resource.signed",
        f"context.day >= {agreement.first_day.toordinal()}",
        f"context.day <= {agreement.last_day.toordinal()}",
        "context.persons >= 1",
        f"context.persons <= {purpose.max_persons}",
        _known("sources", f"context.sources >= 1 && context.sources <= {purpose.max_sources}"),
        _known("role", f"{_set(purpose.asker.roles)}.contains(context.role)"),
        _known("fits", "context.fits"),
        str(purpose.in_service).lower(),
    ]
    if purpose.last_day is not None:
        lines.append(f"context.day <= {purpose.last_day.toordinal()}")
    if terms.only_for:
        lines.append(_party("principal", terms.only_for))
    stated = [_stated(purpose, id_) for id_ in _needed(purpose, terms)]
    if purpose.weighing:
        stated.append("context.weighed")
    if purpose.own_reasons:
        stated.append("(context.persons == 1 || context.reasoned)")
    if stated:
        lines.append(_known("stated", " && ".join(stated)))
    return lines


def _known(name: str, then: str) -> str:
    return f"(if context has {name} then ({then}) else true)"


def _set(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{it}"' for it in sorted(values)) + "]"


def _needed(purpose: Purpose, terms: SourceTerms) -> list[str]:
    """What the requester must state: everything but what another source alone asks."""
    elsewhere = {id_ for other in purpose.source_terms.values() for id_ in other.conditions} - set(terms.conditions)
    own = [it.id for it in purpose.conditions if str(it.checked_by) == "vrager" and it.id not in elsewhere]
    return own + (["motivering"] if purpose.justification and "motivering" not in own else [])


def _stated(purpose: Purpose, id_: str) -> str:
    there = f'context.stated has "{id_}"'
    value = f'context.stated["{id_}"]'
    one = next((it for it in purpose.conditions if it.id == id_), None)
    if one is None:
        return there
    if str(one.form) == "bevestiging":
        return f'({there} && {value} == "")'
    if str(one.form) == "keuze":
        return f"({there} && {_set(one.values)}.contains({value}))"
    if str(one.form) == "leeftijd":
        held = f"{value} == {_WORKED_OUT} || " if one.reference_day else ""
        return f"({there} && ({held}({value} >= {one.from_age} && {value} <= {one.to_age})))"
    # Months are not days: the bounds depend on the day of the question, so each day of the tests gets its own line.
    windows = [
        f"(context.day == {day.toordinal()} && {value} >= {first} && {value} <= {last})"
        for day in DAYS
        for first, last in [(_months(day, -(one.months_back or 0)), _months(day, one.months_ahead or 0))]
    ]
    return f"({there} && ({' || '.join(windows)}))"


DAYS = (date(2026, 12, 1), date(2027, 1, 31), date(2027, 10, 31))
"""The days on which the oracle can judge a date."""


def _months(day: date, months: int) -> int:
    """The same day of another month, or that month's last day."""
    total = day.year * 12 + day.month - 1 + months
    for number in range(day.day, 0, -1):
        try:
            return date(total // 12, total % 12 + 1, number).toordinal()
        except ValueError:
            continue
    raise AssertionError


def _forbids(without: set[str]) -> list[str]:
    texts = []
    for name, rule in _DIRECTIONS.items():
        if name in without:
            continue
        own = rule.format(
            asker="principal",
            otherlid1=f"(if context has namens then {_LID1}.contains(context.namens.kind) else false)",
            named_zvh='(if context has namens then context.namens.kind == "zvh" else false)',
        )
        texts.append(f"forbid(principal, action, resource) when {{ {own} }};")
        if "{asker}" in rule:
            other = rule.format(
                asker="context.namens",
                otherlid1=f"{_LID1}.contains(principal.kind)",
                named_zvh='context.namens.kind == "zvh"',
            )
            texts.append(f"forbid(principal, action, resource) when {{ context has namens && ({other}) }};")
    return texts
