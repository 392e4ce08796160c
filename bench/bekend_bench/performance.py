"""The pages of what was measured: docs/performance.md whole, and the tables in README.md and docs/peers.md."""

from collections.abc import Iterator

from bekend_bench import compare, lookups, peers, rebuild, storage
from bekend_bench.figures import Figure, number
from bekend_bench.provenance import floor, parts_table
from bekend_bench.report import table
from bekend_bench.results import NotMeasuredError, Results

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SHOWN = (
    ("one lookup, 6 partners, p50", lookups.PART, "6 partners, p50"),
    ("lookups per second, 6 partners", lookups.PART, "6 partners, at once"),
    ("one lookup, 35 partners, p50", lookups.PART, "35 partners, p50"),
    ("one lookup, 342 partners, p50", "many", "342 partners, p50"),
    ("enrolment, persons per second and purpose", "enrolment", "200,000 persons, node and broker together"),
    ("a new filter, tags per second", rebuild.PART, "500,000 pseudonyms"),
    ("a release message compared with 1,000,000 clients", "release", "one message, 1,000,000 clients"),
    ("disk per pseudonym and purpose, at 1,000,000", storage.PART, "disk at 1,000,000, filter included"),
    ("resident memory of a node with 1,000,000", storage.PART, "resident memory of a node with 1,000,000"),
)
"""The figures that the first page shows."""

_INTRODUCTION = """# What bekend costs

`bekend bench` measured what stands below, and `python -m bekend_bench.sizing` made this page of its reports in
[bench/results](../bench/results). [bench/README.md](../bench/README.md) says what each part measures and how;
[sizing.md](sizing.md) says what that comes to for a region, a police unit and the country. The **floor** is every
operation that the protocol prescribes, at the raw speed of its library, measured in the same run on the same machine;
*of floor* is the floor's time divided by the time it took. Bulk work and lookups per second are held against the floor
on all cores at once, p50 of a single lookup against the floor's sum on one core with its waits for the disk. More than
100 % means that the floor itself was measured in a slower moment: read such a figure as "at the floor".

Everything ran on one machine: the asking node, the broker and every partner as a process of its own, mutual TLS between
them, and the command that asks. *Best peer* is the fastest of the [other ways to do the same job](peers.md), the unsafe
one included; it is empty where no peer does that job.

Several runs made these figures; of one that was measured twice the newest counts. The tables by part say when the run
of a part began, how long that whole run took, the load (the system's mean over one minute, at the moment that the
report noted its machine, the bench itself included), and the share of all cores that other processes had during the
floor and the stages that measure the part. A part that several runs measured has a row for each, with the figures that
are its own.
"""


def page(before: Results, after: Results) -> str:
    """docs/performance.md: what is measured now, beside what was measured before."""
    measured_before = [*parts_table(before), ""]
    if after.newest.began == before.newest.began:
        figures = [*before.figures.values()]
        return "\n".join([_INTRODUCTION, *measured_before, *_plain(figures), "", *floor(before.newest), ""])
    known = set(after.figures)
    gone = [one for name, one in before.figures.items() if name not in known]
    parts = [_INTRODUCTION, "## Now", "", compare.markdown(before, after), "## Before", "", *measured_before]
    if gone:
        parts += ["Measured then, and not in the newest reports:", "", *_plain(gone), ""]
    return "\n".join([*parts, *floor(before.newest), ""])


def first_page(found: Results) -> str:
    """The table of README.md; what was not measured is left out."""
    rows = []
    for name, part, what in SHOWN:
        one = found.figures.get((part, what))
        if one is not None:
            share = f"; {one.ratio:.0%} of the floor" if one.ratio is not None else ""
            rows.append((name, f"{number(one.value)} {one.unit}{share}"))
    runs = {found.runs[part, what] for _, part, what in SHOWN if (part, what) in found.runs}
    cores = " or ".join(sorted({f"{run.machine['cores']}" for run in runs}))
    days = " and ".join(sorted({f"{run.began:%Y-%m-%d}" for run in runs}))
    facts = f"{cores} cores of a virtual machine, {days}"
    head = f"{facts}, everything on it: broker, asking node and partners, each a process."
    return "\n".join((head, "", *table(("what", "measured"), rows), ""))


def peers_table(found: Results) -> str:
    """The table of docs/peers.md: a row per way, a column per job."""
    figures = found.of(peers.PART)
    if not figures:
        return "No report has the part `peers`.\n"
    ways: dict[str, dict[str, Figure]] = {}
    for one in figures:
        way, _, job = one.what.partition(": ")
        ways.setdefault(way, {})[job] = one
    jobs = list(next(iter(ways.values())))
    rows = [(way, *(_cell(done.get(job)) for job in jobs)) for way, done in ways.items()]
    return "\n".join((*parts_table(found, {peers.PART}), "", *table(("way", *jobs), rows), ""))


def replaced(text: str, part: str) -> str:
    """A page with this text between its two marks. Raises NotMeasuredError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NotMeasuredError(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{part}{END}{after}"


def _cell(one: Figure | None) -> str:
    return f"{number(one.value)} {one.unit}" if one else ""


def _plain(figures: list[Figure]) -> Iterator[str]:
    rows = [(one.part, one.what, _cell(one), f"{one.ratio:.0%}" if one.ratio is not None else "") for one in figures]
    yield from table(("part", "what", "measured", "of floor"), rows)
