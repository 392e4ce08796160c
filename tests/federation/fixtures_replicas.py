"""Two replicas of the broker on one PostgreSQL database, each under its own name, and nodes attached to both.

Officers ask all the time, in threads, about persons of whom the answer is known: whatever dies meanwhile, no outcome
may be false, and only what was under way may be without one.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bekend_deploy import processes
from bekend_deploy.answered import Answered
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import (
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VT_TRIAGE,
    ZSM_CONTEXT,
    Partner,
)
from bekend_deploy.postgres_server import PostgresServer
from bekend_deploy.processes import Process
from bekend_deploy.questions import Question
from bekend_deploy.replicas import NAMES, Replica, configure
from bekend_policy.manifest import parse_manifest
from bekend_proto.note import parse_note, sign_note

from tests.federation.fixtures_release import COLLECT_SECONDS, TERM_SECONDS, ByHand, eventually
from tests.federation.fixtures_small import LAUNCHER, PERSONS, ROOT, SOURCES

FOUR = (OM, POLITIE, RECLASSERING, VEILIG_THUIS)
HIT, MISS, FAULT = "bekend", "geen_uitsluitsel", "geen_antwoord"


@dataclass(frozen=True)
class Told:
    """One lookup: when it began and ended, about whom, and what came of it."""

    began: float
    ended: float
    person: str
    outcomes: Mapping[str, str]

    @property
    def whole(self) -> bool:
        return FAULT not in self.outcomes.values()


class Replicas(ByHand):
    """The federation, and hands to trouble its replicas and their database with."""

    def __init__(self, federation: Federation, server: PostgresServer, replicas: Sequence[Replica]) -> None:
        super().__init__(federation)
        self.server = server
        self.replicas = {one.name: one for one in replicas}
        self.environment: dict[str, str] = {}
        """Of what is started from now on."""

    def start_replica(self, name: str) -> None:
        """Start it, and wait until its health service says that it serves."""
        one = self.replicas[name]
        one.environment = self.environment
        one.start()

    def change_replica(self, name: str) -> None:
        """SIGTERM, which lets what runs end; then start it, and wait until every node came back to it."""
        self.replicas[name].running.stop()
        self.bring_back(name)

    def change_node(self, partner: Partner) -> None:
        """SIGTERM; then start it, attached to every replica."""
        self.federation.stop_node(partner.oin)
        node = self.built.nodes[partner.oin]
        words = ("node", "serve", "--config", str(node.config))
        self.federation.nodes[partner.oin] = Process(partner.slug, words, node.folder / "node.log", self.environment)
        self.wait_for_nodes()
        self.open_all()

    def kill_replica(self, name: str) -> tuple[float, float]:
        """SIGKILL; the moments between which it died."""
        before = time.monotonic()
        self.replicas[name].running.kill()
        return before, time.monotonic()

    def bring_back(self, name: str) -> None:
        """Start it again, and wait until every node came back to it by itself."""
        self.start_replica(name)
        self.wait_for_nodes()

    def wait_for_nodes(self) -> None:
        self.federation.wait_until_attached()

    def open_all(self) -> None:
        """Wait until the filters of police and reclassering are at hand."""
        for requester, purpose in ((VEILIG_THUIS, VT_TRIAGE), (OM, ZSM_CONTEXT)):
            request = {"op": "open", "purpose": purpose, "sources": list(SOURCES)}
            eventually(lambda: self._is_open(requester, request), f"filters of {purpose}")  # noqa: B023

    def ask_about(self, person: str) -> Told:
        began = time.monotonic()
        answered: Answered = self.federation.lookup(OM, ZSM_CONTEXT, [person], sources=SOURCES)
        return Told(began, time.monotonic(), person, {oin: answered.outcome(oin) for oin in SOURCES})

    def right(self, told: Told) -> bool:
        """Every outcome is the truth, or that there is no answer."""
        truth = self.federation.truth.expected(Question("", ZSM_CONTEXT, OM, (told.person,)))
        return all(told.outcomes[oin] in (truth[0, oin], FAULT) for oin in SOURCES)

    @contextmanager
    def asking(self, threads: int = 3, seed: int = 1) -> Iterator[list[Told]]:
        """Officers who ask until the block ends; what they were told."""
        people = [self.somebody, self.nobody, *sorted(self.federation.population.people)[:20]]
        told: list[Told] = []
        failures: list[BaseException] = []
        ended = threading.Event()

        def officer(number: int) -> None:
            draw = random.Random(seed * 100 + number)
            while not ended.is_set():
                try:
                    told.append(self.ask_about(draw.choice(people)))
                except BaseException as fault:
                    failures.append(fault)
                    return

        crowd = [threading.Thread(target=officer, args=(number,)) for number in range(threads)]
        for one in crowd:
            one.start()
        try:
            yield told
        finally:
            ended.set()
            for one in crowd:
                one.join(60)
        assert not failures, failures


def wait_for(told: list[Told], wanted: Callable[[Told], bool], seconds: float = 60) -> Told:
    """The first lookup that is as wanted."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for one in list(told):
            if wanted(one):
                return one
        time.sleep(0.01)
    raise AssertionError("no such lookup in time")


def unpin(built: Any) -> None:
    """Manifests as the previous release wrote them: what is new in one is signed when every partner reads it."""
    signers = {built.folder / "broker": built.operator}
    signers |= {node.folder: node.off_line.signer for node in built.nodes.values()}
    for folder, signer in signers.items():
        note = folder / "manifest.note"
        manifest = replace(parse_manifest(parse_note(note.read_bytes()).text), tls_keys=())
        note.write_bytes(sign_note(manifest.text(), signer.name, signer.seed))


@contextmanager
def replicated(folder: Path, server: PostgresServer, release: Path | None = None) -> Iterator[Replicas]:
    """Two replicas and four nodes as processes, enrolled, every filter published; all of another release if given."""
    path = [str(release or ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    launcher = processes.BEKEND if release else LAUNCHER
    settings = Settings(
        reply_term=f"PT{TERM_SECONDS}S", collect_interval=f"PT{COLLECT_SECONDS}S", filter_interval="PT1M"
    )
    with (
        patch.object(processes, "BEKEND", launcher),
        patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(path)}),
        Federation.build(folder, persons=PERSONS, seed=3, settings=settings, with_release=True) as federation,
    ):
        made = Replicas(federation, server, configure(federation.built, server))
        if release:
            unpin(federation.built)
        try:
            for name in NAMES:
                made.start_replica(name)
            for partner in FOUR:
                federation._launch(partner.oin)
            made.wait_for_nodes()
            for work in federation.imports():
                if work.node.partner in FOUR[1:]:
                    federation.enrol(work)
            made.open_all()
            yield made
        finally:
            for one in made.replicas.values():
                if one.process is not None:
                    one.process.stop()
