"""What a node destroys, when, and what it leaves: FG-31 and FG-32 by a clock that the test moves."""

import dataclasses
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from bekend_node.ask.own_record import KIND_LOOKUP, KIND_OUTCOMES
from bekend_node.ask.rules import Inquiry
from bekend_node.retention import Retention
from bekend_node.store import AnsweredQuestion
from bekend_node.store_decisions import Decisions
from bekend_node.store_deferrals import Deferrals
from bekend_node.store_registers import Registers
from bekend_node.store_retention import RetentionStore
from bekend_policy.deferring import About, Deferral
from bekend_policy.raising import Raise
from bekend_policy.retention import Kept
from bekend_proto import log_table, merkle
from bekend_proto.clock import AMSTERDAM, milliseconds
from bekend_proto.note import sign_note
from bekend_proto.read_table import LogRead
from nacl.public import SealedBox

from tests.support.asking import OFFICER, PERSON, ZSM_CASE, Stage
from tests.support.covenants import HAARLEM, NOW, OM, POLITIE, RECLASSERING, ZSM, key_of

YEARS = 5
END = NOW.astimezone(AMSTERDAM).replace(year=NOW.year + YEARS).astimezone(UTC)
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


class House:
    """The retention of the OM's node, on the stage's database."""

    def __init__(self, stage: Stage, folder: Path, own: str = OM) -> None:
        self.stage = stage
        self.folder = folder / "data"
        self.registers = Registers.open(self.folder)
        self.rows = RetentionStore(stage.store.database)
        self.retention = Retention(self.rows, self.registers, lambda: stage.covenant, own, stage.clock)
        self.number = 0

    def note(self, *, audited: date | None = None, claim: date | None = None) -> None:
        """A bewaarbesluit, as its command verified and kept it."""
        self.number += 1
        key = key_of(OM)
        kept = Kept(OM, self.number, audited, claim, "rapport")
        assert self.rows.keep_note(self.number, sign_note(kept.text(), key.name, key.seed), milliseconds(NOW))

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.glob("node.db*"))

    def log(self) -> tuple[int, bytes]:
        """Size and root of the log's tree, and every entry proved under it."""

        def read(conn: object) -> tuple[int, bytes]:
            size = log_table.log_size(conn)  # type: ignore[arg-type]
            stored = log_table.reader(conn)  # type: ignore[arg-type]
            root = merkle.root(size, stored)
            for index, entry in enumerate(log_table.entries(conn, 0, size)):  # type: ignore[arg-type]
                path = merkle.inclusion_proof(index, size, stored)
                merkle.verify_inclusion(entry.leaf(), index, size, path, root)
            return size, root

        return self.stage.store.database.read(read)


@pytest.fixture
def house(stage: Stage, tmp_path: Path) -> House:
    return House(stage, tmp_path)


async def lookup(stage: Stage) -> None:
    await stage.ask(
        Inquiry(
            purpose=ZSM,
            persons=(PERSON,),
            sources=(POLITIE, RECLASSERING),
            officer=OFFICER,
            case_reference=ZSM_CASE,
            attested=frozenset({"verdachte"}),
            justification="aangehouden",
        )
    )


async def answered(stage: Stage, requester: str, at: datetime) -> AnsweredQuestion:
    made = AnsweredQuestion(
        question_id=secrets.token_bytes(16),
        question_hash=secrets.token_bytes(32),
        requester=requester,
        source=OM,
        purpose=ZSM,
        record_month="2026-12",
        payload=secrets.token_bytes(400),
        signature=secrets.token_bytes(64),
        sealed=(secrets.token_bytes(80),),
    )
    await stage.store.admit_answer(made, [], at)
    return made


async def test_fg_31_own_records_go_on_their_last_day_and_no_byte_is_left(stage: Stage, house: House) -> None:
    await lookup(stage)
    (sealed,) = stage.store.own_records(KIND_LOOKUP)
    before = house.log()
    house.note(audited=END.astimezone(AMSTERDAM).date())
    stage.clock.set(END)
    assert await house.retention.tidy() == 0  # nothing is older than the very moment
    pieces = [sealed.sealed[at : at + 32] for at in range(0, len(sealed.sealed) - 32, 32)]
    found = house.bytes_on_disk()
    assert sum(piece in found for piece in pieces) > len(pieces) - 4  # but for those that a page cuts
    stage.clock.advance(MOMENT)
    assert await house.retention.tidy() > 0
    assert stage.store.own_records(KIND_LOOKUP) == []
    assert stage.store.own_records(KIND_OUTCOMES) == []
    left = house.bytes_on_disk()
    for gone in (*pieces, sealed.id):
        assert gone not in left
    # The log is as it was but for the note's own entry, and every entry of it can still be proved.
    size, _ = house.log()
    assert size == before[0] + 1


async def test_fg_31_nothing_goes_before_the_audit_that_the_law_demands(stage: Stage, house: House) -> None:
    await lookup(stage)
    stage.clock.set(END + timedelta(days=200))
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1
    assert [(it.requester, it.purpose) for it in house.retention.waiting] == [(OM, ZSM)]
    assert house.retention.waiting_rows == 1
    # An audit up to the day before does not cover it; that of the day itself does.
    day = NOW.astimezone(AMSTERDAM).date()
    house.note(audited=day - timedelta(days=1))
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1
    house.note(audited=day)
    await house.retention.tidy()
    assert stage.store.own_records(KIND_LOOKUP) == []
    assert house.retention.waiting == ()


async def test_fg_31_a_claim_keeps_what_an_audit_lets_go(stage: Stage, house: House) -> None:
    await lookup(stage)
    stage.clock.set(END + timedelta(days=1))
    house.note(audited=NOW.date(), claim=(END + timedelta(days=30)).date())
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1
    stage.clock.set(END + timedelta(days=32))
    await house.retention.tidy()
    assert stage.store.own_records(KIND_LOOKUP) == []


async def test_fg_31_a_claim_without_end_keeps_everything_and_stops_nothing_else(stage: Stage, house: House) -> None:
    """9999-12-31 is what many write for no end."""
    await lookup(stage)
    stage.clock.set(END + timedelta(days=1))
    house.note(audited=NOW.date(), claim=date.max)
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1


async def test_fg_31_answered_questions_go_with_their_sealed_records_each_at_its_own_end(
    stage: Stage, house: House
) -> None:
    house.note(audited=date(2031, 6, 1))
    old = await answered(stage, POLITIE, NOW)
    young = await answered(stage, POLITIE, NOW + timedelta(days=1))
    before = house.log()
    stage.clock.set(END + MOMENT)
    assert await house.retention.tidy() == 2
    assert stage.store.answered(old.question_id) is None
    kept = stage.store.answered(young.question_id)
    assert kept is not None
    assert kept[2] == list(young.sealed)
    left = house.bytes_on_disk()
    for gone in (old.payload, old.signature, *old.sealed, old.question_id):
        assert gone not in left
    assert young.payload in left
    assert house.log() == before


async def test_fg_31_decisions_and_readings_go_too(stage: Stage, house: House) -> None:
    decisions = Decisions(stage.store.database)
    await lookup(stage)
    await decisions.keep_read(LogRead(milliseconds(NOW), "devries", "adl", "beveiliging", 0, 1))
    house.note(audited=END.date())
    stage.clock.set(END + timedelta(days=1))
    await house.retention.tidy()
    until = milliseconds(stage.clock.now())
    assert decisions.own(0, until) == []
    assert decisions.reads(0, until) == []


async def test_own_records_of_before_decisions_were_kept_go_after_the_longest_term(stage: Stage, house: House) -> None:
    await lookup(stage)
    stage.store.database.write_sync(lambda conn: conn.execute("DELETE FROM decision"))
    desk = secrets.token_bytes(300)
    stage.store.database.write_sync(
        lambda conn: conn.execute(
            "INSERT INTO desk_record (name, at, sealed) VALUES (?, ?, ?)", (bytes(16), milliseconds(NOW), desk)
        )
    )
    house.note(audited=END.date())
    stage.clock.set(END - timedelta(days=1))
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1
    assert desk in house.bytes_on_disk()
    stage.clock.set(END + timedelta(days=1))
    await house.retention.tidy()
    assert stage.store.own_records(KIND_LOOKUP) == []
    assert desk not in house.bytes_on_disk()


async def test_a_partner_that_is_neither_police_nor_om_needs_no_audit(stage: Stage, tmp_path: Path) -> None:
    house = House(stage, tmp_path, own=HAARLEM)
    old = await answered(stage, RECLASSERING, NOW)
    stage.clock.set(END + MOMENT)
    assert await house.retention.tidy() == 2
    assert stage.store.answered(old.question_id) is None


async def test_fg_32_what_came_of_a_lookup_stands_nowhere_in_the_clear_and_sealed_for_the_officer_alone(
    stage: Stage, house: House
) -> None:
    await lookup(stage)
    (outcomes,) = stage.store.own_records(KIND_OUTCOMES)
    lifetime = stage.covenant.purposes[ZSM].result_lifetime
    for moment in (NOW, NOW + lifetime, NOW + lifetime + timedelta(days=1)):
        stage.clock.set(moment)
        await house.retention.tidy()
        for text in (b"geen_uitsluitsel", b'"bekend"', b"bekend "):
            assert text not in house.bytes_on_disk()
    # It stays sealed until the log's term, for the audit and the person's right of access.
    assert stage.store.own_records(KIND_OUTCOMES) == [outcomes]
    assert b"bekend" in SealedBox(stage.own.officer).decrypt(outcomes.sealed)


async def test_a_reader_in_the_way_leaves_a_copy_and_the_next_time_takes_it(
    stage: Stage, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    async def busy() -> bool:
        tried.append(len(tried))
        return len(tried) > 1

    monkeypatch.setattr(house.rows, "leave_no_copy", busy)
    await lookup(stage)
    house.note(audited=END.date())
    stage.clock.set(END + timedelta(days=1))
    assert await house.retention.tidy() > 0
    assert await house.retention.tidy() == 0
    assert await house.retention.tidy() == 0
    assert tried == [0, 1]


async def test_a_shorter_term_of_another_purpose_takes_nothing_of_this_one(stage: Stage, house: House) -> None:
    await lookup(stage)
    purposes = {
        id_: one.model_copy(update={"log_years": 4 if id_ != ZSM else None})
        for id_, one in stage.covenant.purposes.items()
    }
    stage.covenant = dataclasses.replace(stage.covenant, purposes=purposes)
    house.note(audited=END.date())
    stage.clock.set(END - timedelta(days=1))
    await house.retention.tidy()
    assert len(stage.store.own_records(KIND_LOOKUP)) == 1


async def test_fg_31_on_what_questions_rested_goes_as_they_do_and_no_sooner(stage: Stage, house: House) -> None:
    deferrals, consents = Deferrals(stage.store.database), stage.store.consents
    await stage.store.keep_raise(Raise(ZSM, "devries", "jansen", "officier", NOW, "drukke dag, zaak 15", 5))
    later = NOW + timedelta(days=60)
    made = Deferral(0, About.CASE, ZSM_CASE, ZSM, "onderzoek loopt nog", "jansen", "J. Jansen", NOW, later.date())
    first = await deferrals.record(made)
    second = await deferrals.record(made)
    await deferrals.step(second, "ended", "devries", "onderzoek is klaar", later + timedelta(days=30))
    ids = await consents.record("tag", [b"one" * 40, b"two" * 40], NOW)
    await consents.withdraw("tag", [(ids[0], b"gone" * 40)], later)
    house.note(audited=(END + timedelta(days=400)).date())

    async def left(after: timedelta) -> tuple[int, list[int], int]:
        stage.clock.set(END + after)
        await house.retention.tidy()
        raises = len(stage.store.raises("devries", NOW - timedelta(days=1)))
        return raises, [one.number for one in deferrals.all()], len(consents.of_case("tag"))

    assert await left(-timedelta(days=1)) == (1, [first, second], 2)
    assert await left(timedelta(days=1)) == (0, [first, second], 1)
    assert b"two" * 40 not in house.bytes_on_disk()
    assert await left(timedelta(days=62)) == (0, [second], 0)
    assert b"gone" * 40 not in house.bytes_on_disk()
    assert await left(timedelta(days=92)) == (0, [], 0)


async def test_fg_31_what_is_younger_than_its_term_cannot_be_deleted(stage: Stage, house: House) -> None:
    it = Raise(ZSM, "devries", "jansen", "officier", NOW, "drukke dag, zaak 15", 5)
    await stage.store.keep_raise(it)
    house.note(audited=NOW.date())
    await house.retention.tidy()
    with pytest.raises(Exception, match="append-only"):
        stage.store.database.write_sync(lambda conn: conn.execute("DELETE FROM raised"))
    assert stage.store.raises("devries", NOW - timedelta(days=1)) == [it]


async def test_fg_31_without_an_audit_the_grounds_stay_too(stage: Stage, house: House) -> None:
    await stage.store.keep_raise(Raise(ZSM, "devries", "jansen", "officier", NOW, "drukke dag, zaak 15", 5))
    stage.clock.set(END + timedelta(days=300))
    await house.retention.tidy()
    assert len(stage.store.raises("devries", NOW - timedelta(days=1))) == 1
