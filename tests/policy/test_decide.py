"""The decision: deny by default, the same at all three parties, every refusal with its rule and a way out."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Kind, Mode
from bekend_proto.v1 import signed_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.covenants import (
    EXAMPLE,
    HAARLEM,
    NOW,
    OM,
    OPERATOR,
    PARTNERS,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
)

CERTAIN = signed_pb2.KIND_CLASS_CERTAIN
LOADED = load_covenant(EXAMPLE)
COVENANT = replace(LOADED, signed_by=frozenset(PARTNERS))


def ask(**changes: object) -> Asked:
    """What the broker and the source see of a lawful question of the OM to the police."""
    base = Asked(OM, POLITIE, ZSM, None, 1, CERTAIN, COVENANT.hash)
    return replace(base, **changes)  # type: ignore[arg-type]


def own(**changes: object) -> Asked:
    """The same, with what only the requester knows."""
    known = {
        "role": "officier",
        "kind": "bsn",
        "case_reference": "15/234567-26",
        "attested": frozenset({"verdachte", "motivering"}),
        "sources": 2,
    }
    return ask(**{**known, **changes})


def decided(asked: Asked, covenant: Covenant = COVENANT, now: datetime = NOW) -> Decision:
    return decide(covenant, asked, now)


def test_a_lawful_question_is_allowed_with_its_mode_and_what_signing_attests() -> None:
    decision = decided(ask())
    assert decision.allowed
    assert decision.mode is Mode.AUTOMATIC
    assert decision.attests == ("verdachte", "motivering")
    assert decided(own()) == decision


def test_conditions_that_everybody_can_check_are_not_attested() -> None:
    assert "zaaknummer" not in decided(ask()).attests


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("ander-convenant", ask(covenant_hash=bytes(32))),
        ("onbekende-deelnemer", ask(requester="00000099000000042000")),
        ("onbekende-deelnemer", ask(source="00000099000000042000")),
        ("onbekende-deelnemer", ask(on_behalf_of="00000099000000042000")),
        ("onbekende-deelnemer", ask(source=OPERATOR)),
        ("onbekend-doel", ask(purpose="kennemerland/bestaat-niet")),
        ("onbekend-doel", ask(purpose="elders/zsm-context")),
        ("geen-vrager", ask(requester=RECLASSERING)),
        ("namens", ask(on_behalf_of=HAARLEM)),
        ("namens", ask(purpose=ZVH_WEIGHING, requester=ZVH, source=OM)),
        ("namens", ask(purpose=ZVH_WEIGHING, requester=ZVH, source=OM, on_behalf_of=VELSEN)),
        ("namens", ask(purpose=ZVH_WEIGHING, requester=VELSEN, source=OM, on_behalf_of=HAARLEM)),
        ("geen-bron", ask(purpose=ZSM_LOCAL)),
        ("nooit", ask(source=HAARLEM)),
        ("personen", ask(persons=0)),
        ("personen", ask(persons=2)),
        ("identificatie", ask(kind_class=signed_pb2.KIND_CLASS_POSSIBLE)),
        ("identificatie", ask(kind_class=signed_pb2.KIND_CLASS_UNSPECIFIED)),
        ("bronnen", own(sources=0)),
        ("bronnen", own(sources=9)),
        ("identificatie", own(kind="skn")),
        ("rol", own(role="stagiair")),
        ("rol", own(role="")),
        ("zaaknummer", own(case_reference="")),
        ("zaaknummer", own(case_reference="ZVH-2026-0001")),
        ("zaaknummer", own(case_reference="15/234567-26\n")),
        ("zaaknummer", own(case_reference="١٥/234567-26")),
        ("voorwaarde", own(attested=frozenset())),
        ("voorwaarde", own(attested=frozenset({"verdachte"}))),
    ],
)
def test_fg_01_each_missing_or_wrong_part_is_refused_by_name(rule: str, asked: Asked) -> None:
    decision = decided(asked)
    assert (decision.allowed, decision.rule) == (False, rule)
    assert decision.reason
    assert decision.remedy.endswith(".")


def test_a_mandate_lets_the_house_ask_in_the_name_of_haarlem() -> None:
    decision = decided(ask(purpose=ZVH_WEIGHING, requester=ZVH, source=OM, on_behalf_of=HAARLEM, persons=4))
    assert decision.allowed
    assert decision.mode is Mode.STANDING
    assert set(decision.attests) == {"positieve-toets", "bgs-2-20", "motivering"}


def test_manual_release_is_allowed_and_says_so() -> None:
    decision = decided(ask(source=VEILIG_THUIS))
    assert decision.allowed
    assert decision.mode is Mode.MANUAL
    assert "nadat een collega daar beslist: handmatig" in decision.reason


def test_a_covenant_holds_from_its_first_to_its_last_moment() -> None:
    moment = timedelta(microseconds=1)
    assert decided(ask(), now=COVENANT.valid_from).allowed
    assert decided(ask(), now=COVENANT.valid_until - moment).allowed
    for now in (COVENANT.valid_from - moment, COVENANT.valid_until):
        assert decided(ask(), now=now).rule == "niet-geldig"


@pytest.mark.parametrize("unsigned", [OM, POLITIE])
def test_a_purpose_holds_between_two_partners_only_when_both_signed(unsigned: str) -> None:
    covenant = replace(COVENANT, signed_by=COVENANT.signed_by - {unsigned})
    assert decided(ask(), covenant).rule == "niet-ondertekend"
    assert decided(ask(source=RECLASSERING), covenant).allowed is (unsigned == POLITIE)


def test_who_asks_in_the_name_of_a_partner_that_did_not_sign_is_refused() -> None:
    covenant = replace(COVENANT, signed_by=COVENANT.signed_by - {HAARLEM})
    asked = ask(purpose=ZVH_WEIGHING, requester=ZVH, source=OM, on_behalf_of=HAARLEM)
    assert decided(asked, covenant).rule == "niet-ondertekend"


def test_a_covenant_that_nobody_verified_allows_nothing() -> None:
    assert decided(ask(), LOADED).rule == "niet-ondertekend"


def test_a_node_may_ask_itself_about_its_canary_before_any_other_rule() -> None:
    """Protocol section 7: one fixed rule, before purposes, conditions and D1-D14."""
    assert decided(ask(requester=POLITIE)).rule == "eigen-proef"
    assert decided(ask(requester=POLITIE)).allowed
    assert decided(ask(requester=VEILIG_THUIS, source=VEILIG_THUIS)).allowed
    refused = [
        ask(requester=HAARLEM, source=HAARLEM),
        ask(requester=POLITIE, persons=2),
        ask(requester=POLITIE, on_behalf_of=OM),
        ask(requester=OPERATOR, source=OPERATOR),
    ]
    assert [decided(asked).rule for asked in refused] == ["eigen-proef"] * 4
    assert not any(decided(asked).allowed for asked in refused)


def test_fg_02_every_pair_that_no_purpose_names_is_denied() -> None:
    """The finite domain, exhausted: purpose x requester x source x principal."""
    named = {
        (purpose.id, requester.oin, source.oin, principal)
        for purpose in COVENANT.purposes.values()
        for requester in COVENANT.requesters(purpose.id).values()
        for source in COVENANT.sources(purpose.id).values()
        for principal in [*requester.on_behalf_of, *([None] if requester.for_itself else [])]
        if source.mode is not Mode.NEVER
    }
    everyone: tuple[str | None, ...] = (*PARTNERS, None)
    for purpose, requester, source, principal in itertools.product(COVENANT.purposes, PARTNERS, PARTNERS, everyone):
        if requester == source:
            continue
        allowed = decided(ask(purpose=purpose, requester=requester, source=source, on_behalf_of=principal)).allowed
        assert allowed == ((purpose, requester, source, principal) in named)


@settings(max_examples=200)
@given(
    asked=st.builds(
        Asked,
        requester=st.sampled_from([*PARTNERS, OPERATOR]) | st.text(max_size=20),
        source=st.sampled_from([*PARTNERS, OPERATOR]) | st.text(max_size=20),
        purpose=st.sampled_from([*COVENANT.purposes]) | st.text(max_size=30),
        on_behalf_of=st.none() | st.sampled_from([*PARTNERS]) | st.text(max_size=20),
        persons=st.integers(-1, 9),
        kind_class=st.sampled_from([0, 1, 2, 7]),
        covenant_hash=st.just(COVENANT.hash) | st.binary(max_size=40),
        case_reference=st.none() | st.text(max_size=80),
        attested=st.none() | st.frozensets(st.sampled_from(["verdachte", "motivering", "iets"])),
    )
)
def test_fg_02_whatever_is_asked_only_what_the_covenant_names_is_allowed(asked: Asked) -> None:
    decision = decided(asked)
    if decision.allowed and decision.rule != "eigen-proef":
        assert asked.source in COVENANT.sources(asked.purpose)
        assert asked.requester in COVENANT.requesters(asked.purpose)
        assert COVENANT.sources(asked.purpose)[asked.source].mode is decision.mode


def test_fg_07_what_a_hostile_broker_would_route_the_source_still_refuses() -> None:
    """The broker's own covenant is widened; the source decides by the one whose hash its partners signed."""
    purpose = COVENANT.purposes[ZSM]
    terms = dict(purpose.source_terms)
    terms["college_bw"] = purpose.source_terms["politie"]
    widened = replace(COVENANT, purposes={ZSM: purpose.model_copy(update={"source_terms": terms})}, hash=b"w" * 32)
    asked = ask(source=HAARLEM, covenant_hash=widened.hash)
    assert decide(widened, replace(asked, source=RECLASSERING), NOW).allowed
    assert decided(asked).rule == "ander-convenant"
    assert decided(replace(asked, covenant_hash=COVENANT.hash)).rule == "nooit"


def widen(change: Callable[[dict[str, object]], None]) -> Covenant:
    """The example with one purpose changed behind the loader's back, signed by all."""
    purpose = COVENANT.purposes[ZSM]
    update: dict[str, object] = {
        "source_terms": dict(purpose.source_terms),
        "asker": purpose.asker,
        "requester_grounds": purpose.requester_grounds,
    }
    change(update)
    return replace(COVENANT, purposes={**COVENANT.purposes, ZSM: purpose.model_copy(update=update)})


def test_fg_04_direction_rules_hold_at_the_decision_even_if_nobody_checked_at_load() -> None:
    def machine(update: dict[str, object]) -> None:
        terms = update["source_terms"]
        assert isinstance(terms, dict)
        update["source_terms"] = {
            party: one.model_copy(update={"mode": Mode.STANDING, "registers": ("wmo",)}) for party, one in terms.items()
        }

    covenant = widen(machine)
    assert decided(ask(source=VEILIG_THUIS), covenant).rule == "D5"
    assert decided(ask(source=HAARLEM), covenant).rule == "D3"


def test_fg_04_a_principal_is_held_to_the_direction_rules_like_its_asker() -> None:
    """The police may not lend the OM's right to an automatic answer, nor the other way round."""
    asker = COVENANT.purposes[ZSM].asker
    mandate = type(COVENANT.purposes[ZVH_WEIGHING].asker.mandates[0]).model_validate(
        {"vrager": RECLASSERING, "namens": OM, "mandaat": "x"}
    )
    covenant = widen(lambda update: update.update(asker=asker.model_copy(update={"mandates": (mandate,)})))
    assert decided(ask(requester=RECLASSERING, on_behalf_of=OM), covenant).rule == "D6"


def test_fg_03_a_ground_that_is_no_law_is_refused_at_the_decision_too() -> None:
    grounds = COVENANT.purposes[ZSM].requester_grounds
    wams = grounds[0].model_copy(update={"law": "Wams"})
    covenant = widen(lambda update: update.update(requester_grounds=(*grounds, wams)))
    assert decided(ask(), covenant).rule == "D13"


def test_d10_a_party_of_a_kind_that_is_not_connected_is_refused_whatever_it_signed() -> None:
    insurer = COVENANT.participants[RECLASSERING].model_copy(update={"kind": Kind.ZORGVERZEKERAAR})
    purpose = COVENANT.purposes[ZSM]
    terms = {**purpose.source_terms, RECLASSERING: purpose.source_terms["reclassering"]}
    covenant = replace(
        COVENANT,
        participants={**COVENANT.participants, RECLASSERING: insurer},
        purposes={ZSM: purpose.model_copy(update={"source_terms": terms})},
    )
    assert decided(ask(source=RECLASSERING), covenant).rule == "D10"


def test_d12_a_house_does_not_reach_the_partners_of_another_house() -> None:
    other = "00000099000000008000"
    far = COVENANT.participants[RECLASSERING].model_copy(update={"houses": (other,)})
    covenant = replace(COVENANT, participants={**COVENANT.participants, RECLASSERING: far})
    asked = ask(purpose=ZVH_WEIGHING, requester=ZVH, source=RECLASSERING, on_behalf_of=HAARLEM)
    assert decided(asked, covenant).rule == "D12"
    assert decided(asked).allowed
    assert decided(ask(source=RECLASSERING), covenant).allowed


def test_a_condition_of_one_source_binds_that_source_only() -> None:
    purpose = COVENANT.purposes[ZSM]
    youth = type(purpose.conditions[0]).model_validate(
        {"id": "leeftijd", "tekst": "12 tot en met 17", "controle": "vrager"}
    )
    terms = dict(purpose.source_terms)
    key = next(party for party in terms if party == "reclassering")
    terms[key] = terms[key].model_copy(update={"conditions": ("leeftijd",)})
    changed = purpose.model_copy(update={"conditions": (*purpose.conditions, youth), "source_terms": terms})
    covenant = replace(COVENANT, purposes={ZSM: changed})
    assert "leeftijd" in decided(ask(source=RECLASSERING), covenant).attests
    assert "leeftijd" not in decided(ask(), covenant).attests
