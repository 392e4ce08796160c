"""Real processes, and colleagues who decide: who asks, who answers by hand, and hands to trouble them."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bekend_deploy import processes
from bekend_deploy.answered import Answered
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VT_TRIAGE,
    ZSM_CONSENT,
    ZSM_CONTEXT,
    Partner,
)
from bekend_deploy.release_run import JUSTIFICATION
from bekend_node.control_client import ControlClient
from bekend_proto.errors import BekendError

from tests.federation.fixtures_small import LAUNCHER, PERSONS, ROOT, Small

FIVE = (VEILIG_THUIS, POLITIE, RECLASSERING, OM, HAARLEM)
TERM_SECONDS, COLLECT_SECONDS = 600, 2
PATIENCE = 60.0

Places = dict[tuple[int, str], str]


def eventually(wanted: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


class ByHand(Small):
    """Veilig Thuis and the OM ask; police, reclassering and Haarlem have desks."""

    def __init__(self, federation: Federation) -> None:
        super().__init__(federation)
        self._cases = iter(range(1, 1000))
        self._ahead = 0.0

    def triage(
        self, persons: Sequence[str], sources: Sequence[Partner] = (POLITIE,), case: str | None = None
    ) -> tuple[str, Answered]:
        """Veilig Thuis asks, under a case of its own; the case, and what it was told."""
        case = case or f"VT-2026-{next(self._cases):06}"
        answered = self.federation.lookup(
            VEILIG_THUIS,
            VT_TRIAGE,
            persons,
            sources=[one.oin for one in sources],
            case=case,
            justification=JUSTIFICATION,
        )
        return case, answered

    def by_consent(self, person: str) -> str:
        """The OM asks Haarlem with consent; the case."""
        case = f"15/{next(self._cases):06}-26"
        self.federation.call(
            OM,
            op="consent",
            purpose=ZSM_CONSENT,
            case=case,
            partners=[HAARLEM.oin],
            giver="zelf",
            date=self.federation.population.today.isoformat(),
            scope="de gemeente vragen of zij mij kent",
            born="1980-02-29",
        )
        answered = self.federation.lookup(
            OM, ZSM_CONSENT, [person], sources=[HAARLEM.oin], case=case, justification=JUSTIFICATION
        )
        assert answered.outcome(HAARLEM.oin) == "in_behandeling"
        return case

    def later(self, requester: Partner, case: str) -> Places:
        """Outcomes of a case by now, per person and source."""
        return {place: str(one["outcome"]) for place, one in self.federation.later(requester, case).items()}

    def wait_for(self, requester: Partner, case: str, wanted: Places) -> None:
        """Until an officer is told exactly this."""
        eventually(lambda: self.later(requester, case) == wanted, f"{wanted}, but {self.later(requester, case)}")

    def open_all(self) -> None:
        """Wait until the filters of all desks are at hand, as officers who open the purposes find them."""
        for requester, purpose, sources in (
            (VEILIG_THUIS, VT_TRIAGE, (POLITIE, RECLASSERING)),
            (OM, ZSM_CONSENT, (HAARLEM,)),
            (OM, ZSM_CONTEXT, (POLITIE, RECLASSERING)),
        ):
            request = {"op": "open", "purpose": purpose, "sources": [one.oin for one in sources]}
            eventually(lambda: self._is_open(requester, request), f"filters of {purpose}")  # noqa: B023

    def _is_open(self, requester: Partner, request: dict[str, Any]) -> bool:
        try:
            filters = self.federation.call(requester, **request)["filters"]
        except (BekendError, processes.ProcessFailed):
            return False
        return all(state == "ok" for state in filters.values())

    # --- desks

    def desk(self, source: Partner, **request: Any) -> dict[str, Any]:
        """One act at a desk; a refusal comes back as it is."""
        with ControlClient(self.built.nodes[source.oin].socket) as client:
            return client.call({"op": "desk", **request})

    def items(self, source: Partner) -> list[str]:
        """What waits."""
        return [one["item"] for one in self.desk(source, act="list")["items"] if one["state"] == "wacht"]

    def item(self, source: Partner, known_before: Sequence[str] = ()) -> str:
        """The one item that is new at a desk."""

        def fresh() -> list[str]:
            try:
                return [one for one in self.items(source) if one not in known_before]
            except BekendError:
                return []

        eventually(lambda: len(fresh()) == 1, f"one item at {source.name}")
        return fresh()[0]

    def decide(self, source: Partner, item: str, act: str = "release", ground: str = "nodig") -> dict[str, Any]:
        return self.desk(source, act=act, item=item, ground=ground)

    # --- troubles

    def restart(self, partner: Partner | None) -> None:
        """SIGKILL, and up again."""
        self.process(partner).kill()
        if partner is None:
            self.federation.start_broker()
        else:
            self.federation.start_node(partner.oin)
        self.federation.wait_until_attached()

    def revive(self) -> None:
        """Whoever is down comes up again."""
        if not self.process(None).alive:
            self.federation.start_broker()
        for partner in FIVE:
            process = self.federation.nodes.get(partner.oin)
            if process is None or not process.alive:
                self.federation.nodes.pop(partner.oin, None)
                self.federation.start_node(partner.oin)
        self.federation.wait_until_attached()

    def after_the_term(self) -> None:
        """All clocks ahead, over the end of every term that runs."""
        self.ahead(TERM_SECONDS + COLLECT_SECONDS)

    def ahead(self, seconds: float) -> None:
        self._ahead += seconds
        self.shift_clock(self._ahead, None, *FIVE)

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`bekend` at the command line, with the shifted clock of its node."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*LAUNCHER, *words], input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=120
        )


@contextmanager
def federation_by_hand(folder: Path) -> Iterator[ByHand]:
    """Broker and five nodes as processes, enrolled, every filter published; terms of ten minutes, steered clocks."""
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    settings = Settings(
        reply_term=f"PT{TERM_SECONDS}S", collect_interval=f"PT{COLLECT_SECONDS}S", filter_interval="PT1M"
    )
    with (
        patch.object(processes, "BEKEND", LAUNCHER),
        patch.dict(os.environ, environment),
        Federation.build(folder, persons=PERSONS, seed=3, settings=settings, with_release=True) as federation,
    ):
        made = ByHand(federation)
        federation.start_broker()
        for partner in FIVE:
            federation._launch(partner.oin)
        federation.wait_until_attached()
        for work in federation.imports():
            if work.node.partner in FIVE[1:]:
                federation.enrol(work)
        made.open_all()
        yield made
