"""Collecting what colleagues decided: moments, what counts, restarts, ends."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_node.ask.own_record import KIND_LATE
from bekend_node.ask.pending import PendingQuestion, Told, open_pending
from bekend_node.schedule import collect_moment
from bekend_node.store_pending import PendingRow
from bekend_proto.collecting import COLLECT_BOX
from bekend_proto.errors import DeadlineError, StorageError, UnreachableError
from bekend_proto.identifiers import Identifier
from nacl.public import SealedBox
from nacl.signing import SigningKey

from tests.support.asking import OTHER, PERSON, THIRD, Line, Stage, weighing, zsm
from tests.support.colleagues import CLOSED, WAITING, failing
from tests.support.covenants import OM, VEILIG_THUIS

QUARTER = timedelta(minutes=15)
TERM = 24 * 4
"""Quarters of an hour in the term of Veilig Thuis under `zsm`."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON, THIRD)
    yield made
    await made.close()


async def ask(stage: Stage, *persons: Identifier) -> None:
    inquiry = weighing if len(persons) > 1 else zsm
    await stage.ask(inquiry((VEILIG_THUIS,), persons or (PERSON,)))


async def quarters(stage: Stage, count: int) -> None:
    """Let so many moments pass."""
    for _ in range(count):
        stage.clock.advance(QUARTER)
        await stage.asker.collector.tick()
        await stage.asker.collector.settle()


def kept(stage: Stage) -> list[PendingQuestion]:
    return [open_pending(stage.state, row) for row in stage.store.pending.all()]


def rows(stage: Stage) -> list[tuple[PendingRow, PendingQuestion]]:
    return list(zip(stage.store.pending.all(), kept(stage), strict=True))


def told(stage: Stage) -> list[list[Told]]:
    return [[one for one, _ in question.told] for question in kept(stage)]


async def test_nothing_is_collected_before_the_first_moment_and_once_in_each(stage: Stage) -> None:
    await ask(stage)
    await stage.asker.collector.tick()
    assert stage.line.collects == []
    await quarters(stage, 3)
    for _ in range(3):
        await stage.asker.collector.tick()
        await stage.asker.collector.settle()
    numbers = [one.number for one in stage.line.collects]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 3
    assert {len(one.box) for one in stage.line.collects} == {COLLECT_BOX}


async def test_a_number_is_that_of_its_moment_and_is_never_early(stage: Stage) -> None:
    await ask(stage)
    for _ in range(4 * 15):
        before = len(stage.line.collects)
        stage.clock.advance(timedelta(minutes=1))
        await stage.asker.collector.tick()
        await stage.asker.collector.settle()
        for one in stage.line.collects[before:]:
            moment = collect_moment(OM, QUARTER, stage.exchange.question.time, one.number)
            assert 0 <= stage.clock.now().timestamp() - moment < QUARTER.total_seconds()
    assert len(stage.line.collects) == 4


async def test_what_a_colleague_releases_is_known_at_the_next_moment(stage: Stage) -> None:
    await ask(stage)
    await quarters(stage, 2)
    assert told(stage) == [[Told.NOTHING_YET]]
    stage.exchange.release()
    await quarters(stage, 1)
    assert told(stage) == [[Told.KNOWN]]
    assert stage.came == 1


async def test_collecting_goes_on_after_bekend_to_the_end_of_the_term_and_stops(stage: Stage) -> None:
    await ask(stage)
    await ask(stage, OTHER)
    first, second = stage.exchanges.values()
    first.release()
    await quarters(stage, TERM + 2)
    assert first.numbers == second.numbers
    assert len(first.numbers) in {TERM, TERM + 1}
    assert sorted(told(stage)) == [[Told.KNOWN], [Told.CLOSED]]
    assert [one.open for one in kept(stage)] == [False, False]


async def test_several_persons_each_have_their_own_outcome(stage: Stage) -> None:
    await ask(stage, PERSON, OTHER, THIRD)
    stage.exchange.release(2)
    await quarters(stage, 1)
    assert told(stage) == [[Told.NOTHING_YET, Told.NOTHING_YET, Told.KNOWN]]
    await quarters(stage, 2 * TERM + 2)
    assert told(stage) == [[Told.CLOSED, Told.CLOSED, Told.KNOWN]]


async def test_closed_counts_from_the_end_of_the_term_on_only(stage: Stage) -> None:
    await ask(stage)
    stage.lies.states = lambda states, _: [CLOSED] * len(states)
    await quarters(stage, TERM - 2)
    assert told(stage) == [[Told.NOTHING_YET]]
    await quarters(stage, 3)
    assert told(stage) == [[Told.CLOSED]]


async def test_without_an_authenticated_end_it_is_geen_antwoord_an_hour_after_the_term(stage: Stage) -> None:
    await ask(stage)
    await quarters(stage, TERM - 1)
    stage.lies.before = failing(UnreachableError("gone"))
    before = len(stage.line.collects)
    await quarters(stage, 4)
    assert told(stage) == [[Told.NOTHING_YET]]
    await quarters(stage, 2)
    assert told(stage) == [[Told.UNANSWERED]]
    assert 4 <= len(stage.line.collects) - before <= 6


async def test_a_source_that_is_back_within_the_hour_still_ends_it(stage: Stage) -> None:
    await ask(stage)
    await quarters(stage, TERM - 1)
    stage.lies.before = failing(UnreachableError("gone"))
    await quarters(stage, 3)
    stage.lies.before = lambda _kind, _number: None
    await quarters(stage, 1)
    assert told(stage) == [[Told.CLOSED]]


async def test_one_person_without_an_end_keeps_the_others_open(stage: Stage) -> None:
    await ask(stage, PERSON, OTHER)
    stage.lies.states = lambda states, _: [WAITING, states[1]]
    await quarters(stage, 2 * TERM + 2)
    assert told(stage) == [[Told.NOTHING_YET, Told.NOTHING_YET]]
    await quarters(stage, 4)
    assert told(stage) == [[Told.UNANSWERED, Told.UNANSWERED]]


@pytest.mark.parametrize(
    "lie",
    [
        {"key": lambda _: SigningKey.generate()},
        {"until": lambda until: until + 1},
        {"persons": lambda count: count + 1},
        {"persons": lambda _: 0},
        {"box": lambda box, _: box[:-1] + bytes([box[-1] ^ 1])},
        {"box": lambda box, _: box + b"x"},
        {"after": failing(DeadlineError("late"))},
    ],
)
async def test_a_reply_that_does_not_hold_counts_as_none(stage: Stage, lie: dict[str, object]) -> None:
    await ask(stage)
    stage.exchange.release()
    for name, change in lie.items():
        setattr(stage.lies, name, change)
    await quarters(stage, 2)
    assert told(stage) == [[Told.NOTHING_YET]]
    assert stage.came == 0


async def test_a_reply_of_an_earlier_moment_counts_as_none(stage: Stage) -> None:
    await ask(stage)
    replies: list[bytes] = []

    def first_again(box: bytes, _: int) -> bytes:
        replies.append(box)
        return replies[0]

    stage.lies.box = first_again
    await quarters(stage, 1)
    stage.exchange.release()
    await quarters(stage, 2)
    assert len(replies) == 3
    assert told(stage) == [[Told.NOTHING_YET]]


async def test_known_is_not_taken_back(stage: Stage) -> None:
    await ask(stage)
    stage.exchange.release()
    await quarters(stage, 1)
    stage.lies.states = lambda states, one: [CLOSED if stage.now >= one.until else WAITING] * len(states)
    await quarters(stage, TERM + 1)
    assert told(stage) == [[Told.KNOWN]]


async def test_it_goes_on_over_restarts_and_uses_no_number_twice(stage: Stage) -> None:
    await ask(stage)
    await quarters(stage, 1)
    await stage.restart()
    await stage.asker.collector.tick()
    await stage.asker.collector.settle()
    assert len(stage.line.collects) == 1
    stage.exchange.release()
    await quarters(stage, 1)
    await stage.restart()
    assert told(stage) == [[Told.KNOWN]]
    await quarters(stage, TERM)
    numbers = [one.number for one in stage.line.collects]
    assert numbers == sorted(set(numbers))
    assert not kept(stage)[0].open


async def test_a_collect_that_was_cut_off_by_a_crash_is_not_sent_again(stage: Stage) -> None:
    await ask(stage)
    stage.lies.before = failing(StorageError("crash"))
    await quarters(stage, 1)
    await stage.restart()
    stage.lies.before = lambda _kind, _number: None
    await stage.asker.collector.tick()
    await stage.asker.collector.settle()
    assert stage.exchange.numbers == []
    await quarters(stage, 1)
    assert len(stage.exchange.numbers) == 1


async def test_a_node_that_was_down_collects_the_present_moment_alone(stage: Stage) -> None:
    await ask(stage)
    stage.clock.advance(timedelta(hours=5))
    await stage.restart()
    await quarters(stage, 1)
    assert len(stage.line.collects) == 1


async def test_a_node_that_was_down_over_the_end_has_no_answer(stage: Stage) -> None:
    await ask(stage)
    stage.exchange.release()
    stage.clock.advance(timedelta(hours=26))
    await stage.restart()
    await quarters(stage, 1)
    assert stage.line.collects == []
    assert told(stage) == [[Told.UNANSWERED]]


@pytest.mark.parametrize(("released", "end"), [(True, Told.KNOWN), (False, Told.UNANSWERED)])
async def test_after_a_crash_before_the_first_reply_only_a_release_is_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, released: bool, end: Told
) -> None:
    async def crashed(_: bytes) -> None:
        """The node stopped before it could forget the question."""

    monkeypatch.setattr(stage.store.pending, "drop", crashed)
    stage.lies.after = failing(UnreachableError("gone"), "release")
    await ask(stage)
    await stage.restart()
    if released:
        stage.exchange.release()
    await quarters(stage, TERM + 6)
    assert told(stage) == [[end]]


async def test_another_replica_is_tried(stage: Stage) -> None:
    await ask(stage)
    stage.line.fails_at["collect"] = UnreachableError("gone")
    second = Line(stage)
    stage.lines.append(second)
    stage.asker = stage.make_asker()
    await quarters(stage, 1)
    assert len(second.collects) == 1


async def test_fg_32_an_answer_is_destroyed_at_the_end_of_its_lifetime(stage: Stage) -> None:
    await ask(stage)
    stage.exchange.release()
    await quarters(stage, TERM + 1)
    lifetime = stage.covenant.purposes["kennemerland/zsm-context"].result_lifetime
    assert lifetime == timedelta(hours=72)
    await quarters(stage, int((lifetime - timedelta(hours=25)) / QUARTER))
    assert told(stage) == [[Told.KNOWN]]
    await quarters(stage, 6)
    assert told(stage) == [[Told.DESTROYED]]


async def test_must_09_the_record_of_what_came_has_one_length(stage: Stage) -> None:
    await ask(stage)
    await ask(stage, OTHER)
    next(iter(stage.exchanges.values())).release()
    await quarters(stage, TERM + 2)
    records = stage.store.own_records(KIND_LATE)
    assert len(records) == 2
    assert len({len(one.sealed) for one in records}) == 1
    opened = [json.loads(SealedBox(stage.own.officer).decrypt(one.sealed)) for one in records]
    assert sorted(one["outcomes"][0]["outcome"].strip() for one in opened) == ["bekend", "geen_uitsluitsel"]
    assert {one["source"] for one in opened} == {VEILIG_THUIS}
    assert PERSON.value not in json.dumps(opened)


async def test_must_09_whatever_comes_the_rows_have_one_length(stage: Stage) -> None:
    await ask(stage)
    await ask(stage, OTHER)
    next(iter(stage.exchanges.values())).release()
    for _ in range(4):
        await quarters(stage, 1)
        rows = stage.store.pending.all()
        assert len({(len(row.sealed), row.number, row.consent) for row in rows}) == 1


async def test_must_09_no_moment_in_a_row_and_no_row_that_is_gone_tells_what_came(stage: Stage) -> None:
    """To whom stole the file, without a key: of two questions one was released at once, and one never."""
    await ask(stage)
    await ask(stage, OTHER)
    next(iter(stage.exchanges.values())).release()
    await quarters(stage, TERM + 2)
    lifetime = stage.covenant.purposes["kennemerland/zsm-context"].result_lifetime
    for _ in range(int((lifetime + timedelta(hours=4)) / QUARTER)):
        await quarters(stage, 1)
        looks = {one.number_at(datetime.fromtimestamp(row.due, UTC)) for row, one in rows(stage)}
        assert (len(looks), len(rows(stage))) in {(1, 2), (0, 0)}
    assert kept(stage) == []


async def test_a_node_that_a_log_alarm_stopped_collects_nothing_and_goes_on_afterwards(stage: Stage) -> None:
    await ask(stage)
    stage.exchange.release()
    stage.heads.stopped = "the broker's log: fork"
    await quarters(stage, 3)
    assert (stage.line.collects, told(stage)) == ([], [[Told.NOTHING_YET]])
    stage.heads.stopped = ""
    await quarters(stage, 1)
    assert (len(stage.line.collects), told(stage)) == (1, [[Told.KNOWN]])
