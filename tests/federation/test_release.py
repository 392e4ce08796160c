"""Where a colleague decides, with real processes and real certificates: every outcome, and every way to fall over."""

import signal
from collections.abc import Iterator

import pytest
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, VEILIG_THUIS, ZSM_CONTEXT, Partner

from tests.federation.fixtures_release import ByHand, eventually, federation_by_hand
from tests.federation.launch import NAMES_ANOTHER

KNOWN, CLOSED, NO_ANSWER, PENDING = "bekend", "geen_uitsluitsel", "geen_antwoord", "in_behandeling"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    with federation_by_hand(tmp_path_factory.mktemp("release")) as made:
        yield made


@pytest.fixture(autouse=True)
def clean(made: ByHand) -> Iterator[None]:
    """Each test begins with filters at hand, and leaves no item on a desk, no trouble and no process that is down."""
    made.open_all()
    yield
    (made.folder(VEILIG_THUIS) / NAMES_ANOTHER).unlink(missing_ok=True)
    made.revive()
    made.after_the_term()
    for source in (POLITIE, HAARLEM):
        eventually(lambda: made.items(source) == [], f"an empty desk at {source.name}")  # noqa: B023


def somebody_else(made: ByHand) -> str:
    """A client of the police who is not the usual one."""
    fixed = made.federation.population.fixed
    return min(made.federation.population.known(POLITIE.oin, POLITIE.registers) - {fixed.everywhere})


def test_several_persons_at_several_sources_each_get_their_own_outcome(made: ByHand) -> None:
    fixed = made.federation.population.fixed
    case, told = made.triage([fixed.everywhere, fixed.nowhere, fixed.expired], [POLITIE, RECLASSERING])
    places = [(person, one.oin) for person in range(3) for one in (POLITIE, RECLASSERING)]
    assert {(one["person"], one["oin"]): one["outcome"] for one in told.outcomes if one["outcome"] == PENDING} == (
        dict.fromkeys(places, PENDING)
    )
    made.decide(POLITIE, made.item(POLITIE))
    made.decide(RECLASSERING, made.item(RECLASSERING), "refuse", "geheim")
    released = dict.fromkeys(places, PENDING) | {(0, POLITIE.oin): KNOWN}
    made.wait_for(VEILIG_THUIS, case, released)
    made.after_the_term()
    # Only now: a refusal, somebody unknown and somebody who left look alike, and all at the end of the term.
    made.wait_for(VEILIG_THUIS, case, dict.fromkeys(places, CLOSED) | {(0, POLITIE.oin): KNOWN})


def test_a_source_that_is_gone_at_the_end_is_geen_antwoord(made: ByHand) -> None:
    case, _ = made.triage([made.somebody])
    made.item(POLITIE)
    made.federation.kill_node(POLITIE.oin)
    made.after_the_term()
    made.ahead(60)
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): NO_ANSWER})
    made.federation.start_node(POLITIE.oin)


@pytest.mark.parametrize("who", [VEILIG_THUIS, None, POLITIE], ids=["requester", "broker", "source"])
def test_it_goes_on_over_a_kill_of_anybody_at_any_time(made: ByHand, who: Partner | None) -> None:
    case, _ = made.triage([made.somebody])
    made.restart(who)
    made.decide(POLITIE, made.item(POLITIE))
    made.restart(who)
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): KNOWN})
    made.restart(who)
    made.after_the_term()
    assert made.later(VEILIG_THUIS, case) == {(0, POLITIE.oin): KNOWN}


def test_must_10_a_source_killed_with_the_names_on_disk_and_no_reply_sent(made: ByHand) -> None:
    made.die_at("named", POLITIE)
    case, told = made.triage([made.somebody])
    assert told.outcome(POLITIE.oin) == NO_ANSWER
    assert made.process(POLITIE).wait(10) == -signal.SIGKILL
    made.federation.start_node(POLITIE.oin)
    # What was kept is compared all the same; the requester, who was told of a fault, collects nothing of it.
    made.item(POLITIE)
    assert made.later(VEILIG_THUIS, case) == {}


@pytest.mark.parametrize("step", ["compared", "collected"])
def test_must_10_a_source_killed_while_it_compares_or_is_collected_from(made: ByHand, step: str) -> None:
    made.die_at(step, POLITIE)
    case, told = made.triage([made.somebody])
    assert told.outcome(POLITIE.oin) == PENDING
    assert made.process(POLITIE).wait(30) == -signal.SIGKILL
    made.federation.start_node(POLITIE.oin)
    made.decide(POLITIE, made.item(POLITIE))
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): KNOWN})


def test_a_requester_killed_before_it_names_anybody_names_nobody_later(made: ByHand) -> None:
    made.die_at("pending-kept", VEILIG_THUIS)
    with pytest.raises(Exception, match=r"hung up|did not reply"):
        made.triage([made.somebody], case="VT-2026-900001")
    assert made.process(VEILIG_THUIS).wait(10) == -signal.SIGKILL
    made.federation.start_node(VEILIG_THUIS.oin)
    made.after_the_term()
    made.ahead(60)
    # Nobody said that it has the names: never `geen uitsluitsel`.
    made.wait_for(VEILIG_THUIS, "VT-2026-900001", {(0, POLITIE.oin): NO_ANSWER})
    assert made.items(POLITIE) == []


def test_a_requester_killed_with_a_collect_numbered_and_not_sent(made: ByHand) -> None:
    case, _ = made.triage([made.somebody])
    item = made.item(POLITIE)
    made.die_at("numbered", VEILIG_THUIS)
    assert made.process(VEILIG_THUIS).wait(30) == -signal.SIGKILL
    made.decide(POLITIE, item)
    made.federation.start_node(VEILIG_THUIS.oin)
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): KNOWN})


def test_a_broker_killed_with_a_release_admitted_and_not_passed_on(made: ByHand) -> None:
    made.die_at("release-admitted", None)
    _, told = made.triage([made.somebody])
    assert told.outcome(POLITIE.oin) == NO_ANSWER
    assert made.process(None).wait(10) == -signal.SIGKILL
    made.federation.start_broker()
    made.federation.wait_until_attached()
    made.open_all()
    case, _ = made.triage([made.somebody])
    made.decide(POLITIE, made.item(POLITIE))
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): KNOWN})


def test_fg_10_a_withdrawal_ends_it_before_and_after_bekend(made: ByHand) -> None:
    before, after = made.by_consent(made.somebody), None
    made.item(HAARLEM)
    made.federation.call(OM, op="withdraw", case=before)
    assert "ingetrokken" in made.federation.later(OM, before)[0, HAARLEM.oin]["reason"]
    # At the source nothing is left to decide on: not at the end of the term, but at once.
    eventually(lambda: made.items(HAARLEM) == [], "the item is erased at the source")
    after = made.by_consent(made.somebody)
    made.decide(HAARLEM, made.item(HAARLEM), ground="toestemming")
    made.wait_for(OM, after, {(0, HAARLEM.oin): KNOWN})
    made.federation.call(OM, op="withdraw", case=after)
    assert made.later(OM, after) == {(0, HAARLEM.oin): CLOSED}


def test_fg_41_a_message_that_names_another_person_goes_to_the_privacy_officer(made: ByHand) -> None:
    (made.folder(VEILIG_THUIS) / NAMES_ANOTHER).write_text(somebody_else(made), encoding="ascii")
    case, told = made.triage([made.somebody])
    assert told.outcome(POLITIE.oin) == PENDING
    eventually(lambda: bool(made.desk(POLITIE, act="list")["privacy_officer"]), "word for the privacy officer")
    assert made.items(POLITIE) == []
    made.after_the_term()
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): CLOSED})


def test_a_standing_decision_that_ends_falls_back_to_a_colleague_at_the_next_switch(made: ByHand) -> None:
    def asked() -> str:
        told = made.federation.lookup(OM, ZSM_CONTEXT, [made.somebody], sources=[RECLASSERING.oin])
        return told.outcome(RECLASSERING.oin)

    made.open_all()
    assert asked() == KNOWN
    (made.folder(RECLASSERING) / "besluiten" / "zsm-context.note").unlink()
    made.process(RECLASSERING).signal(signal.SIGHUP)
    made.ahead(61)
    eventually(lambda: asked() == PENDING, "by hand from the next switch on")


def test_fg_36_who_is_shielded_meanwhile_cannot_be_released(made: ByHand) -> None:
    """The last of this file: a shielding stays."""
    case, _ = made.triage([made.somebody])
    item = made.item(POLITIE)
    config = str(made.federation.config_of(POLITIE.oin))
    done = made.command("node", "shield", "--config", config, stdin=f"{made.somebody}\n")
    assert done.returncode == 0, done.stderr
    assert made.decide(POLITIE, item)["rule"] == "niet-in-lijst"
    made.after_the_term()
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): CLOSED})
