"""`bekend policy simulate`: what a new version would have decided about the questions of last month.

Questions come as lines of JSON, without persons and without answers:

    {"requester": OIN, "source": OIN, "purpose": "convenant/doel", "persons": 2, "on_behalf_of": OIN or null,
     "day": "2026-11-03", "kind_class": "possible"}

`bekend node questions` writes them from the log of what a node answered. `day` may be left out; with it, the limits
per organisation are counted as well. `kind_class` stands only with a question by a combination of name and date.
Nothing else may be in a line.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from bekend_proto.v1 import signed_pb2

from bekend_policy.decide import Decision, decide
from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.model import Covenant
from bekend_policy.routes import CERTAIN, POSSIBLE, Route, as_if_signed, asked_by, noon
from bekend_policy.scalars import is_oin
from bekend_policy.wording import asker, count, on_day, party

MAX_LINES = 5_000_000
_KEYS = {"requester", "source", "purpose", "persons", "on_behalf_of", "day", "kind_class"}
_CLASSES = {"certain": CERTAIN, "possible": POSSIBLE}


@dataclass(frozen=True)
class Question:
    """One question that was asked."""

    route: Route
    persons: int
    day: date | None
    kind_class: "signed_pb2.KindClass.ValueType" = CERTAIN


@dataclass(frozen=True)
class Effect:
    """What happens to a number of alike questions. `before` is None when nothing is known of the version before."""

    route: Route
    before: Decision | None
    after: Decision
    questions: int
    persons: int
    kind_class: "signed_pb2.KindClass.ValueType" = CERTAIN


@dataclass(frozen=True)
class Overrun:
    """A day on which an organisation would have been stopped by a limit. An empty purpose: all together."""

    requester: str
    purpose: str
    day: date
    persons: int
    limit: int


@dataclass(frozen=True)
class Simulation:
    """All effects, and the limits that would have been reached."""

    questions: int
    effects: tuple[Effect, ...]
    overruns: tuple[Overrun, ...]

    @property
    def changed(self) -> tuple[Effect, ...]:
        """What goes otherwise than before; without a version before: what is refused, or waits for a person."""
        return tuple(it for it in self.effects if _differs(it))


def read_questions(lines: Iterable[str], name: str) -> list[Question]:
    """Every line, or CovenantFaults with every fault and its line."""
    questions: list[Question] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        what = None if number <= MAX_LINES else f"meer dan {MAX_LINES} regels"
        try:
            questions.append(_question(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            what = str(error) if isinstance(error, _LineError) else "dit is geen vraag als JSON"
        if what is not None:
            faults.append(Fault(name, number, what, f"Een regel heeft alleen: {', '.join(sorted(_KEYS))}."))
            if len(faults) >= 20 or number > MAX_LINES:
                break
    if faults:
        raise CovenantFaults(faults)
    return questions


class _LineError(ValueError):
    """What is wrong with a line, in Dutch; never its content."""


def _question(record: Any) -> Question:
    if not isinstance(record, dict) or not record.keys() <= _KEYS:
        raise _LineError("hier staat meer dan nodig is, of geen vraag")
    oins = [record["requester"], record["source"], *([record["on_behalf_of"]] if record.get("on_behalf_of") else [])]
    if not all(isinstance(oin, str) and is_oin(oin) for oin in oins):
        raise _LineError("een organisatie is geen OIN")
    persons = record["persons"]
    if not isinstance(persons, int) or isinstance(persons, bool) or persons < 1:
        raise _LineError("'persons' is geen aantal")
    day = date.fromisoformat(record["day"]) if record.get("day") else None
    if record.get("kind_class", "certain") not in _CLASSES:
        raise _LineError("'kind_class' is 'certain' of 'possible'")
    route = Route(str(record["purpose"]), oins[0], record.get("on_behalf_of") or "", oins[1])
    return Question(route, persons, day, _CLASSES[record.get("kind_class", "certain")])


def simulate(new: Covenant, questions: list[Question], today: date, *, old: Covenant | None = None) -> Simulation:
    """Decide about each question under the new version (and the old), as if everybody had signed.

    The days lie before the new version; so each is decided on `today`, a day within it.
    """
    new, old = as_if_signed(new), as_if_signed(old) if old is not None else None
    counted = Counter((it.route, it.kind_class, it.persons) for it in questions)
    effects: dict[tuple[Route, signed_pb2.KindClass.ValueType, Decision | None, Decision], list[int]] = defaultdict(
        lambda: [0, 0]
    )
    for (route, kind_class, persons), number in counted.items():
        after = _decided(new, route, persons, kind_class, today)
        before = _decided(old, route, persons, kind_class, today) if old is not None else None
        total = effects[route, kind_class, before, after]
        total[0] += number
        total[1] += number * persons
    rows = (
        Effect(route, before, after, total[0], total[1], kind_class)
        for (route, kind_class, before, after), total in effects.items()
    )
    ordered = sorted(rows, key=lambda it: (-it.questions, it.route, it.kind_class))
    return Simulation(len(questions), tuple(ordered), tuple(_overruns(new, questions)))


def _decided(
    covenant: Covenant, route: Route, persons: int, kind_class: "signed_pb2.KindClass.ValueType", today: date
) -> Decision:
    day = min(max(today, covenant.agreement.first_day), covenant.agreement.last_day)
    return decide(covenant, asked_by(route, covenant, persons, kind_class), noon(day))


def _overruns(new: Covenant, questions: Iterable[Question]) -> Iterator[Overrun]:
    """Persons per organisation and day at one source, over the purpose's limit or the total.

    A node's log holds the questions to that node alone: what other sources counted is not in it.
    """
    used: Counter[tuple[str, str, date, str]] = Counter()
    for it in questions:
        if it.day is not None:
            used[it.route.requester, it.route.purpose, it.day, it.route.source] += it.persons
            used[it.route.requester, "", it.day, it.route.source] += it.persons
    for (requester, purpose, day, _source), persons in sorted(used.items()):
        limits = new.purposes[purpose].limits if purpose in new.purposes else None if purpose else new.totals
        if limits is not None and persons > limits.per_organisation:
            yield Overrun(requester, purpose, day, persons, limits.per_organisation)


def _differs(it: Effect) -> bool:
    if it.before is None:
        return not it.after.allowed or (it.after.mode is not None and not it.after.mode.by_machine)
    return (it.before.allowed, it.before.mode) != (it.after.allowed, it.after.mode)


def simulation_lines(new: Covenant, found: Simulation) -> Iterator[str]:
    """The simulation as Dutch text."""
    allowed = sum(it.questions for it in found.effects if it.after.allowed)
    yield f"{new.name}, versie {new.version}: {count(found.questions, 'vraag', 'vragen')}"
    yield f"Daarvan mag {allowed} wel en {found.questions - allowed} niet."
    yield ""
    yield f"Anders dan {'eerst' if any(it.before for it in found.effects) else 'meteen antwoord'}"
    if not found.changed:
        yield "  Niets."
    for it in found.changed:
        title = new.purposes[it.route.purpose].title if it.route.purpose in new.purposes else it.route.purpose
        was = f" (eerst: {_said(it.before)})" if it.before is not None else ""
        by_name = " met een naam" if it.kind_class == POSSIBLE else ""
        yield f"  {it.questions}x {asker(new, it.route.requester, it.route.on_behalf_of)} aan " + (
            f"{party(new, it.route.source)} onder '{title}'{by_name}: {_said(it.after)}{was}"
        )
        if not it.after.allowed:
            yield f"      {it.after.reason}."
    if found.overruns:
        yield ""
        yield "Dagen waarop een grens zou zijn bereikt (gezien vanuit één bron)"
        for day in found.overruns:
            title = f"onder '{new.purposes[day.purpose].title}'" if day.purpose else "over alle doelen"
            who = party(new, day.requester)
            yield f"  {on_day(day.day)}: {who} {title}: {day.persons} personen, de grens is {day.limit}"


def _said(decision: Decision) -> str:
    return str(decision.mode) if decision.allowed else f"mag niet ({decision.rule})"
