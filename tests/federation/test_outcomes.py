"""Every outcome, through the whole system: officer's socket, node, broker, source and back."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from bekend_deploy.answered import Answered
from bekend_deploy.federation import Federation
from bekend_deploy.partners import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM_CONTEXT,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
)
from bekend_deploy.questions import (
    INCONCLUSIVE,
    KNOWN,
    NO_ANSWER,
    NOT_ASKED,
    PENDING,
    Question,
    Truth,
    broken_question,
    questions,
    refused_question,
)


@pytest.fixture
def velsen_comes_back(federation: Federation) -> Iterator[None]:
    yield
    if VELSEN.oin not in federation.nodes:
        federation.start_node(VELSEN.oin)
    federation.wait_for_filters()


def assert_true(truth: Truth, question: Question, answered: Answered) -> None:
    got = {(one["person"], one["oin"]): one["outcome"] for one in answered.outcomes}
    assert got == truth.expected(question)
    assert (answered.refused is not None) is question.refused


def test_every_question_of_the_demo_has_the_true_outcomes(federation: Federation, truth: Truth) -> None:
    for question in questions(truth):
        assert_true(truth, question, federation.ask(question))


def test_somebody_everybody_knows_is_known_at_every_source_that_answers(federation: Federation, truth: Truth) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.everywhere])
    assert answered.outcome(POLITIE.oin) == KNOWN
    assert answered.outcome(RECLASSERING.oin) == KNOWN
    police = next(one for one in answered.outcomes if one["oin"] == POLITIE.oin)
    assert police["as_of"] == truth.population.today.isoformat()
    assert "@" in police["desk"]


def test_a_miss_says_that_it_proves_nothing(federation: Federation, truth: Truth) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.nowhere])
    assert answered.outcome(POLITIE.oin) == INCONCLUSIVE
    assert "bewijst niets" in answered.reason(POLITIE.oin)


def test_a_registration_that_ended_is_no_longer_known(federation: Federation, truth: Truth) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.expired])
    assert {answered.outcome(POLITIE.oin), answered.outcome(RECLASSERING.oin)} == {INCONCLUSIVE}


def test_people_in_a_register_that_the_purpose_does_not_name_stay_unknown(federation: Federation, truth: Truth) -> None:
    only_wmo = truth.population.known(HAARLEM.oin, ["wmo"]) - truth.population.known(
        HAARLEM.oin, ["veiligheid", "nazorg", "leerplicht"]
    )
    person = min(only_wmo)
    assert federation.lookup(OM, ZSM_LOCAL, [person]).outcome(HAARLEM.oin) == INCONCLUSIVE
    assert federation.lookup(VELSEN, ZVH_WEIGHING, [person]).outcome(HAARLEM.oin) == KNOWN


def test_a_source_that_never_answers_is_not_asked_and_says_why(federation: Federation, truth: Truth) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.everywhere])
    assert answered.outcome(HAARLEM.oin) == NOT_ASKED
    assert "nooit" in answered.reason(HAARLEM.oin)


def test_a_source_where_a_colleague_decides_is_asked_and_says_until_when(federation: Federation, truth: Truth) -> None:
    sources = [POLITIE.oin, VEILIG_THUIS.oin]
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.everywhere], sources=sources)
    assert answered.outcome(POLITIE.oin) == KNOWN
    assert answered.outcome(VEILIG_THUIS.oin) == PENDING
    pending = next(one for one in answered.outcomes if one["oin"] == VEILIG_THUIS.oin)
    assert datetime.fromisoformat(pending["until"]) > datetime.now(UTC) + timedelta(hours=23)
    assert "collega" in pending["reason"]


def test_a_source_that_the_officer_did_not_choose_is_not_asked(federation: Federation, truth: Truth) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.everywhere], sources=[POLITIE.oin])
    assert answered.outcome(POLITIE.oin) == KNOWN
    assert answered.outcome(RECLASSERING.oin) == NOT_ASKED
    assert "Niet gekozen" in answered.reason(RECLASSERING.oin)


def test_several_persons_in_one_lookup_each_get_their_own_outcomes(federation: Federation, truth: Truth) -> None:
    fixed = truth.population.fixed
    known = min(truth.knows(ZVH_WEIGHING, RECLASSERING.oin) - {fixed.everywhere})
    persons = (fixed.nowhere, fixed.everywhere, fixed.expired, known)
    question = Question("four at once", ZVH_WEIGHING, HAARLEM, persons)
    assert_true(truth, question, federation.ask(question))


def test_more_persons_than_the_purpose_allows_are_refused(federation: Federation, truth: Truth) -> None:
    fixed = truth.population.fixed
    answered = federation.lookup(OM, ZSM_CONTEXT, [fixed.everywhere, fixed.nowhere])
    assert answered.refused is not None
    assert "personen" in answered.refused


def test_in_the_name_of_a_principal_with_a_mandate(federation: Federation, truth: Truth) -> None:
    question = Question("namens", ZVH_WEIGHING, ZVH, (truth.population.fixed.everywhere,), on_behalf_of=HAARLEM)
    assert_true(truth, question, federation.ask(question))


@pytest.mark.parametrize("principal", [VELSEN, None], ids=["no mandate", "own name"])
def test_without_a_mandate_it_is_refused(federation: Federation, truth: Truth, principal: object) -> None:
    on_behalf_of = VELSEN if principal is VELSEN else None
    person = truth.population.fixed.everywhere
    answered = federation.lookup(ZVH, ZVH_WEIGHING, [person], on_behalf_of=on_behalf_of)
    assert answered.refused is not None
    assert "namens" in answered.refused


def test_a_requester_that_the_purpose_does_not_name_is_refused_in_dutch(federation: Federation, truth: Truth) -> None:
    question = refused_question(truth)
    answered = federation.ask(question)
    assert_true(truth, question, answered)
    assert answered.refused is not None
    assert "geen-vrager" in answered.refused


@pytest.mark.parametrize(
    ("change", "rule"),
    [({"case": "zomaar"}, "zaaknummer"), ({"attested": ["motivering"]}, "voorwaarde")],
    ids=["case reference", "condition"],
)
def test_what_only_the_requester_knows_is_checked_before_anything_leaves(
    federation: Federation, truth: Truth, change: dict[str, str], rule: str
) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, [truth.population.fixed.everywhere], **change)  # type: ignore[arg-type]
    assert answered.refused is not None
    assert rule in answered.refused


def test_an_invalid_number_is_refused_without_repeating_it(federation: Federation) -> None:
    answered = federation.lookup(OM, ZSM_CONTEXT, ["123456789"])
    assert answered.refused is not None
    assert "123456789" not in answered.refused


def test_a_partner_that_is_killed_in_mid_flight_gives_no_answer(
    federation: Federation, truth: Truth, velsen_comes_back: None
) -> None:
    question = broken_question(truth)
    assert_true(truth, question, federation.ask_while_stopping(question, VELSEN.oin))


def test_a_partner_that_is_away_gives_no_answer_and_answers_again_when_it_is_back(
    federation: Federation, truth: Truth, velsen_comes_back: None
) -> None:
    person = truth.population.fixed.everywhere
    federation.stop_node(VELSEN.oin)
    away = federation.lookup(OM, ZSM_LOCAL, [person])
    assert away.outcome(VELSEN.oin) == NO_ANSWER
    assert away.outcome(HAARLEM.oin) == KNOWN
    federation.start_node(VELSEN.oin)
    federation.wait_for_filters()
    assert federation.lookup(OM, ZSM_LOCAL, [person]).outcome(VELSEN.oin) == KNOWN


def test_lookups_of_several_requesters_at_once_do_not_mix(federation: Federation, truth: Truth) -> None:
    fixed = truth.population.fixed
    asked = [
        Question("om", ZSM_CONTEXT, OM, (fixed.everywhere,)),
        Question("om, other person", ZSM_CONTEXT, OM, (fixed.nowhere,)),
        Question("om, other purpose", ZSM_LOCAL, OM, (fixed.everywhere,)),
        Question("zvh", ZVH_WEIGHING, ZVH, (fixed.nowhere, fixed.everywhere), on_behalf_of=HAARLEM),
        Question("velsen", ZVH_WEIGHING, VELSEN, (fixed.everywhere, fixed.nowhere)),
    ]
    repeated = list(itertools.chain.from_iterable(itertools.repeat(asked, 4)))
    with ThreadPoolExecutor(len(asked)) as together:
        for question, answered in zip(repeated, together.map(federation.ask, repeated), strict=True):
            assert_true(truth, question, answered)


def test_without_a_broker_there_is_no_answer_and_with_it_there_is_again(federation: Federation, truth: Truth) -> None:
    person = truth.population.fixed.everywhere
    assert federation.broker is not None
    federation.broker.kill()
    away = federation.lookup(OM, ZSM_CONTEXT, [person])
    assert away.outcome(POLITIE.oin) == NO_ANSWER
    federation.start_broker()
    federation.wait_until_attached()
    federation.wait_for_filters()
    assert federation.lookup(OM, ZSM_CONTEXT, [person]).outcome(POLITIE.oin) == KNOWN
