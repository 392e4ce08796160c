"""A federation of real processes on one machine: one broker, a node per partner, mutual TLS between them.

    with Federation.build(folder, persons=40, seed=1) as federation:
        federation.start()
        federation.enrol_all()
        federation.wait_for_filters()
        answered = federation.lookup(OM, ZSM_CONTEXT, [person])

Used by the demo, the tests and the bench. Processes are started with the command `bekend` of this installation, asked
over their own control sockets, and never outlive the process that started them.
"""

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bekend_node.control_client import ControlClient
from bekend_proto.clock import Clock, SystemClock, day_of
from bekend_proto.errors import BekendError

from bekend_deploy import building, holdings, population
from bekend_deploy.answered import Answered, ask
from bekend_deploy.covenant import Settings
from bekend_deploy.health import serves
from bekend_deploy.importing import Import, Imported
from bekend_deploy.partners import (
    CONFUSED,
    HAARLEM,
    OM,
    RADICAL,
    SOCIAL,
    VEILIG_THUIS,
    VT_TRIAGE,
    ZSM_CONSENT,
    ZSM_CONTEXT,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
    Partner,
    agreements,
    by_oin,
)
from bekend_deploy.partners import partners as first_partners
from bekend_deploy.processes import BEKEND, Process, ProcessFailed
from bekend_deploy.questions import CASES, CONDITIONS, Question, Truth

READY_SECONDS = 90.0
"""How long a process may take to serve, on a busy machine."""
REPLY_TERM_SECONDS, COLLECT_SECONDS = 15, 3
"""How long a colleague has to decide, and how often that is asked, where nobody waits for days: demo and tests."""


class Federation:
    """Made by `build`. Not thread-safe, but lookups are: any number of threads may ask at once."""

    def __init__(self, built: building.Built, truth: Truth) -> None:
        self.built = built
        self.truth = truth
        self.members: Sequence[Partner] = truth.members
        self.population = truth.population
        self.broker: Process | None = None
        self.nodes: dict[str, Process] = {}
        self._names = by_oin(truth.members)

    @classmethod
    def build(
        cls,
        folder: Path,
        *,
        partners: int = 7,
        persons: int = 2_000,
        seed: int = 1,
        settings: Settings | None = None,
        kind: str = "",
        clock: Clock | None = None,
        pages: bool = False,
        with_release: bool = False,
    ) -> "Federation":
        """Write PKI, keys, signed covenant, manifests, configurations and registers under an empty folder.

        With `pages` each node has its pages, on loopback, for whoever runs this; with `with_release` there are the
        purposes where colleagues decide, within seconds unless `settings` say otherwise.
        """
        now = (clock or SystemClock()).now()
        members = first_partners(partners)
        pairs = agreements(members, with_release=with_release)
        people = population.generate([one.clients for one in members], persons, seed, day_of(now), kind)
        chosen = settings or Settings(kind=people.kind)
        if settings is None and with_release:
            chosen = replace(chosen, reply_term=f"PT{REPLY_TERM_SECONDS}S", collect_interval=f"PT{COLLECT_SECONDS}S")
        built = building.build(folder, members, pairs, people, chosen, now=now, pages=pages)
        return cls(built, Truth(members, pairs, people))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- processes

    def start(self, on_ready: Callable[[str], None] = lambda _: None) -> None:
        """Start the broker, then all nodes at once; returns when every one serves."""
        self.start_broker()
        on_ready("broker")
        for member in self.members:
            self._launch(member.oin)
        for member in self.members:
            self._await_node(member.oin)
            on_ready(member.name)

    def start_broker(self) -> None:
        """Start the broker and wait until its health service says that it serves."""
        built = self.built
        words = ("broker", "serve", "--config", str(built.broker_config))
        self.broker = Process("broker", words, built.folder / "broker" / "broker.log")
        self.broker.ready(lambda: serves(f"localhost:{built.broker_port}", built.broker_tls), READY_SECONDS)

    def start_node(self, oin: str) -> None:
        """Start one node and wait until it serves and is attached to the broker."""
        self._launch(oin)
        self._await_node(oin)

    def wait_until_attached(self) -> None:
        """Wait until every node that runs is attached to the broker, as after a restart of it."""
        for oin in self.nodes:
            self._await_node(oin)

    def stop_node(self, oin: str) -> None:
        """SIGTERM: the node finishes what it is doing and leaves."""
        self.nodes.pop(oin).stop()

    def kill_node(self, oin: str) -> None:
        """SIGKILL: the node is gone at once."""
        self.nodes.pop(oin).kill()

    def stop(self) -> None:
        """End everything. Safe to call at any moment and more than once."""
        running = [*self.nodes.values(), *([self.broker] if self.broker else [])]
        self.nodes.clear()
        self.broker = None
        with ThreadPoolExecutor(max(1, len(running))) as together:
            list(together.map(Process.stop, running))

    def status(self, oin: str) -> dict[str, Any]:
        """What a node says of itself. Raises UnreachableError when it does not run."""
        with ControlClient(self.built.nodes[oin].socket) as client:
            return client.call({"op": "status"})

    def wait_for_interrupt(self) -> None:
        """Stay until Ctrl-C, or until a process ends by itself."""
        try:
            while all(process.alive for process in (self.broker, *self.nodes.values()) if process):
                signal.sigtimedwait({signal.SIGUSR1}, 1)
        except KeyboardInterrupt:
            return

    # --- enrolment

    def imports(self) -> list[Import]:
        """Every register that some purpose needs."""
        return [
            Import(node, register, path)
            for node in self.built.nodes.values()
            for register, path in node.imports.items()
        ]

    def enrol_all(self, on_done: Callable[[Imported], None] = lambda _: None, parallel: int = 2) -> list[Imported]:
        """Enrol every register with `bekend node enrol`, `parallel` at a time. Raises ProcessFailed."""

        def one(work: Import) -> Imported:
            done = self.enrol(work)
            on_done(done)
            return done

        with ThreadPoolExecutor(parallel) as together:
            return list(together.map(one, self.imports()))

    def enrol(self, work: Import, *options: str) -> Imported:
        """Enrol one register, as `Import.run`."""
        seconds = work.run(*options)
        partner = work.node.partner
        rows = self.population.registers[partner.oin, work.register]
        persons = len({row.identifier for row in rows})
        return Imported(partner.oin, partner.name, work.register, persons, seconds)

    def wait_for_filters(self, seconds: float = 60) -> None:
        """Wait until every source of every purpose has published its filter, by opening the purposes as officers do.

        Raises ProcessFailed when one stays away.
        """
        deadline = time.monotonic() + seconds
        for requester, purpose, principal in self._openers():
            while missing := self._closed(requester, purpose, principal):
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"no filter after {seconds:.0f} s: {purpose} of {missing}")
                time.sleep(0.1)

    def _closed(self, requester: Partner, purpose: str, principal: Partner | None) -> dict[str, str]:
        """Sources of which the requester cannot have the filter now, with the reason."""
        sources = {pair.oin for pair in self.truth.pairs if pair.purpose == purpose}
        wanted = [m.oin for m in self.members if m.oin in sources and m is not requester]
        request = {"op": "open", "purpose": purpose, "sources": wanted}
        with ControlClient(self.built.nodes[requester.oin].socket) as client:
            reply = client.call(request | ({"on_behalf_of": principal.oin} if principal else {}))
        if reply["type"] != "result":
            return {requester.oin: str(reply)}
        return {oin: state for oin, state in reply["filters"].items() if state != "ok"}

    def _openers(self) -> list[tuple[Partner, str, Partner | None]]:
        purposes = {pair.purpose for pair in self.truth.pairs}
        return [one for one in _OPENERS if one[1] in purposes]

    # --- questions

    def ask(self, question: Question) -> Answered:
        """One question of the demo, to every partner but the requester."""
        return self.lookup(question.requester, question.purpose, question.persons, on_behalf_of=question.on_behalf_of)

    def ask_while_stopping(self, question: Question, oin: str) -> Answered:
        """Suspend a partner, ask, and kill it once another one has answered: its question is then under way."""
        self.nodes[oin].signal(signal.SIGSTOP)

        def kill(outcome: dict[str, Any]) -> None:
            if outcome["outcome"] != "niet_bevraagd" and oin in self.nodes:
                self.kill_node(oin)

        return self.lookup(question.requester, question.purpose, question.persons, on_outcome=kill)

    def lookup(
        self,
        requester: Partner,
        purpose: str,
        persons: Sequence[str],
        *,
        on_behalf_of: Partner | None = None,
        sources: Sequence[str] | None = None,
        case: str | None = None,
        attested: Sequence[str] | None = None,
        justification: str | None = None,
        on_outcome: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Answered:
        """Ask through the requester's control socket. Sources, case and conditions are those that fit, unless given.

        Raises ProcessFailed when the node replies with an error of its own, UnreachableError when it does not run.
        """
        request: dict[str, Any] = {
            "op": "ask",
            "purpose": purpose,
            "sources": list(self.truth.chosen(requester, purpose) if sources is None else sources),
            "kind": self.population.kind,
            "identifiers": list(persons),
            "case": CASES[purpose] if case is None else case,
            "attested": list(CONDITIONS[purpose] if attested is None else attested),
        }
        if on_behalf_of is not None:
            request["on_behalf_of"] = on_behalf_of.oin
        if justification is not None:
            request["justification"] = justification
        shown = self.truth.sources(requester) if sources is None else sources
        names = {oin: self.name_of(oin) for oin in shown if oin in self._names}
        return ask(self.built.nodes[requester.oin].socket, request, requester.name, names, on_outcome)

    # --- where colleagues decide

    def call(self, partner: Partner, **request: Any) -> dict[str, Any]:
        """One request to a node's control socket: at the desk, about answers that came later, about consents.

        Raises ProcessFailed when it is refused, with the rule.
        """
        with ControlClient(self.built.nodes[partner.oin].socket) as client:
            reply = client.call(request)
        if reply["type"] != "result":
            raise ProcessFailed(f"{partner.name}: {reply}")
        return reply

    def later(self, requester: Partner, case: str) -> dict[tuple[int, str], dict[str, Any]]:
        """What the requester's officer sees of a case by now, by person (from 0) and source."""
        found = self.call(requester, op="answers", case=case)["answers"]
        return {(int(it["person"]), str(it["oin"])): it for one in found for it in one["outcomes"]}

    # --- looking back

    def holdings(self) -> list[holdings.Holding]:
        """What the broker and each node have on disk and in memory now."""
        numbers = set(self.population.people)
        found = [holdings.read("broker", self.built.folder / "broker", _pid(self.broker), numbers)]
        for oin, node in self.built.nodes.items():
            inputs = (node.folder / "import").iterdir()
            found.append(holdings.read(node.partner.name, node.folder, _pid(self.nodes.get(oin)), numbers, inputs))
        return found

    def name_of(self, oin: str) -> str:
        """A partner's name."""
        return self._names[oin].name

    def config_of(self, oin: str) -> Path:
        """The configuration of a partner's node."""
        return self.built.nodes[oin].config

    @property
    def command(self) -> str:
        """How to type `bekend` in this installation."""
        beside = Path(sys.executable).with_name("bekend")
        words = ("bekend",) if shutil.which("bekend") else (str(beside),) if beside.exists() else BEKEND
        return shlex.join(words)

    # --- readiness

    def _launch(self, oin: str) -> None:
        node = self.built.nodes[oin]
        words = ("node", "serve", "--config", str(node.config), *(("--dev",) if node.pages else ()))
        self.nodes[oin] = Process(node.partner.slug, words, node.folder / "node.log")

    def _await_node(self, oin: str) -> None:
        self.nodes[oin].ready(lambda: self._node_serves(oin), READY_SECONDS)

    def _node_serves(self, oin: str) -> bool:
        if not self.built.nodes[oin].socket.exists():
            return False
        try:
            return all(self.status(oin)["brokers"].values())
        except BekendError:
            return False


_OPENERS: tuple[tuple[Partner, str, Partner | None], ...] = (
    (OM, ZSM_CONTEXT, None),
    (OM, ZSM_LOCAL, None),
    (ZVH, ZVH_WEIGHING, HAARLEM),
    (HAARLEM, SOCIAL, None),
    (VEILIG_THUIS, VT_TRIAGE, None),
    (HAARLEM, CONFUSED, None),
    (OM, RADICAL, None),
    (OM, ZSM_CONSENT, None),
)


def _pid(process: Process | None) -> int | None:
    return process.pid if process and process.alive else None
