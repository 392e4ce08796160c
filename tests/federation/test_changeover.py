"""A change-over and an alarm, with real processes and the commands that people type.

All the while somebody whom both sources know is asked about: the outcome is `bekend` or `geen antwoord`, never
`geen uitsluitsel`. Nothing here waits for a time: every wait is for a condition.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import BROKER_OIN, COVENANT, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, Partner
from bekend_policy.keys import SigningKey
from bekend_policy.load import load_covenant
from bekend_policy.sign import sign_covenant
from bekend_policy.suspension import Suspension, What
from bekend_proto.errors import UnreachableError
from bekend_proto.note import sign_note

from tests.federation.fixtures_small import Small, small_federation

HIT, FAULT = "bekend", "geen_antwoord"
SECONDS = 60.0
REASON = "Oefening: gegevens lekken misschien"


class Drill:
    """The small federation, and what its people do."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.numbers = 0

    # --- the covenant

    def write_second(self) -> Path:
        """The next version, signed by every ondertekenaar and the operator."""
        built = self.small.built
        folder = built.folder / "covenant-2"
        shutil.copytree(built.covenant, folder)
        agreement = folder / "afspraken.yaml"
        agreement.write_text(agreement.read_text("utf-8").replace("versie: '1'", "versie: '2'"), "utf-8")
        for key in (*(node.off_line.signer for node in built.nodes.values()), built.operator):
            sign_covenant(folder, key)
        return folder

    def command(self, *words: str) -> str:
        """A command of `bekend` that goes well."""
        done = subprocess.run([sys.executable, "-m", "bekend_deploy.cli", *words], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return done.stdout.decode()

    def node(self, partner: Partner, *words: str) -> str:
        return self.command("node", *words, "--config", str(self.small.built.nodes[partner.oin].config))

    def broker(self, *words: str) -> str:
        return self.command("broker", *words, "--config", str(self.small.built.broker_config))

    def reload(self, partner: Partner | None) -> None:
        os.kill(self.small.process(partner).pid, signal.SIGHUP)

    def go_over(self, partner: Partner) -> None:
        """Fetch, accept and load the second version, and be attached again."""
        assert "versie 1 naar versie 2" in self.node(partner, "covenant", "fetch")
        self.node(partner, "covenant", "accept", "2")
        self.reload(partner)
        self.wait(partner, lambda: self.versions(partner) == [2, 1])
        self.small.federation.wait_until_attached()

    def status(self, partner: Partner) -> dict[str, Any]:
        try:
            return self.small.federation.status(partner.oin)
        except UnreachableError:
            return {}

    def versions(self, partner: Partner) -> list[int]:
        return [one["version"] for one in self.status(partner).get("covenants", [])]

    def kill_and_start(self, partner: Partner) -> None:
        self.small.federation.kill_node(partner.oin)
        self.small.federation.start_node(partner.oin)

    def wait(self, partner: Partner | None, condition: Any) -> None:
        self.small.process(partner).ready(condition, SECONDS)

    # --- the kill switch

    def note(self, what: What, about: str = "", by: str = BROKER_OIN, *, lifted: bool = False) -> str:
        """A signed note in a file."""
        self.numbers += 1
        found = Suspension(
            covenant_id=COVENANT,
            number=self.numbers,
            by=by,
            what=what,
            about=about,
            reason=REASON,
            since=datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1),
            lifted=lifted,
        )
        built = self.small.built
        key: SigningKey = built.operator if by == BROKER_OIN else built.nodes[by].off_line.signer
        path = built.folder / f"stil-{self.numbers}.note"
        path.write_bytes(sign_note(found.text(), key.name, key.seed))
        return str(path)

    # --- asking

    def told(self) -> dict[str, str]:
        """Outcomes about somebody whom both know; never a miss."""
        found = self.small.told()
        assert set(found.values()) <= {HIT, FAULT}
        return found

    def refused(self) -> str:
        """The reason why the own node asks nobody, or nothing."""
        return self.small.ask().refused or ""


BOTH = {POLITIE.oin: HIT, RECLASSERING.oin: HIT}


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    with small_federation(tmp_path_factory.mktemp("changeover")) as small:
        yield Drill(small)


def test_fg_43_drill_the_operator_stops_a_purpose_and_every_requester_stops_within_seconds(drill: Drill) -> None:
    assert drill.told() == BOTH
    assert "Suspended" in drill.broker("suspend", drill.note(What.PURPOSE, ZSM_CONTEXT))
    # The broker refuses from now on; the requester's own node does as soon as it has heard.
    drill.wait(OM, lambda: REASON in drill.refused())
    for partner in (POLITIE, RECLASSERING):
        drill.wait(partner, lambda partner=partner: bool(drill.status(partner).get("suspensions")))
    assert drill.status(OM)["suspensions"][0]["reason"] == REASON
    # Nobody forgets it: not the requester that is killed, not the broker that is.
    drill.kill_and_start(OM)
    drill.small.process(None).kill()
    drill.small.federation.start_broker()
    drill.small.federation.wait_until_attached()
    assert REASON in drill.refused()
    assert "Lifted" in drill.broker("suspend", drill.note(What.PURPOSE, ZSM_CONTEXT, lifted=True))
    drill.wait(OM, lambda: not drill.refused())
    drill.wait(OM, lambda: drill.told() == BOTH)


def test_fg_43_drill_a_partner_stops_itself_and_the_others_go_on(drill: Drill) -> None:
    stop = drill.note(What.NODE, POLITIE.oin, POLITIE.oin)
    assert "Suspended here" in drill.node(POLITIE, "suspend", stop)
    # At once: the police itself and the broker know.
    answered = drill.small.ask()
    assert {oin: answered.outcome(oin) for oin in BOTH} == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    drill.wait(OM, lambda: REASON in drill.small.ask().reason(POLITIE.oin))
    drill.kill_and_start(POLITIE)
    assert drill.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    drill.node(POLITIE, "resume", drill.note(What.NODE, POLITIE.oin, POLITIE.oin, lifted=True))
    drill.wait(OM, lambda: drill.told() == BOTH)


def test_a_change_over_makes_no_miss_and_ends_with_everybody_on_the_new_version(drill: Drill) -> None:
    second = drill.write_second()
    first = load_covenant(drill.small.built.covenant).hash.hex()
    drill.broker("covenant", "add", str(second))
    drill.reload(None)
    drill.wait(None, lambda: '"version": 2' in drill.broker("covenant", "list", "--json"))
    # The broker has both, every node the first.
    drill.wait(POLITIE, lambda: "versie 1 naar versie 2" in drill.node(POLITIE, "covenant", "fetch"))
    assert drill.told() == BOTH
    # A source goes first: it answers under both.
    drill.go_over(POLITIE)
    drill.wait(OM, lambda: drill.told() == BOTH)
    # Then the requester: who has not come along gives no answer, and says why.
    drill.go_over(OM)
    drill.wait(OM, lambda: drill.told()[POLITIE.oin] == HIT)
    answered = drill.small.ask()
    assert answered.outcome(RECLASSERING.oin) == FAULT
    assert "convenant" in answered.reason(RECLASSERING.oin)
    # And the last.
    drill.go_over(RECLASSERING)
    drill.wait(OM, lambda: drill.told() == BOTH)
    drill.broker("covenant", "retire", "1")
    drill.reload(None)
    drill.small.federation.wait_until_attached()
    drill.wait(OM, lambda: drill.told() == BOTH)
    assert first not in drill.broker("covenant", "list")


def test_fg_05_after_the_change_over_the_old_version_does_not_come_back(drill: Drill) -> None:
    built = drill.small.built
    with pytest.raises(AssertionError, match="not newer"):
        drill.broker("covenant", "add", str(built.covenant))
    # A restart of everybody, with configurations that still name the folder of the first version.
    for partner in (None, OM):
        drill.small.process(partner).stop()
        drill.small.start(partner)
    assert drill.versions(OM)[0] == 2
    assert drill.told() == BOTH
