"""Unit costs: what one person, tag, question, partner or node takes, read from the results of the bench.

Each carries where it was measured, so that a page can say so. What a run left out is None, and so is what follows.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bekend_bench import enrolment, lookups, rebuild, storage
from bekend_bench.figures import Figure
from bekend_bench.results import NotMeasuredError, Results

MANY, BROKER, ATTACHED, LARGE = "many", "broker", "attached", "large"
PARTS = (enrolment.PART, rebuild.PART, lookups.PART, storage.PART, MANY, BROKER, ATTACHED, LARGE)
"""The parts of the bench that unit costs are read from."""
PARTIES = ("the requester", "the broker", lookups.SOURCE)
_PARTNERS = re.compile(r"^([\d,]+) partners?, (.+)$")
_PERSONS = re.compile(r"^([\d,]+) (persons, node and broker together|pseudonyms)$")


@dataclass(frozen=True)
class Cost:
    """A value in its unit, and the figure that it is or follows from."""

    value: float
    unit: str
    measured: str

    @classmethod
    def of(cls, one: Figure, value: float | None = None, unit: str = "") -> "Cost":
        """A figure as it was measured, or what follows from it."""
        return cls(one.value if value is None else value, unit or one.unit, f"{one.part}: {one.what}")


@dataclass(frozen=True)
class Line:
    """cost(partners) = fixed + each * partners: the straight line with the least squares through what was measured."""

    fixed: float
    each: float
    points: tuple[tuple[int, float], ...]

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> "Line":
        """Through two points or more. Raises NotMeasuredError for fewer."""
        if len(points) < 2:
            raise NotMeasuredError("a line needs questions to two numbers of partners")
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        each = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        # A party that cost less with more partners, or nothing without any, is noise.
        each = max(0.0, each)
        return cls(max(0.0, mean_y - each * mean_x), each, tuple(points))

    def at(self, partners: int) -> float:
        """The cost with so many partners."""
        return self.fixed + self.each * partners


@dataclass(frozen=True)
class UnitCosts:
    """Seconds, octets; `latency` and `question` in milliseconds. None: not measured in this run."""

    enrol: Cost
    enrol_broker: Cost
    enrol_rate: Cost
    enrolled: tuple[tuple[int, float], ...]
    """By number of persons, how many a second: every import that was measured."""
    tag: Cost
    tag_rate: Cost
    built: tuple[tuple[int, float], ...]
    """By number of pseudonyms, how many a second: every filter that was measured."""
    latency: Line
    question: dict[str, Line]
    disk: Cost
    node_memory: Cost
    attached_memory: Cost | None
    broker_memory: Cost | None
    requester_octets: Line | None
    source_octets: Line | None
    wire_tag: Cost | None
    replicas: tuple[tuple[int, float], ...]
    """How many, and the questions a second that they carried: a question is about one person to one source."""
    import_memory: tuple[tuple[str, int, float], ...]
    """Which process of an import, with how many persons, the most MB that it held."""


def unit_costs(results: Results) -> UnitCosts:
    """Everything that the sizing is made of. Raises NotMeasuredError for what it cannot do without."""
    rate = _largest(results, enrolment.PART)
    both, of_broker = (_enrol_cost(results, rate, name) for name in ("both", "the broker"))
    tags = _largest(results, rebuild.PART)
    each_tag = results.figure(rebuild.PART, f"{tags.what}, processor time")
    return UnitCosts(
        enrol=Cost.of(both),
        enrol_broker=Cost.of(of_broker),
        enrol_rate=Cost.of(rate),
        enrolled=_by_size(results, enrolment.PART, LARGE),
        tag=Cost.of(each_tag),
        tag_rate=Cost.of(tags),
        built=_by_size(results, rebuild.PART),
        latency=Line.through(by_partners(results, "p50")),
        question={who: _processor(who, by_partners(results, f"processor time of {who}")) for who in PARTIES},
        disk=_first(results, storage.PART, "disk at 100,000"),
        node_memory=_first(results, storage.PART, "resident memory of a node with 1,000,000"),
        attached_memory=_attached(results),
        broker_memory=_maybe(results, ATTACHED, "memory of the broker, nobody attached"),
        requester_octets=_octets(results, "the requester"),
        source_octets=_octets(results, lookups.SOURCE),
        wire_tag=_wire(results),
        replicas=tuple(_replicas(results)),
        import_memory=tuple(sorted(_import_memory(results))),
    )


def _processor(who: str, points: Sequence[tuple[int, float]]) -> Line:
    """What a question takes of a party."""
    return _alike(points) if who == lookups.SOURCE and points else Line.through(points)


def _alike(points: Sequence[tuple[int, float]]) -> Line:
    """A source answers alone, whoever else is asked: the dearest counts."""
    return Line(max(cost for _, cost in points), 0.0, tuple(points))


def by_partners(results: Results, what: str) -> list[tuple[int, float]]:
    """A figure of the questions, by number of partners."""
    found = {}
    for part in (lookups.PART, MANY):
        for one in results.of(part):
            match = _PARTNERS.match(one.what)
            if match and match[2] == what:
                found[_number(match[1])] = one.value
    return sorted(found.items())


def _by_size(results: Results, *parts: str) -> tuple[tuple[int, float], ...]:
    found = {_number(match[1]): one.value for part in parts for one, match in _sized(results, part)}
    return tuple(sorted(found.items()))


def _largest(results: Results, part: str) -> Figure:
    found = [(_number(match[1]), one) for one, match in _sized(results, part)]
    if not found:
        raise NotMeasuredError(f"no report has the part {part}")
    return max(found, key=lambda sized: sized[0])[1]


def _sized(results: Results, part: str) -> Iterator[tuple[Figure, re.Match[str]]]:
    for one in results.of(part):
        if match := _PERSONS.match(one.what):
            yield one, match


def _enrol_cost(results: Results, rate: Figure, who: str) -> Figure:
    persons = rate.what.partition(" ")[0]
    try:
        return results.figure(enrolment.PART, f"{persons} persons, processor time of {who}")
    except NotMeasuredError:
        return results.figure(enrolment.PART, f"processor time of {who}")


def _first(results: Results, part: str, begins: str) -> Cost:
    found = _maybe(results, part, begins)
    if found is None:
        raise NotMeasuredError(f"no report has {part}: {begins}")
    return found


def _maybe(results: Results, part: str, begins: str) -> Cost | None:
    return next((Cost.of(one) for one in results.of(part) if one.what.startswith(begins)), None)


def _octets(results: Results, who: str) -> Line | None:
    """What a question puts on the line of the requester, or of one source: both directions, TLS and HTTP/2 included."""
    sent, received = (dict(by_partners(results, f"{way} by {who}")) for way in ("sent", "received"))
    points = [(partners, sent[partners] + received[partners]) for partners in sorted(sent.keys() & received.keys())]
    if not points:
        return None
    return _alike(points) if who == lookups.SOURCE else Line.through(points)


def _wire(results: Results) -> Cost | None:
    return next((Cost.of(one) for one in results.of(storage.PART) if one.unit == "octets/tag"), None)


def _attached(results: Results) -> Cost | None:
    """What the broker holds for each node, by the largest number that was attached."""
    name = "memory of the broker for each of "
    found = {int(one.what.removeprefix(name)): one for one in results.of(ATTACHED) if one.what.startswith(name)}
    return Cost.of(found[max(found)]) if found else None


def _replicas(results: Results) -> Iterator[tuple[int, float]]:
    for one in results.of(BROKER):
        if match := re.match(r"^(\d+) replicas?, PostgreSQL, questions$", one.what):
            yield int(match[1]), one.value


def _import_memory(results: Results) -> Iterator[tuple[str, int, float]]:
    for part in (enrolment.PART, LARGE):
        for one in results.of(part):
            if match := re.match(r"^([\d,]+) persons, peak memory of (.+)$", one.what):
                yield match[2], _number(match[1]), one.value


def _number(text: str) -> int:
    return int(text.replace(",", ""))
