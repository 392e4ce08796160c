"""The audit by sample: what an honest requester shows holds; whoever lies is named with the question's hash."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bekend_node.audit.opening import open_sealed, read_opening, seal_opening, unwrap
from bekend_node.audit.testing import Breach, Untested, judge
from bekend_proto.errors import BekendError, KeysError, MalformedError, SignatureError
from nacl.public import PrivateKey, SealedBox

from tests.support.auditing import Files, Trail
from tests.support.auditors import AUDITOR
from tests.support.covenants import NOW, OM, POLITIE, RECLASSERING
from tests.support.sealed import ANN, BEN

MANY = 300
"""Questions of which one in twenty is drawn: fewer than two are three in a million times."""


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    made = Trail(tmp_path)
    yield made
    made.store.close()


def one_drawn(trail: Trail, **lie: Any) -> tuple[Files, bytes]:
    """Honest lookups, and lies until one of them is drawn."""
    trail.fill(20)
    for _ in range(20):
        lies = trail.fill(20, **lie)
        files = trail.write()
        if found := sorted(files.drawn() & set(lies)):
            return files, found[0]
    raise AssertionError("400 lies, and none was drawn")


def test_must_22_and_15_what_an_honest_requester_shows_holds_octet_for_octet(trail: Trail) -> None:
    trail.fill(60, sources=(POLITIE, RECLASSERING))
    trail.fill(60, persons=(ANN, BEN), answered=False)
    files = trail.write()
    shown = files.shown()
    assert shown.missing == ()
    report = files.judge()
    one = report.audited
    assert (report.breaches, report.untested) == ((), ())
    assert one.is_good
    assert (one.questions, one.drawn) == (180, len(files.drawn()))
    assert one.tested + one.unanswered == one.drawn > 0
    assert one.draw == files.basis().draw_hash
    assert all(it.case == "15/234567-26" for it in report.cases)
    assert len(report.cases) == min(one.drawn, 10)


def test_the_opening_shows_what_is_drawn_and_nothing_else(trail: Trail) -> None:
    trail.fill(MANY, sources=(POLITIE, RECLASSERING))
    files = trail.write()
    shown = files.shown()
    hashes = {bytes.fromhex(row["question_hash"]) for one in shown.opening.lookups for row in one["questions"]}
    assert hashes == files.drawn()
    assert all({"justification", "officer_name", "attested"}.isdisjoint(one) for one in shown.opening.lookups)
    assert "toestemming" not in repr(shown.opening.lookups)


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ({"sealed_as": (BEN,)}, Breach.RECORD),
        ({"recorded": False}, Breach.NOT_SHOWN),
        ({"content": {"seed": "17" * 32}}, Breach.NOT_REPRODUCED),
        ({"content": {"identifiers": [{"kind": "bsn", "value": BEN.value}]}}, Breach.NOT_REPRODUCED),
        ({"content": {"case": "15/000001-26"}}, Breach.CASE),
        ({"content": {"officer": "devries"}}, Breach.CASE),
        ({"content": {"purpose": "kennemerland/iets"}}, Breach.QUESTION),
        ({"content": {"on_behalf_of": POLITIE}}, Breach.QUESTION),
        ({"content": {"begun": ""}}, Breach.MALFORMED),
        ({"content": {"identifiers": []}}, Breach.NOT_REPRODUCED),
        ({"content": {"seed": "17"}}, Breach.MALFORMED),
        ({"content": {"purpose": "kennemerland/ïets"}}, Breach.QUESTION),
        ({"begin_logged": False}, Breach.BEGIN),
    ],
)
def test_must_15_and_22_a_requester_that_lies_is_a_breach(trail: Trail, lie: dict[str, Any], found: Breach) -> None:
    files, lied = one_drawn(trail, **lie)
    report = files.judge()
    assert (lied.hex(), OM, POLITIE, found) in [dataclasses.astuple(one) for one in report.breaches]
    assert {one.what for one in report.breaches} == {found}
    assert not report.audited.is_good
    told = {one.question for one in report.breaches}
    assert report.audited.tested == len(files.drawn()) - len(told) > 0 or len(told) == len(files.drawn())


def test_must_15_a_broker_reply_that_is_not_proved_is_no_reply(trail: Trail) -> None:
    honest = trail.u
    trail.u = bytes([2]) + bytes(31)
    trail.fill(MANY)
    trail.u = honest
    report = trail.write().judge()
    assert report.breaches
    assert {one.what for one in report.breaches} == {Breach.NOT_REPRODUCED}


def test_a_record_moved_to_another_question_is_a_breach(trail: Trail) -> None:
    """The officer shows, under a drawn hash, another lookup that does open."""
    trail.fill(MANY)
    files = trail.write()
    opening = files.shown().opening
    other = opening.lookups[1]["questions"][0]["question_hash"]
    first = opening.lookups[0]
    moved = first | {"questions": [first["questions"][0] | {"question_hash": other}]}
    report = files.judge(dataclasses.replace(opening, lookups=(moved, *opening.lookups[2:])))
    assert {one.what for one in report.breaches} == {Breach.QUESTION, Breach.NOT_SHOWN}
    assert len(report.breaches) == 2


def test_what_a_source_did_not_hand_over_is_not_tested_and_said_to_be(trail: Trail) -> None:
    trail.fill(MANY)
    files = trail.write()
    kept, trail.records[POLITIE] = trail.records[POLITIE], []
    without = trail.write().judge()
    assert {one.what for one in without.untested} == {Untested.NO_RECORDS}
    assert not without.audited.is_good
    trail.records[POLITIE] = kept
    again = trail.write()
    (again.folder / "exports" / f"{POLITIE}.export").unlink()
    assert {one.what for one in again.judge().untested} == {Untested.NO_EXPORT}
    assert files.judge().audited.is_good


def test_a_record_under_an_older_key_needs_the_manifest_of_then(trail: Trail) -> None:
    trail.fill(MANY)
    then = trail.manifest(POLITIE)
    trail.officers[POLITIE] = PrivateKey.generate()
    now = trail.manifest

    def newer(oin: str, number: int = 2) -> bytes:
        return now(oin, number)

    trail.manifest = newer  # type: ignore[method-assign]
    files = trail.write()
    assert {one.what for one in files.judge().untested} == {Untested.NO_MANIFEST}
    assert files.judge(manifests=[then]).audited.is_good


def test_an_opening_of_another_draw_officer_or_period_is_refused(trail: Trail) -> None:
    trail.fill(MANY)
    files = trail.write()
    opening = files.shown().opening
    for changed in ({"draw": bytes(32)}, {"first": opening.last}, {"oin": "00000099000000099999"}):
        with pytest.raises((MalformedError, KeysError)):
            files.judge(dataclasses.replace(opening, **changed))
    forged = seal_opening(opening, AUDITOR, auditor="", to=AUDITOR.opening_public)
    signature, payload, opened = open_sealed(read_opening(forged), AUDITOR.opening)
    with pytest.raises(SignatureError):
        judge(opened, (signature, payload), files.basis(), trail.covenant, NOW)


def test_must_12_an_opening_shows_no_number_to_who_has_no_key(trail: Trail) -> None:
    trail.fill(MANY)
    opening = trail.write().shown().opening
    assert any(ANN.value in str(one) for one in opening.lookups)
    for to, passphrase in ((AUDITOR.opening_public, ""), (None, "een lange wachtwoordzin")):
        data = seal_opening(opening, trail.officer, auditor="de auditor", to=to, passphrase=passphrase)
        assert ANN.value.encode() not in data
        assert opening.lookups[0]["seed"].encode() not in data
        sealed = read_opening(data)
        with pytest.raises(KeysError):
            open_sealed(sealed, PrivateKey.generate())
    assert ANN.value not in repr(opening) + repr(sealed)
    with pytest.raises(KeysError):
        unwrap(sealed, "een ander wachtwoord")
    assert open_sealed(sealed, unwrap(sealed, "een lange wachtwoordzin"))[2] == opening


@pytest.mark.parametrize("place", [0, 31, 47, 48, 200, -1])
def test_an_opening_that_was_touched_does_not_open(trail: Trail, place: int) -> None:
    trail.fill(40)
    data = seal_opening(trail.write().shown().opening, trail.officer, auditor="x", to=AUDITOR.opening_public)
    sealed = read_opening(data)
    box = bytearray(sealed.box)
    box[place] ^= 1
    with pytest.raises(KeysError):
        open_sealed(dataclasses.replace(sealed, box=bytes(box)), AUDITOR.opening)
    for broken in (b"", b"{}", data[:-200], data.replace(b'"kind"', b'"soort"')):
        with pytest.raises(MalformedError):
            read_opening(broken)


@pytest.mark.parametrize("content", [b'"x"', b"5", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_an_opening_that_holds_anything_else_is_malformed(trail: Trail, content: bytes) -> None:
    """Who is audited makes this file: it is no way to end the auditor's work without a word."""
    trail.fill(40)
    data = seal_opening(trail.write().shown().opening, trail.officer, auditor="x", to=AUDITOR.opening_public)
    box = SealedBox(AUDITOR.opening.public_key).encrypt(bytes(64) + content)
    with pytest.raises(MalformedError):
        open_sealed(dataclasses.replace(read_opening(data), box=box), AUDITOR.opening)


def test_a_log_that_hides_a_question_stops_the_audit(trail: Trail) -> None:
    hashes = trail.fill(40)
    trail.entries["00000099000000009000"] = [
        one for one in trail.entries["00000099000000009000"] if one.hash != hashes[7]
    ]
    with pytest.raises(BekendError, match="spreken elkaar tegen"):
        trail.write().basis()
