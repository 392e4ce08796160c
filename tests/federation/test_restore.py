"""The drill: data is lost and put back from a backup, with real processes, while others look on (docs/backup.md)."""

import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bekend_deploy import restoring
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, Partner
from bekend_deploy.processes import Process, ProcessFailed
from bekend_node.control_client import ControlClient

from tests.federation.fixtures_small import SOURCES, Small, small_federation

HIT, MISS, FAULT = "bekend", "geen_uitsluitsel", "geen_antwoord"
BOTH, NEITHER, FAULTS = (dict.fromkeys(SOURCES, one) for one in (HIT, MISS, FAULT))
QUIET = 150.0
"""Seconds: what was put back answers nothing for two minutes."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    def prepare(federation: Federation) -> None:
        """Nodes that look at the broker's log twice a second."""
        for node in federation.built.nodes.values():
            node.config.write_text(node.config.read_text("utf-8") + "checkpoint_seconds: 0.5\n", "utf-8")

    settings = Settings(per_officer=100_000, per_organisation=100_000, filter_interval="PT1M")
    with small_federation(tmp_path_factory.mktemp("restore"), settings, prepare) as made:
        yield made


def alarms(small: Small, partner: Partner) -> list[tuple[str, bool]]:
    with ControlClient(small.built.nodes[partner.oin].socket) as client:
        log = client.call({"op": "status"})["log"]
    assert log["stopped"] is None
    return [(one["kind"], one["stops"]) for one in log["alarms"]]


def comes_to(small: Small, expected: dict[str, str], person: str | None = None) -> None:
    """Filters switch when clocks jump; until they did there is no answer, and at no moment a wrong one."""
    asked = person or small.somebody
    truth = MISS if asked == small.nobody else HIT

    def told() -> bool:
        found = small.told(asked)
        assert set(found.values()) <= {truth, FAULT}
        return found == expected

    small.process(OM).ready(told)


def test_a_backup_is_made_while_lookups_go_on_and_holds_no_key(
    small: Small, tmp_path_factory: pytest.TempPathFactory
) -> None:
    into = tmp_path_factory.getbasetemp() / "backups"
    told: list[dict[str, str]] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            told.append(small.told())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        made = [
            restoring.backup_node(small.federation, POLITIE.oin, into),
            restoring.backup_broker(small.federation, into),
        ]
    finally:
        ended.set()
        asking.join()
    assert told
    assert all(one == BOTH for one in told)
    restoring.bekend("node", "verify-backup", str(made[0]), "--config", str(small.federation.config_of(POLITIE.oin)))
    restoring.bekend("broker", "verify-backup", str(made[1]), "--config", str(small.built.broker_config))
    held = b"".join(path.read_bytes() for one in made for path in one.rglob("*") if path.is_file())
    secrets = [
        path.read_bytes().strip() for party in (None, POLITIE) for path in (small.folder(party) / "keys").iterdir()
    ]
    assert len(secrets) >= 8
    for secret in secrets:
        assert secret not in held
        assert bytes.fromhex(secret.decode()) not in held
    assert not [path for one in made for path in one.rglob("desk.db*")]


def backups(into: Path, party: str) -> Path:
    return max(path for path in into.iterdir() if path.name.startswith(f"{party}-"))


def test_a_node_whose_data_is_lost_comes_back_from_its_backup(
    small: Small, tmp_path_factory: pytest.TempPathFactory
) -> None:
    into = tmp_path_factory.getbasetemp() / "backups"
    assert small.told() == BOTH
    small.process(POLITIE).kill()
    config = small.federation.config_of(POLITIE.oin)
    restoring.lose(config)
    with pytest.raises(ProcessFailed, match="never used"):
        restoring.bekend("node", "restore", str(backups(into, "node")), "--config", str(config))
    restoring.set_log(config, "node-2")
    restoring.restore_node(small.federation, POLITIE.oin, backups(into, "node"), "node-2")
    small.federation.nodes.pop(POLITIE.oin)
    small.federation.start_node(POLITIE.oin)
    # Nobody is missed in silence: all that it says is that it cannot answer.
    assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    small.shift_clock(QUIET)
    comes_to(small, {POLITIE.oin: FAULT, RECLASSERING.oin: HIT})
    comes_to(small, {POLITIE.oin: FAULT, RECLASSERING.oin: MISS}, small.nobody)
    purposes = small.federation.status(POLITIE.oin)["purposes"]
    assert all("came back from a backup" in one["reason"] for one in purposes.values() if not one["by_hand"])
    restoring.enrol_again(small.federation, POLITIE.oin, small.nobody)
    small.open()
    comes_to(small, BOTH)
    comes_to(small, NEITHER, small.nobody)
    assert alarms(small, POLITIE) == alarms(small, OM) == []


def test_a_broker_whose_data_is_lost_comes_back_and_nobody_stops(
    small: Small, tmp_path_factory: pytest.TempPathFactory
) -> None:
    into = tmp_path_factory.getbasetemp() / "backups"
    assert small.told() == BOTH
    small.process(None).kill()
    restoring.lose(small.built.broker_config)
    restoring.restore_broker(small.federation, backups(into, "broker"), "main-2")
    small.federation.start_broker()
    small.federation.wait_until_attached()
    assert small.told() == FAULTS
    small.shift_clock(2 * QUIET)
    small.open()
    comes_to(small, BOTH)
    for partner in (OM, POLITIE, RECLASSERING):
        small.process(partner).ready(lambda partner=partner: ("closed", False) in alarms(small, partner))  # type: ignore[misc]
    comes_to(small, NEITHER, small.nobody)


def test_a_standby_takes_over_and_the_machine_that_served_ends(
    small: Small, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two processes of one node: nobody signs anything at the moment itself, and never do both serve."""
    node = small.built.nodes[POLITIE.oin]
    node.config.write_text(node.config.read_text("utf-8") + "logs: [node-standby]\n", "utf-8")
    restoring.sign("node", node.config, node.off_line.signer)
    small.process(POLITIE).signal(signal.SIGHUP)
    comes_to(small, BOTH)
    arrived = tmp_path_factory.getbasetemp() / "arrived"
    restoring.backup_node(small.federation, POLITIE.oin, arrived)

    standby = node.folder.with_name("politie-standby")
    shutil.copytree(node.folder, standby, ignore=shutil.ignore_patterns("data", "*.log", "node.sock"))
    config = standby / "node.yaml"
    restoring.set_log(config, "node-standby")
    lines = config.read_text("utf-8").splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(("metrics:", "logs:"))) + "\n", "utf-8")
    assert restoring.bekend("node", "standby", str(arrived), "--config", str(config))["good"]
    # The one that served is alive and attached; it ends by itself, and says why.
    restoring.bekend("node", "promote", str(arrived), "--config", str(config))
    first = small.federation.nodes.pop(POLITIE.oin)
    small.built.nodes[POLITIE.oin] = replace(node, folder=standby, config=config)  # type: ignore[index]
    small.federation.start_node(POLITIE.oin)
    assert first.wait(60) == 8
    assert "another machine took the place" in first.tail()
    assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}

    small.shift_clock(3 * QUIET)
    restoring.enrol_again(small.federation, POLITIE.oin, small.nobody)
    comes_to(small, BOTH)
    comes_to(small, NEITHER, small.nobody)
    # Started again, with everything in order but its turn, it ends again.
    again = Process("the first one", ("node", "serve", "--config", str(node.config)), node.folder / "again.log")
    assert again.wait(60) == 8
    assert small.told() == BOTH
