"""The shipped covenant, with keys of a test's own: whoever answers only by hand enrols, serves and answers."""

import getpass
import re
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.app import start_broker
from bekend_broker.config import load_config as load_broker
from bekend_deploy import building
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import BROKER_OIN, Pair, Partner
from bekend_deploy.population import Population, generate
from bekend_node.app import Node, start_node
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.config import BrokerAddress, NodeConfig
from bekend_node.config import load_config as load_node
from bekend_node.enrol.command import enrol_file
from bekend_node.enrol.lists import Wanted
from bekend_policy.load import load_covenant
from bekend_policy.model import Mode
from bekend_proto.clock import day_of
from bekend_proto.identifiers import parse_identifier
from bekend_proto.note import add_signature, parse_note, sign_note
from bekend_proto.v1 import signed_pb2

from tests.support.clocks import SteeredClock

CATALOGUE = Path(__file__).parents[2] / "policy" / "convenant" / "kennemerland"
POLITIE, VEILIG_THUIS = "00000099000000002000", "00000099000000006000"
TRIAGE = "kennemerland/vt-triage"
BY_MACHINE = "zsm-context.yaml"
"""Where the police answer the OM by machine: left out here, so that all that is left is by hand."""


def write_catalogue(folder: Path, _members: Any, _pairs: Any, **keys: Any) -> None:
    """The shipped files, but for keys and dates: those of the example belong to nobody."""
    shutil.copytree(CATALOGUE, folder)
    (folder / "doelen" / BY_MACHINE).unlink()
    for path in (folder / "deelnemers").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        oin = re.search(r'^oin: "(\d+)"', text, re.MULTILINE)
        assert oin is not None
        text = re.sub(r"(?m)^jurist: .*\n", "", text)
        path.write_text(re.sub(r"(?m)^ondertekenaar: .*$", f'ondertekenaar: "{keys["signers"][oin[1]]}"', text))
    agreement = folder / "afspraken.yaml"
    text = re.sub(r"(?m)^  sleutel: .*$", f'  sleutel: "{keys["operator"]}"', agreement.read_text(encoding="utf-8"))
    text = re.sub(r'(?m)^  oin: "00000099000000009000"', f'  oin: "{BROKER_OIN}"', text)
    agreement.write_text(re.sub(r"(?m)^geldig_vanaf: .*$", f"geldig_vanaf: {keys['today']}", text), encoding="utf-8")


def with_labels(node: building.NodeFiles, label: str) -> None:
    """Every row labelled, in mappings that say where: the shipped covenant lets the police load nobody else (FG-39)."""
    first, second = node.off_line.approvers
    for register, path in node.imports.items():
        names, *rows = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([f"{names};grond", *(f"{row};{label}" for row in rows)]) + "\n", encoding="utf-8")
        mapping = node.folder / "mappings" / f"{register}.note"
        text = parse_note(mapping.read_bytes()).text + "  label: grond\n"
        mapping.write_bytes(add_signature(sign_note(text, first.name, first.seed), second.name, second.seed))


@dataclass
class Served:
    """The police's node and the one of Veilig Thuis, in service under the shipped covenant."""

    police: Node
    veilig_thuis: Node
    population: Population
    covenant: Any


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    now = datetime.now(UTC).replace(microsecond=0)
    clock, shipped = SteeredClock(now), load_covenant(CATALOGUE)
    purposes = [one for one in shipped.purposes if one.partition("/")[2] + ".yaml" != BY_MACHINE]
    pairs = [
        Pair(purpose, oin, source.mode.value, source.registers)
        for purpose in purposes
        for oin, source in shipped.sources(purpose).items()
        if source.mode is not Mode.NEVER
    ]
    members = []
    for oin, one in shipped.participants.items():
        registers = tuple(sorted({it for pair in pairs if pair.oin == oin for it in pair.registers})) or ("geen",)
        members.append(Partner(oin, one.name, one.kind.value, f"partner-{oin[-6:]}", registers))
    population = generate([one.clients for one in members], 12, 1, day_of(now))
    folder = tmp_path / "federation"
    folder.mkdir()
    built = building.build(folder, members, pairs, population, Settings(), now=now, write=write_catalogue)
    with_labels(built.nodes[POLITIE], "wpg-8")
    config = load_broker(built.broker_config).model_copy(update={"listen": "127.0.0.1:0", "metrics": None})
    async with AsyncExitStack() as stack:
        broker = await start_broker(config, clock)
        stack.push_async_callback(broker.stop, 0)

        def config_of(oin: str) -> NodeConfig:
            address = (BrokerAddress(address=f"localhost:{broker.port}"),)
            changes = {"brokers": address, "metrics": None, "workers": 1}
            return load_node(built.nodes[oin].config).model_copy(update=changes)

        for register, path in built.nodes[POLITIE].imports.items():
            with ThreadPoolExecutor(2) as executor:
                wanted = Wanted(register=register, file=path, as_of=day_of(now))
                await enrol_file(config_of(POLITIE), wanted, clock, executor, lambda *_: None)
        nodes = []
        for oin in (POLITIE, VEILIG_THUIS):
            node = await start_node(config_of(oin), clock)
            stack.push_async_callback(node.stop, 0)
            for attachment in node.attachments:
                await attachment.attached.wait()
            await node.directory.wait()
            await node.filters.tick()
            await node.filters.settle()
            nodes.append(node)
        await nodes[0].directory.refresh()
        yield Served(nodes[0], nodes[1], population, load_covenant(built.covenant))


async def test_a_node_that_answers_only_by_hand_serves_every_purpose_of_the_shipped_covenant(served: Served) -> None:
    answered = served.police.rules.now.answered()
    assert len(answered) >= 6
    assert {source.mode for source in answered.values()} == {Mode.MANUAL}
    for purpose, source in answered.items():
        assert source.reply_term is not None
        serving = served.police.filters.serving(purpose)
        assert serving.header.mode == signed_pb2.FILTER_MODE_MANUAL
        assert serving.header.tags == 0


async def test_it_is_asked_decides_and_is_collected_from(served: Served) -> None:
    person = served.population.fixed.everywhere
    inquiry = Inquiry(
        purpose=TRIAGE,
        persons=(parse_identifier("bsn", person),),
        sources=(POLITIE,),
        officer=OfficerRef("devries", "A. de Vries", "triagist"),
        case_reference="VT-2026-001234",
        attested=frozenset({"vermoeden-uit-melding", "alleen-betrokkenen"}),
        justification="nodig: voor de veiligheid van het kind; middel: alleen deze vraag; minder: kan hier niet",
    )
    told = [one async for one in served.veilig_thuis.asker.ask(inquiry) if one.oin == POLITIE]
    assert [one.outcome for one in told] == [OutcomeKind.PENDING]
    await served.police.comparing.compare_all()
    user = getpass.getuser()
    (item,) = [one["item"] for one in served.police.desk.waiting(user)["items"]]
    shown = await served.police.desk.show(user, item, absent=False)
    assert shown["person"]["value"] == person
    assert "Bpg 4:2(1)(i)" in shown["grounds"][0]["ground"]
