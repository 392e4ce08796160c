"""Sealed records opened: the right ones found, and everything that was put in their place (must-list 15 and 22)."""

import dataclasses
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.records.exposure import exposure_of
from bekend_node.records.opening import Breach, open_all
from bekend_node.records.own import own_answers
from bekend_node.store_export import Export
from bekend_policy.officer_key import OfficerKey
from bekend_proto.clock import milliseconds, month_of
from bekend_proto.errors import KeysError, MalformedError, ProofError, StorageError
from bekend_proto.records import seal_hash
from bekend_proto.v1 import signed_pb2
from nacl.public import PrivateKey

from tests.support.covenants import HAARLEM, NOW, OM, POLITIE, RECLASSERING, ZSM
from tests.support.sealed import ANN, BEN, CAS, Archive, quiet, value_of

HIT, MISS, NONE = OutcomeKind.KNOWN, OutcomeKind.INCONCLUSIVE, OutcomeKind.NO_ANSWER
OF_QUESTION = "number = (SELECT number FROM answered WHERE question_id = ?)"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def opened(archive: Archive, person: Any = ANN, **changes: Any) -> Any:
    facts: dict[str, Any] = {
        "keys": [archive.officer.opening],
        "values": {month: value_of(archive, person, _moment(month)) for month in archive.months},
        "oin": archive.oin,
        "kept_since": 0,
        "workers": 1,
    }
    return open_all(archive.export(), **(facts | changes))


def _moment(month: str) -> Any:
    return NOW.replace(year=int(month[:4]), month=int(month[5:]), day=1)


def whats(found: Any) -> list[Breach]:
    return sorted((one.what for one in found.faults), key=lambda one: one.name)


def test_the_questions_about_this_person_are_found_and_no_others(archive: Archive) -> None:
    mine = [archive.question([ANN]), archive.question([BEN, ANN, CAS], requester=HAARLEM)]
    archive.question([BEN])
    archive.question([CAS, BEN])
    found = opened(archive)
    assert {one.hash for one in found.matches} == {one.question_hash.hex() for one in mine}
    assert found.faults == []
    assert {one.requester for one in found.matches} == {OM, HAARLEM}


def test_each_month_has_its_own_u(archive: Archive) -> None:
    earlier = NOW - timedelta(days=40)
    old = archive.question([ANN], moment=earlier)
    found = opened(archive)
    assert [one.hash for one in found.matches] == [old.question_hash.hex()]
    values = {month_of(NOW): value_of(archive, ANN, NOW), month_of(earlier): value_of(archive, ANN, NOW)}
    assert opened(archive, values=values).matches == []


def test_records_of_before_a_replacement_open_with_the_old_key(archive: Archive) -> None:
    old = PrivateKey.generate()
    archive.question([ANN], officer=old)
    archive.question([ANN])
    assert len(opened(archive, keys=[archive.officer.opening, old]).matches) == 2
    found = opened(archive)
    assert len(found.matches) == 1
    assert whats(found) == [Breach.DOES_NOT_OPEN]


def test_must_15_a_record_made_for_another_question_is_found(archive: Archive) -> None:
    """The hostile requester puts E of an earlier question, of whomever, into a new one and signs for it."""
    for person in (ANN, BEN):
        original = archive.question([person], moment=NOW - timedelta(minutes=9))
        copy = archive.question([person], sealed={0: original.sealed[0]}, moment=NOW - timedelta(minutes=5))
        found = opened(archive)
        (fault,) = [one for one in found.faults if one.question == copy.question_hash.hex()]
        assert fault.what is Breach.TRANSPLANTED
        assert fault.requester == OM


def test_must_15_a_record_at_another_place_of_its_question_is_found(archive: Archive) -> None:
    original = archive.question([ANN, BEN])
    archive.question([ANN, BEN], sealed={0: original.sealed[1], 1: original.sealed[0]})
    assert whats(opened(archive)) == [Breach.TRANSPLANTED, Breach.TRANSPLANTED]


def test_must_15_a_record_moved_before_its_own_question_is_blamed_on_the_copy(archive: Archive) -> None:
    """Whoever copies first in time is still the one: the context says whose it is, for this person."""
    later = archive.question([ANN], moment=NOW - timedelta(minutes=1))
    early = archive.question([ANN], moment=NOW - timedelta(minutes=9), sealed={0: later.sealed[0]}, keep=False)
    archive.keep(early, NOW - timedelta(minutes=9))
    found = opened(archive)
    assert [one.question for one in found.faults] == [early.question_hash.hex()]
    assert [one.hash for one in found.matches] == [later.question_hash.hex()]


def test_must_15_a_record_that_differs_from_the_logged_question_is_found(archive: Archive) -> None:
    one, other = archive.question([ANN]), archive.question([BEN])
    with sqlite3.connect(archive.folder / "data" / "node.db") as connection:
        connection.execute(f"UPDATE sealed SET sealed = ? WHERE {OF_QUESTION}", (other.sealed[0], one.question_id))
    found = opened(archive)
    assert set(whats(found)) == {Breach.OTHER_RECORD, Breach.TRANSPLANTED}
    assert found.matches == []


def test_a_question_that_was_altered_or_added_is_not_in_the_log(archive: Archive) -> None:
    made = archive.question([ANN])
    question = signed_pb2.Question.FromString(made.payload)
    question.time += 60_000
    with sqlite3.connect(archive.folder / "data" / "node.db") as connection:
        connection.execute(
            "UPDATE answered SET payload = ? WHERE question_id = ?",
            (question.SerializeToString(deterministic=True), made.question_id),
        )
    assert whats(opened(archive)) == [Breach.GONE, Breach.NOT_LOGGED]


def test_a_question_that_was_taken_away_is_missed_within_the_term_only(archive: Archive) -> None:
    made = archive.question([ANN])
    with sqlite3.connect(archive.folder / "data" / "node.db") as connection:
        connection.execute(f"DELETE FROM sealed WHERE {OF_QUESTION}", (made.question_id,))
        connection.execute("DELETE FROM answered WHERE question_id = ?", (made.question_id,))
    found = opened(archive)
    assert [(one.what, one.question) for one in found.faults] == [(Breach.GONE, made.question_hash.hex())]
    assert opened(archive, kept_since=milliseconds(NOW) + 1).faults == []


def test_records_that_are_missing_or_too_many_are_found(archive: Archive) -> None:
    made = archive.question([ANN, BEN])
    with sqlite3.connect(archive.folder / "data" / "node.db") as connection:
        connection.execute(f"DELETE FROM sealed WHERE {OF_QUESTION} AND person = 1", (made.question_id,))
    assert whats(opened(archive)) == [Breach.MISSING]


@pytest.mark.parametrize("record", [b"", b"x" * 80, b"y" * 79, bytes(200)])
def test_octets_that_are_no_record_are_found(archive: Archive, record: bytes) -> None:
    archive.question([ANN], sealed={0: record}, keep=True)
    assert Breach.DOES_NOT_OPEN in whats(opened(archive))


def test_the_own_canary_is_nobody(archive: Archive) -> None:
    archive.question([ANN], requester=POLITIE)
    found = opened(archive)
    assert (found.matches, found.faults) == ([], [])


def test_another_organisations_question_does_not_belong_here(archive: Archive) -> None:
    archive.question([ANN])
    assert Breach.NOT_LOGGED in whats(opened(archive, oin=RECLASSERING))


def test_many_processes_find_what_one_finds(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bekend_node.records.opening.SMALL", 0)
    monkeypatch.setattr("bekend_node.records.opening.PART", 7)
    made = [archive.question([ANN if number % 5 == 0 else BEN]) for number in range(40)]
    archive.question([BEN], sealed={0: made[33].sealed[0]})
    shown: list[tuple[int, int]] = []
    alone = opened(archive)
    together = opened(archive, workers=2, progress=lambda done, total: shown.append((done, total)))
    assert {one.hash for one in together.matches} == {one.hash for one in alone.matches}
    assert len(together.matches) == 8
    assert together.faults == alone.faults
    assert whats(together) == [Breach.TRANSPLANTED]
    assert shown[-1] == (41, 41)


# --- own lookups


def own(archive: Archive, person: Any = ANN, workers: int = 1) -> Any:
    return own_answers(archive.export(), [archive.officer.opening], person, quiet(), workers)


def test_own_lookups_about_this_person_also_where_nothing_was_found(archive: Archive) -> None:
    archive.own([ANN], {POLITIE: [HIT], RECLASSERING: [MISS]})
    archive.own([BEN, ANN], {RECLASSERING: [HIT, NONE]}, moment=NOW - timedelta(hours=1))
    archive.own([BEN], {RECLASSERING: [HIT]})
    found, faults = own(archive)
    assert faults == []
    assert [one.outcomes for one in found] == [
        {POLITIE: "bekend", RECLASSERING: "geen_uitsluitsel"},
        {RECLASSERING: "geen_antwoord"},
    ]


def test_a_lookup_that_broke_off_says_that_nothing_was_recorded(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, with_outcomes=False)
    found, _ = own(archive)
    assert [one.outcomes for one in found] == [{RECLASSERING: None}]


def test_what_a_colleague_at_the_source_decided_later_counts(archive: Archive) -> None:
    waiting = OutcomeKind.PENDING
    archive.own([BEN, ANN], {RECLASSERING: [waiting, waiting]}, late={RECLASSERING: ["geen_uitsluitsel", "bekend"]})
    archive.own([ANN], {RECLASSERING: [waiting]})
    found, faults = own(archive)
    assert faults == []
    assert sorted(str(one.outcomes[RECLASSERING]) for one in found) == ["bekend", "in_behandeling"]


def test_must_22_a_seed_that_does_not_give_what_was_sent_is_a_breach(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, seed=b"s" * 32)
    found, faults = own(archive)
    assert found == []
    assert [one.what for one in faults] == [Breach.NOT_REPRODUCED]


def test_an_own_record_that_does_not_open_is_a_breach(archive: Archive) -> None:
    begin_id = archive.own([ANN], {RECLASSERING: [HIT]})
    with sqlite3.connect(archive.folder / "data" / "node.db") as connection:
        connection.execute("UPDATE own_record SET sealed = x'00' WHERE id = ? AND kind = 'lookup'", (begin_id,))
    found, faults = own(archive)
    assert found == []
    assert [(one.what, one.question) for one in faults] == [(Breach.DOES_NOT_OPEN, begin_id.hex())]


def test_nothing_that_is_read_shows_an_identifier_or_a_seed(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]})
    found, _ = own(archive)
    assert ANN.value not in repr(found)


# --- the whole, and the export


def test_an_answer_needs_every_month_that_the_broker_has(archive: Archive) -> None:
    archive.question([ANN], moment=NOW - timedelta(days=40))
    request, private = archive.request(ANN)
    short = dataclasses.replace(archive.given(ANN), secret=private)
    reply = archive.reply(request)
    del archive.months[month_of(NOW - timedelta(days=40))]
    less = archive.reply(request)
    archive.u(NOW - timedelta(days=40))
    assert reply != less
    with pytest.raises(ProofError, match="2026-10"):
        archive.answer(ANN, reply=less, secret=short.secret)


def test_records_whose_month_key_was_destroyed_are_past_and_no_fault(archive: Archive) -> None:
    archive.question([ANN], moment=NOW - timedelta(days=40))
    del archive.months[month_of(NOW - timedelta(days=40))]
    findings = archive.answer(ANN)
    assert (findings.asked_of_us, findings.faults) == ((), ())


def test_the_export_of_another_organisation_is_refused(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "ander", oin=RECLASSERING)
    with pytest.raises(KeysError, match="andere organisatie"):
        archive.answer(ANN, export=other.export())


@pytest.mark.parametrize("content", [b"", b"geen database", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_export_is_refused(archive: Archive, content: bytes) -> None:
    path = archive.folder / "mis.db"
    path.write_bytes(content)
    with pytest.raises(MalformedError, match="geen export"):
        archive.answer(ANN, export=path)
    with sqlite3.connect(archive.folder / "leeg.db") as connection:
        connection.execute("CREATE TABLE meta (key, value)")
    with pytest.raises(MalformedError, match="geen export"):
        Export.open(archive.folder / "leeg.db")


def test_an_export_overwrites_nothing_and_is_its_owners_alone(archive: Archive) -> None:
    from bekend_node.store_export import write_export  # noqa: PLC0415

    path = archive.export()
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(StorageError, match="bestaat al"):
        write_export(archive.store, path, {})
    assert path.read_bytes() == before
    assert not list(archive.folder.glob(".*.part"))


def test_exposure_counts_what_a_lost_key_opens(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, moment=NOW - timedelta(days=3))
    archive.own([BEN], {RECLASSERING: [MISS]})
    archive.question([ANN])
    path = archive.export()
    exposed = exposure_of(path, archive.officer)
    assert (exposed.lookups, exposed.answered) == (2, 1)
    assert exposed.first is not None
    assert exposed.last is not None
    assert (exposed.last - exposed.first).days == 3
    nothing = exposure_of(path, OfficerKey.generate(POLITIE))
    assert (nothing.lookups, nothing.first) == (0, None)
    assert "blijven dicht" in " ".join(exposed.lines())


def test_a_seal_hash_is_what_the_question_names(archive: Archive) -> None:
    made = archive.question([ANN], purpose=ZSM)
    question = signed_pb2.Question.FromString(made.payload)
    assert [seal_hash(one) for one in made.sealed] == list(question.seal_hashes)
