"""Several persons in one question, each with a justification of its own where the covenant asks it (Bgs 2.19)."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.ask.rules import Inquiry
from bekend_node.store_decisions import Decisions
from bekend_policy.decision_log import Verdict, decision_records, replay
from bekend_proto import trace
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError
from nacl.public import SealedBox

from tests.support.asking import OTHER, PERSON, THIRD, Stage, weighing
from tests.support.covenants import HAARLEM, NOW, OM, RECLASSERING, VEILIG_THUIS, ZVH_WEIGHING, edit
from tests.support.eyes import FIRST, SECOND, EyesStage
from tests.support.sealed import ANN, BEN, CAS, Archive

WHY = "aangehouden, afdoening nog open"
BROTHER, MOTHER = "de broer woont in hetzelfde huis", "de moeder draagt de zorg"


def per_person(folder: Path) -> None:
    """The weighing asks a justification for each further person."""
    edit(
        folder / "doelen" / "zvh-weging-betrokkenheid.yaml",
        "max_personen: 4",
        "motivering_per_persoon: ja\nmax_personen: 4",
    )


def and_four_eyes(folder: Path) -> None:
    per_person(folder)
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "vier_ogen: nee", "vier_ogen: ja")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, per_person)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON, OTHER, THIRD)
    yield made
    await made.close()


def family(*reasons: str, persons: Any = (PERSON, OTHER, THIRD), **more: Any) -> Inquiry:
    return weighing((VEILIG_THUIS,), persons, reasons=reasons, **more)


@pytest.mark.parametrize("reasons", [(), ("", BROTHER), ("", BROTHER, ""), ("", BROTHER, BROTHER), ("", WHY, MOTHER)])
async def test_a_family_is_not_asked_about_without_a_reason_for_each(stage: Stage, reasons: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError) as refused:
        await stage.ask(family(*reasons))
    assert refused.value.rule == "motivering-persoon"
    assert not stage.line.releases
    assert stage.sources[VEILIG_THUIS].asked == []


async def test_a_colleague_reads_the_reason_of_one_person_and_of_no_other(stage: Stage) -> None:
    await stage.ask(family("", BROTHER, MOTHER))
    named = stage.exchange.named
    assert [named[place].justification for place in range(3)] == [WHY, BROTHER, MOTHER]


async def test_one_person_needs_no_reason_besides_the_justification(stage: Stage) -> None:
    await stage.ask(family(persons=(PERSON,)))
    assert stage.exchange.named[0].justification == WHY


async def test_a_purpose_that_asks_no_reasons_takes_a_family_as_before(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.sources[VEILIG_THUIS].by_hand = True
    stage.sources[VEILIG_THUIS].known = (PERSON, OTHER)
    await stage.ask(family(persons=(PERSON, OTHER)))
    assert [stage.exchange.named[place].justification for place in range(2)] == [WHY, WHY]
    await stage.close()


async def test_what_was_written_of_each_stands_in_the_sealed_record_alone(stage: Stage) -> None:
    await stage.ask(family("", BROTHER, MOTHER))
    (row,) = stage.store.own_records(KIND_LOOKUP)
    record = json.loads(SealedBox(stage.own.officer).decrypt(row.sealed))
    assert record["reasons"] == ["", BROTHER, MOTHER]
    for path in (stage.folder / "data").rglob("*"):
        assert path.is_dir() or BROTHER.encode() not in path.read_bytes()


async def test_a_family_replays_to_itself_with_the_texts_of_each(stage: Stage) -> None:
    await stage.ask(family("", BROTHER, MOTHER))
    with pytest.raises(RefusedError):
        stage.asker.ask(family("", BROTHER))
    await stage.asker.close()
    now, covenants = milliseconds(stage.clock.now()), {stage.covenant.hash.hex(): stage.covenant}
    found = [one for one, _ in Decisions(stage.store.database).own(now - 10**9, now + 1)]
    found.sort(key=lambda one: one.judged[0].rule == "motivering-persoon")
    asked, refused = (list(decision_records(one, trace.REQUESTER, OM)) for one in found)
    (row,) = stage.store.own_records(KIND_LOOKUP)
    opened = json.loads(SealedBox(stage.own.officer).decrypt(row.sealed))
    for record in asked:
        assert replay(record, covenants).verdict is Verdict.EQUAL
        assert replay(record, covenants, {row.id.hex(): opened}).verdict is Verdict.EQUAL
        assert replay(record, covenants, {row.id.hex(): {**opened, "reasons": []}}).verdict is Verdict.DIFFERENT
    assert {replay(record, covenants).verdict for record in refused} == {Verdict.WITHHELD}


def test_some_of_a_family_keep_their_own_reasons() -> None:
    some = family("", BROTHER, MOTHER).about([2, 0], (OM,))
    assert (some.persons, some.reasons) == ((THIRD, PERSON), (MOTHER, ""))
    assert (some.why(0), some.why(1)) == (MOTHER, WHY)


async def test_who_looks_along_reads_every_reason(tmp_path: Path) -> None:
    stage = EyesStage(tmp_path, and_four_eyes)
    found: Any = stage.asker.submit(family("", BROTHER, MOTHER), FIRST)
    stage.asker.four_eyes.look(found.id, SECOND)
    assert found.inquiry.texts == f"{WHY}\nPersoon 2: {BROTHER}\nPersoon 3: {MOTHER}"
    stage.asker.four_eyes.refuse(found.id, SECOND, "Dit hoort niet onder dit doel")
    assert found.inquiry.texts == ""
    await stage.close()


def test_fg_35_a_letter_says_nothing_of_the_reasons_or_of_the_others(tmp_path: Path) -> None:
    """Real access requests: the letter of each of a family is octet for octet that of a question about one."""
    archive, moment = Archive(tmp_path, oin=HAARLEM), NOW - timedelta(days=3)
    archive.question([BEN, ANN, CAS], requester=OM, purpose=ZVH_WEIGHING, moment=moment)
    archive.own([BEN, ANN], {RECLASSERING: []}, purpose=ZVH_WEIGHING, moment=moment, reasons=["", BROTHER])
    letters = {person: archive.letter(person) for person in (ANN, BEN)}
    for person, letter in letters.items():
        alone = Archive(tmp_path / person.value, oin=HAARLEM, officer=archive.officer)
        alone.question([person], requester=OM, purpose=ZVH_WEIGHING, moment=moment)
        alone.own([person], {RECLASSERING: []}, purpose=ZVH_WEIGHING, moment=moment)
        assert alone.letter(person) == letter
        assert BROTHER not in "".join(map(str, letter))
