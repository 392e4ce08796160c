"""Naming persons to a source where a colleague decides: what leaves, what an officer is told, what is kept."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import KIND
from bekend_policy.suspension import Suspension, What
from bekend_proto import collecting
from bekend_proto.errors import DeadlineError, RefusedError, UnreachableError
from nacl.signing import SigningKey

from tests.support.asking import OTHER, PERSON, THIRD, ZSM_CASE, Line, Stage, weighing, zsm
from tests.support.colleagues import CLOSED, KNOWN, failing
from tests.support.covenants import NOW, OM, OPERATOR, POLITIE, RECLASSERING, VEILIG_THUIS, ZSM

BY_HAND = (POLITIE, VEILIG_THUIS)
"""Sources where a colleague decides under `weighing`."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON, THIRD)
    yield made
    await made.close()


async def told(stage: Stage) -> OutcomeKind:
    return (await stage.outcome_of(zsm((VEILIG_THUIS,)), VEILIG_THUIS)).outcome


@pytest.mark.parametrize("person", [PERSON, OTHER])
async def test_a_colleague_decides_and_the_officer_knows_until_when(stage: Stage, person: object) -> None:
    outcome = await stage.outcome_of(zsm((VEILIG_THUIS,), (person,)), VEILIG_THUIS)  # type: ignore[arg-type]
    assert outcome.outcome is OutcomeKind.PENDING
    assert outcome.until == (NOW + timedelta(hours=24)).isoformat(timespec="seconds")
    assert "uiterlijk 02-12-2026 13:00" in outcome.reason
    assert (outcome.desk, outcome.as_of) == (None, None)


async def test_the_source_gets_what_a_colleague_needs_and_only_for_its_own_client(stage: Stage) -> None:
    stage.sources[POLITIE].by_hand = True
    stage.sources[POLITIE].known = (OTHER,)
    await stage.ask(weighing(BY_HAND, (PERSON, OTHER, THIRD)))
    by_source = {one.question.source: one for one in stage.exchanges.values()}
    assert set(by_source[VEILIG_THUIS].named) == {0, 2}
    assert set(by_source[POLITIE].named) == {1}
    named = by_source[VEILIG_THUIS].named[0]
    assert (named.kind, named.value) == ("bsn", PERSON.value)
    assert named.desk == stage.manifests[OM].contact
    assert named.justification == "aangehouden, afdoening nog open"
    assert not named.HasField("consent")


async def test_an_automatic_source_is_told_nothing_but_the_question(stage: Stage) -> None:
    found, _ = await stage.ask(zsm((RECLASSERING, VEILIG_THUIS)))
    outcomes = {one.oin: one.outcome for one in found}
    assert outcomes[RECLASSERING] is OutcomeKind.INCONCLUSIVE
    assert outcomes[VEILIG_THUIS] is OutcomeKind.PENDING
    assert len(stage.line.releases) == 1


@pytest.mark.parametrize("stop", ["alarm", "source", "purpose"])
async def test_nobody_is_named_to_a_source_that_was_stopped_while_it_answered(stage: Stage, stop: str) -> None:
    def stopped(_: object) -> None:
        what, about = (What.NODE, VEILIG_THUIS) if stop == "source" else (What.PURPOSE, ZSM)
        since = NOW - timedelta(hours=1)
        note = Suspension(
            "kennemerland",
            number=1,
            by=OPERATOR,
            what=what,
            about=about,
            reason="Oefening: de sleutel is weg",
            since=since,
        )
        if stop == "alarm":
            stage.heads.stopped = "the broker's log: fork"
        else:
            stage.suspensions.put(note, b"")

    stage.changes.before_answer = stopped
    assert await told(stage) is OutcomeKind.NO_ANSWER
    assert stage.line.releases == []
    assert not stage.store.pending.any()


async def test_a_standing_decision_that_ended_lets_a_colleague_decide(stage: Stage) -> None:
    stage.sources[RECLASSERING].by_hand = True
    outcome = await stage.outcome_of(zsm((RECLASSERING,)), RECLASSERING)
    assert outcome.outcome is OutcomeKind.PENDING
    assert outcome.until == (NOW + timedelta(days=3)).isoformat(timespec="seconds")


async def test_a_standing_decision_that_ends_in_mid_flight_is_a_clean_answer(stage: Stage) -> None:
    await stage.asker.open_purpose(ZSM, (RECLASSERING,))
    stage.sources[RECLASSERING].switch()
    stage.sources[RECLASSERING].by_hand = True
    outcome = await stage.outcome_of(zsm((RECLASSERING,)), RECLASSERING)
    assert outcome.outcome is OutcomeKind.PENDING


async def test_must_20_tags_of_a_source_that_answers_by_hand_are_refused(stage: Stage) -> None:
    stage.sources[VEILIG_THUIS].by_hand = False
    assert await told(stage) is OutcomeKind.NO_ANSWER
    assert stage.sources[VEILIG_THUIS].asked == []


async def test_a_header_by_hand_of_a_source_by_machine_is_geen_antwoord(stage: Stage) -> None:
    stage.sources[POLITIE].by_hand = True
    outcome = await stage.outcome_of(zsm((POLITIE,)), POLITIE)
    assert outcome.outcome is OutcomeKind.NO_ANSWER
    assert stage.exchanges == {}


@pytest.mark.parametrize("field", [{"tags": 1024}, {"body_hash": bytes(32)}])
async def test_a_header_by_hand_has_no_tags(stage: Stage, field: dict[str, object]) -> None:
    stage.changes.header = lambda honest, _: {**honest, **field}
    assert await told(stage) is OutcomeKind.NO_ANSWER


async def test_texts_that_do_not_fit_are_refused_before_anything_leaves(stage: Stage) -> None:
    long = "é" * 2000
    with pytest.raises(RefusedError) as refused:
        await stage.ask(zsm((VEILIG_THUIS,), justification=long))
    assert refused.value.rule == "te-lang"
    assert stage.line.begins == []
    await stage.ask(zsm((POLITIE,), justification=long))
    assert len(stage.line.begins) == 1


@pytest.mark.parametrize(
    "lie",
    [
        {"states": lambda _states, _one: [KNOWN]},
        {"states": lambda _states, _one: [CLOSED]},
        {"key": lambda _: SigningKey.generate()},
        {"until": lambda until: until + 1},
        {"persons": lambda count: count + 1},
        {"box": lambda box, _: box[:-1] + bytes([box[-1] ^ 1])},
        {"box": lambda box, _: box[:-1]},
        {"before": failing(UnreachableError("gone"), "release")},
        {"after": failing(DeadlineError("late"), "release")},
    ],
)
async def test_without_a_good_first_reply_it_is_geen_antwoord_and_nothing_is_kept(
    stage: Stage, lie: dict[str, object]
) -> None:
    for name, change in lie.items():
        setattr(stage.lies, name, change)
    assert await told(stage) is OutcomeKind.NO_ANSWER
    assert stage.store.pending.all() == []


async def test_names_go_over_the_next_replica_when_that_of_the_lookup_is_gone(stage: Stage) -> None:
    stage.line.fails_at["release"] = UnreachableError("gone")
    other = Line(stage)
    stage.lines.append(other)
    stage.asker._lines = tuple(stage.lines)
    assert await told(stage) is OutcomeKind.PENDING
    assert stage.line.releases == []
    assert len(other.releases) == 1


async def test_a_replica_that_may_have_passed_the_names_on_is_not_followed_by_another(stage: Stage) -> None:
    stage.line.fails_at["release"] = DeadlineError("late")
    other = Line(stage)
    stage.lines.append(other)
    stage.asker._lines = tuple(stage.lines)
    assert await told(stage) is OutcomeKind.NO_ANSWER
    assert other.releases == []


async def test_must_12_nothing_that_names_the_person_is_on_disk(stage: Stage, tmp_path: Path) -> None:
    await stage.ask(zsm((VEILIG_THUIS,)))
    (row,) = stage.store.pending.all()
    content = json.loads(stage.state.decrypt(row.sealed))
    assert content["kind"] == KIND
    assert (content["case"], content["source"]) == (ZSM_CASE, VEILIG_THUIS)
    assert PERSON.value not in json.dumps(content)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    for secret in (PERSON.value, ZSM_CASE):
        assert secret.encode() not in kept


async def test_must_09_a_row_has_one_length_and_a_release_too(stage: Stage) -> None:
    lengths = set()
    for person in (PERSON, OTHER):
        await stage.ask(zsm((VEILIG_THUIS,), (person,)))
    lengths = {len(row.sealed) for row in stage.store.pending.all()}
    assert len(stage.store.pending.all()) == 2
    assert len(lengths) == 1
    assert {len(one.box) for one in stage.line.releases} == {collecting.release_box(1)}


async def test_a_receipt_holds_what_stood_at_the_end_of_the_lookup(stage: Stage) -> None:
    _, receipt = await stage.ask(zsm((VEILIG_THUIS,)))
    assert {line.outcome for line in receipt.openings if line.oin == VEILIG_THUIS} == {"in_behandeling"}


async def test_an_old_question_gets_no_names(stage: Stage) -> None:
    stage.changes.before_answer = lambda _: stage.clock.advance(timedelta(minutes=11))
    assert await told(stage) is OutcomeKind.NO_ANSWER
    assert stage.line.releases == []
