"""What goes wrong in life, with real processes: outcomes are the truth or `geen antwoord`, and it comes right again."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import OM, POLITIE, RECLASSERING
from bekend_deploy.pki import Authority, TlsPaths
from bekend_deploy.processes import ProcessFailed
from bekend_proto.clock import epoch_of, epoch_start, next_epoch
from bekend_proto.errors import UnreachableError
from bekend_proto.v1.broker_pb2 import GetDirectoryRequest

from tests.federation.fixtures_small import SOURCES, Small, small_federation
from tests.federation.launch import ASKER_STEPS, BROKER_STEPS, NODE_STEPS

HIT, MISS, FAULT = "bekend", "geen_uitsluitsel", "geen_antwoord"
BOTH = dict.fromkeys(SOURCES, HIT)
NEITHER = dict.fromkeys(SOURCES, MISS)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
FAULTS = dict.fromkeys(SOURCES, FAULT)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with small_federation(tmp_path_factory.mktemp("faults"), Settings(filter_interval="PT1M")) as made:
        yield made


def test_it_begins_with_the_truth(small: Small) -> None:
    assert small.told() == BOTH
    assert small.told(small.nobody) == NEITHER


@pytest.mark.parametrize("step", NODE_STEPS)
def test_must_05_and_07_a_source_that_is_killed_at_a_step(small: Small, step: str) -> None:
    before = small.rows(POLITIE, "answered")
    small.die_at(step, POLITIE)
    assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    assert small.process(POLITIE).wait(10) == -signal.SIGKILL
    # What was admitted stays admitted: record and log are there before anything was evaluated.
    admitted = 0 if step == "received" else 1
    assert small.rows(POLITIE, "answered") - before == admitted
    small.start(POLITIE)
    assert small.told() == BOTH
    assert small.rows(POLITIE, "sealed") == small.rows(POLITIE, "answered") == small.rows(POLITIE, "log")


@pytest.mark.parametrize("step", BROKER_STEPS)
def test_must_07_a_broker_that_is_killed_at_a_step(small: Small, step: str) -> None:
    before = small.rows(None, "log")
    small.die_at(step, None)
    assert small.told() == FAULTS
    assert small.process(None).wait(10) == -signal.SIGKILL
    assert small.rows(None, "log") > before
    small.start(None)
    assert small.told() == BOTH


@pytest.mark.parametrize("step", ASKER_STEPS)
def test_must_07_a_requester_that_is_killed_at_a_step(small: Small, step: str) -> None:
    before = small.rows(OM, "own_record")
    small.die_at(step, OM)
    with pytest.raises((ProcessFailed, UnreachableError)):
        small.ask()
    assert small.process(OM).wait(10) == -signal.SIGKILL
    # Nobody was asked before the own record was there.
    assert small.rows(OM, "own_record") - before == (0 if step == "begin-paid" else 1)
    small.start(OM)
    assert small.told() == BOTH


def test_a_source_that_stands_still_is_geen_antwoord_at_the_deadline(small: Small) -> None:
    small.process(POLITIE).signal(signal.SIGSTOP)
    try:
        assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    finally:
        small.process(POLITIE).signal(signal.SIGCONT)
    # Its late answer goes nowhere, and the next question is answered.
    assert small.told() == BOTH


def test_must_07_a_source_whose_disk_is_full_does_not_answer(small: Small) -> None:
    before = small.rows(POLITIE, "answered")
    with small.full_disk(POLITIE):
        assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
        assert small.told(small.nobody) == {POLITIE.oin: FAULT, RECLASSERING.oin: MISS}
    assert small.rows(POLITIE, "answered") == before
    small.open()
    assert small.told() == BOTH


def test_must_07_a_broker_whose_disk_is_full_lets_nobody_ask(small: Small) -> None:
    asked = "log WHERE kind IN ('begin', 'question')"
    before = small.rows(POLITIE, "answered"), small.rows(None, asked)
    with small.full_disk(None):
        assert small.told() == FAULTS
    assert (small.rows(POLITIE, "answered"), small.rows(None, asked)) == before
    small.open()
    assert small.told() == BOTH


def test_must_07_a_requester_whose_disk_is_full_asks_nobody(small: Small) -> None:
    # Not the whole log: a filter that switched meanwhile may be fetched.
    asked = "log WHERE kind IN ('begin', 'question')"
    before = small.rows(None, asked)
    with small.full_disk(OM), pytest.raises(ProcessFailed, match="vastgelegd"):
        small.ask()
    assert small.rows(None, asked) == before
    assert small.told() == BOTH


def test_nobody_attaches_beside_a_node_without_its_word(small: Small) -> None:
    """A ghost with the certificate of the police, and not its keys, does not take its place."""
    with small.attach_as(POLITIE) as ghost:
        with pytest.raises(grpc.RpcError):
            next(ghost)
        assert ghost.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert small.told() == BOTH


CERTIFICATES = ("none", "expired", "without an OIN", "of a stranger's authority", "of an organisation outside")


@pytest.mark.parametrize("which", CERTIFICATES)
def test_a_certificate_that_does_not_hold_opens_nothing(small: Small, tmp_path: Path, which: str) -> None:
    now = datetime.now(UTC)
    here, elsewhere = small.built.authority, Authority(tmp_path, now)
    stem = which.replace(" ", "-").replace("'", "")
    outside = "00000099000000777000"
    files: dict[str, Callable[[], TlsPaths | None]] = {
        "none": lambda: None,
        "expired": lambda: here.issue(stem, "OM", OM.oin, valid_from=now - DAY, valid_until=now - MINUTE),
        "without an OIN": lambda: here.issue(stem, "OM", None),
        "of a stranger's authority": lambda: elsewhere.issue(stem, "OM", OM.oin),
        "of an organisation outside": lambda: here.issue(stem, "Somebody", outside),
    }
    with small.calls(files[which]()) as stub, pytest.raises(grpc.RpcError) as refused:
        stub.GetDirectory(GetDirectoryRequest(), timeout=5)
    # Nothing of the reason is told to whoever it is.
    assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    assert OM.oin not in str(refused.value)


def test_a_certificate_that_holds_opens_the_directory(small: Small) -> None:
    with small.calls(small.built.nodes[OM.oin].tls) as stub:
        assert stub.GetDirectory(GetDirectoryRequest(), timeout=5).entries


def test_a_clock_that_is_wrong_is_geen_antwoord_and_says_so(small: Small) -> None:
    small.shift_clock(90, POLITIE)
    answered = small.ask()
    assert answered.outcome(POLITIE.oin) == FAULT
    assert answered.outcome(RECLASSERING.oin) == HIT
    assert "klok" in answered.reason(POLITIE.oin)
    small.shift_clock(0, POLITIE)
    # The requester's own: nobody takes its questions then.
    small.shift_clock(-90, OM)
    assert small.told() == FAULTS
    small.shift_clock(0, OM)
    small.open()
    assert small.told() == BOTH


def test_must_06_filters_that_switch_while_questions_are_asked(small: Small) -> None:
    """Every minute a new m, and questions all the while: never a miss of who is known, never a hit of who is not."""
    asked = [small.somebody, small.nobody] * 3
    expected = {small.somebody: HIT, small.nobody: MISS}

    def ask(person: str) -> bool:
        told = small.told(person)
        assert set(told.values()) <= {expected[person], FAULT}
        return set(told.values()) == {expected[person]}

    with ThreadPoolExecutor(3) as together:
        for minute in range(1, 4):
            before = small.filters()
            small.shift_clock(60 * minute)
            while before & small.filters():
                list(together.map(ask, asked))
            assert all(together.map(ask, asked))


def test_a_restart_of_everybody_keeps_filters_budgets_and_replay_memory(small: Small) -> None:
    small.open()
    assert small.told() == BOTH
    answered = small.rows(POLITIE, "answered")
    before = small.filters()
    for partner in (None, POLITIE):
        small.process(partner).stop()
        small.start(partner)
    assert small.rows(POLITIE, "answered") == answered
    # The same filters, unless a moment came meanwhile.
    assert before & small.filters() or min(small.filters()) > min(before)
    assert small.told() == BOTH


def test_in_another_epoch_nobody_answers_until_enrolled_anew(small: Small) -> None:
    """The last test of this file: the clocks do not come back."""
    now = datetime.now(UTC)
    over = epoch_start(next_epoch(epoch_of(now))) + timedelta(days=8)
    small.shift_clock((over - now).total_seconds())
    # Early in a quarter the covenant of the tests is over then, too, and the requester's own rules refuse.
    for person in (small.somebody, small.nobody):
        assert not {HIT, MISS} & set(small.told(person).values())


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    settings = Settings(per_officer=4, per_organisation=4)
    with small_federation(tmp_path_factory.mktemp("budget"), settings) as made:
        yield made


def test_must_18_a_budget_that_is_used_up_stays_so_over_a_restart(poor: Small) -> None:
    for _ in range(3):
        assert poor.told() == BOTH
    # What an officer spent is kept at the own node; broker and sources keep theirs (tests/evil).
    poor.process(OM).kill()
    poor.start(OM)
    assert poor.told() == BOTH
    answered = poor.ask()
    assert answered.refused is not None
    assert "hoogste aantal" in answered.refused
    assert poor.rows(POLITIE, "answered") == 4
