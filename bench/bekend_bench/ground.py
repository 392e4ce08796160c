"""The federation that is measured: one requester, up to 35 sources, one broker, each a process, over mutual TLS.

It is the demo's federation with other numbers of partners and persons: the OM asks municipalities, which answer under a
standing decision. Persons are of kind `test`, which only demo and bench covenants admit.
"""

import contextlib
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import overload

from bekend_deploy import building
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.importing import Import
from bekend_deploy.partners import OM, SEVEN, ZVH, ZVH_WEIGHING, Pair, Partner, partners
from bekend_deploy.population import Fixed, Population, Row
from bekend_deploy.processes import Process, ProcessFailed
from bekend_deploy.questions import Truth
from bekend_node.control_client import ControlClient
from bekend_node.schedule import next_switch
from bekend_policy.load import load_covenant
from bekend_proto.clock import Clock
from bekend_proto.shape import MAX_SOURCES

from bekend_bench.filling import PURPOSE, REGISTER, fill, random_pseudonyms

REQUESTER = OM
SOURCES = 35
GROUP = 6
"""Partners in a question of ordinary size."""

FEW, SMALL, MEDIUM, LARGE = 1_000, 10_000, 100_000, 1_000_000
"""Pseudonyms per source, by group."""

READY_SECONDS = 1800.0
"""How long the filters of newly enrolled sources may take to be built."""

_INTERVAL = timedelta(days=1)
_PER_DAY = 10_000_000
_FIRST_PERSON = 10**11
SETTINGS = Settings("test", _PER_DAY, _PER_DAY, filter_interval="P1D", max_persons=1, max_sources=MAX_SOURCES)
_NOBODY = Fixed(*(str(_FIRST_PERSON - number) for number in (1, 2, 3)))
"""The demo's fixed persons are in no register here."""


@dataclass(frozen=True)
class Ground:
    """A federation on disk, and its sources by number of pseudonyms."""

    federation: Federation
    groups: Mapping[int, Sequence[Partner]]
    hosts: dict[str, Process] = field(default_factory=dict)
    """By OIN, processes that serve several nodes (crowd.py)."""

    @property
    def sources(self) -> list[Partner]:
        """All of them, the smallest first."""
        return [one for size in sorted(self.groups) for one in self.groups[size]]

    def pids(self, members: Sequence[Partner]) -> set[int]:
        """The processes that serve these nodes."""
        return {(self.hosts.get(one.oin) or self.federation.nodes[one.oin]).pid for one in members}

    def start(self, members: Sequence[Partner]) -> None:
        """Start those of these nodes that do not run yet, a few at a time; the requester then gets their filters.

        Raises ProcessFailed when one does not serve, or has no filter within READY_SECONDS.
        """
        missing = [one.oin for one in members if one.oin not in self.federation.nodes]
        with ThreadPoolExecutor(4) as together:
            list(together.map(self.federation.start_node, missing))
        wanted = [oin for oin in missing if oin != REQUESTER.oin]
        if wanted and REQUESTER.oin in self.federation.nodes:
            self.await_filters(wanted)

    def await_filters(self, wanted: Sequence[str], requester: Partner = REQUESTER) -> None:
        """Open the purpose at a requester until it holds the filters of these sources. Raises ProcessFailed."""
        deadline = time.monotonic() + READY_SECONDS
        with ControlClient(self.federation.built.nodes[requester.oin].socket) as client:
            while wanted:
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"no filter after {READY_SECONDS:.0f} s: {wanted}")
                reply = client.call({"op": "open", "purpose": PURPOSE, "sources": list(wanted)})
                wanted = [oin for oin, state in reply["filters"].items() if state != "ok"]
                time.sleep(0.1)

    def stop(self, members: Sequence[Partner]) -> None:
        """Stop these nodes."""
        running = [one.oin for one in members if one.oin in self.federation.nodes]
        with ThreadPoolExecutor(8) as together:
            list(together.map(self.federation.stop_node, running))

    def import_of(self, partner: Partner) -> Import:
        """The register of one source, as `bekend node enrol` reads it."""
        node = self.federation.built.nodes[partner.oin]
        return Import(node, REGISTER, node.imports[REGISTER])


@contextlib.contextmanager
def ground(groups: Mapping[int, int], clock: Clock, *, registers: bool, pages: bool = False) -> Iterator[Ground]:
    """Build a federation with so many sources (values) of so many pseudonyms (keys), and start its broker.

    With `registers` every source has a register of that many rows, else of one: its store is then filled (filling.py).
    With `pages` the nodes have them.
    On leaving, its processes end and its folder is removed.
    """
    now = clock.now()
    lay = layout(groups, now, registers=registers)
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        built = building.build(Path(name), lay.members, lay.pairs, lay.population, SETTINGS, now=now, pages=pages)
        with Federation(built, Truth(lay.members, lay.pairs, lay.population)) as federation:
            federation.start_broker()
            yield Ground(federation, lay.placed)


@dataclass(frozen=True)
class Layout:
    """Who takes part, who answers whom, and what stands in the registers; `placed` are the sources by size."""

    members: Sequence[Partner]
    pairs: Sequence[Pair]
    population: Population
    placed: Mapping[int, Sequence[Partner]]


def layout(groups: Mapping[int, int], now: datetime, *, registers: bool, further: Sequence[Partner] = ()) -> Layout:
    """A federation with so many sources (values) of so many pseudonyms (keys), as `ground` builds it.

    `further`: who takes part besides, and is no source.
    """
    count = sum(groups.values())
    every = partners(len(SEVEN) + max(0, count - 2))
    # The weighing names its coordinator and Haarlem, so these are always there; it is never asked here.
    municipal = [one for one in every if one.kind == "college_bw"][:count]
    sources = iter(_latest_switch_last(municipal, now))
    placed = {size: [next(sources) for _ in range(groups[size])] for size in sorted(groups)}
    rows = {size: Rows(size if registers else 1) for size in groups}
    held = {(one.oin, REGISTER): rows[size] for size, group in placed.items() for one in group}
    population = Population("test", (), {**held, (OM.oin, OM.registers[0]): []}, _NOBODY, now.date())
    pairs = [Pair(PURPOSE, one.oin, "standaardbesluit", (REGISTER,)) for one in municipal]
    pairs.append(Pair(ZVH_WEIGHING, OM.oin, "handmatig", OM.registers))
    return Layout([OM, *further, ZVH, *municipal], pairs, population, placed)


def populate(field: Ground, clock: Clock, *, enrol: bool) -> None:
    """Give every source its pseudonyms: by enrolment, or random ones."""
    federation = field.federation
    if enrol:
        work = [field.import_of(one) for one in field.sources]
        with ThreadPoolExecutor(2) as together:
            list(together.map(federation.enrol, work))
        return
    most = max(field.groups)
    pseudonyms, covenant = random_pseudonyms(most), load_covenant(federation.built.covenant)
    for size, group in field.groups.items():
        for one in group:
            fill(federation.built, covenant, federation.built.nodes[one.oin], pseudonyms[:: most // size], clock.now())


def a_person(draw: random.Random) -> str:
    """Somebody whom nobody knows: what an officer asks about most."""
    return str(draw.randrange(2 * _FIRST_PERSON, 10 * _FIRST_PERSON))


class Rows(Sequence[Row]):
    """A register of so many persons, each made when it is looked at: ten million take no memory."""

    def __init__(self, count: int) -> None:
        self._numbers = range(_FIRST_PERSON, _FIRST_PERSON + count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [_row(number) for number in self._numbers[place]]
        return _row(self._numbers[place])


def _row(number: int) -> Row:
    return Row(str(number), None)


def _latest_switch_last(members: Sequence[Partner], now: datetime) -> list[Partner]:
    """Large filters go to partners that rebuild theirs latest: a switch within the run would disturb it."""
    return sorted(members, key=lambda one: next_switch(one.oin, _INTERVAL, int(now.timestamp())))
