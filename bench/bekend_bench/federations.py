"""Three federations and what they take: named assumptions, unit costs that were measured, and the arithmetic between.

Nothing here is measured, and no number of the arithmetic is typed in twice: an assumption has one name, one value and
the reason for it; all else comes from `UnitCosts`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from bekend_node.enrol.plan import change_elements, full_elements
from bekend_node.schedule import interval_of
from bekend_proto.filter import TAG_LENGTH, size_class

from bekend_bench.figures import number
from bekend_bench.unit_costs import PARTIES, UnitCosts

REQUESTER, BROKER, SOURCE = PARTIES
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Assumption:
    """A number that nobody measured here, and where it comes from."""

    name: str
    value: float
    why: str


DAYS = Assumption("working days a year", 250, "offices are open on these")
HOURS = Assumption("working hours a day", 8, "officers ask, and keep their purposes open, in these")
PEAK = Assumption("busiest moment against the mean of the working hours", 5, "mornings, and a Monday after a weekend")
REPORTS = Assumption("reports to Veilig Thuis a year, the country", 120_000, "order of what is counted each year")
FAMILY = Assumption("persons in a report", 3, "who is reported about, a partner, a child: each is a question")
ZSM_CASES = Assumption("cases at ZSM a year, the country", 200_000, "order of the suspects that ZSM decides on")
GEMEENTEN = Assumption("gemeenten", 342, "since 2025")
VEILIG_THUIS = Assumption("Veilig Thuis organisations", 26, "of the country")
ZSM = Assumption("ZSM locations", 10, "one per police unit")
RECLASSERING = Assumption("reclassering organisations", 3, "the three of the country")
REGION = Assumption("gemeenten in a region", 10, "a Veilig Thuis and a Veiligheidshuis work for these")
UNIT = Assumption("gemeenten in a police unit", 35, "a ZSM location works for these")
CLIENTS = Assumption("persons in a gemeente's registers", 20_000, "a large share of a gemeente of average size")
PURPOSES = Assumption("purposes that a source answers by machine", 6, "pseudonyms and filters are separate for each")
CHANGED = Assumption("persons in a hundred that change in a night", 1, "moves in and out of a register")
CORE_HOUR = Assumption("euro for an hour of one core", 0.05, "a virtual machine, hosting and power included")
MACHINE = Assumption("euro a year for a machine of 2 cores and 4 GB", 900, "24 hours a day at that price, and a disk")
BUSY = Assumption("share of a machine that may be busy in its busiest moment", 0.5, "what is left takes up a failure")

ASSUMPTIONS = (
    *(DAYS, HOURS, PEAK, REPORTS, FAMILY, ZSM_CASES, GEMEENTEN, VEILIG_THUIS, ZSM, RECLASSERING, REGION, UNIT),
    *(CLIENTS, PURPOSES, CHANGED, CORE_HOUR, MACHINE, BUSY),
)


@dataclass(frozen=True)
class Asking:
    """Questions of one kind: how many a year, by how many nodes, each to how many partners. `sum` shows the first."""

    who: str
    a_year: float
    sum: str
    nodes: int
    partners: int


@dataclass(frozen=True)
class Federation:
    """Who takes part. `gemeenten` and `others` are sources, `asking` the requesters among the others."""

    name: str
    gemeenten: int
    others: int
    asking: tuple[Asking, ...]

    @property
    def nodes(self) -> int:
        """All that attach to the broker."""
        return self.gemeenten + self.others

    @property
    def questions(self) -> float:
        """A year."""
        return sum(one.a_year for one in self.asking)


def _reports(regions: float, partners: int) -> Asking:
    a_year = REPORTS.value * FAMILY.value * regions / VEILIG_THUIS.value
    text = f"{REPORTS.value:,.0f} reports x {FAMILY.value:.0f} persons x {regions:.3g}/{VEILIG_THUIS.value:.0f}"
    return Asking("Veilig Thuis", a_year, text, max(1, round(regions)), partners)


def _cases(units: float, partners: int) -> Asking:
    text = f"{ZSM_CASES.value:,.0f} cases x {units:.3g}/{ZSM.value:.0f}"
    return Asking("ZSM", ZSM_CASES.value * units / ZSM.value, text, max(1, round(units)), partners)


def _three() -> tuple[Federation, ...]:
    region, unit, country = (int(one.value) for one in (REGION, UNIT, GEMEENTEN))
    thuis, zsm, reclassering = (int(one.value) for one in (VEILIG_THUIS, ZSM, RECLASSERING))
    return (
        Federation(
            "A region of 10 gemeenten",
            region,
            2 + reclassering,
            (_reports(1, region + reclassering), _cases(region / unit, region + reclassering)),
        ),
        Federation(
            "A police unit of 35 gemeenten",
            unit,
            1 + round(thuis / zsm) + reclassering,
            (_reports(thuis / zsm, region + reclassering), _cases(1, unit + reclassering)),
        ),
        Federation(
            "The country: 342 gemeenten, 26 Veilig Thuis, 10 ZSM, 3 reclassering",
            country,
            thuis + zsm + reclassering,
            (_reports(thuis, region + reclassering), _cases(zsm, unit + reclassering)),
        ),
    )


FEDERATIONS = _three()


@dataclass(frozen=True)
class Step:
    """One line of the arithmetic: what, how, and what it comes to."""

    what: str
    how: str
    comes_to: str


def steps(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    """The arithmetic of one federation, from its questions to what it needs."""
    for asking in one.asking:
        what = f"questions of {asking.who} a year, each to {asking.partners} partners"
        yield Step(what, asking.sum, f"{asking.a_year:,.0f}")
    how = f"{one.questions:,.0f} x {PEAK.value:.0f} / ({DAYS.value:.0f} x {HOURS.value:.0f} x 3,600 s)"
    yield Step("questions in the busiest second", how, number(busiest(one.questions)))
    yield from _processors(one, costs)
    yield from _source(costs)
    yield from _memory(one, costs)
    yield from _wire(one, costs)
    yield from _money(one, costs)


def busiest(a_year: float) -> float:
    """Of so many a year, how many in the busiest second."""
    return a_year * PEAK.value / (DAYS.value * HOURS.value * 3600)


def broker_cores(one: Federation, costs: UnitCosts) -> float:
    """Cores that the broker keeps busy in the busiest second."""
    return sum(busiest(asking.a_year) * costs.question[BROKER].at(asking.partners) / 1e3 for asking in one.asking)


def filters_a_day(asking: Asking, costs: UnitCosts) -> float:
    """Octets of filters to one requester that keeps one purpose open in working hours; nothing when not measured."""
    tags = size_class(int(CLIENTS.value) + 1)
    switches = timedelta(hours=HOURS.value) / interval_of(tags, None)
    return asking.partners * tags * switches * (costs.wire_tag.value if costs.wire_tag else 0)


def broker_rate(one: Federation, costs: UnitCosts) -> float:
    """Octets a second of filters at the broker in working hours: what comes in goes out as well."""
    return sum(2 * asking.nodes * filters_a_day(asking, costs) for asking in one.asking) / (HOURS.value * 3600)


def question_octets(asking: Asking, costs: UnitCosts) -> float | None:
    """Octets that the broker carries for one question: to and from the requester, and each source."""
    if costs.requester_octets is None or costs.source_octets is None:
        return None
    return costs.requester_octets.at(asking.partners) + asking.partners * costs.source_octets.fixed


def at_most(one: Federation, costs: UnitCosts) -> float:
    """Euro for a question, when all machines are there for nothing else."""
    return machines(one, costs) * MACHINE.value / one.questions


def machines(one: Federation, costs: UnitCosts) -> int:
    """One of two cores per node, and for the broker as many as leave its cores half idle, two at least."""
    return one.nodes + max(2, math.ceil(broker_cores(one, costs) / BUSY.value / 2))


def marginal(partners: int, costs: UnitCosts) -> float:
    """Milliseconds of processor time of all parties, for one question to so many partners."""
    source = costs.question[SOURCE].at(partners)
    return costs.question[REQUESTER].at(partners) + costs.question[BROKER].at(partners) + partners * source


def _processors(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    terms = [
        f"{number(busiest(asking.a_year))}/s x {number(costs.question[BROKER].at(asking.partners))} ms"
        for asking in one.asking
    ]
    yield Step("cores that the broker keeps busy then", " + ".join(terms), number(broker_cores(one, costs)))
    for asking in one.asking:
        rate, each = busiest(asking.a_year) / asking.nodes, costs.question[REQUESTER].at(asking.partners)
        how = f"{number(rate)}/s x {number(each)} ms"
        yield Step(f"the same at each {asking.who} that asks", how, number(rate * each / 1e3))
    reached = sum(asking.a_year * asking.partners for asking in one.asking) / one.nodes
    rate, each = busiest(reached), costs.question[SOURCE].fixed
    how = f"{number(rate)}/s x {number(each)} ms"
    yield Step("the same at a source, if all are asked equally often", how, number(rate * each / 1e3))


def _source(costs: UnitCosts) -> Iterator[Step]:
    """What a gemeente has to carry, whoever asks."""
    persons, purposes = int(CLIENTS.value), int(PURPOSES.value)
    interval = interval_of(size_class(persons + 1), None)
    switches = DAY / interval
    seconds = purposes * persons * switches * costs.tag.value / 1e6
    how = f"{purposes} x {persons:,} x {switches:.0f} switches x {number(costs.tag.value)} us"
    yield Step("a gemeente: filters, seconds of one core a day", how, number(seconds))
    nights = change_elements(round(persons * CHANGED.value / 100))
    elements = full_elements(persons)
    seconds = purposes * elements * costs.enrol.value / 1e6
    how = f"{purposes} x {elements:,} (padded) x {number(costs.enrol.value)} us"
    yield Step("a gemeente: whole import, seconds of one core, broker included", how, number(seconds))
    seconds = purposes * nights * costs.enrol.value / 1e6
    how = f"{purposes} x {nights:,} (padded) x {number(costs.enrol.value)} us"
    yield Step("a gemeente: a night's changes, seconds of one core", how, number(seconds))
    octets = purposes * persons * costs.disk.value
    how = f"{purposes} x {persons:,} x {number(costs.disk.value)} octets"
    yield Step("a gemeente: disk for pseudonyms and filters, MB", how, number(octets / 1e6))


def _memory(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    yield Step("a node: memory, MB", "as measured with 1,000,000 pseudonyms", number(costs.node_memory.value))
    tags = size_class(int(CLIENTS.value) + 1)
    for asking in one.asking:
        how = f"{asking.partners} x {tags:,} tags x {TAG_LENGTH} octets"
        octets = asking.partners * tags * TAG_LENGTH
        yield Step(f"{asking.who}: filters that it holds, MB", how, number(octets / 1e6))
    if costs.broker_memory is not None and costs.attached_memory is not None:
        total = costs.broker_memory.value + one.nodes * costs.attached_memory.value / 1e3
        attached = f"{one.nodes} x {number(costs.attached_memory.value)} {costs.attached_memory.unit}"
        yield Step("the broker: memory, MB", f"{number(costs.broker_memory.value)} MB + {attached}", number(total))


def _wire(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    terms, total = [], 0.0
    for asking in one.asking:
        octets = question_octets(asking, costs)
        if octets is not None:
            terms.append(f"{number(busiest(asking.a_year))}/s x {number(octets)} octets")
            total += busiest(asking.a_year) * octets
    if terms:
        yield Step("the broker: questions, Mbit/s in the busiest second", " + ".join(terms), number(total * 8 / 1e6))
    yield from _filters_on_the_wire(one, costs)


def _filters_on_the_wire(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    if costs.wire_tag is None:
        return
    tags = size_class(int(CLIENTS.value) + 1)
    switches = timedelta(hours=HOURS.value) / interval_of(tags, None)
    for asking in one.asking:
        how = f"{asking.partners} x {tags:,} tags x {switches:.0f} switches x {number(costs.wire_tag.value)} octets"
        what = f"filters to a {asking.who} that keeps one purpose open all day, MB"
        yield Step(what, how, number(filters_a_day(asking, costs) / 1e6))
    terms = [f"{asking.nodes} x {number(filters_a_day(asking, costs) / 1e6)} MB" for asking in one.asking]
    how = f"2 (in and out) x 8 bits x ({' + '.join(terms)}) / ({HOURS.value:.0f} x 3,600 s)"
    yield Step("the broker: filters, Mbit/s in working hours", how, number(broker_rate(one, costs) * 8 / 1e6))


def _money(one: Federation, costs: UnitCosts) -> Iterator[Step]:
    count = machines(one, costs)
    yield Step("machines of 2 cores", f"{one.nodes} nodes, {count - one.nodes} for the broker", f"{count}")
    how = f"{count} x {MACHINE.value:,.0f} euro / {one.questions:,.0f} questions"
    yield Step("a question costs at most, all machines included, euro", how, number(at_most(one, costs)))
    most = one.gemeenten
    how = (
        f"to all {most} gemeenten: {number(costs.question[REQUESTER].at(most))} + "
        f"{number(costs.question[BROKER].at(most))} + {most} x {number(costs.question[SOURCE].fixed)} ms, "
        f"at {CORE_HOUR.value} euro an hour"
    )
    cent = marginal(most, costs) / 1e3 / 3600 * CORE_HOUR.value * 100
    yield Step("one question more costs at most, processors alone, eurocent", how, number(cent))
