"""docs/operator.md and docs/first-install.md by their own commands: keys, covenant, broker, two nodes, list, question.

OM asks, reclassering answers. Reclassering is a newcomer: every block of docs/first-install.md is copied into a shell
on a clean folder, from a signed wheelhouse and without an index. Certificates come from a throw-away authority with an
intermediate, as a partner gets them; everything else is made by `bekend`.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from bekend_deploy import processes
from bekend_deploy.processes import BEKEND, Process, free_ports
from bekend_policy.load import load_covenant
from bekend_policy.model import Mode
from bekend_proto.identity import TlsFiles

from tests.support.confined import CONFINED, UNIT_OF, may_confine
from tests.support.pages_run import Block, Shell, blocks
from tests.support.pki import Authority

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "00000099000000009000"
OM = "00000099000000001000"
RECLASSERING = "00000099000000003000"
PHRASES = ("paard batterij nietje juist", "lamp gordijn fiets regen")
KNOWN = ("999990019",)
SECONDS_PER_WORD, SECONDS_PER_BLOCK, SECONDS_PER_PROMPT = 60 / 200, 20, 8
"""Of somebody who reads 200 words a minute, looks at what came out of each block, and types four words each time."""
UNKNOWN = "999990342"


@dataclass
class Installation:
    """A machine on which somebody follows the page."""

    folder: Path
    running: list[Process] = field(default_factory=list)
    command: tuple[str, ...] = BEKEND
    """What the shipped systemd units start, under their restrictions where this machine can put those on."""
    newcomer: "Newcomer" = field(init=False)

    def bekend(self, *words: object, stdin: str = "", code: int | tuple[int, ...] = 0) -> str:
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
        wanted = code if isinstance(code, tuple) else (code,)
        assert done.returncode in wanted, f"bekend {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
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
    """Operator and OM by docs/operator.md; reclassering joins by docs/first-install.md, on a machine of its own."""
    it = Installation(tmp_path_factory.mktemp("eerste"))
    if may_confine():
        it.command = CONFINED
    (it.folder / "pass").write_text(f"{PHRASES[0]}\n")
    (it.folder / "pass").chmod(0o600)
    (it.folder / "pass-2").write_text(f"{PHRASES[1]}\n")
    (it.folder / "pass-2").chmod(0o600)
    now = datetime.now(UTC)
    authority = Authority(it.folder / "pki", "Staat der Nederlanden Private Root CA (trial)")
    try:
        it.newcomer = Newcomer(it, tmp_path_factory.mktemp("nieuw"), authority, now)
        it.newcomer.write_down()
        yield it
    finally:
        for process in it.running:
            process.stop()


class Newcomer:
    """Two administrators of reclassering who follow docs/first-install.md, and what the others do meanwhile."""

    def __init__(self, it: Installation, folder: Path, authority: Authority, now: datetime) -> None:
        self.it, self.folder, self.now = it, folder, now
        self.port = free_ports(1)[0]
        self.authority = authority.subordinate("TRIAL PKIoverheid Private Services CA")
        self.keys = _persons(it)
        self._bring()
        path = f"{folder / 'venv' / 'bin'}:/usr/bin:/bin"
        environment = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": "200"}
        self._typed = ""
        self.shell = Shell(folder, environment, self._type)
        for block in blocks(ROOT / "docs" / "first-install.md"):
            self._follow(block)

    def _type(self, prompt: str) -> str:
        if "Nog een keer" not in prompt:
            self._typed = PHRASES["plaatsvervanger" in prompt]
        return self._typed

    def _follow(self, block: Block) -> None:
        text = block.text.replace("broker.example.nl:7443", f"localhost:{self.port}")
        if block.kind == "yaml":
            wanted = dict(line.split(": ", 1) for line in text.splitlines())
            self.it.edit(self.folder / "node.yaml", **wanted, metrics=f"127.0.0.1:{free_ports(1)[0]}")
        elif block.kind == "sh service":
            self._serve()
        elif "bekend policy check" in text:
            self._covenant_arrives()
            self.shell.run(text)
            self._others_go_on()
        elif "bekend node doctor" in text:
            self.it.running[-1].ready(self._answers, 60)
            self.said = self.shell.run(text, codes=(0, 6))
        else:
            self.shell.run(text)

    def _bring(self) -> None:
        """What a newcomer got: a signed wheelhouse, a key to verify it with, certificates."""
        wheelhouse = self.folder / "wheelhouse"
        words = [sys.executable, str(ROOT / "deploy" / "wheelhouse.py"), str(wheelhouse)]
        subprocess.run(words, check=True, timeout=300, capture_output=True)
        publisher = self.it.keygen("uitgever.key", f"bekend/{OPERATOR}/uitgever")
        self.it.sign(wheelhouse / "wheelhouse", "uitgever.key")
        (self.folder / "uitgever.vkey").write_text(f"{publisher}\n")
        shutil.copy(ROOT / "deploy" / "verify_wheelhouse.py", self.folder)
        files = issued(self.authority, RECLASSERING)
        (self.folder / "tls").mkdir()
        for source, name in (
            (files.certificate, "node.pem"),
            (files.key, "node.key"),
            (files.authorities, "authorities.pem"),
        ):
            shutil.copy(source, self.folder / "tls" / name)

    def _covenant_arrives(self) -> None:
        """The federation wrote the newcomer's keys into the covenant, and the others signed."""
        for role, name in (("ondertekenaar", "reclassering"), ("jurist", "reclassering-jurist")):
            self.keys[name] = (self.folder / f"{role}.vkey").read_text().strip()
        _covenant(self.it, self.keys, self.now)
        shutil.copytree(self.it.folder / "convenant", self.folder / "convenant")

    def _others_go_on(self) -> None:
        """The newcomer's signature reached them; broker and OM start."""
        shutil.copytree(self.folder / "convenant", self.it.folder / "convenant", dirs_exist_ok=True)
        _broker(self.it, self.keys["beheerder"], issued(self.authority, OPERATOR), self.port)
        self.it.running[0].ready(lambda: "broker-started" in self.it.running[0].tail(), 30)
        _node(self.it, "om", OM, self.keys, issued(self.authority, OM), self.port)

    def _serve(self) -> None:
        """As a service runs it: the program of the wheelhouse, under the restrictions of the unit."""
        for purpose, source in load_covenant(self.folder / "convenant").served_by(RECLASSERING):
            if source.mode is Mode.STANDING:
                _decision(self.shell, purpose, self.now)
        program: tuple[str, ...] = (str(self.folder / "venv" / "bin" / "bekend"),)
        if may_confine():
            program = (str(self.folder / "venv" / "bin" / "python"), *CONFINED[1:])
        with patch.object(processes, "BEKEND", program):
            log = self.folder / "node.log"
            words = ["node", "serve", "--config", str(self.folder / "node.yaml")]
            self.it.running.append(Process("reclassering", words, log, {"PYTHONPATH": str(ROOT)}))
        self.it.running[-1].ready(lambda: '"attached"' in log.read_text(), 60)

    def _answers(self) -> bool:
        words = [*BEKEND, "node", "status", "--config", str(self.folder / "node.yaml"), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode == 0

    def write_down(self) -> None:
        """How long the page took: what ran, and how much there is to read and to copy."""
        page = (ROOT / "docs" / "first-install.md").read_text()
        copied = len(blocks(ROOT / "docs" / "first-install.md"))
        words = len(re.sub(r"^```.*?^```", "", page, flags=re.M | re.S).split())
        by_hand = words * SECONDS_PER_WORD + copied * SECONDS_PER_BLOCK + self.shell.prompts * SECONDS_PER_PROMPT
        facts = {
            "commands": self.shell.commands,
            "seconds_of_commands": round(self.shell.seconds, 1),
            "words_to_read": words,
            "blocks_to_copy": copied,
            "passphrases_to_type": self.shell.prompts,
            "minutes_with_a_reader": round((self.shell.seconds + by_hand) / 60, 1),
        }
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "first-install.json").write_text(json.dumps(facts, indent=1) + "\n")


def issued(authority: Authority, oin: str) -> TlsFiles:
    """A certificate as PKIoverheid gives one: below it the intermediate that issued it; the root is who is trusted."""
    files = authority.issue(oin)
    chain = files.certificate.read_bytes() + authority.path.read_bytes()
    files.certificate.write_bytes(chain)
    return TlsFiles(files.certificate, files.key, next(authority.folder.glob("staat-*.pem")))


def _persons(it: Installation) -> dict[str, str]:
    """Step 1."""
    keys = {"beheerder": it.keygen("beheerder.key", f"bekend/{OPERATOR}/beheerder")}
    keys["om"] = it.keygen("om.key", f"bekend/{OM}/ondertekenaar")
    keys["om-jurist"] = it.keygen("om-jurist.key", f"bekend/{OM}/jurist")
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
    for key in ("om.key", "om-jurist.key", "beheerder.key"):
        it.sign(folder, key)


def _broker(it: Installation, operator: str, tls: TlsFiles, port: int) -> None:
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
    it.bekend("broker", "doctor", "--config", config, code=6)
    it.serve("broker", config)


def _node(it: Installation, name: str, oin: str, keys: dict[str, str], tls: TlsFiles, port: int) -> None:
    """Step 4."""
    folder = it.folder / name
    folder.mkdir()
    config = folder / "node.yaml"
    made = it.folder / f"sleutels-{name}"
    pair = ("--wachtwoord-functionaris", it.folder / "pass", "--wachtwoord-plaatsvervanger", it.folder / "pass-2")
    it.bekend("inzage", "sleutel", "maken", made, "--oin", oin, *pair)
    shutil.copy(made / "privacy-officer.pub", folder)
    options = ("--oin", oin, "--anchor", keys[name], "--broker", f"localhost:{port}", "--covenant", "../convenant")
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
    it.bekend("node", "manifest", "--config", config)
    it.sign(folder / "manifest-1", f"{name}.key")
    (folder / "manifest-1.note").rename(folder / "manifest.note")
    it.serve("node", config)


def _decision(shell: Shell, purpose: str, now: datetime) -> None:
    name = purpose.partition("/")[2]
    (shell.folder / "besluiten" / name).write_text(
        "soort: bekend/1 standaardbesluit\n"
        "convenant: kennemerland\n"
        f'bron: "{RECLASSERING}"\n'
        f"doel: {purpose}\n"
        f"geldig_vanaf: {now.date() - timedelta(days=1)}\n"
        f"geldig_tot_en_met: {now.date() + timedelta(days=30)}\n"
        'besluit: "Proefbesluit"\n'
    )
    shell.run(f"bekend policy sign besluiten/{name} --sleutel ondertekenaar.key; rm besluiten/{name}")


def test_a_node_that_followed_the_page_finds_its_canary_over_the_broker(machine: Installation) -> None:
    said = machine.newcomer.said
    assert "fail " not in said
    assert "canary" in said
    assert "found" in said
    assert "Traceback" not in "".join(machine.newcomer.shell.said)


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


TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda folder: next(folder.glob("bekend-*.whl")).write_bytes(b"PK"), "not the file that was signed"),
    "added": (lambda folder: (folder / "evil-1.0-py3-none-any.whl").write_bytes(b"PK"), "nobody signed for it"),
    "left out": (lambda folder: next(folder.glob("grpcio-*.whl")).unlink(), "missing"),
    "requirements": (lambda folder: (folder / "requirements.txt").write_text("evil\n"), "not the file that was signed"),
    "text": (lambda folder: replace(folder / "wheelhouse.note", b"bekend-0", b"bekend-9"), "no valid signature"),
    "no note": (lambda folder: (folder / "wheelhouse.note").unlink(), "holds no wheelhouse.note"),
}


def replace(path: Path, old: bytes, new: bytes) -> None:
    octets = path.read_bytes()
    assert old in octets
    path.write_bytes(octets.replace(old, new))


def test_a_wheelhouse_that_was_tampered_with_is_refused(machine: Installation, tmp_path: Path) -> None:
    newcomer = machine.newcomer.folder
    key = (newcomer / "uitgever.vkey").read_text().strip()
    stranger = machine.keygen("vreemd.key", f"bekend/{OPERATOR}/uitgever")
    script = str(newcomer / "verify_wheelhouse.py")

    def verified(folder: Path, by: str) -> tuple[int, str]:
        done = subprocess.run(["python3", script, str(folder), by], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert verified(newcomer / "wheelhouse", key)[0] == 0
    code, said = verified(newcomer / "wheelhouse", stranger)
    assert (code, "no valid signature" in said) == (1, True)
    assert verified(newcomer / "wheelhouse", "uitgever")[0] == 1
    for name, (tamper, expected) in TAMPERING.items():
        folder = tmp_path / name
        shutil.copytree(newcomer / "wheelhouse", folder)
        tamper(folder)
        code, said = verified(folder, key)
        assert code == 1, name
        assert expected in said, name


def test_the_wheel_is_pure_and_the_newcomer_reached_no_index(machine: Installation) -> None:
    (wheel,) = (machine.newcomer.folder / "wheelhouse").glob("bekend-*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    page = (ROOT / "docs" / "first-install.md").read_text()
    assert all(
        "--no-index" in line and "--require-hashes" in line for line in re.findall(r"^.*pip install.*$", page, re.M)
    )


STOP = f"""soort: bekend/1 stilzetting
convenant: kennemerland
nummer: 1
wie: "{RECLASSERING}"
wat: knooppunt
knooppunt: "{RECLASSERING}"
intrekking: nee
reden: "Vertrek uit de samenwerking"
vanaf: 2026-11-22T10:00:00Z
"""


def test_the_newcomer_rotates_backs_up_and_leaves_as_the_runbook_says(machine: Installation) -> None:
    """docs/runbooks/administrators.md, chapters 4, 5 and 7. The last test of this file: afterwards there is no node."""
    newcomer, node = machine.newcomer, machine.running[-1]
    shell, config = newcomer.shell, "--config node.yaml"
    shell.run(f"bekend node rotate {config}", codes=(0, 6))
    shell.run(f"bekend node backup backup {config}")
    shell.run(f"bekend node verify-backup backup/node-* {config}")

    (newcomer.folder / "vertrek").write_text(STOP)
    shell.run(f"bekend policy sign vertrek --sleutel ondertekenaar.key\nbekend node suspend vertrek.note {config}")
    shown = shell.run(f"bekend node leave {config}")
    assert "would be destroyed" in shown
    assert "At others:" in shown
    running = shell.run(f"bekend node leave {config} --note vertrek.note --destroy", codes=(1,))
    assert "stop it" in running
    assert node.stop() == 0
    assert "destroyed" in shell.run(f"bekend node leave {config} --note vertrek.note --destroy")
    assert [path.name for path in (newcomer.folder / "keys").iterdir()] == ["state.key"]
    assert not any(newcomer.folder.joinpath("data").rglob("*.pseudonyms"))
    question = ("lookup", "--config", machine.folder / "om" / "node.yaml", "--doel", "kennemerland/zsm-context")
    choice = ("--zaak", "15/234567-26", "--partner", RECLASSERING, "--bevestig", "verdachte", "--motivering", "Proef")
    # Refused at once where the stop is known, no answer where it is not yet: never an outcome.
    machine.bekend(*question, *choice, "--json", stdin=KNOWN[0], code=(3, 4))
