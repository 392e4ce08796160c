"""A new version of the covenant at a node: fetched, looked at, accepted, beside the old one; nothing goes back.

A change-over never makes a miss: a question under a version that this node does not hold, or that its filter does not
fit, gets no answer (protocol section 2).
"""

import asyncio
import copy
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_broker import covenants as at_broker
from bekend_broker.app import Broker
from bekend_broker.directory import Directory as BrokerDirectory
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node import covenants
from bekend_node.app import Node, start_node
from bekend_node.covenants import Offer
from bekend_node.serving import Serving
from bekend_policy.versions import FOLDER, Version, files_of, held, keep
from bekend_proto.errors import CovenantError, NotReadyError

from tests.support.clocks import SteeredClock
from tests.support.federation import PEOPLE, Federation, until
from tests.support.nodes import NodeHome, bit, fetch
from tests.support.pki import Authority
from tests.support.suspensions import version_two

KNOWN, UNKNOWN = PEOPLE[0], PEOPLE[1]


@dataclass
class Scene:
    """A police node, a broker, and the OM as a party that speaks either version."""

    federation: Federation
    home: NodeHome
    broker: Broker

    @property
    def port(self) -> int:
        return self.broker.port

    def go_by(self, version: int) -> None:
        """What the OM asks under."""
        self.federation.covenant_name = {1: "convenant", 2: "convenant-2"}[version]

    async def offer_second(self, change: "object" = version_two) -> None:
        """A second version in service at the broker."""
        self.go_by(2)
        self.federation.write_covenant(change)  # type: ignore[arg-type]
        folder = self.federation.covenant_folder
        self.go_by(1)
        at_broker.add(self.federation.config(), folder, self.federation.clock.now())
        assert await self.broker.reload()

    async def offer_later(self, change: "object") -> None:
        """A second version at the broker whose first day has not come: not in service, so not to be fetched yet."""
        self.go_by(2)
        self.federation.write_covenant(change)  # type: ignore[arg-type]
        folder = self.federation.covenant_folder
        self.go_by(1)
        at_broker.add(self.federation.config(), folder, self.federation.clock.now())

    def put_on_offer(self) -> None:
        """What came by hand, as if it had been fetched."""
        self.go_by(2)
        version = Version(self.federation.covenant, self.federation.covenant_folder)
        keep(files_of(version), self.home.data / FOLDER / "offered", version.covenant.hash)
        self.go_by(1)

    async def fetched(self) -> list[Offer]:
        return await covenants.fetch(self.home.config(self.port), self.federation.clock)

    def accept(self, chosen: str = "2") -> None:
        self.go_by(1)
        covenants.accept(self.home.config(self.port), chosen, self.federation.clock.now())

    async def bits(self, version: int) -> list["bool | str"]:
        """What the OM learns under a version: about somebody whom the police knows, and about somebody else."""
        self.go_by(version)
        om = self.federation.parties[OM.oin]
        try:
            filter_ = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
            assert filter_.header.covenant_hash == self.federation.covenant.hash
            return [await bit(om, POLITIE.oin, ZSM_CONTEXT, person, filter_) for person in (KNOWN, UNKNOWN)]
        except CovenantError:
            return ["covenant"]
        finally:
            self.go_by(1)


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        home.fill(broker.port, [KNOWN])
        yield Scene(federation, home, broker)


async def test_what_is_proposed_is_told_with_its_changes_and_signatures_and_leaves_when_it_is_in_force(
    scene: Scene,
) -> None:
    config, clock = scene.home.config(scene.port), scene.federation.clock
    present = [version.covenant.hash for version in covenants.present(config, clock.now())]
    assert (covenants.proposed(config, clock.now()), covenants.waiting(config, present)) == ([], 0)
    await scene.offer_second()
    await scene.fetched()
    (one,) = covenants.proposed(config, clock.now())
    assert (one.covenant.version, one.accepted, one.fault) == (2, False, None)
    assert "versie 1 naar versie 2" in one.changes[0]
    assert {it.state for it in one.signatures} == {"getekend"}
    assert covenants.waiting(config, present) == 1
    scene.accept()
    assert covenants.proposed(scene.home.config(scene.port), clock.now()) == []


async def test_a_fetched_version_shows_what_it_changes_and_counts_for_nothing(scene: Scene) -> None:
    def change(folder: Path) -> None:
        version_two(folder)
        path = folder / "doelen" / "zsm-context.yaml"
        path.write_text(path.read_text("utf-8").replace("PT72H", "PT48H"), "utf-8")

    assert await scene.fetched() == []
    await scene.offer_second(change)
    async with scene.home.node(scene.port) as node:
        (offer,) = await scene.fetched()
        assert (offer.covenant.version, offer.fault) == (2, None)
        assert "2 dagen" in "\n".join(offer.changes)
        assert await node.reload()
        await node.attachments[0].attached.wait()
        assert [one["version"] for one in node.status()["covenants"]] == [1]
        assert await scene.bits(2) == ["covenant"]


async def test_a_node_answers_under_both_versions_from_the_same_filter(scene: Scene) -> None:
    await scene.offer_second()
    async with scene.home.node(scene.port) as node:
        before = node.filters.serving(ZSM_CONTEXT).version
        await scene.fetched()
        scene.accept()
        assert await node.reload()
        await node.attachments[0].attached.wait()
        assert [one["version"] for one in node.status()["covenants"]] == [2, 1]
        assert await scene.bits(1) == [True, False]
        assert await scene.bits(2) == [True, False]
        # No switch came in between: nobody was without an answer, and no moment shows the change-over.
        assert node.filters.serving(ZSM_CONTEXT).version == before
    async with scene.home.node(scene.port) as node:
        assert [one["version"] for one in node.status()["covenants"]] == [2, 1]
        assert await scene.bits(1) == [True, False]
        assert await scene.bits(2) == [True, False]


def sooner(folder: Path) -> None:
    version_two(folder)
    path = folder / "doelen" / "zsm-context.yaml"
    path.write_text(path.read_text("utf-8") + "filter_interval: PT1M\n", "utf-8")


async def test_where_a_new_version_has_filters_switch_sooner_nobody_holds_one_longer_than_it_says(scene: Scene) -> None:
    await scene.offer_second(sooner)
    # Well before the end of the filter that begins now.
    scene.federation.clock.advance(timedelta(minutes=5))
    async with scene.home.node(scene.port) as node:
        serving = node.filters.serving(ZSM_CONTEXT)
        await scene.fetched()
        scene.accept()
        assert await node.reload()
        await node.attachments[0].attached.wait()
        await node.filters.tick()
        now = scene.federation.clock.now().timestamp()
        moment = node.filters.next_switch(ZSM_CONTEXT)
        assert moment is not None
        assert now < moment <= now + 60 < serving.end
        ends = {}
        for version in (1, 2):
            scene.go_by(version)
            ends[version] = (await fetch(scene.federation.parties[OM.oin], POLITIE.oin, ZSM_CONTEXT)).header.end
        scene.go_by(1)
        assert ends == {1: serving.end, 2: moment}
        # And it does switch then.
        for left in (5, 0):
            left_over = moment - left - scene.federation.clock.now().timestamp()
            scene.federation.clock.advance(timedelta(seconds=max(0, left_over)))
            await node.filters.tick()
            await node.filters.settle()
        assert node.filters.serving(ZSM_CONTEXT).version == moment
        assert await scene.bits(2) == [True, False]


async def ticked(node: Node) -> None:
    await node.filters.tick()
    await node.filters.settle()


async def let_go(node: Node) -> None:
    """Tick until the node goes by its clock again: a look that was under way heard the replica's as it was before."""
    doubted = True
    while doubted:
        await node.directory.refresh()
        await node.filters.tick()
        try:
            node.filters.serving(ZSM_CONTEXT)
            doubted = False
        except NotReadyError as fault:
            doubted = "ahead" in fault.detail


@asynccontextmanager
async def with_own_clock(scene: Scene) -> AsyncIterator[tuple[Node, SteeredClock, Serving]]:
    """A node beside a version on offer that has filters switch sooner, with a clock that can leap, and its filter."""
    await scene.offer_second(sooner)
    scene.federation.clock.advance(timedelta(minutes=5))
    own = copy.copy(scene.federation.clock)
    node = await start_node(scene.home.config(scene.port), own)
    try:
        await node.directory.wait()
        await ticked(node)
        yield node, own, node.filters.serving(ZSM_CONTEXT)
    finally:
        await node.stop(2)


async def test_a_broker_that_says_an_early_time_holds_no_filter_past_the_sooner_moment_of_a_new_version(
    scene: Scene,
) -> None:
    """The node doubts its clock and switches nothing; what it answers ends by that clock all the same (ADR 0049)."""
    async with with_own_clock(scene) as (node, own, before):
        own.advance(timedelta(minutes=2))
        await scene.fetched()
        scene.accept()
        assert await node.reload()
        await ticked(node)
        moment = node.filters.next_switch(ZSM_CONTEXT)
        assert moment is not None
        assert moment <= own.now().timestamp() + 60 < before.end
        for late, answers in ((59, True), (60, False), (600, False)):
            own.set(datetime.fromtimestamp(moment + late, UTC))
            await ticked(node)
            if answers:
                assert node.filters.serving(ZSM_CONTEXT) is before
            else:
                with pytest.raises(NotReadyError, match="ahead of the broker's"):
                    node.filters.serving(ZSM_CONTEXT)
        assert node.filters.next_switch(ZSM_CONTEXT) == moment
        # It is let go: what was built for that moment is past its own end by now.
        scene.federation.clock.set(own.now())
        await let_go(node)
        await ticked(node)
        await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT).version == int(own.now().timestamp())


@pytest.mark.parametrize("changes", [False, True])
async def test_what_waited_for_a_clock_in_doubt_serves_as_long_as_it_would_have(scene: Scene, changes: bool) -> None:
    """Not when a version came that has its successor due by then: who was shielded meanwhile stays shielded."""
    async with with_own_clock(scene) as (node, own, before):
        scene.federation.clock.set(datetime.fromtimestamp(before.end - 5, UTC))
        own.set(scene.federation.clock.now())
        await ticked(node)
        own.advance(timedelta(seconds=5 + 180))
        await ticked(node)
        if changes:
            await scene.fetched()
            scene.accept()
            assert await node.reload()
        scene.federation.clock.set(own.now())
        await let_go(node)
        if changes:
            with pytest.raises(NotReadyError, match="late"):
                node.filters.serving(ZSM_CONTEXT)
            await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT).version == (int(own.now().timestamp()) if changes else before.end)


async def test_a_node_that_lacks_the_version_of_the_question_makes_no_miss(scene: Scene) -> None:
    await scene.offer_second()
    async with scene.home.node(scene.port):
        filter_ = await fetch(scene.federation.parties[OM.oin], POLITIE.oin, ZSM_CONTEXT)
        scene.go_by(2)
        for person in (KNOWN, UNKNOWN):
            found = await bit(scene.federation.parties[OM.oin], POLITIE.oin, ZSM_CONTEXT, person, filter_)
            assert found == "covenant"


async def test_a_version_with_other_registers_is_not_answered_from_a_filter_of_the_old_ones(scene: Scene) -> None:
    def change(folder: Path) -> None:
        version_two(folder)
        path = folder / "doelen" / "zsm-context.yaml"
        text = path.read_text("utf-8")
        assert POLITIE.registers[0] in text
        path.write_text(text.replace(f"- {POLITIE.registers[0]}", f"- {POLITIE.registers[0]}\n    - extra"), "utf-8")

    await scene.offer_second(change)
    om = scene.federation.parties[OM.oin]
    async with scene.home.node(scene.port) as node:
        filter_ = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
        await scene.fetched()
        scene.accept()
        assert await node.reload()
        await node.attachments[0].attached.wait()
        for version in (1, 2):
            scene.go_by(version)
            for person in (KNOWN, UNKNOWN):
                assert await bit(om, POLITIE.oin, ZSM_CONTEXT, person, filter_) == "not_ready"


async def test_fg_05_an_older_version_that_is_offered_again_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that goes on with the first version as if it were new."""
    first = Version(scene.federation.covenant, scene.federation.covenant_folder)
    await scene.offer_second()
    await scene.fetched()
    scene.accept()
    config = scene.home.config(scene.port)
    async with scene.home.node(scene.port):
        pass  # it went by the second
    # The change-over is over: the first is held no more.
    shelf = config.data / FOLDER
    shutil.rmtree(shelf / first.covenant.hash.hex())
    honest = BrokerDirectory.response

    def lying(self: BrokerDirectory, is_attached: object, have: bytes = b"") -> object:
        reply = honest(self, is_attached, have)  # type: ignore[arg-type]
        reply.covenant_hashes[:] = [first.covenant.hash]
        return reply

    monkeypatch.setattr(BrokerDirectory, "response", lying)
    (offer,) = await scene.fetched()
    assert offer.fault is not None
    assert "not newer" in offer.fault
    with pytest.raises(CovenantError, match="not newer"):
        scene.accept("1")
    async with scene.home.node(scene.port) as node:
        assert [one["version"] for one in node.status()["covenants"]] == [2]
        assert await scene.bits(1) == ["covenant"]


async def test_fg_05_a_node_does_not_start_with_less_than_it_went_by(scene: Scene) -> None:
    await scene.offer_second()
    await scene.fetched()
    scene.accept()
    async with scene.home.node(scene.port):
        pass
    shutil.rmtree(scene.home.data / FOLDER)
    with pytest.raises(CovenantError):
        async with scene.home.node(scene.port):
            pass


async def test_a_version_accepted_beforehand_begins_on_its_first_day_by_itself(scene: Scene) -> None:
    today = scene.home.today
    first_day = today + timedelta(days=1)

    def change(folder: Path) -> None:
        version_two(folder)
        path = folder / "afspraken.yaml"
        text = path.read_text("utf-8")
        path.write_text(re.sub(r"geldig_vanaf: '[^']+'", f"geldig_vanaf: '{first_day}'", text), "utf-8")

    await scene.offer_later(change)
    # What the broker meets after its first day waits for the operator: it has to have looked before.
    assert await scene.broker.reload()
    async with scene.home.node(scene.port) as node:
        scene.put_on_offer()
        scene.accept()
        assert await node.reload()
        await node.attachments[0].attached.wait()
        assert [one["version"] for one in node.status()["covenants"]] == [1]
        scene.federation.clock.advance(timedelta(days=1))
        await until(lambda: [one["version"] for one in node.status()["covenants"]] == [2, 1])
        # The broker looks by itself too, at another moment.
        await until(lambda: len(scene.broker._directory.present.covenants) == 2)
        assert len((await scene.federation.parties[OM.oin].directory()).covenant_hashes) == 2


@pytest.mark.parametrize("who", [POLITIE.oin, "beheerder", "quorum"])
async def test_fg_05_a_version_without_the_signatures_that_it_demands_is_not_accepted(scene: Scene, who: str) -> None:
    await scene.offer_second()
    notes = scene.federation.folder / "convenant-2" / "handtekeningen"
    oin = {"beheerder": scene.federation.covenant.broker_oin, "quorum": OM.oin}.get(who, who)
    (notes / f"{oin}.note").unlink()
    for folder in held(scene.federation.config().data / FOLDER).values():
        (folder / "handtekeningen" / f"{oin}.note").unlink()
    offers = await scene.fetched()
    fault = next(offer.fault for offer in offers if offer.covenant.version == 2)
    assert fault is not None
    with pytest.raises(CovenantError):
        scene.accept()
    async with scene.home.node(scene.port) as node:
        assert [one["version"] for one in node.status()["covenants"]] == [1]


async def test_what_a_broker_sends_under_another_hash_is_not_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = BrokerDirectory.response

    def lying(self: BrokerDirectory, is_attached: object, have: bytes = b"") -> object:
        reply = honest(self, is_attached, have)  # type: ignore[arg-type]
        reply.covenant_hashes[:] = [bytes(32)]
        return reply

    monkeypatch.setattr(BrokerDirectory, "response", lying)
    with pytest.raises(CovenantError):
        await scene.fetched()
    files = files_of(Version(scene.federation.covenant, scene.federation.covenant_folder))
    with pytest.raises(CovenantError):
        keep(files, scene.home.data / FOLDER / "offered", bytes(32))
    assert not held(scene.home.data / FOLDER / "offered")


async def test_the_commands_as_an_operator_types_them(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority, clock=SteeredClock(datetime.now(UTC)))
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        home.config(broker.port)
        scene = Scene(federation, home, broker)
        code, output = await _covenant(home, "fetch")
        assert (code, "Nothing new" in output) == (0, True)
        await scene.offer_second()
        code, output = await _covenant(home, "fetch")
        assert (code, "bekend node covenant accept" in output, "versie 1 naar versie 2" in output) == (0, True, True)
        code, _ = await _covenant(home, "accept", "7")
        assert code == 1
        code, output = await _covenant(home, "accept", "2")
        assert (code, "SIGHUP" in output) == (0, True)
        code, output = await _covenant(home, "list", "--json")
        assert [one["version"] for one in json.loads(output)["versions"]] == [2, 1]


async def _covenant(home: NodeHome, *words: str) -> tuple[int, str]:
    command = (sys.executable, "-m", "bekend_deploy.cli", "node", "covenant", *words)
    config = ("--config", str(home.folder / "node.yaml"))
    process = await asyncio.create_subprocess_exec(*command, *config, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
