"""`bekend node doctor`: each fault brought about for real, and named with its remedy."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_deploy.partners import POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_node.app import start_node
from bekend_node.checks import check_all
from bekend_node.cli import app
from bekend_node.config import load_config
from bekend_node.keys import root_file
from bekend_node.store import Store
from bekend_policy.manifest import parse_manifest
from bekend_proto.clock import epoch_of, next_epoch
from bekend_proto.findings import Finding, State
from bekend_proto.note import note_name, parse_note, sign_note
from typer.testing import CliRunner

from tests.support.between import inspector
from tests.support.clocks import SteeredClock
from tests.support.federation import PEOPLE, Federation, until
from tests.support.nodes import NodeHome
from tests.support.pki import DAY, Authority

REGISTER = POLITIE.registers[0]


@dataclass
class Patient:
    """A partner's machine, with a broker beside it."""

    home: NodeHome
    port: int

    async def look(self, *, canary: bool = False, clock: SteeredClock | None = None) -> dict[str, Finding]:
        """What doctor finds, by what was looked at."""
        config = load_config(self.home.folder / "node.yaml")
        chosen = clock or self.home.federation.clock
        found = await asyncio.to_thread(lambda: list(check_all(config, chosen, canary=canary)))
        return {one.what: one for one in found}

    def write(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        tree = self.home.tree(self.port)
        change(tree)
        (self.home.folder / "node.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    def broker(self, found: dict[str, Finding]) -> list[Finding]:
        return [one for what, one in found.items() if f"localhost:{self.port}" in what]


@pytest.fixture
async def patient(tmp_path: Path, authority: Authority) -> AsyncIterator[Patient]:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        made = Patient(home, broker.port)
        made.write()
        home.fill(broker.port, PEOPLE)
        # An import leaves this one too.
        Store.open(home.data).close()
        yield made


async def test_a_node_in_service_is_all_right_up_to_its_canary(patient: Patient) -> None:
    async with patient.home.node(patient.port):
        found = await patient.look(canary=True)
    wrong = {what: one for what, one in found.items() if one.state is State.FAIL}
    assert not wrong
    assert found["running node"].good
    assert found[f"canary under {ZSM_CONTEXT}, over the broker"].good
    assert found[f"lists for {ZSM_CONTEXT}"].good


async def test_what_pages_and_facade_show_and_whom_the_facade_believes(patient: Patient, tmp_path: Path) -> None:
    systems = Authority(tmp_path / "systems", "Systems CA")
    far = patient.home.federation.clock.now() - datetime.now(UTC)
    lasts: dict[str, Any] = {"starts": min(far, timedelta()) - DAY, "ends": max(far, timedelta()) + 20 * DAY}
    shown = systems.issue(POLITIE.oin, **lasts)
    site = {"origin": "https://bekend.example", "certificate": str(shown.certificate), "key": str(shown.key)}
    tokens = {"issuer": "https://login.example", "audience": "https://bekend.example", "clients": ["gcos"]}
    who = {"roles": {"officier": ["officier"]}, "acr": ["mfa"]}
    lists = {"client_authorities": str(systems.path), "client_crl": str(systems.revoke(since=-far))}

    def write(tree: dict[str, Any]) -> None:
        tree["rest"] = {"listen": "127.0.0.1:8481", **site, **lists, "tokens": tokens | who}

    patient.write(write)
    found = await patient.look()
    certificate = found["certificate of the facade for case systems"]
    assert (certificate.state, "no restart" in certificate.remedy) == (State.WARN, True)
    assert found["list of revoked certificates of case systems"].good
    systems.revoke(since=timedelta(hours=73) - far)
    stale = (await patient.look())["list of revoked certificates of case systems"]
    assert (stale.state, "timer" in stale.remedy) == (State.FAIL, True)
    shown.key.chmod(0o644)
    assert (await patient.look())["certificate of the facade for case systems"].state is State.FAIL


async def test_a_node_that_does_not_run_is_looked_at_all_the_same(patient: Patient) -> None:
    found = await patient.look()
    assert found["running node"].state is State.WARN
    assert "bekend node serve" in found["running node"].detail
    assert found["database node.db"].good
    assert all(one.good for one in patient.broker(found))


async def test_a_running_node_whose_broker_went_away(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        patient = Patient(home, broker.port)
        home.fill(broker.port, PEOPLE)
        node = await start_node(home.config(broker.port), federation.clock)
        await node.attachments[0].attached.wait()
        await node.directory.wait()
        await node.filters.tick()
        await node.filters.settle()
    try:
        await until(lambda: not node.attachments[0].attached.is_set())
        found = await patient.look(canary=True)
    finally:
        await node.stop(1)
    address = f"localhost:{patient.port}"
    attached = found[f"attached to {address}"]
    assert attached.state is State.FAIL
    assert "`attach-lost`" in attached.remedy
    assert found[f"broker {address}"].state is State.FAIL
    canary = found[f"canary under {ZSM_CONTEXT}, over the broker"]
    assert canary.state is State.FAIL
    assert canary.detail.startswith("geen_antwoord")


async def test_a_running_node_that_has_no_lists(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker, home.node(broker.port):
        found = await Patient(home, broker.port).look()
    assert found[f"filter for {ZSM_CONTEXT}"].state is State.FAIL
    assert "bekend node enrol" in found[f"filter for {ZSM_CONTEXT}"].detail


async def test_a_standing_decision_that_is_missing(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, RECLASSERING.oin)
    async with federation.broker() as broker:
        config = home.config(broker.port)
        assert config.standing_decisions is not None
        shutil.rmtree(config.standing_decisions)
        found = await Patient(home, broker.port).look()
    decisions = [one for what, one in found.items() if what.startswith("standing decision for ")]
    assert decisions
    assert all(one.state is State.WARN and "until the ondertekenaar signs one" in one.detail for one in decisions)


async def test_a_clock_that_is_behind_that_of_the_broker(patient: Patient) -> None:
    behind = SteeredClock(patient.home.federation.clock.now() - timedelta(seconds=90))
    found = await patient.look(clock=behind)
    (clock,) = [one for what, one in found.items() if what.startswith("clock beside")]
    assert clock.state is State.FAIL
    assert "90 s behind" in clock.detail
    assert "timedatectl set-ntp true" in clock.remedy


async def test_a_broker_that_is_gone_under_its_name(patient: Patient) -> None:
    patient.write(lambda tree: tree["brokers"][0].update(address="broker.invalid:7443"))
    found = await patient.look()
    broker = found["broker broker.invalid:7443"]
    assert broker.state is State.FAIL
    assert "name server" in broker.detail


async def test_tls_inspection_between_node_and_broker(patient: Patient, tmp_path: Path) -> None:
    firewall = Authority(tmp_path / "firewall", "Gemeente Firewall CA")
    async with inspector(firewall.issue(POLITIE.oin, name="shown")) as port:
        patient.write(lambda tree: tree["brokers"][0].update(address=f"localhost:{port}"))
        found = (await patient.look())[f"broker localhost:{port}"]
    assert found.state is State.FAIL
    assert "TLS inspection" in found.detail
    assert "CN=Gemeente Firewall CA" in found.detail


async def test_a_proxy_that_only_the_environment_names(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    found = (await patient.look())["proxy"]
    assert found.state is State.WARN
    assert "`proxy` in node.yaml" in found.remedy


async def test_an_organisation_that_the_covenant_does_not_name(patient: Patient, authority: Authority) -> None:
    stranger = authority.issue(
        "00000099000000007777", name="stranger", starts=timedelta(days=-200), ends=timedelta(days=300)
    )
    tls = {"certificate": str(stranger.certificate), "key": str(stranger.key), "authorities": str(authority.path)}
    patient.write(lambda tree: tree.update(tls=tls))
    found = await patient.look()
    assert found["certificate"].state is State.FAIL
    assert "use the own certificate" in found["certificate"].detail
    refused = found[f"broker localhost:{patient.port}"]
    assert refused.state is State.FAIL
    assert "Ask its operator" in refused.remedy


async def test_a_key_that_others_may_read(patient: Patient) -> None:
    key = patient.home.folder / "keys" / "signing.key"
    key.chmod(0o640)
    found = (await patient.look())["keys, covenant, manifest"]
    assert found.state is State.FAIL
    assert f"chmod 600 {key}" in found.detail


async def test_keys_that_are_not_those_of_the_manifest(patient: Patient) -> None:
    root = root_file(patient.home.folder / "keys", epoch_of(patient.home.federation.clock.now()))
    root.write_text("11" * 32 + "\n")
    found = (await patient.look())["keys, covenant, manifest"]
    assert found.state is State.FAIL
    assert "restore the keys" in found.detail


async def test_a_covenant_that_was_changed_after_it_was_signed(patient: Patient) -> None:
    page = next((patient.home.federation.covenant_folder / "doelen").iterdir())
    page.write_text(page.read_text().replace("titel: ", "titel: Stiekem ", 1))
    assert (await patient.look())["keys, covenant, manifest"].state is State.FAIL


async def test_a_mapping_that_one_person_approved(patient: Patient) -> None:
    patient.home.write_mapping(REGISTER, signers=1)
    assert (await patient.look())[f"mapping of {REGISTER}"].state is State.FAIL


async def test_a_manifest_and_a_covenant_that_end_soon(patient: Patient) -> None:
    federation, party = patient.home.federation, patient.home.party
    soon = federation.clock.now() + timedelta(days=10)
    manifest = replace(parse_manifest(parse_note(party.note).text), valid_until=soon.replace(microsecond=0))
    note = sign_note(manifest.text(), note_name(party.oin, "ondertekenaar"), bytes(party.signer))
    (patient.home.folder / "manifest.note").write_bytes(note)
    federation.write_covenant(lambda folder: _ends(folder / "afspraken.yaml", soon))
    found = await patient.look()
    assert found["end of the manifest"].state is State.WARN
    assert "bekend node manifest" in found["end of the manifest"].remedy
    assert found["end of the covenant"].state is State.WARN
    assert "next version" in found["end of the covenant"].remedy


def _ends(page: Path, moment: datetime) -> None:
    page.write_text(re.sub(r"(?m)^geldig_tot_en_met: .*$", f"geldig_tot_en_met: {moment:%Y-%m-%d}", page.read_text()))


async def test_the_next_quarter_is_near_and_nothing_is_ready_for_it(patient: Patient) -> None:
    clock = patient.home.federation.clock
    coming = next_epoch(epoch_of(clock.now()))
    clock.set(clock.now() + timedelta(days=36))
    found = await patient.look()
    assert found[f"keys of {coming}"].state is State.WARN
    assert "bekend node manifest" in found[f"keys of {coming}"].remedy
    lists = found[f"lists for {ZSM_CONTEXT}"]
    assert not lists.good


async def test_a_list_that_was_never_imported(patient: Patient) -> None:
    shutil.rmtree(patient.home.data)
    found = (await patient.look())[f"lists for {ZSM_CONTEXT}"]
    assert found.state is State.FAIL
    assert "bekend node enrol" in found.detail


@pytest.mark.parametrize("name", ["node.db", "registers.db"])
async def test_a_database_that_is_damaged(patient: Patient, name: str) -> None:
    path = patient.home.data / name
    octets = bytearray(path.read_bytes())
    octets[4096 * 2 : 4096 * 8] = b"\xff" * 4096 * 6
    path.write_bytes(octets)
    found = (await patient.look())[f"database {name}"]
    assert found.state is State.FAIL
    assert "restore" in found.detail


async def test_a_file_of_pseudonyms_that_is_damaged(patient: Patient) -> None:
    path = next((patient.home.data / "pseudonyms").glob("*.pseudonyms"))
    path.write_bytes(path.read_bytes()[:-32])
    found = (await patient.look())["database registers.db"]
    assert found.state is State.FAIL
    assert "import the register" in found.detail


async def test_nobody_may_decide(patient: Patient) -> None:
    shutil.rmtree(patient.home.folder / "decisions", ignore_errors=True)
    patient.write(lambda tree: tree.update(desk_staff=[]))
    found = await patient.look()
    desks = [one for what, one in found.items() if what.startswith("desk for ")]
    assert all("desk_staff" in one.detail for one in desks)


def test_a_configuration_that_cannot_be_read_is_a_fault_and_no_finding(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("oin: 1\n")
    result = CliRunner().invoke(app, ["doctor", "--config", str(tmp_path / "node.yaml"), "--json"])
    assert result.exit_code == 1
    assert "node.yaml" in json.loads(result.output)["fault"]
