"""A federation on disk and its processes: what is written holds, and nothing outlives its maker."""

import contextlib
import signal
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bekend_deploy import processes
from bekend_deploy.federation import Federation
from bekend_deploy.partners import RECLASSERING
from bekend_deploy.processes import Process, ProcessFailed, free_ports
from bekend_node.config import load_config
from bekend_policy.load import load_covenant
from bekend_policy.manifest import open_manifest
from bekend_policy.model import Covenant, Mode
from bekend_policy.sign import verify_covenant
from bekend_policy.standing import open_standing


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return Federation.build(tmp_path_factory.mktemp("built"), persons=12, partners=8)


def covenant_of(built: Federation, oin: str) -> Covenant:
    config = load_config(built.config_of(oin))
    return verify_covenant(load_covenant(config.covenant), config.anchor, datetime.now(UTC))


def test_every_node_finds_a_covenant_that_everybody_signed(built: Federation) -> None:
    for member in built.members:
        covenant = covenant_of(built, member.oin)
        assert covenant.signed_by == {one.oin for one in built.members}
        assert covenant.demo


def test_every_ground_names_one_law(built: Federation) -> None:
    """A citizen reads the article behind the name of the law, in the letter that answers an access request."""
    covenant = covenant_of(built, built.members[0].oin)
    found = [ground for purpose in covenant.purposes.values() for ground in purpose.grounds]
    laws = {ground.law for ground in found}
    assert all(";" not in ground.article and not laws & set(ground.article.split()) for ground in found)


def test_every_node_has_a_manifest_that_its_own_anchor_signed(built: Federation) -> None:
    for member in built.members:
        config = load_config(built.config_of(member.oin))
        assert open_manifest(config.manifest.read_bytes(), config.anchor, datetime.now(UTC)).oin == member.oin


def test_the_covenant_says_what_the_table_of_agreements_says(built: Federation) -> None:
    covenant = covenant_of(built, RECLASSERING.oin)
    written = {
        (purpose, oin, source.mode.value, source.registers)
        for purpose in covenant.purposes
        for oin, source in covenant.sources(purpose).items()
        if source.mode is not Mode.NEVER
    }
    assert written == {(one.purpose, one.oin, one.mode, one.registers) for one in built.truth.pairs}


def test_a_standing_decision_is_signed_for_every_purpose_that_needs_one(built: Federation) -> None:
    for member in built.members:
        config = load_config(built.config_of(member.oin))
        assert config.standing_decisions is not None
        notes = (path.read_bytes() for path in config.standing_decisions.glob("*.note"))
        signed = {open_standing(note, config.anchor, datetime.now(UTC)).purpose for note in notes}
        assert signed == {p.purpose for p in built.truth.pairs if (p.oin, p.mode) == (member.oin, "standaardbesluit")}


def test_private_keys_are_for_their_owner_alone(built: Federation) -> None:
    keys = list(built.built.folder.rglob("*.key"))
    assert len(keys) > 8 * 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_ports_that_are_given_out_differ() -> None:
    assert len(set(free_ports(50))) == 50


def test_a_port_that_is_given_out_is_none_from_which_somebody_dials() -> None:
    """Between giving it out and listening there are seconds, in which others dial out from ports of their own."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dialling = [stack.enter_context(socket.create_connection(server.getsockname())) for _ in range(50)]
        from_where = [one.getsockname()[1] for one in dialling]
        given = free_ports(50)
    low, high = min(from_where), max(from_where)
    assert [port for port in given if low <= port <= high] == []


def test_a_port_on_which_somebody_listens_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(processes, "LOWEST_PORT", port)
        monkeypatch.setattr(processes, "_dialled_from", lambda: (port + 2, 65535))
        with pytest.raises(ProcessFailed, match="2 are needed"):
            free_ports(2)


def test_a_process_that_ends_early_says_why(tmp_path: Path) -> None:
    process = Process("nonsense", ["nonsense"], tmp_path / "log")
    with pytest.raises(ProcessFailed, match="No such command"):
        process.ready(lambda: False)
    assert process.exit_code == 2


def test_a_suspended_process_is_stopped_all_the_same(tmp_path: Path) -> None:
    process = Process("reads", ["policy"], tmp_path / "log")
    process.signal(signal.SIGSTOP)
    process.stop(grace=30)
    assert not process.alive
