"""Answer receipts: checked off line, from the file and one public key; nothing about a person inside."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node import receipt
from bekend_node.receipt import ReceiptFile
from bekend_node.receipt_cli import app
from bekend_proto import channel
from bekend_proto.errors import BekendError, KeysError, MalformedError, ProofError, SignatureError
from bekend_proto.note import sign_note
from bekend_proto.v1 import signed_pb2
from nacl.signing import SigningKey
from typer.testing import CliRunner

from tests.support.asking import PERSON, Stage, zsm
from tests.support.covenants import HAARLEM, OM, POLITIE, RECLASSERING, ZSM, key_of

ANCHORS = {OM: key_of(OM).vkey}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


@pytest.fixture
async def file(stage: Stage) -> ReceiptFile:
    _, found = await stage.ask(zsm((POLITIE, RECLASSERING)))
    return found


def test_a_receipt_proves_what_was_asked_and_what_came(file: ReceiptFile, stage: Stage) -> None:
    found = receipt.verify(receipt.parse(file.to_bytes()), ANCHORS)
    assert (found.requester, found.purpose, found.persons) == (OM, ZSM, 1)
    assert found.covenant_hash == stage.covenant.hash
    assert set(found.asked) == {POLITIE, RECLASSERING}
    assert HAARLEM in found.not_asked
    told = {one.oin: one.outcome for one in found.openings}
    assert (told[POLITIE], told[RECLASSERING], told[HAARLEM]) == ("bekend", "geen_uitsluitsel", "niet_bevraagd")
    assert found.unopened == 0
    assert found.expires - found.time == timedelta(hours=72)


def test_a_receipt_names_the_question_that_the_partner_logged(file: ReceiptFile, stage: Stage) -> None:
    signed = signed_pb2.Receipt.FromString(file.receipt.payload)
    hashes = {line.source: line.question_hash for line in signed.lines}
    assert hashes[POLITIE] == channel.question_hash(stage.sources[POLITIE].asked[0].question)
    assert hashes[HAARLEM] == b""


def test_no_identifier_case_or_officer_stands_in_a_receipt(file: ReceiptFile) -> None:
    text = file.to_bytes() + file.receipt.payload
    for needle in (PERSON.value, "15/234567-26", "jansen", "Jansen"):
        assert needle.encode() not in text


def test_without_openings_a_receipt_shows_no_outcome(file: ReceiptFile) -> None:
    closed = replace(file, openings=())
    found = receipt.verify(receipt.parse(closed.to_bytes()), ANCHORS)
    assert found.openings == ()
    assert found.unopened == len(file.openings)
    for outcome in ("bekend", "geen_uitsluitsel"):
        assert outcome.encode() not in file.receipt.payload.replace(b"bekend/1", b"")


def test_must_13_every_commitment_has_a_salt_of_32_bytes_of_its_own(file: ReceiptFile) -> None:
    salts = [one.salt for one in file.openings]
    assert {len(salt) for salt in salts} == {32}
    assert len(set(salts)) == len(salts)


def change_outcome(file: ReceiptFile) -> ReceiptFile:
    first, *rest = file.openings
    other = "geen_antwoord" if first.outcome != "geen_antwoord" else "bekend"
    return replace(file, openings=(replace(first, outcome=other), *rest))


def other_payload(file: ReceiptFile) -> ReceiptFile:
    changed = signed_pb2.Receipt.FromString(file.receipt.payload)
    changed.purpose = "kennemerland/iets-anders"
    payload = changed.SerializeToString(deterministic=True)
    return replace(file, receipt=signed_pb2.Signed(payload=payload, signature=file.receipt.signature))


def other_label(file: ReceiptFile) -> ReceiptFile:
    key = SigningKey.generate()
    return replace(file, receipt=channel.sign(key, channel.LABEL_ANSWER, file.receipt.payload))


def signed_by_stranger(file: ReceiptFile) -> ReceiptFile:
    return replace(file, receipt=channel.sign(SigningKey.generate(), channel.LABEL_RECEIPT, file.receipt.payload))


def manifest_of_stranger(file: ReceiptFile) -> ReceiptFile:
    text = file.manifest.decode().partition("\n\n")[0] + "\n"
    stranger = key_of(OM, generation=2)
    return replace(file, manifest=sign_note(text, stranger.name, stranger.seed))


def unknown_field(file: ReceiptFile) -> ReceiptFile:
    return replace(file, receipt=signed_pb2.Signed(payload=file.receipt.payload + b"\xa2\x06\x01x"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (change_outcome, ProofError),
        (lambda file: replace(file, openings=file.openings * 2), ProofError),
        (lambda file: replace(file, openings=(replace(file.openings[0], salt=bytes(32)),)), ProofError),
        (lambda file: replace(file, openings=(replace(file.openings[0], person=1),)), ProofError),
        (lambda file: replace(file, openings=(replace(file.openings[0], oin=OM),)), ProofError),
        (other_payload, SignatureError),
        (other_label, SignatureError),
        (signed_by_stranger, SignatureError),
        (manifest_of_stranger, SignatureError),
        (unknown_field, MalformedError),
    ],
)
def test_a_changed_receipt_does_not_verify(file: ReceiptFile, change: Any, error: type[BekendError]) -> None:
    with pytest.raises(error):
        receipt.verify(change(file), ANCHORS)


def test_an_unknown_organisation_has_no_anchor(file: ReceiptFile) -> None:
    with pytest.raises(KeysError):
        receipt.verify(file, {HAARLEM: key_of(HAARLEM).vkey})


def test_a_manifest_that_came_later_proves_nothing(file: ReceiptFile, stage: Stage) -> None:
    later = replace(stage.manifests[OM], issued=stage.manifests[OM].issued + timedelta(days=30))
    key = key_of(OM)
    with pytest.raises(KeysError):
        receipt.verify(replace(file, manifest=sign_note(later.text(), key.name, key.seed)), ANCHORS)


def test_another_number_of_the_manifest_is_refused(file: ReceiptFile, stage: Stage) -> None:
    other = replace(stage.manifests[OM], number=4)
    key = key_of(OM)
    with pytest.raises(KeysError):
        receipt.verify(replace(file, manifest=sign_note(other.text(), key.name, key.seed)), ANCHORS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"kind": "bekend/1 receipt"}',
        b'{"kind": "bekend/1 receipt", "receipt": "!", "manifest": "", "openings": []}',
        b'{"kind": "bekend/1 receipt", "receipt": "/w==", "manifest": "", "openings": []}',
        b'{"kind": "bekend/1 receipt", "receipt": "", "manifest": "", "openings": [{}]}',
        b'{"kind": "bekend/1 receipt", "receipt": "", "manifest": "", "openings": 1}',
        b'{"kind": "bekend/1 receipt", "receipt": "", "manifest": "", "openings": [], "person": "x"}',
        b"[" * 100_000,
        b" " * ((1 << 20) + 1),
        b"\xff\xfe",
    ],
)
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        receipt.verify(receipt.parse(data), ANCHORS)


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def path(file: ReceiptFile, tmp_path: Path) -> Path:
    found = tmp_path / "bon.json"
    found.write_bytes(file.to_bytes())
    return found


def test_the_command_checks_with_the_covenant(path: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(path), "--covenant", str(tmp_path / "convenant")])
    assert result.exit_code == 0, result.output
    assert "Dit ontvangstbewijs klopt." in result.stdout
    assert f"({POLITIE}): " in result.stdout
    assert "bekend" in result.stdout
    assert "bewijst niets" in result.stdout


def test_the_command_checks_with_one_key_and_speaks_json(path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(path), "--anchor", ANCHORS[OM], "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["valid"] is True
    assert {"oin": POLITIE, "person": 0, "outcome": "bekend"} in found["outcomes"]
    assert "bewijst niets" in found["note"]


def test_the_command_says_no_with_exit_code_3(path: Path, file: ReceiptFile) -> None:
    path.write_bytes(change_outcome(file).to_bytes())
    result = CliRunner().invoke(app, ["verify", str(path), "--anchor", ANCHORS[OM]])
    assert result.exit_code == 3
    assert "klopt NIET. Een uitkomst past niet bij haar zegel" in result.stderr
    result = CliRunner().invoke(app, ["verify", str(path), "--anchor", ANCHORS[OM], "--json"])
    assert json.loads(result.stdout)["code"] == "proof"


def test_what_is_no_receipt_is_said_in_dutch(path: Path) -> None:
    path.write_bytes(b"{}")
    result = CliRunner().invoke(app, ["verify", str(path), "--anchor", ANCHORS[OM]])
    assert result.exit_code == 3
    assert "Vraag de organisatie die het gaf, om een nieuw exemplaar." in result.stderr


def test_the_command_needs_one_anchor(path: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["verify", str(path)]).exit_code == 2
    both = ["verify", str(path), "--anchor", "x", "--covenant", str(tmp_path)]
    assert CliRunner().invoke(app, both).exit_code == 2


def test_an_anchor_that_is_no_key_is_wrong_use(path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(path), "--anchor", ANCHORS[OM][:-4]])
    assert result.exit_code == 2
    assert "--anchor is geen openbare sleutel" in result.stderr


def test_a_file_that_is_not_there_is_a_clear_fault(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "niets"), "--anchor", ANCHORS[OM]])
    assert result.exit_code == 1
    assert "niets kan niet worden gelezen" in result.stderr


def test_a_covenant_that_is_none_is_a_clear_fault(path: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(path), "--covenant", str(tmp_path / "leeg")])
    assert result.exit_code == 1
    assert "Het convenant in" in result.stderr
