"""Access requests end to end: real processes, the privacy officer's commands, letters held against the ground truth.

FG-33 and FG-35; must-list 22. The same person is asked about by several, alone and with a family, and each letter says
what was so, no less and no more.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.partners import (
    BROKER_OIN,
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VELSEN,
    ZSM_CONTEXT,
    ZVH,
    ZVH_WEIGHING,
    Partner,
)
from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.records.own import OwnLookup, open_lookup, reproduce
from bekend_node.records.request import open_secret
from bekend_node.store import Store
from bekend_node.store_export import Export
from bekend_policy.manifest import open_manifest
from bekend_policy.officer_key import OFFICER, write_officer_key
from bekend_proto.channel import question_hash
from bekend_proto.clock import SystemClock, month_of
from bekend_proto.group import multiply
from bekend_proto.oprf import hash_identifier
from bekend_proto.v1 import signed_pb2
from nacl.public import SealedBox
from nacl.pwhash import argon2id

from tests.support.search import Needles, forms, hashes

PASSPHRASE = "paard batterij nietje"
COMMAND = (sys.executable, "-m", "bekend_deploy.cli", "inzage")


@dataclass
class Officer:
    """The privacy officer of one partner, with a folder of the own on a machine without a network."""

    federation: Federation
    partner: Partner
    folder: Path

    @classmethod
    def of(cls, federation: Federation, partner: Partner, folder: Path) -> "Officer":
        folder.mkdir()
        made = cls(federation, partner, folder)
        key = federation.built.nodes[partner.oin].off_line.privacy_officer
        cheap = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}
        write_officer_key(folder / "po.key", key, OFFICER, PASSPHRASE, **cheap)
        (folder / "ww").write_text(PASSPHRASE + "\n")
        (folder / "ww").chmod(0o600)
        return made

    @property
    def config(self) -> str:
        return str(self.federation.config_of(self.partner.oin))

    def run(self, *words: str, stdin: str = "", code: int = 0) -> dict[str, Any]:
        done = subprocess.run([*COMMAND, *words, "--json"], input=stdin, capture_output=True, text=True, check=False,
                              cwd=self.folder)  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return dict(json.loads(done.stdout))

    def request(self, person: str, name: str) -> None:
        own = ("--sleutel", "po.key", "--wachtwoordbestand", "ww")
        self.run("request", f"{name}.json", *own, stdin=person + "\n")

    def relay(self, name: str, code: int = 0) -> None:
        self.run("relay", f"{name}.json", f"{name}-antwoord.json", "--config", self.config, code=code)

    def registration(self, person: str, registers: dict[str, str | None]) -> Path:
        """The file about when somebody stood in which register, as the own system would have it."""
        path = self.folder / "registratie.yaml"
        lines = ["soort: bekend/1 registratie", f"geregistreerd: {'ja' if registers else 'nee'}"]
        if registers:
            lines.append("registers:")
        for register, end in registers.items():
            lines.append(f"  - {{register: {register}, van: 2020-01-01{f', tot: {end}' if end else ''}}}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def letter(self, person: str, name: str, *more: str, code: int = 0) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Request, relay, export, answer: what the command says, the letter's data, and its page."""
        self.request(person, name)
        self.relay(name)
        self.run("export", f"{name}.db", "--config", self.config)
        built = self.federation.built
        said = self.run(
            "answer", f"{name}-brief",
            "--verzoek", f"{name}.json", "--antwoord", f"{name}-antwoord.json", "--export", f"{name}.db",
            "--sleutel", "po.key", "--wachtwoordbestand", "ww", "--convenant", str(built.covenant),
            "--anker", built.nodes[self.partner.oin].off_line.signer.vkey, *more, code=code,
        )  # fmt: skip
        brief = self.folder / f"{name}-brief"
        if code == 4:
            assert not brief.exists()
            return said, {}, ""
        return said, json.loads((brief / "brief.json").read_text()), (brief / "brief.html").read_text()


@pytest.fixture(scope="module")
def people(federation: Federation) -> dict[str, str]:
    """Somebody everywhere, somebody nowhere, and a family."""
    family = next(one for one in federation.population.households if len(one) >= 2)
    fixed = federation.population.fixed
    return {"known": fixed.everywhere, "unknown": fixed.nowhere, "first": family[0], "second": family[1]}


@pytest.fixture(scope="module")
def asked(federation: Federation, people: dict[str, str]) -> dict[str, dict[str, str]]:
    """Lookups, and what each officer was told about whom: person -> source -> outcome."""
    told: dict[str, dict[str, str]] = {}
    for name in ("known", "unknown", "first", "second"):
        answered = federation.lookup(OM, ZSM_CONTEXT, [people[name]], sources=[POLITIE.oin, RECLASSERING.oin])
        told[name] = {oin: answered.outcome(oin) for oin in (POLITIE.oin, RECLASSERING.oin)}
    return told


@pytest.fixture(scope="module")
def family(federation: Federation, people: dict[str, str]) -> dict[tuple[str, str], str]:
    """One lookup about two of a family: (name, source) -> outcome."""
    persons = [people["first"], people["second"]]
    sources = [RECLASSERING.oin, VELSEN.oin, OM.oin]
    answered = federation.lookup(ZVH, ZVH_WEIGHING, persons, on_behalf_of=HAARLEM, sources=sources)
    return {(("first", "second")[j], oin): answered.outcome(oin, j) for j in (0, 1) for oin in sources}


@pytest.fixture
def officer(federation: Federation, tmp_path: Path) -> Any:
    return lambda partner: Officer.of(federation, partner, tmp_path / partner.slug)


def test_fg_33_a_source_tells_who_asked_when_for_what_and_what_was_learned(
    officer: Any, federation: Federation, people: dict[str, str], asked: dict[str, dict[str, str]]
) -> None:
    police = officer(POLITIE)
    covenant = "politiegegevens-8-13"
    for name in ("known", "unknown"):
        rows = federation.population.registers[POLITIE.oin, covenant]
        registers: dict[str, str | None] = {covenant: None} if people[name] in {row.identifier for row in rows} else {}
        file = police.registration(people[name], registers)
        said, letter, page = police.letter(people[name], name, "--registratie", str(file))
        assert said["breaches"] == []
        (line,) = letter["asked_of_us"]
        assert line["requester"] == OM.name
        assert line["purpose"].startswith("ZSM-contextcheck")
        assert "Wet op de rechterlijke organisatie (RO): 124" in line["grounds"]
        assert (line["learned"] == "bekend") is (asked[name][POLITIE.oin] == "bekend")
        assert line["learned"] in {"bekend", "niets"}
        assert letter["asked_by_us"] == []
        assert "OM/ZSM" in page
        assert people[name] not in page
    assert asked["known"][POLITIE.oin] == "bekend"
    assert asked["unknown"][POLITIE.oin] != "bekend"


def test_fg_33_without_the_periods_the_letter_says_that_it_does_not_know(
    officer: Any, people: dict[str, str], asked: dict[str, dict[str, str]]
) -> None:
    _, letter, page = officer(RECLASSERING).letter(people["known"], "known")
    assert [line["learned"] for line in letter["asked_of_us"]] == ["onbekend"]
    assert "konden wij voor deze brief niet nagaan" in page


def test_fg_33_a_requester_tells_what_its_officers_asked_and_got_also_nothing(
    officer: Any, people: dict[str, str], asked: dict[str, dict[str, str]], federation: Federation
) -> None:
    om = officer(OM)
    for name in ("known", "unknown"):
        said, letter, page = om.letter(people[name], name)
        assert said["breaches"] == []
        (line,) = letter["asked_by_us"]
        told = {answer["partner"]: answer["outcome"] for answer in line["answers"]}
        assert told == {federation.name_of(oin): outcome for oin, outcome in asked[name].items()}
        assert line["role"] == "zsm-medewerker"
        assert "Demo-medewerker" not in page
        assert "01/234567-26" not in page
    assert "Dit zegt niet of u bij deze organisatie bekend was" in page


def test_fg_33_who_was_never_asked_about_gets_an_honest_letter(officer: Any, federation: Federation) -> None:
    nobody = federation.population.fixed.expired
    _, letter, page = officer(OM).letter(nobody, "niemand")
    assert letter["asked_by_us"] == []
    assert letter["asked_of_us"] == []
    assert "In deze brief staan geen vragen van ons aan andere organisaties" in page


def test_fg_35_a_letter_says_nothing_about_the_rest_of_the_family(
    officer: Any, people: dict[str, str], family: dict[tuple[str, str], str], federation: Federation
) -> None:
    """At the organisation that asked, and at a source: two persons in one question, two letters, each about one."""
    house, probation = officer(ZVH), officer(RECLASSERING)
    for name, other in (("first", "second"), ("second", "first")):
        _, letter, page = house.letter(people[name], name)
        (line,) = letter["asked_by_us"]
        told = {answer["partner"]: answer["outcome"] for answer in line["answers"]}
        assert told == {federation.name_of(oin): outcome for (who, oin), outcome in family.items() if who == name}
        assert line["on_behalf_of"] == HAARLEM.name
        _, at_source, source_page = probation.letter(people[name], name)
        lines = [line for line in at_source["asked_of_us"] if line["requester"] == ZVH.name]
        assert len(lines) == 1
        for text in (page, source_page, json.dumps(letter), json.dumps(at_source)):
            assert people[other] not in text
            assert people[name] not in text
            assert "personen" not in json.dumps(at_source)


def test_fg_35_a_family_question_leaves_the_same_letter_as_a_question_about_one(
    officer: Any, people: dict[str, str], family: dict[tuple[str, str], str]
) -> None:
    """But for the moment, a line from a question about two is the line from a question about one."""
    probation = officer(RECLASSERING)
    shapes = []
    for name in ("first", "second"):
        _, letter, _ = probation.letter(people[name], name)
        shapes.append([{**line, "moment": ""} for line in letter["asked_of_us"] if line["requester"] == ZVH.name])
    assert shapes[0] == shapes[1]
    assert set(shapes[0][0]) == {"moment", "requester", "on_behalf_of", "purpose", "grounds", "learned"}


def test_must_12_request_and_reply_hold_no_number_no_hash_and_no_blind(
    officer: Any, federation: Federation, people: dict[str, str]
) -> None:
    om = officer(OM)
    om.request(people["known"], "lek")
    om.relay("lek")
    key = federation.built.nodes[OM.oin].off_line.privacy_officer
    made = open_secret((om.folder / "lek.json.geheim").read_bytes(), key)
    person = people["known"].encode()
    strings = {
        **dict(forms(person, "number")),
        **dict(hashes(person, "hash")),
        **dict(hashes(b"bsn:" + person, "hash")),
    }
    point = hash_identifier(made.identifier)
    for value, name in ((made.blind, "blind"), (point, "x")):
        strings |= dict(forms(value, name)) | {value: name, value.hex().encode(): name}
    needles = Needles(strings)
    travels = [om.folder / "lek.json", om.folder / "lek-antwoord.json"]
    assert not needles.in_files([*travels, om.folder / "lek.json.geheim"])
    assert multiply(made.blind, point) == made.element
    (om.folder / "geplant").write_bytes(b"x" + person)
    assert needles.in_files([om.folder / "geplant"])


def test_a_request_is_relayed_once_and_by_the_own_node_alone(
    officer: Any, federation: Federation, people: dict[str, str]
) -> None:
    om, police = officer(OM), officer(POLITIE)
    om.request(people["known"], "eens")
    words = ("relay", str(om.folder / "eens.json"))
    assert police.run(*words, "mis.json", "--config", police.config, code=1)["faults"]
    om.relay("eens")
    again = om.run("relay", "eens.json", "nog.json", "--config", om.config, code=1)
    assert "al eens verstuurd" in again["faults"][0]["what"]
    assert not (om.folder / "nog.json").exists()
    assert not (police.folder / "mis.json").exists()


def test_must_15_a_record_that_was_moved_is_found_and_told_the_officer_alone(
    officer: Any, federation: Federation, people: dict[str, str], asked: dict[str, dict[str, str]]
) -> None:
    probation = officer(RECLASSERING)
    probation.letter(people["known"], "voor")
    _swap_two_records(probation.folder / "voor.db")
    built = federation.built
    said = probation.run(
        "answer", "na", "--verzoek", "voor.json", "--antwoord", "voor-antwoord.json", "--export", "voor.db",
        "--sleutel", "po.key", "--wachtwoordbestand", "ww", "--convenant", str(built.covenant),
        "--anker", built.nodes[RECLASSERING.oin].off_line.signer.vkey, code=3,
    )  # fmt: skip
    whats = [one["what"] for one in said["breaches"]]
    assert whats.count("other_record") == 2
    assert whats.count("transplanted") >= 1
    page = (probation.folder / "na" / "brief.html").read_text()
    assert "lek" not in page.lower()
    assert "aantekening is" not in page


def _swap_two_records(path: Path) -> None:
    import sqlite3  # noqa: PLC0415

    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT number, person, sealed FROM sealed ORDER BY number LIMIT 2").fetchall()
        (one, first, a), (two, second, b) = rows
        connection.execute("UPDATE sealed SET sealed = ? WHERE number = ? AND person = ?", (b, one, first))
        connection.execute("UPDATE sealed SET sealed = ? WHERE number = ? AND person = ?", (a, two, second))


def test_fg_34_a_deferral_that_waits_stops_the_letter(
    officer: Any, people: dict[str, str], asked: dict[str, dict[str, str]]
) -> None:
    om = officer(OM)
    recorded = om.run(
        "uitstel", "record", "--doel", ZSM_CONTEXT, "--zaak", "01/234567-26", "--grond", "Wjsg 21(2): onderzoek loopt",
        "--herbeoordeling", _in_days(30), "--config", om.config,
    )  # fmt: skip
    number = str(recorded["number"])
    try:
        refused, _, _ = om.letter(people["known"], "uitgesteld", code=4)
        assert refused["refused"]["rule"] == "uitstel"
        own = om.run("uitstel", "approve", number, "--config", om.config, code=4)
        assert "tweede persoon" in own["refused"]["reason"]
        assert om.run("uitstel", "list", "--config", om.config, code=3)["deferrals"][-1]["state"] == "pending"
    finally:
        om.run("uitstel", "end", number, "--reden", "test is klaar", "--config", om.config)
    _, letter, _ = om.letter(people["known"], "daarna")
    assert letter["asked_by_us"]


def _in_days(days: int) -> str:
    from datetime import timedelta  # noqa: PLC0415

    return (SystemClock().now() + timedelta(days=days)).date().isoformat()


def test_must_22_the_seed_of_the_own_record_gives_every_octet_again(
    federation: Federation, people: dict[str, str], family: dict[tuple[str, str], str], officer: Any
) -> None:
    """`A0`, `A_i`, `U` and `E_i`, held against what the sources keep, for a lookup about two persons."""
    house = officer(ZVH)
    house.run("export", "alles.db", "--config", house.config)
    box = SealedBox(federation.built.nodes[ZVH.oin].off_line.privacy_officer.opening)
    with Export.open(house.folder / "alles.db") as export:
        record = next(iter(export.read_own(KIND_LOOKUP, 1, export.own_records())))
        broker = open_manifest(export.meta("broker_manifest"), federation.built.operator.vkey, SystemClock().now())
    lookup: OwnLookup = open_lookup(record, [box])
    assert [one.value for one in lookup.identifiers] == [people["first"], people["second"]]
    assert broker.oin == BROKER_OIN
    month = lookup.begin.record_month
    assert month == month_of(SystemClock().now())
    officers = {oin: federation.built.nodes[oin].off_line.privacy_officer.opening_public for oin in lookup.questions}
    made = reproduce(lookup, officers, broker.record_keys[month])
    assert list(lookup.begin.elements) == list(made.begin_elements)
    for source, (question_id, hash_) in lookup.questions.items():
        store = Store.open(federation.built.nodes[source].folder / "data")
        try:
            kept = store.answered(question_id)
        finally:
            store.close()
        assert kept is not None
        payload, signature, sealed = kept
        question = signed_pb2.Question.FromString(payload)
        assert question_hash(signed_pb2.Signed(payload=payload, signature=signature)).hex() == hash_
        assert tuple(question.elements) == made.elements[source]
        assert tuple(sealed) == made.sealed[source]


def test_the_off_line_commands_load_neither_network_nor_broker() -> None:
    script = (
        "import sys, bekend_node.records.cli, bekend_node.records.answer\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('grpc', 'bekend_broker')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
