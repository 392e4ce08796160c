"""A quarter goes over with real processes and the commands that people type, while somebody is asked about.

The clocks of all processes are shifted together: to the day before a quarter, then over its boundary and its overlap.
Somebody whom both sources know is asked about all the time: nothing is lost, and nothing is ever false.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from bekend_deploy import pki
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, Partner
from bekend_proto.clock import epoch_of, epoch_start, next_epoch, previous_epoch
from bekend_proto.errors import UnreachableError

from tests.federation.fixtures_small import LAUNCHER, Small, small_federation
from tests.support.clocks import SteeredClock

HIT, FAULT, MISS = "bekend", "geen_antwoord", "geen_uitsluitsel"
SOURCES = (POLITIE, RECLASSERING)
WAITS, DONE = 6, 0
SECONDS = 90.0
DAY = timedelta(days=1)


class Turn:
    """The federation, the quarter that begins, and what its people do."""

    def __init__(self, small: Small, begins: datetime, shift: float) -> None:
        """`begins`: the quarter; `shift`: seconds by which the clocks are ahead."""
        self.small = small
        self.begins = begins
        self.shift = shift
        self.before, self.after = previous_epoch(epoch_of(begins)), epoch_of(begins)

    def set_clocks(self, moment: datetime) -> None:
        self.shift = (moment - datetime.now(UTC)).total_seconds()
        self.small.shift_clock(self.shift)

    def hurry(self, seconds: float) -> None:
        """Set every clock this much further ahead."""
        self.shift += seconds
        self.small.shift_clock(self.shift)

    def run(self, partner: Partner | None, *words: str) -> tuple[int, list[dict[str, object]]]:
        """A command of this party: its exit code and findings."""
        room, config = ("broker", self.small.built.broker_config)
        if partner is not None:
            room, config = ("node", self.small.built.nodes[partner.oin].config)
        line = [*LAUNCHER, room, *words, "--config", str(config), "--json"]
        done = subprocess.run(line, capture_output=True, check=False)
        assert done.returncode in {DONE, WAITS}, done.stderr.decode() + done.stdout.decode()
        return done.returncode, json.loads(done.stdout).get("checks", [])

    def rotate(self, partner: Partner | None, *options: str) -> tuple[int, dict[str, str]]:
        """Exit code, and what waits: step to detail."""
        code, found = self.run(partner, "rotate", *options)
        return code, {str(one["what"]): str(one["detail"]) for one in found if not one["good"]}

    def status(self, partner: Partner) -> dict[str, Any]:
        try:
            return self.small.federation.status(partner.oin)
        except UnreachableError:
            return {}

    def epochs(self, *partners: Partner) -> set[object]:
        """The epochs that these sources answer in."""
        found = [self.status(partner).get("purposes", {}) for partner in partners]
        return {facts["epoch"] for purposes in found for facts in purposes.values()}

    def roots(self, partner: Partner | None) -> set[str]:
        kind = "b" if partner is None else "root"
        return {path.stem.partition("-")[2] for path in (self.small.folder(partner) / "keys").glob(f"{kind}-*.key")}

    def enrol(self, epoch: str, *partners: Partner) -> None:
        options = ("--epoch", epoch, "--as-of", self.today())
        wanted = [work for work in self.small.federation.imports() if work.node.partner in partners]
        with ThreadPoolExecutor(2) as together:
            list(together.map(lambda work: self.small.federation.enrol(work, *options), wanted))

    def today(self) -> str:
        return f"{datetime.now(UTC) + timedelta(seconds=self.shift):%Y-%m-%d}"

    def told(self) -> set[str]:
        """The outcomes about somebody whom both know: never a miss, whatever goes on."""
        found = set(self.small.told().values())
        assert MISS not in found
        return found

    def never_false(self) -> None:
        assert self.told() == {HIT}
        assert set(self.small.told(self.small.nobody).values()) == {MISS}

    def answered(self) -> bool:
        """Whether both answer now; time passes faster while they do not."""
        self.hurry(1)
        return self.told() == {HIT}

    def wait(self, partner: Partner | None, condition: object) -> None:
        self.small.process(partner).ready(condition, SECONDS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    begins = epoch_start(next_epoch(epoch_of(datetime.now(UTC))))
    start = begins - timedelta(hours=26)
    ahead = (start - datetime.now(UTC)).total_seconds()

    def shifted(federation: Federation) -> None:
        Small(federation).shift_clock(ahead)
        for work in federation.imports():
            # Lists of that day too.
            os.utime(work.path, (start.timestamp(), start.timestamp()))

    with (
        # Papers of that day, certificates of this one.
        patch.object(pki, "LIFE", 300 * DAY),
        patch.object(pki, "_SKEW", 200 * DAY),
        small_federation(
            tmp_path_factory.mktemp("rotation"),
            Settings(filter_interval="PT1M"),
            prepare=shifted,
            clock=SteeredClock(start),
        ) as small,
    ):
        yield Turn(small, begins, ahead)


def test_fg_21_the_next_quarter_is_enrolled_beside_the_present_one_and_the_gate_says_who_is_not_over(
    turn: Turn,
) -> None:
    # Keys and manifests of the next quarter were made with the papers: the lists are what waits.
    code, waits = turn.rotate(None)
    assert code == WAITS
    for partner in SOURCES:
        assert "not enrolled for" in waits[f"partner {partner.oin}"]
        code, lists = turn.rotate(partner)
        assert code == WAITS
        assert lists
        assert all(name.startswith("list ") for name in lists), lists
        turn.never_false()
        turn.enrol("next", partner)
        # And again, with nothing left to do.
        assert turn.rotate(partner)[0] == DONE
        assert turn.epochs(partner) == {turn.before}
    left = turn.rotate(None)[1]
    assert not {f"partner {partner.oin}" for partner in SOURCES} & left.keys()
    turn.never_false()


def test_fg_21_over_the_boundary_no_lookup_is_lost_and_none_is_false(turn: Turn) -> None:
    turn.set_clocks(turn.begins - timedelta(seconds=40))
    # That jump itself ended every filter; from here on no clock makes one.
    turn.wait(OM, lambda: turn.told() == {HIT})
    present = turn.epochs(*SOURCES)
    assert present == {turn.before}
    while present != {turn.after}:
        # Time passes a little faster than outside.
        turn.hurry(1)
        outcomes, before = turn.told(), present
        present = turn.epochs(*SOURCES)
        # What is under way while a source goes over may be asked again, at most.
        assert outcomes == {HIT} or (outcomes <= {HIT, FAULT} and present != before)
    turn.never_false()
    # Both quarters' keys are there for a week.
    assert {turn.before, turn.after} <= turn.roots(POLITIE)


def test_fg_21_after_the_overlap_the_keys_before_are_destroyed_everywhere(turn: Turn) -> None:
    turn.set_clocks(turn.begins + 7 * DAY + timedelta(hours=1))
    # The lists are too old by then: nothing is answered until newer ones are there, and a switch came.
    assert turn.told() == {FAULT}
    turn.enrol("current", *SOURCES)
    for partner in SOURCES:
        os.kill(turn.small.process(partner).pid, signal.SIGHUP)
        turn.wait(partner, lambda partner=partner: turn.before not in turn.roots(partner))
    turn.rotate(None)
    assert turn.before not in turn.roots(None)
    turn.wait(OM, turn.answered)
    turn.never_false()
