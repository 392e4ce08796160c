"""docs/operator.md, step by step, by its own commands: keys, covenant, broker, two nodes, lists, a question.

OM asks, reclassering answers. Certificates come from a throw-away authority; everything else is made by `bekend`.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from bekend_deploy import processes
from bekend_deploy.pki import Authority, TlsPaths
from bekend_deploy.processes import BEKEND, Process, free_ports
from bekend_policy.load import load_covenant
from bekend_policy.model import Mode

from tests.support.confined import CONFINED, UNIT_OF, may_confine

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "00000099000000009000"
OM = "00000099000000001000"
RECLASSERING = "00000099000000003000"
PURPOSES = ("zsm-context", "zvh-weging-betrokkenheid", "nazorg-ex-gedetineerden")
KNOWN = ("999990019", "999990020")
UNKNOWN = "999990342"


@dataclass
class Installation:
    """A machine on which somebody follows the page."""

    folder: Path
    running: list[Process] = field(default_factory=list)
    command: tuple[str, ...] = BEKEND
    """What the shipped systemd units start, under their restrictions where this machine can put those on."""

    def bekend(self, *words: object, stdin: str = "", code: int = 0) -> str:
        unit = tuple(map(str, words[:2])) in UNIT_OF
        done = subprocess.run(
            [*(self.command if unit else BEKEND), *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"bekend {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def keygen(self, file: str, name: str) -> str:
        made = self.bekend("policy", "keygen", file, "--naam", name, "--wachtwoordbestand", "pass", "--json")
        return str(json.loads(made)["vkey"])

    def sign(self, path: object, key: str) -> None:
        self.bekend("policy", "sign", path, "--sleutel", key, "--wachtwoordbestand", "pass")

    def serve(self, room: str, config: Path) -> None:
        log = config.with_suffix(".log")
        with patch.object(processes, "BEKEND", self.command):
            self.running.append(Process(config.stem, [room, "serve", "--config", str(config)], log))

    def edit(self, file: Path, **values: str) -> None:
        """Fill in values of a commented YAML file as a person would: whole lines, comments kept."""
        text = file.read_text()
        for name, value in values.items():
            text, found = re.subn(rf"^( *(?:- )?){name}: .*$", rf"\g<1>{name}: {value}", text, count=1, flags=re.M)
            assert found, name
        file.write_text(text)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything of the page up to its step 5, done once."""
    it = Installation(tmp_path_factory.mktemp("eerste"))
    if may_confine():
        it.command = CONFINED
    (it.folder / "pass").write_text("paard batterij nietje juist\n")
    (it.folder / "pass").chmod(0o600)
    (it.folder / "pass-2").write_text("lamp gordijn fiets regen\n")
    (it.folder / "pass-2").chmod(0o600)
    now = datetime.now(UTC)
    authority = Authority(it.folder / "pki", now)
    port = free_ports(1)[0]
    try:
        keys = _persons(it)
        _covenant(it, keys, now)
        _broker(it, keys["beheerder"], authority.issue("broker", "Beheer", OPERATOR), port)
        for name, oin in (("om", OM), ("reclassering", RECLASSERING)):
            _node(it, name, oin, keys, authority.issue(name, name, oin), port, now)
        it.running[0].ready(lambda: "broker" in it.running[0].tail(), 30)
        _list(it)
        yield it
    finally:
        for process in it.running:
            process.stop()


def _persons(it: Installation) -> dict[str, str]:
    """Step 1."""
    keys = {"beheerder": it.keygen("beheerder.key", f"bekend/{OPERATOR}/beheerder")}
    for name, oin in (("om", OM), ("reclassering", RECLASSERING)):
        keys[name] = it.keygen(f"{name}.key", f"bekend/{oin}/ondertekenaar")
        keys[f"{name}-jurist"] = it.keygen(f"{name}-jurist.key", f"bekend/{oin}/jurist")
    for number in (1, 2):
        keys[f"beheer-{number}"] = it.keygen(f"beheer-{number}.key", f"bekend/{RECLASSERING}/beheer-{number}")
    return keys


def _covenant(it: Installation, keys: dict[str, str], now: datetime) -> None:
    """Step 2: the example, with these keys and dates; two of its partners sign."""
    folder = it.folder / "convenant"
    shutil.copytree(ROOT / "policy" / "convenant" / "kennemerland", folder)
    today = now.date()
    it.edit(
        folder / "afspraken.yaml",
        geldig_vanaf=str(today - timedelta(days=1)),
        geldig_tot_en_met=str(today + timedelta(days=60)),
        quorum="2",
        sleutel=keys["beheerder"],
    )
    for name in ("om", "reclassering"):
        it.edit(folder / "deelnemers" / f"{name}.yaml", ondertekenaar=keys[name], jurist=keys[f"{name}-jurist"])
    it.bekend("policy", "check", folder)
    for key in ("om.key", "om-jurist.key", "reclassering.key", "reclassering-jurist.key", "beheerder.key"):
        it.sign(folder, key)
    said = it.bekend("policy", "verify", folder, "--anker", keys["reclassering"])
    assert "Getekend: Reclassering" in said


def _broker(it: Installation, operator: str, tls: TlsPaths, port: int) -> None:
    """Step 3."""
    config = it.folder / "broker" / "broker.yaml"
    it.bekend("broker", "init", "--config", config)
    it.edit(
        config,
        oin=f'"{OPERATOR}"',
        covenant="../convenant",
        anchor=f'"{operator}"',
        listen=f'"127.0.0.1:{port}"',
        metrics=f'"127.0.0.1:{free_ports(1)[0]}"',
        certificate=str(tls.certificate),
        key=str(tls.key),
        authorities=str(tls.authorities),
    )
    it.bekend("broker", "manifest", "--config", config)
    it.sign(config.with_name("manifest-1"), "beheerder.key")
    config.with_name("manifest-1.note").rename(config.with_name("manifest.note"))
    it.bekend("broker", "check", "--config", config)
    it.serve("broker", config)


def _node(it: Installation, name: str, oin: str, keys: dict[str, str], tls: TlsPaths, port: int, now: datetime) -> None:
    """Step 4, and the standing decisions that the covenant asks of reclassering."""
    folder = it.folder / name
    folder.mkdir()
    config = folder / "node.yaml"
    made = it.folder / f"sleutels-{name}"
    pair = ("--wachtwoord-functionaris", it.folder / "pass", "--wachtwoord-plaatsvervanger", it.folder / "pass-2")
    it.bekend("inzage", "sleutel", "maken", made, "--oin", oin, *pair)
    shutil.copy(made / "privacy-officer.pub", folder)
    options = ("--oin", oin, "--anchor", keys[name], "--broker", f"127.0.0.1:{port}", "--covenant", "../convenant")
    it.bekend("node", "init", "--config", config, *options)
    it.edit(
        config,
        certificate=str(tls.certificate),
        key=str(tls.key),
        authorities=str(tls.authorities),
        metrics=f"127.0.0.1:{free_ports(1)[0]}",
        user=pwd.getpwuid(os.getuid()).pw_name,
        role="zsm-medewerker",
    )
    register, approvers = ("zaken", ()) if name == "om" else ("clienten", (keys["beheer-1"], keys["beheer-2"]))
    text = config.read_text().replace(
        "  nazorg:\n    mapping: mappings/nazorg.note", f"  {register}:\n    mapping: m.note"
    )
    served = load_covenant(it.folder / "convenant").served_by(oin)
    by_hand = ", ".join(purpose for purpose, source in served if not source.mode.by_machine)
    text = text.replace("purposes: [kennemerland/zvh-weging-betrokkenheid]", f"purposes: [{by_hand}]")
    lines = "".join(f"  - {vkey}\n" for vkey in approvers)
    config.write_text(re.sub(r"^approvers:\n(  - .*\n)+", f"approvers:\n{lines}" if lines else "", text, flags=re.M))
    it.bekend("node", "manifest", "--config", config)
    it.sign(folder / "manifest-1", f"{name}.key")
    (folder / "manifest-1.note").rename(folder / "manifest.note")
    if name == "reclassering":
        for purpose, source in served:
            if source.mode is Mode.STANDING:
                _decision(it, folder, purpose, now)
    it.serve("node", config)


def _decision(it: Installation, folder: Path, purpose: str, now: datetime) -> None:
    path = folder / "besluiten" / purpose.partition("/")[2]
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "soort: bekend/1 standaardbesluit\n"
        "convenant: kennemerland\n"
        f'bron: "{RECLASSERING}"\n'
        f"doel: {purpose}\n"
        f"geldig_vanaf: {now.date() - timedelta(days=1)}\n"
        f"geldig_tot_en_met: {now.date() + timedelta(days=30)}\n"
        'besluit: "Proefbesluit"\n'
    )
    it.sign(path, "reclassering.key")
    path.unlink()


def _list(it: Installation) -> None:
    """Step 5: the mapping that comes with the software, adapted; two people sign it; a real CSV."""
    folder = it.folder / "reclassering"
    mapping = folder / "m"
    shutil.copy(ROOT / "node" / "bekend_node" / "mapping.example.yaml", mapping)
    it.edit(mapping, register="clienten")
    for number in (1, 2):
        it.sign(mapping, f"beheer-{number}.key")
    rows = "".join(f"{number};31-12-2027;;\n" for number in KNOWN)
    (folder / "clienten.csv").write_text("BSN;Einddatum;Laatste contact;Mutatie\n" + rows)
    report = it.bekend(
        *("node", "enrol", "--config", folder / "node.yaml"),
        *("--register", "clienten", "--file", folder / "clienten.csv"),
    )
    assert "2 rows read, 2 persons enrolled" in report
    node = it.running[-1]
    node.ready(lambda: _filters(it, folder / "node.yaml"), 60)


def _filters(it: Installation, config: Path) -> bool:
    words = [*BEKEND, "node", "status", "--config", str(config), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0


def test_a_node_that_followed_the_page_finds_its_canary_over_the_broker(machine: Installation) -> None:
    said = machine.bekend("node", "check", "--config", machine.folder / "reclassering" / "node.yaml")
    assert "FAULT" not in said
    assert "canary" in said


def test_an_officer_that_followed_the_page_gets_outcomes_and_a_receipt(machine: Installation) -> None:
    config = machine.folder / "om" / "node.yaml"
    question = ("lookup", "--config", config, "--doel", "kennemerland/zsm-context", "--zaak", "15/234567-26")
    choice = ("--partner", RECLASSERING, "--bevestig", "verdachte", "--motivering", "Proef")
    receipt = machine.folder / "bon.json"
    found = json.loads(machine.bekend(*question, *choice, "--json", "--bon", receipt, stdin=KNOWN[0]))
    assert {one["oin"]: one["outcome"] for one in found["outcomes"]}[RECLASSERING] == "bekend"
    missed = json.loads(machine.bekend(*question, *choice, "--json", stdin=UNKNOWN))
    assert {one["oin"]: one["outcome"] for one in missed["outcomes"]}[RECLASSERING] == "geen_uitsluitsel"
    machine.bekend("receipt", "verify", receipt, "--covenant", machine.folder / "convenant")
    machine.bekend(*question, "--partner", RECLASSERING, stdin=KNOWN[0], code=4)


def test_the_samples_that_the_page_starts_from_are_valid(machine: Installation) -> None:
    """What `init` wrote still holds every key of the sample, with its comments."""
    for room, stem in (("broker", "broker"), ("om", "node")):
        text = (machine.folder / room / f"{stem}.yaml").read_text()
        assert text.count("# ") > 10
        assert yaml.safe_load(text)
