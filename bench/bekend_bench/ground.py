"""The federation that is measured: one requester, 35 sources, one broker, each a process, over mutual TLS.

It is the demo's federation with fewer purposes and other numbers of persons: the OM asks municipalities, which answer
under a standing decision. Persons are of kind `test`, which only demo and bench covenants admit.
"""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bekend_deploy import building
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation, Import
from bekend_deploy.partners import HAARLEM, OM, SEVEN, ZSM_LOCAL, ZVH, ZVH_WEIGHING, Pair, Partner, partners
from bekend_deploy.population import Fixed, Population, Row
from bekend_deploy.questions import Truth
from bekend_node.schedule import next_switch
from bekend_proto.clock import Clock

PURPOSE = ZSM_LOCAL
REGISTER = "veiligheid"
REQUESTER = OM
SOURCES = 35
GROUP = 6
"""Partners in a question of ordinary size."""

FEW, SMALL, MEDIUM, LARGE = 1_000, 10_000, 100_000, 1_000_000
"""Pseudonyms per source, by group."""

_INTERVAL = timedelta(days=1)
_PER_DAY = 10_000_000
_FIRST_PERSON = 10**11


@dataclass(frozen=True)
class Ground:
    """The federation on disk, and its sources by size. `enrolling` is the source whose enrolment is measured."""

    federation: Federation
    enrolling: Partner
    groups: Mapping[int, Sequence[Partner]]

    @property
    def sources(self) -> list[Partner]:
        """All 35: small and large, and the one that was enrolled."""
        return [*(one for size in sorted(self.groups) for one in self.groups[size]), self.enrolling]

    def start(self, members: Sequence[Partner]) -> None:
        """Start those of these nodes that do not run yet, a few at a time."""
        missing = [one.oin for one in members if one.oin not in self.federation.nodes]
        with ThreadPoolExecutor(4) as together:
            list(together.map(self.federation.start_node, missing))

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
def ground(folder: Path, persons: int, clock: Clock, *, full: bool) -> Iterator[Ground]:
    """Build the federation; on leaving, end its processes. The enrolling source has `persons` rows in its register.

    With `full` every source has all its rows, else one each: its store is then filled (filling.py).
    """
    now = clock.now()
    members = [one for one in partners(len(SEVEN) - 2 + SOURCES) if one in {OM, ZVH} or one.kind == "college_bw"]
    sources = _latest_switch_last([one for one in members if one.kind == "college_bw"], now)
    large, medium, small = (sources[-GROUP * n : len(sources) - GROUP * (n - 1)] for n in (1, 2, 3))
    enrolling, *few = sources[: -3 * GROUP]
    groups = {FEW: few, SMALL: small, MEDIUM: medium, LARGE: large}
    rows = {size: _rows(size if full else 1) for size in groups}
    registers = {(one.oin, REGISTER): rows[size] for size, group in groups.items() for one in group}
    registers |= {(enrolling.oin, REGISTER): _rows(persons), (OM.oin, OM.registers[0]): []}
    population = Population("test", (), registers, Fixed("", "", ""), now.date())
    # The weighing is never asked here, but a purpose without a source is no purpose.
    pairs = [Pair(PURPOSE, one.oin, "standaardbesluit", (REGISTER,)) for one in sources]
    pairs.append(Pair(ZVH_WEIGHING, OM.oin, "handmatig", OM.registers))
    settings = Settings("test", _PER_DAY, _PER_DAY, filter_interval="P1D")
    built = building.build(folder, members, pairs, population, settings, now=now)
    with Federation(built, Truth(members, pairs, population)) as federation:
        yield Ground(federation, enrolling, groups)


def a_person(draw: random.Random) -> str:
    """Somebody whom nobody knows: what an officer asks about most."""
    return str(draw.randrange(2 * _FIRST_PERSON, 10 * _FIRST_PERSON))


def _rows(count: int) -> list[Row]:
    return [Row(str(_FIRST_PERSON + number), None) for number in range(count)]


def _latest_switch_last(members: Sequence[Partner], now: datetime) -> list[Partner]:
    """Large filters go to partners that rebuild theirs latest: a switch within the run would disturb it."""
    moments = {one.oin: next_switch(one.oin, _INTERVAL, int(now.timestamp())) for one in members}
    first, *others = sorted(members, key=lambda one: (one is not HAARLEM, moments[one.oin]))
    return [first, *others]
