"""The commands around retention: a note drafted, signed off line, installed, shown; and a case that lapses."""

import json
from pathlib import Path

import pytest
from bekend_broker.store import Store as BrokerStore
from bekend_broker.store_retention import RetentionStore as BrokerRows
from bekend_deploy.cli import app
from bekend_deploy.partners import BROKER_OIN, POLITIE
from bekend_node.store import Store
from bekend_node.store_retention import RetentionStore
from bekend_proto.note import note_name, sign_note
from nacl.signing import SigningKey
from typer.testing import CliRunner

from tests.support.federation import Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    made = NodeHome.create(federation, POLITIE.oin)
    made.config(1)
    return made


def run(*args: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, list(args))
    return ran.exit_code, ran.output


def sign(path: Path, oin: str, role: str, key: SigningKey) -> Path:
    note = path.with_name(path.name + ".note")
    note.write_bytes(sign_note(path.read_text(), note_name(oin, role), bytes(key)))
    return note


def test_a_note_comes_into_force_once_its_owner_signed_it(home: NodeHome) -> None:
    config = str(home.folder / "node.yaml")
    code, said = run("node", "retention", "show", "--config", config)
    assert code == 0
    assert "no note in force" in said
    assert "only what an audit covered" in said
    code, said = run(
        "node", "retention", "draft", "--audited", "2026-01-31", "--reason", "rapport 7", "--config", config, "--json"
    )
    assert code == 0, said
    draft = Path(json.loads(said)["draft"])
    # Anybody's signature does not do.
    stranger = sign(draft, POLITIE.oin, "ondertekenaar", SigningKey.generate())
    code, said = run("node", "retention", "install", str(stranger), "--config", config)
    assert code == 1
    assert "handtekening" in said
    own = sign(draft, POLITIE.oin, "ondertekenaar", home.party.signer)
    code, said = run("node", "retention", "install", str(own), "--config", config)
    assert code == 0, said
    assert "2026-01-31" in said
    # Once: what is in force is replaced by a higher number only.
    assert run("node", "retention", "install", str(own), "--config", config)[0] == 1
    code, said = run("node", "retention", "show", "--config", config, "--json")
    assert json.loads(said)["note"] == {"number": 1, "audited": "2026-01-31", "claim": None}
    code, said = run(
        "node", "retention", "draft", "--claim", "2027-01-31", "--reason", "x", "--config", config, "--json"
    )
    assert json.loads(said)["number"] == 2
    store = Store.open(home.data)
    try:
        assert RetentionStore(store.database).newest_note() == own.read_bytes()
        assert store.database.read(
            lambda c: c.execute("SELECT count(*) FROM log WHERE kind = 'retention'").fetchone()
        ) == (1,)
    finally:
        store.close()


def test_a_note_that_says_nothing_is_not_drafted(home: NodeHome) -> None:
    code, said = run("node", "retention", "draft", "--reason", "x", "--config", str(home.folder / "node.yaml"))
    assert code == 1
    assert "audit_tot_en_met" in said


def test_the_broker_takes_the_note_of_its_operator_alone(federation: Federation) -> None:
    settings = federation.config()
    config = federation.folder / "broker.yaml"
    config.write_text(
        f'oin: "{settings.oin}"\nanchor: {settings.anchor}\nlisten: 127.0.0.1:1\ncovenant: {settings.covenant}\n'
        f"data: {settings.data}\nkeys: {settings.keys}\nmanifest: {settings.manifest}\ntls:\n"
        f"  certificate: {settings.tls.certificate}\n  key: {settings.tls.key}\n"
        f"  authorities: {settings.tls.authorities}\n"
    )
    args = ["--audited", "2026-01-31", "--reason", "audits 2026", "--config", str(config), "--json"]
    code, said = run("broker", "retention", "draft", *args)
    assert code == 0, said
    draft = Path(json.loads(said)["draft"])
    party = federation.parties[POLITIE.oin]
    partner = sign(draft, POLITIE.oin, "ondertekenaar", party.signer)
    assert run("broker", "retention", "install", str(partner), "--config", str(config))[0] == 1
    note = sign(draft, BROKER_OIN, "beheerder", federation.operator)
    code, said = run("broker", "retention", "install", str(note), "--config", str(config))
    assert code == 0, said
    assert "record keys that go now: none" in said
    store = BrokerStore.open(settings.data)
    try:
        assert BrokerRows(store.database).newest_note() == note.read_bytes()
    finally:
        store.close()


def test_a_case_cannot_lapse_without_a_node(home: NodeHome) -> None:
    config = str(home.folder / "node.yaml")
    code, said = run("zaak", "vervallen", "--zaak", "01/234567-26", "--config", config)
    assert code == 1
    assert "node cannot be reached" in said
