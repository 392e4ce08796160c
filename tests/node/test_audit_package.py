"""What goes to the AP or an auditor: one folder, checked off line (FG-46, FG-47), from a real broker and real nodes."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.config import load_config as load_broker
from bekend_deploy.log_export import export_broker, export_node
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.audit import package_cli
from bekend_node.audit.cli import app
from bekend_node.config import load_config as load_node
from bekend_policy.bulletin import Quarter, Topic, protect
from bekend_policy.keys import create_signing_key
from bekend_policy.load import load_covenant
from nacl.pwhash.argon2id import MEMLIMIT_INTERACTIVE, OPSLIMIT_INTERACTIVE
from typer.testing import CliRunner

from tests.evil.world import World, asked_and_witnessed
from tests.support.clocks import SteeredClock

TEMPLATES = Path(__file__).parents[2] / "docs" / "sjablonen"
PASSPHRASE = "een heel lang wachtwoord"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.build(tmp_path_factory.mktemp("package") / "world")
    asyncio.run(asked_and_witnessed(made, ZSM_CONTEXT, (made.somebody,)))
    return made


@pytest.fixture(scope="module")
def dossier(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the officer put together, in the folders that the command reads."""
    folder = tmp_path_factory.mktemp("dossier")
    om, politie = (world.built.nodes[one.oin].config for one in (OM, POLITIE))
    shutil.copytree(load_node(om).covenant, folder / "convenant")
    for name in ("manifesten", "logboeken", "bulletins", "overeenkomsten"):
        (folder / name).mkdir()
    notes = {"om": load_node(om).manifest, "politie": load_node(politie).manifest}
    for name, note in {**notes, "makelaar": load_broker(world.built.broker_config).manifest}.items():
        shutil.copyfile(note, folder / "manifesten" / f"{name}.note")
    now = world.clock.now()
    period = (now - timedelta(minutes=30), now + timedelta(minutes=30), now + timedelta(hours=1))
    (folder / "logboeken" / "om.export").write_bytes(export_node(om, *period))
    (folder / "logboeken" / "makelaar.export").write_bytes(export_broker(world.built.broker_config, *period))
    figures: dict[Topic, dict[str, int]] = {topic: {} for topic in Topic}
    covenant = load_covenant(folder / "convenant")
    bulletin = protect(OM.oin, covenant.id, Quarter(2026, 3), figures | {Topic.ASKED: {ZSM_CONTEXT: 42}})
    (folder / "bulletins" / "om.json").write_text(bulletin.to_text(), "utf-8")
    for path in TEMPLATES.glob("art-*.md"):
        shutil.copyfile(path, folder / "overeenkomsten" / path.name)
    return folder


@pytest.fixture(autouse=True)
def later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_cli, "SystemClock", lambda: SteeredClock(world.clock.now() + timedelta(hours=1)))


@pytest.fixture
def bekend(world: World) -> Callable[..., tuple[int, dict[str, Any]]]:
    anchor = load_node(world.built.nodes[OM.oin].config).anchor

    def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, ["pakket", *map(str, words), "--anker", anchor, "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


def test_fg_47_a_package_is_made_signed_and_checked_off_line(dossier: Path, bekend: Any, tmp_path: Path) -> None:
    key = create_signing_key(
        tmp_path / "maker.key", f"bekend/{OM.oin}/privacyfunctionaris", PASSPHRASE,
        operations=OPSLIMIT_INTERACTIVE, memory=MEMLIMIT_INTERACTIVE,
    )  # fmt: skip
    secret = tmp_path / "wachtwoord"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    out = tmp_path / "pakket"
    signing = ("--sleutel", tmp_path / "maker.key", "--wachtwoordbestand", secret)
    code, found = bekend(out, "--uit", dossier, *signing)
    assert (code, found["faults"]) == (0, []), found
    # What is not there, and what nobody filled in, is named.
    assert any("dpia" in one for one in found["missing"])
    assert any("art-26" in one and "ingevuld" in one for one in found["missing"])
    assert "Ontbreekt:" in (out / "LEESMIJ.txt").read_text("utf-8")
    assert "ongeveer 40" in (out / "openbaar.html").read_text("utf-8")
    assert "DPIA" in (out / "rapport.html").read_text("utf-8")
    assert bekend(out, "--toets", "--ondertekenaar", key.vkey) == (0, found)
    other = create_signing_key(
        tmp_path / "ander.key", f"bekend/{OM.oin}/ander", PASSPHRASE,
        operations=OPSLIMIT_INTERACTIVE, memory=MEMLIMIT_INTERACTIVE,
    )  # fmt: skip
    code, told_ = bekend(out, "--toets", "--ondertekenaar", other.vkey)
    assert code == 3
    assert "handtekening" in told_["faults"][0]
    assert bekend(out, "--uit", dossier)[0] == 1  # it exists


def test_fg_47_every_change_to_a_package_is_found(dossier: Path, bekend: Any, tmp_path: Path) -> None:
    good = tmp_path / "goed"
    assert bekend(good, "--uit", dossier)[0] == 0
    files = sorted(path.relative_to(good) for path in good.rglob("*") if path.is_file() and path.name != "INDEX")
    for name in files:
        bad = shutil.copytree(good, tmp_path / "slecht")
        (bad / name).write_bytes((bad / name).read_bytes() + b" ")
        code, found = bekend(bad, "--toets")
        assert (code, found["faults"]) == (3, [f"{name} is veranderd"])
        (bad / name).unlink()
        assert bekend(bad, "--toets")[1]["faults"] == [f"{name} ontbreekt"]
        shutil.rmtree(bad)
    (good / "extra.txt").write_text("x")
    assert bekend(good, "--toets")[1]["faults"] == ["extra.txt staat niet in INDEX"]
    (good / "extra.txt").unlink()
    (good / "extra.txt").symlink_to("/etc/hostname")
    assert bekend(good, "--toets")[0] == 3


def test_fg_47_an_index_that_was_made_again_does_not_hide_a_false_file(
    dossier: Path, bekend: Any, tmp_path: Path
) -> None:
    """Whoever makes the index anew still cannot pass a log, a manifest, a covenant or a figure that is not real."""
    good = tmp_path / "goed"
    assert bekend(good, "--uit", dossier)[0] == 0
    for name, old, new in (
        ("logboeken/om.export", b'"since":1', b'"since":2'),
        ("manifesten/om.note", b"2026", b"2025"),
        ("convenant/afspraken.yaml", b"2026", b"2025"),
        ("bulletins/om.json", b"40", b"41"),
    ):
        bad = shutil.copytree(good, tmp_path / "vals")
        octets = (bad / name).read_bytes()
        assert old in octets
        (bad / name).write_bytes(octets.replace(old, new, 1))
        before, after = (hashlib.sha256(one).hexdigest() for one in (octets, (bad / name).read_bytes()))
        index = (bad / "INDEX").read_text("utf-8")
        (bad / "INDEX").write_text(index.replace(before, after), "utf-8")
        code, found = bekend(bad, "--toets")
        assert code == 3
        assert name.split("/")[0] in found["faults"][0]
        shutil.rmtree(bad)


def test_sealed_records_do_not_leave_in_a_package(world: World, dossier: Path, bekend: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(dossier, tmp_path / "dossier")
    now = world.clock.now()
    config = world.built.nodes[POLITIE.oin].config
    period = (now - timedelta(minutes=30), now + timedelta(minutes=30), now + timedelta(hours=1))
    (folder / "logboeken" / "politie.export").write_bytes(export_node(config, *period, records=True))
    code, found = bekend(tmp_path / "uit", "--uit", folder)
    assert (code, (tmp_path / "uit").exists()) == (3, False)
    assert "verzegelde vastleggingen" in found["faults"][0]


def test_fg_46_the_templates_say_that_a_lawyer_must_complete_them() -> None:
    for name, article in (("art-26-onderlinge-regeling.md", "AVG 26"), ("art-28-verwerkersovereenkomst.md", "AVG 28")):
        text = (TEMPLATES / name).read_text("utf-8")
        assert article in text
        assert "Niet door een jurist getoetst" in text
        assert "[INVULLEN" in text


def test_a_log_without_the_keys_of_a_partner_says_what_to_put_in(dossier: Path, bekend: Any, tmp_path: Path) -> None:
    less = shutil.copytree(dossier, tmp_path / "minder")
    (less / "manifesten" / "politie.note").unlink()
    code, found = bekend(tmp_path / "pakket", "--uit", less)
    assert code == 3
    assert any("Leg in manifesten/ het sleuteloverzicht van elke partner" in one for one in found["faults"])
    assert not (tmp_path / "pakket").exists()


def test_what_is_no_package_is_said(bekend: Any, tmp_path: Path) -> None:
    assert bekend(tmp_path, "--toets")[0] == 1
    (tmp_path / "INDEX").write_text(
        "soort: bekend/1 auditpakket\nconvenant: " + "0" * 64 + "\ngemaakt: 2026-12-01T00:00:00Z\n"
        + "0" * 64 + "  ../../etc/passwd\n", "utf-8",
    )  # fmt: skip
    assert bekend(tmp_path, "--toets")[0] == 1
